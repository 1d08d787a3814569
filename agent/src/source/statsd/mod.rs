//! StatsD on loopback: device sensors and programs that push their numbers over UDP.
//!
//! Lines are summed up over an interval (`statsd.interval`), in a store of bounded size, by a task on the network thread's
//! runtime. A counter becomes a rate, a gauge a level, a timer its mean, its largest and its rate. Series keep the names
//! they are sent with and carry `job = "statsd"` and up to six tags.

mod line;
mod store;

pub use line::{Line, Value, parse};
pub use store::{Entry, Kind, Store};

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tacit_wire::semconv::Family;
use tokio::net::UdpSocket;
use tokio::time::Instant;
use tracing::{info, warn};

use super::task::Task;
use super::{Sample, Sampled, SeriesTable, Slot, Source, SourceError};
use crate::clock::Tick;
use crate::config::StatsdConfig;

/// Longest datagram that is taken; what is longer is cut there.
const DATAGRAM: usize = 16 * 1024;
/// Datagrams taken in a second; the kernel keeps some beyond it and drops the rest, and the thread stays free for others.
const A_SECOND: u32 = 10_000;
/// Distance of attempts to listen while somebody else holds the port.
const AGAIN: Duration = Duration::from_secs(30);

/// What task and sampling thread share.
#[derive(Debug)]
struct Shared {
    store: Mutex<Store>,
    /// Why it does not listen, if it does not.
    trouble: Mutex<Option<String>>,
}

impl Shared {
    fn store(&self) -> MutexGuard<'_, Store> {
        // The store is valid at every step, so a poisoned lock changes nothing.
        self.store.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn trouble(&self) -> MutexGuard<'_, Option<String>> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The source of family `statsd`.
#[derive(Debug)]
pub struct Statsd {
    shared: Arc<Shared>,
    interval_ms: u64,
    /// The generation whose slots are held, and they themselves, as many as the kind of each name has.
    generation: u64,
    slots: Vec<[Slot; 3]>,
}

/// Makes the source and its task; `None` when no address is configured.
#[must_use]
pub fn start(config: &StatsdConfig) -> Option<(Statsd, Task)> {
    let listen = config.listen?;
    let shared = Arc::new(Shared { store: Mutex::new(Store::new(config.max_names)), trouble: Mutex::new(None) });
    let source = Statsd {
        shared: Arc::clone(&shared),
        interval_ms: config.interval.as_millis(),
        generation: 0,
        slots: Vec::new(),
    };
    Some((source, Box::pin(serve(listen, shared))))
}

/// Listens, and listens again when that fails.
async fn serve(listen: SocketAddr, shared: Arc<Shared>) {
    loop {
        let ended = match UdpSocket::bind(listen).await {
            Ok(socket) => {
                if shared.trouble().take().is_some() {
                    info!(%listen, "StatsD is received again.");
                }
                receive(&socket, &shared).await
            }
            Err(e) => format!("cannot listen on {listen}: {e}; does another program (or agent) hold the port?"),
        };
        *shared.trouble() = Some(ended);
        tokio::time::sleep(AGAIN).await;
    }
}

/// Takes datagrams until the socket fails; says why it did.
async fn receive(socket: &UdpSocket, shared: &Shared) -> String {
    let mut buffer = vec![0; DATAGRAM];
    let (mut second, mut taken) = (Instant::now(), 0);
    let mut said = (false, false);
    loop {
        let length = match socket.recv(&mut buffer).await {
            Ok(length) => length,
            Err(e) => return format!("cannot receive: {e}"),
        };
        take(&buffer[..length], shared, &mut said);
        taken += 1;
        if taken >= A_SECOND {
            tokio::time::sleep_until(second + Duration::from_secs(1)).await;
            (second, taken) = (Instant::now(), 0);
        } else if second.elapsed() >= Duration::from_secs(1) {
            (second, taken) = (Instant::now(), 0);
        }
    }
}

/// Takes the lines of one datagram. What is wrong is said once, then counted.
fn take(datagram: &[u8], shared: &Shared, said: &mut (bool, bool)) {
    let text = String::from_utf8_lossy(datagram);
    let now_ms = Tick::now().mono_ms;
    let mut store = shared.store();
    for line in text.lines().filter(|l| !l.trim().is_empty()) {
        match parse(line) {
            Some(line) => store.take(&line, now_ms),
            None => {
                store.bad_lines += 1;
                if !std::mem::replace(&mut said.0, true) {
                    let line: String = line.chars().take(80).collect();
                    warn!(?line, "StatsD: a line is not understood; such lines are counted and left out.");
                }
            }
        }
    }
    if store.refused > 0 && !std::mem::replace(&mut said.1, true) {
        let names = store.entries.len();
        warn!(names, "StatsD: more names than statsd.max_names; new ones are left out.");
    }
}

impl Source for Statsd {
    fn name(&self) -> &'static str {
        "statsd"
    }

    fn sample(&mut self, out: &mut Sample<'_>) -> Result<Sampled, SourceError> {
        if let Some(trouble) = self.shared.trouble().clone() {
            return Err(SourceError::Other(trouble));
        }
        let mut store = self.shared.store();
        store.end_interval(out.at.mono_ms, self.interval_ms);
        if store.generation != self.generation {
            self.generation = store.generation;
            let before = std::mem::take(&mut self.slots);
            self.slots = store.entries.iter().map(|entry| register(entry, out.table)).collect();
            out.table.retire_all_but(before.into_iter().flatten(), self.slots.as_flattened());
        }
        for (slots, entry) in self.slots.iter().zip(&store.entries) {
            for (slot, value) in slots.iter().zip(entry.shown) {
                out.set(*slot, value);
            }
        }
        Ok(Sampled::Data)
    }
}

fn register(entry: &Entry, table: &mut SeriesTable) -> [Slot; 3] {
    let mut attributes = vec![("job", "statsd")];
    attributes.extend(entry.tags.iter().map(|(k, v)| (k.as_str(), v.as_str())));
    let mut one = |suffix: &str, unit: &str| {
        table.register_named(&format!("{}{suffix}", entry.name), unit, Family::Statsd, &attributes)
    };
    match entry.kind {
        Kind::Count => [one("", "{event}/s"), Slot::NONE, Slot::NONE],
        // What a gauge measures is not told; `1` would be shown as a percentage.
        Kind::Level => [one("", "{value}"), Slot::NONE, Slot::NONE],
        Kind::Time => [one(".mean", "s"), one(".max", "s"), one(".rate", "{event}/s")],
        Kind::Size => [one(".mean", "{value}"), one(".max", "{value}"), one(".rate", "{event}/s")],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sent_over_loopback_becomes_series() {
        let config = "[statsd]\nlisten = \"127.0.0.1:0\"\ninterval = \"1s\"\nmax_names = 3\n";
        let config = crate::config::Config::parse(config).expect("a good one").statsd;
        let (mut source, task) = start(&config).expect("an address is set");
        drop(task);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let socket = UdpSocket::bind("127.0.0.1:0").await.expect("a free port");
            let to = socket.local_addr().expect("an address");
            let client = UdpSocket::bind("127.0.0.1:0").await.expect("a free port");
            for datagram in
                [&b"temp:21.5|g|#room:lab\nscan:250|ms\n"[..], b"garbage\n\xff\xfe:1|c\n", b"a:1|c\nb:1|c\n"]
            {
                client.send_to(datagram, to).await.expect("loopback");
            }
            let shared = Arc::clone(&source.shared);
            let all = async {
                while shared.store().refused == 0 {
                    tokio::task::yield_now().await;
                }
            };
            tokio::select! {
                ended = receive(&socket, &shared) => panic!("{ended}"),
                () = all => {}
            }
        });
        assert_eq!(source.shared.store().bad_lines, 2);
        let mut table = SeriesTable::new(16);
        let mut values = [f32::NAN; 16];
        let now = Tick::now();
        for later in [0, 1000] {
            let mut sample = Sample { at: now.plus_ms(later), table: &mut table, values: &mut values };
            assert_eq!(source.sample(&mut sample).expect("it works"), Sampled::Data);
        }
        let dictionary = table.publish().expect("series are there");
        let lines: Vec<_> =
            dictionary.entries.iter().map(|e| format!("{} {}", e.def.label(), values[e.slot.index()])).collect();
        assert_eq!(
            lines,
            [
                "temp{job=statsd,room=lab} 21.5",
                "scan.mean{job=statsd} 0.25",
                "scan.max{job=statsd} 0.25",
                "scan.rate{job=statsd} 1",
                "a{job=statsd} 1"
            ]
        );
    }

    #[test]
    fn a_port_in_use_is_said() {
        let held = std::net::UdpSocket::bind("127.0.0.1:0").expect("a free port");
        let listen = held.local_addr().expect("an address");
        let config = StatsdConfig { listen: Some(listen), ..StatsdConfig::default() };
        let (mut source, task) = start(&config).expect("an address is set");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async { tokio::time::timeout(Duration::from_millis(50), task).await.unwrap_err() });
        let mut table = SeriesTable::new(4);
        let error = source.sample(&mut Sample { at: Tick::now(), table: &mut table, values: &mut [] });
        assert!(error.expect_err("it is in use").to_string().contains("another program"));
    }
}
