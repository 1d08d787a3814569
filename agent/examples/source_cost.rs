//! What one sample of each source costs on this machine, in processor time of the sampling thread.
//!
//! `cargo run --release -p tacit-agent --example source_cost`

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use tacit_agent::clock::Tick;
use tacit_agent::config::Config;
use tacit_agent::source::{Root, Sample, Sampled, SeriesTable, registry};

const SERIES: usize = 4096;
const SAMPLES: usize = 200;

fn main() {
    let mut sources = registry::all(&Root::live(), &Config::default());
    sources.refreshers.iter().for_each(|refresh| refresh(Duration::from_secs(30)));
    let mut table = SeriesTable::new(SERIES);
    let mut values = vec![f32::NAN; SERIES];
    let mut at = Tick::now();
    let profile = if cfg!(debug_assertions) { "dev" } else { "release" };
    println!("{profile} profile, {SAMPLES} samples each, µs:");
    let mut sum = 0.0;
    for source in &mut sources.list {
        let mut costs = Vec::with_capacity(SAMPLES);
        let series = table.len();
        let mut outcome = None;
        for i in 0..=SAMPLES {
            at = at.plus_ms(1000);
            let before = cpu_us();
            outcome = Some(source.sample(&mut Sample { at, table: &mut table, values: &mut values }));
            // The first sample opens files and registers series.
            if i > 0 {
                costs.push(cpu_us() - before);
            }
        }
        if let Some(Ok(Sampled::Absent(why))) = outcome {
            println!("    -     absent {:<12} {why}", source.name());
            continue;
        }
        costs.sort_by(f64::total_cmp);
        sum += costs[SAMPLES / 2];
        let series = table.len() - series;
        println!("{:>8.1} least {:>8.1} median   {:<12} {series} series", costs[0], costs[SAMPLES / 2], source.name());
    }
    println!("{sum:>23.1} together, {} series", table.len());
}

fn cpu_us() -> f64 {
    let now = clock_gettime(ClockId::ThreadCPUTime);
    now.tv_sec as f64 * 1e6 + now.tv_nsec as f64 / 1e3
}
