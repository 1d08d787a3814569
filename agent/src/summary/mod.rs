//! What a quiet node says: minute means, batched, and only of what moved.
//!
//! Samples are added up without allocating; a batch is written when its last minute is over. What each profile sends and
//! how many bytes that is stands in `PROTOCOL.md`.

use tacit_wire::message::{Head, Profile, Row, Summary};
use tacit_wire::{Num, SeriesDef};

use crate::clock::Tick;
use crate::source::{Dictionary, Frame};

/// Length of a step.
pub const STEP_MS: u64 = 60_000;
/// Steps of a batch.
const BATCH: usize = 5;

/// The sums of the running minute and the minutes of the running batch.
pub struct Summariser {
    profile: Profile,
    capacity: usize,
    /// Every series that is mentioned is also named.
    name_all: bool,
    minute: Minute,
    /// Means, minima and maxima of the batch, by minute and slot.
    batch: Vec<MinuteRow>,
    filled: usize,
    /// The batch's length: the very first one is a single minute, so that a new node is soon seen.
    length: usize,
    start: Tick,
    sent: Box<[f32]>,
    announced: Box<[bool]>,
    lost: u32,
    budget: Option<Budget>,
}

struct Minute {
    number: Option<u64>,
    start: Tick,
    sum: Box<[f64]>,
    count: Box<[u32]>,
    min: Box<[f32]>,
    max: Box<[f32]>,
    alarm: f32,
}

struct MinuteRow {
    mean: Box<[f32]>,
    min: Box<[f32]>,
    max: Box<[f32]>,
    alarm: f32,
}

/// `bytes_per_month` as a purse that fills steadily.
struct Budget {
    per_ms: f64,
    left: f64,
    at_ms: u64,
}

impl Summariser {
    /// For `capacity` slots.
    #[must_use]
    pub fn new(profile: Profile, capacity: usize, name_all: bool, bytes_per_month: Option<u64>) -> Self {
        let row = || MinuteRow {
            mean: vec![f32::NAN; capacity].into(),
            min: vec![f32::NAN; capacity].into(),
            max: vec![f32::NAN; capacity].into(),
            alarm: f32::NAN,
        };
        Self {
            profile,
            capacity,
            name_all,
            minute: Minute::new(capacity),
            batch: (0..BATCH).map(|_| row()).collect(),
            filled: 0,
            length: 1,
            start: Tick::default(),
            sent: vec![f32::NAN; capacity].into(),
            announced: vec![false; capacity].into(),
            lost: 0,
            budget: bytes_per_month.map(Budget::per_month),
        }
    }

    /// Another profile, whether all are named, and another budget from now on. The running batch and what was said stay, and so
    /// does what is left in the purse: who reads the configuration again gets no new one.
    pub fn configure(&mut self, profile: Profile, name_all: bool, bytes_per_month: Option<u64>) {
        (self.profile, self.name_all) = (profile, name_all);
        let before = self.budget.take();
        self.budget = bytes_per_month.map(Budget::per_month);
        if let (Some(Budget { left, at_ms, .. }), Some(now)) = (before, &mut self.budget) {
            (now.left, now.at_ms) = (left, at_ms);
        }
    }

    /// Another series has the slot now.
    pub fn clear(&mut self, slot: usize) {
        if slot >= self.capacity {
            return;
        }
        (self.minute.sum[slot], self.minute.count[slot]) = (0.0, 0);
        (self.sent[slot], self.announced[slot]) = (f32::NAN, false);
        for row in &mut self.batch {
            (row.mean[slot], row.min[slot], row.max[slot]) = (f32::NAN, f32::NAN, f32::NAN);
        }
    }

    /// Adds a sample and its alarm value. When it begins a new minute, gives the means of the minute that ended.
    pub fn add(&mut self, frame: &Frame, alarm: f32) -> Option<(Tick, &[f32])> {
        self.lost = self.lost.saturating_add(frame.missed);
        let number = frame.at.mono_ms / STEP_MS;
        let ended = self.minute.number.is_some_and(|n| n != number);
        if ended {
            self.end_minute();
        }
        self.minute.add(number, frame, alarm);
        ended.then(|| {
            let row = &self.batch[self.filled - 1];
            (self.minute.start, &*row.mean)
        })
    }

    fn end_minute(&mut self) {
        if self.filled == 0 {
            self.start = self.minute.start;
        }
        let row = &mut self.batch[self.filled];
        for slot in 0..self.capacity {
            let count = self.minute.count[slot];
            let value = |v: f32| if count == 0 { f32::NAN } else { v };
            row.mean[slot] = value((self.minute.sum[slot] / f64::from(count.max(1))) as f32);
            row.min[slot] = value(self.minute.min[slot]);
            row.max[slot] = value(self.minute.max[slot]);
        }
        row.alarm = self.minute.alarm;
        self.filled += 1;
        self.minute.clear();
    }

    /// The batch, once it is whole.
    pub fn take(&mut self, head: Head, dictionary: &Dictionary) -> Option<Summary> {
        if self.filled < self.length {
            return None;
        }
        let (steps, first) = (std::mem::take(&mut self.filled), self.length == 1);
        self.length = BATCH;
        if self.profile == Profile::Events {
            return None;
        }
        let mut summary = Summary {
            head,
            epoch: dictionary.epoch,
            start_ms: self.start.wall_ms,
            step_s: (STEP_MS / 1000) as u32,
            steps: steps as u32,
            series: Vec::new(),
            rows: Vec::new(),
            bins: Vec::new(),
            lost_samples: std::mem::take(&mut self.lost),
            alarm: self.batch[..steps].iter().map(|r| Num::quantised(r.alarm)).collect(),
            left_out: 0,
        };
        for entry in &dictionary.entries {
            let slot = entry.slot.index();
            if let Some(row) = self.row(slot, steps, &entry.def) {
                if !self.afford(&row, summary.head.mono_ms) {
                    summary.left_out += 1;
                    continue;
                }
                // The first message of a node would be all names; they are asked for when somebody needs them.
                if self.name_all || !(first || std::mem::replace(&mut self.announced[slot], true)) {
                    summary.series.push(entry.def.clone());
                }
                summary.rows.push(row);
            }
        }
        Some(summary)
    }

    fn row(&mut self, slot: usize, steps: usize, def: &SeriesDef) -> Option<Row> {
        let full = self.profile == Profile::Full;
        let mut mean = Vec::with_capacity(steps);
        for row in &self.batch[..steps] {
            let value = row.mean[slot];
            let moved = full || has_moved(self.sent[slot], value, &def.unit);
            if moved && !value.is_nan() {
                self.sent[slot] = value;
            }
            mean.push(if moved { Num::quantised(value) } else { Num::NONE });
        }
        if mean.iter().all(|m| m.get().is_none()) {
            return None;
        }
        let all = |pick: fn(&MinuteRow) -> &[f32]| {
            full.then(|| self.batch[..steps].iter().map(|r| Num::quantised(pick(r)[slot])).collect())
        };
        Some(Row { id: def.id, mean, min: all(|r| &r.min), max: all(|r| &r.max) })
    }

    fn afford(&mut self, row: &Row, now_ms: u64) -> bool {
        let Some(budget) = &mut self.budget else { return true };
        let most = budget.per_ms * 86_400_000.0;
        budget.left =
            (budget.left + budget.per_ms * now_ms.saturating_sub(budget.at_ms) as f64).min(most.max(16.0 * 1024.0));
        budget.at_ms = now_ms;
        let bytes = 4.0 + 3.0 * row.mean.len() as f64 * if row.min.is_some() { 3.0 } else { 1.0 };
        let can = budget.left >= bytes;
        if can {
            budget.left -= bytes;
        }
        can
    }
}

impl Budget {
    fn per_month(bytes: u64) -> Self {
        Self { per_ms: bytes as f64 / (30.0 * 86_400_000.0), left: 16.0 * 1024.0, at_ms: 0 }
    }
}

impl Minute {
    fn new(capacity: usize) -> Self {
        Self {
            number: None,
            start: Tick::default(),
            sum: vec![0.0; capacity].into(),
            count: vec![0; capacity].into(),
            min: vec![f32::INFINITY; capacity].into(),
            max: vec![f32::NEG_INFINITY; capacity].into(),
            alarm: f32::NAN,
        }
    }

    fn add(&mut self, number: u64, frame: &Frame, alarm: f32) {
        if self.number.replace(number) != Some(number) {
            self.start = frame.at;
        }
        for (slot, value) in frame.values.iter().enumerate().take(self.sum.len()) {
            if value.is_finite() {
                self.sum[slot] += f64::from(*value);
                self.count[slot] += 1;
                self.min[slot] = self.min[slot].min(*value);
                self.max[slot] = self.max[slot].max(*value);
            }
        }
        // NaN is less than everything to `max`: a minute without a verdict has none.
        self.alarm = self.alarm.max(alarm);
    }

    fn clear(&mut self) {
        self.sum.fill(0.0);
        self.count.fill(0);
        self.min.fill(f32::INFINITY);
        self.max.fill(f32::NEG_INFINITY);
        self.alarm = f32::NAN;
    }
}

/// Whether a value differs from the last one sent by more than a tenth and by more than means anything in its unit.
fn has_moved(sent: f32, now: f32, unit: &str) -> bool {
    if now.is_nan() {
        return false;
    }
    if sent.is_nan() {
        return true;
    }
    let floor: f32 = match unit {
        "1" => 0.02,
        "By" => 16e6,
        "By/s" => 20e3,
        "s" => 0.005,
        "Cel" => 2.0,
        u if u.ends_with("/s") => 20.0,
        _ => 2.0,
    };
    (now - sent).abs() > floor.max(0.15 * sent.abs())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::SeriesTable;
    use proptest::prelude::*;
    use tacit_wire::semconv::Family;
    use tacit_wire::{BootId, Seq, StreamId};

    fn head() -> Head {
        let node = "n".parse().unwrap();
        Head {
            node,
            boot: BootId([0; 16]),
            stream: StreamId([0; 8]),
            seq: Seq(0),
            oldest: Seq(0),
            wall_ms: 0,
            mono_ms: 0,
        }
    }

    fn dictionary(series: usize) -> std::sync::Arc<Dictionary> {
        let mut table = SeriesTable::new(series);
        for i in 0..series {
            table.register_named(&format!("s{i}"), "1", Family::Cpu, &[]);
        }
        table.publish().unwrap()
    }

    fn run(
        summariser: &mut Summariser,
        dictionary: &Dictionary,
        seconds: u64,
        value: impl Fn(u64, usize) -> f32,
    ) -> Vec<Summary> {
        let mut out = Vec::new();
        let mut frame = Frame::new(summariser.capacity);
        for second in 0..seconds {
            frame.reset(Tick { mono_ms: second * 1000, wall_ms: second as i64 * 1000 });
            for slot in 0..summariser.capacity {
                frame.values[slot] = value(second, slot);
            }
            if summariser.add(&frame, -1.0).is_some() {
                out.extend(summariser.take(head(), dictionary));
            }
        }
        out
    }

    #[test]
    fn a_steady_series_is_said_once() {
        let dictionary = dictionary(2);
        let mut summariser = Summariser::new(Profile::Lean, 2, false, None);
        let out = run(
            &mut summariser,
            &dictionary,
            60 * 12 + 1,
            |second, slot| if slot == 0 { 0.5 } else { second as f32 / 60.0 },
        );
        assert_eq!(out.iter().map(|s| s.steps).collect::<Vec<_>>(), [1, 5, 5]);
        assert_eq!(out[0].rows.len(), 2);
        assert!(out[1].rows.iter().all(|r| r.id.0 == 1), "the steady one is silent");
        assert_eq!(out[1].rows[0].mean.len(), 5);
    }

    #[test]
    fn full_says_everything_and_events_nothing() {
        let dictionary = dictionary(2);
        let full = run(&mut Summariser::new(Profile::Full, 2, true, None), &dictionary, 361, |s, _| (s % 60) as f32);
        let row = &full[1].rows[0];
        assert_eq!(
            (row.mean.len(), row.min.as_ref().unwrap()[0], row.max.as_ref().unwrap()[0]),
            (5, Num(0.0), Num(59.0))
        );
        assert_eq!(full[1].series.len(), 2, "in JSON all are named");
        assert!(run(&mut Summariser::new(Profile::Events, 2, false, None), &dictionary, 1000, |_, _| 1.0).is_empty());
    }

    #[test]
    fn another_configuration_keeps_the_batch_and_the_purse() {
        let dictionary = dictionary(1);
        let mut summariser = Summariser::new(Profile::Lean, 1, false, Some(1 << 30));
        let first = run(&mut summariser, &dictionary, 61, |_, _| 1.0);
        assert_eq!((first.len(), first[0].rows[0].min.is_some()), (1, false));
        let left = summariser.budget.as_ref().unwrap().left;
        summariser.configure(Profile::Full, true, Some(1 << 20));
        assert_eq!(summariser.budget.as_ref().unwrap().left, left);
        let mut frame = Frame::new(1);
        let mut out = Vec::new();
        for second in 61..361_u64 {
            frame.reset(Tick { mono_ms: second * 1000, wall_ms: second as i64 * 1000 });
            frame.values[0] = 1.0;
            if summariser.add(&frame, -1.0).is_some() {
                out.extend(summariser.take(head(), &dictionary));
            }
        }
        assert_eq!((out.len(), out[0].steps, out[0].rows[0].min.is_some()), (1, 5, true));
        summariser.configure(Profile::Events, false, None);
        assert!(summariser.budget.is_none());
    }

    #[test]
    fn a_spent_budget_leaves_rows_out_and_says_so() {
        let dictionary = dictionary(40);
        let mut summariser = Summariser::new(Profile::Full, 40, false, Some(1000));
        summariser.budget.as_mut().unwrap().left = 100.0;
        let out = run(&mut summariser, &dictionary, 61, |_, _| 1.0);
        assert!(out[0].left_out > 0 && out[0].rows.len() + out[0].left_out as usize == 40);
    }

    proptest! {
        /// Law: a minute's mean lies between its least and largest value, and gaps do not count.
        #[test]
        fn means_are_between_extremes(values in prop::collection::vec(prop::option::of(-1e6_f32..1e6), 60)) {
            let dictionary = dictionary(1);
            let mut summariser = Summariser::new(Profile::Full, 1, false, None);
            let out = run(&mut summariser, &dictionary, 61, |second, _| values.get(second as usize).copied().flatten().unwrap_or(f32::NAN));
            let seen: Vec<f32> = values.iter().flatten().copied().collect();
            if seen.is_empty() {
                prop_assert!(out[0].rows.is_empty());
            } else {
                let row = &out[0].rows[0];
                let (min, max) = (row.min.as_ref().unwrap()[0].0, row.max.as_ref().unwrap()[0].0);
                prop_assert!(min <= row.mean[0].0 + 1e-3 * min.abs() && row.mean[0].0 <= max + 1e-3 * max.abs());
            }
        }
    }
}
