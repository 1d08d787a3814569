//! The thread that reads sensors, and what happens when one of them blocks.
//!
//! The thread notes which sensor it is at. The sampling thread looks at that note: when it has not moved for
//! [`PATIENCE_MS`], the sensor is set aside and a new thread goes on with the others. The old one, should it ever
//! return, sees that it was replaced, frees the sensor and ends. At most [`REPLACEMENTS`] threads can be lost so.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::discover::discover;
use super::sensor::{Read, Sensor};
use crate::clock::Tick;
use crate::source::Root;

/// Distance of reads, and how many rounds pass until sensors are looked for again.
const INTERVAL: Duration = Duration::from_secs(5);
const ROUNDS: u32 = 12;
/// A read that takes longer blocks.
const PATIENCE_MS: u64 = 5000;
/// Threads that may be lost to blocking sensors.
const REPLACEMENTS: u32 = 4;
const NOWHERE: usize = usize::MAX;

/// The sensors and their newest values.
#[derive(Debug)]
pub struct Set {
    /// The sensors.
    pub sensors: Vec<Named>,
    values: Vec<AtomicU32>,
    blocked: Vec<AtomicBool>,
    reads: Vec<Mutex<Read>>,
}

/// What the sampling thread needs to know of a sensor.
#[derive(Debug)]
pub struct Named {
    /// Its metric.
    pub metric: &'static tacit_wire::semconv::Metric,
    /// Its name.
    pub id: String,
}

impl Set {
    fn new(sensors: Vec<Sensor>) -> Self {
        let nan = f32::NAN.to_bits();
        let (named, reads): (Vec<_>, Vec<_>) =
            sensors.into_iter().map(|s| (Named { metric: s.metric, id: s.id }, Mutex::new(s.read))).unzip();
        Self {
            values: named.iter().map(|_| AtomicU32::new(nan)).collect(),
            blocked: named.iter().map(|_| AtomicBool::new(false)).collect(),
            sensors: named,
            reads,
        }
    }

    /// The newest value of a sensor; NaN when there is none.
    pub fn value(&self, i: usize) -> f32 {
        f32::from_bits(self.values[i].load(Ordering::Relaxed))
    }

    fn same_sensors(&self, other: &Self) -> bool {
        self.sensors.iter().map(|s| (s.metric.name, &s.id)).eq(other.sensors.iter().map(|s| (s.metric.name, &s.id)))
    }
}

/// The reading side of the source.
#[derive(Debug)]
pub struct Reader {
    shared: Arc<Shared>,
    live: bool,
    replaced: u32,
}

#[derive(Debug)]
struct Shared {
    root: Root,
    set: Mutex<Option<Arc<Set>>>,
    /// Which thread is the valid one.
    generation: AtomicU32,
    /// Sensor being read, and since when.
    at: AtomicUsize,
    since_ms: AtomicU64,
    stop: Mutex<bool>,
    wake: Condvar,
}

impl Shared {
    fn set(&self) -> MutexGuard<'_, Option<Arc<Set>>> {
        self.set.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Reader {
    /// Reads on its own thread.
    pub fn start(root: Root) -> std::io::Result<Self> {
        let mut reader = Self::inline(root);
        reader.live = true;
        reader.spawn(0)?;
        Ok(reader)
    }

    /// Reads in place at each call of [`newest`](Self::newest): for recorded trees.
    pub fn inline(root: Root) -> Self {
        let shared = Shared {
            root,
            set: Mutex::new(None),
            generation: AtomicU32::new(0),
            at: AtomicUsize::new(NOWHERE),
            since_ms: AtomicU64::new(0),
            stop: Mutex::new(false),
            wake: Condvar::new(),
        };
        Self { shared: Arc::new(shared), live: false, replaced: 0 }
    }

    fn spawn(&self, generation: u32) -> std::io::Result<()> {
        let shared = Arc::clone(&self.shared);
        let body = move || run(&shared, generation);
        std::thread::Builder::new().name("tacit-slow-hw".into()).stack_size(256 * 1024).spawn(body).map(drop)
    }

    /// The sensors with their newest values; `None` before the first round.
    pub fn newest(&mut self, now: Tick) -> Option<Arc<Set>> {
        if !self.live {
            let found = Set::new(discover(&self.shared.root));
            let set = match self.shared.set().take() {
                Some(held) if held.same_sensors(&found) => held,
                _ => Arc::new(found),
            };
            *self.shared.set() = Some(Arc::clone(&set));
            round(&self.shared, &set, 0, || now);
            return Some(set);
        }
        let set = self.shared.set().clone();
        if let Some(set) = &set {
            self.set_aside(set, now);
        }
        set
    }

    /// Goes on without a sensor that blocks.
    fn set_aside(&mut self, set: &Set, now: Tick) {
        let at = self.shared.at.load(Ordering::Acquire);
        let since = self.shared.since_ms.load(Ordering::Acquire);
        let blocked = at != NOWHERE && now.mono_ms.saturating_sub(since) > PATIENCE_MS;
        let Some(sensor) = set.sensors.get(at).filter(|_| blocked && self.replaced < REPLACEMENTS) else { return };
        self.replaced += 1;
        set.blocked[at].store(true, Ordering::Release);
        set.values[at].store(f32::NAN.to_bits(), Ordering::Relaxed);
        self.shared.at.store(NOWHERE, Ordering::Release);
        let generation = self.shared.generation.fetch_add(1, Ordering::AcqRel) + 1;
        tracing::warn!(sensor = %sensor.id, metric = sensor.metric.name, "A sensor blocks; it is left out until it answers.");
        if let Err(error) = self.spawn(generation) {
            tracing::warn!(%error, "No thread for the other sensors; they stand still.");
        }
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        *self.shared.stop.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.shared.wake.notify_all();
    }
}

fn run(shared: &Shared, generation: u32) {
    loop {
        let found = Set::new(discover(&shared.root));
        let set = {
            let mut place = shared.set();
            match &*place {
                Some(held) if held.same_sensors(&found) => Arc::clone(held),
                _ => Arc::clone(place.insert(Arc::new(found))),
            }
        };
        for _ in 0..ROUNDS {
            if !round(shared, &set, generation, Tick::now) {
                return;
            }
            let stop = shared.stop.lock().unwrap_or_else(PoisonError::into_inner);
            let idle = |stop: &mut bool| !*stop;
            let (stop, _) =
                shared.wake.wait_timeout_while(stop, INTERVAL, idle).unwrap_or_else(PoisonError::into_inner);
            if *stop || shared.generation.load(Ordering::Acquire) != generation {
                return;
            }
        }
    }
}

/// Reads every sensor once; false when this thread was replaced meanwhile.
fn round(shared: &Shared, set: &Set, generation: u32, clock: impl Fn() -> Tick) -> bool {
    for (i, read) in set.reads.iter().enumerate() {
        if set.blocked[i].load(Ordering::Acquire) {
            continue;
        }
        let now = clock();
        shared.since_ms.store(now.mono_ms, Ordering::Release);
        shared.at.store(i, Ordering::Release);
        let value = read.lock().unwrap_or_else(PoisonError::into_inner).now(now);
        if shared.generation.load(Ordering::Acquire) != generation {
            set.blocked[i].store(false, Ordering::Release);
            return false;
        }
        shared.at.store(NOWHERE, Ordering::Release);
        set.values[i].store(value.to_bits(), Ordering::Relaxed);
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A pipe without a writer is a sensor that blocks for ever.
    #[test]
    fn a_sensor_that_blocks_does_not_stop_the_others() {
        let folder = tempfile::tempdir().expect("a folder");
        let chip = folder.path().join("sys/class/hwmon/hwmon0");
        std::fs::create_dir_all(&chip).expect("a folder");
        std::fs::write(chip.join("name"), "chip\n").expect("a file");
        std::fs::write(chip.join("temp2_input"), "42000\n").expect("a file");
        let pipe = chip.join("temp1_input");
        let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
        rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, mode, 0).expect("a pipe");

        let mut reader = Reader::start(Root::new(folder.path())).expect("a thread");
        while reader.shared.at.load(Ordering::Acquire) != 0 {
            std::thread::yield_now();
        }
        let later = Tick::now().plus_ms(PATIENCE_MS + 1000);
        let set = reader.newest(later).expect("sensors were found");
        while set.value(1).is_nan() {
            std::thread::yield_now();
        }
        assert_eq!((set.value(1), set.blocked[0].load(Ordering::Acquire)), (42.0, true));
        assert_eq!(reader.replaced, 1);

        // It answers: the lost thread comes back, frees the sensor and ends.
        std::fs::write(&pipe, "7000\n").expect("the reader is there");
        while set.blocked[0].load(Ordering::Acquire) {
            std::thread::yield_now();
        }
    }
}
