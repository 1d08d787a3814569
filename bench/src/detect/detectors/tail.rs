//! From a raw score to one that is comparable between hosts: minus the decimal logarithm of how rare it was in training.
//!
//! Below the 98 % point the rarity is counted; above it a generalised Pareto tail is fitted by moments, with its shape
//! between 0 (exponential) and 1/2. Siffer et al., "Anomaly detection in streams with extreme value theory", KDD 2017.

/// Share of the training scores below the tail.
const BODY: f64 = 0.98;

/// Rarity of every score, `-log10 p`, with the scores before `train_end` (but for a warm-up of at most 64) as reference.
#[must_use]
pub fn rarity(scores: &[f64], train_end: usize) -> Vec<f32> {
    let warm_up = (train_end / 4).min(64);
    let mut reference = scores[warm_up..train_end].to_vec();
    reference.sort_unstable_by(f64::total_cmp);
    if reference.is_empty() {
        return vec![0.0; scores.len()];
    }
    let tail = Tail::fit(&reference);
    let n = reference.len() as f64;
    let p = |score: f64| {
        if score > tail.from {
            tail.beyond(score).min(tail.p)
        } else {
            let below = reference.partition_point(|r| *r < score) as f64;
            (1.0 - below / (n + 1.0)).max(tail.p)
        }
    };
    scores.iter().map(|score| -p(*score).max(1e-300).log10() as f32).collect()
}

struct Tail {
    from: f64,
    scale: f64,
    shape: f64,
    /// Share of the reference in the tail.
    p: f64,
}

impl Tail {
    /// From a reference in ascending order, at least one.
    fn fit(sorted: &[f64]) -> Self {
        let n = sorted.len();
        let from = sorted[(BODY * (n - 1) as f64) as usize];
        let excesses: Vec<f64> = sorted.iter().filter(|s| **s > from).map(|s| s - from).collect();
        let count = excesses.len() as f64;
        let p = (count / n as f64).max(1.0 / (n as f64 + 1.0));
        if excesses.len() < 10 {
            let scale = 1e-9 + (sorted[n - 1] - from).max(1e-3 * (from.abs() + 1e-9));
            return Self { from, scale, shape: 0.1, p };
        }
        let mean = excesses.iter().sum::<f64>() / count;
        let variance = excesses.iter().map(|e| (e - mean).powi(2)).sum::<f64>() / count + 1e-30;
        let shape = (0.5 * (1.0 - mean * mean / variance)).clamp(0.0, 0.5);
        Self { from, scale: (mean * (1.0 - shape)).max(1e-12), shape, p }
    }

    /// Probability of this score or more.
    fn beyond(&self, score: f64) -> f64 {
        let y = (score - self.from) / self.scale;
        let survival = if self.shape < 1e-3 { (-y).exp() } else { (1.0 + self.shape * y).powf(-1.0 / self.shape) };
        self.p * survival
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exponential_tail_is_continued() {
        // Quantiles of the exponential distribution: P(score > x) = exp(-x).
        let n = 20_000;
        let mut scores: Vec<f64> = (0..n).map(|i| -(1.0 - (f64::from(i) + 0.5) / f64::from(n)).ln()).collect();
        scores.extend([0.7, 9.0, 20.0]);
        let rarity = rarity(&scores, n as usize);
        let found = &rarity[n as usize..];
        assert!((found[0] - 0.304).abs() < 0.01, "{found:?}");
        assert!((found[1] - 3.91).abs() < 0.15, "{found:?}");
        assert!((found[2] - 8.69).abs() < 0.6, "{found:?}");
    }

    #[test]
    fn a_constant_reference_still_ranks_what_exceeds_it() {
        let mut scores = vec![1.0; 100];
        scores.extend([1.0, 1.1, 5.0]);
        let rarity = rarity(&scores, 100);
        assert!(rarity[100] < rarity[101] && rarity[101] < rarity[102], "{:?}", &rarity[100..]);
        assert!(rarity.iter().all(|r| r.is_finite()));
    }
}
