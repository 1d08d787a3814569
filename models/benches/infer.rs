//! Cost of each step of a judgement, and of other forms of the same graph.
//! `cargo bench -p tacit-models --bench infer`

use divan::{AllocProfiler, Bencher, black_box};
use tacit_models::clusters::Clusters;
use tacit_models::detector::{Detector, DetectorConfig};
use tacit_models::graph::{GraphBuilder, int, whitened_windows};
use tacit_models::plain;
use tacit_models::runtime::{Limits, Model};
use tacit_models::standardise::Standardiser;
use tacit_models::subspace::Subspace;
use tacit_models::whiten::{HALF, WINDOW, Whitening, packed};

#[global_allocator]
static ALLOCATOR: AllocProfiler = AllocProfiler::system();

const SERIES: [usize; 3] = [100, 300, 500];

fn main() {
    divan::main();
}

fn whitenings(series: usize) -> Vec<Whitening> {
    let rho = |i: usize| 0.3 + 0.6 * (i as f32 / series as f32);
    (0..series).map(|i| Whitening::fit(&std::array::from_fn(|lag| rho(i).powi(lag as i32)), 3600)).collect()
}

fn values(n: usize) -> Vec<f32> {
    (0..n).map(|i| ((i * 7919) % 1000) as f32 / 200.0 - 2.5).collect()
}

#[divan::bench(args = SERIES)]
fn standardise(bencher: Bencher<'_, '_>, series: usize) {
    let mut s = Standardiser::new(series, 21_600.0);
    let (mut z, mut present) = (vec![0.0; series], vec![false; series]);
    let rows: Vec<Vec<f32>> = (0..64).map(|t| values(series + t).split_off(t)).collect();
    rows.iter().for_each(|row| s.step(row, true, &mut z, &mut present));
    bencher.bench_local(|| s.step(black_box(&rows[7]), true, &mut z, &mut present));
}

/// What a point teaches about how series hang together: the covariances of the state's features.
#[divan::bench(args = SERIES)]
fn learn_state(bencher: Bencher<'_, '_>, series: usize) {
    let mut subspace = Subspace::new(series, 86_400.0);
    let rows = [values(series), values(series + 1), values(series + 2)];
    bencher.bench_local(|| subspace.learn([&rows[0], &rows[1][1..], &rows[2][2..]], |_| true));
}

/// The movements of a point, and what they teach the clusters of tomorrow.
#[divan::bench(args = SERIES)]
fn lag_clusters(bencher: Bencher<'_, '_>, series: usize) {
    let mut clusters = Clusters::new(series, 10_800);
    let row = values(series);
    // After a start a movement is not whole yet, and nothing is learned.
    (0..32).for_each(|_| clusters.step(&row, true, |_| true));
    bencher.bench_local(|| clusters.step(black_box(&row), true, |_| true));
}

#[divan::bench(args = SERIES)]
fn plain_rust(bencher: Bencher<'_, '_>, series: usize) {
    let (w, input) = (whitenings(series), values(WINDOW * series));
    let mut output = vec![0.0; series];
    bencher.bench_local(|| {
        for (column, (w, out)) in w.iter().zip(&mut output).enumerate() {
            let window: [f32; WINDOW] = std::array::from_fn(|row| black_box(&input)[row * series + column]);
            *out = plain::score(w, &window);
        }
    });
}

/// A whole point: standardise, learn, gather the window, infer, judge.
#[divan::bench(args = SERIES)]
fn detector_step(bencher: Bencher<'_, '_>, series: usize) {
    let mut d = learned(series);
    let row = values(series);
    let mut now = 1_000_000;
    bencher.bench_local(|| {
        now += 1000;
        d.step(black_box(&row), now, now as i64)
    });
}

#[divan::bench(args = SERIES, sample_count = 10, sample_size = 1)]
fn refit(bencher: Bencher<'_, '_>, series: usize) {
    let mut d = learned(series);
    bencher.bench_local(|| d.refit().expect("loads"));
}

fn learned(series: usize) -> Detector {
    let mut d = Detector::new(DetectorConfig { capacity: series, period_ms: 1000, budget_per_day: None });
    (0..series).for_each(|slot| assert!(d.bind(slot, slot as u64)));
    for t in 0..120_u64 {
        d.step(&values(series + t as usize * 13).split_off(t as usize * 13), t * 1000, t as i64 * 1000);
    }
    d.refit().expect("loads");
    d
}

fn run(bencher: Bencher<'_, '_>, series: usize, bytes: &[u8]) {
    let mut model = Model::load(bytes, Limits::new([WINDOW, series], series)).expect("loads");
    let (input, mut output) = (values(WINDOW * series), vec![0.0; series]);
    bencher.bench_local(|| model.run(black_box(&input), &mut output));
}

/// The form in use: folded halves side by side, triangular factors, eight steps.
#[divan::bench(args = SERIES)]
fn form_triangular(bencher: Bencher<'_, '_>, series: usize) {
    run(bencher, series, &whitened_windows(&whitenings(series)));
}

/// Sixteen full components, each Mul and ReduceSum over [16, N].
#[divan::bench(args = SERIES)]
fn form_unrolled(bencher: Bencher<'_, '_>, series: usize) {
    let w = whitenings(series);
    let mut g = GraphBuilder::default();
    let mut parts = Vec::new();
    for k in 0..WINDOW {
        let factor = g.constant(&[WINDOW, series], &full_component(&w, k));
        let product = g.node("Mul", &["window", &factor], vec![]);
        parts.push(g.sum_rows(&product));
    }
    finish_parts(bencher, series, g, &parts);
}

/// All sixteen components in one Mul over [256, N], summed in groups by a reshape.
#[divan::bench(args = SERIES)]
fn form_grouped(bencher: Bencher<'_, '_>, series: usize) {
    let w = whitenings(series);
    let mut g = GraphBuilder::default();
    let all: Vec<f32> = (0..WINDOW).flat_map(|k| full_component(&w, k)).collect();
    let factor = g.constant(&[WINDOW * WINDOW, series], &all);
    let copies = g.node("Concat", &["window"; WINDOW], vec![int("axis", 0)]);
    let product = g.node("Mul", &[&copies, &factor], vec![]);
    let shape = g.integers(&[WINDOW as i64, WINDOW as i64, series as i64]);
    let cube = g.node("Reshape", &[&product, &shape], vec![]);
    let axes = g.integers(&[1]);
    let parts = g.node("ReduceSum", &[&cube, &axes], vec![int("keepdims", 0)]);
    finish_squares(bencher, series, g, &parts);
}

/// A batched matrix product over series: [N, 16, 16] by [N, 16, 1].
#[divan::bench(args = SERIES)]
fn form_batched_matmul(bencher: Bencher<'_, '_>, series: usize) {
    let w = whitenings(series);
    let columns: Vec<Vec<f32>> = (0..WINDOW).map(|k| full_component(&w, k)).collect();
    let mut matrices = Vec::with_capacity(WINDOW * WINDOW * series);
    for s in 0..series {
        for column in &columns {
            matrices.extend((0..WINDOW).map(|row| column[row * series + s]));
        }
    }
    let mut g = GraphBuilder::default();
    let factor = g.constant(&[series, WINDOW, WINDOW], &matrices);
    let turned = g.node("Transpose", &["window"], vec![]);
    let shape = g.integers(&[series as i64, WINDOW as i64, 1]);
    let windows = g.node("Reshape", &[&turned, &shape], vec![]);
    let product = g.node("MatMul", &[&factor, &windows], vec![]);
    let flat = g.integers(&[series as i64, WINDOW as i64]);
    let rows = g.node("Reshape", &[&product, &flat], vec![]);
    let parts = g.node("Transpose", &[&rows], vec![]);
    finish_squares(bencher, series, g, &parts);
}

/// Weights of one component on the sixteen rows, unfolded, `[16, N]`.
fn full_component(w: &[Whitening], k: usize) -> Vec<f32> {
    let (j, sign) = if k < HALF { (k, 1.0) } else { (k - HALF, -1.0) };
    let at = |w: &Whitening, i: usize| {
        let factor = if k < HALF { &w.symmetric } else { &w.antisymmetric };
        if i >= j { factor[packed(i, j)] } else { 0.0 }
    };
    (0..WINDOW)
        .flat_map(|row| {
            let weight = move |w: &Whitening| if row < HALF { at(w, row) } else { sign * at(w, WINDOW - 1 - row) };
            w.iter().map(weight)
        })
        .collect()
}

fn finish_parts(bencher: Bencher<'_, '_>, series: usize, mut g: GraphBuilder, parts: &[String]) {
    let names: Vec<&str> = parts.iter().map(String::as_str).collect();
    let all = g.node("Concat", &names, vec![int("axis", 0)]);
    finish_squares(bencher, series, g, &all);
}

fn finish_squares(bencher: Bencher<'_, '_>, series: usize, mut g: GraphBuilder, parts: &str) {
    let squares = g.node("Mul", &[parts, parts], vec![]);
    let sum = g.sum_rows(&squares);
    let score = g.node("Sqrt", &[&sum], vec![]);
    run(bencher, series, &g.finish("form", ("window", [WINDOW, series]), (&score, [1, series])));
}
