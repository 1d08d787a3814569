//! Signs of life: each thread stores the time in its pulse again and again; whoever looks sees which have stopped.
//!
//! A beat is one relaxed store. Time is `CLOCK_MONOTONIC`, which stands still while the machine is suspended; and when the one
//! who looks was late himself, because the whole process or the virtual machine had been stopped, every thread gets its time anew.

use std::cell::RefCell;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::clock::monotonic_us;

/// Sampling may take so long, beside the distance of samples.
const SAMPLE: Duration = Duration::from_secs(15);
const ANALYSE: Duration = Duration::from_secs(60);
const NET: Duration = Duration::from_secs(180);
const LINKS: Duration = Duration::from_secs(60);
/// A bad SD card needs minutes for one `fsync`; that is no reason to begin anew.
const DISK: Duration = Duration::from_secs(600);
/// Somebody who waits for another thread waits for its disk too. If that one is stuck, its own pulse tells.
const OTHERS: Duration = Duration::from_secs(900);
/// Looks come at least every ten seconds. After a longer pause than this nobody ran, so nobody is late.
const PAUSED_MS: u64 = 25_000;

/// Milliseconds of the clock that pulses go by.
#[must_use]
pub fn now_ms() -> u64 {
    monotonic_us() / 1000
}

/// One thread's sign of life.
#[derive(Debug)]
pub struct Pulse {
    name: &'static str,
    work: &'static str,
    deadline_ms: u64,
    /// Last beat; 0 before the first.
    beat_ms: AtomicU64,
    /// Since when the thread is watched; 0 when it is not.
    since_ms: AtomicU64,
    /// What it is doing may take so long; 0 when that is nothing special.
    allowed_ms: AtomicU64,
}

impl Pulse {
    /// Of the thread `name`, which is to beat at least this often. It is watched from [`Self::adopt`] on.
    #[must_use]
    pub fn new(name: &'static str, work: &'static str, deadline: Duration) -> Self {
        let deadline_ms = u64::try_from(deadline.as_millis()).unwrap_or(u64::MAX);
        let zero = || AtomicU64::new(0);
        Self { name, work, deadline_ms, beat_ms: zero(), since_ms: zero(), allowed_ms: zero() }
    }

    /// The thread's name.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// The thread lives.
    pub fn beat(&self) {
        self.beat_ms.store(now_ms(), Ordering::Relaxed);
    }

    /// Makes it the pulse of the calling thread, and watches it from now on.
    pub fn adopt(self: &Arc<Self>) {
        self.since_ms.store(now_ms().max(1), Ordering::Release);
        OWN.with(|own| *own.borrow_mut() = Some(Arc::clone(self)));
    }

    /// The thread ends as it should. One that panics does not come here, and is missed.
    pub fn end(&self) {
        self.since_ms.store(0, Ordering::Release);
    }

    /// Whether it has beaten at all.
    #[must_use]
    pub fn has_begun(&self) -> bool {
        self.beat_ms.load(Ordering::Relaxed) != 0
    }

    /// Why it counts as stuck, if it does; nobody was running before `not_before_ms`.
    fn stuck(&self, now_ms: u64, not_before_ms: u64) -> Option<Stuck> {
        let since = self.since_ms.load(Ordering::Acquire);
        // The order matters: whoever ends a long wait beats first.
        let limit_ms = self.deadline_ms.max(self.allowed_ms.load(Ordering::Acquire));
        let beat = self.beat_ms.load(Ordering::Relaxed).max(since).max(not_before_ms);
        let age_ms = now_ms.saturating_sub(beat);
        let (name, work) = (self.name, self.work);
        (since != 0 && age_ms > limit_ms).then_some(Stuck { name, work, age_ms, limit_ms })
    }
}

thread_local! {
    /// The pulse of this thread, if it has one.
    static OWN: RefCell<Option<Arc<Pulse>>> = const { RefCell::new(None) };
}

/// A wait that may be long; it ends when this is dropped.
#[must_use]
#[derive(Debug)]
pub struct Wait(Option<(Arc<Pulse>, u64)>);

/// The calling thread waits for a disk now.
pub fn on_disk() -> Wait {
    wait(DISK)
}

/// The calling thread waits for another thread now, which is watched itself.
pub fn on_others() -> Wait {
    wait(OTHERS)
}

fn wait(most: Duration) -> Wait {
    // A thread that is ending has no pulse any more.
    let own = OWN.try_with(|own| own.try_borrow().ok().and_then(|own| own.clone())).ok().flatten();
    Wait(own.map(|pulse| {
        let before = pulse.allowed_ms.load(Ordering::Relaxed);
        let most = u64::try_from(most.as_millis()).unwrap_or(u64::MAX);
        pulse.allowed_ms.store(most.max(before), Ordering::Relaxed);
        pulse.beat();
        (pulse, before)
    }))
}

impl Drop for Wait {
    fn drop(&mut self) {
        if let Some((pulse, before)) = &self.0 {
            pulse.beat();
            pulse.allowed_ms.store(*before, Ordering::Release);
        }
    }
}

/// A thread that has not moved for too long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stuck {
    /// Its name.
    pub name: &'static str,
    work: &'static str,
    age_ms: u64,
    limit_ms: u64,
}

impl fmt::Display for Stuck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, work, age_ms, limit_ms } = self;
        let (age, limit) = (age_ms / 1000, limit_ms / 1000);
        write!(f, "the thread {name} ({work}) has not moved for {age} s; {limit} s are its limit")
    }
}

/// The pulses of all threads.
#[derive(Debug)]
pub struct Pulses {
    /// Samples.
    pub sample: Arc<Pulse>,
    /// Judges.
    pub analyse: Arc<Pulse>,
    /// Sends.
    pub net: Arc<Pulse>,
    /// Observes connections.
    pub links: Arc<Pulse>,
    looked_ms: AtomicU64,
    not_before_ms: AtomicU64,
}

impl Pulses {
    /// With the deadlines of an agent that samples at this distance.
    #[must_use]
    pub fn new(interval: Duration) -> Self {
        Self::with([SAMPLE + 2 * interval, ANALYSE + 2 * interval, NET, LINKS])
    }

    fn with([sample, analyse, net, links]: [Duration; 4]) -> Self {
        let pulse = |name, work, deadline| Arc::new(Pulse::new(name, work, deadline));
        Self {
            sample: pulse("tacit-sample", "reads the machine", sample),
            analyse: pulse("tacit-analyse", "judges samples", analyse),
            net: pulse("tacit-net", "keeps the outbox and the connection", net),
            links: pulse("tacit-slow-link", "observes connections", links),
            looked_ms: AtomicU64::new(0),
            not_before_ms: AtomicU64::new(0),
        }
    }

    /// Those that are stuck. To be called at least every ten seconds, from wherever: a longer pause means that the whole process
    /// stood still.
    #[must_use]
    pub fn look(&self, now_ms: u64) -> Vec<Stuck> {
        let before = self.looked_ms.swap(now_ms, Ordering::Relaxed);
        if before != 0 && now_ms.saturating_sub(before) > PAUSED_MS {
            self.not_before_ms.store(now_ms, Ordering::Relaxed);
        }
        let not_before = self.not_before_ms.load(Ordering::Relaxed);
        let all = [&self.sample, &self.analyse, &self.net, &self.links];
        all.into_iter().filter_map(|pulse| pulse.stuck(now_ms, not_before)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(pulses: &Pulses, now_ms: u64) -> Vec<&'static str> {
        pulses.look(now_ms).iter().map(|stuck| stuck.name).collect()
    }

    /// A thread that was adopted and beat last at these times.
    fn beaten(pulse: &Pulse, since_ms: u64, beat_ms: u64) {
        pulse.since_ms.store(since_ms, Ordering::Relaxed);
        pulse.beat_ms.store(beat_ms, Ordering::Relaxed);
    }

    /// Looks every ten seconds up to `end_ms`, as the main thread does; those that are stuck then.
    fn looked(pulses: &Pulses, start_ms: u64, end_ms: u64) -> Vec<&'static str> {
        (start_ms..end_ms).step_by(10_000).for_each(|at| drop(pulses.look(at)));
        names(pulses, end_ms)
    }

    #[test]
    fn each_thread_has_its_own_deadline() {
        let pulses = Pulses::new(Duration::from_secs(1));
        assert!(looked(&pulses, 1_000, 500_000).is_empty(), "nobody has begun");
        let all = [&pulses.sample, &pulses.analyse, &pulses.net, &pulses.links];
        all.iter().for_each(|pulse| beaten(pulse, 500_000, 500_100));
        assert!(looked(&pulses, 500_000, 517_000).is_empty());
        assert_eq!(looked(&pulses, 517_000, 518_000), ["tacit-sample"], "17 s with samples every second");
        assert_eq!(looked(&pulses, 518_000, 562_000), ["tacit-sample", "tacit-slow-link"]);
        beaten(&pulses.sample, 500_000, 562_000);
        assert_eq!(looked(&pulses, 562_000, 563_000), ["tacit-analyse", "tacit-slow-link"]);
        pulses.links.end();
        assert_eq!(looked(&pulses, 563_000, 570_000), ["tacit-analyse"], "one that has ended is not missed");
        let words = pulses.look(570_000)[0].to_string();
        assert_eq!(words, "the thread tacit-analyse (judges samples) has not moved for 69 s; 62 s are its limit");
    }

    #[test]
    fn one_that_never_begins_is_missed_too() {
        let pulses = Pulses::new(Duration::from_secs(1));
        beaten(&pulses.sample, 10_000, 0);
        assert!(!pulses.sample.has_begun());
        assert!(looked(&pulses, 10_000, 27_000).is_empty());
        assert_eq!(looked(&pulses, 27_000, 28_000), ["tacit-sample"]);
    }

    #[test]
    fn a_slow_grid_has_more_time() {
        let pulses = Pulses::new(Duration::from_secs(60));
        beaten(&pulses.sample, 1_000, 1_000);
        assert!(looked(&pulses, 1_000, 130_000).is_empty());
    }

    /// A suspended machine stops the clock; a stopped process or virtual machine does not always.
    #[test]
    fn a_pause_of_everybody_is_nobodys_fault() {
        let pulses = Pulses::new(Duration::from_secs(1));
        let all = [&pulses.sample, &pulses.analyse, &pulses.net];
        all.iter().for_each(|pulse| beaten(pulse, 1_000, 10_000));
        assert!(names(&pulses, 11_000).is_empty());
        let later = 11_000 + 3_600_000;
        assert!(names(&pulses, later).is_empty(), "an hour in which nobody looked");
        assert!(looked(&pulses, later, later + 17_000).is_empty(), "the time begins anew");
        assert_eq!(looked(&pulses, later + 17_000, later + 18_000), ["tacit-sample"], "and ends");
    }

    #[test]
    fn a_wait_for_the_disk_has_ten_minutes() {
        let pulses = Pulses::with([Duration::from_secs(1); 4]);
        let pulse = Arc::clone(&pulses.net);
        let judged = move || {
            pulse.adopt();
            pulse.beat();
            let late = |ms| pulse.stuck(now_ms() + ms, 0).is_some();
            assert!(late(5_000));
            let disk = on_disk();
            assert!(!late(590_000) && late(610_000));
            {
                let _others = on_others();
                let _inside = on_disk();
                assert!(!late(800_000), "the longer wait counts");
            }
            assert!(late(610_000) && !late(590_000));
            drop(disk);
            assert!(late(5_000) && !late(0), "a wait that ended was a sign of life");
        };
        std::thread::spawn(judged).join().expect("nothing failed");
        // This thread has no pulse: nothing is marked.
        let _wait = on_disk();
        assert!(pulses.sample.allowed_ms.load(Ordering::Relaxed) == 0);
    }
}
