//! A sensor that is stuck.

use anyhow::Result;

use super::Running;
use crate::faults::ground::Ground;

/// The temperature stays at its last value.
///
/// # Errors
/// When the sensor is not there.
pub fn stuck(ground: &Ground, _seconds: u64) -> Result<Running> {
    ground.switch(&ground.sensor()?.stuck).map(Running::promise)
}
