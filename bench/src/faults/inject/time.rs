//! The wall clock jumps.

use anyhow::{Result, bail};

use super::Running;
use crate::faults::ground::Ground;
use crate::faults::undo::{Undo, run};

/// Ahead, and back when it is over.
///
/// # Errors
/// When it was not allowed: no namespace keeps a wall clock of its own, so the machine's own clock is set.
pub fn step(ground: &Ground, _seconds: u64) -> Result<Running> {
    if !ground.step_clock {
        bail!("it sets the clock of the whole machine: allow it with --step-clock");
    }
    let own = ground.own.to_string_lossy();
    // The equals sign keeps a negative number from looking like an option.
    let step = |by: &'static str| [&*own, "inject", "clock", by];
    let promise = ground.janitor.promise(Undo::run(&step("--by=-30")))?;
    if let Err(error) = run(&step("--by=30")) {
        promise.forget();
        return Err(error);
    }
    Ok(Running::promise(promise))
}
