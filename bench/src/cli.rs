//! Arguments.

use clap::{Parser, Subcommand};

use crate::{cause, correlate, detect, faults, footprint, incidents, map, quiet};

/// Measures Tacit: its footprint, and how good its detection is.
#[derive(Debug, Parser)]
#[command(name = "tacit-bench", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// CPU, memory, bytes on the wire and disk writes of the agent, and of peers installed here.
    Footprint(footprint::Options),
    /// Events a host-day on machines that have nothing wrong, in compressed time.
    Quiet(quiet::Options),
    /// How good a detector is on labelled series: ranking, events caught, false alarms, attribution, cost.
    Detect(detect::Options),
    /// Real faults on this machine, one after another: what the agent finds, how soon, and what it says of them.
    Faults(faults::Options),
    /// A small data centre in network namespaces with known traffic: what the map makes of it.
    Map(map::Options),
    /// How good the ranking of causes is, on labelled incidents of public data.
    Cause(cause::Options),
    /// How well events are grouped into incidents, on days of public data with known faults.
    Correlate(correlate::Options),
    /// Real faults in a small data centre: one incident each or not, who is thought to be behind it, and how often somebody is told.
    Incidents(incidents::Options),
    /// Many nodes behind one failing switch, and a stranger in the middle of it: incidents, notifications, processor time.
    Storm(incidents::storm::Options),
    /// A load of `faults`, as a process of its own.
    #[command(hide = true, subcommand)]
    Inject(faults::load::Load),
    /// A server or client of `map`, as a process of its own.
    #[command(hide = true, subcommand)]
    MapPart(map::part::Part),
    /// A service of `incidents`, as a process of its own.
    #[command(hide = true, subcommand)]
    IncidentPart(incidents::part::Part),
}

/// Parses the command line and runs it.
///
/// # Errors
/// What the command could not do.
pub fn run() -> anyhow::Result<()> {
    match Arguments::parse().command {
        Command::Footprint(options) => footprint::run(&options),
        Command::Quiet(options) => quiet::run(&options),
        Command::Detect(options) => detect::run(&options),
        Command::Faults(options) => faults::run(&options),
        Command::Map(options) => map::run(&options),
        Command::Cause(options) => cause::run(&options),
        Command::Correlate(options) => correlate::run(&options),
        Command::Incidents(options) => incidents::run(&options),
        Command::Storm(options) => incidents::storm::run(&options),
        Command::MapPart(part) => map::part::run(part),
        Command::IncidentPart(part) => incidents::part::run(part),
        Command::Inject(load) => faults::load::run(load),
    }
}
