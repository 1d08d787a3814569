//! The messages, one file per topic. Field numbers are never reused; what may grow is optional.

mod birth;
mod control;
mod event;
mod links;
mod report;
mod sketch;
mod summary;

pub use birth::{Absent, Birth, Clock, Death, Lane, LaneRange, Listener, ModelInForce, NodeIdentity, Stage};
pub use control::{Ack, Command, CommandKind, Config, DesiredModel, ResultBody, ResultMessage, Status, StreamAck};
pub use event::{
    Context, ContextKind, Direction, Event, EventKind, Evidence, FaultKind, Phase, ProcessNote, Recording, RecordingRow,
};
pub use links::{Edge, EndpointDef, Links, OwnerKind, Protocol};
pub use report::{ConfigState, Cost, Gap, Promise, Report, SourceCost, ThreadCost};
pub use sketch::{SKETCH, Sketch};
pub use summary::{Bins, Profile, Row, Summary};

use minicbor::{Decode, Encode};
use serde::{Deserialize, Serialize};

use crate::codec::Check;
use crate::id::{BootId, NodeId, Seq, StreamId};

/// What every numbered message begins with.
#[derive(Debug, Clone, PartialEq, Encode, Decode, Serialize, Deserialize)]
#[cbor(array)]
pub struct Head {
    /// Who sends.
    #[n(0)]
    pub node: NodeId,
    /// In which boot.
    #[n(1)]
    pub boot: BootId,
    /// In which stream.
    #[n(2)]
    pub stream: StreamId,
    /// Number in the stream.
    #[n(3)]
    pub seq: Seq,
    /// Oldest number of the stream that the sender still holds: what is below will never come (again).
    #[n(4)]
    pub oldest: Seq,
    /// When written, Unix milliseconds by the node's own clock.
    #[n(5)]
    pub wall_ms: i64,
    /// When written, milliseconds since boot (suspend included).
    #[n(6)]
    pub mono_ms: u64,
}

impl Check {
    fn series(self, s: &crate::series::SeriesDef) -> Self {
        self.name("series.name", &s.name)
            .name("series.unit", &s.unit)
            .list("series.attributes", &s.attributes, crate::limits::ATTRIBUTES)
            .each(&s.attributes, |c, a| c.name("attribute.key", &a.key).name("attribute.value", &a.value))
    }
}
