//! The wall clock jumps, as the agent reads it: no namespace keeps a wall clock of its own, and the machine's is left alone.

use anyhow::{Context as _, Result};

use super::Running;
use crate::faults::ground::Ground;
use crate::faults::undo::Undo;

/// How far ahead, in milliseconds.
const AHEAD_MS: &str = "30000";

/// Ahead, and back when it is over.
///
/// # Errors
/// When the file that the agent reads cannot be written.
pub fn step(ground: &Ground, _seconds: u64) -> Result<Running> {
    let file = ground.clock_ahead();
    let path = file.to_string_lossy();
    let promise = ground.janitor.promise(Undo::run(&["truncate", "--size=0", &path]))?;
    std::fs::write(&file, AHEAD_MS).with_context(|| format!("cannot write {path}"))?;
    Ok(Running::promise(promise))
}
