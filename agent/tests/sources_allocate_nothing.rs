//! In steady state no source allocates on the sampling thread. Runs alone (`harness = false`): a test runner allocates
//! beside it.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::hint::black_box;
use std::time::Duration;

use tacit_agent::clock::Tick;
use tacit_agent::config::Config;
use tacit_agent::source::{Root, Sample, Sampled, SeriesTable, Source, registry};

thread_local! {
    static COUNT: Cell<u64> = const { Cell::new(0) };
}

struct Counting;

#[expect(unsafe_code, reason = "an allocator is unsafe by nature; this one only counts and forwards")]
// SAFETY: every call is forwarded unchanged to the system's allocator, which keeps the contract.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // A thread that is ending has no counter any more; its allocations are nobody's.
        let _ = COUNT.try_with(|count| count.set(count.get() + 1));
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the pointer came from `alloc` above, which is the system's.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        let _ = COUNT.try_with(|count| count.set(count.get() + 1));
        // SAFETY: as for `dealloc`; the caller keeps the rest of the contract.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Allocations of this thread in `work`.
fn allocations(work: impl FnOnce()) -> u64 {
    let before = COUNT.with(Cell::get);
    work();
    COUNT.with(Cell::get) - before
}

const SERIES: usize = 1024;
const TICKS: u64 = 20;
/// The machine may get a process, a mount or an interface in the middle of a batch; of several one is quiet.
const BATCHES: usize = 8;

fn main() {
    // What nextest asks of a test with its own `main`.
    if std::env::args().any(|a| a == "--list") {
        if std::env::args().all(|a| a != "--ignored") {
            println!("sources_allocate_nothing: test");
        }
        return;
    }
    assert_eq!(allocations(|| drop(black_box(Box::new(1_u64)))), 1, "the counting allocator is not installed");

    let mut sources = registry::all(&Root::live(), &Config::default());
    sources.refreshers.iter().for_each(|refresh| refresh(Duration::from_secs(30)));
    let mut table = SeriesTable::new(SERIES);
    let mut values = vec![f32::NAN; SERIES];
    let mut at = Tick::now();
    let mut tick = |source: &mut dyn Source| {
        at = at.plus_ms(1000);
        source.sample(&mut Sample { at, table: &mut table, values: &mut values })
    };
    let mut checked = Vec::new();
    for source in &mut sources.list {
        let source = source.as_mut();
        for _ in 0..5 {
            let _ = tick(source);
        }
        // What a machine does not have is not asked every tick, so its words may cost something.
        if !matches!(tick(source), Ok(Sampled::Data)) {
            continue;
        }
        let batch = |source: &mut dyn Source, tick: &mut dyn FnMut(&mut dyn Source)| {
            allocations(|| (0..TICKS).for_each(|_| tick(source)))
        };
        let mut quiet = |source: &mut dyn Source| drop(black_box(tick(source)));
        let least = (0..BATCHES).map(|_| batch(source, &mut quiet)).min();
        assert_eq!(least, Some(0), "source {} allocates in steady state", source.name());
        checked.push(source.name());
    }
    assert!(checked.len() >= 5, "only {checked:?} have data here");
    println!("no allocation in {TICKS} ticks of each of {checked:?}");
}
