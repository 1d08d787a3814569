//! `tacit-bench quiet`: days of machines that have nothing wrong, in compressed time, through the detectors that agents run:
//! how many events a host-day they raise, by stage of learning and by what the machine was doing.
//!
//! The machines are simulated ([`machine`]); the detectors are the real ones, at one sample a second and on minute means,
//! each with half of the budget, as on a node.

mod machine;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use anyhow::{Result, bail};
use clap::Args;
use serde::Serialize;
use tacit_models::{Detector, DetectorConfig, Transition};
use tacit_wire::message::Stage;

use machine::{DAY, Doing, Machine};

/// Arguments of `tacit-bench quiet`.
#[derive(Debug, Args)]
pub struct Options {
    /// Machines.
    #[arg(long, default_value_t = 4)]
    hosts: u64,
    /// Days each of them lives.
    #[arg(long, default_value_t = 10)]
    days: u64,
    /// Series a machine.
    #[arg(long, default_value_t = 200)]
    series: usize,
    /// Events a day that are asked for.
    #[arg(long, default_value_t = 1.0)]
    budget: f64,
    /// Seed of the first machine.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Print JSON instead of tables.
    #[arg(long)]
    json: bool,
}

/// Days and events of one stage.
#[derive(Debug, Clone, Copy, Default, Serialize)]
struct Count {
    days: f64,
    fast: u32,
    slow: u32,
}

/// What one or all machines had.
#[derive(Debug, Default, Serialize)]
struct Outcome {
    stages: BTreeMap<String, Count>,
    doing: BTreeMap<&'static str, u32>,
    /// Most events of one machine a day, once learned.
    worst_host: f64,
}

/// Runs it and prints the tables.
///
/// # Errors
/// Arguments that make no sense, or a model that cannot be loaded.
pub fn run(options: &Options) -> Result<()> {
    if options.hosts == 0 || options.days == 0 || !(1..=2000).contains(&options.series) {
        bail!("--hosts and --days must be at least 1, --series 1 to 2000");
    }
    if !(options.budget > 0.0 && options.budget <= 1000.0) {
        bail!("--budget {}: allowed is more than 0 and at most 1000 events a day", options.budget);
    }
    let next = AtomicU64::new(0);
    let workers = thread::available_parallelism().map_or(1, usize::from).min(options.hosts as usize);
    let outcomes = thread::scope(|scope| {
        let work = || {
            let mut done = Vec::new();
            loop {
                let host = next.fetch_add(1, Ordering::Relaxed);
                if host >= options.hosts {
                    return Ok(done);
                }
                done.push(live(options, options.seed + host)?);
                eprintln!("host {} of {} has lived {} days", host + 1, options.hosts, options.days);
            }
        };
        let threads: Vec<_> = (0..workers).map(|_| scope.spawn(work)).collect();
        let joined = threads.into_iter().map(|t| t.join().unwrap_or_else(|_| bail!("a host's thread panicked")));
        joined.collect::<Result<Vec<Vec<Outcome>>>>()
    })?;
    print(options, &total(outcomes.into_iter().flatten()));
    Ok(())
}

/// One machine's life.
fn live(options: &Options, seed: u64) -> Result<Outcome> {
    let mut machine = Machine::new(options.series, seed);
    let (mut fast, mut slow) = (detector(options, 1000), detector(options, 60_000));
    let mut outcome = Outcome::default();
    let mut minute = vec![0.0_f64; options.series];
    let mut learned = Count::default();
    for second in 1..=options.days * DAY {
        let (mono, wall) = (second * 1000, (second * 1000) as i64);
        let values = machine.next();
        minute.iter_mut().zip(values).for_each(|(sum, x)| *sum += f64::from(*x));
        let step = fast.step(values, mono, wall);
        if fast.refit_due() {
            fast.refit()?;
        }
        let mut opened = [step.transition == Some(Transition::Open), false];
        if second % 60 == 0 {
            let means: Vec<f32> = minute.iter().map(|sum| (sum / 60.0) as f32).collect();
            minute.fill(0.0);
            opened[1] = slow.step(&means, mono, wall).transition == Some(Transition::Open);
            if slow.refit_due() {
                slow.refit()?;
            }
        }
        let count = outcome.stages.entry(step.stage.to_string()).or_default();
        for count in [count, &mut learned] {
            count.days += 1.0 / DAY as f64;
            count.fast += u32::from(opened[0]);
            count.slow += u32::from(opened[1]);
        }
        if step.stage != Stage::Full {
            learned = Count::default();
        }
        for _ in opened.iter().filter(|o| **o) {
            *outcome.doing.entry(machine.doing().word()).or_default() += 1;
        }
    }
    if learned.days > 0.0 {
        outcome.worst_host = f64::from(learned.fast + learned.slow) / learned.days;
    }
    Ok(outcome)
}

fn detector(options: &Options, period_ms: u32) -> Detector {
    let config = DetectorConfig { capacity: options.series, period_ms, budget_per_day: Some(options.budget / 2.0) };
    let mut detector = Detector::new(config);
    for slot in 0..options.series {
        detector.bind(slot, slot as u64);
    }
    detector
}

fn total(outcomes: impl Iterator<Item = Outcome>) -> Outcome {
    let mut all = Outcome::default();
    for outcome in outcomes {
        for (stage, count) in outcome.stages {
            let sum = all.stages.entry(stage).or_default();
            sum.days += count.days;
            sum.fast += count.fast;
            sum.slow += count.slow;
        }
        for (doing, count) in outcome.doing {
            *all.doing.entry(doing).or_default() += count;
        }
        all.worst_host = all.worst_host.max(outcome.worst_host);
    }
    all
}

fn print(options: &Options, all: &Outcome) {
    if options.json {
        println!("{}", serde_json::json!({ "asked_per_day": options.budget, "outcome": all }));
        return;
    }
    println!("| stage | host-days | events a host-day | of samples | of minutes |");
    println!("|---|---:|---:|---:|---:|");
    for (stage, c) in &all.stages {
        let a_day = |n: u32| f64::from(n) / c.days.max(1e-9);
        println!(
            "| {stage} | {:.1} | {:.2} | {:.2} | {:.2} |",
            c.days,
            a_day(c.fast + c.slow),
            a_day(c.fast),
            a_day(c.slow)
        );
    }
    println!("\nAsked: {} a day. Worst host, once learned: {:.2} a day.", options.budget, all.worst_host);
    let doing = [Doing::Usual, Doing::Nightly, Doing::Deploy, Doing::Upgrade, Doing::Boot];
    let list: Vec<String> =
        doing.iter().map(|d| format!("{} {}", all.doing.get(d.word()).copied().unwrap_or(0), d.word())).collect();
    println!("Events by what the machine was doing: {}.", list.join(", "));
}
