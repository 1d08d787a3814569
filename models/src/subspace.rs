//! How the series of a node hang together: the Mahalanobis length of the host's state.
//!
//! Three features a series (its deviation, the mean of the last 20, and the deviation less the mean of the last 5) are
//! taken block by block: [`BLOCK`] neighbouring slots share one covariance, blocks are independent of each other. For up
//! to [`BLOCK`] series that is the full matrix; for 500 it is 16 matrices of 96×96 (0.3 MB) instead of one of 1500×1500
//! (9 MB), and a series that comes or goes changes its own block only.
//!
//! ```text
//! state² = Σ over blocks (f - m)ᵀ (C + 0.01 w̄ I)⁻¹ (f - m)  /  what is expected of it           1 = usual
//! ```
//!
//! Every entry of a covariance has the rate of the younger of its two series, so a newcomer needs no fresh start of the
//! others. Fits shrink correlations by `n / (n + n0)`, as far as the younger series is young.

use nalgebra::{Cholesky, DMatrix};

/// Slots that share a covariance.
pub const BLOCK: usize = 32;

/// Features a series.
pub const FEATURES: usize = 3;

/// Points that the prior (no correlation between series) weighs for each feature of a block.
const PRIOR_POINTS: f64 = 2.0;

/// The least variance of a feature as a share of its prior; below it a series hardly moves, and its first movement would be
/// everything.
const LEAST_VARIANCE: f64 = 0.1;

/// Points that bring as much news of a feature as one independent point: a mean of 20 says something new every 20.
const POINTS_A_NEWS: [f64; FEATURES] = [1.0, 20.0, 1.0];

/// Weight in points of the prior of a feature's own variance.
const OWN_POINTS: f64 = 20.0;

/// Ridge as a share of the mean variance.
const RIDGE: f64 = 0.01;

const SIDE: usize = BLOCK * FEATURES;

/// Running means and covariances, block by block.
#[derive(Debug, Clone)]
pub struct Subspace {
    horizon: f32,
    points: Vec<u32>,
    blocks: Vec<Block>,
    /// Work space: rates of the features of a block.
    rates: [f32; SIDE],
    centred: [f32; SIDE],
}

/// One block; feature `k` of its slot `s` is number `FEATURES * s + k`.
#[derive(Debug, Clone)]
struct Block {
    mean: [f32; SIDE],
    /// Lower triangle, row after row.
    covariance: Vec<f32>,
}

const fn row(i: usize) -> usize {
    i * (i + 1) / 2
}

impl Subspace {
    /// For `capacity` slots; `horizon_points` is the memory in points.
    #[must_use]
    pub fn new(capacity: usize, horizon_points: f64) -> Self {
        let block = Block { mean: [0.0; SIDE], covariance: vec![0.0; row(SIDE)] };
        Self {
            horizon: horizon_points as f32,
            points: vec![0; capacity],
            blocks: vec![block; capacity.div_ceil(BLOCK)],
            rates: [0.0; SIDE],
            centred: [0.0; SIDE],
        }
    }

    /// Points a slot has learned from.
    #[must_use]
    pub fn points(&self, slot: usize) -> u32 {
        self.points[slot]
    }

    /// Forgets a slot and what it had in common with others.
    pub fn reset(&mut self, slot: usize) {
        self.points[slot] = 0;
        let (block, first) = (&mut self.blocks[slot / BLOCK], slot % BLOCK * FEATURES);
        for i in 0..SIDE {
            for k in first..first + FEATURES {
                block.covariance[row(i.max(k)) + i.min(k)] = 0.0;
            }
        }
        block.mean[first..first + FEATURES].fill(0.0);
    }

    /// Learns from one point. `features[k]` is feature `k` of every slot, `usable(slot)` whether it is real.
    pub fn learn(&mut self, features: [&[f32]; FEATURES], usable: impl Fn(usize) -> bool) {
        let capacity = self.points.len();
        for (b, block) in self.blocks.iter_mut().enumerate() {
            let slots = b * BLOCK..((b + 1) * BLOCK).min(capacity);
            self.rates.fill(0.0);
            for (s, slot) in slots.enumerate() {
                let real = usable(slot);
                if real {
                    self.points[slot] = self.points[slot].saturating_add(1);
                }
                let rate = if real { (1.0 / self.points[slot] as f32).max(1.0 / self.horizon) } else { 0.0 };
                for (k, of_kind) in features.iter().enumerate() {
                    let f = FEATURES * s + k;
                    self.rates[f] = rate;
                    self.centred[f] = of_kind[slot] - block.mean[f];
                    block.mean[f] += rate * self.centred[f];
                }
            }
            block.learn(&self.rates, &self.centred);
        }
    }

    /// The blocks of these slots, in this order, ready for the graph. `slots` is ascending; `priors` are the variances that the
    /// features of each should have ([`crate::whiten::feature_variances`]).
    #[must_use]
    pub fn fit(&self, slots: &[u32], priors: &[[f64; FEATURES]]) -> Vec<BlockFit> {
        let mut priors = priors;
        slots
            .chunk_by(|a, b| *a as usize / BLOCK == *b as usize / BLOCK)
            .map(|together| {
                let block = &self.blocks[together[0] as usize / BLOCK];
                let points: Vec<u32> = together.iter().map(|s| self.points[*s as usize]).collect();
                let first: Vec<usize> = together.iter().map(|s| *s as usize % BLOCK * FEATURES).collect();
                let own;
                (own, priors) = priors.split_at(together.len().min(priors.len()));
                block.fit(&first, &points, own, f64::from(self.horizon))
            })
            .collect()
    }

    /// The nine covariances of a slot's features with those of another of its block (or with themselves), for keeping.
    #[must_use]
    pub fn pair(&self, slot: usize, other: usize) -> [f32; FEATURES * FEATURES] {
        let block = &self.blocks[slot / BLOCK];
        let (a, b) = (slot % BLOCK * FEATURES, other % BLOCK * FEATURES);
        std::array::from_fn(|n| {
            let (i, j) = (a + n / FEATURES, b + n % FEATURES);
            block.covariance[row(i.max(j)) + i.min(j)]
        })
    }

    /// Puts back what [`Subspace::pair`] gave.
    pub fn set_pair(&mut self, slot: usize, other: usize, values: &[f32; FEATURES * FEATURES]) {
        let block = &mut self.blocks[slot / BLOCK];
        let (a, b) = (slot % BLOCK * FEATURES, other % BLOCK * FEATURES);
        for (n, value) in values.iter().enumerate() {
            let (i, j) = (a + n / FEATURES, b + n % FEATURES);
            block.covariance[row(i.max(j)) + i.min(j)] = *value;
        }
    }

    /// Means of the features of a slot and the points behind them.
    #[must_use]
    pub fn mean(&self, slot: usize) -> ([f32; FEATURES], u32) {
        let first = slot % BLOCK * FEATURES;
        (std::array::from_fn(|k| self.blocks[slot / BLOCK].mean[first + k]), self.points[slot])
    }

    /// Puts back what [`Subspace::mean`] gave.
    pub fn set_mean(&mut self, slot: usize, (mean, points): ([f32; FEATURES], u32)) {
        let first = slot % BLOCK * FEATURES;
        self.blocks[slot / BLOCK].mean[first..first + FEATURES].copy_from_slice(&mean);
        self.points[slot] = points;
    }
}

impl Block {
    fn learn(&mut self, rates: &[f32; SIDE], centred: &[f32; SIDE]) {
        for i in 0..SIDE {
            let (rate, c) = (rates[i], centred[i]);
            if rate == 0.0 {
                continue;
            }
            let entries = &mut self.covariance[row(i)..=row(i) + i];
            for ((entry, other), d) in entries.iter_mut().zip(rates).zip(centred) {
                // Both must be there; then the younger one's rate.
                let a = if *other == 0.0 { 0.0 } else { rate.max(*other) };
                *entry += a * ((1.0 - a) * c * d - *entry);
            }
        }
    }

    /// `first[s]` is the first feature of the s-th series that takes part, `points[s]` how long it has learned.
    fn fit(&self, first: &[usize], points: &[u32], priors: &[[f64; FEATURES]], horizon: f64) -> BlockFit {
        let n = first.len();
        let side = n * FEATURES;
        // In the graph the features of one kind lie side by side.
        let number = |f: usize| first[f % n] + f / n;
        let learned = |f: usize| f64::from(points[f % n]).min(horizon);
        let shrunk = DMatrix::from_fn(side, side, |a, b| {
            let (i, j) = (number(a), number(b));
            let entry = f64::from(self.covariance[row(i.max(j)) + i.min(j)]);
            let entry = if entry.is_finite() { entry } else { 0.0 };
            if a == b {
                let prior = priors.get(a % n).map_or(1.0, |p| p[a / n].max(1e-6));
                let own = shrink(entry.max(0.0), prior, learned(a) / POINTS_A_NEWS[a / n], OWN_POINTS);
                return own.max(LEAST_VARIANCE * prior);
            }
            // Features of one series depend on each other by construction: they need less evidence.
            let prior = if a % n == b % n { OWN_POINTS } else { PRIOR_POINTS * side as f64 };
            shrink(entry, 0.0, learned(a).min(learned(b)), prior)
        });
        BlockFit::new(&shrunk, (0..side).map(|f| self.mean[number(f)]).collect())
    }
}

fn shrink(own: f64, prior: f64, points: f64, prior_points: f64) -> f64 {
    (points * own + prior_points * prior) / (points + prior_points)
}

/// A block ready for the graph: `y = (f - mean) factor`, and the sum of the squares of `y` is its share of the state.
#[derive(Debug, Clone, PartialEq)]
pub struct BlockFit {
    /// Means; the features of one kind lie side by side.
    pub mean: Vec<f32>,
    /// `[side, side]`, row after row: the inverse Cholesky factor, transposed.
    pub factor: Vec<f32>,
    /// What the sum of squares is expected to be.
    pub expected: f32,
}

impl BlockFit {
    fn new(covariance: &DMatrix<f64>, mean: Vec<f32>) -> Self {
        let side = mean.len();
        let mut ridge = RIDGE * covariance.trace() / side.max(1) as f64;
        // Entries of different age may not fit together: more ridge makes them.
        let factor = loop {
            let regular = covariance + DMatrix::identity(side, side) * ridge;
            if let Some(factor) = Cholesky::new(regular) {
                break factor;
            }
            ridge *= 3.0;
        };
        let expected = factor.solve(covariance).trace().max(1e-3);
        let inverse = factor.l().try_inverse().unwrap_or_else(|| DMatrix::identity(side, side));
        // nalgebra keeps columns together: the columns of the transpose are the rows asked for.
        let factor = inverse.iter().map(|x| *x as f32).collect();
        Self { mean, factor, expected: expected as f32 }
    }

    /// Number of series.
    #[must_use]
    pub fn series(&self) -> usize {
        self.mean.len() / FEATURES
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noise(seed: &mut u64) -> f32 {
        let mut sum = 0.0;
        for _ in 0..4 {
            *seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            sum += (*seed >> 40) as f32 / (1_u64 << 24) as f32 - 0.5;
        }
        sum * 1.7
    }

    /// Features in which series 1 follows series 0 and series 2 is by itself.
    fn features(seed: &mut u64) -> [[f32; 3]; FEATURES] {
        std::array::from_fn(|_| {
            let common = noise(seed);
            [common, common + 0.2 * noise(seed), noise(seed)]
        })
    }

    fn length(fit: &BlockFit, f: &[[f32; 3]; FEATURES]) -> f32 {
        let side = fit.mean.len();
        let c: Vec<f32> = f.iter().flatten().zip(&fit.mean).map(|(x, m)| x - m).collect();
        (0..side).map(|j| (0..side).map(|i| c[i] * fit.factor[i * side + j]).sum::<f32>().powi(2)).sum::<f32>()
            / fit.expected
    }

    fn learned(points: usize) -> Subspace {
        let (mut subspace, mut seed) = (Subspace::new(3, 1e5), 5);
        for _ in 0..points {
            let f = features(&mut seed);
            subspace.learn([&f[0], &f[1], &f[2]], |_| true);
        }
        subspace
    }

    #[test]
    fn what_breaks_the_ties_between_series_stands_out() {
        let fit = learned(4000).fit(&[0, 1, 2], &[[1.0; 3]; 3]);
        let (mut seed, mut usual) = (77, 0.0);
        for _ in 0..500 {
            usual += length(&fit[0], &features(&mut seed)) / 500.0;
        }
        assert!((0.85..1.15).contains(&usual), "usual is {usual}");
        let together = [[2.0, 2.0, 0.0], [0.0; 3], [0.0; 3]];
        let apart = [[2.0, -2.0, 0.0], [0.0; 3], [0.0; 3]];
        let (together, apart) = (length(&fit[0], &together), length(&fit[0], &apart));
        assert!(apart > 8.0 * together, "{apart} and {together}");
    }

    #[test]
    fn a_newcomer_leaves_the_others_as_they_are() {
        let mut subspace = learned(2000);
        let before = subspace.pair(0, 1);
        subspace.reset(2);
        assert_eq!((subspace.pair(0, 1), subspace.pair(2, 0), subspace.points(2)), (before, [0.0; 9], 0));
        let fit = subspace.fit(&[0, 1], &[[1.0; 3]; 2]);
        assert_eq!((fit.len(), fit[0].series()), (1, 2));
    }

    #[test]
    fn what_was_kept_comes_back() {
        let from = learned(500);
        let mut to = Subspace::new(3, 1e5);
        for a in 0..3 {
            to.set_mean(a, from.mean(a));
            (0..=a).for_each(|b| to.set_pair(a, b, &from.pair(a, b)));
        }
        assert_eq!(to.fit(&[0, 1, 2], &[[1.0; 3]; 3]), from.fit(&[0, 1, 2], &[[1.0; 3]; 3]));
    }

    #[test]
    fn nothing_learned_and_numbers_beyond_use_still_give_a_finite_fit() {
        let mut subspace = Subspace::new(40, 100.0);
        let all: Vec<u32> = (0..40).collect();
        for value in [0.0, f32::NAN, f32::MAX] {
            let row = [value; 40];
            subspace.learn([&row, &row, &row], |_| true);
            let fits = subspace.fit(&all, &[[1.0; 3]; 40]);
            assert_eq!(fits.len(), 2);
            assert!(fits.iter().all(|f| f.factor.iter().all(|x| x.is_finite()) && f.expected > 0.0), "{value}");
        }
    }
}
