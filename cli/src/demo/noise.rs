//! Randomness that is the same in every run: a demonstration that finds its fault only sometimes is none.

/// A seeded source of noise.
#[derive(Debug)]
pub struct Noise(fastrand::Rng);

impl Noise {
    /// The same seed gives the same noise.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(fastrand::Rng::with_seed(seed))
    }

    /// About normal with deviation 1, and never beyond 3.5: a quiet past has no outliers.
    pub fn normal(&mut self) -> f64 {
        let sum: f64 = (0..4).map(|_| self.0.f64()).sum();
        (sum - 2.0) * 3.0_f64.sqrt()
    }

    /// The port of a client.
    pub fn port(&mut self) -> u16 {
        self.0.u16(32_768..61_000)
    }
}

/// A value around 0 with deviation 1 that wanders slowly.
#[derive(Debug, Clone, Copy)]
pub struct Wander {
    value: f64,
    keep: f64,
}

impl Wander {
    /// One that forgets where it was within so many seconds.
    #[must_use]
    pub fn new(seconds: f64) -> Self {
        Self { value: 0.0, keep: 1.0 - 1.0 / seconds.max(1.0) }
    }

    /// The value a second later.
    pub fn step(&mut self, noise: &mut Noise) -> f64 {
        self.value = self.keep * self.value + (1.0 - self.keep * self.keep).sqrt() * noise.normal();
        self.value
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn noise_is_calm_and_the_same_in_every_run() {
        let values = |seed| {
            let (mut noise, mut wander) = (Noise::new(seed), Wander::new(60.0));
            (0..20_000).map(|_| [noise.normal(), wander.step(&mut noise)]).collect::<Vec<_>>()
        };
        let all = values(1);
        assert_eq!(all, values(1));
        assert_ne!(all, values(2));
        for i in [0, 1] {
            let square = all.iter().map(|v| v[i] * v[i]).sum::<f64>() / all.len() as f64;
            assert!((0.6..1.5).contains(&square), "deviation {}", square.sqrt());
            assert!(all.iter().all(|v| v[i].abs() < 5.0));
        }
    }
}
