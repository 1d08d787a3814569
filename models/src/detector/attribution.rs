//! Which series make the score: now, and since the onset of what may become an event.

use super::Detector;

#[derive(Debug, Clone, Copy)]
pub(super) struct Onset {
    at_ms: u64,
    points: u32,
    below: u32,
}

impl Detector {
    /// Shares of the excess of score and level over the usual 1, now and since the onset.
    pub(super) fn attribute(&mut self, at_ms: u64) {
        let parts = self.scores.iter().zip(&self.levels).zip(self.learning.flat.scores()).zip(&mut self.shares);
        for (((score, level), flat), share) in parts {
            *share = if *score > 0.0 { (score - 1.0).max(0.0) + (level.abs() - 1.0).max(0.0) + flat } else { 0.0 };
        }
        let total: f32 = self.shares.iter().sum();
        let factor = if total > 0.0 { 1.0 / total } else { 0.0 };
        self.shares.iter_mut().for_each(|share| *share *= factor);
        let active = self.verdict.above() || self.verdict.is_open();
        if active && self.onset.is_none() {
            self.onset = Some(Onset { at_ms, points: 0, below: 0 });
            self.onset_shares.fill(0.0);
        }
        let Some(onset) = &mut self.onset else { return };
        onset.below = if active { 0 } else { onset.below + 1 };
        if onset.below > 8 {
            self.onset = None;
            return;
        }
        if self.verdict.above() {
            onset.points += 1;
            let weight = 1.0 / onset.points.min(60) as f32;
            for (mean, share) in self.onset_shares.iter_mut().zip(&self.shares) {
                *mean += weight * (share - *mean);
            }
        }
    }

    /// Attribution of the last judged point by slot: shares of the excess over usual, summing to 1 or all 0.
    #[must_use]
    pub fn shares(&self) -> &[f32] {
        &self.shares
    }

    /// Attribution smoothed since the onset of the event (or of the excess that may become one), summing to at most 1.
    #[must_use]
    pub fn onset_shares(&self) -> &[f32] {
        &self.onset_shares
    }

    /// When the score first exceeded the threshold, monotonic; `None` while all is quiet.
    #[must_use]
    pub fn onset_ms(&self) -> Option<u64> {
        self.onset.map(|o| o.at_ms)
    }
}
