//! `birth` and `death`: who a node is and whether it is there.

use minicbor::{Decode, Encode};
use serde::{Deserialize, Serialize};

use crate::codec::{Check, Invalid, Message};
use crate::id::{BootId, Digest, NodeId, Seq, StreamId};
use crate::limits::{LIST, TAGS};
use crate::message::Profile;
use crate::open_enum::open_enum;
use crate::series::Attribute;

open_enum! {
    /// How far a node's detector has learned.
    Stage {
        /// Not yet enough data for a model: rules only.
        Learning = 0 "learning",
        /// First day: rules and gross faults.
        FirstDay = 1 "first-day",
        /// First week: severe anomalies.
        FirstWeek = 2 "first-week",
        /// Everything the alarm budget allows.
        Full = 3 "full",
    }
}

open_enum! {
    /// A lane of the outbox.
    Lane {
        /// Anomaly and context events: sent first, dropped last.
        Events = 0 "events",
        /// Everything else.
        Rest = 1 "rest",
    }
}

/// What the machine is.
#[derive(Debug, Clone, PartialEq, Default, Encode, Decode, Serialize, Deserialize)]
#[cbor(map)]
pub struct NodeIdentity {
    /// Host name.
    #[n(0)]
    pub hostname: String,
    /// Operating system, for people (`Debian GNU/Linux 12`).
    #[n(1)]
    pub os: String,
    /// Kernel release.
    #[n(2)]
    pub kernel: String,
    /// Machine architecture (`x86_64`, `aarch64`, `arm`, `riscv64`).
    #[n(3)]
    pub arch: String,
    /// Processor model, empty when unknown.
    #[n(4)]
    pub cpu: String,
    /// Logical processors.
    #[n(5)]
    pub cores: u32,
    /// Memory in bytes.
    #[n(6)]
    pub memory: u64,
    /// Board or product name, when the firmware tells.
    #[n(7)]
    pub board: Option<String>,
}

/// What the node knows of its clock.
#[derive(Debug, Clone, PartialEq, Default, Encode, Decode, Serialize, Deserialize)]
#[cbor(map)]
pub struct Clock {
    /// Unix milliseconds by the node's clock when the birth was written.
    #[n(0)]
    pub wall_ms: i64,
    /// Milliseconds since boot at the same moment.
    #[n(1)]
    pub mono_ms: u64,
    /// Whether the kernel says that the clock is synchronised.
    #[n(2)]
    pub synchronised: Option<bool>,
}

/// A listening service.
#[derive(Debug, Clone, PartialEq, Encode, Decode, Serialize, Deserialize)]
#[cbor(map)]
pub struct Listener {
    /// Local address, `*` for any.
    #[n(0)]
    pub address: String,
    /// Local port.
    #[n(1)]
    pub port: u16,
    /// Owner: unit, container or executable, when known.
    #[n(2)]
    pub owner: Option<String>,
}

/// A model that is at work.
#[derive(Debug, Clone, PartialEq, Encode, Decode, Serialize, Deserialize)]
#[cbor(map)]
pub struct ModelInForce {
    /// Package name.
    #[n(0)]
    pub name: String,
    /// Package version.
    #[n(1)]
    pub version: String,
    /// SHA-256 of the model bytes.
    #[n(2)]
    pub digest: Digest,
    /// Stage of learning.
    #[n(3)]
    pub stage: Stage,
    /// Points learned from, of the fast rate.
    #[n(4)]
    pub points: u64,
}

/// A source, or a part of one, that this node does not have.
#[derive(Debug, Clone, PartialEq, Encode, Decode, Serialize, Deserialize)]
#[cbor(map)]
pub struct Absent {
    /// Source name (`pressure`, `thermal`).
    #[n(0)]
    pub source: String,
    /// Why, in words (`/proc/pressure is missing: the kernel was built without PSI`).
    #[n(1)]
    pub reason: String,
}

/// What the outbox holds of one stream.
#[derive(Debug, Clone, PartialEq, Encode, Decode, Serialize, Deserialize)]
#[cbor(map)]
pub struct LaneRange {
    /// The stream.
    #[n(0)]
    pub stream: StreamId,
    /// Its lane.
    #[n(1)]
    pub lane: Lane,
    /// Oldest number held.
    #[n(2)]
    pub oldest: Seq,
    /// Newest number given out.
    #[n(3)]
    pub newest: Seq,
}

/// Published once per connection, before anything else.
#[derive(Debug, Clone, PartialEq, Encode, Decode, Serialize, Deserialize)]
#[cbor(map)]
pub struct Birth {
    /// The node.
    #[n(0)]
    pub node: NodeId,
    /// The boot.
    #[n(1)]
    pub boot: BootId,
    /// Number of this connection within the boot; a death with a smaller one is late and ignored.
    #[n(2)]
    pub connection: u64,
    /// Version of the agent.
    #[n(3)]
    pub agent: String,
    /// The clock.
    #[n(4)]
    pub clock: Clock,
    /// The machine.
    #[n(5)]
    pub identity: NodeIdentity,
    /// Addresses, without loopback, as text.
    #[n(6)]
    #[cbor(skip_if = "Vec::is_empty")]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub addresses: Vec<String>,
    /// Listening services.
    #[n(7)]
    #[cbor(skip_if = "Vec::is_empty")]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub listeners: Vec<Listener>,
    /// Epoch of the series dictionary.
    #[n(8)]
    pub epoch: u32,
    /// How many series the dictionary has.
    #[n(9)]
    pub series: u32,
    /// Hash of the dictionary; the dictionary itself is sent on request.
    #[n(10)]
    pub dictionary: Digest,
    /// Models at work.
    #[n(11)]
    #[cbor(skip_if = "Vec::is_empty")]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub models: Vec<ModelInForce>,
    /// SHA-256 of the configuration in force.
    #[n(12)]
    pub config: Digest,
    /// What this agent can do (`watch`, `pull`, …); a collector asks for nothing else.
    #[n(13)]
    #[cbor(skip_if = "Vec::is_empty")]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub capabilities: Vec<String>,
    /// What the outbox holds.
    #[n(14)]
    #[cbor(skip_if = "Vec::is_empty")]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub outbox: Vec<LaneRange>,
    /// What this node does not have, and why.
    #[n(15)]
    #[cbor(skip_if = "Vec::is_empty")]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub absent: Vec<Absent>,
    /// Profile in force.
    #[n(16)]
    pub profile: Profile,
    /// Sampling interval in milliseconds.
    #[n(17)]
    pub interval_ms: u32,
    /// What people said of this node, in the order of keys: `rack` = `b3`, `role` = `db`.
    #[n(18)]
    #[cbor(skip_if = "Vec::is_empty")]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<Attribute>,
}

impl Message for Birth {
    fn validate(&self) -> Result<(), Invalid> {
        let i = &self.identity;
        Check::new()
            .name("agent", &self.agent)
            .name("identity.hostname", &i.hostname)
            .name("identity.os", &i.os)
            .name("identity.kernel", &i.kernel)
            .name("identity.arch", &i.arch)
            .name("identity.cpu", &i.cpu)
            .name("identity.board", i.board.as_deref().unwrap_or_default())
            .list("addresses", &self.addresses, 256)
            .each(&self.addresses, |c, a| c.name("address", a))
            .list("listeners", &self.listeners, LIST)
            .each(&self.listeners, |c, l| {
                c.name("listener.address", &l.address).name("listener.owner", l.owner.as_deref().unwrap_or_default())
            })
            .list("models", &self.models, 64)
            .each(&self.models, |c, m| c.name("model.name", &m.name).name("model.version", &m.version))
            .list("capabilities", &self.capabilities, 64)
            .each(&self.capabilities, |c, s| c.name("capability", s))
            .list("outbox", &self.outbox, 64)
            .list("absent", &self.absent, 256)
            .each(&self.absent, |c, a| c.name("absent.source", &a.source).text("absent.reason", &a.reason))
            .list("tags", &self.tags, TAGS)
            .each(&self.tags, |c, t| c.name("tag.key", &t.key).name("tag.value", &t.value))
            .done()
    }
}

/// The will of a connection, or a clean goodbye.
#[derive(Debug, Clone, PartialEq, Encode, Decode, Serialize, Deserialize)]
#[cbor(map)]
pub struct Death {
    /// The node.
    #[n(0)]
    pub node: NodeId,
    /// The boot.
    #[n(1)]
    pub boot: BootId,
    /// Which connection ended.
    #[n(2)]
    pub connection: u64,
    /// Why, when the node could say (`stopped`, `shutdown`); absent in a will.
    #[n(3)]
    pub reason: Option<String>,
}

impl Message for Death {
    fn validate(&self) -> Result<(), Invalid> {
        Check::new().name("reason", self.reason.as_deref().unwrap_or_default()).done()
    }
}
