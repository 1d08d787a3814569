//! Sets the wall clock ahead or back by an amount, once: what passes between two such steps is kept.

use anyhow::{Context as _, Result, bail};
use rustix::time::{ClockId, clock_gettime, clock_settime};

/// Largest step in seconds, either way.
const MOST: i64 = 3600;

/// A step of `by` seconds.
///
/// # Errors
/// Without the permission to set the clock.
pub fn step(by: i64) -> Result<()> {
    if by.abs() > MOST {
        bail!("--by {by}: at most {MOST} seconds");
    }
    let mut now = clock_gettime(ClockId::Realtime);
    now.tv_sec += by;
    clock_settime(ClockId::Realtime, now).context("cannot set the clock: it takes root and CAP_SYS_TIME")
}
