//! What a detector gives for a series.

use std::ops::Range;

/// Scores of all points of a series, and what else the detector said of them.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Scores {
    /// How anomalous each point is, for ranking; NaN where nothing judged it.
    pub severity: Vec<f32>,
    /// The value that decides on alarms, comparable between hosts; NaN where nothing judged it.
    pub alarm: Vec<f32>,
    /// The detector's own events: points from opening to closing, in order. `None` if it has only scores.
    pub open: Option<Vec<Range<usize>>>,
    /// Points at which a new event was raised; one that comes back is none.
    pub raised: Vec<usize>,
    /// Which metrics made the alarm, if it was asked for and the detector knows.
    pub attribution: Option<Attribution>,
    /// Bytes that must outlive a restart for the detector to go on.
    pub state_bytes: usize,
}

impl Scores {
    /// Scores of a method that has one score, no events and no attribution.
    #[must_use]
    pub fn one(score: Vec<f32>, state_bytes: usize) -> Self {
        Self { alarm: score.clone(), severity: score, state_bytes, ..Self::default() }
    }

    /// Gives points that were not judged the lowest score of those that were, or 0 when there are none.
    pub fn fill_unjudged(&mut self) {
        for scores in [&mut self.severity, &mut self.alarm] {
            let lowest = scores.iter().filter(|s| s.is_finite()).copied().reduce(f32::min).unwrap_or(0.0);
            scores.iter_mut().filter(|s| s.is_nan()).for_each(|s| *s = lowest);
        }
    }
}

/// Weights of the metrics at each point from `first` on.
#[derive(Debug, Clone, PartialEq)]
pub struct Attribution {
    first: usize,
    metrics: usize,
    /// `[point][metric]`.
    weights: Vec<f32>,
}

impl Attribution {
    /// Nothing yet; the first weights given are those of this point.
    #[must_use]
    pub fn starting(first: usize, metrics: usize) -> Self {
        Self { first, metrics: metrics.max(1), weights: Vec::new() }
    }

    /// The weights of the next point: as many as there are metrics, missing ones are 0.
    pub fn push(&mut self, weights: &[f32]) {
        let weights = weights.iter().copied().chain(std::iter::repeat(0.0)).take(self.metrics);
        self.weights.extend(weights);
    }

    /// Metrics with a positive weight at a point, heaviest first.
    #[must_use]
    pub fn ranking(&self, point: usize) -> Vec<usize> {
        let row = point.checked_sub(self.first).and_then(|row| self.weights.chunks_exact(self.metrics).nth(row));
        let weights = row.unwrap_or_default();
        let mut ranking: Vec<usize> = (0..weights.len()).filter(|m| weights[*m] > 0.0).collect();
        ranking.sort_by(|a, b| weights[*b].total_cmp(&weights[*a]));
        ranking
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unjudged_points_are_the_lowest() {
        let mut scores = Scores::one(vec![f32::NAN, 2.0, -1.0, f32::NAN], 0);
        scores.severity[2] = 3.0;
        scores.fill_unjudged();
        assert_eq!((scores.severity, scores.alarm), (vec![2.0, 2.0, 3.0, 2.0], vec![-1.0, 2.0, -1.0, -1.0]));
        let mut never = Scores::one(vec![f32::NAN; 2], 0);
        never.fill_unjudged();
        assert_eq!(never.alarm, [0.0; 2]);
    }

    #[test]
    fn the_heaviest_metrics_come_first_and_those_without_weight_not_at_all() {
        let mut attribution = Attribution::starting(10, 3);
        attribution.push(&[0.1, 0.0, 0.9]);
        attribution.push(&[0.5]);
        assert_eq!(attribution.ranking(10), [2, 0]);
        assert_eq!(attribution.ranking(11), [0]);
        assert!(attribution.ranking(9).is_empty() && attribution.ranking(12).is_empty());
    }
}
