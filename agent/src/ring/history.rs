//! What each series was: every sample of the last five minutes, and minute means of the last six hours.
//!
//! Rows of all series by time, so that remembering a sample is one copy. Fixed memory: 300 rows of `f32` and 360 rows of
//! `bf16` (two digits and a half, but the range of `f32`: memory is counted in bytes) for each slot, 1,920 bytes a series.

use std::ops::RangeInclusive;

use half::bf16;
use tacit_wire::message::{Recording, RecordingRow};
use tacit_wire::{Num, SeriesDef};

use crate::clock::Tick;

/// Samples kept.
pub const SAMPLES: usize = 300;
/// Minute means kept.
pub const MINUTES: usize = 360;

/// Which tier of the history is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Span {
    /// Every sample of the last minutes.
    Samples,
    /// Minute means of the last hours.
    Minutes,
}

/// The history of all slots.
pub struct History {
    capacity: usize,
    samples: Tier<f32>,
    minutes: Tier<bf16>,
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

    /// The same rows with more slots.
    fn grow(&mut self, from: usize, to: usize, empty: T) {
        let mut rows = vec![empty; self.times.len() * to].into_boxed_slice();
        if from > 0 {
            for (new, old) in rows.chunks_exact_mut(to).zip(self.rows.chunks_exact(from)) {
                new[..from].copy_from_slice(old);
            }
        }
        self.rows = rows;
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
            minutes: Tier::new(MINUTES, capacity, bf16::NAN),
        }
    }

    /// Makes room for more slots, when series come that have none.
    pub fn grow(&mut self, capacity: usize) {
        if capacity > self.capacity {
            self.samples.grow(self.capacity, capacity, f32::NAN);
            self.minutes.grow(self.capacity, capacity, bf16::NAN);
            self.capacity = capacity;
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
            *place = bf16::from_f32(*mean);
        }
    }

    /// Forgets a slot: another series has it now.
    pub fn clear(&mut self, slot: usize) {
        if slot < self.capacity {
            self.samples.clear(slot, self.capacity, f32::NAN);
            self.minutes.clear(slot, self.capacity, bf16::NAN);
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

    /// The values of a slot between two moments, oldest first.
    fn values(&self, span: Span, slot: usize, between: RangeInclusive<u64>) -> impl Iterator<Item = (Tick, f32)> {
        let (samples, minutes) = match span {
            Span::Samples => (Some(&self.samples), None),
            Span::Minutes => (None, Some(&self.minutes)),
        };
        let cell = move |row: usize| row * self.capacity + slot;
        let samples = samples.into_iter().flat_map(move |t| t.order().map(move |r| (t.times[r], t.rows[cell(r)])));
        let minutes =
            minutes.into_iter().flat_map(move |t| t.order().map(move |r| (t.times[r], t.rows[cell(r)].to_f32())));
        samples.chain(minutes).filter(move |(at, _)| between.contains(&at.mono_ms))
    }

    /// The value of a slot farthest from `center` between two moments.
    #[must_use]
    pub fn farthest(&self, span: Span, slot: usize, between: RangeInclusive<u64>, center: f32) -> Option<f32> {
        let distance = |v: &f32| if center.is_nan() { *v } else { (v - center).abs() };
        let values = self.values(span, slot, between).map(|(_, v)| v).filter(|v| v.is_finite());
        values.max_by(|a, b| distance(a).total_cmp(&distance(b)))
    }

    /// A flight-recorder slice of some series: at most `points` long (its oldest part is left out), values rounded to three
    /// digits. `None` when nothing is held of that time.
    #[must_use]
    pub fn recording(
        &self,
        span: Span,
        series: &[(usize, &SeriesDef)],
        between: RangeInclusive<u64>,
        points: usize,
    ) -> Option<Recording> {
        let times: Vec<Tick> = self.values(span, series.first()?.0, between.clone()).map(|(at, _)| at).collect();
        let skip = times.len().saturating_sub(points);
        let (first, last) = (times.get(skip)?, times.last()?);
        let steps = (times.len() - skip).saturating_sub(1).max(1) as u64;
        let step_ms = ((last.mono_ms - first.mono_ms) / steps).max(1);
        let row = |(slot, def): &(usize, &SeriesDef)| RecordingRow {
            name: def.name.clone(),
            attributes: def.attributes.clone(),
            unit: def.unit.clone(),
            values: self.values(span, *slot, between.clone()).skip(skip).map(|(_, v)| Num::quantised(v)).collect(),
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
        assert!(history.values(Span::Minutes, 1, 0..=u64::MAX).all(|(_, v)| v.is_nan()));
        let minutes = history.values(Span::Minutes, 0, 0..=u64::MAX).map(|(_, v)| v);
        assert_eq!(minutes.collect::<Vec<_>>(), [1.0]);
    }

    #[test]
    fn what_was_remembered_stays_when_it_grows() {
        let mut history = History::new(0);
        history.push(tick(0), &[]);
        history.grow(1);
        history.push(tick(1), &[1.0]);
        history.push_minute(tick(1), &[4.0]);
        history.grow(2);
        history.push(tick(2), &[2.0, 3.0]);
        let rows: Vec<Vec<f32>> = history.between(1000, u64::MAX).map(|(_, v)| v.to_vec()).collect();
        assert!(rows[0][0] == 1.0 && rows[0][1].is_nan() && rows[1] == [2.0, 3.0], "{rows:?}");
        assert_eq!(history.farthest(Span::Minutes, 0, 0..=u64::MAX, f32::NAN), Some(4.0));
    }

    #[test]
    fn a_recording_is_cut_at_its_old_end() {
        let mut history = History::new(1);
        (0..100).for_each(|s| history.push(tick(s), &[s as f32]));
        let def = SeriesDef { id: tacit_wire::SeriesId(0), name: "a".into(), attributes: Vec::new(), unit: "1".into() };
        let cut = history.recording(Span::Samples, &[(0, &def)], 0..=90_000, 10).expect("it is held");
        assert_eq!((cut.start_ms, cut.step_ms, cut.rows[0].values.len()), (81_000, 1000, 10));
        history.push_minute(tick(60), &[1.6e10]);
        let minutes = history.recording(Span::Minutes, &[(0, &def)], 0..=90_000, 10).expect("it is held");
        assert!((minutes.rows[0].values[0].0 / 1.6e10 - 1.0).abs() < 0.01, "bytes have room");
        assert!(history.recording(Span::Samples, &[(0, &def)], 500_000..=600_000, 10).is_none());
    }
}
