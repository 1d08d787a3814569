//! The slow mean: how far each series is from where it was some four hours (of one-minute points) ago, in its own spread of
//! that time. It is no good for ranking, but it is what an alarm on a drifting node survives by.
//!
//! ```text
//! e = z - m;  d = sqrt(v) + 0.5;   score = |e| / d;   e = clamp(e, ±4 d);   m += a e;   v = (1 - a)(v + a e²)      a = 1/240
//! ```

/// Weight of the newest point.
const RATE: f32 = 1.0 / 240.0;

/// What is added to the deviation.
const FLOOR: f32 = 0.5;

/// The slow mean and variance of up to `capacity` series.
#[derive(Debug, Clone)]
pub struct Drift {
    mean: Vec<f32>,
    variance: Vec<f32>,
    scores: Vec<f32>,
}

impl Drift {
    /// For `capacity` slots.
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        Self { mean: vec![0.0; capacity], variance: vec![1.0; capacity], scores: vec![0.0; capacity] }
    }

    /// Forgets a slot.
    pub fn reset(&mut self, slot: usize) {
        (self.mean[slot], self.variance[slot], self.scores[slot]) = (0.0, 1.0, 0.0);
    }

    /// One point of every slot's deviations; what is not there stands at 0 and teaches nothing.
    pub fn step(&mut self, z: &[f32], present: &[bool]) {
        let state = self.mean.iter_mut().zip(&mut self.variance).zip(&mut self.scores);
        for (((mean, variance), score), (z, present)) in state.zip(z.iter().zip(present)) {
            if !*present {
                *score = 0.0;
                continue;
            }
            let (e, d) = (z - *mean, variance.sqrt() + FLOOR);
            *score = e.abs() / d;
            let e = e.clamp(-4.0 * d, 4.0 * d);
            *mean += RATE * e;
            *variance = (1.0 - RATE) * (*variance + RATE * e * e);
        }
    }

    /// Scores of the newest point by slot.
    #[must_use]
    pub fn scores(&self) -> &[f32] {
        &self.scores
    }
}
