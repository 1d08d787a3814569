//! Messages for tests.

use tacit_wire::message::{Birth, Clock, NodeIdentity, Profile};
use tacit_wire::{BootId, Digest};

/// A birth of a small machine.
pub fn birth(node: &str, connection: u64) -> Birth {
    Birth {
        node: node.parse().unwrap(),
        boot: BootId([3; 16]),
        connection,
        agent: "0.1.0".into(),
        clock: Clock { wall_ms: 1_700_000_000_000, mono_ms: 60_000, synchronised: Some(true) },
        identity: NodeIdentity { hostname: node.into(), cores: 2, ..NodeIdentity::default() },
        addresses: Vec::new(),
        listeners: Vec::new(),
        epoch: 1,
        series: 300,
        dictionary: Digest::of(b"dictionary"),
        models: Vec::new(),
        config: Digest::of(b"config"),
        capabilities: Vec::new(),
        outbox: Vec::new(),
        absent: Vec::new(),
        profile: Profile::Lean,
        interval_ms: 1000,
    }
}
