//! `tacit-bench cause`: how good the ranking of causes is, on labelled incidents of public data.
//!
//! ```text
//! nezha, petshop, rootcausebench → case (evidence) → collector::cause::rank → place of the cause → AC@k by system
//!                                                              labels (apart) ┘
//! ```
//!
//! The ranking is the one that the collector runs. It sees an incident as a running collector would: the other minutes of the day,
//! other faults among them, are the reference. [`labels`] are read when all rankings are done.

pub mod case;
pub mod labels;
pub mod nezha;
pub mod petshop;
pub mod rootcausebench;
pub mod score;
pub mod table;

use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use clap::Args;
use serde::Serialize;
use tacit_collector::cause::rank;

use case::{Case, Each};
use score::{Outcome, Outcomes, Row};

/// Arguments of `tacit-bench cause`.
#[derive(Debug, Clone, Args)]
pub struct Options {
    /// Folder with nezha, petshop and rootcausebench, or some of them.
    #[arg(long)]
    pub data: PathBuf,
    /// Only these systems, such as TrainTicket.
    #[arg(long, value_delimiter = ',')]
    pub system: Vec<String>,
    /// Print a line of JSON for each incident instead of the table.
    #[arg(long)]
    pub json: bool,
}

/// The ranking of an incident.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Ranked {
    /// The system.
    pub system: String,
    /// The incident.
    pub id: String,
    /// Candidates, the likeliest first.
    pub ranking: Vec<String>,
    /// Milliseconds that it took.
    pub ms: f64,
    /// Whether the ranking says that it is not sure.
    pub unsure: bool,
    /// By what part of its score the first leads.
    pub margin: f64,
}

/// Runs the evaluation and prints it.
///
/// # Errors
/// As [`rankings`] and [`rows`].
pub fn run(options: &Options) -> Result<()> {
    let ranked = rankings(options)?;
    if options.json {
        for one in &ranked {
            println!("{}", serde_json::to_string(one).context("cannot write a ranking as JSON")?);
        }
    } else {
        print!("{}", score::table(&rows(options, ranked)?));
    }
    Ok(())
}

/// Ranks the causes of all incidents of a data folder.
///
/// # Errors
/// A data folder that is incomplete or damaged, or has nothing of what is asked for.
pub fn rankings(options: &Options) -> Result<Vec<Ranked>> {
    let mut ranked = Vec::new();
    let mut systems: Vec<String> = Vec::new();
    let mut each = |case: Case| -> Result<()> {
        if !systems.contains(&case.system) {
            systems.push(case.system.clone());
        }
        if options.system.is_empty() || options.system.iter().any(|s| s.eq_ignore_ascii_case(&case.system)) {
            ranked.push(one(case));
        }
        Ok(())
    };
    let found = every_folder(&options.data, &mut each)?;
    ensure!(found, "--data {}: there is no nezha, petshop or rootcausebench", options.data.display());
    for asked in &options.system {
        let known = systems.iter().any(|s| s.eq_ignore_ascii_case(asked));
        ensure!(known, "--system {asked}: {} has only {}", options.data.display(), systems.join(", "));
    }
    Ok(ranked)
}

/// Goes through the data sets that are there; says whether any is.
fn every_folder(data: &Path, each: &mut Each<'_>) -> Result<bool> {
    let mut found = false;
    type Load = fn(&Path, &mut Each<'_>) -> Result<()>;
    let sets: [(&str, Load); 3] = [
        (nezha::FOLDER, nezha::cases),
        (petshop::FOLDER, petshop::cases),
        (rootcausebench::FOLDER, rootcausebench::cases),
    ];
    for (folder, cases) in sets {
        if data.join(folder).is_dir() {
            cases(data, each)?;
            found = true;
        }
    }
    Ok(found)
}

fn one(case: Case) -> Ranked {
    let began = Instant::now();
    let ranking = rank(&case.evidence);
    let ms = began.elapsed().as_secs_f64() * 1000.0;
    Ranked {
        system: case.system,
        id: case.id,
        ranking: ranking.causes.into_iter().map(|c| c.entity).collect(),
        ms,
        unsure: ranking.unsure,
        margin: ranking.margin,
    }
}

/// Scores rankings with the labels of the data folder.
///
/// # Errors
/// Labels that are damaged, or missing for an incident.
pub fn rows(options: &Options, ranked: Vec<Ranked>) -> Result<Vec<Row>> {
    let labels = labels::read(&options.data)?;
    let mut outcomes = Outcomes::default();
    for one in ranked {
        let key = (one.system, one.id);
        let label = labels.get(&key).with_context(|| format!("{} {} has no label", key.0, key.1))?;
        let place = one.ranking.iter().position(|name| *name == label.cause).map(|at| at + 1);
        outcomes.add(key.0, label.group.clone(), Outcome { place, unsure: one.unsure, ms: one.ms });
    }
    Ok(outcomes.rows())
}
