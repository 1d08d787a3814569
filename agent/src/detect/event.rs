//! Events as they are sent.

use tacit_wire::message::{Context, Direction, Event, EventKind, Head, Phase, ProcessNote, Recording};
use tacit_wire::{BootId, EventId, NodeId, Num, Seq, StreamId};

use crate::clock::Tick;

/// Who sends: what every message of this node begins with.
#[derive(Debug, Clone)]
pub struct Sender {
    /// The node.
    pub node: NodeId,
    /// The boot.
    pub boot: BootId,
}

impl Sender {
    /// A head without numbers; the outbox gives them.
    #[must_use]
    pub fn head(&self, at: Tick) -> Head {
        Head {
            node: self.node.clone(),
            boot: self.boot,
            stream: StreamId::default(),
            seq: Seq(0),
            oldest: Seq(0),
            wall_ms: at.wall_ms,
            mono_ms: at.mono_ms,
        }
    }

    /// An event with nothing but its identity; the caller fills in the rest.
    #[must_use]
    pub fn event(&self, id: EventId, kind: EventKind, phase: Phase, at: Tick, onset: Tick) -> Event {
        Event {
            head: self.head(at),
            event: id,
            kind,
            phase,
            onset_ms: onset.wall_ms,
            onset_mono_ms: onset.mono_ms,
            end_ms: (phase == Phase::Close).then_some(at.wall_ms),
            severity: Num(0.0),
            score: Num::NONE,
            rule: None,
            text: String::new(),
            evidence: Vec::new(),
            processes: Vec::<ProcessNote>::new(),
            context: Vec::<Context>::new(),
            recording: None::<Recording>,
            model: None,
            stage: None,
            persisting: false,
            injected: false,
            fault: None,
            confidence: Num(0.0),
            p_value: Num(0.0),
        }
    }
}

/// A new, random event id.
#[must_use]
pub fn new_id() -> EventId {
    EventId(fastrand::u64(..).to_be_bytes())
}

/// The side of its band on which a value is.
#[must_use]
pub fn direction(value: f32, low: f32, high: f32) -> Direction {
    match value {
        v if v > high => Direction::High,
        v if v < low => Direction::Low,
        _ => Direction::Shape,
    }
}
