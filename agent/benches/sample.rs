//! What a tick costs by source: read, parse and compute, on this very machine; and the whole of them.

use std::time::Duration;

use divan::{Bencher, black_box};
use tacit_agent::clock::Tick;
use tacit_agent::config::Config;
use tacit_agent::source::{Root, Sample, SeriesTable, Source, registry};

fn main() {
    divan::main();
}

const SERIES: usize = 2048;

/// All sources, as on this machine; slow ones have looked once.
fn sources() -> Vec<Box<dyn Source>> {
    let sources = registry::all(&Root::live(), &Config::default());
    sources.refreshers.iter().for_each(|refresh| refresh(Duration::from_secs(30)));
    sources.list
}

fn names() -> Vec<String> {
    sources().iter().map(|s| s.name().to_owned()).collect()
}

fn sample(bencher: Bencher<'_, '_>, mut sources: Vec<Box<dyn Source>>) {
    let mut table = SeriesTable::new(SERIES);
    let mut values = vec![f32::NAN; SERIES];
    let mut at = Tick::now();
    bencher.bench_local(|| {
        at = at.plus_ms(1000);
        for source in &mut sources {
            // A source without data here costs what it takes to find that out.
            let _ = black_box(source.sample(&mut Sample { at, table: &mut table, values: &mut values }));
        }
    });
}

#[divan::bench(args = names())]
fn source(bencher: Bencher<'_, '_>, name: &str) {
    sample(bencher, sources().into_iter().filter(|s| s.name() == name).collect());
}

#[divan::bench]
fn all_sources(bencher: Bencher<'_, '_>) {
    sample(bencher, sources());
}
