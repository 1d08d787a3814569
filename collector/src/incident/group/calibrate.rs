//! How improbable an event is for its own source: a sensor that cries every day says little when it cries again.
//!
//! The scores of the last days are kept per fingerprint. Of `n` slots that its entity was watched, `k` held a score as high;
//! what the event claims of itself counts as much as [`Rules::prior_slots`] slots of experience:
//!
//! ```text
//! p = (k + prior × claim) / (n + prior)
//! ```

use std::collections::{HashMap, VecDeque};

use super::event::{Fingerprint, Onset};
use super::rules::Rules;

/// Scores of a source that are kept; one that has more within the horizon is known to be noisy.
const SCORES_MOST: usize = 32;

/// What sources did in the last days.
#[derive(Debug, Default)]
pub struct Calibrator {
    /// Times and scores, oldest first.
    sources: HashMap<Fingerprint, VecDeque<(i64, f32)>>,
}

impl Calibrator {
    /// The chance of such an event in a slot of its source; it is experience for the next one.
    pub fn judge(&mut self, onset: &Onset, at_ms: i64, rules: &Rules) -> f64 {
        let score = if onset.score.is_nan() { 0.0 } else { onset.score };
        if self.sources.len() >= rules.fingerprints_most && !self.sources.contains_key(&onset.fingerprint) {
            self.forget_some(rules);
        }
        let scores = self.sources.entry(onset.fingerprint).or_default();
        let oldest = at_ms.saturating_sub(rules.horizon_ms);
        scores.retain(|(at, _)| *at >= oldest);
        let as_high = scores.iter().filter(|(_, s)| *s >= score).count();
        if scores.len() >= SCORES_MOST {
            scores.pop_front();
        }
        scores.push_back((at_ms, score));

        let slots = onset.watched_ms.min(rules.horizon_ms).max(0) as f64 / rules.slot_ms.max(1) as f64;
        let p = (as_high as f64 + rules.prior_slots * claim(onset.claim, score, rules)) / (slots + rules.prior_slots);
        if p.is_nan() { 1.0 } else { p.min(1.0) }
    }

    /// Forgets the eighth of the sources that was silent longest.
    fn forget_some(&mut self, rules: &Rules) {
        let last = |scores: &VecDeque<(i64, f32)>| scores.back().map_or(i64::MIN, |(at, _)| *at);
        let mut order: Vec<(i64, Fingerprint)> = self.sources.iter().map(|(f, s)| (last(s), *f)).collect();
        order.sort_unstable();
        for (_, fingerprint) in order.iter().take(rules.fingerprints_most / 8 + 1) {
            self.sources.remove(fingerprint);
        }
    }
}

/// What an event says of itself, as far as it can be believed.
fn claim(claimed: Option<f64>, score: f32, rules: &Rules) -> f64 {
    let usual = rules.claim * (-rules.claim_slope * f64::from(score.max(0.0))).exp();
    // A source that has never been wrong is not known to be right: no claim is better than one in 10^12.
    claimed.filter(|p| *p > 0.0 && *p <= 1.0).unwrap_or(usual).clamp(1e-12, 1.0)
}

#[cfg(test)]
mod tests {
    use tacit_wire::message::Direction;

    use super::*;
    use crate::incident::group::event::{EntityNo, EventNo, FamilyNo, Role};

    const DAY: i64 = 86_400_000;

    fn onset(entity: u32, score: f32, watched_ms: i64) -> Onset {
        let fingerprint = Fingerprint { entity: EntityNo(entity), family: FamilyNo(1), direction: Direction::High };
        Onset { event: EventNo(0), fingerprint, at_ms: 0, role: Role::Weaker, score, claim: None, watched_ms }
    }

    #[test]
    fn a_noisy_source_is_believed_less_each_time() {
        let (mut calibrator, rules) = (Calibrator::default(), Rules::default());
        let of_day = |calibrator: &mut Calibrator, day| calibrator.judge(&onset(1, 0.5, day * DAY), day * DAY, &rules);
        let first = of_day(&mut calibrator, 2);
        let fourth = (3..6).map(|day| of_day(&mut calibrator, day)).last().expect("three days");
        assert!(fourth > 3.0 * first, "{first} {fourth}");
        // Higher than ever is still news, and so is another source.
        let higher = calibrator.judge(&onset(1, 4.0, 6 * DAY), 6 * DAY, &rules);
        let other = calibrator.judge(&onset(2, 0.5, 6 * DAY), 6 * DAY, &rules);
        assert!(higher < fourth / 10.0 && other < fourth / 3.0, "{higher} {other}");
    }

    #[test]
    fn what_is_older_than_the_horizon_is_forgotten() {
        let (mut calibrator, rules) = (Calibrator::default(), Rules::default());
        let first = calibrator.judge(&onset(1, 0.5, 30 * DAY), 0, &rules);
        let soon = calibrator.judge(&onset(1, 0.5, 30 * DAY), DAY, &rules);
        let late = calibrator.judge(&onset(1, 0.5, 30 * DAY), 20 * DAY, &rules);
        assert!(soon > first && (late - first).abs() < 1e-12, "{first} {soon} {late}");
    }

    #[test]
    fn any_claim_gives_a_probability() {
        let (mut calibrator, rules) = (Calibrator::default(), Rules::default());
        for score in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, -1.0, 1e30] {
            for claim in [None, Some(f64::NAN), Some(-1.0), Some(0.0), Some(7.0), Some(1e-300)] {
                for watched in [i64::MIN, 0, i64::MAX] {
                    let p = calibrator.judge(&Onset { claim, ..onset(1, score, watched) }, watched, &rules);
                    assert!(p > 0.0 && p <= 1.0, "{score} {claim:?} {watched}: {p}");
                }
            }
        }
    }

    #[test]
    fn the_silent_ones_are_forgotten_first() {
        let rules = Rules { fingerprints_most: 16, ..Rules::default() };
        let mut calibrator = Calibrator::default();
        for n in 0..40 {
            calibrator.judge(&onset(n, 0.5, DAY), i64::from(n), &rules);
            assert!(calibrator.sources.len() <= 16);
        }
        assert!(calibrator.sources.contains_key(&onset(39, 0.0, 0).fingerprint));
        assert!(!calibrator.sources.contains_key(&onset(0, 0.0, 0).fingerprint));
    }
}
