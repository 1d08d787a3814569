//! Principal components as the full Mahalanobis distance: over the metrics of a point, or, when there is one metric, over
//! a window of it. All components are used, each with 2 % of the mean variance added, so that no eigenvectors are needed:
//! the score of features `f` is `(f - mu)' (C + r I)^-1 (f - mu) / n`, by a Cholesky factor.

use anyhow::{Context as _, Result};

use super::tail;
use crate::detect::data::Series;
use crate::detect::score::quantile;
use crate::detect::scores::Scores;

/// Rows the fit looks at, at most (about).
const FIT_ROWS: usize = 20_000;
/// Ridge as a share of the mean variance.
const RIDGE: f64 = 0.02;
/// Largest deviation that goes in, with many metrics and with one.
const CLIP: (f64, f64) = (10.0, 15.0);

/// Scores all points; the fit is on the part before `train_end`.
pub fn judge(series: &Series) -> Result<Scores> {
    let train_end = series.train_end;
    let raw = if series.metrics == 1 {
        let x = standardised(series.metric(0), train_end, CLIP.1);
        one_metric(&x, train_end, series.cycle.clamp(10, 60))?
    } else {
        let metrics: Vec<Vec<f64>> =
            (0..series.metrics).map(|m| standardised(series.metric(m), train_end, CLIP.0)).collect();
        let row = |t: usize, out: &mut [f64]| out.iter_mut().zip(&metrics).for_each(|(v, m)| *v = m[t]);
        distances(series.metrics, series.points, train_end, row)?
    };
    let n = if series.metrics == 1 { series.cycle.clamp(10, 60) } else { series.metrics };
    let state_bytes = (2 * series.metrics + n + n * (n + 1) / 2) * size_of::<f32>();
    Ok(Scores::one(tail::rarity(&raw, train_end), state_bytes))
}

/// Deviation from the training median in robust standard deviations, cut at `clip`.
fn standardised(x: &[f32], train_end: usize, clip: f64) -> Vec<f64> {
    let train: Vec<f64> = x[..train_end].iter().map(|v| f64::from(*v)).collect();
    let q = quantile::quantiles(&train, &[0.25, 0.5, 0.75]);
    let spread = (q[2] - q[0]) / 1.349;
    let largest = train.iter().map(|v| v.abs()).fold(1e-9, f64::max);
    let scale = spread.max(0.25 * deviation(&train)).max(1e-4 * largest);
    x.iter().map(|v| ((f64::from(*v) - q[1]) / scale).clamp(-clip, clip)).collect()
}

fn deviation(x: &[f64]) -> f64 {
    let mean = x.iter().sum::<f64>() / x.len() as f64;
    (x.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / x.len() as f64).sqrt()
}

/// Windows of one metric, in units of their root mean square in training.
fn one_metric(x: &[f64], train_end: usize, window: usize) -> Result<Vec<f64>> {
    if deviation(&x[..train_end]) < 1e-9 {
        return Ok(x.iter().map(|v| v.abs()).collect());
    }
    // Before the start the first value is repeated.
    let row = |t: usize, out: &mut [f64]| {
        out.iter_mut().enumerate().for_each(|(i, v)| *v = x[(t + i + 1).saturating_sub(window)]);
    };
    let scores = distances(window, x.len(), train_end, row)?;
    let usual = scores[..train_end].iter().sum::<f64>() / train_end as f64 + 1e-9;
    Ok(scores.into_iter().map(|s| (s.max(0.0) / usual).sqrt()).collect())
}

/// Squared Mahalanobis distance over `n` of every point whose `n` features `row` writes.
fn distances(n: usize, points: usize, train_end: usize, row: impl Fn(usize, &mut [f64])) -> Result<Vec<f64>> {
    let fit: Vec<usize> = (0..train_end).step_by((train_end / FIT_ROWS).max(1)).collect();
    let mut f = vec![0.0; n];
    let mut mean = vec![0.0; n];
    for t in &fit {
        row(*t, &mut f);
        mean.iter_mut().zip(&f).for_each(|(m, v)| *m += v / fit.len() as f64);
    }
    let mut covariance = vec![0.0; n * n];
    let weight = 1.0 / (fit.len() as f64 - 1.0).max(1.0);
    for t in &fit {
        row(*t, &mut f);
        f.iter_mut().zip(&mean).for_each(|(v, m)| *v -= m);
        for i in 0..n {
            let scaled = f[i] * weight;
            covariance[i * n..i * n + i + 1].iter_mut().zip(&f).for_each(|(c, v)| *c += scaled * v);
        }
    }
    let mean_variance = (0..n).map(|i| covariance[i * n + i]).sum::<f64>() / n as f64 + 1e-9;
    for i in 0..n {
        covariance[i * n + i] += 1e-9 + RIDGE * mean_variance;
    }
    cholesky(&mut covariance, n)?;
    let scores = (0..points).map(|t| {
        row(t, &mut f);
        f.iter_mut().zip(&mean).for_each(|(v, m)| *v -= m);
        solved_square(&covariance, &mut f) / n as f64
    });
    Ok(scores.collect())
}

/// Lower triangle of a symmetric positive matrix into its Cholesky factor, in place.
fn cholesky(a: &mut [f64], n: usize) -> Result<()> {
    for i in 0..n {
        for j in 0..=i {
            let dot: f64 = (0..j).map(|k| a[i * n + k] * a[j * n + k]).sum();
            let left = a[i * n + j] - dot;
            a[i * n + j] = if i == j {
                Some(left)
                    .filter(|v| *v > 0.0)
                    .context("the covariance has no Cholesky factor; are the values finite?")?
                    .sqrt()
            } else {
                left / a[j * n + j]
            };
        }
    }
    Ok(())
}

/// Squared length of `L^-1 f`; `f` becomes that vector.
fn solved_square(factor: &[f64], f: &mut [f64]) -> f64 {
    let n = f.len();
    for i in 0..n {
        let dot: f64 = factor[i * n..i * n + i].iter().zip(f.iter()).map(|(l, v)| l * v).sum();
        f[i] = (f[i] - dot) / factor[i * n + i];
    }
    f.iter().map(|v| v * v).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_distance_is_that_of_the_inverse() {
        // [[4, 2], [2, 3]] has the inverse [[3, -2], [-2, 4]] / 8: (1, 1) has the square 3/8.
        let mut a = vec![4.0, 0.0, 2.0, 3.0];
        cholesky(&mut a, 2).unwrap();
        assert!((solved_square(&a, &mut [1.0, 1.0]) - 0.375).abs() < 1e-12);
        assert!(cholesky(&mut [0.0], 1).is_err());
    }

    #[test]
    fn what_breaks_a_correlation_stands_out_though_each_metric_is_usual() {
        let (points, train_end) = (2000, 1000);
        let mut rng = fastrand::Rng::with_seed(3);
        let mut first: Vec<f32> = (0..points).map(|_| rng.f32()).collect();
        let mut second: Vec<f32> = first.iter().map(|v| v * 5.0 + rng.f32() * 0.1).collect();
        (first[1500], second[1500]) = (0.1, 4.9);
        first.append(&mut second);
        let series = Series::new(first, 2, 60, train_end, 10).unwrap();
        let scores = judge(&series).unwrap();
        let highest = (train_end..points).max_by(|a, b| scores.alarm[*a].total_cmp(&scores.alarm[*b]));
        assert_eq!(highest, Some(1500));
    }

    #[test]
    fn one_metric_is_judged_by_its_shape() {
        let (points, train_end) = (3000, 1500);
        let wave = |t: usize| (t as f32 / 10.0).sin();
        let values: Vec<f32> =
            (0..points).map(|t| if (2000..2010).contains(&t) { -wave(t) } else { wave(t) }).collect();
        let series = Series::new(values, 1, 60, train_end, 20).unwrap();
        let scores = judge(&series).unwrap();
        let highest = (train_end..points).max_by(|a, b| scores.alarm[*a].total_cmp(&scores.alarm[*b])).unwrap();
        assert!((2000..2030).contains(&highest), "{highest}");
        let constant = Series::new(vec![2.0; 100], 1, 60, 50, 10).unwrap();
        assert!(judge(&constant).unwrap().alarm.iter().all(|a| a.is_finite()));
    }
}
