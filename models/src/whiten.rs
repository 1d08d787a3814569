//! How a series' deviations hang together in time: the whitened window.
//!
//! The covariance of a window of [`WINDOW`] consecutive points of one series is Toeplitz (entry `i, j` is the
//! autocovariance at lag `|i - j|`, up to edges that vanish with the length of the history), so sixteen running numbers
//! a series replace a history buffer and a 16×16 matrix. The score of a window `x` is its Mahalanobis length
//!
//! ```text
//! score = sqrt( xᵀ (C + 0.02 w̄ I)⁻¹ x / mean over training of the same )         1 = usual, in training rms
//! ```
//!
//! A symmetric Toeplitz matrix has symmetric and antisymmetric eigenvectors only. With `s = first half + reversed second
//! half` and `a = first half - reversed second half` the form splits exactly into two of size 8, and as only the sum of
//! squares is wanted, each is kept as a triangular factor: 72 numbers and multiplications a series instead of 256.

use nalgebra::{Cholesky, SMatrix, SymmetricEigen};

/// Points in a window.
pub const WINDOW: usize = 16;

/// Half a window: the size of each of the two forms.
pub const HALF: usize = WINDOW / 2;

/// Numbers in one triangular factor.
pub const PACKED: usize = HALF * (HALF + 1) / 2;

/// Weight of the prior in points. It is an AR(1) process with the series' own lag-1 correlation: one parameter, so two
/// minutes of data are worth as much.
const PRIOR_POINTS: f64 = 120.0;

/// Variance of a normal variable whose mean absolute deviation is 1: what a standardised series has by construction.
const PRIOR_VARIANCE: f64 = std::f64::consts::FRAC_PI_2;

/// The least variance of a deviation that a window is measured by.
const LEAST_VARIANCE: f64 = 0.2;

type Half = SMatrix<f64, HALF, HALF>;

/// Running autocovariances at lags 0 to 15 of up to `capacity` series.
#[derive(Debug, Clone)]
pub struct Autocovariance {
    capacity: usize,
    horizon: f32,
    /// `[lag][slot]`.
    lags: Vec<f32>,
    points: Vec<u32>,
    rate: Vec<f32>,
}

impl Autocovariance {
    /// `horizon_points` is the memory in points.
    #[must_use]
    pub fn new(capacity: usize, horizon_points: f64) -> Self {
        Self {
            capacity,
            horizon: horizon_points as f32,
            lags: vec![0.0; capacity * WINDOW],
            points: vec![0; capacity],
            rate: vec![0.0; capacity],
        }
    }

    /// Forgets a slot, or gives it what a series had learned before.
    pub fn reset(&mut self, slot: usize, saved: Option<([f32; WINDOW], u32)>) {
        let (lags, points) = saved.unwrap_or(([0.0; WINDOW], 0));
        for (lag, value) in lags.into_iter().enumerate() {
            self.lags[lag * self.capacity + slot] = value;
        }
        self.points[slot] = points;
    }

    /// The autocovariances of a slot and the points behind them.
    #[must_use]
    pub fn slot(&self, slot: usize) -> ([f32; WINDOW], u32) {
        (std::array::from_fn(|lag| self.lags[lag * self.capacity + slot]), self.points[slot])
    }

    /// Points a slot has learned from.
    #[must_use]
    pub fn points(&self, slot: usize) -> u32 {
        self.points[slot]
    }

    /// Learns from the newest point. `row(lag)` is the row of deviations that many points ago, `usable(slot)` whether
    /// the slot's whole window is real.
    pub fn learn<'a>(&mut self, row: impl Fn(usize) -> &'a [f32], usable: impl Fn(usize) -> bool) {
        for slot in 0..self.capacity {
            self.rate[slot] = if usable(slot) {
                self.points[slot] = self.points[slot].saturating_add(1);
                (1.0 / self.points[slot] as f32).max(1.0 / self.horizon)
            } else {
                0.0
            };
        }
        let now = row(0);
        for lag in 0..WINDOW {
            let (then, lags) = (row(lag), &mut self.lags[lag * self.capacity..(lag + 1) * self.capacity]);
            for (((r, a), x), y) in lags.iter_mut().zip(&self.rate).zip(now).zip(then) {
                *r += a * (x * y - *r);
            }
        }
    }
}

/// The two triangular factors of one series, packed: entry `i, j` (`i >= j`) at [`packed`]. With `s` and `a` as in the
/// module's description, `score² = Σⱼ (Σ_{i≥j} L[i,j] sᵢ)² + Σⱼ (Σ_{i≥j} M[i,j] aᵢ)²`.
#[derive(Debug, Clone, PartialEq)]
pub struct Whitening {
    /// Factor of the symmetric half.
    pub symmetric: [f32; PACKED],
    /// Factor of the antisymmetric half.
    pub antisymmetric: [f32; PACKED],
}

/// Position of entry `i, j` of a lower triangle, column after column.
#[must_use]
pub const fn packed(i: usize, j: usize) -> usize {
    j * HALF - j * (j + 1) / 2 + i
}

impl Whitening {
    /// Fits a series from its autocovariances and the points behind them, shrunk towards the prior.
    #[must_use]
    pub fn fit(lags: &[f32; WINDOW], points: u32) -> Self {
        let own: [f64; WINDOW] = lags.map(|r| if r.is_finite() { f64::from(r) } else { 0.0 });
        let shrunk = shrink(&own, f64::from(points));
        let ridge = 0.02 * shrunk[0];
        let halves = [1.0, -1.0].map(|sign| {
            let precision = inverse(&half(&shrunk, sign), ridge);
            let expected = (precision * half(&shrunk, sign)).trace();
            (precision, expected)
        });
        let mean = (halves[0].1 + halves[1].1).max(1.0);
        let [symmetric, antisymmetric] = halves.map(|(precision, _)| triangle(&(precision / (2.0 * mean))));
        Self { symmetric, antisymmetric }
    }
}

/// Autocovariances shrunk towards an AR(1) process, `(n own + n0 prior) / (n + n0)`, plus what is not known of the level.
///
/// The mean of `n` points of an AR(1) process has variance `r0 (1 + rho) / ((1 - rho) n)`. It shifts a whole window, so it
/// adds to every lag: a smooth series that wanders off the little that was seen of it is not an anomaly yet.
fn shrink(own: &[f64; WINDOW], n: f64) -> [f64; WINDOW] {
    if own[0] <= 1e-6 {
        return std::array::from_fn(|lag| if lag == 0 { PRIOR_VARIANCE } else { 0.0 });
    }
    let share = n / (n + PRIOR_POINTS);
    let variance = share * own[0] + (1.0 - share) * own[0].max(PRIOR_VARIANCE);
    let rho = (own[1] / own[0] * n / (n + 5.0)).clamp(0.0, 0.98);
    let level = variance * (1.0 + rho) / (1.0 - rho) / (n + 30.0);
    // A series that hardly moves against what matters has white noise added: its smallest twitch shall not be news.
    let noise = (LEAST_VARIANCE - variance).max(0.0);
    std::array::from_fn(|lag| {
        let correlation = share * own[lag] / own[0] + (1.0 - share) * rho.powi(lag as i32);
        variance * correlation + level + if lag == 0 { noise } else { 0.0 }
    })
}

/// Variances that the features of [`crate::subspace`] (level, mean of 20, level less mean of 5) should have by these
/// autocovariances; beyond the window they fall off as they did within it.
#[must_use]
pub fn feature_variances(lags: &[f32; WINDOW], points: u32) -> [f64; 3] {
    let own: [f64; WINDOW] = lags.map(|r| if r.is_finite() { f64::from(r) } else { 0.0 });
    let shrunk = shrink(&own, f64::from(points));
    let fall = (shrunk[WINDOW - 1] / shrunk[WINDOW - 2].max(1e-9)).clamp(0.0, 1.0);
    let at = |lag: usize| match lag {
        0..WINDOW => shrunk[lag],
        _ => shrunk[WINDOW - 1] * fall.powi((lag + 1 - WINDOW) as i32),
    };
    let of_mean = |n: usize| {
        let pairs = (1..n).map(|lag| 2.0 * (n - lag) as f64 * at(lag)).sum::<f64>() + n as f64 * at(0);
        (pairs / (n * n) as f64).max(0.0)
    };
    let with_mean = (0..5).map(at).sum::<f64>() / 5.0;
    [at(0), of_mean(20), (at(0) + of_mean(5) - 2.0 * with_mean).max(0.0)]
}

/// The symmetric (`sign` 1) or antisymmetric (-1) half of the Toeplitz matrix.
fn half(lags: &[f64; WINDOW], sign: f64) -> Half {
    Half::from_fn(|i, j| lags[i.abs_diff(j)] + sign * lags[WINDOW - 1 - i - j])
}

/// Inverse with a ridge; eigenvalues that noise made negative count as 0.
fn inverse(matrix: &Half, ridge: f64) -> Half {
    let eigen = SymmetricEigen::new(*matrix);
    let inverted = eigen.eigenvalues.map(|w| 1.0 / (w.max(0.0) + ridge));
    eigen.eigenvectors * Half::from_diagonal(&inverted) * eigen.eigenvectors.transpose()
}

fn triangle(form: &Half) -> [f32; PACKED] {
    let symmetrised = (form + form.transpose()) * 0.5;
    let factor = Cholesky::new(symmetrised).map_or_else(Half::zeros, |c| c.l());
    let mut out = [0.0; PACKED];
    for j in 0..HALF {
        for i in j..HALF {
            out[packed(i, j)] = factor[(i, j)] as f32;
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plain;

    fn noise(seed: &mut u64) -> f32 {
        let mut sum = 0.0;
        for _ in 0..4 {
            *seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            sum += (*seed >> 40) as f32 / (1_u64 << 24) as f32 - 0.5;
        }
        sum * 1.7
    }

    /// Mean of squared scores of an AR(1) series by a whitening learned from it.
    fn mean_square(rho: f32) -> (f64, Whitening) {
        let (mut seed, mut x) = (7, 0.0);
        let series: Vec<f32> = (0..6000)
            .map(|_| {
                x = rho * x + noise(&mut seed);
                x
            })
            .collect();
        let mut cov = Autocovariance::new(1, 1e6);
        for t in WINDOW..series.len() {
            cov.learn(|lag| &series[t - lag..=t - lag], |_| true);
        }
        let (lags, points) = cov.slot(0);
        let whitening = Whitening::fit(&lags, points);
        let squares = series.windows(WINDOW).map(|w| f64::from(plain::score(&whitening, w)).powi(2));
        (squares.sum::<f64>() / (series.len() - WINDOW + 1) as f64, whitening)
    }

    #[test]
    fn the_score_is_in_training_rms() {
        for rho in [0.0, 0.5, 0.95] {
            let (square, _) = mean_square(rho);
            assert!((square - 1.0).abs() < 0.05, "rho {rho}: {square}");
        }
    }

    #[test]
    fn features_have_the_variances_of_their_series() {
        let white: [f32; WINDOW] = std::array::from_fn(|l| if l == 0 { 2.0 } else { 0.0 });
        let [level, slow, quick] = feature_variances(&white, 1_000_000);
        assert!(
            (level - 2.0).abs() < 0.01 && (slow - 0.1).abs() < 0.01 && (quick - 1.6).abs() < 0.01,
            "{level} {slow} {quick}"
        );
        let smooth: [f32; WINDOW] = std::array::from_fn(|l| 2.0 * 0.99_f32.powi(l as i32));
        let [_, slow, quick] = feature_variances(&smooth, 1_000_000);
        assert!(slow > 1.8 && quick < 0.1, "{slow} {quick}");
    }

    #[test]
    fn it_equals_the_mahalanobis_length_of_the_full_matrix() {
        let lags: [f32; WINDOW] = std::array::from_fn(|l| 1.4 * 0.8_f32.powi(l as i32));
        let whitening = Whitening::fit(&lags, 1_000_000);
        let c = SMatrix::<f64, WINDOW, WINDOW>::from_fn(|i, j| f64::from(lags[i.abs_diff(j)]));
        let inverse = (c + SMatrix::identity() * (0.02 * f64::from(lags[0]))).try_inverse().expect("positive definite");
        let mean = (inverse * c).trace();
        let window: [f32; WINDOW] = std::array::from_fn(|i| ((i * 7) % 5) as f32 - 1.5);
        let x = SMatrix::<f64, WINDOW, 1>::from_fn(|i, _| f64::from(window[i]));
        let expected = ((x.transpose() * inverse * x)[0] / mean).sqrt();
        let got = f64::from(plain::score(&whitening, &window));
        assert!((got / expected - 1.0).abs() < 1e-3, "{got} instead of {expected}");
    }

    #[test]
    fn odd_statistics_still_give_a_finite_whitening() {
        let nan = [f32::NAN; WINDOW];
        let alternating: [f32; WINDOW] = std::array::from_fn(|l| if l % 2 == 0 { 3.0 } else { -9.0 });
        for lags in [[0.0; WINDOW], nan, alternating, [1e-12; WINDOW], [100.0; WINDOW]] {
            let w = Whitening::fit(&lags, 100);
            assert!(w.symmetric.iter().chain(&w.antisymmetric).all(|x| x.is_finite()));
            assert!(plain::score(&w, &[5.0; WINDOW]) > 0.1, "{lags:?}");
        }
    }
}
