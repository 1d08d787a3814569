//! Faults of services, in the booted system.

use std::path::PathBuf;

use anyhow::Result;

use super::Running;
use crate::faults::ground::{Ground, LIFETIME_S};
use crate::faults::place::booted::{Booted, INSIDE};
use crate::faults::undo::Undo;

/// The service that crashes and is stopped, and the one that talks too much.
const SHOP: &str = "shop.service";
const CHATTY: &str = "chatty.service";

/// Starts both services; they run well until a file appears.
///
/// # Errors
/// When the booted system refuses.
pub fn start_services(booted: &Booted, program: &str) -> Result<()> {
    for (unit, what, file) in [(SHOP, "service", "crash"), (CHATTY, "chatty", "talk")] {
        let text = format!(
            "[Unit]\nStartLimitIntervalSec=0\n[Service]\nRestart=always\nRestartSec=1s\n\
             ExecStart={INSIDE}/bin/{program} inject {what} --when {INSIDE}/{file} --seconds {LIFETIME_S}\n"
        );
        booted.unit(unit, &text)?;
        booted.run(&["systemctl", "start", unit])?;
    }
    Ok(())
}

/// It ends with an error at each start.
///
/// # Errors
/// Without the booted system.
pub fn crash_loop(ground: &Ground, _seconds: u64) -> Result<Running> {
    ground.switch(&switch(ground, "crash")?).map(Running::promise)
}

/// It is stopped, and started again when it is over.
///
/// # Errors
/// Without the booted system.
pub fn stopped(ground: &Ground, _seconds: u64) -> Result<Running> {
    let booted = ground.booted()?;
    let promise = ground.janitor.promise(Undo::Run(booted.words(&["systemctl", "start", SHOP])))?;
    booted.run(&["systemctl", "stop", SHOP])?;
    Ok(Running::promise(promise))
}

/// It writes many lines.
///
/// # Errors
/// Without the booted system.
pub fn log_storm(ground: &Ground, _seconds: u64) -> Result<Running> {
    ground.switch(&switch(ground, "talk")?).map(Running::promise)
}

fn switch(ground: &Ground, name: &str) -> Result<PathBuf> {
    Ok(ground.booted()?.shared.join(name))
}
