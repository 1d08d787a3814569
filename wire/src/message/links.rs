//! `links`: which service talked to which in an interval, deltas only.

use minicbor::{Decode, Encode};
use serde::{Deserialize, Serialize};

use super::{Head, SKETCH};
use crate::codec::{Check, Invalid, Message};
use crate::limits::LIST;
use crate::num::Num;
use crate::open_enum::open_enum;

open_enum! {
    /// Transport.
    Protocol {
        /// TCP.
        Tcp = 0 "tcp",
        /// UDP.
        Udp = 1 "udp",
    }
}

open_enum! {
    /// How the owner of a local end was found, best first.
    OwnerKind {
        /// A systemd unit.
        Unit = 0 "unit",
        /// A container.
        Container = 1 "container",
        /// An executable.
        Executable = 2 "executable",
        /// Nobody could be named.
        Unattributed = 3 "unattributed",
    }
}

/// A dictionary entry: one end of edges.
#[derive(Debug, Clone, PartialEq, Encode, Decode, Serialize, Deserialize)]
#[cbor(map)]
pub struct EndpointDef {
    /// Number in the node's endpoint dictionary.
    #[n(0)]
    pub id: u32,
    /// Address as text; empty for a local owner without one.
    #[n(1)]
    pub address: String,
    /// Port; 0 where it does not matter (a client's).
    #[n(2)]
    pub port: u16,
    /// Owner on this node, when the end is local.
    #[n(3)]
    pub owner: Option<String>,
    /// How the owner was found.
    #[n(4)]
    pub owner_kind: Option<OwnerKind>,
    /// Network namespace of the node in which the address means something, by inode; absent for the node's own. Local ends in containers have
    /// it, and so have their peers on loopback: one container's loopback is neither another's nor the node's.
    #[n(5)]
    pub scope: Option<u32>,
}

/// One edge over the interval: a local end and its peer.
#[derive(Debug, Clone, PartialEq, Encode, Decode, Serialize, Deserialize)]
#[cbor(map)]
pub struct Edge {
    /// Local end.
    #[n(0)]
    pub local: u32,
    /// Remote end.
    #[n(1)]
    pub peer: u32,
    /// Transport.
    #[n(2)]
    pub protocol: Protocol,
    /// Whether the local end is the server.
    #[n(3)]
    pub server: bool,
    /// Connections opened.
    #[n(4)]
    pub connects: u32,
    /// Connects that failed.
    #[n(5)]
    #[cbor(default)]
    #[serde(default)]
    pub failed: u32,
    /// Bytes sent and acknowledged.
    #[n(6)]
    pub sent: u64,
    /// Bytes received.
    #[n(7)]
    pub received: u64,
    /// Segments sent again.
    #[n(8)]
    #[cbor(default)]
    #[serde(default)]
    pub retransmits: u32,
    /// Median round trip in seconds.
    #[n(9)]
    pub rtt_p50: Num,
    /// 95 % point of the round trip in seconds.
    #[n(10)]
    pub rtt_p95: Num,
    /// Least round trip in seconds.
    #[n(11)]
    pub rtt_min: Num,
    /// Connections open at the end of the interval.
    #[n(12)]
    pub active: u32,
    /// Mean lifetime of connections that ended, in seconds.
    #[n(13)]
    pub lifetime: Num,
    /// Largest accept queue seen (server side).
    #[n(14)]
    pub accept_queue: Option<u32>,
    /// How sure the owner is, 0 to 1.
    #[n(15)]
    pub confidence: Num,
    /// Sketch of the client ports of the interval, see [`Sketch`](super::Sketch): both ends see the same connections and so send the
    /// same sketch, which joins the halves of an edge whose server's address was rewritten on the way.
    #[n(16)]
    #[cbor(skip_if = "Vec::is_empty")]
    #[cbor(default)]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ports: Vec<u16>,
}

/// The edges of an interval.
///
/// Figures add up: what one message has, no other has. An edge that is not told had no traffic, unless a message of the node with
/// the same interval says that some are [steady](Links::steady).
#[derive(Debug, Clone, PartialEq, Encode, Decode, Serialize, Deserialize)]
#[cbor(map)]
pub struct Links {
    /// Header.
    #[n(0)]
    pub head: Head,
    /// Start of the interval, Unix milliseconds.
    #[n(1)]
    pub start_ms: i64,
    /// Length of the interval in seconds.
    #[n(2)]
    pub step_s: u32,
    /// Level of observation (1 host namespace, 2 with owners, 3 with container namespaces, 0 `/proc/net`).
    #[n(3)]
    pub level: u8,
    /// Close events known to be lost in the interval.
    #[n(4)]
    #[cbor(default)]
    #[serde(default)]
    pub overflows: u32,
    /// Ends announced with this message.
    #[n(5)]
    #[cbor(skip_if = "Vec::is_empty")]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub endpoints: Vec<EndpointDef>,
    /// The edges.
    #[n(6)]
    #[cbor(skip_if = "Vec::is_empty")]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub edges: Vec<Edge>,
    /// Edges that are not told because they went on within a tenth of what was told of them last, at most an hour ago. Each that stops
    /// is told once with zeros. Of an interval that takes several messages the last has it.
    #[n(7)]
    #[cbor(default)]
    #[serde(default)]
    pub steady: u32,
}

impl Message for Links {
    fn validate(&self) -> Result<(), Invalid> {
        Check::new()
            .list("endpoints", &self.endpoints, LIST)
            .each(&self.endpoints, |c, e| {
                c.name("endpoint.address", &e.address).name("endpoint.owner", e.owner.as_deref().unwrap_or_default())
            })
            .list("edges", &self.edges, LIST)
            .each(&self.edges, |c, e| c.list("edge.ports", &e.ports, SKETCH))
            .done()
    }
}
