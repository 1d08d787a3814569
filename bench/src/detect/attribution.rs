//! Whether a detector names the metrics that caused an event.
//!
//! HitRate@P% (Su et al., "OmniAnomaly", KDD 2019): of the `g` true metrics, the share that is among the `ceil(P% · g)`
//! heaviest, at the point of the highest alarm in the event's zone. Naming metrics at random finds `k / D` of them, with
//! `k` the length of the list and `D` the number of metrics. Metrics without any weight are never named.

use super::causes::Cause;
use super::score::events::zone;
use super::scores::Attribution;

/// Sums over events; divide by `events`.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct HitRates {
    /// Events counted.
    pub events: usize,
    /// HitRate@100%.
    pub at_100: f64,
    /// What chance reaches there.
    pub chance_100: f64,
    /// HitRate@150%.
    pub at_150: f64,
    /// What chance reaches there.
    pub chance_150: f64,
}

impl HitRates {
    /// Counts the events of one series. `alarm` is the part after `train_end`, which is point 0 of the causes.
    #[must_use]
    pub fn of(
        causes: &[Cause],
        alarm: &[f64],
        attribution: &Attribution,
        train_end: usize,
        metrics: usize,
        slack: usize,
    ) -> Self {
        let mut rates = Self::default();
        for cause in causes {
            let zone = zone((cause.points.start, cause.points.end.saturating_sub(1)), slack, alarm.len());
            let highest = zone.reduce(|best, t| if alarm[t] > alarm[best] { t } else { best });
            let Some(highest) = highest else { continue };
            let ranking = attribution.ranking(train_end + highest);
            let true_metrics = cause.metrics.len();
            let share = |named: usize| {
                let hits = ranking.iter().take(named).filter(|m| cause.metrics.contains(m)).count();
                hits as f64 / true_metrics as f64
            };
            let longer = (3 * true_metrics).div_ceil(2).min(metrics);
            rates.events += 1;
            rates.at_100 += share(true_metrics);
            rates.chance_100 += true_metrics as f64 / metrics as f64;
            rates.at_150 += share(longer);
            rates.chance_150 += longer as f64 / metrics as f64;
        }
        rates
    }

    /// Counts the events of another series too.
    pub fn add(&mut self, other: &Self) {
        self.events += other.events;
        self.at_100 += other.at_100;
        self.chance_100 += other.chance_100;
        self.at_150 += other.at_150;
        self.chance_150 += other.chance_150;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_at_the_highest_alarm_counts() {
        let metrics = 10;
        let mut attribution = Attribution::starting(5, metrics);
        let mut weights = vec![0.0; metrics];
        for t in 0..20 {
            // At point 12, in the slack of the event, metrics 3, 7, 1 in this order; elsewhere metric 0.
            weights.fill(0.0);
            if t == 12 {
                (weights[3], weights[7], weights[1]) = (0.5, 0.3, 0.1);
            } else {
                weights[0] = 1.0;
            }
            attribution.push(&weights);
        }
        let alarm: Vec<f64> = (0..20).map(|t| if t == 12 { 3.0 } else { f64::from(u8::from(t == 2)) * 9.0 }).collect();
        let causes = [Cause { points: 8..11, metrics: vec![1, 3] }];
        let rates = HitRates::of(&causes, &alarm, &attribution, 5, metrics, 3);
        assert_eq!(rates, HitRates { events: 1, at_100: 0.5, chance_100: 0.2, at_150: 1.0, chance_150: 0.3 });
        let mut both = rates;
        both.add(&rates);
        assert_eq!((both.events, both.at_100), (2, 1.0));
    }
}
