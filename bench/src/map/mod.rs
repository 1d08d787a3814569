//! `tacit-bench map`: what the map makes of a small data centre whose traffic is known.
//!
//! Hosts are network namespaces with a router between them; in each runs a real agent, all publish to a collector in this process. Real
//! servers and clients talk; clients count what they do, the kernel counts what it sends again, and the map is compared with both.
//!
//! ```text
//! place (namespaces, control groups) ─ center ─ servers, traffic (parts) ─┐
//! desk (collector) ─ node (agents) ──────────────── map, raw halves ──────┴─ judge (truth) ─ report
//! ```
//!
//! `--drawn` feeds a made-up fleet instead, for a look at the pages, and `--join` measures what joining costs the collector.

mod center;
mod desk;
mod drawn;
pub(crate) mod fleet;
mod helper;
mod join;
mod judge;
mod node;
pub mod part;
pub(crate) mod place;
mod report;
mod rules;
mod run;
mod servers;
mod traffic;
mod truth;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use clap::Args;

use crate::live::{self, Stand, duration, say};
use center::Center;
use desk::Desk;
use run::Run;

/// Arguments of `tacit-bench map`.
#[derive(Debug, Args)]
pub struct Options {
    /// Only these hosts: front, app1, app2, db, cache, old, world, box.
    #[arg(long, value_delimiter = ',', value_name = "NAME")]
    hosts: Vec<String>,
    /// Short connections that clients make.
    #[arg(long, default_value_t = 10_000)]
    short: u64,
    /// How many of them a second.
    #[arg(long, default_value_t = 500)]
    rate: u64,
    /// How long the other traffic goes on at least, before the changes and again after them, in seconds.
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// How long the agents are measured without any traffic first.
    #[arg(long, default_value = "60s", value_parser = duration)]
    baseline: Duration,
    /// No service moves, and no host goes and comes.
    #[arg(long)]
    no_change: bool,
    /// Idle connections that are open meanwhile, in sockets.
    #[arg(long, default_value_t = 0)]
    sockets: u64,
    /// The map counts as complete when nothing on it has changed for so long.
    #[arg(long, default_value = "75s", value_parser = duration)]
    settle: Duration,
    /// Servers of ours in place of nginx and Redis.
    #[arg(long)]
    own_servers: bool,
    /// The agent (default: the one beside this program).
    #[arg(long)]
    agent: Option<PathBuf>,
    /// Folder for the run's files (default: the folder for temporary files).
    #[arg(long)]
    folder: Option<PathBuf>,
    /// Print JSON instead of tables.
    #[arg(long)]
    json: bool,
    /// Leave the console up at this address until told to stop.
    #[arg(long, value_name = "ADDRESS")]
    keep_serving: Option<SocketAddr>,
    /// A made-up fleet of so many services instead, for a look at the pages; needs no root.
    #[arg(long, value_name = "SERVICES", conflicts_with = "join")]
    drawn: Option<u32>,
    /// What it costs the collector to join 2,000 nodes with 50 edges a minute; needs no root.
    #[arg(long)]
    join: bool,
}

/// Runs the data centre and prints what the map made of it.
///
/// # Errors
/// When something cannot be started or dies, or the run was interrupted. What was done is undone then too.
pub fn run(options: &Options) -> Result<()> {
    if options.join {
        return join::run(options.json);
    }
    if let Some(services) = options.drawn {
        return drawn::run(services, options.keep_serving);
    }
    if !(1..=1_000_000).contains(&options.short) || !(1..=10_000).contains(&options.rate) {
        bail!("--short: allowed are 1 to 1000000; --rate: 1 to 10000");
    }
    if !rustix::process::geteuid().is_root() {
        bail!("network namespaces and control groups need root: sudo tacit-bench map");
    }
    let agent = live::agent(options.agent.as_deref())?;
    let agent = agent.canonicalize().context("cannot find the agent")?.to_string_lossy().into_owned();
    let stand = Stand::new(options.folder.as_deref())?;
    let path = stand.folder().canonicalize().context("cannot find the run's folder")?;
    say("making the hosts");
    let center = Center::new(&options.hosts, &path, &stand.janitor)?;
    let desk = Desk::start(&path, center.net.machine(), options.keep_serving)?;
    let mut run = Run::new(options, &agent, center, desk, &stand.stop);
    let report = run.all()?;
    if options.json {
        println!("{}", report.json());
    } else {
        print!("{}", report.text());
    }
    if options.keep_serving.is_some() {
        keep_serving(run.console(), &stand.stop);
    }
    Ok(())
}

/// Leaves the console up.
fn keep_serving(at: SocketAddr, stop: &AtomicBool) {
    say(&format!("the map is at http://{at}/map; Ctrl-C ends it"));
    while !stop.load(Ordering::Relaxed) {
        std::thread::sleep(Duration::from_millis(200));
    }
}
