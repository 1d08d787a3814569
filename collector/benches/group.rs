//! What a storm of events costs to group: 10,000 in a minute from 500 nodes behind one switch, and a stranger among them.

use divan::Bencher;
use divan::counter::ItemsCount;
use tacit_collector::incident::group::storm::storm;
use tacit_collector::incident::group::{GroupNo, Grouper, Outcome, Rules};

fn main() {
    divan::main();
}

/// One minute of a storm, neighbourhoods and all.
#[divan::bench(sample_count = 10, sample_size = 1)]
fn storm_of_10000_events_500_nodes(bencher: Bencher<'_, '_>) {
    let storm = storm(1);
    bencher.counter(ItemsCount::new(storm.onsets.len())).bench_local(|| {
        let mut grouper = Grouper::new(Rules::default(), GroupNo(1));
        let (mut opened, mut merged) = (0, 0);
        for onset in &storm.onsets {
            for outcome in grouper.begin(onset, onset.at_ms, &storm.relations) {
                match outcome {
                    Outcome::Opened { .. } => opened += 1,
                    Outcome::Merged { was_open: true, .. } => merged += 1,
                    _ => {}
                }
            }
        }
        assert_eq!(opened - merged, 2);
        grouper
    });
}
