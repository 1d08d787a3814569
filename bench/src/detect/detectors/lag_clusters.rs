//! Netdata's method, from its public description: per metric, k-means (k = 2) over six numbers (difference of 1, mean of
//! 3, five lags) in up to 18 models on overlapping windows of the training part. A point is anomalous when it is as far
//! from both centres as the 99 % point of the training range in *every* model.

use fastrand::Rng;

use super::{Request, tail};
use crate::detect::data::Series;
use crate::detect::scores::{Attribution, Scores};

/// Numbers in a feature vector.
const LAGS: usize = 6;
type Features = [f64; LAGS];

/// Most models a metric has.
const MODELS_MAX: usize = 18;
/// Points in a window from which on it is worth a model.
const ROWS_MIN: usize = 20;
/// Lloyd's rounds at most.
const ROUNDS: usize = 30;
/// The score from which on a metric is anomalous.
const BIT: f64 = 0.99;
/// The largest score of one metric in the uncut form.
const CUT: f64 = 10.0;

/// How metrics become one score.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// Share of the anomalous metrics, averaged over five points; a trace of the score breaks ties.
    AsShipped,
    /// Mean of the scores.
    Uncut,
}

/// Scores all points; the models come from the part before `train_end`.
pub fn judge(series: &Series, request: Request, form: Form) -> Scores {
    let mut rng = Rng::with_seed(0);
    let metrics: Vec<Vec<f64>> =
        (0..series.metrics).map(|m| metric_scores(&to_f64(series.metric(m)), series.train_end, &mut rng)).collect();
    let mean = |t: usize, f: fn(f64) -> f64| metrics.iter().map(|m| f(m[t])).sum::<f64>() / metrics.len() as f64;
    let host: Vec<f64> = match form {
        Form::Uncut => (0..series.points).map(|t| mean(t, |s| s.clamp(0.0, CUT))).collect(),
        Form::AsShipped => {
            let bits = |t: usize| mean(t, |s| f64::from(u8::from(s >= BIT)));
            let rates: Vec<f64> = (0..series.points).map(bits).collect();
            let ties = (0..series.points).map(|t| 1e-3 * mean(t, |s| s.clamp(0.0, 1.0)));
            trailing_mean(&rates, 5).iter().zip(ties).map(|(rate, tie)| rate + tie).collect()
        }
    };
    let models = models(series.train_end).0;
    let state_bytes = series.metrics * (models * (2 * LAGS + 2) + LAGS + 3) * size_of::<f32>();
    let mut scores = Scores::one(tail::rarity(&host, series.train_end), state_bytes);
    if request.attribution {
        let mut attribution = Attribution::starting(series.train_end, series.metrics);
        for t in series.train_end..series.points {
            let row: Vec<f32> = metrics.iter().map(|m| m[t] as f32).collect();
            attribution.push(&row);
        }
        scores.attribution = Some(attribution);
    }
    scores
}

fn to_f64(x: &[f32]) -> Vec<f64> {
    x.iter().map(|v| f64::from(*v)).collect()
}

/// Number of models and length of their windows.
fn models(train_end: usize) -> (usize, usize) {
    let models = (train_end / 450).saturating_sub(1).clamp(1, MODELS_MAX);
    (models, (2 * train_end).div_ceil(models + 1))
}

/// Score of each point of one metric: 1 is the farthest of the training part.
fn metric_scores(x: &[f64], train_end: usize, rng: &mut Rng) -> Vec<f64> {
    let train = &x[..train_end];
    let mean = train.iter().sum::<f64>() / train_end as f64;
    let deviation = (train.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / train_end as f64).sqrt();
    let largest = train.iter().map(|v| v.abs()).fold(0.0, f64::max);
    if deviation < 1e-9 * (1.0 + largest) {
        return x.iter().map(|v| f64::from(u8::from(*v != x[0]))).collect();
    }
    let features = features(x);
    let (models, length) = models(train_end);
    let mut scores = vec![f64::INFINITY; x.len()];
    for model in 0..models {
        let from = model * length / 2;
        let window = &features[from.min(train_end)..(from + length).min(train_end)];
        if window.len() < ROWS_MIN {
            continue;
        }
        let model = Model::fit(window, rng);
        for (score, f) in scores.iter_mut().zip(&features) {
            *score = score.min(model.score(f));
        }
    }
    // A training part shorter than one window leaves no model.
    scores.iter_mut().filter(|s| s.is_infinite()).for_each(|s| *s = 0.0);
    scores
}

/// Six trailing means of differences for each point, oldest first; before the start the first one is repeated.
fn features(x: &[f64]) -> Vec<Features> {
    let differences: Vec<f64> = (0..x.len()).map(|t| if t == 0 { 0.0 } else { x[t] - x[t - 1] }).collect();
    let smooth = trailing_mean(&differences, 3);
    (0..x.len()).map(|t| std::array::from_fn(|lag| smooth[(t + lag + 1).saturating_sub(LAGS)])).collect()
}

/// Mean of the last `width` values; before the start the first one is repeated.
fn trailing_mean(x: &[f64], width: usize) -> Vec<f64> {
    let at = |t: usize, back: usize| x[t.saturating_sub(back)];
    (0..x.len()).map(|t| (0..width).rev().map(|back| at(t, back)).sum::<f64>() / width as f64).collect()
}

struct Model {
    centres: [Features; 2],
    low: f64,
    range: f64,
}

impl Model {
    fn fit(window: &[Features], rng: &mut Rng) -> Self {
        let share = (200.0 / window.len() as f64).clamp(0.2, 1.0);
        let mut sample: Vec<Features> = window.iter().filter(|_| rng.f64() < share).copied().collect();
        if sample.len() < 4 {
            sample = window.to_vec();
        }
        let mut model = Self { centres: two_means(&sample, rng), low: 0.0, range: 1.0 };
        let distances: Vec<f64> = window.iter().map(|f| model.distance(f)).collect();
        let low = distances.iter().copied().fold(f64::INFINITY, f64::min);
        let high = distances.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        (model.low, model.range) = (low, (high - low).max(1e-12));
        model
    }

    /// Mean distance to both centres.
    fn distance(&self, f: &Features) -> f64 {
        self.centres.iter().map(|c| squared(f, c).sqrt()).sum::<f64>() / 2.0
    }

    fn score(&self, f: &Features) -> f64 {
        (self.distance(f) - self.low) / self.range
    }
}

fn squared(a: &Features, b: &Features) -> f64 {
    a.iter().zip(b).map(|(a, b)| (a - b) * (a - b)).sum()
}

/// Lloyd's algorithm from two different rows; an empty cluster keeps its centre.
fn two_means(sample: &[Features], rng: &mut Rng) -> [Features; 2] {
    let first = rng.usize(..sample.len());
    let second = (first + rng.usize(1..sample.len())) % sample.len();
    let mut centres = [sample[first], sample[second]];
    for _ in 0..ROUNDS {
        let mut sums = [[0.0; LAGS]; 2];
        let mut counts = [0.0; 2];
        for f in sample {
            let nearest = usize::from(squared(f, &centres[1]) < squared(f, &centres[0]));
            counts[nearest] += 1.0;
            sums[nearest].iter_mut().zip(f).for_each(|(sum, v)| *sum += v);
        }
        let mut moved = false;
        for ((centre, sum), count) in centres.iter_mut().zip(&sums).zip(counts).filter(|(_, count)| *count > 0.0) {
            for (c, sum) in centre.iter_mut().zip(sum) {
                let new = sum / count;
                moved |= (new - *c).abs() > 1e-8 + 1e-5 * c.abs();
                *c = new;
            }
        }
        if !moved {
            break;
        }
    }
    centres
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn features_are_smoothed_differences_oldest_first() {
        let f = features(&[0.0, 3.0, 3.0, 9.0]);
        assert_eq!(f[0], [0.0; 6]);
        assert_eq!(f[3], [0.0, 0.0, 0.0, 1.0, 1.0, 3.0]);
    }

    #[test]
    fn windows_overlap_by_half() {
        assert_eq!(models(100), (1, 100));
        assert_eq!(models(1440), (2, 960));
        assert_eq!(models(100_000), (18, 10_527));
    }

    #[test]
    fn a_jump_in_one_of_four_metrics_stands_out_in_both_forms() {
        let (points, train_end, metrics) = (3000, 2000, 4);
        let mut rng = Rng::with_seed(5);
        let mut values: Vec<f32> = (0..metrics * points).map(|_| rng.f32()).collect();
        values[points..2 * points].fill(7.0); // a constant metric
        values[2 * points + 2500] = 9.0;
        let series = Series::new(values, metrics, 60, train_end, 10).unwrap();
        let request = Request { budget_per_day: 1.0, attribution: true };
        for form in [Form::AsShipped, Form::Uncut] {
            let scores = judge(&series, request, form);
            let highest = (train_end..points).max_by(|a, b| scores.alarm[*a].total_cmp(&scores.alarm[*b])).unwrap();
            assert!((2500..2509).contains(&highest), "{form:?}: {highest}");
            assert_eq!(scores.attribution.unwrap().ranking(2501)[0], 2);
        }
    }
}
