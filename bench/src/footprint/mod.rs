//! `tacit-bench footprint`: the agent's cost at 1 Hz with detection on, against a local collector, and that of peers.
//!
//! Everything runs at the same time on loopback, so that the noise of a shared machine meets all alike: quote ratios.
//! CPU time comes from the kernel's own accounting (`schedstat` per thread for the agent, `stat` of the process tree for
//! peers), memory from `smaps_rollup`, bytes from a proxy between agent and broker that reads MQTT packet headers.

mod agent;
mod peers;
pub(crate) mod process;
mod proxy;
mod report;

use std::path::PathBuf;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use clap::Args;

use agent::AgentRun;
use peers::PeerRun;

/// Arguments of `tacit-bench footprint`.
#[derive(Debug, Args)]
pub struct Options {
    /// How long to measure, after the warm-up.
    #[arg(long, default_value_t = 5.0)]
    minutes: f64,
    /// How long to wait before measuring, in seconds; the first model is fitted within it.
    #[arg(long, default_value_t = 90)]
    warm_up: u64,
    /// Agent binaries to measure (default: the one beside this program). Each runs twice: with and without the page drop.
    #[arg(long)]
    agent: Vec<PathBuf>,
    /// Peers to measure in the same run: node_exporter, netdata, collectd (Debian's packages).
    #[arg(long, value_delimiter = ',')]
    peers: Vec<String>,
    /// Print JSON instead of a table.
    #[arg(long)]
    json: bool,
}

/// Runs the measurement and prints it.
///
/// # Errors
/// When a program to measure cannot be started or dies.
pub fn run(options: &Options) -> Result<()> {
    if !(options.minutes > 0.0 && options.minutes <= 24.0 * 60.0) {
        bail!("--minutes {}: allowed is more than 0 and at most 1440", options.minutes);
    }
    let folder = tempfile::tempdir().context("cannot make a folder for the run")?;
    let agents =
        if options.agent.is_empty() { vec![beside_this_program("tacit-agent")?] } else { options.agent.clone() };

    let mut agent_runs = Vec::new();
    for binary in &agents {
        for drop_pages in [true, false] {
            agent_runs.push(AgentRun::start(binary, drop_pages, folder.path())?);
        }
    }
    let mut peer_runs = Vec::new();
    for name in &options.peers {
        peer_runs.push(PeerRun::start(name, folder.path())?);
    }

    eprintln!("warming up for {} s, then measuring for {} min", options.warm_up, options.minutes);
    wait(Duration::from_secs(options.warm_up), &mut agent_runs, &mut peer_runs)?;
    agent_runs.iter_mut().for_each(AgentRun::begin);
    peer_runs.iter_mut().for_each(PeerRun::begin);
    wait(Duration::from_secs_f64(options.minutes * 60.0), &mut agent_runs, &mut peer_runs)?;

    let mut rows = Vec::new();
    for run in agent_runs {
        rows.push(run.finish()?);
    }
    for run in peer_runs {
        rows.push(run.finish()?);
    }
    report::print(&rows, options.minutes, options.json);
    Ok(())
}

/// Waits, taking a memory reading of everything each ten seconds, and fails when something died.
fn wait(time: Duration, agents: &mut [AgentRun], peers: &mut [PeerRun]) -> Result<()> {
    let end = Instant::now() + time;
    while Instant::now() < end {
        sleep(Duration::from_secs(10).min(end.saturating_duration_since(Instant::now())));
        for run in agents.iter_mut() {
            run.observe()?;
        }
        for run in peers.iter_mut() {
            run.observe()?;
        }
    }
    Ok(())
}

/// A program in the folder of this one.
pub(crate) fn beside_this_program(name: &str) -> Result<PathBuf> {
    let own = std::env::current_exe().context("cannot find this program's own path")?;
    let path = own.with_file_name(name);
    if !path.exists() {
        bail!(
            "{} is not there: build it first (`cargo build --release -p {name}`) or name one with --agent",
            path.display()
        );
    }
    Ok(path)
}
