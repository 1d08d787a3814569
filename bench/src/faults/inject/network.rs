//! Faults of the network, on the link into our own namespace.

use anyhow::Result;

use super::Running;
use crate::faults::ground::Ground;

/// The steady traffic asks for ten answers of 20 kB a second: 1,600 kbit/s. This is a twentieth.
const KBIT: u32 = 80;

/// Packets are lost on their way in.
///
/// # Errors
/// Without the namespace or nft.
pub fn loss(ground: &Ground, _seconds: u64) -> Result<Running> {
    ground.network()?.drop_incoming("numgen random mod 100 < 30").map(Running::promise)
}

/// The link becomes slow.
///
/// # Errors
/// Without the namespace or tc.
pub fn bandwidth(ground: &Ground, _seconds: u64) -> Result<Running> {
    ground.network()?.limit_incoming(KBIT).map(Running::promise)
}

/// No answer comes from the name server.
///
/// # Errors
/// Without the namespace or nft.
pub fn dns(ground: &Ground, _seconds: u64) -> Result<Running> {
    ground.network()?.drop_incoming("udp sport 53").map(Running::promise)
}
