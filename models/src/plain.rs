//! The same scores in plain Rust: what the ONNX graph must agree with. It is not used on a node.

use crate::clusters::{self, LAGS};
use crate::graph::{Fitted, LAG_ROW, SEASON_ROW};
use crate::subspace::FEATURES;
use crate::whiten::{HALF, WINDOW, Whitening, packed};

/// Evaluates a fitted node on an input of the graph's form.
pub fn evaluate(node: &Fitted, input: &[f32], output: &mut [f32]) {
    let n = node.series();
    let at = |row: usize, column: usize| input[row * n + column];
    for column in 0..n {
        output[column] = score_at(&node.windows[column], |row| at(row, column));
        let movement: [f32; LAGS] = std::array::from_fn(|lag| at(LAG_ROW + lag, column));
        output[n + column] = clusters::score(&node.clusters[column], &movement);
        if let Some(season) = node.season.get(column) {
            output[2 * n + column] = score_at(season, |row| at(SEASON_ROW + row, column));
        }
    }
    let mut from = 0;
    for (block, out) in node.blocks.iter().zip(&mut output[2 * n + node.season.len()..]) {
        let (series, side) = (block.series(), block.mean.len());
        let centred: Vec<f32> =
            (0..side).map(|f| at(WINDOW - 1 + f / series, from + f % series) - block.mean[f]).collect();
        let component = |j: usize| (0..side).map(|i| centred[i] * block.factor[i * side + j]).sum::<f32>();
        *out = (0..side).map(|j| component(j).powi(2)).sum::<f32>() / node.expected();
        from += series;
    }
    debug_assert_eq!(FEATURES, 3, "the three feature rows follow each other");
}

/// Score of one window of one series, oldest point first, in units of training rms.
#[must_use]
pub fn score(whitening: &Whitening, window: &[f32]) -> f32 {
    score_at(whitening, |i| window[i])
}

fn score_at(whitening: &Whitening, x: impl Fn(usize) -> f32) -> f32 {
    let mut sum = 0.0;
    for (factor, sign) in [(&whitening.symmetric, 1.0), (&whitening.antisymmetric, -1.0)] {
        let folded: [f32; HALF] = std::array::from_fn(|i| x(i) + sign * x(WINDOW - 1 - i));
        for j in 0..HALF {
            let component: f32 = (j..HALF).map(|i| factor[packed(i, j)] * folded[i]).sum();
            sum += component * component;
        }
    }
    sum.sqrt()
}
