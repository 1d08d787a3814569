//! Memory and swap, from `/proc/meminfo`:
//!
//! ```text
//! MemTotal:       24684084 kB
//! MemFree:        22013012 kB
//! HugePages_Total:       0
//! ```
//!
//! "Used" is what is not available: `MemAvailable` already counts the cache that can be given back.

use tacit_wire::semconv as sc;

use super::keyed::{Keyed, Wanted, gauge, lines, number, words};
use super::{ParseError, ProcFile, Root, Sample, Sampled, Slot, Source, SourceError};

const KIB: f32 = 1024.0;

const LEVELS: &[Wanted] = &[
    gauge("MemFree", sc::MEMORY_USAGE, &["free"], KIB),
    gauge("MemAvailable", sc::MEMORY_AVAILABLE, &[], KIB),
    gauge("Buffers", sc::MEMORY_USAGE, &["buffers"], KIB),
    gauge("Cached", sc::MEMORY_USAGE, &["cached"], KIB),
    gauge("Active(anon)", sc::MEMORY_LRU, &["active_anonymous"], KIB),
    gauge("Inactive(anon)", sc::MEMORY_LRU, &["inactive_anonymous"], KIB),
    gauge("Active(file)", sc::MEMORY_LRU, &["active_file"], KIB),
    gauge("Inactive(file)", sc::MEMORY_LRU, &["inactive_file"], KIB),
    gauge("Unevictable", sc::MEMORY_UNEVICTABLE, &[], KIB),
    gauge("Dirty", sc::MEMORY_DIRTY, &[], KIB),
    gauge("Writeback", sc::MEMORY_WRITEBACK, &[], KIB),
    gauge("AnonPages", sc::MEMORY_ANONYMOUS, &[], KIB),
    gauge("Mapped", sc::MEMORY_MAPPED, &[], KIB),
    gauge("Shmem", sc::MEMORY_SHARED, &[], KIB),
    gauge("SReclaimable", sc::MEMORY_SLAB, &["reclaimable"], KIB),
    gauge("SUnreclaim", sc::MEMORY_SLAB, &["unreclaimable"], KIB),
    gauge("KernelStack", sc::MEMORY_KERNEL_STACK, &[], KIB),
    gauge("PageTables", sc::MEMORY_PAGE_TABLES, &[], KIB),
    gauge("Committed_AS", sc::MEMORY_COMMITTED, &[], KIB),
    gauge("Percpu", sc::MEMORY_PERCPU, &[], KIB),
];

/// The source of family `memory`.
#[derive(Debug)]
pub struct Memory {
    file: ProcFile,
    state: State,
}

#[derive(Debug)]
struct State {
    levels: Keyed,
    used: Option<[Slot; 2]>,
    swap: Option<[Slot; 3]>,
    huge: Option<[Slot; 2]>,
}

/// What is needed from several lines at once, in the file's units.
#[derive(Debug, Default, PartialEq)]
struct Totals {
    total: Option<u64>,
    available: Option<u64>,
    free: u64,
    swap_total: u64,
    swap_free: u64,
    swap_cached: u64,
    huge_total: u64,
    huge_free: u64,
}

impl Memory {
    /// Reads below `root`.
    #[must_use]
    pub fn new(root: &Root) -> Self {
        let state = State { levels: Keyed::new(LEVELS), used: None, swap: None, huge: None };
        Self { file: ProcFile::new(root.join("proc/meminfo"), 4096), state }
    }
}

impl Source for Memory {
    fn name(&self) -> &'static str {
        "memory"
    }

    fn sample(&mut self, out: &mut Sample<'_>) -> Result<Sampled, SourceError> {
        let done = self.state.update(self.file.read()?, out);
        done.map_err(|e| e.at(self.file.path()))?;
        Ok(Sampled::Data)
    }
}

impl State {
    fn update(&mut self, text: &[u8], out: &mut Sample<'_>) -> Result<(), ParseError> {
        let mut totals = Totals::default();
        let mut hint = 0;
        for (at, line) in lines(text) {
            let (key, value) = field(at, line)?;
            totals.take(key, value);
            self.levels.take(key, value, &mut hint, out);
        }
        let Some(total) = totals.total.filter(|t| *t > 0) else {
            return Err(ParseError::new(1, "a line \"MemTotal: … kB\"", text));
        };
        // Kernels before 3.14 do not say what is available.
        let available = totals.available.unwrap_or(totals.free).min(total);
        let [used, share] = *self.used.get_or_insert_with(|| {
            let used = out.table.register(&sc::MEMORY_USAGE, &[("system.memory.state", "used")]);
            [used, out.table.register(&sc::MEMORY_UTILIZATION, &[])]
        });
        out.set(used, (total - available) as f32 * KIB);
        out.set(share, (total - available) as f32 / total as f32);
        self.swap(&totals, out);
        self.huge(&totals, out);
        Ok(())
    }

    fn swap(&mut self, totals: &Totals, out: &mut Sample<'_>) {
        if totals.swap_total == 0 {
            for slot in self.swap.take().into_iter().flatten() {
                out.table.retire(slot);
            }
            return;
        }
        let [used, free, share] = *self.swap.get_or_insert_with(|| {
            let state = |s| [("system.paging.state", s)];
            [
                out.table.register(&sc::SWAP_USAGE, &state("used")),
                out.table.register(&sc::SWAP_USAGE, &state("free")),
                out.table.register(&sc::SWAP_UTILIZATION, &[]),
            ]
        });
        // What is in swap and in memory alike does not count as used.
        let in_use = totals.swap_total.saturating_sub(totals.swap_free).saturating_sub(totals.swap_cached);
        out.set(used, in_use as f32 * KIB);
        out.set(free, totals.swap_free as f32 * KIB);
        out.set(share, in_use as f32 / totals.swap_total as f32);
    }

    fn huge(&mut self, totals: &Totals, out: &mut Sample<'_>) {
        if totals.huge_total == 0 && self.huge.is_none() {
            return;
        }
        let [used, free] = *self.huge.get_or_insert_with(|| {
            ["used", "free"].map(|s| out.table.register(&sc::MEMORY_HUGE_PAGES, &[("system.memory.state", s)]))
        });
        out.set(used, totals.huge_total.saturating_sub(totals.huge_free) as f32);
        out.set(free, totals.huge_free as f32);
    }
}

impl Totals {
    fn take(&mut self, key: &[u8], value: u64) {
        match key {
            b"MemTotal" => self.total = Some(value),
            b"MemAvailable" => self.available = Some(value),
            b"MemFree" => self.free = value,
            b"SwapTotal" => self.swap_total = value,
            b"SwapFree" => self.swap_free = value,
            b"SwapCached" => self.swap_cached = value,
            b"HugePages_Total" => self.huge_total = value,
            b"HugePages_Free" => self.huge_free = value,
            _ => {}
        }
    }
}

/// `Name:   number [kB]`
fn field(at: usize, line: &[u8]) -> Result<(&[u8], u64), ParseError> {
    let mut words = words(line);
    let key = words.next().and_then(|w| w.strip_suffix(b":"));
    let value = words.next().and_then(number);
    key.zip(value).ok_or_else(|| ParseError::new(at, "\"Name: number\"", line))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_split() {
        assert_eq!(field(1, b"MemTotal:       24684084 kB"), Ok((&b"MemTotal"[..], 24_684_084)));
        assert_eq!(field(7, b"HugePages_Total:       0"), Ok((&b"HugePages_Total"[..], 0)));
        assert_eq!(field(2, b"MemFree 12").expect_err("no colon").line, 2);
    }
}
