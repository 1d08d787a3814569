//! The fitted node as one ONNX graph for all series.
//!
//! ```text
//! input  [rows, N]   series in the last axis:
//!                    16 rows of deviations, oldest first | mean of 20 | deviation less mean of 5 | 6 lag features
//!                    and, with a season, 16 rows of what the time of day does not explain
//! output [1, …]      N window scores | N cluster scores | N season scores, if any | one share of the state a block
//! ```
//!
//! The form of the graph decides its cost in tract (measured table in `models/README.md`): 2-D, series in the last
//! axis, small dimensions unrolled into Mul and ReduceSum. The two half-size forms of [`crate::whiten`] lie side by side
//! in the last axis, so eight unrolled steps serve both; blocks of the state are small dense products.

mod builder;

pub use builder::{GraphBuilder, OPSET, int, ints};

use crate::clusters::{self, LAGS, MODELS, NUMBERS};
use crate::subspace::BlockFit;
use crate::whiten::{HALF, WINDOW, Whitening, packed};

/// Row of the first of the three features of the state: the newest deviation, which the other two follow.
const STATE_ROW: usize = WINDOW - 1;

/// Row of the first lag feature.
pub const LAG_ROW: usize = WINDOW + 2;

/// First row of the season's windows.
pub const SEASON_ROW: usize = LAG_ROW + LAGS;

/// Everything fitted about the series of a node, in the order of the graph's columns.
#[derive(Debug, Clone, Default)]
pub struct Fitted {
    /// A whitening a series.
    pub windows: Vec<Whitening>,
    /// A whitening a series of what the time of day does not explain, or none at all.
    pub season: Vec<Whitening>,
    /// The lag clusters of each series.
    pub clusters: Vec<Vec<[f32; NUMBERS]>>,
    /// The blocks of the state.
    pub blocks: Vec<BlockFit>,
}

impl Fitted {
    /// Number of series.
    #[must_use]
    pub fn series(&self) -> usize {
        self.windows.len()
    }

    /// Rows of the input.
    #[must_use]
    pub fn rows(&self) -> usize {
        if self.season.is_empty() { SEASON_ROW } else { SEASON_ROW + WINDOW }
    }

    /// Length of the output.
    #[must_use]
    pub fn outputs(&self) -> usize {
        2 * self.series() + self.season.len() + self.blocks.len()
    }

    /// What the squared length of all blocks together is expected to be.
    #[must_use]
    pub fn expected(&self) -> f32 {
        self.blocks.iter().map(|b| b.expected).sum::<f32>().max(1e-6)
    }

    /// Writes the graph.
    #[must_use]
    pub fn graph(&self) -> Vec<u8> {
        let (n, mut g) = (self.series(), GraphBuilder::default());
        let mut outputs = vec![windows(&mut g, 0, &self.windows), lag_clusters(&mut g, &self.clusters)];
        if !self.season.is_empty() {
            outputs.push(windows(&mut g, SEASON_ROW, &self.season));
        }
        let features = g.slice("input", 0, STATE_ROW as i64, (STATE_ROW + 3) as i64);
        let (mut from, scale) = (0, 1.0 / self.expected().sqrt());
        for block in &self.blocks {
            let to = from + block.series();
            outputs.push(state(&mut g, &features, from..to, block, scale));
            from = to;
        }
        let names: Vec<&str> = outputs.iter().map(String::as_str).collect();
        let all = g.node("Concat", &names, vec![int("axis", 1)]);
        g.finish("node", ("input", [self.rows(), n]), (&all, [1, self.outputs()]))
    }
}

/// Whitened windows alone: input `[16, N]`, output `[1, N]`.
#[must_use]
pub fn whitened_windows(series: &[Whitening]) -> Vec<u8> {
    let mut g = GraphBuilder::default();
    let scores = windows(&mut g, 0, series);
    g.finish("windows", ("input", [WINDOW, series.len()]), (&scores, [1, series.len()]))
}

/// Scores of whitened windows whose oldest row is `first`.
fn windows(g: &mut GraphBuilder, first: usize, series: &[Whitening]) -> String {
    let (n, first, half) = (series.len() as i64, first as i64, HALF as i64);
    let older = g.slice("input", 0, first, first + half);
    let newer = g.gather_rows("input", (first + half..first + WINDOW as i64).rev());
    let sum = g.node("Add", &[&older, &newer], vec![]);
    let difference = g.node("Sub", &[&older, &newer], vec![]);
    let folded = g.node("Concat", &[&sum, &difference], vec![int("axis", 1)]);
    let mut components = Vec::with_capacity(HALF);
    for j in 0..HALF {
        let rows = if j == 0 { folded.clone() } else { g.slice(&folded, 0, j as i64, half) };
        let mut column = Vec::with_capacity((HALF - j) * 2 * series.len());
        for i in j..HALF {
            column.extend(series.iter().map(|w| w.symmetric[packed(i, j)]));
            column.extend(series.iter().map(|w| w.antisymmetric[packed(i, j)]));
        }
        let factor = g.constant(&[HALF - j, 2 * series.len()], &column);
        let product = g.node("Mul", &[&rows, &factor], vec![]);
        components.push(if j + 1 == HALF { product } else { g.sum_rows(&product) });
    }
    let names: Vec<&str> = components.iter().map(String::as_str).collect();
    let all = g.node("Concat", &names, vec![int("axis", 0)]);
    let squares = g.node("Mul", &[&all, &all], vec![]);
    let forms = g.sum_rows(&squares);
    let symmetric = g.slice(&forms, 1, 0, n);
    let antisymmetric = g.slice(&forms, 1, n, 2 * n);
    let total = g.node("Add", &[&symmetric, &antisymmetric], vec![]);
    g.node("Sqrt", &[&total], vec![])
}

/// Scores of lag clusters: the least scaled distance over models, between 0 and the limit.
fn lag_clusters(g: &mut GraphBuilder, series: &[Vec<[f32; NUMBERS]>]) -> String {
    let n = series.len();
    // Where there is no model the scaled distance is a constant: the limit, or 0 when there is none at all.
    let number = |model: usize, series: &Vec<[f32; NUMBERS]>, at: usize| match series.get(model) {
        Some(numbers) => numbers[at],
        None => 0.0,
    };
    let table = |rows: std::ops::Range<usize>, value: &dyn Fn(usize, &Vec<[f32; NUMBERS]>) -> f32| -> Vec<f32> {
        rows.flat_map(|row| series.iter().map(move |s| value(row, s))).collect()
    };
    let mut total: Option<String> = None;
    for lag in 0..LAGS {
        let x = g.slice("input", 0, (LAG_ROW + lag) as i64, (LAG_ROW + lag + 1) as i64);
        let centres = table(0..2 * MODELS, &|row, s| number(row % MODELS, s, row / MODELS * LAGS + lag));
        let centres = g.constant(&[2 * MODELS, n], &centres);
        let apart = g.node("Sub", &[&x, &centres], vec![]);
        let square = g.node("Mul", &[&apart, &apart], vec![]);
        total = Some(match total {
            None => square,
            Some(sum) => g.node("Add", &[&sum, &square], vec![]),
        });
    }
    let squares = total.expect("there are lags");
    let distances = g.node("Sqrt", &[&squares], vec![]);
    let first = g.slice(&distances, 0, 0, MODELS as i64);
    let second = g.slice(&distances, 0, MODELS as i64, 2 * MODELS as i64);
    let both = g.node("Add", &[&first, &second], vec![]);
    let slope = table(0..MODELS, &|model, s| 0.5 * number(model, s, 2 * LAGS + 1));
    let offset = table(0..MODELS, &|model, s| match s.get(model) {
        Some(numbers) => -numbers[2 * LAGS] * numbers[2 * LAGS + 1],
        None if s.is_empty() => 0.0,
        None => clusters::LIMIT,
    });
    let (slope, offset) = (g.constant(&[MODELS, n], &slope), g.constant(&[MODELS, n], &offset));
    let scaled = g.node("Mul", &[&both, &slope], vec![]);
    let scaled = g.node("Add", &[&scaled, &offset], vec![]);
    let least = g.node("ReduceMin", &[&scaled], vec![ints("axes", &[0]), int("keepdims", 1)]);
    let (low, high) = (g.constant(&[1, 1], &[0.0]), g.constant(&[1, 1], &[clusters::LIMIT]));
    let least = g.node("Max", &[&least, &low], vec![]);
    g.node("Min", &[&least, &high], vec![])
}

/// A block's share of the squared length of the state.
fn state(
    g: &mut GraphBuilder,
    features: &str,
    columns: std::ops::Range<usize>,
    block: &BlockFit,
    scale: f32,
) -> String {
    let side = block.mean.len();
    let own = g.slice(features, 1, columns.start as i64, columns.end as i64);
    let own = g.reshape(&own, &[1, side]);
    let mean = g.constant(&[1, side], &block.mean);
    let centred = g.node("Sub", &[&own, &mean], vec![]);
    let scaled: Vec<f32> = block.factor.iter().map(|x| x * scale).collect();
    let factor = g.constant(&[side, side], &scaled);
    let white = g.node("MatMul", &[&centred, &factor], vec![]);
    let squares = g.node("Mul", &[&white, &white], vec![]);
    g.sum_columns(&squares)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plain;
    use crate::runtime::{Limits, Model};
    use crate::subspace::Subspace;
    use proptest::prelude::*;

    /// Agreement of the graph with plain Rust: sums in another order, nothing else.
    const ABSOLUTE: f32 = 2e-5;
    const RELATIVE: f32 = 2e-5;

    /// A fitted node of `n` series from anything.
    fn fitted(rhos: &[(f32, f32, u32)], seed: &[f32], season: bool) -> Fitted {
        let n = rhos.len();
        let whiten = |(rho, variance, points): &(f32, f32, u32)| {
            Whitening::fit(&std::array::from_fn(|l| variance * rho.powi(l as i32)), *points)
        };
        let mut subspace = Subspace::new(n, 1000.0);
        for rows in seed.chunks_exact(3 * n) {
            subspace.learn([&rows[..n], &rows[n..2 * n], &rows[2 * n..]], |_| true);
        }
        let windows: Vec<Whitening> = rhos.iter().map(whiten).collect();
        let model = |k: usize| -> [f32; NUMBERS] { std::array::from_fn(|i| seed[(i + k) % seed.len()].abs() * 0.1) };
        let clusters = (0..n).map(|s| (0..s % (MODELS + 2)).take(MODELS).map(|k| model(s + k)).collect()).collect();
        let slots: Vec<u32> = (0..n as u32).collect();
        Fitted {
            season: if season { windows.clone() } else { vec![] },
            windows,
            clusters,
            blocks: subspace.fit(&slots, &vec![[1.0; 3]; n]),
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]

        /// For every set of statistics and every input the graph gives the scores of the plain evaluation.
        #[test]
        fn the_graph_equals_plain_rust(
            rhos in prop::collection::vec((0.0_f32..0.99, 0.01_f32..9.0, 0_u32..5000), 1..40),
            seed in prop::collection::vec(-10.0_f32..10.0, 40 * 40),
            season in any::<bool>(),
        ) {
            let node = fitted(&rhos, &seed, season);
            let input = &seed[..node.rows() * node.series()];
            let (mut expected, mut got) = (vec![0.0; node.outputs()], vec![0.0; node.outputs()]);
            plain::evaluate(&node, input, &mut expected);
            let limits = Limits::new([node.rows(), node.series()], node.outputs());
            let mut model = Model::load(&node.graph(), limits).expect("our own graph");
            for _ in 0..2 {
                model.run(input, &mut got).expect("finite input");
                for (a, b) in got.iter().zip(&expected) {
                    prop_assert!((a - b).abs() <= ABSOLUTE + RELATIVE * b.abs(), "{} and {}", a, b);
                }
            }
        }
    }
}
