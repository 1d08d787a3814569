//! What the agent itself costs, and whether it keeps to its budget.
//!
//! Processor time by thread comes from `/proc/self/task/*/stat`, memory from `/proc/self/smaps_rollup` (some 50 µs of
//! kernel work, so at most once a minute), disk writes from `/proc/self/io`.

use std::collections::HashMap;
use std::fs;

use tacit_wire::Num;
use tacit_wire::message::{Cost, ThreadCost};

use crate::clock::Tick;
use crate::source::Root;

/// Share of a core beyond which the agent says so and slows its process scan: twice the design's 0.12 CPU s a minute.
const CPU_BUDGET: f32 = 0.004;
/// Memory is read again after this long.
const MEMORY_EVERY_MS: u64 = 60_000;

/// Counters at one moment.
#[derive(Debug, Default)]
struct Reading {
    at: Tick,
    /// Thread id → name and processor seconds.
    threads: HashMap<u32, (String, f64)>,
    written: u64,
    sent: u64,
}

/// Measures the agent between two reports.
#[derive(Debug)]
pub struct SelfCost {
    root: Root,
    ticks_per_second: f64,
    last: Reading,
    memory_at: Option<u64>,
    pss: u64,
    anonymous: u64,
}

impl SelfCost {
    /// Starts measuring.
    #[must_use]
    pub fn new(root: &Root, now: Tick) -> Self {
        let ticks_per_second = rustix::param::clock_ticks_per_second() as f64;
        let mut cost = Self {
            root: root.clone(),
            ticks_per_second,
            last: Reading::default(),
            memory_at: None,
            pss: 0,
            anonymous: 0,
        };
        cost.last = cost.read(now, 0);
        cost
    }

    /// The cost since the last call. `sent` counts payload bytes since the start; the outbox fills in its own size.
    /// What the machine does not tell stays zero.
    pub fn measure(&mut self, now: Tick, sent: u64, inference_seconds: f32) -> Cost {
        if self.memory_at.is_none_or(|at| now.mono_ms.saturating_sub(at) >= MEMORY_EVERY_MS) {
            self.memory_at = Some(now.mono_ms);
            let text = fs::read_to_string(self.root.join("proc/self/smaps_rollup")).unwrap_or_default();
            (self.pss, self.anonymous) = (kib(&text, "Pss:"), kib(&text, "Anonymous:"));
        }
        let reading = self.read(now, sent);
        let seconds = now.seconds_since(self.last.at).max(0.001);
        // A thread that ended between two readings takes its last share with it.
        let share = |id: &u32, used: f64| {
            let before = self.last.threads.get(id).map_or(0.0, |(_, seconds)| *seconds);
            ((used - before).max(0.0) / seconds) as f32
        };
        let mut threads: Vec<ThreadCost> = Vec::new();
        for (id, (name, used)) in &reading.threads {
            let cpu = share(id, *used);
            match threads.iter_mut().find(|t| t.name == *name) {
                Some(thread) => thread.cpu = Num(thread.cpu.0 + cpu),
                None => threads.push(ThreadCost { name: name.clone(), cpu: Num(cpu) }),
            }
        }
        threads.sort_by(|a, b| b.cpu.0.total_cmp(&a.cpu.0));
        threads.truncate(16);
        let rate = |after: u64, before: u64| Num::quantised((after.saturating_sub(before) as f64 / seconds) as f32);
        let cost = Cost {
            cpu: Num::quantised(threads.iter().map(|t| t.cpu.0).sum()),
            pss: self.pss,
            anonymous: self.anonymous,
            sent: rate(reading.sent, self.last.sent),
            disk: rate(reading.written, self.last.written),
            threads: threads.into_iter().map(|t| ThreadCost { cpu: Num::quantised(t.cpu.0), ..t }).collect(),
            inference: Num::quantised(inference_seconds),
            outbox: 0,
        };
        self.last = reading;
        cost
    }

    fn read(&self, at: Tick, sent: u64) -> Reading {
        let mut reading = Reading { at, sent, ..Reading::default() };
        let tasks = fs::read_dir(self.root.join("proc/self/task"));
        for task in tasks.into_iter().flatten().flatten() {
            let Ok(id) = task.file_name().to_string_lossy().parse() else { continue };
            let stat = fs::read_to_string(task.path().join("stat")).unwrap_or_default();
            if let Some((name, ticks)) = thread(&stat) {
                reading.threads.insert(id, (name, ticks as f64 / self.ticks_per_second));
            }
        }
        let io = fs::read_to_string(self.root.join("proc/self/io")).unwrap_or_default();
        reading.written = number(&io, "write_bytes:");
        reading
    }
}

/// Whether the agent keeps to its processor budget, judged over about a minute: one busy measurement is no trend.
#[derive(Debug, Default)]
pub struct Budget {
    cpu: f32,
    over: bool,
}

impl Budget {
    /// Takes in what was used over the last `seconds`. Returns whether the agent is over its budget now, if that changed.
    /// Once over, it stays so until the use has halved: what relieves the budget must not switch on and off.
    pub fn judge(&mut self, cost: &Cost, seconds: f32) -> Option<bool> {
        self.cpu += (1.0 - (-seconds / 60.0).exp()) * (cost.cpu.0 - self.cpu);
        let over = self.cpu > if self.over { CPU_BUDGET / 2.0 } else { CPU_BUDGET };
        (std::mem::replace(&mut self.over, over) != over).then_some(over)
    }

    /// In plain words, when it is over.
    #[must_use]
    pub fn words(&self) -> Option<String> {
        self.over.then(|| {
            format!(
                "over budget: {:.2} % of a core, {:.2} % are meant; processes are scanned less often",
                self.cpu * 100.0,
                CPU_BUDGET * 100.0
            )
        })
    }
}

/// Name and processor ticks of a thread's `stat`; the name may hold spaces and brackets.
fn thread(stat: &str) -> Option<(String, u64)> {
    let (open, close) = (stat.find('(')?, stat.rfind(')')?);
    let mut fields = stat.get(close + 1..)?.split_ascii_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some((stat.get(open + 1..close)?.to_owned(), user + system))
}

fn number(text: &str, key: &str) -> u64 {
    let line = text.lines().find_map(|l| l.strip_prefix(key));
    line.and_then(|l| l.split_ascii_whitespace().next()).and_then(|n| n.parse().ok()).unwrap_or(0)
}

fn kib(text: &str, key: &str) -> u64 {
    number(text, key).saturating_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_kernels_forms() {
        let stat = "77 (tacit (x) net) S 1 77 77 0 -1 4194560 100 0 0 0 30 12 0 0 20 0 4 0 100 1 1";
        assert_eq!(thread(stat), Some(("tacit (x) net".into(), 42)));
        assert_eq!(thread(")("), None);
        assert_eq!(kib("Rss: 9 kB\nPss:      5000 kB\nPss_Dirty: 1 kB\n", "Pss:"), 5_120_000);
    }

    #[test]
    fn measures_itself() {
        let now = Tick::now();
        let mut cost = SelfCost::new(&Root::live(), now);
        let measured = cost.measure(now.plus_ms(1000), 500, 0.001);
        assert_eq!(measured.sent, Num(500.0));
        assert!(measured.pss > 0 && measured.anonymous > 0 && !measured.threads.is_empty());
    }

    #[test]
    fn says_when_it_costs_too_much_for_a_while() {
        let mut budget = Budget::default();
        let cost = |cpu| Cost { cpu: Num(cpu), ..Cost::default() };
        assert_eq!(budget.judge(&cost(0.04), 5.0), None, "a start is dear");
        let changes: Vec<bool> = (0..12).filter_map(|_| budget.judge(&cost(0.01), 5.0)).collect();
        assert_eq!(changes, [true]);
        assert!(budget.words().expect("over").starts_with("over budget: 0."));
        let changes: Vec<bool> = (0..60).filter_map(|_| budget.judge(&cost(0.001), 5.0)).collect();
        assert_eq!(changes, [false]);
        assert_eq!(budget.words(), None);
    }
}
