//! One pass over `/proc`.
//!
//! What is remembered from scan to scan is 32 bytes a process in one sorted vector (two while a scan runs), at most
//! [`MOST`] of them: 1.9 MB with 30,000 processes.

use std::io;
use std::path::PathBuf;

use rustix::fs::{Dir, Mode, OFlags, openat};
use tacit_wire::Num;
use tacit_wire::message::ProcessNote;

use super::stat::{self, Stat};
use super::{ProcessSnapshot, TOP};
use crate::clock::Tick;
use crate::source::cgroup::unit_of_process;
use crate::source::{Root, SourceError};

/// Processes remembered from scan to scan; more are counted, but cannot be on top by rate.
const MOST: usize = 65_536;

/// Scans `/proc` again and again.
#[derive(Debug)]
pub struct Scanner {
    proc: PathBuf,
    command_lines: bool,
    /// Clock ticks a second and bytes a page.
    hertz: f64,
    page: f64,
    before: Vec<Seen>,
    now: Vec<Seen>,
    last: Option<Tick>,
    buffer: Vec<u8>,
}

/// What is remembered of a process.
#[derive(Debug, Clone, Copy)]
struct Seen {
    pid: u32,
    pages: u32,
    start: u64,
    ticks: u64,
    io: Io,
}

/// Bytes read and written so far.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Io(u64);

impl Io {
    /// It belongs to somebody else; not asked again.
    const DENIED: Self = Self(u64::MAX);

    fn since(self, before: Self) -> Option<u64> {
        (self != Self::DENIED && before != Self::DENIED).then(|| self.0.saturating_sub(before.0))
    }
}

/// A process with its figures since the scan before.
#[derive(Debug, Clone)]
struct Candidate {
    pid: u32,
    name: String,
    cpu: f64,
    memory: f64,
    growth: f64,
    io: f64,
}

impl Scanner {
    /// Scans below `root`; command lines are read only when asked for.
    #[must_use]
    pub fn new(root: &Root, command_lines: bool) -> Self {
        Self {
            proc: root.join("proc"),
            command_lines,
            hertz: rustix::param::clock_ticks_per_second() as f64,
            page: rustix::param::page_size() as f64,
            before: Vec::new(),
            now: Vec::new(),
            last: None,
            buffer: vec![0; 4096],
        }
    }

    /// Whether command lines are read from now on.
    pub fn read_command_lines(&mut self, wanted: bool) {
        self.command_lines = wanted;
    }

    /// One scan, at `at`. Processes that end meanwhile are left out.
    ///
    /// # Errors
    /// When `/proc` itself cannot be read.
    pub fn scan(&mut self, at: Tick) -> Result<ProcessSnapshot, SourceError> {
        let path = self.proc.clone();
        let wrap = |e: rustix::io::Errno| SourceError::Read { path: path.clone(), source: io::Error::from(e) };
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let folder = rustix::fs::open(&self.proc, flags, Mode::empty()).map_err(wrap)?;
        let entries = Dir::read_from(&folder).map_err(wrap)?;

        let mut snapshot = ProcessSnapshot { at, rates: self.last.is_some(), ..Default::default() };
        let [mut by_cpu, mut by_memory, mut by_io] = [const { Top::new() }; 3];
        self.now.clear();
        for entry in entries {
            let entry = entry.map_err(wrap)?;
            let Some(pid) = pid_of(entry.file_name().to_bytes()) else { continue };
            let Some(candidate) = self.visit(&folder, pid, at, &mut snapshot) else { continue };
            by_cpu.offer(candidate.cpu, &candidate);
            by_io.offer(candidate.io, &candidate);
            by_memory.offer(candidate.memory, &candidate);
        }
        self.now.sort_unstable_by_key(|seen| seen.pid);
        std::mem::swap(&mut self.before, &mut self.now);
        self.last = Some(at);
        snapshot.top_cpu = self.notes(&folder, by_cpu);
        snapshot.top_memory = self.notes(&folder, by_memory);
        snapshot.top_io = self.notes(&folder, by_io);
        Ok(snapshot)
    }

    fn visit(
        &mut self,
        folder: &impl std::os::fd::AsFd,
        pid: u32,
        at: Tick,
        out: &mut ProcessSnapshot,
    ) -> Option<Candidate> {
        let length = read(folder, pid, "stat", &mut self.buffer).ok()?;
        let stat = stat::parse(self.buffer.get(..length)?)?;
        let name = String::from_utf8_lossy(stat.name).into_owned();
        let Stat { state, ticks, start, pages, .. } = stat;
        out.total += 1;
        match state {
            b'R' => out.running += 1,
            b'D' => out.blocked += 1,
            b'Z' | b'X' => out.zombie += 1,
            b'T' | b't' => out.stopped += 1,
            _ => out.sleeping += 1,
        }
        let before = self.remembered(pid, start);
        // Only a process that ran or waits for a disk can have moved bytes.
        let idle = before.is_some_and(|b| b.ticks == ticks && state != b'D');
        let io = match before {
            Some(b) if idle || b.io == Io::DENIED => b.io,
            _ => self.io(folder, pid),
        };
        if self.now.len() < MOST {
            self.now.push(Seen { pid, pages: u32::try_from(pages).unwrap_or(u32::MAX), start, ticks, io });
        }
        let memory = pages as f64 * self.page;
        let mut candidate = Candidate { pid, name, cpu: f64::NAN, memory, growth: f64::NAN, io: f64::NAN };
        // A process born since the scan before has done all it did in between.
        let born = Seen { pid, start, ticks: 0, pages: 0, io: Io(0) };
        let last = self.last.map_or(f64::INFINITY, |tick| tick.mono_ms as f64 / 1000.0);
        let base = before.or_else(|| (start as f64 / self.hertz >= last - 0.02).then_some(born));
        let seconds = at.mono_ms as f64 / 1000.0 - last;
        if let Some(base) = base
            && seconds > 0.0
        {
            candidate.cpu = ticks.saturating_sub(base.ticks) as f64 / self.hertz / seconds;
            candidate.growth = (pages as f64 - f64::from(base.pages)) * self.page;
            candidate.io = io.since(base.io).map_or(f64::NAN, |bytes| bytes as f64 / seconds);
        }
        Some(candidate)
    }

    fn remembered(&self, pid: u32, start: u64) -> Option<Seen> {
        let i = self.before.binary_search_by_key(&pid, |seen| seen.pid).ok()?;
        self.before.get(i).copied().filter(|seen| seen.start == start)
    }

    fn io(&mut self, folder: &impl std::os::fd::AsFd, pid: u32) -> Io {
        let Ok(length) = read(folder, pid, "io", &mut self.buffer) else { return Io::DENIED };
        self.buffer.get(..length).and_then(stat::parse_io).map_or(Io::DENIED, Io)
    }

    /// Adds what only the few on top need: unit and command line.
    fn notes(&mut self, folder: &impl std::os::fd::AsFd, top: Top) -> Vec<ProcessNote> {
        top.0
            .into_iter()
            .map(|(_, c)| {
                let mut text = |file| {
                    let length = read(folder, c.pid, file, &mut self.buffer).ok()?;
                    self.buffer.get(..length).map(<[u8]>::to_vec)
                };
                let unit = text("cgroup").and_then(|t| unit_of_process(&String::from_utf8_lossy(&t)));
                let command = if self.command_lines { text("cmdline") } else { None };
                ProcessNote {
                    pid: c.pid,
                    name: c.name,
                    command: command.and_then(|t| stat::command_line(&t)),
                    unit,
                    cpu: Num(c.cpu as f32),
                    memory: Num(c.memory as f32),
                    memory_growth: Num(c.growth as f32),
                    io: Num(c.io as f32),
                }
            })
            .collect()
    }
}

/// The largest so far, largest first.
#[derive(Debug)]
struct Top(Vec<(f64, Candidate)>);

impl Top {
    const fn new() -> Self {
        Self(Vec::new())
    }

    fn offer(&mut self, value: f64, candidate: &Candidate) {
        // Zero is not "on top", and NaN (unknown) compares false.
        let enters = value > 0.0 && (self.0.len() < TOP || self.0.last().is_some_and(|(least, _)| value > *least));
        if enters {
            self.0.truncate(TOP - 1);
            let place = self.0.partition_point(|(v, _)| *v >= value);
            self.0.insert(place, (value, candidate.clone()));
        }
    }
}

fn pid_of(name: &[u8]) -> Option<u32> {
    if !name.first().is_some_and(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(name).ok()?.parse().ok()
}

/// Reads `PID/file` below the open `/proc` into `buffer`: as much as fits.
fn read(folder: &impl std::os::fd::AsFd, pid: u32, file: &str, buffer: &mut [u8]) -> rustix::io::Result<usize> {
    let mut path = heapless::String::<32>::new();
    // The longest path, ten digits and "/cmdline", fits.
    let _ = std::fmt::Write::write_fmt(&mut path, format_args!("{pid}/{file}"));
    let fd = openat(folder, path.as_str(), OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOCTTY, Mode::empty())?;
    let mut filled = 0;
    while filled < buffer.len() {
        match rustix::io::read(&fd, &mut buffer[filled..]) {
            Ok(0) => break,
            Ok(n) => filled += n,
            Err(rustix::io::Errno::INTR) => {}
            Err(e) => return Err(e),
        }
    }
    Ok(filled)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidate(pid: u32) -> Candidate {
        Candidate { pid, name: String::new(), cpu: 0.0, memory: 0.0, growth: 0.0, io: 0.0 }
    }

    #[test]
    fn keeps_the_largest_in_order() {
        let mut top = Top::new();
        for (pid, value) in [(1, 3.0), (2, f64::NAN), (3, 9.0), (4, 0.0), (5, 1.0), (6, 5.0), (7, 4.0), (8, 2.0)] {
            top.offer(value, &candidate(pid));
        }
        assert_eq!(top.0.iter().map(|(_, c)| c.pid).collect::<Vec<_>>(), [3, 6, 7, 1, 8]);
    }

    #[test]
    fn a_remembered_process_is_small() {
        assert_eq!(size_of::<Seen>(), 32);
    }

    #[test]
    fn this_process_is_seen_and_its_work_counted() {
        let mut scanner = Scanner::new(&Root::live(), true);
        let start = Tick::now();
        let first = scanner.scan(start).expect("/proc is there");
        assert!(first.total > 0 && first.top_cpu.is_empty() && !first.top_memory.is_empty());
        let me = std::process::id();
        assert!(scanner.before.iter().any(|seen| seen.pid == me));
    }
}
