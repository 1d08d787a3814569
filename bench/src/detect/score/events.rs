//! Events and false alarms of one host, counted as a person on call would.
//!
//! An *event* is one labelled run. It is *caught* when any point of its zone, the run and [`Rules::slack`] on both sides,
//! reaches the threshold. Points outside all zones that reach it are *false alarms*, joined over gaps up to the slack; a
//! run of them counts once more for each further [`Rules::renotify`] it lasts, so that an alarm that always sounds does
//! not win.

use std::ops::Range;

use super::{quantile, runs};

/// Durations of the rules in points.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rules {
    /// Tolerance around an event and largest gap inside a false alarm: ten minutes, or one below a period of a minute.
    pub slack: usize,
    /// A false alarm that lasts counts again after this: an hour, or five minutes below a period of a minute.
    pub renotify: usize,
}

impl Rules {
    /// The rules at this many seconds between points.
    #[must_use]
    pub fn at_period(period_s: u32) -> Self {
        let (slack, renotify) = if period_s >= 60 { (600.0, 3600.0) } else { (60.0, 300.0) };
        let points = |seconds: f64| ((seconds / f64::from(period_s.max(1))).round_ties_even() as usize).max(1);
        Self { slack: points(slack), renotify: points(renotify) }
    }

    /// False alarms in ascending points that reach the threshold outside all zones.
    fn count(self, points: impl Iterator<Item = usize>) -> usize {
        let mut alarm: Option<(usize, usize)> = None;
        let mut count = 0;
        for t in points {
            match &mut alarm {
                Some((_, last)) if t - *last <= self.slack => *last = t,
                Some((first, last)) => {
                    count += 1 + (*last - *first) / self.renotify;
                    alarm = Some((t, t));
                }
                None => alarm = Some((t, t)),
            }
        }
        count + alarm.map_or(0, |(first, last)| 1 + (last - first) / self.renotify)
    }
}

/// One host's scores cut by its events.
#[derive(Debug, Clone)]
pub struct HostEvents {
    rules: Rules,
    period_s: u32,
    scores: Vec<f64>,
    /// Labelled runs, inclusive.
    events: Vec<(usize, usize)>,
    /// Points outside all zones, ascending, with their scores.
    outside: Vec<u32>,
    outside_scores: Vec<f64>,
    /// Highest score in each event's zone.
    peaks: Vec<f64>,
}

impl HostEvents {
    /// Cuts scores by labels of the same length; the length must fit 32 bits.
    #[must_use]
    pub fn new(labels: &[bool], scores: Vec<f64>, period_s: u32) -> Self {
        let rules = Rules::at_period(period_s);
        let events = runs(labels);
        let n = scores.len();
        let mut in_zone = vec![false; n];
        let mut peaks = Vec::with_capacity(events.len());
        for event in &events {
            let zone = zone(*event, rules.slack, n);
            in_zone[zone.clone()].fill(true);
            peaks.push(scores[zone].iter().copied().fold(f64::NEG_INFINITY, f64::max));
        }
        let outside: Vec<u32> = (0..n).filter(|t| !in_zone[*t]).map(|t| t as u32).collect();
        let outside_scores = outside.iter().map(|t| scores[*t as usize]).collect();
        Self { rules, period_s, scores, events, outside, outside_scores, peaks }
    }

    /// The same host with a detector's own events instead of scores: 1 while one is open. Count at threshold 1.
    #[must_use]
    pub fn of_intervals(labels: &[bool], open: &[Range<usize>], period_s: u32) -> Self {
        let mut scores = vec![0.0; labels.len()];
        for interval in open {
            let (from, to) = (interval.start.min(scores.len()), interval.end.min(scores.len()));
            scores[from..to.max(from)].fill(1.0);
        }
        Self::new(labels, scores, period_s)
    }

    /// Length in days.
    #[must_use]
    pub fn days(&self) -> f64 {
        self.scores.len() as f64 * f64::from(self.period_s) / 86_400.0
    }

    /// Number of events.
    #[must_use]
    pub fn events(&self) -> usize {
        self.events.len()
    }

    /// Highest score in each event's zone.
    #[must_use]
    pub fn peaks(&self) -> &[f64] {
        &self.peaks
    }

    /// Scores outside all zones.
    #[must_use]
    pub fn outside(&self) -> &[f64] {
        &self.outside_scores
    }

    /// False alarms at a threshold.
    #[must_use]
    pub fn false_alarms(&self, threshold: f64) -> usize {
        let over = self.outside_scores.iter().zip(&self.outside).filter(|(score, _)| **score >= threshold);
        self.rules.count(over.map(|(_, t)| *t as usize))
    }

    /// Events caught at a threshold.
    #[must_use]
    pub fn hits(&self, threshold: f64) -> usize {
        self.peaks.iter().filter(|peak| **peak >= threshold).count()
    }

    /// Seconds from the begin of each caught event to the first point of its zone that reaches the threshold, at least 0.
    #[must_use]
    pub fn delays(&self, threshold: f64) -> Vec<f64> {
        let caught = self.events.iter().filter_map(|(first, last)| {
            let zone = zone((*first, *last), self.rules.slack, self.scores.len());
            let at = zone.start + self.scores[zone].iter().position(|s| *s >= threshold)?;
            Some(at.saturating_sub(*first) as f64 * f64::from(self.period_s))
        });
        caught.collect()
    }
}

/// The points of an event and of the slack on both sides.
#[must_use]
pub fn zone(event: (usize, usize), slack: usize, points: usize) -> Range<usize> {
    let end = event.1.saturating_add(slack).saturating_add(1).min(points);
    event.0.saturating_sub(slack).min(end)..end
}

/// A host's own threshold from unlabelled scores: the lowest of 80 quantiles (levels `1 - 10^x`, `x` from -4.5 to -1) and
/// the maximum that would have sounded at most `per_day` times a day, by the rules of false alarms.
#[must_use]
pub fn own_threshold(scores: &[f64], period_s: u32, per_day: f64) -> f64 {
    let host = HostEvents::new(&vec![false; scores.len()], scores.to_vec(), period_s);
    let largest = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let allowed = per_day * host.days();
    let levels = quantile::upper_levels(-4.5, -1.0, 80);
    let candidates = quantile::distinct(quantile::quantiles(scores, &levels));
    candidates.into_iter().find(|c| host.false_alarms(*c) as f64 <= allowed).unwrap_or(largest)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Scores of `n` points that are 1 at these.
    fn ones(n: usize, at: &[usize]) -> Vec<f64> {
        (0..n).map(|t| f64::from(u8::from(at.contains(&t)))).collect()
    }

    #[test]
    fn rules_follow_the_period() {
        assert_eq!(Rules::at_period(60), Rules { slack: 10, renotify: 60 });
        assert_eq!(Rules::at_period(300), Rules { slack: 2, renotify: 12 });
        assert_eq!(Rules::at_period(1), Rules { slack: 60, renotify: 300 });
        assert_eq!(Rules::at_period(7200), Rules { slack: 1, renotify: 1 });
        // 2.5 is rounded to even.
        assert_eq!(Rules::at_period(240).slack, 2);
    }

    #[test]
    fn an_event_is_caught_within_the_slack_and_not_beyond() {
        let labels: Vec<bool> = (0..200).map(|t| (100..=104).contains(&t)).collect();
        let host = |at: usize| HostEvents::new(&labels, ones(200, &[at]), 60);
        for (at, caught) in [(89, 0), (90, 1), (102, 1), (114, 1), (115, 0)] {
            assert_eq!((host(at).hits(1.0), host(at).false_alarms(1.0)), (caught, 1 - caught), "at {at}");
        }
        assert_eq!(host(95).delays(1.0), [0.0]);
        assert_eq!(host(103).delays(1.0), [180.0]);
        assert!(host(115).delays(1.0).is_empty());
    }

    #[test]
    fn false_alarms_join_over_gaps_and_count_again_when_they_last() {
        let none = vec![false; 400];
        let count = |at: &[usize]| HostEvents::new(&none, ones(400, at), 60).false_alarms(1.0);
        assert_eq!(count(&[]), 0);
        assert_eq!(count(&[5, 15]), 1, "a gap of ten minutes");
        assert_eq!(count(&[5, 16]), 2, "a longer one");
        let all: Vec<usize> = (0..400).collect();
        assert_eq!(count(&all[..60]), 1);
        assert_eq!(count(&all[..61]), 2, "the 61st minute");
        assert_eq!(count(&all), 1 + 399 / 60);
    }

    #[test]
    fn a_zone_in_between_splits_no_alarm_that_its_width_joins_not() {
        // Zone 40..=61 hides the middle of a long alarm: what is left on both sides is 22 points apart.
        let labels: Vec<bool> = (0..200).map(|t| (50..=51).contains(&t)).collect();
        let always: Vec<usize> = (30..80).collect();
        let host = HostEvents::new(&labels, ones(200, &always), 60);
        assert_eq!((host.false_alarms(1.0), host.hits(1.0)), (2, 1));
        assert_eq!(host.delays(1.0), [0.0]);
    }

    #[test]
    fn intervals_follow_the_same_rules() {
        let labels: Vec<bool> = (0..300).map(|t| (100..=109).contains(&t)).collect();
        let host = HostEvents::of_intervals(&labels, &[104..112, 200..270, 290..900], 60);
        assert_eq!((host.hits(1.0), host.delays(1.0)), (1, vec![240.0]));
        assert_eq!(host.false_alarms(1.0), 2 + 1, "70 minutes are two, the last one is cut at the end");
        assert!((host.days() - 300.0 / 1440.0).abs() < 1e-12);
    }

    #[test]
    fn the_own_threshold_is_the_lowest_that_keeps_the_rate() {
        // Two days of minutes, a peak every six hours, each higher than the one before.
        let scores: Vec<f64> = (0..2880).map(|t| if t % 360 == 0 { 1.0 + t as f64 } else { 0.0 }).collect();
        let threshold = own_threshold(&scores, 60, 1.0);
        let host = HostEvents::new(&[false; 2880], scores.clone(), 60);
        assert_eq!(host.false_alarms(threshold), 2);
        assert_eq!(own_threshold(&scores, 60, 1e-9), 2521.0, "nothing keeps that rate: the maximum");
    }
}
