//! `tacit-bench storm`: many nodes behind one failing switch, and a stranger in the middle of it.
//!
//! No node is real, but its messages are: births and minutes of edges, so that the map and the inventory are there, then events through the
//! collector's own door, as fast as agents would send them. Two incidents are right: the switch, and the disk that fills elsewhere.

mod drive;
mod fleet;

use std::time::Duration;

use anyhow::{Result, bail};
use clap::Args;

use crate::live::duration;
use drive::Measured;
use fleet::{KINDS, Plan};

/// Arguments of `tacit-bench storm`.
#[derive(Debug, Args)]
pub struct Options {
    /// Nodes behind the switch.
    #[arg(long, default_value_t = 500)]
    nodes: u32,
    /// Nodes elsewhere; one in ten of them calls services behind the switch.
    #[arg(long, default_value_t = 200)]
    elsewhere: u32,
    /// Events of the nodes behind the switch, all together.
    #[arg(long, default_value_t = 10_000)]
    events: u32,
    /// In how much time they come.
    #[arg(long, default_value = "60s", value_parser = duration)]
    minute: Duration,
    /// How long notifications are waited for afterwards.
    #[arg(long, default_value = "90s", value_parser = duration)]
    wait: Duration,
    /// Another storm for each number.
    #[arg(long, default_value_t = 7)]
    seed: u64,
    /// Print JSON instead of a table.
    #[arg(long)]
    json: bool,
}

/// Sends the storm and prints what became of it.
///
/// # Errors
/// When the collector cannot be started or asked, or takes longer than it may.
pub fn run(options: &Options) -> Result<()> {
    let Options { nodes, elsewhere, events, minute, seed, .. } = *options;
    if !(10..=10_000).contains(&nodes) || !(20..=10_000).contains(&elsewhere) {
        bail!("--nodes: allowed are 10 to 10000; --elsewhere: 20 to 10000");
    }
    let each = events / nodes;
    if !(1..=KINDS).contains(&each) {
        bail!("--events {events}: allowed are {nodes} to {}", nodes.saturating_mul(KINDS));
    }
    let measured = drive::run(&Plan { nodes, elsewhere, each, minute, seed }, options.wait)?;
    if options.json {
        println!("{}", serde_json::to_string(&measured)?);
    } else {
        print!("{}", table(&measured));
    }
    Ok(())
}

fn table(m: &Measured) -> String {
    let rows = [
        ("nodes behind the switch, elsewhere", format!("{}, {}", m.nodes, m.elsewhere)),
        ("events, sent in s", format!("{}, {:.1}", m.events, m.sent_s)),
        ("incidents (two are right)", m.incidents.to_string()),
        ("the stranger has one of its own", if m.stranger_apart { "yes" } else { "**no**" }.to_owned()),
        ("events in incidents, in the digest, in neither", format!("{}, {}, {}", m.in_incidents, m.in_digest, m.lost)),
        ("notifications", m.notifications.to_string()),
        ("all looked at, s after the last came", format!("{:.1}", m.judged_after_s)),
        ("CPU s of the whole process", format!("{:.2}", m.whole_cpu_s)),
        ("of it taking the events in, measured alone", format!("{:.2}", m.ingest_cpu_s)),
        ("of it what the collector uses anyway", format!("{:.2}", m.idle_cpu_s)),
        ("CPU s of the rest: correlation, ranking, writing", format!("{:.2}", m.correlation_cpu_s)),
    ];
    let body: String = rows.iter().map(|(what, value)| format!("| {what} | {value} |\n")).collect();
    let incident = |i: &drive::Told| {
        let cause = i.cause.as_deref().unwrap_or("–");
        format!("| {} | {} | {} | {} | {cause} |\n", i.id, i.events, i.nodes, i.title.replace('|', "/"))
    };
    let incidents: String = m.list.iter().map(incident).collect();
    format!(
        "| figure | |\n|---|---|\n{body}\n| incident | events | nodes | title | cause |\n|---:|---:|---:|---|---|\n{incidents}"
    )
}
