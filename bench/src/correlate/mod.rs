//! `tacit-bench correlate`: how well events are grouped into incidents, on days of recorded minutes with known faults.
//!
//! ```text
//! DAY-metrics → alarms (events with their own p) → collector::incident::group → groups ┐
//! DAY-graph, DAY-placement → relations ───────────────────┘                             ├→ score → table
//!                                                              incidents.json (apart) ──┘
//! ```
//!
//! The grouping is the one that the collector runs, with its own constants. It sees events in the order of their onsets and never a
//! label; what was injected when is read when all groups are done.

pub mod alarms;
pub mod day;
pub mod replay;
pub mod score;

use std::path::PathBuf;

use anyhow::{Context as _, Result};
use clap::Args;

use score::Score;

/// Arguments of `tacit-bench correlate`.
#[derive(Debug, Clone, Args)]
pub struct Options {
    /// Folder with nezha.
    #[arg(long)]
    pub data: PathBuf,
    /// Print a line of JSON for each day instead of the table.
    #[arg(long)]
    pub json: bool,
}

/// Runs the evaluation and prints it.
///
/// # Errors
/// As [`evaluate`].
pub fn run(options: &Options) -> Result<()> {
    let scores = evaluate(options)?;
    if options.json {
        for score in &scores {
            println!("{}", serde_json::to_string(score).context("cannot write a score as JSON")?);
        }
    } else {
        print!("{}", score::table(&scores));
    }
    Ok(())
}

/// Groups the events of every day, and scores the groups.
///
/// # Errors
/// A data folder that is incomplete or damaged.
pub fn evaluate(options: &Options) -> Result<Vec<Score>> {
    let root = options.data.join(crate::cause::nezha::FOLDER);
    let mut days = Vec::new();
    for name in day::names(&root)? {
        let replayed = day::read(&root, &name).map(|day| replay::replay(&day));
        days.push((name.clone(), replayed.with_context(|| format!("the day {name}"))?));
    }
    let faults = score::faults(&root)?;
    Ok(days.into_iter().map(|(name, replayed)| Score::of(name, &replayed, &faults)).collect())
}
