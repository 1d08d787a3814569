//! How much happened lately at a place: a sum that fades.
//!
//! Every event fades at the same rate, so the sum of what is left of all of them is one number and the time it was true at;
//! a storm costs no more than its newest event.

/// A fading sum.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Mass {
    value: f64,
    at_ms: i64,
}

impl Mass {
    /// A single event of this weight.
    #[must_use]
    pub fn of(value: f64, at_ms: i64) -> Self {
        Self { value, at_ms }
    }

    /// What is left of it at a time. Before the time it was true at it fades as well: a late event is less related to what
    /// came after it.
    #[must_use]
    pub fn at(&self, at_ms: i64, decay_ms: i64) -> f64 {
        self.value * fade(self.at_ms, at_ms, decay_ms)
    }

    /// Adds another.
    pub fn add(&mut self, other: Self, decay_ms: i64) {
        let newest = self.at_ms.max(other.at_ms);
        self.value = self.at(newest, decay_ms) + other.at(newest, decay_ms);
        self.at_ms = newest;
    }
}

fn fade(a_ms: i64, b_ms: i64, decay_ms: i64) -> f64 {
    (-(a_ms.abs_diff(b_ms) as f64) / decay_ms.max(1) as f64).exp()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_the_sum_of_what_is_left() {
        let mut mass = Mass::of(1.0, 0);
        mass.add(Mass::of(0.5, 60_000), 90_000);
        mass.add(Mass::of(1.0, 30_000), 90_000);
        let left = |ms: f64| (-ms / 90_000.0).exp();
        let expected = left(120_000.0) + 0.5 * left(60_000.0) + left(90_000.0);
        assert!((mass.at(120_000, 90_000) - expected).abs() < 1e-12);
    }

    #[test]
    fn the_ends_of_time_do_no_harm() {
        let mut mass = Mass::of(1.0, i64::MIN);
        mass.add(Mass::of(1.0, i64::MAX), 90_000);
        assert!((mass.at(i64::MAX, 90_000) - 1.0).abs() < 1e-12);
        assert!(mass.at(0, 0).abs() < 1e-12);
    }
}
