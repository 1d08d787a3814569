//! What all services share: one thread a connection, figures for Prometheus, and faults that files switch on.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread::{Builder, sleep, spawn};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

use super::http;
use crate::live::limit::{Limit, raise_open_files};

/// Where figures are shown, on loopback.
pub const METRICS: u16 = 9100;
/// A client that went away without a word does not hold a thread for ever.
const PATIENCE: Duration = Duration::from_secs(120);
/// Memory of a thread that has one connection.
const STACK: usize = 256 * 1024;
/// Distance of looks at the switches.
const LOOK: Duration = Duration::from_millis(100);

/// A fault of a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Switch {
    /// It takes nothing in any more.
    Hang,
    /// Each answer takes long.
    Slow,
    /// It answers with errors, or not at all, and works hard at it.
    Broken,
    /// It keeps what it should give back.
    Leak,
}

impl Switch {
    const ALL: [Self; 4] = [Self::Hang, Self::Slow, Self::Broken, Self::Leak];

    /// The ending of its file.
    pub fn word(self) -> &'static str {
        match self {
            Self::Hang => "hang",
            Self::Slow => "slow",
            Self::Broken => "broken",
            Self::Leak => "leak",
        }
    }
}

/// A service at work.
#[derive(Debug)]
pub struct Service {
    limit: Limit,
    switches: PathBuf,
    on: [AtomicBool; 4],
    requests: AtomicU64,
    errors: AtomicU64,
    micros: AtomicU64,
    open: AtomicU64,
}

impl Service {
    /// One that has done nothing yet.
    pub fn new(limit: Limit, switches: PathBuf) -> Self {
        let zero = || AtomicU64::new(0);
        let (requests, errors, micros, open) = (zero(), zero(), zero(), zero());
        Self { limit, switches, on: Default::default(), requests, errors, micros, open }
    }

    /// Whether a fault is on.
    pub fn is(&self, switch: Switch) -> bool {
        self.on[switch as usize].load(Relaxed)
    }

    /// Whether it goes on.
    pub fn goes_on(&self) -> bool {
        self.limit.goes_on()
    }

    /// Connections that are open.
    pub fn open(&self) -> u64 {
        self.open.load(Relaxed)
    }

    /// Requests so far.
    pub fn requests(&self) -> u64 {
        self.requests.load(Relaxed)
    }

    /// Counts a request that began then.
    pub fn count(&self, began: Instant, well: bool) {
        self.requests.fetch_add(1, Relaxed);
        self.errors.fetch_add(u64::from(!well), Relaxed);
        self.micros.fetch_add(u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX), Relaxed);
    }

    /// Looks at the switches until the end.
    pub fn hold(&self) {
        while self.goes_on() {
            for switch in Switch::ALL {
                let is_on = self.switches.with_extension(switch.word()).exists();
                self.on[switch as usize].store(is_on, Relaxed);
            }
            self.limit.rest(LOOK);
        }
    }

    /// Answers connections with `handle`, which says whether it went well, each on a thread of its own.
    ///
    /// # Errors
    /// When it cannot listen.
    pub fn serve(
        self: &Arc<Self>,
        listen: SocketAddr,
        handle: impl Fn(&Self, &TcpStream) -> io::Result<bool> + Send + Sync + 'static,
    ) -> Result<()> {
        raise_open_files()?;
        let listener = TcpListener::bind(listen).with_context(|| format!("cannot listen on {listen}"))?;
        let (service, handle) = (Arc::clone(self), Arc::new(handle));
        spawn(move || {
            for stream in listener.incoming().flatten() {
                // What comes meanwhile waits in the kernel's queue.
                while service.is(Switch::Hang) {
                    sleep(LOOK);
                }
                let (service, handle) = (Arc::clone(&service), Arc::clone(&handle));
                // A client that gets no thread sees its connection end.
                let _ = Builder::new().stack_size(STACK).spawn(move || service.one(&stream, &*handle));
            }
        });
        Ok(())
    }

    fn one(&self, stream: &TcpStream, handle: &dyn Fn(&Self, &TcpStream) -> io::Result<bool>) {
        let began = Instant::now();
        self.open.fetch_add(1, Relaxed);
        let ready = stream.set_read_timeout(Some(PATIENCE)).is_ok() && stream.set_nodelay(true).is_ok();
        let well = ready && handle(self, stream).unwrap_or(false);
        self.open.fetch_sub(1, Relaxed);
        self.count(began, well);
    }

    /// Shows its figures on loopback.
    ///
    /// # Errors
    /// When the port is taken.
    pub fn show(self: &Arc<Self>) -> Result<()> {
        let at = SocketAddr::from((Ipv4Addr::LOCALHOST, METRICS));
        let listener = TcpListener::bind(at).with_context(|| format!("cannot listen on {at}"))?;
        let service = Arc::clone(self);
        spawn(move || {
            for stream in listener.incoming().flatten() {
                let ready = stream.set_read_timeout(Some(Duration::from_secs(1))).is_ok();
                if ready && http::request(&stream).is_ok_and(|line| line.is_some()) {
                    // Who asked may have gone.
                    let _ = http::answer(&stream, "200 OK", &service.figures());
                }
            }
        });
        Ok(())
    }

    fn figures(&self) -> String {
        let number = |figure: &AtomicU64| figure.load(Relaxed) as f64;
        exposition([number(&self.requests), number(&self.errors), number(&self.micros) / 1e6, number(&self.open)])
    }
}

/// Requests, errors, seconds spent on them, and open connections, as Prometheus reads them.
fn exposition(figures: [f64; 4]) -> String {
    let names = [
        ("shop_requests_total", "counter"),
        ("shop_errors_total", "counter"),
        ("shop_busy_seconds_total", "counter"),
        ("shop_connections", "gauge"),
    ];
    let line = |((name, kind), value): (&(&str, &str), f64)| format!("# TYPE {name} {kind}\n{name} {value}\n");
    names.iter().zip(figures).map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_shown_as_prometheus_reads_them() {
        let text = exposition([2.0, 1.0, 0.5, 0.0]);
        assert!(text.starts_with("# TYPE shop_requests_total counter\nshop_requests_total 2\n"), "{text}");
        assert!(text.contains("\nshop_busy_seconds_total 0.5\n"), "{text}");
        assert!(text.ends_with("# TYPE shop_connections gauge\nshop_connections 0\n"), "{text}");
    }

    #[test]
    fn each_fault_has_a_file_of_its_own() {
        let words: std::collections::BTreeSet<&str> = Switch::ALL.iter().map(|s| s.word()).collect();
        assert_eq!(words.len(), Switch::ALL.len());
        assert!(Switch::ALL.iter().enumerate().all(|(n, s)| *s as usize == n), "they are places in a list");
    }
}
