//! `tacit`: starts Tacit on this machine and asks a collector what it knows.

mod access;
mod arguments;
mod client;
mod commands;
pub mod demo;
mod fault;
mod identity;
mod moment;
mod output;
mod quiet;
mod up;

use std::process::ExitCode;

use clap::Parser as _;

pub use arguments::Arguments;

/// Parses the command line, runs the command, and turns an error into words and an exit code: 0 done, 1 failed,
/// 2 wrong usage (from the parser).
#[must_use]
pub fn run() -> ExitCode {
    let arguments = Arguments::parse();
    match commands::run(arguments) {
        Ok(code) => code,
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("tacit: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// `tacit events | head` ends with a closed pipe; that is not an error.
fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error
        .chain()
        .filter_map(|cause| cause.downcast_ref::<std::io::Error>())
        .any(|cause| cause.kind() == std::io::ErrorKind::BrokenPipe)
}
