//! Full-jitter backoff: a fleet that lost its broker must not come back in step.

use std::time::Duration;

/// Waits between attempts to connect.
#[derive(Debug)]
pub struct Backoff {
    min: Duration,
    max: Duration,
    attempt: u32,
}

impl Backoff {
    /// The bound of the wait starts at `min` and doubles up to `max`.
    pub fn new(min: Duration, max: Duration) -> Self {
        Self { min, max: max.max(min), attempt: 0 }
    }

    /// The next wait; `random` is uniform in 0..1. `hint` is the collector's own bound, which may only lengthen ours.
    pub fn next(&mut self, random: f64, hint: Option<Duration>) -> Duration {
        let bound = self.min.saturating_mul(1_u32.checked_shl(self.attempt).unwrap_or(u32::MAX)).min(self.max);
        self.attempt = (self.attempt + 1).min(30);
        bound.max(hint.unwrap_or_default()).mul_f64(random.clamp(0.02, 1.0))
    }

    /// It worked: start over.
    pub fn reset(&mut self) {
        self.attempt = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_doubles_up_to_its_bound_and_never_spins() {
        let s = Duration::from_secs;
        let mut backoff = Backoff::new(s(1), s(120));
        let waits: Vec<u64> = (0..40).map(|_| backoff.next(1.0, None).as_secs()).collect();
        assert_eq!(waits[..9], [1, 2, 4, 8, 16, 32, 64, 120, 120]);
        assert_eq!(waits[39], 120);
        assert!(backoff.next(0.0, None) > Duration::ZERO);
        backoff.reset();
        assert_eq!(backoff.next(1.0, Some(s(30))), s(30));
    }
}
