//! Processor time by mode, from `/proc/stat`:
//!
//! ```text
//! cpu  228367 18775 37901 693180 6421 0 286 639 0 0      user nice system idle iowait irq softirq steal guest guest_nice
//! cpu0 113233 6573 17799 352267 2630 0 24 300 0 0
//! intr 1394940 …
//! ctxt 3021123
//! processes 20310
//! procs_blocked 0
//! softirq 512003 …
//! ```
//!
//! Times are in ticks since boot. The kernel counts guest time inside user time, and `iowait` may go backwards: a mode
//! that went back counts as nothing, and shares are of what all modes gained, so they sum to one. When all modes together
//! went back, the counters began anew (a processor that came back, a restored machine) and there are no shares.

use tacit_wire::semconv as sc;

use super::keyed::{Keyed, Wanted, counter, gauge, lines, number, words};
use super::{ParseError, ProcFile, Rate, Root, Sample, Sampled, Slot, Source, SourceError, Width};

/// Modes in the order of the file; guest time is part of user time and left out.
const MODES: [&str; 8] = ["user", "nice", "system", "idle", "iowait", "interrupt", "softirq", "steal"];
/// Modes that are also kept of each core, on machines of up to [`CORES_IN_DETAIL`] of them.
const CORE_MODES: [usize; 4] = [0, 2, IOWAIT, 6];
const CORES_IN_DETAIL: u64 = 16;
/// Kinds of soft interrupts, in the order of the file.
const SOFTIRQS: [&str; 10] =
    ["hi", "timer", "net_tx", "net_rx", "block", "irq_poll", "tasklet", "sched", "hrtimer", "rcu"];
const IDLE: usize = 3;
const IOWAIT: usize = 4;

const COUNTS: &[Wanted] = &[
    counter("intr", sc::INTERRUPTS, &[], 1.0),
    counter("ctxt", sc::CONTEXT_SWITCHES, &[], 1.0),
    counter("processes", sc::PROCESSES_CREATED, &[], 1.0),
    gauge("procs_blocked", sc::THREADS_BLOCKED, &[], 1.0),
    counter("softirq", sc::SOFT_INTERRUPTS, &[], 1.0),
];

type Times = [u64; 8];

/// Shares of the time between two readings.
struct Shares {
    modes: [f32; 8],
    /// All but idle and iowait.
    busy: f32,
}

/// The source of family `cpu`.
#[derive(Debug)]
pub struct Cpu {
    file: ProcFile,
    state: State,
}

#[derive(Debug)]
struct State {
    counts: Keyed,
    total: Option<Times>,
    slots: Option<([Slot; 8], Slot)>,
    /// By number of the logical processor.
    cores: Vec<Core>,
    softirqs: [(Option<Slot>, Rate); 10],
}

#[derive(Debug, Default)]
struct Core {
    last: Option<Times>,
    slot: Option<Slot>,
    modes: Option<[Slot; 4]>,
    seen: bool,
}

impl Cpu {
    /// Reads below `root`.
    #[must_use]
    pub fn new(root: &Root) -> Self {
        let state = State {
            counts: Keyed::new(COUNTS),
            total: None,
            slots: None,
            cores: Vec::new(),
            softirqs: Default::default(),
        };
        Self { file: ProcFile::new(root.join("proc/stat"), 16 * 1024), state }
    }
}

impl Source for Cpu {
    fn name(&self) -> &'static str {
        "cpu"
    }

    fn sample(&mut self, out: &mut Sample<'_>) -> Result<Sampled, SourceError> {
        let done = self.state.update(self.file.read()?, out);
        done.map_err(|e| e.at(self.file.path()))?;
        Ok(Sampled::Data)
    }
}

impl State {
    fn update(&mut self, text: &[u8], out: &mut Sample<'_>) -> Result<(), ParseError> {
        let mut hint = 0;
        let mut total_seen = false;
        for (at, line) in lines(text) {
            let mut words = words(line);
            let Some(key) = words.next() else { continue };
            if key == b"cpu" {
                total_seen = true;
                self.total(times(at, line)?, out);
            } else if let Some(core) = key.strip_prefix(b"cpu").and_then(number) {
                self.core(core, times(at, line)?, out);
            } else if let Some(value) = words.next().and_then(number) {
                self.counts.take(key, value, &mut hint, out);
                if key == b"softirq" {
                    self.soft_interrupts(words, out);
                }
            }
        }
        self.retire_gone(out);
        if total_seen { Ok(()) } else { Err(ParseError::new(1, "a line that begins with \"cpu\"", text)) }
    }

    fn total(&mut self, now: Times, out: &mut Sample<'_>) {
        let (modes, busy) = *self.slots.get_or_insert_with(|| {
            let modes = MODES.map(|m| out.table.register(&sc::CPU_UTILIZATION, &[("cpu.mode", m)]));
            (modes, out.table.register(&sc::CPU_BUSY, &[]))
        });
        let Some(shares) = self.total.replace(now).and_then(|before| shares(&before, &now)) else { return };
        for (slot, share) in modes.into_iter().zip(shares.modes) {
            out.set(slot, share);
        }
        out.set(busy, shares.busy);
    }

    fn core(&mut self, number: u64, now: Times, out: &mut Sample<'_>) {
        // More than any machine has; a number beyond is garbage, not a processor.
        const MOST: u64 = 8192;
        if number >= MOST {
            return;
        }
        let number = number as usize;
        if self.cores.len() <= number {
            self.cores.resize_with(number + 1, Core::default);
        }
        let core = &mut self.cores[number];
        core.seen = true;
        let slot = *core.slot.get_or_insert_with(|| {
            let label = number.to_string();
            out.table.register(&sc::CPU_CORE_BUSY, &[("cpu.logical_number", &label)])
        });
        if (number as u64) < CORES_IN_DETAIL && core.modes.is_none() {
            let label = number.to_string();
            let register = |mode: usize| {
                let attributes = [("cpu.logical_number", label.as_str()), ("cpu.mode", MODES[mode])];
                out.table.register(&sc::CPU_CORE_UTILIZATION, &attributes)
            };
            core.modes = Some(CORE_MODES.map(register));
        }
        if let Some(shares) = core.last.replace(now).and_then(|before| shares(&before, &now)) {
            out.set(slot, shares.busy);
            for (slot, mode) in core.modes.into_iter().flatten().zip(CORE_MODES) {
                out.set(slot, shares.modes[mode]);
            }
        }
    }

    /// The counts of soft interrupts by kind that follow their sum.
    fn soft_interrupts<'a>(&mut self, counts: impl Iterator<Item = &'a [u8]>, out: &mut Sample<'_>) {
        for ((kind, (slot, rate)), count) in SOFTIRQS.iter().zip(&mut self.softirqs).zip(counts) {
            let Some(count) = number(count) else { return };
            let slot = *slot.get_or_insert_with(|| {
                out.table.register(&sc::SOFT_INTERRUPTS_BY_KIND, &[("system.linux.softirq", kind)])
            });
            // The kernel sums these in 32 bits on every machine.
            out.set(slot, rate.per_second(count, out.at, Width::Bits32));
        }
    }

    /// A processor that was taken away has no line any more.
    fn retire_gone(&mut self, out: &mut Sample<'_>) {
        for core in &mut self.cores {
            if !std::mem::take(&mut core.seen)
                && let Some(slot) = core.slot.take()
            {
                out.table.retire(slot);
                core.modes.take().into_iter().flatten().for_each(|slot| out.table.retire(slot));
                core.last = None;
            }
        }
    }
}

/// The eight times of a line; old kernels have fewer, which are zero then.
fn times(at: usize, line: &[u8]) -> Result<Times, ParseError> {
    let wrong = || ParseError::new(at, "at least four times in ticks", line);
    let mut times = Times::default();
    let mut found = 0;
    for (place, word) in times.iter_mut().zip(words(line).skip(1)) {
        *place = number(word).ok_or_else(wrong)?;
        found += 1;
    }
    if found >= 4 { Ok(times) } else { Err(wrong()) }
}

/// What share of the time between two readings each mode had; `None` when no time passed or the counters began anew.
fn shares(before: &Times, now: &Times) -> Option<Shares> {
    let sum = |times: &Times| times.iter().copied().map(u128::from).sum::<u128>();
    let mut gained = Times::default();
    for ((gain, before), now) in gained.iter_mut().zip(before).zip(now) {
        *gain = now.saturating_sub(*before);
    }
    let all = sum(&gained);
    (sum(now) > sum(before)).then(|| Shares {
        modes: gained.map(|g| g as f32 / all as f32),
        // Not one minus the rest: a processor at rest is exactly 0.
        busy: (all - u128::from(gained[IDLE]) - u128::from(gained[IOWAIT])) as f32 / all as f32,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_sum_to_one_even_when_a_mode_goes_back() {
        let before = [100, 0, 50, 1000, 30, 0, 0, 0];
        let now = [150, 0, 60, 1040, 29, 0, 0, 0];
        let shares = shares(&before, &now).expect("time passed");
        assert!((shares.modes.iter().sum::<f32>() - 1.0).abs() < 1e-6);
        assert_eq!((shares.modes[0], shares.busy), (0.5, 0.6));
        assert_eq!(shares.modes[IOWAIT], 0.0);
        assert!(super::shares(&now, &now).is_none());
    }

    #[test]
    fn garbage_names_its_line() {
        let error = times(3, b"cpu1 12 x 3 4").expect_err("x is no number");
        assert_eq!((error.line, error.found.as_str()), (3, "cpu1 12 x 3 4"));
        assert!(times(1, b"cpu 1 2").is_err());
        assert!(times(1, b"cpu 1 2 3 4").is_ok());
    }
}
