//! Volume under the range-PR and range-ROC surface (Paparrizos et al., "Volume Under the Surface", VLDB 2022).
//!
//! For every buffer width `w` from 0 to `window` labels get ramps `sqrt(1 - i/w)`, `i = 1..=w/2`, on both sides of each
//! event; the areas under the curves over 250 thresholds at evenly spaced ranks are averaged over the widths. A point
//! falls into the bucket of the first (highest) threshold it reaches, so that a prefix sum over one histogram a width
//! replaces a loop over thresholds; what does not change with the width is counted once.

use super::points::Areas;
use super::{quantile, runs};

/// Thresholds, as in the public benchmark.
const THRESHOLDS: usize = 250;

/// VUS-PR and VUS-ROC; `None` without a labelled point.
#[must_use]
pub fn volumes(labels: &[bool], scores: &[f64], window: usize) -> Option<Areas> {
    let events = runs(labels);
    if events.is_empty() || labels.len() != scores.len() {
        return None;
    }
    let mut surface = Surface::new(labels, scores, events);
    let (mut pr, mut roc) = (0.0, 0.0);
    for width in 0..=window {
        let areas = surface.at(width);
        (pr, roc) = (pr + areas.pr, roc + areas.roc);
    }
    let widths = (window + 1) as f64;
    Some(Areas { pr: pr / widths, roc: roc / widths })
}

struct Surface<'a> {
    labels: &'a [bool],
    events: Vec<(usize, usize)>,
    /// Threshold bucket of each point.
    buckets: Vec<u8>,
    /// Points predicted at each threshold.
    predicted: Vec<f64>,
    /// Labelled points by bucket.
    core: Vec<f64>,
    labelled: f64,
    /// Soft labels outside the events; all 0 between widths.
    ramps: Vec<f64>,
    /// Points with a soft label.
    touched: Vec<usize>,
}

impl<'a> Surface<'a> {
    fn new(labels: &'a [bool], scores: &[f64], events: Vec<(usize, usize)>) -> Self {
        let n = scores.len();
        let mut descending = scores.to_vec();
        descending.sort_unstable_by(|a, b| b.total_cmp(a));
        let thresholds: Vec<f64> = quantile::ranks(n, THRESHOLDS).into_iter().map(|rank| descending[rank]).collect();
        let bucket = |s: &f64| thresholds.partition_point(|threshold| threshold > s).min(THRESHOLDS - 1) as u8;
        let buckets: Vec<u8> = scores.iter().map(bucket).collect();
        let (mut predicted, mut core) = (vec![0.0; THRESHOLDS], vec![0.0; THRESHOLDS]);
        for (bucket, labelled) in buckets.iter().zip(labels) {
            predicted[usize::from(*bucket)] += 1.0;
            core[usize::from(*bucket)] += f64::from(u8::from(*labelled));
        }
        accumulate(&mut predicted);
        let labelled = core.iter().sum();
        Self { labels, events, buckets, predicted, core, labelled, ramps: vec![0.0; n], touched: Vec::new() }
    }

    /// The areas at one buffer width.
    fn at(&mut self, width: usize) -> Areas {
        let mut ramp = self.ramp_mass(width);
        let mut hits: Vec<f64> = self.core.iter().zip(&ramp).map(|(core, ramp)| core + ramp).collect();
        accumulate(&mut hits);
        accumulate(&mut ramp);
        let existence = self.existence(width / 2);
        let n = self.labels.len() as f64;
        let mut areas = Areas { pr: 0.0, roc: 0.0 };
        let (mut tpr, mut fpr) = (0.0, 0.0);
        for (k, hit) in hits.into_iter().enumerate() {
            let predicted = self.predicted[k];
            let positives = (self.labelled + self.labelled + ramp[k]) / 2.0;
            let (t, f) = ((hit / positives).min(1.0) * existence[k], (predicted - hit) / (n - positives));
            areas.pr += (t - tpr) * (hit / predicted);
            areas.roc += (f - fpr) * (t + tpr) / 2.0;
            (tpr, fpr) = (t, f);
        }
        areas.roc += (1.0 - fpr) * (1.0 + tpr) / 2.0;
        areas
    }

    /// Soft mass outside the events by bucket: ramps that meet add up, to 1 at most.
    fn ramp_mass(&mut self, width: usize) -> Vec<f64> {
        let n = self.labels.len();
        for i in 1..=width / 2 {
            let height = (1.0 - i as f64 / width as f64).sqrt();
            for (first, last) in &self.events {
                let (before, after) = (first.checked_sub(i), Some(last + i).filter(|t| *t < n));
                for t in before.into_iter().chain(after).filter(|t| !self.labels[*t]) {
                    if self.ramps[t] == 0.0 {
                        self.touched.push(t);
                    }
                    self.ramps[t] += height;
                }
            }
        }
        let mut mass = vec![0.0; THRESHOLDS];
        for t in self.touched.drain(..) {
            mass[usize::from(self.buckets[t])] += self.ramps[t].min(1.0);
            self.ramps[t] = 0.0;
        }
        mass
    }

    /// Share of the events with any predicted point, by threshold; events whose buffers touch are one.
    fn existence(&self, reach: usize) -> Vec<f64> {
        let mut found = vec![0.0; THRESHOLDS];
        let mut count = 0.0;
        let mut from = self.events[0].0.saturating_sub(reach);
        for (i, (_, last)) in self.events.iter().enumerate() {
            let to = (last + reach).min(self.labels.len() - 1);
            let next = self.events.get(i + 1).map(|(first, _)| *first);
            if next.is_some_and(|first| last + 2 * reach >= first) {
                continue;
            }
            let first_bucket = self.buckets[from..=to].iter().min().copied().unwrap_or(u8::MAX);
            found[usize::from(first_bucket).min(THRESHOLDS - 1)] += 1.0;
            count += 1.0;
            from = next.map_or(0, |first| first - reach);
        }
        accumulate(&mut found);
        found.iter_mut().for_each(|share| *share /= count);
        found
    }
}

/// Prefix sums in place.
fn accumulate(values: &mut [f64]) {
    let mut sum = 0.0;
    for value in values {
        sum += *value;
        *value = sum;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The definition, threshold by threshold and width by width.
    fn by_definition(labels: &[bool], scores: &[f64], window: usize) -> Areas {
        let n = labels.len();
        let events = runs(labels);
        let mut sorted = scores.to_vec();
        sorted.sort_by(|a, b| b.total_cmp(a));
        let (mut pr, mut roc) = (0.0, 0.0);
        for width in 0..=window {
            let mut soft: Vec<f64> = labels.iter().map(|y| f64::from(u8::from(*y))).collect();
            for (a, b) in &events {
                for i in 1..=width / 2 {
                    let height = (1.0 - i as f64 / width as f64).sqrt();
                    if b + i < n {
                        soft[b + i] += height;
                    }
                    if *a >= i {
                        soft[a - i] += height;
                    }
                }
            }
            soft.iter_mut().for_each(|s| *s = s.min(1.0));
            // Buffers that share a point are one event; buffers side by side are two.
            let mut zones: Vec<(usize, usize)> = Vec::new();
            for (a, b) in &events {
                let (from, to) = (a.saturating_sub(width / 2), (b + width / 2).min(n - 1));
                match zones.last_mut() {
                    Some((_, last)) if from <= *last => *last = to,
                    _ => zones.push((from, to)),
                }
            }
            let labelled = labels.iter().filter(|y| **y).count() as f64;
            let mut curve = vec![(0.0, 0.0, 1.0)];
            for rank in quantile::ranks(n, THRESHOLDS) {
                let over = |t: usize| scores[t] >= sorted[rank];
                let predicted = (0..n).filter(|t| over(*t)).count() as f64;
                let hit: f64 = (0..n).filter(|t| over(*t)).map(|t| soft[t]).sum();
                let extra: f64 = (0..n).filter(|t| over(*t) && !labels[*t]).map(|t| soft[t]).sum();
                let positives = labelled + extra / 2.0;
                let caught = zones.iter().filter(|(a, b)| (*a..=*b).any(over)).count() as f64 / zones.len() as f64;
                let tpr = (hit / positives).min(1.0) * caught;
                curve.push((tpr, (predicted - hit) / (n as f64 - positives), hit / predicted));
            }
            pr += curve.windows(2).map(|w| (w[1].0 - w[0].0) * w[1].2).sum::<f64>();
            curve.push((1.0, 1.0, 0.0));
            roc += curve.windows(2).map(|w| (w[1].1 - w[0].1) * (w[1].0 + w[0].0) / 2.0).sum::<f64>();
        }
        Areas { pr: pr / (window + 1) as f64, roc: roc / (window + 1) as f64 }
    }

    #[test]
    fn histograms_equal_the_definition() {
        let n = 400;
        let mut x = 17_u64;
        let scores: Vec<f64> = (0..n)
            .map(|_| {
                x = x.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                (x >> 58) as f64 // many ties
            })
            .collect();
        // Events at both ends, two whose buffers meet, and single points.
        let labels: Vec<bool> =
            (0..n).map(|t| matches!(t, 0..=4 | 90..=99 | 108..=110 | 250 | 253 | 380..=399)).collect();
        for window in [0, 1, 7, 40] {
            let (fast, slow) = (volumes(&labels, &scores, window).unwrap(), by_definition(&labels, &scores, window));
            assert!((fast.pr - slow.pr).abs() < 1e-9 && (fast.roc - slow.roc).abs() < 1e-9, "{fast:?} {slow:?}");
        }
    }

    #[test]
    fn without_an_event_there_is_no_volume() {
        assert_eq!(volumes(&[false; 10], &[0.0; 10], 5), None);
    }

    #[test]
    fn without_buffers_a_perfect_score_fills_the_volume() {
        let labels: Vec<bool> = (0..1000).map(|t| t >= 900).collect();
        let scores: Vec<f64> = labels.iter().map(|y| f64::from(u8::from(*y))).collect();
        assert_eq!(volumes(&labels, &scores, 0), Some(Areas { pr: 1.0, roc: 1.0 }));
    }
}
