//! The commands, one file each.

mod access;
mod ca;
mod changes;
mod digest;
mod events;
mod incidents;
mod man;
mod map;
mod model;
mod node;
mod nodes;
mod notify;
mod quiet;
mod status;
mod tail;

use std::process::ExitCode;

use anyhow::Result;
use clap::CommandFactory as _;
use serde::Serialize;

use crate::arguments::{Arguments, Command};
use crate::{demo, fault, up};

/// Runs what the arguments ask for; without a command that is `up`.
///
/// # Errors
/// What the command could not do, in words.
pub fn run(arguments: Arguments) -> Result<ExitCode> {
    if let Some(Command::ModelTrial) = arguments.command {
        return Ok(model::trial());
    }
    command(arguments).map(|()| ExitCode::SUCCESS)
}

fn command(arguments: Arguments) -> Result<()> {
    match arguments.command {
        None => up::run(&arguments.up),
        Some(Command::Up(options)) => up::run(&options),
        Some(Command::Demo(options)) => demo::run(&options),
        Some(Command::Status(ask)) => status::run(&ask),
        Some(Command::Nodes(ask)) => nodes::run(&ask),
        Some(Command::Change(options)) => changes::announce(&options),
        Some(Command::Maintenance(options)) => nodes::maintenance(&options),
        Some(Command::Incidents(options)) => incidents::list(&options),
        Some(Command::Incident(what)) => incidents::one(&what),
        Some(Command::Silence(what)) => quiet::silence(&what),
        Some(Command::Window(what)) => quiet::window(&what),
        Some(Command::Digest(options)) => digest::run(&options),
        Some(Command::Notify(what)) => notify::run(&what),
        Some(Command::User(what)) => access::user(&what),
        Some(Command::Token(what)) => access::token(&what),
        Some(Command::AccessLog(options)) => access::log(&options),
        Some(Command::Ca(what)) => ca::run(&what),
        Some(Command::Node(what)) => node::run(&what),
        Some(Command::Events(options)) => events::run(&options),
        Some(Command::Map(options)) => map::run(&options),
        Some(Command::Blast(options)) => map::blast(&options),
        Some(Command::Path(options)) => map::path(&options),
        Some(Command::Tail(options)) => tail::run(&options),
        Some(Command::Model(what)) => model::run(&what),
        // Has its own exit code: see above.
        Some(Command::ModelTrial) => Ok(()),
        Some(Command::Completions { shell }) => {
            clap_complete::generate(shell, &mut Arguments::command(), "tacit", &mut std::io::stdout());
            Ok(())
        }
        Some(Command::Man { folder }) => man::write(&folder),
        Some(Command::TryFault { seconds, memory }) => {
            fault::run(seconds, memory);
            Ok(())
        }
    }
}

/// Prints a text; a closed pipe is an error that the caller knows.
fn print(text: &str) -> Result<()> {
    use std::io::Write as _;
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes())?;
    Ok(out.flush()?)
}

/// Prints a value as indented JSON.
fn print_json(value: &impl Serialize) -> Result<()> {
    print(&(serde_json::to_string_pretty(value)? + "\n"))
}
