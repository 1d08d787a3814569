//! What runs as services in the booted system.

use std::io::Write as _;
use std::path::Path;
use std::time::Duration;

use anyhow::{Result, bail};

use super::Limit;

/// Lines a second of a log storm.
const STORM: u64 = 2000;
/// How often the switch is looked at.
const LOOK: Duration = Duration::from_millis(500);

/// Runs, and fails while the file is there.
///
/// # Errors
/// While the file is there.
pub fn service(limit: &Limit, when: &Path) -> Result<()> {
    while limit.goes_on() {
        if when.exists() {
            bail!("the till is empty");
        }
        limit.rest(LOOK);
    }
    Ok(())
}

/// Writes a line every other second, and [`STORM`] a second while the file is there.
///
/// # Errors
/// When nobody takes its lines.
pub fn chatty(limit: &Limit, when: &Path) -> Result<()> {
    let mut out = std::io::stdout();
    while limit.goes_on() {
        if when.exists() {
            let lines: String =
                (0..STORM / 10).map(|n| format!("error: cannot reach the shop, attempt {n}\n")).collect();
            out.write_all(lines.as_bytes())?;
            limit.rest(Duration::from_millis(100));
        } else {
            writeln!(out, "all is well")?;
            limit.rest(Duration::from_secs(2));
        }
    }
    Ok(())
}
