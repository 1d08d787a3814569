//! How far a window is from its reference, in units of what is usual there.
//!
//! | scale | centre | unit |
//! |---|---|---|
//! | [`Scale::quartiles`] | median | max( interquartile range, 0.05·abs(median), 1e-3·max abs(reference), 1e-9 ) |
//! | [`Scale::moments`] | mean | max( standard deviation, 1e-3·max abs(reference), 1e-9 ) |
//! | [`Scale::deviations`] | median | max( median abs(x − median), 0.05·abs(median), a floor of the kind ) |
//!
//! Median and quartiles do not mind other faults in the reference, nor a window that begins a minute early (BARO, FSE 2024);
//! mean and standard deviation see more where the reference is known to be good. Quantiles are interpolated linearly, the
//! deviation is that of the population.

use super::constants::{DEVIATION_REFERENCE_MIN, ONSET_UNITS, REFERENCE_MIN};
use super::evidence::{Point, Series};

/// Smallest unit; keeps a constant zero from dividing.
const EPSILON: f64 = 1e-9;
/// A unit is at least this share of the typical value: nobody is alarmed by 5 %.
const SHARE_OF_MEDIAN: f64 = 0.05;
/// A unit is at least this share of the largest reference value.
const SHARE_OF_LARGEST: f64 = 1e-3;

/// What is usual for a series.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Scale {
    /// The typical value.
    pub centre: f64,
    /// What one unit is; positive.
    pub unit: f64,
}

/// Which way counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// Away from what is typical.
    Both,
    /// Above what is typical.
    Up,
}

/// A window's furthest point.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Deviation {
    /// The typical value.
    pub from: f64,
    /// The furthest value.
    pub to: f64,
    /// When the window first was beyond [`ONSET_UNITS`]; when it was furthest, where it never was. Unix milliseconds.
    pub since_ms: i64,
    /// How far it is, in units; not negative.
    pub units: f64,
}

impl Deviation {
    /// Its strength as evidence, `ln(1 + units)`.
    #[must_use]
    pub fn strength(&self) -> f64 {
        self.units.ln_1p()
    }
}

impl Scale {
    /// By median and quartiles; `None` with fewer than [`REFERENCE_MIN`] values.
    #[must_use]
    pub fn quartiles(reference: &[f64], scratch: &mut Vec<f64>) -> Option<Self> {
        if reference.len() < REFERENCE_MIN {
            return None;
        }
        copy(reference, scratch);
        let median = quantile(scratch, 0.5);
        let range = quantile(scratch, 0.75) - quantile(scratch, 0.25);
        let unit = range.max(SHARE_OF_MEDIAN * median.abs()).max(least(reference));
        Some(Self { centre: median, unit })
    }

    /// By mean and standard deviation; `None` with fewer than [`REFERENCE_MIN`] values.
    #[must_use]
    pub fn moments(reference: &[f64]) -> Option<Self> {
        if reference.len() < REFERENCE_MIN {
            return None;
        }
        let count = reference.len() as f64;
        let mean = reference.iter().sum::<f64>() / count;
        let variance = reference.iter().map(|v| (v - mean) * (v - mean)).sum::<f64>() / count;
        Some(Self { centre: mean, unit: variance.sqrt().max(least(reference)) })
    }

    /// By median and median deviation, with a floor; `None` with fewer than [`DEVIATION_REFERENCE_MIN`] values.
    #[must_use]
    pub fn deviations(reference: &[f64], floor: f64, scratch: &mut Vec<f64>) -> Option<Self> {
        if reference.len() < DEVIATION_REFERENCE_MIN {
            return None;
        }
        copy(reference, scratch);
        let median = quantile(scratch, 0.5);
        for value in scratch.iter_mut() {
            *value = (*value - median).abs();
        }
        let unit = quantile(scratch, 0.5).max(SHARE_OF_MEDIAN * median.abs()).max(floor).max(EPSILON);
        Some(Self { centre: median, unit })
    }

    /// The furthest point of a window; `None` when it is empty.
    #[must_use]
    pub fn furthest(&self, window: &[Point], direction: Direction) -> Option<Deviation> {
        let units = |p: &Point| {
            let away = (p.value - self.centre) / self.unit;
            match direction {
                Direction::Both => away.abs(),
                Direction::Up => away.max(0.0),
            }
        };
        // Of equals the first in time, so that the order of points does not matter.
        let ahead = |a: &&Point, b: &&Point| units(a).total_cmp(&units(b)).then(b.at_ms.cmp(&a.at_ms));
        let furthest = window.iter().max_by(ahead)?;
        let onset = window.iter().filter(|p| units(p) > ONSET_UNITS).map(|p| p.at_ms).min();
        Some(Deviation {
            from: self.centre,
            to: furthest.value,
            since_ms: onset.unwrap_or(furthest.at_ms),
            units: units(furthest),
        })
    }
}

/// The furthest point of a metric: by moments where the reference is clean, by quartiles where it is not.
#[must_use]
pub fn of_metric(series: &Series, clean: bool, scratch: &mut Vec<f64>) -> Option<Deviation> {
    let scale = if clean { Scale::moments(series.reference()) } else { Scale::quartiles(series.reference(), scratch) };
    scale?.furthest(series.window(), Direction::Both)
}

fn copy(reference: &[f64], scratch: &mut Vec<f64>) {
    scratch.clear();
    scratch.extend_from_slice(reference);
}

fn least(reference: &[f64]) -> f64 {
    let largest = reference.iter().fold(0.0, |most: f64, v| most.max(v.abs()));
    (SHARE_OF_LARGEST * (largest + EPSILON)).max(EPSILON)
}

/// The `q` quantile of values that are not empty; puts them in another order.
fn quantile(values: &mut [f64], q: f64) -> f64 {
    let at = q * (values.len() - 1) as f64;
    let below = at.floor();
    let (_, lower, above) = values.select_nth_unstable_by(below as usize, f64::total_cmp);
    let lower = *lower;
    if at > below {
        let upper = above.iter().copied().fold(f64::INFINITY, f64::min);
        lower + (upper - lower) * (at - below)
    } else {
        lower
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(values: &[f64]) -> Vec<Point> {
        values.iter().enumerate().map(|(i, value)| Point { at_ms: 1000 * i as i64, value: *value }).collect()
    }

    fn near(found: f64, wanted: f64) {
        assert!((found - wanted).abs() <= 1e-9 * wanted.abs().max(1.0), "{found} is not {wanted}");
    }

    #[test]
    fn quartiles_are_interpolated() {
        // numpy: percentile([1, 2, 4, 8, 16, 32], [25, 50, 75]) = 2.5, 6, 14.
        let scale = Scale::quartiles(&[8.0, 1.0, 32.0, 4.0, 2.0, 16.0], &mut Vec::new()).unwrap();
        assert_eq!(scale, Scale { centre: 6.0, unit: 11.5 });
        let far = scale.furthest(&at(&[7.0, 98.0, -17.0]), Direction::Both).unwrap();
        assert_eq!(far, Deviation { from: 6.0, to: 98.0, since_ms: 1000, units: 8.0 });
        near(far.strength(), 9.0_f64.ln());
        let down = scale.furthest(&at(&[7.0, -17.0]), Direction::Both).unwrap();
        assert_eq!((down.to, down.units, down.since_ms), (-17.0, 2.0, 1000));
    }

    #[test]
    fn a_constant_reference_has_a_unit_all_the_same() {
        let mut scratch = Vec::new();
        near(Scale::quartiles(&[100.0; 8], &mut scratch).unwrap().unit, 5.0);
        near(Scale::moments(&[100.0; 8]).unwrap().unit, 0.1);
        near(Scale::quartiles(&[0.0; 8], &mut scratch).unwrap().unit, 1e-9);
        near(Scale::deviations(&[0.0; 8], 0.02, &mut scratch).unwrap().unit, 0.02);
    }

    #[test]
    fn moments_are_of_the_population() {
        // mean 4, deviations −3 −1 0 1 3: variance 20 / 5.
        let scale = Scale::moments(&[1.0, 3.0, 4.0, 5.0, 7.0]).unwrap();
        assert_eq!(scale, Scale { centre: 4.0, unit: 2.0 });
    }

    #[test]
    fn deviations_are_upward_when_asked() {
        // median 3, abs deviations 2 1 0 1 7: median 1.
        let scale = Scale::deviations(&[1.0, 2.0, 3.0, 4.0, 10.0], 0.2, &mut Vec::new()).unwrap();
        assert_eq!(scale, Scale { centre: 3.0, unit: 1.0 });
        let up = scale.furthest(&at(&[-100.0, 5.0]), Direction::Up).unwrap();
        assert_eq!((up.to, up.units), (5.0, 2.0));
        assert_eq!(scale.furthest(&at(&[-100.0]), Direction::Up).unwrap().units, 0.0);
    }

    #[test]
    fn too_little_says_nothing() {
        let mut scratch = Vec::new();
        assert_eq!(Scale::quartiles(&[1.0; 4], &mut scratch), None);
        assert_eq!(Scale::moments(&[1.0; 4]), None);
        assert_eq!(Scale::deviations(&[1.0; 2], 0.1, &mut scratch), None);
        assert_eq!(Scale { centre: 0.0, unit: 1.0 }.furthest(&[], Direction::Both), None);
    }

    #[test]
    fn since_is_the_first_point_beyond_the_onset() {
        let scale = Scale { centre: 0.0, unit: 1.0 };
        let far = scale.furthest(&at(&[1.0, 6.0, 20.0, 7.0]), Direction::Both).unwrap();
        assert_eq!((far.since_ms, far.to), (1000, 20.0));
        // Never beyond: when it was furthest.
        assert_eq!(scale.furthest(&at(&[1.0, 3.0, 2.0]), Direction::Both).unwrap().since_ms, 1000);
    }

    proptest::proptest! {
        /// For every series the score is a finite number that is not negative, and the order of values does not matter.
        #[test]
        fn every_score_is_a_number(
            reference in proptest::collection::vec(proptest::num::f64::ANY, 0..40),
            window in proptest::collection::vec(proptest::num::f64::ANY, 0..10),
            clean in proptest::bool::ANY,
        ) {
            let series = Series::new(reference.clone(), at(&window));
            let turned = Series::new(reference.into_iter().rev(), at(&window).into_iter().rev());
            let (one, other) = (of_metric(&series, clean, &mut Vec::new()), of_metric(&turned, clean, &mut Vec::new()));
            proptest::prop_assert_eq!(one.is_some(), other.is_some());
            for deviation in one.into_iter().chain(other) {
                proptest::prop_assert!(deviation.units.is_finite() && deviation.units >= 0.0, "{deviation:?}");
                proptest::prop_assert!(deviation.strength().is_finite());
            }
            if let (Some(one), Some(other), false) = (one, other, clean) {
                proptest::prop_assert_eq!(one, other);
            }
        }
    }
}
