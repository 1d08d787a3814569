//! The score of the Numenta Anomaly Benchmark (Lavin and Ahmad, "Evaluating Real-time Anomaly Detection Algorithms", 2015),
//! standard profile: an early detection in a window earns up to 1, a missed window costs 1, a false one costs up to 0.11.

use super::quantile::{distinct, quantiles, upper_levels};

/// Weight of a false detection in the standard profile.
const FALSE_WEIGHT: f64 = 0.11;
/// Weight of a missed window.
const MISS_WEIGHT: f64 = 1.0;
/// Points in which the bar for telling again falls to half: 25 hours at the five minutes of that data.
const HALVED: f64 = 300.0;
/// Below every value; finite, so that quantiles between it and a value are numbers.
pub const QUIET: f64 = -1e30;
/// Thresholds tried over the whole corpus.
const THRESHOLDS: usize = 200;

/// One file of the corpus.
#[derive(Debug, Clone)]
pub struct NabFile {
    /// Scores of all points.
    pub scores: Vec<f64>,
    /// Labelled windows, inclusive, in order.
    pub windows: Vec<(usize, usize)>,
    /// Points at the start that do not count.
    pub probation: usize,
}

/// Where an alarm value (in log units) begins to be news: it passes where it exceeds all before it, which count half after
/// [`HALVED`] points; elsewhere nothing is said. The benchmark counts every point above the threshold, and an alarm that
/// stands for hours is told once.
#[must_use]
pub fn onsets(alarm: &[f64]) -> Vec<f64> {
    let mut highest = f64::NEG_INFINITY;
    let onset = |value: &f64| {
        let news = *value > highest;
        highest = highest.max(*value) - std::f64::consts::LN_2 / HALVED;
        if news { *value } else { QUIET }
    };
    alarm.iter().map(onset).collect()
}

/// The score in percent of perfect (a detector that never speaks has 0), with the best threshold for the corpus; `None`
/// without a window.
#[must_use]
pub fn score(files: &[NabFile]) -> Option<f64> {
    let pool: Vec<f64> = files.iter().flat_map(|f| f.scores.iter().skip(f.probation)).copied().collect();
    let windows = files.iter().map(|f| f.counted().count()).sum::<usize>() as f64;
    if pool.is_empty() || windows == 0.0 {
        return None;
    }
    let mut thresholds = quantiles(&pool, &upper_levels(-5.0, -0.5, THRESHOLDS));
    thresholds.push(pool.iter().copied().fold(f64::NEG_INFINITY, f64::max));
    thresholds.push(f64::INFINITY);
    let totals = distinct(thresholds).into_iter().map(|t| files.iter().map(|f| f.score(t)).sum::<f64>());
    let best = totals.fold(f64::NEG_INFINITY, f64::max);
    Some(100.0 * (best + MISS_WEIGHT * windows) / (windows + MISS_WEIGHT * windows))
}

impl NabFile {
    /// Windows that end after the probation.
    fn counted(&self) -> impl Iterator<Item = (usize, usize)> {
        self.windows.iter().copied().filter(|(_, last)| *last >= self.probation)
    }

    fn score(&self, threshold: f64) -> f64 {
        let over = |t: &usize| self.scores[*t] >= threshold;
        let mut score = 0.0;
        for (first, last) in self.counted() {
            let detected = (first.max(self.probation)..=last).find(over);
            score += detected.map_or(-MISS_WEIGHT, |t| {
                sigmoid(-((last - t + 1) as f64) / (last - first + 1) as f64) / sigmoid(-1.0)
            });
        }
        let windows: Vec<(usize, usize)> = self.counted().collect();
        for t in (self.probation..self.scores.len()).filter(over) {
            if !windows.iter().any(|(first, last)| (*first..=*last).contains(&t)) {
                score += FALSE_WEIGHT * false_value(&windows, t);
            }
        }
        score
    }
}

/// What a detection outside all windows is worth: little is lost soon after one, all before the first and far from any.
fn false_value(windows: &[(usize, usize)], t: usize) -> f64 {
    let Some((first, last)) = windows.iter().rev().find(|(_, last)| *last < t) else { return -1.0 };
    let distance = (t - last) as f64 / (last - first).max(1) as f64;
    if distance > 3.0 { -1.0 } else { sigmoid(distance) }
}

/// 1 far left, 0 at 0, -1 far right.
fn sigmoid(x: f64) -> f64 {
    2.0 / (1.0 + (5.0 * x).exp()) - 1.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(detections: &[usize]) -> NabFile {
        let scores = (0..1000).map(|t| f64::from(u8::from(detections.contains(&t)))).collect();
        NabFile { scores, windows: vec![(500, 599)], probation: 150 }
    }

    #[test]
    fn a_detection_at_the_start_of_the_window_is_perfect() {
        assert!((score(&[file(&[500])]).unwrap() - 100.0).abs() < 1e-9);
        // Detections before the probation ends do not count.
        assert!((score(&[file(&[3, 500])]).unwrap() - 100.0).abs() < 1e-9);
    }

    #[test]
    fn never_speaking_has_none_and_late_is_worth_less() {
        assert!(score(&[file(&[])]).unwrap().abs() < 1e-9);
        let late = file(&[590]);
        let wanted = sigmoid(-0.1) / sigmoid(-1.0);
        assert!((late.score(1.0) - wanted).abs() < 1e-12);
        assert!((score(&[late]).unwrap() - 50.0 * (wanted + 1.0)).abs() < 1e-9);
    }

    #[test]
    fn false_detections_cost_by_their_distance() {
        assert!((file(&[200]).score(1.0) - (-1.0 - 0.11)).abs() < 1e-12, "before any window");
        let after = file(&[610]).score(1.0);
        assert!((after - (-1.0 + 0.11 * sigmoid(11.0 / 99.0))).abs() < 1e-12, "{after}");
        assert!((file(&[950]).score(1.0) - (-1.0 - 0.11)).abs() < 1e-12, "beyond three lengths");
    }

    #[test]
    fn an_alarm_is_news_when_it_begins_or_grows() {
        let quiet = QUIET;
        assert_eq!(onsets(&[0.0, 0.0, 1.0, 1.0, 0.9, 1.2]), [0.0, 0.0, 1.0, 1.0, quiet, 1.2]);
        let (mut alarm, half) = (vec![1.0; 1], HALVED as usize);
        alarm.extend(vec![0.0; half]);
        alarm.push(1.0 - std::f64::consts::LN_2 + 0.01);
        assert_eq!(onsets(&alarm).iter().filter(|v| **v > QUIET).count(), 2);
    }

    #[test]
    fn without_windows_there_is_no_score() {
        assert_eq!(score(&[NabFile { windows: Vec::new(), ..file(&[5]) }]), None);
        assert_eq!(score(&[]), None);
    }
}
