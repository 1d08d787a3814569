//! The same score in plain Rust: what the ONNX graph must agree with. It is not used on a node.

use crate::whiten::{HALF, WINDOW, Whitening, packed};

/// Score of one window of one series, oldest point first, in units of training rms.
#[must_use]
pub fn score(whitening: &Whitening, window: &[f32]) -> f32 {
    score_at(whitening, |i| window[i])
}

/// Scores of all columns of an input of `WINDOW` rows, row after row.
pub fn scores(whitenings: &[Whitening], input: &[f32], output: &mut [f32]) {
    let columns = whitenings.len();
    for (column, (whitening, out)) in whitenings.iter().zip(output).enumerate() {
        *out = score_at(whitening, |row| input[row * columns + column]);
    }
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
