//! The part of the interface of `rustfft` that tract uses, by one short transform.
//!
//! tract links `rustfft` for its operators DFT and STFT, which no model of ours may contain (`crate::import` of
//! `tacit-models` refuses them); its vector code for every processor would be a ninth of the agent. This one is slower
//! and right: mixed radix, O(n × sum of the prime factors of n).

use std::f64::consts::TAU;

use num_complex::Complex;
use num_traits::{FromPrimitive, Signed, Zero};

pub use num_traits;

/// Numbers that can be transformed: `f32` and `f64`.
pub trait FftNum: Copy + FromPrimitive + Signed + Sync + Send + std::fmt::Debug + 'static {}

impl<T: Copy + FromPrimitive + Signed + Sync + Send + std::fmt::Debug + 'static> FftNum for T {}

/// Sign of the exponent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FftDirection {
    /// Negative.
    Forward,
    /// Positive. Nothing is divided by the length.
    Inverse,
}

/// Makes transforms.
#[derive(Debug, Default)]
pub struct FftPlanner;

impl FftPlanner {
    /// A planner.
    #[must_use]
    pub fn new() -> Self {
        Self
    }

    /// A transform of `len` numbers.
    #[must_use]
    pub fn plan_fft<T: FftNum>(&mut self, len: usize, direction: FftDirection) -> Fft<T> {
        let sign = if direction == FftDirection::Forward { -1.0 } else { 1.0 };
        let root = |i: usize| {
            let angle = sign * TAU * i as f64 / len as f64;
            let part = |x: f64| T::from_f64(x).unwrap_or_else(T::zero);
            Complex::new(part(angle.cos()), part(angle.sin()))
        };
        Fft { roots: (0..len).map(root).collect() }
    }

    /// A forward transform of `len` numbers.
    #[must_use]
    pub fn plan_fft_forward<T: FftNum>(&mut self, len: usize) -> Fft<T> {
        self.plan_fft(len, FftDirection::Forward)
    }
}

/// A transform of one length.
#[derive(Debug, Clone)]
pub struct Fft<T> {
    roots: Vec<Complex<T>>,
}

impl<T: FftNum> Fft<T> {
    /// Transforms each run of as many numbers as were planned for, in place.
    ///
    /// # Panics
    /// When the buffer is no whole number of runs, as the crate it stands in for.
    pub fn process(&self, buffer: &mut [Complex<T>]) {
        let len = self.roots.len();
        assert!(
            len == 0 || buffer.len().is_multiple_of(len),
            "{} numbers are no whole number of runs of {len}",
            buffer.len()
        );
        for run in buffer.chunks_exact_mut(len.max(1)) {
            let input = run.to_vec();
            self.transform(&input, 1, run);
        }
    }

    /// `output` gets the transform of every `stride`-th number of `input`.
    fn transform(&self, input: &[Complex<T>], stride: usize, output: &mut [Complex<T>]) {
        let n = output.len();
        if n < 2 {
            output.copy_from_slice(&input[..n]);
            return;
        }
        let radix = (2..=n).find(|p| n.is_multiple_of(*p)).unwrap_or(n);
        let part = n / radix;
        let mut parts = vec![Complex::zero(); n];
        for (r, run) in parts.chunks_exact_mut(part).enumerate() {
            self.transform(&input[r * stride..], stride * radix, run);
        }
        for (k, out) in output.iter_mut().enumerate() {
            let term = |r: usize| parts[r * part + k % part] * self.roots[r * k % n * stride];
            *out = (0..radix).map(term).fold(Complex::zero(), |sum, x| sum + x);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The definition.
    fn by_definition(input: &[Complex<f64>], sign: f64) -> Vec<Complex<f64>> {
        let n = input.len() as f64;
        let at = |k: usize| {
            input.iter().enumerate().map(|(i, x)| x * Complex::from_polar(1.0, sign * TAU * (i * k) as f64 / n)).sum()
        };
        (0..input.len()).map(at).collect()
    }

    #[test]
    fn every_length_equals_the_definition() {
        for len in 1..40 {
            let input: Vec<_> =
                (0..len).map(|i| Complex::new((i * i % 7) as f64 - 3.0, (i % 5) as f64 * 0.5)).collect();
            for (direction, sign) in [(FftDirection::Forward, -1.0), (FftDirection::Inverse, 1.0)] {
                let mut found = [input.clone(), input.clone()].concat();
                FftPlanner::new().plan_fft(len, direction).process(&mut found);
                let expected = by_definition(&input, sign);
                for (a, b) in found.iter().zip(expected.iter().chain(&expected)) {
                    assert!((a - b).norm() < 1e-9 * len as f64, "{len}: {a} {b}");
                }
            }
        }
    }

    #[test]
    fn nothing_is_transformed_to_nothing() {
        FftPlanner::new().plan_fft_forward::<f32>(0).process(&mut []);
    }
}
