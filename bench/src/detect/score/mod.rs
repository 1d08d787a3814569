//! What scores are worth once the labels are known. Nothing here adjusts points: a detected point does not turn its whole
//! event into detected points.
//!
//! [`points`] and [`vus`] look at one series and its ranking; [`events`] counts what a person on call would see, with one
//! threshold for many hosts ([`sweep`]) or the host's own; [`nab`] is the score of the Numenta benchmark. The numbers equal
//! those of the reference scorer (numpy) on the same scores; [`quantile`] has the numpy conventions that takes.

pub mod events;
pub mod nab;
pub mod points;
pub mod quantile;
pub mod sweep;
pub mod vus;

/// Runs of labelled points as inclusive ranges `(first, last)`.
#[must_use]
pub fn runs(labels: &[bool]) -> Vec<(usize, usize)> {
    let mut runs: Vec<(usize, usize)> = Vec::new();
    for (t, _) in labels.iter().enumerate().filter(|(_, labelled)| **labelled) {
        match runs.last_mut() {
            Some((_, last)) if *last + 1 == t => *last = t,
            _ => runs.push((t, t)),
        }
    }
    runs
}

/// Scores ready for counting: missing ones are the lowest of these, infinite ones very large or very small.
#[must_use]
pub fn usable(scores: &[f32]) -> Vec<f64> {
    let lowest = scores.iter().filter(|s| !s.is_nan()).copied().fold(f32::INFINITY, f32::min);
    let any_finite = scores.iter().any(|s| s.is_finite());
    let missing = if any_finite { f64::from(lowest) } else { 0.0 };
    let scores = scores.iter().map(|s| if s.is_nan() { missing } else { f64::from(*s) });
    scores.map(|s| if s.is_finite() { s } else { 1e30_f64.copysign(s) }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_touch_both_ends() {
        let labels = [true, false, true, true, false, false, true];
        assert_eq!(runs(&labels), [(0, 0), (2, 3), (6, 6)]);
        assert!(runs(&[false; 3]).is_empty() && runs(&[]).is_empty());
    }

    #[test]
    fn what_is_missing_counts_as_the_lowest() {
        assert_eq!(usable(&[f32::NAN, 2.0, -1.0]), [-1.0, 2.0, -1.0]);
        assert_eq!(usable(&[f32::INFINITY, f32::NEG_INFINITY, 0.5]), [1e30, -1e30, 0.5]);
        assert_eq!(usable(&[f32::NAN, f32::NAN]), [0.0, 0.0]);
    }
}
