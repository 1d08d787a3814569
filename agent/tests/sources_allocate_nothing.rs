//! In steady state no source allocates on the sampling thread. Runs alone (`harness = false`): a test runner allocates
//! beside it.

mod counting;

use std::hint::black_box;
use std::time::Duration;

use counting::allocations;
use tacit_agent::clock::Tick;
use tacit_agent::config::Config;
use tacit_agent::source::{Root, Sample, Sampled, SeriesTable, Source, registry};

const SERIES: usize = 1024;
const TICKS: u64 = 20;
/// The machine may get a process, a mount or an interface in the middle of a batch; of several one is quiet.
const BATCHES: usize = 8;

fn main() {
    if counting::only_listed("sources_allocate_nothing") {
        return;
    }
    counting::check();

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
