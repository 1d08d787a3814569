//! Quantiles and grids by numpy's conventions, so that thresholds equal those of the reference scorer.

/// Type 7 quantiles: linear between order statistics, position `q * (n - 1)`. Empty input gives NaN.
#[must_use]
pub fn quantiles(values: &[f64], levels: &[f64]) -> Vec<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    levels.iter().map(|q| of_sorted(&sorted, *q)).collect()
}

/// The quantile of values in ascending order.
#[must_use]
pub fn of_sorted(sorted: &[f64], level: f64) -> f64 {
    let Some(last) = sorted.len().checked_sub(1) else { return f64::NAN };
    let at = level.clamp(0.0, 1.0) * last as f64;
    let below = at.floor() as usize;
    if below >= last {
        return sorted[last];
    }
    let (a, b, part) = (sorted[below], sorted[below + 1], at - at.floor());
    // numpy interpolates from the nearer end, so that 1 gives exactly `b`.
    if part >= 0.5 { b - (b - a) * (1.0 - part) } else { a + (b - a) * part }
}

/// The middle, or the mean of the two in the middle; `None` when there is none.
#[must_use]
pub fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    let n = sorted.len();
    match n {
        0 => None,
        _ if n % 2 == 1 => Some(sorted[n / 2]),
        _ => Some((sorted[n / 2 - 1] + sorted[n / 2]) / 2.0),
    }
}

/// `count` numbers evenly spaced from `first` to `last`, both included.
#[must_use]
pub fn evenly(first: f64, last: f64, count: usize) -> Vec<f64> {
    if count < 2 {
        return vec![first; count];
    }
    let step = (last - first) / (count - 1) as f64;
    let mut grid: Vec<f64> = (0..count).map(|i| i as f64 * step + first).collect();
    grid[count - 1] = last;
    grid
}

/// `count` positions evenly spaced in `0..n`, first and last included, rounded down.
#[must_use]
pub fn ranks(n: usize, count: usize) -> Vec<usize> {
    evenly(0.0, n.saturating_sub(1) as f64, count).into_iter().map(|x| x as usize).collect()
}

/// Levels close to 1: `1 - 10^x` for `count` exponents from `first` to `last`.
#[must_use]
pub fn upper_levels(first: f64, last: f64, count: usize) -> Vec<f64> {
    evenly(first, last, count).into_iter().map(|x| 1.0 - 10_f64.powf(x)).collect()
}

/// Ascending, each value once.
#[must_use]
pub fn distinct(mut values: Vec<f64>) -> Vec<f64> {
    values.sort_unstable_by(f64::total_cmp);
    values.dedup();
    values
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_linear_between_order_statistics() {
        let found = quantiles(&[3.0, 1.0, 2.0, 4.0], &[0.0, 0.25, 0.5, 0.9, 1.0]);
        for (found, wanted) in found.iter().zip([1.0, 1.75, 2.5, 3.7, 4.0]) {
            assert!((found - wanted).abs() < 1e-12, "{found} is not {wanted}");
        }
        assert!(of_sorted(&[], 0.5).is_nan());
        assert_eq!(of_sorted(&[7.0], 0.3), 7.0);
    }

    #[test]
    fn grids_end_exactly() {
        assert_eq!(ranks(10, 4), [0, 3, 6, 9]);
        assert_eq!(ranks(3, 5), [0, 0, 1, 1, 2]);
        assert_eq!(ranks(1, 3), [0, 0, 0]);
        assert_eq!(evenly(-6.0, -0.3, 120).last(), Some(&-0.3));
        assert_eq!(upper_levels(-1.0, -1.0, 2), [0.9, 0.9]);
    }

    #[test]
    fn the_median_of_an_even_number_is_between() {
        assert_eq!(median(&[4.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(&[4.0, 1.0]), Some(2.5));
        assert_eq!(median(&[]), None);
    }
}
