//! Faults of processes and of what they hold open.

use anyhow::{Context as _, Result};

use super::Running;
use crate::faults::ground::Ground;
use crate::faults::place::cgroup::Group;
use crate::faults::process::Process;
use crate::faults::undo::run;

/// Files are opened and none is closed.
///
/// # Errors
/// When the helper cannot be started.
pub fn files(ground: &Ground, seconds: u64) -> Result<Running> {
    helper(ground, "fault-files", &["files", "--per-s", "200", "--most", "15000"], seconds)
}

/// Connections are opened and none is closed.
///
/// # Errors
/// When the helper cannot be started.
pub fn sockets(ground: &Ground, seconds: u64) -> Result<Running> {
    helper(ground, "fault-sockets", &["sockets", "--per-s", "50", "--most", "4000"], seconds)
}

/// Short-lived processes, many a second.
///
/// # Errors
/// When the helper cannot be started.
pub fn forks(ground: &Ground, seconds: u64) -> Result<Running> {
    helper(ground, "fault-forks", &["forks", "--per-s", "200"], seconds)
}

/// A load helper of our own with a time limit.
///
/// # Errors
/// When it cannot be started.
pub fn helper(ground: &Ground, name: &str, arguments: &[&str], seconds: u64) -> Result<Running> {
    let seconds = seconds.to_string();
    let command = ground.helper(&[arguments, &["--seconds", &seconds]].concat());
    ground.start(command, name).map(Running::process)
}

/// `stress-ng` with a time limit.
///
/// # Errors
/// When it is not installed.
pub fn stress_ng(ground: &Ground, what: &[&str], seconds: u64, group: Option<&Group>) -> Result<Process> {
    run(&["stress-ng", "--version"]).context("Debian has it in stress-ng")?;
    let timeout = format!("{seconds}s");
    let words = [&["stress-ng", "--quiet"][..], what, &["--timeout", &timeout]].concat();
    ground.start(ground.program(&words, group), "stress-ng")
}
