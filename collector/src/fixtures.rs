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
        tags: Vec::new(),
    }
}

/// An event of `web-1`.
pub fn event(
    id: u8,
    kind: tacit_wire::message::EventKind,
    phase: tacit_wire::message::Phase,
    onset_ms: i64,
) -> crate::store::EventRecord {
    use tacit_wire::message::{Event, Head};
    use tacit_wire::{EventId, Num, Seq, StreamId};
    let head = Head {
        node: "web-1".parse().unwrap(),
        boot: BootId([3; 16]),
        stream: StreamId([id; 8]),
        seq: Seq(1),
        oldest: Seq(1),
        wall_ms: onset_ms,
        mono_ms: 1,
    };
    let event = Event {
        head,
        event: EventId([id; 8]),
        kind,
        phase,
        onset_ms,
        onset_mono_ms: 1,
        end_ms: None,
        severity: Num(0.8),
        score: Num(1.0),
        rule: None,
        text: format!("event {id}"),
        evidence: Vec::new(),
        processes: Vec::new(),
        context: Vec::new(),
        recording: None,
        model: None,
        stage: None,
        persisting: false,
        injected: false,
        fault: None,
        confidence: Num(0.0),
        p_value: Num(0.0),
    };
    crate::store::EventRecord {
        event,
        onset_ms,
        received_ms: onset_ms,
        incident: None,
        revision: 1,
        outside: None,
        digest: None,
    }
}

/// An incident that an event of `web-1` opened.
pub fn incident() -> crate::store::Incident {
    use tacit_wire::message::{EventKind, Phase};
    let first = event(1, EventKind::Anomaly, Phase::Open, 0);
    crate::incident::life::open(&[first], "a symptom", None, 0).expect("of one event").incident
}
