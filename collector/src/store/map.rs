//! What of the map goes into the store and comes out of it.

use minicbor::{Decode, Encode};
use serde::{Deserialize, Serialize};
use tacit_wire::message::{Links, Listener, OwnerKind, Protocol};
use tacit_wire::{NodeId, SiteId};
use utoipa::ToSchema;

/// A `links` message as it was stored.
#[derive(Debug, Clone)]
pub struct StoredLinks {
    /// Order of arrival.
    pub id: i64,
    /// Site of the topic it came by.
    pub site: SiteId,
    /// Start of its minute by the collector's clock, Unix milliseconds.
    pub minute: i64,
    /// The message.
    pub links: Links,
}

/// Longest time that one message may be about, in minutes; agents send at most six in one.
pub const SPAN_MAX: i64 = 60;

impl StoredLinks {
    /// How many minutes it is about.
    #[must_use]
    pub fn minutes(&self) -> i64 {
        minutes_of(&self.links)
    }

    /// The starts of the minutes it is about.
    pub fn covered(&self) -> impl Iterator<Item = i64> + use<> {
        let first = self.minute;
        (0..self.minutes()).map(move |n| first.saturating_add(n * 60_000))
    }
}

/// How many minutes a message is about.
#[must_use]
pub fn minutes_of(links: &Links) -> i64 {
    (i64::from(links.step_s) + 59).div_euclid(60).clamp(1, SPAN_MAX)
}

/// What a node's newest birth says it listens on.
#[derive(Debug, Clone, PartialEq)]
pub struct Listening {
    /// Order of change.
    pub id: i64,
    /// Site of the node.
    pub site: SiteId,
    /// The node.
    pub node: NodeId,
    /// What it listens on.
    pub listeners: Vec<Listener>,
}

/// An address that a node's births named, and when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AddressClaim {
    /// Site of the node.
    pub site: SiteId,
    /// The address.
    pub address: String,
    /// Who names it.
    pub node: NodeId,
    /// First birth that did, Unix milliseconds.
    pub since: i64,
    /// First birth that did not any more, or when its node went and another came; `None` while it lasts.
    pub until: Option<i64>,
}

/// What a vertex of the map is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum VertexKind {
    /// An owner on a node: a unit, a container, an executable.
    Service,
    /// Something on a node whose owner is not known.
    Node,
    /// An address of no node.
    External,
}

/// A vertex of the map: a service, a nameless part of a node, or somebody outside.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Vertex {
    /// `node/owner`, `node/:port`, `node/unattributed` or `ext:address:port`; stable.
    pub id: String,
    /// For people.
    pub name: String,
    /// What it is.
    pub kind: VertexKind,
    /// Its node.
    #[schema(value_type = Option<String>)]
    pub node: Option<NodeId>,
    /// The site it was seen in.
    #[schema(value_type = String)]
    pub site: SiteId,
    /// Its address, when it is outside.
    pub address: Option<String>,
    /// What the resolver of the collector calls that address; for people, never what it is known by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hostname: Option<String>,
    /// Its port, when that is all that is known of it.
    pub port: Option<u16>,
    /// Unit, container or executable.
    pub owner: Option<String>,
    /// How the owner was found.
    #[schema(value_type = Option<String>)]
    pub owner_kind: Option<OwnerKind>,
}

/// Which edge: both ends, the transport, and the port by which the client reaches the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EdgeRecord {
    /// `client>server:protocol/port`; stable.
    pub id: String,
    /// Vertex that connects.
    pub client: String,
    /// Vertex that listens.
    pub server: String,
    /// Transport.
    pub protocol: Protocol,
    /// Port of the server.
    pub port: u16,
    /// The address that the client uses, when it is rewritten on the way.
    pub via: Option<String>,
    /// First minute it was seen in, Unix milliseconds.
    pub first_seen_ms: i64,
    /// Last minute it was seen in, Unix milliseconds.
    pub last_seen_ms: i64,
}

/// What an edge did in a minute, an hour or longer, as seen from the client. Absent values are NaN.
#[derive(Debug, Clone, Copy, PartialEq, Encode, Decode)]
#[cbor(map)]
pub struct Figures {
    /// Connections opened.
    #[n(0)]
    pub connects: u64,
    /// Connects that failed.
    #[n(1)]
    #[cbor(default)]
    pub failed: u64,
    /// Bytes from client to server.
    #[n(2)]
    pub sent: u64,
    /// Bytes from server to client.
    #[n(3)]
    pub received: u64,
    /// Segments sent again, by both ends.
    #[n(4)]
    #[cbor(default)]
    pub retransmits: u64,
    /// Median round trip in seconds; over several minutes the mean of the medians, by connections.
    #[n(5)]
    pub rtt_p50: f32,
    /// 95 % point of the round trip, likewise.
    #[n(6)]
    pub rtt_p95: f32,
    /// Least round trip.
    #[n(7)]
    pub rtt_min: f32,
    /// Connections behind the round trips.
    #[n(8)]
    pub rtt_weight: f32,
    /// Mean lifetime of connections in seconds, by connections opened.
    #[n(9)]
    pub lifetime: f32,
    /// Connections behind the lifetime.
    #[n(10)]
    pub lifetime_weight: f32,
    /// Connections open at the end.
    #[n(11)]
    pub active: u32,
    /// Largest accept queue; −1 when the server did not say.
    #[n(12)]
    pub accept_queue: i64,
    /// How sure the owners of both ends are: the lesser.
    #[n(13)]
    pub confidence: f32,
    /// Whether both ends have an owner.
    #[n(14)]
    pub owned: bool,
    /// First minute seen, Unix milliseconds.
    #[n(15)]
    pub first_ms: i64,
    /// Last minute seen, Unix milliseconds.
    #[n(16)]
    pub last_ms: i64,
}

/// An edge with what it did in a time.
#[derive(Debug, Clone, PartialEq)]
pub struct EdgeFigures {
    /// Which edge.
    pub edge: EdgeRecord,
    /// What it did.
    pub figures: Figures,
}

/// An edge with what it did in each hour, oldest first.
pub type EdgeHours = (EdgeRecord, Vec<(i64, Figures)>);

/// An hour of the map on its way into the store.
#[derive(Debug, Clone, Default)]
pub struct MapHour {
    /// Start of the hour, Unix milliseconds.
    pub hour: i64,
    /// Ends of the edges below.
    pub vertices: Vec<Vertex>,
    /// The edges.
    pub edges: Vec<EdgeFigures>,
}

/// What happened to an edge.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum ChangeKind {
    /// It was not seen in the time before.
    Appeared,
    /// It was seen in most minutes and is silent now.
    Vanished,
    /// Its round trips or lifetimes are far above what they were.
    Slowed,
    /// Its connects fail and did not before.
    Failing,
}

/// A change of the map, kept as context for incidents.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct MapChange {
    /// Minute in which it showed, Unix milliseconds.
    pub at_ms: i64,
    /// Which edge.
    pub edge: String,
    /// Client of the edge.
    pub client: String,
    /// Server of the edge.
    pub server: String,
    /// What happened.
    pub kind: ChangeKind,
    /// In words.
    pub text: String,
    /// The figure now.
    pub observed: Option<f32>,
    /// The figure before.
    pub usual: Option<f32>,
}
