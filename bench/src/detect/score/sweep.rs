//! One threshold for all hosts of a source: how many events are caught at which rate of false alarms.

use super::events::HostEvents;
use super::quantile::{distinct, quantiles, ranks, upper_levels};

/// Quantiles of the scores outside all zones that are tried as thresholds.
const QUANTILES: usize = 120;

/// The trade at thresholds from high to low.
#[derive(Debug, Clone)]
pub struct Sweep {
    rows: Vec<Trade>,
}

/// What one threshold gives.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Trade {
    /// The threshold.
    pub threshold: f64,
    /// False alarms a host-day.
    pub false_alarms_per_day: f64,
    /// Share of the events caught; 0 when there is none.
    pub recall: f64,
}

impl Sweep {
    /// Tries quantiles of what lies outside all zones (levels `1 - 10^x`, `x` from -6 to -0.3), just above its maximum,
    /// and every event's peak; at most 360 of them.
    #[must_use]
    pub fn new(hosts: &[&HostEvents]) -> Self {
        let outside: Vec<f64> = hosts.iter().flat_map(|h| h.outside()).copied().collect();
        let mut candidates: Vec<f64> = hosts.iter().flat_map(|h| h.peaks()).copied().collect();
        let largest = outside.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        if !outside.is_empty() {
            let mut levels = vec![1.0];
            levels.extend(upper_levels(-6.0, -0.3, QUANTILES));
            candidates.extend(quantiles(&outside, &levels));
            candidates.push(largest.next_up());
        }
        let mut thresholds = distinct(candidates);
        if thresholds.len() > 3 * QUANTILES {
            thresholds = ranks(thresholds.len(), 3 * QUANTILES).into_iter().map(|rank| thresholds[rank]).collect();
        }
        let days: f64 = hosts.iter().map(|h| h.days()).sum();
        let events: usize = hosts.iter().map(|h| h.events()).sum();
        let trade = |threshold: f64| Trade {
            threshold,
            false_alarms_per_day: hosts.iter().map(|h| h.false_alarms(threshold)).sum::<usize>() as f64 / days,
            recall: hosts.iter().map(|h| h.hits(threshold)).sum::<usize>() as f64 / events.max(1) as f64,
        };
        Self { rows: thresholds.into_iter().rev().map(trade).collect() }
    }

    /// The best recall with at most this many false alarms a host-day (of equal ones the highest threshold).
    #[must_use]
    pub fn at_budget(&self, per_day: f64) -> Option<Trade> {
        let within = self.rows.iter().filter(|row| row.false_alarms_per_day <= per_day);
        within.copied().reduce(|best, row| if row.recall > best.recall { row } else { best })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A day of minutes with one event around noon; the score is `peak` in it and a false 5 at night.
    fn host(peak: f64) -> HostEvents {
        let labels: Vec<bool> = (0..1440).map(|t| (700..=719).contains(&t)).collect();
        let scores = (0..1440).map(|t| if t == 710 { peak } else { f64::from(u8::from(t == 100)) * 5.0 }).collect();
        HostEvents::new(&labels, scores, 60)
    }

    #[test]
    fn one_threshold_serves_all_hosts() {
        let (loud, faint) = (host(9.0), host(3.0));
        let sweep = Sweep::new(&[&loud, &faint]);
        // Above 5 only the loud event is caught; to catch the faint one both nights cost a false alarm: one a host-day.
        let tight = sweep.at_budget(0.1).unwrap();
        assert_eq!((tight.threshold, tight.recall, tight.false_alarms_per_day), (9.0, 0.5, 0.0));
        let loose = sweep.at_budget(1.0).unwrap();
        assert_eq!((loose.threshold, loose.recall, loose.false_alarms_per_day), (3.0, 1.0, 1.0));
    }

    #[test]
    fn hosts_without_events_count_their_days() {
        let quiet = HostEvents::new(&[false; 1440], vec![0.0; 1440], 60);
        let sweep = Sweep::new(&[&quiet]);
        assert_eq!(sweep.at_budget(0.0).unwrap().recall, 0.0);
        assert!(Sweep::new(&[]).at_budget(1.0).is_none());
    }
}
