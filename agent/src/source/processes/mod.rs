//! Processes: how many in which state, and the ones on top by processor, memory and disk.
//!
//! A scan reads `/proc/PID/stat` of every process, and `/proc/PID/io` of those that ran since the scan before. It is
//! the dearest thing the agent does, so it runs on its own thread every `process_interval`, and at once when an event
//! opens ([`ProcessScan::request`]). `agent/README.md` has the measured cost, beside that of `sysinfo`.

mod scan;
mod stat;

pub use scan::Scanner;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tacit_wire::message::ProcessNote;
use tacit_wire::semconv;

use super::feed::Feed;
use super::{Root, Sample, Sampled, Slot, Source, SourceError};
use crate::clock::Tick;

/// How many processes each list holds.
pub const TOP: usize = 5;

/// One scan.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ProcessSnapshot {
    /// When it was made.
    pub at: Tick,
    /// Processes that exist (not threads).
    pub total: u32,
    /// On a processor or waiting for one.
    pub running: u32,
    /// In uninterruptible sleep, usually for a disk.
    pub blocked: u32,
    /// Asleep.
    pub sleeping: u32,
    /// Stopped by a signal or a debugger.
    pub stopped: u32,
    /// Dead, and not yet waited for by their parent.
    pub zombie: u32,
    /// Whether there was a scan before, so that there are rates.
    pub rates: bool,
    /// Most processor use since the scan before; empty in the first scan.
    pub top_cpu: Vec<ProcessNote>,
    /// Most resident memory.
    pub top_memory: Vec<ProcessNote>,
    /// Most bytes read from and written to disks since the scan before; empty without permission.
    pub top_io: Vec<ProcessNote>,
}

impl ProcessSnapshot {
    /// The three lists as one, each process once, processor users first.
    #[must_use]
    pub fn notes(&self) -> Vec<ProcessNote> {
        let mut notes: Vec<ProcessNote> = Vec::with_capacity(3 * TOP);
        for note in self.top_cpu.iter().chain(&self.top_io).chain(&self.top_memory) {
            if notes.iter().all(|n| n.pid != note.pid) {
                notes.push(note.clone());
            }
        }
        notes
    }
}

/// The scan's handle: cheap to clone, usable from any thread. The thread ends with the last handle.
#[derive(Debug, Clone)]
pub struct ProcessScan {
    feed: Arc<Feed<Result<ProcessSnapshot, String>>>,
    interval_ms: u64,
    command_lines: Arc<AtomicBool>,
}

/// How much rarer scans are while the agent is over its budget.
const SLOWED: u64 = 6;
/// A scan is believed for so many intervals.
const STALE: u64 = 2 * SLOWED;

impl ProcessScan {
    /// Starts the thread `tacit-slow-proc`.
    ///
    /// # Errors
    /// When the system refuses another thread.
    pub fn start(root: &Root, interval: Duration, command_lines: bool) -> std::io::Result<Self> {
        let mut scanner = Scanner::new(root, command_lines);
        let command_lines = Arc::new(AtomicBool::new(command_lines));
        let wanted = Arc::clone(&command_lines);
        let feed = Feed::start("tacit-slow-proc", interval, move || {
            scanner.read_command_lines(wanted.load(Ordering::Relaxed));
            scanner.scan(Tick::now()).map_err(|error| error.to_string())
        })?;
        let interval_ms = u64::try_from(interval.as_millis()).unwrap_or(u64::MAX);
        Ok(Self { feed: Arc::new(feed), interval_ms, command_lines })
    }

    /// Whether scans read command lines; the next one comes at once, so that what was read before is not told any more.
    pub fn read_command_lines(&self, wanted: bool) {
        self.command_lines.store(wanted, Ordering::Relaxed);
        self.feed.request();
    }

    /// Asks for a scan now, because an event opened; returns at once.
    pub fn request(&self) {
        self.feed.request();
    }

    /// Scans less often while the agent is over its budget, and as configured again after that.
    pub fn slow_down(&self, slow: bool) {
        let factor = if slow { SLOWED } else { 1 };
        self.feed.set_interval(Duration::from_millis(self.interval_ms.saturating_mul(factor)));
    }

    /// The newest scan, if there was one.
    #[must_use]
    pub fn newest(&self) -> Option<Arc<Result<ProcessSnapshot, String>>> {
        self.feed.newest().map(|(_, snapshot)| snapshot)
    }

    /// Asks for a scan and waits for it, at most `limit`.
    pub fn refresh(&self, limit: Duration) {
        self.feed.refresh(limit);
    }
}

/// The source of family `processes`.
#[derive(Debug)]
pub struct Processes {
    input: Input,
    slots: Option<[Slot; 8]>,
}

#[derive(Debug)]
enum Input {
    /// The live machine: the newest scan of the thread.
    Scan(ProcessScan),
    /// A recorded tree: scanned in place.
    Tree(Box<Scanner>),
}

impl Processes {
    /// Takes its values from a running scan.
    #[must_use]
    pub fn new(scan: ProcessScan) -> Self {
        Self { input: Input::Scan(scan), slots: None }
    }

    /// Scans the tree below `root` at each sample.
    #[must_use]
    pub fn of_tree(root: &Root) -> Self {
        Self { input: Input::Tree(Box::new(Scanner::new(root, true))), slots: None }
    }
}

impl Source for Processes {
    fn name(&self) -> &'static str {
        "processes"
    }

    fn sample(&mut self, out: &mut Sample<'_>) -> Result<Sampled, SourceError> {
        let values = match &mut self.input {
            Input::Scan(scan) => match scan.newest().as_deref() {
                None => return Ok(Sampled::Data),
                // The thread hangs or is gone: old counts would look like calm.
                Some(Ok(s)) if out.at.mono_ms.saturating_sub(s.at.mono_ms) > STALE.saturating_mul(scan.interval_ms) => {
                    return Ok(Sampled::Data);
                }
                Some(Ok(snapshot)) => values(snapshot),
                Some(Err(error)) => return Err(SourceError::Other(error.clone())),
            },
            Input::Tree(scanner) => values(&scanner.scan(out.at)?),
        };
        let slots = *self.slots.get_or_insert_with(|| {
            let mut counted = |state| out.table.register(&semconv::PROCESS_COUNT, &[("process.state", state)]);
            let [a, b, c, d, e] = ["running", "blocked", "sleeping", "stopped", "defunct"].map(&mut counted);
            use semconv::{PROCESS_TOP_CPU, PROCESS_TOP_IO, PROCESS_TOP_MEMORY};
            let [f, g, h] = [PROCESS_TOP_CPU, PROCESS_TOP_MEMORY, PROCESS_TOP_IO].map(|m| out.table.register(&m, &[]));
            [a, b, c, d, e, f, g, h]
        });
        for (slot, value) in slots.into_iter().zip(values) {
            out.set(slot, value);
        }
        Ok(Sampled::Data)
    }
}

fn values(s: &ProcessSnapshot) -> [f32; 8] {
    let [running, blocked, sleeping, stopped, zombie] =
        [s.running, s.blocked, s.sleeping, s.stopped, s.zombie].map(|count| count as f32);
    // With nobody on top, nothing was used; before the second scan, nothing is known.
    let idle = if s.rates { 0.0 } else { f32::NAN };
    let cpu = s.top_cpu.first().map_or(idle, |n| n.cpu.0);
    let memory = s.top_memory.first().map_or(f32::NAN, |n| n.memory.0);
    let io = s.top_io.first().map_or(idle, |n| n.io.0);
    [running, blocked, sleeping, stopped, zombie, cpu, memory, io]
}
