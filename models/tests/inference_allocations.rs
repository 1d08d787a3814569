//! Pins how often the ONNX runtime allocates in one inference, and what a loaded graph holds in memory.
//! It has its own `main`: the standard test runner allocates in parallel.
#![expect(unsafe_code, reason = "a global allocator is the only way to count allocations")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::hint::black_box;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};

use tacit_models::graph;
use tacit_models::runtime::{Limits, Model};
use tacit_models::whiten::{WINDOW, Whitening};

/// Allocations of one inference, whatever the number of series; `models/README.md` states it too.
const PER_INFERENCE: u64 = 196;

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
    for series in [100, 300, 500] {
        let one = Whitening::fit(&std::array::from_fn(|lag| 0.8_f32.powi(lag as i32)), 3600);
        let before = LIVE.load(Relaxed);
        let (mut model, bytes) = {
            let bytes = graph::whitened_windows(&vec![one; series]);
            (Model::load(&bytes, Limits::new([WINDOW, series], series)).expect("our own graph"), bytes.len())
        };
        let held = LIVE.load(Relaxed) - before;
        let (input, mut output) = (vec![1.0; WINDOW * series], vec![0.0; series]);
        for _ in 0..3 {
            model.run(&input, &mut output).expect("finite");
        }
        let runs = 100;
        let counted = allocations(|| (0..runs).for_each(|_| model.run(&input, &mut output).expect("finite")));
        println!("{series} series: {} allocations a run, {bytes} bytes of ONNX, {held} bytes held", counted / runs);
        assert_eq!(counted, PER_INFERENCE * runs, "allocations of {runs} inferences over {series} series");
        assert!(held < 3 * bytes as i64 + 200_000, "{held} bytes held for a graph of {bytes}");
    }
}
