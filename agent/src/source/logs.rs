//! What units write to the journal: lines a second and the share of errors, over the last minute. The counting is done in
//! `context/journal`; this gives it to the sampling thread.

use tacit_wire::semconv;

use super::{Sample, Sampled, Slot, Source, SourceError};
use crate::context::LogCounts;

/// Length of the counted time in seconds.
const SECONDS: f32 = 60.0;

/// The source of family `log`.
#[derive(Debug)]
pub struct Logs {
    counts: LogCounts,
    generation: u64,
    slots: Vec<[Slot; 2]>,
    absent: bool,
}

impl Logs {
    /// Gives what `counts` holds.
    #[must_use]
    pub fn new(counts: LogCounts) -> Self {
        Self { counts, generation: 0, slots: Vec::new(), absent: false }
    }
}

impl Source for Logs {
    fn name(&self) -> &'static str {
        "log"
    }

    fn every(&self) -> u32 {
        if self.absent { 60 } else { 1 }
    }

    fn sample(&mut self, out: &mut Sample<'_>) -> Result<Sampled, SourceError> {
        let counts = self.counts.lock();
        self.absent = counts.followed == Some(false);
        if self.absent {
            return Ok(Sampled::Absent("the journal cannot be followed; the watcher `journal` says why".into()));
        }
        if counts.generation != self.generation {
            self.generation = counts.generation;
            let before = std::mem::take(&mut self.slots);
            for unit in counts.units() {
                let name = [("cgroup.name", unit.name.as_str())];
                self.slots.push([&semconv::LOG_LINES, &semconv::LOG_ERRORS].map(|m| out.table.register(m, &name)));
            }
            let gone = |slot: &Slot| *slot != Slot::NONE && !self.slots.iter().flatten().any(|s| s == slot);
            before.into_iter().flatten().filter(gone).for_each(|slot| out.table.retire(slot));
        }
        for (slots, unit) in self.slots.iter().zip(counts.units()) {
            let (lines, errors) = unit.last_minute(out.at.mono_ms);
            out.set(slots[0], lines as f32 / SECONDS);
            // No lines, no errors.
            out.set(slots[1], errors as f32 / lines.max(1) as f32);
        }
        Ok(Sampled::Data)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Tick;
    use crate::source::SeriesTable;

    #[test]
    fn a_unit_has_a_rate_and_a_ratio() {
        let counts = LogCounts::default();
        let mut source = Logs::new(counts.clone());
        counts.lock().followed = Some(false);
        let mut table = SeriesTable::new(8);
        let mut values = [f32::NAN; 8];
        let at = Tick::default().plus_ms(90_000_000);
        let mut sample = |values: &mut [f32]| source.sample(&mut Sample { at, table: &mut table, values });
        assert!(matches!(sample(&mut values), Ok(Sampled::Absent(_))));
        counts.lock().followed = Some(true);
        (0..12).for_each(|i| counts.lock().take("a.service", i < 3, at.mono_ms));
        assert_eq!(sample(&mut values).expect("it works"), Sampled::Data);
        assert_eq!(values[..2], [0.2, 0.25]);
    }
}
