//! Faults of the processor.

use anyhow::Result;

use super::Running;
use crate::faults::ground::Ground;

/// Share of a core that the steady worker is left with; it wants 0.3.
const LEFT: f64 = 0.015;

/// Every core busy.
///
/// # Errors
/// Without stress-ng.
pub fn hog(ground: &Ground, seconds: u64) -> Result<Running> {
    stress(ground, &["--cpu", "0"], seconds)
}

/// One core busy, and always the same.
///
/// # Errors
/// Without stress-ng.
pub fn hot_spot(ground: &Ground, seconds: u64) -> Result<Running> {
    stress(ground, &["--cpu", "1", "--taskset", "0"], seconds)
}

/// The steady worker's group loses its processor time.
///
/// # Errors
/// Without the cpu controller.
pub fn steal(ground: &Ground, _seconds: u64) -> Result<Running> {
    Ok(Running::promise(ground.worker()?.limit_cpu(LEFT)?))
}

fn stress(ground: &Ground, what: &[&str], seconds: u64) -> Result<Running> {
    super::process::stress_ng(ground, what, seconds, None).map(Running::process)
}
