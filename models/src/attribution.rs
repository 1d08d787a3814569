//! Which series make the score: now, and since the onset of what may become an event.

use crate::verdict::Verdict;

/// Points that are not above the bar before an excess that became no event is forgotten.
const FORGOTTEN: u32 = 8;
/// Points behind the mean since the onset.
const LONGEST: u32 = 60;

/// Shares by slot.
#[derive(Debug, Default)]
pub(crate) struct Attribution {
    now: Vec<f32>,
    since_onset: Vec<f32>,
    onset: Option<Onset>,
}

#[derive(Debug, Clone, Copy)]
struct Onset {
    at_ms: u64,
    points: u32,
    below: u32,
}

impl Attribution {
    pub fn new(capacity: usize) -> Self {
        Self { now: vec![0.0; capacity], since_onset: vec![0.0; capacity], onset: None }
    }

    /// Makes room for more slots.
    pub fn grow(&mut self, capacity: usize) {
        let capacity = capacity.max(self.now.len());
        self.now.resize(capacity, 0.0);
        self.since_onset.resize(capacity, 0.0);
    }

    pub fn clear(&mut self, slot: usize) {
        (self.now[slot], self.since_onset[slot]) = (0.0, 0.0);
    }

    /// Takes in what each slot adds beyond the usual to a point that was just judged.
    pub fn follow(&mut self, excesses: impl Iterator<Item = f32>, verdict: &Verdict, at_ms: u64) {
        self.now.iter_mut().zip(excesses).for_each(|(share, excess)| *share = excess);
        let total: f32 = self.now.iter().sum();
        let factor = if total > 0.0 { 1.0 / total } else { 0.0 };
        self.now.iter_mut().for_each(|share| *share *= factor);
        let active = verdict.above() || verdict.is_open();
        if active && self.onset.is_none() {
            self.onset = Some(Onset { at_ms, points: 0, below: 0 });
            self.since_onset.fill(0.0);
        }
        let Some(onset) = &mut self.onset else { return };
        onset.below = if active { 0 } else { onset.below + 1 };
        if onset.below > FORGOTTEN {
            self.onset = None;
            return;
        }
        if verdict.above() {
            onset.points += 1;
            let weight = 1.0 / onset.points.min(LONGEST) as f32;
            for (mean, share) in self.since_onset.iter_mut().zip(&self.now) {
                *mean += weight * (share - *mean);
            }
        }
    }

    pub fn now(&self) -> &[f32] {
        &self.now
    }

    pub fn since_onset(&self) -> &[f32] {
        &self.since_onset
    }

    pub fn onset_ms(&self) -> Option<u64> {
        self.onset.map(|o| o.at_ms)
    }
}
