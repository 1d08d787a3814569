//! `tacit-bench incidents`: what becomes of real faults in a small data centre, from the first symptom to the cause.
//!
//! Hosts are network namespaces with control groups of their own; on each a service of a shop and a real agent run, all publish to a
//! collector in this process. One fault after the other is injected and undone. What the collector's API says decides: one incident
//! for one fault or not, how soon, who is thought to be behind it, and how often somebody was told.
//!
//! ```text
//! place (hosts, groups, disk) ─ shop (services, visitors) ─┐
//! office (collector) ─ agents ─────────────────────────────┴─ run: learn ─┬─ inject ─ look ─ undo ─ score ─┐─ report
//!                                                                         └──────── all as it was ─────────┘
//! ```
//!
//! A second fault on the same services a few minutes after the first belongs to the incident of the first, and is meant to: every fault
//! therefore meets collector and agents as they were after learning. [`storm`] is the other proof, of numbers.

mod agents;
mod catalogue;
mod debian;
mod hook;
mod inject;
mod office;
pub mod part;
mod place;
mod report;
mod run;
mod score;
mod shop;
pub mod storm;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use clap::Args;

use crate::live::{self, Stand, duration, say};
use place::ground::Ground;
use place::hosts::Programs;
use run::Run;
use shop::Shop;

/// Arguments of `tacit-bench incidents`.
#[derive(Debug, Args)]
pub struct Options {
    /// Print the faults, and do nothing.
    #[arg(long)]
    list: bool,
    /// Only these faults.
    #[arg(long, value_delimiter = ',', value_name = "FAULT")]
    only: Vec<String>,
    /// How long the agents learn first.
    #[arg(long, default_value = "10min", value_parser = duration)]
    learn: Duration,
    /// How long all is quiet before each fault, when there are several.
    #[arg(long, default_value = "2min", value_parser = duration)]
    settle: Duration,
    /// How long each fault lasts.
    #[arg(long, default_value = "150s", value_parser = duration)]
    lasts: Duration,
    /// Agents raise no anomalies, only what needs no learning.
    #[arg(long)]
    only_rules: bool,
    /// Servers of ours in place of PostgreSQL and Redis.
    #[arg(long)]
    own_servers: bool,
    /// The agent (default: the one beside this program).
    #[arg(long)]
    agent: Option<PathBuf>,
    /// Folder for the run's files, on a disk (default: the folder for temporary files).
    #[arg(long)]
    folder: Option<PathBuf>,
    /// Print a line of JSON for each fault instead of a table.
    #[arg(long)]
    json: bool,
    /// Leave the console up at this address, during the run and after it until told to stop.
    #[arg(long, value_name = "ADDRESS")]
    keep_serving: Option<SocketAddr>,
}

/// Runs the shop, injects faults, and prints what became of them.
///
/// # Errors
/// When something cannot be started or dies, or the run was interrupted. What was done is undone then too.
pub fn run(options: &Options) -> Result<()> {
    if options.list {
        print!("{}", catalogue::list());
        return Ok(());
    }
    let faults = catalogue::select(&options.only)?;
    if !rustix::process::geteuid().is_root() {
        bail!("network namespaces and control groups need root: sudo tacit-bench incidents");
    }
    let agent = live::agent(options.agent.as_deref())?;
    let agent = agent.canonicalize().context("cannot find the agent")?.to_string_lossy().into_owned();
    let stand = Stand::new(options.folder.as_deref())?;
    let programs = if options.own_servers { Programs::default() } else { Programs::installed() };
    say("making the hosts");
    let ground = Ground::new(programs, stand.folder(), &stand.janitor)?;
    say("opening the shop");
    let shop = Shop::open(&ground)?;
    let mut run = Run::new(options, &agent, ground, shop, &stand.stop)?;
    let outcomes = run.all(&faults, |outcome| {
        if options.json {
            println!("{}", serde_json::to_string(outcome).unwrap_or_default());
        }
    })?;
    if !options.json {
        print!("{}", report::table(&outcomes, &faults));
    }
    if let (Some(_), Some(console)) = (options.keep_serving, run.console()) {
        keep_serving(console, &stand.stop);
    }
    Ok(())
}

/// Leaves the console up.
fn keep_serving(at: SocketAddr, stop: &AtomicBool) {
    say(&format!("the incidents are at http://{at}/; Ctrl-C ends it"));
    while !stop.load(Ordering::Relaxed) {
        std::thread::sleep(Duration::from_millis(200));
    }
}
