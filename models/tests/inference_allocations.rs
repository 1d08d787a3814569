//! Pins how often the ONNX runtime allocates in one inference, and what a loaded graph holds in memory.
//! It has its own `main`: the standard test runner allocates in parallel.
#![expect(unsafe_code, reason = "a global allocator is the only way to count allocations")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::hint::black_box;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};

use tacit_models::clusters::{MODELS, NUMBERS};
use tacit_models::graph::Fitted;
use tacit_models::runtime::{Limits, Model};
use tacit_models::subspace::Subspace;
use tacit_models::whiten::Whitening;

/// Series, and allocations of one inference; `models/README.md` states them too. They grow with the blocks of 32 series.
const PINNED: [(usize, u64); 3] = [(100, 454), (300, 776), (500, 1098)];

struct Counting;

static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);
static LIVE: AtomicI64 = AtomicI64::new(0);

// SAFETY: every call is forwarded unchanged to the system allocator; only counters are touched besides.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Relaxed);
        LIVE.fetch_add(layout.size() as i64, Relaxed);
        // SAFETY: the caller's contract is the system allocator's.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        LIVE.fetch_sub(layout.size() as i64, Relaxed);
        // SAFETY: `at` came from `alloc` above, that is from the system allocator.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

fn allocations(run: impl FnOnce()) -> u64 {
    let before = ALLOCATIONS.load(Relaxed);
    run();
    ALLOCATIONS.load(Relaxed) - before
}

fn fitted(series: usize) -> Fitted {
    let mut subspace = Subspace::new(series, 1000.0);
    for t in 0..50 {
        let row: Vec<f32> = (0..series).map(|i| ((i * 31 + t * 17) % 23) as f32 / 8.0 - 1.4).collect();
        subspace.learn([&row, &row, &row], |_| true);
    }
    let slots: Vec<u32> = (0..series as u32).collect();
    let one = Whitening::fit(&std::array::from_fn(|lag| 0.8_f32.powi(lag as i32)), 3600);
    let clusters = vec![vec![[1.0; NUMBERS]; MODELS]; series];
    Fitted {
        windows: vec![one; series],
        season: Vec::new(),
        clusters,
        blocks: subspace.fit(&slots, &vec![[1.0; 3]; series]),
    }
}

fn main() {
    // Test runners ask for the names of tests first.
    let arguments: Vec<String> = std::env::args().collect();
    if arguments.iter().any(|a| a == "--list") {
        if !arguments.iter().any(|a| a == "--ignored") {
            println!("one_inference_allocates_as_often_as_stated: test");
        }
        return;
    }
    assert_eq!(allocations(|| drop(black_box(Box::new(1_u64)))), 1, "the counting allocator is not installed");
    for (series, pinned) in PINNED {
        let node = fitted(series);
        let before = LIVE.load(Relaxed);
        let (mut model, bytes) = {
            let bytes = node.graph();
            let limits = Limits::new([node.rows(), series], node.outputs());
            (Model::load(&bytes, limits).expect("our own graph"), bytes.len())
        };
        let held = LIVE.load(Relaxed) - before;
        let (input, mut output) = (vec![1.0; node.rows() * series], vec![0.0; node.outputs()]);
        for _ in 0..3 {
            model.run(&input, &mut output).expect("finite");
        }
        let runs = 100;
        let counted = allocations(|| (0..runs).for_each(|_| model.run(&input, &mut output).expect("finite")));
        println!("{series} series: {} allocations a run, {bytes} bytes of ONNX, {held} bytes held", counted / runs);
        assert_eq!(counted, pinned * runs, "allocations of {runs} inferences over {series} series");
        assert!(held < 3 * bytes as i64 + 200_000, "{held} bytes held for a graph of {bytes}");
    }
}
