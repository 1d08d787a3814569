//! Flat lines: a gauge that always moved and stands still, as a stuck sensor does. To every other test it looks calm.
//!
//! The length of the present run of equal values is compared with the longest run that was usual, of series that never stood
//! still for more than a few points: others rest when the machine does. A run of zeros is not a flat line: nothing happened,
//! and that is all a rate says then.

/// Changes before a series' runs mean anything.
const YOUNG: u32 = 100;

/// Longest usual run of a series that never stands still.
const LIVELY: f32 = 8.0;

/// A run is odd when it is this many times the longest usual one …
const TIMES: f32 = 3.0;

/// … plus this many points.
const PLUS: f32 = 10.0;

/// Largest score.
pub const LIMIT: f32 = 3.0;

/// Run lengths of up to `capacity` series.
#[derive(Debug, Clone)]
pub struct Flat {
    forget: f32,
    last: Vec<f32>,
    run: Vec<u32>,
    longest: Vec<f32>,
    /// Times the value changed.
    changes: Vec<u32>,
    scores: Vec<f32>,
}

impl Flat {
    /// `horizon_points` is the memory of the longest run.
    #[must_use]
    pub fn new(capacity: usize, horizon_points: f64) -> Self {
        Self {
            forget: (1.0 - 1.0 / horizon_points.max(2.0)) as f32,
            last: vec![f32::NAN; capacity],
            run: vec![0; capacity],
            longest: vec![0.0; capacity],
            changes: vec![0; capacity],
            scores: vec![0.0; capacity],
        }
    }

    /// Forgets a slot.
    pub fn reset(&mut self, slot: usize) {
        (self.last[slot], self.run[slot]) = (f32::NAN, 0);
        (self.longest[slot], self.changes[slot], self.scores[slot]) = (0.0, 0, 0.0);
    }

    /// One point of every slot.
    pub fn step(&mut self, values: &[f32], present: &[bool], learn: bool) {
        for (slot, score) in self.scores.iter_mut().enumerate() {
            *score = 0.0;
            if !present[slot] {
                continue;
            }
            let x = values[slot];
            let same = x.to_bits() == self.last[slot].to_bits();
            self.last[slot] = x;
            let longest = &mut self.longest[slot];
            let bound = TIMES * *longest + PLUS;
            if learn {
                self.changes[slot] = self.changes[slot].saturating_add(u32::from(!same));
                // Only runs that are over count, or a growing one would be its own measure; an odd one counts in part.
                let over = if same { 0.0 } else { (self.run[slot] as f32).min(2.0 * bound) };
                *longest = (*longest * self.forget).max(over);
            }
            self.run[slot] = if same { self.run[slot].saturating_add(1) } else { 1 };
            let run = self.run[slot] as f32;
            if self.changes[slot] >= YOUNG && *longest <= LIVELY && x != 0.0 && run > bound {
                *score = (run / bound).log2().min(LIMIT);
            }
        }
    }

    /// Scores of the newest point by slot, 0 to [`LIMIT`].
    #[must_use]
    pub fn scores(&self) -> &[f32] {
        &self.scores
    }

    /// The longest usual run of a slot and the changes behind it, for keeping.
    #[must_use]
    pub fn slot(&self, slot: usize) -> (f32, u32) {
        (self.longest[slot], self.changes[slot])
    }

    /// Puts back what [`Flat::slot`] gave.
    pub fn set_slot(&mut self, slot: usize, (longest, changes): (f32, u32)) {
        self.reset(slot);
        (self.longest[slot], self.changes[slot]) = (longest, changes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn feed(flat: &mut Flat, values: impl Iterator<Item = f32>) -> f32 {
        values
            .map(|x| {
                flat.step(&[x], &[true], true);
                flat.scores()[0]
            })
            .fold(0.0, f32::max)
    }

    #[test]
    fn a_stuck_gauge_shows_and_a_resting_rate_does_not() {
        let wave = |n: usize| (0..n).map(|i| 40.0 + (i % 7) as f32);
        let mut flat = Flat::new(1, 1e4);
        assert_eq!(feed(&mut flat, wave(1000)), 0.0);
        assert!(feed(&mut flat, std::iter::repeat_n(43.0, 30)) > 0.5);
        let mut flat = Flat::new(1, 1e4);
        feed(&mut flat, wave(1000));
        assert_eq!(feed(&mut flat, std::iter::repeat_n(0.0, 500)), 0.0);
    }

    #[test]
    fn what_rests_once_may_rest_again() {
        let wave = |n: usize| (0..n).map(|i| 40.0 + (i % 7) as f32);
        let mut flat = Flat::new(1, 1e5);
        feed(&mut flat, wave(1000));
        assert!(feed(&mut flat, std::iter::repeat_n(43.0, 60)) > 0.0);
        feed(&mut flat, wave(100));
        assert_eq!(feed(&mut flat, std::iter::repeat_n(43.0, 60)), 0.0);
    }

    #[test]
    fn what_often_stands_still_may() {
        let mut flat = Flat::new(1, 1e5);
        let steps = (0..2000).map(|i| (i / 50) as f32 + 1.0);
        assert_eq!(feed(&mut flat, steps), 0.0);
        assert_eq!(feed(&mut flat, std::iter::repeat_n(99.0, 100)), 0.0);
    }
}
