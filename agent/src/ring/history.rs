//! What each series was: every sample of the last five minutes, and minute means of the last six hours.
//!
//! Rows of all series by time, so that remembering a sample is one copy. Fixed memory: 300 rows of `f32` and 360 rows of
//! `f16` for each slot, 1,920 bytes a series.

use half::f16;
use tacit_wire::message::{Recording, RecordingRow};
use tacit_wire::{Num, SeriesDef};

use crate::clock::Tick;

/// Samples kept.
pub const SAMPLES: usize = 300;
/// Minute means kept.
pub const MINUTES: usize = 360;

/// The history of all slots.
pub struct History {
    capacity: usize,
    samples: Tier<f32>,
    minutes: Tier<f16>,
}

/// One tier: a ring of rows.
struct Tier<T> {
    rows: Box<[T]>,
    times: Box<[Tick]>,
    next: usize,
    filled: usize,
}

impl<T: Copy> Tier<T> {
    fn new(length: usize, capacity: usize, empty: T) -> Self {
        Self {
            rows: vec![empty; length * capacity].into_boxed_slice(),
            times: vec![Tick::default(); length].into_boxed_slice(),
            next: 0,
            filled: 0,
        }
    }

    /// The row to write now.
    fn advance(&mut self, at: Tick, capacity: usize) -> &mut [T] {
        let row = self.next;
        self.times[row] = at;
        self.next = (row + 1) % self.times.len();
        self.filled = (self.filled + 1).min(self.times.len());
        &mut self.rows[row * capacity..(row + 1) * capacity]
    }

    /// Row numbers, oldest first.
    fn order(&self) -> impl Iterator<Item = usize> + '_ {
        let length = self.times.len();
        (0..self.filled).map(move |i| (self.next + length - self.filled + i) % length)
    }

    fn clear(&mut self, slot: usize, capacity: usize, empty: T) {
        self.rows.iter_mut().skip(slot).step_by(capacity).for_each(|v| *v = empty);
    }
}

impl History {
    /// Room for `capacity` slots.
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        Self {
            capacity,
            samples: Tier::new(SAMPLES, capacity, f32::NAN),
            minutes: Tier::new(MINUTES, capacity, f16::NAN),
        }
    }

    /// Remembers a sample.
    pub fn push(&mut self, at: Tick, values: &[f32]) {
        let row = self.samples.advance(at, self.capacity);
        row.copy_from_slice(&values[..row.len()]);
    }

    /// Remembers minute means.
    pub fn push_minute(&mut self, at: Tick, means: &[f32]) {
        let row = self.minutes.advance(at, self.capacity);
        for (place, mean) in row.iter_mut().zip(means) {
            *place = f16::from_f32(*mean);
        }
    }

    /// Forgets a slot: another series has it now.
    pub fn clear(&mut self, slot: usize) {
        if slot < self.capacity {
            self.samples.clear(slot, self.capacity, f32::NAN);
            self.minutes.clear(slot, self.capacity, f16::NAN);
        }
    }

    /// Samples between two moments, oldest first: time and row.
    pub fn between(&self, from_mono_ms: u64, to_mono_ms: u64) -> impl Iterator<Item = (Tick, &[f32])> {
        self.samples.order().filter_map(move |row| {
            let at = self.samples.times[row];
            let values = &self.samples.rows[row * self.capacity..(row + 1) * self.capacity];
            (from_mono_ms..=to_mono_ms).contains(&at.mono_ms).then_some((at, values))
        })
    }

    /// Minute means of one slot, oldest first.
    pub fn minutes_of(&self, slot: usize) -> impl Iterator<Item = (Tick, f32)> {
        self.minutes
            .order()
            .map(move |row| (self.minutes.times[row], self.minutes.rows[row * self.capacity + slot].to_f32()))
    }

    /// A flight-recorder slice of some series: full rate, at most `points` long (its oldest part is left out), values rounded to
    /// three digits. `None` when nothing is held of that time.
    #[must_use]
    pub fn recording(
        &self,
        series: &[(usize, &SeriesDef)],
        from_mono_ms: u64,
        to_mono_ms: u64,
        points: usize,
    ) -> Option<Recording> {
        let rows: Vec<(Tick, &[f32])> = self.between(from_mono_ms, to_mono_ms).collect();
        let rows = &rows[rows.len().saturating_sub(points)..];
        let (first, last) = (rows.first()?.0, rows.last()?.0);
        let steps = rows.len().saturating_sub(1).max(1) as u64;
        let step_ms = ((last.mono_ms - first.mono_ms) / steps).max(1);
        let row = |(slot, def): &(usize, &SeriesDef)| RecordingRow {
            name: def.name.clone(),
            attributes: def.attributes.clone(),
            unit: def.unit.clone(),
            values: rows.iter().map(|(_, values)| Num::quantised(values[*slot])).collect(),
        };
        Some(Recording {
            start_ms: first.wall_ms,
            step_ms: u32::try_from(step_ms).unwrap_or(u32::MAX),
            rows: series.iter().map(row).collect(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tick(second: u64) -> Tick {
        Tick { mono_ms: second * 1000, wall_ms: second as i64 * 1000 }
    }

    #[test]
    fn holds_the_newest_and_forgets_the_oldest() {
        let mut history = History::new(2);
        for second in 0..SAMPLES as u64 + 10 {
            history.push(tick(second), &[second as f32, 0.0]);
        }
        let held: Vec<f32> = history.between(0, u64::MAX).map(|(_, v)| v[0]).collect();
        assert_eq!((held.len(), held[0], held[SAMPLES - 1]), (SAMPLES, 10.0, SAMPLES as f32 + 9.0));
    }

    #[test]
    fn a_reused_slot_has_no_past() {
        let mut history = History::new(2);
        history.push(tick(1), &[1.0, 2.0]);
        history.push_minute(tick(1), &[1.0, 2.0]);
        history.clear(1);
        assert!(history.between(0, u64::MAX).all(|(_, v)| v[0] == 1.0 && v[1].is_nan()));
        assert!(history.minutes_of(1).all(|(_, v)| v.is_nan()));
        assert_eq!(history.minutes_of(0).map(|(_, v)| v).collect::<Vec<_>>(), [1.0]);
    }

    #[test]
    fn a_recording_is_cut_at_its_old_end() {
        let mut history = History::new(1);
        (0..100).for_each(|s| history.push(tick(s), &[s as f32]));
        let def = SeriesDef { id: tacit_wire::SeriesId(0), name: "a".into(), attributes: Vec::new(), unit: "1".into() };
        let cut = history.recording(&[(0, &def)], 0, 90_000, 10).expect("it is held");
        assert_eq!((cut.start_ms, cut.step_ms, cut.rows[0].values.len()), (81_000, 1000, 10));
        assert!(history.recording(&[(0, &def)], 500_000, 600_000, 10).is_none());
    }
}
