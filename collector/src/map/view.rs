//! The map of a time as the API gives it.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use serde::{Deserialize, Serialize};
use tacit_wire::NodeId;
use tacit_wire::message::Protocol;
use utoipa::ToSchema;

use super::coverage::Coverage;
use super::exclusion::by_exclusion;
use super::names::Names;
use crate::store::{EdgeFigures, Figures, NodeTags, Vertex, VertexKind};

/// An edge with what it did, seen from the client.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct MapEdge {
    /// `client>server:protocol/port`; stable.
    pub id: String,
    /// Vertex that connects.
    pub client: String,
    /// Vertex that listens.
    pub server: String,
    /// Transport.
    #[schema(value_type = String)]
    pub protocol: Protocol,
    /// Port of the server; 0 when failed connects lost it and more than one may be meant.
    pub port: u16,
    /// The address that the client uses, when it is rewritten on the way.
    pub via: Option<String>,
    /// Connections opened.
    pub connects: u64,
    /// Connects that failed.
    pub failed: u64,
    /// Bytes from client to server.
    pub sent: u64,
    /// Bytes from server to client.
    pub received: u64,
    /// Segments sent again by both ends.
    pub retransmits: u64,
    /// Median round trip in seconds.
    pub rtt_p50: Option<f32>,
    /// 95 % point of the round trip in seconds.
    pub rtt_p95: Option<f32>,
    /// Least round trip in seconds.
    pub rtt_min: Option<f32>,
    /// Connections open at the end.
    pub active: u32,
    /// Mean lifetime of connections in seconds.
    pub lifetime: Option<f32>,
    /// Largest accept queue of the server.
    pub accept_queue: Option<u32>,
    /// How sure the owners of both ends are, the lesser; 0 when one is not known.
    pub confidence: f32,
    /// First seen, Unix milliseconds.
    pub first_seen_ms: i64,
    /// Last seen in the time asked for, Unix milliseconds.
    pub last_seen_ms: i64,
    /// Whether both ends have an owner.
    pub owned: bool,
}

impl MapEdge {
    /// Bytes both ways.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.sent.saturating_add(self.received)
    }

    /// Transport and port of the server; a failed connect may have lost it.
    #[must_use]
    pub fn port_text(&self) -> String {
        if self.port == 0 {
            format!("{}/port unknown", self.protocol)
        } else {
            format!("{}/{}", self.protocol, self.port)
        }
    }
}

fn some(value: f32) -> Option<f32> {
    value.is_finite().then_some(value)
}

impl From<&EdgeFigures> for MapEdge {
    fn from(EdgeFigures { edge, figures: f }: &EdgeFigures) -> Self {
        Self {
            id: edge.id.clone(),
            client: edge.client.clone(),
            server: edge.server.clone(),
            protocol: edge.protocol,
            port: edge.port,
            via: edge.via.clone(),
            connects: f.connects,
            failed: f.failed,
            sent: f.sent,
            received: f.received,
            retransmits: f.retransmits,
            rtt_p50: some(f.rtt_p50),
            rtt_p95: some(f.rtt_p95),
            rtt_min: some(f.rtt_min),
            active: f.active,
            lifetime: some(f.lifetime),
            accept_queue: u32::try_from(f.accept_queue).ok(),
            confidence: some(f.confidence).unwrap_or(0.0),
            first_seen_ms: edge.first_seen_ms,
            last_seen_ms: f.last_ms,
            owned: f.owned,
        }
    }
}

/// The map of a time. An edge is on it when it was seen then, or was open and idle; its figures are those of the whole hours that
/// the time touches.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct MapView {
    /// From, Unix milliseconds.
    pub from_ms: i64,
    /// To, Unix milliseconds.
    pub to_ms: i64,
    /// Services, nameless parts of nodes, and who is outside; by id.
    pub vertices: Vec<Vertex>,
    /// Who talks to whom; by id.
    pub edges: Vec<MapEdge>,
    /// How much of it is known on both ends.
    pub coverage: Coverage,
    /// Tags of the nodes that are on it, as they are now.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schema(value_type = BTreeMap<String, BTreeMap<String, String>>)]
    pub tags: NodeTags,
}

/// What of the map is asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Selection {
    /// Only edges with an end on this node.
    pub node: Option<String>,
    /// Only edges with an end that is this service: an id, an owner's name, a name.
    pub service: Option<String>,
    /// Only edges with an end in this site.
    pub site: Option<String>,
    /// Without edges of infrastructure.
    pub fold: bool,
}

impl MapView {
    /// The map of these edges.
    #[must_use]
    pub fn new(from_ms: i64, to_ms: i64, mut edges: Vec<EdgeFigures>, vertices: Vec<Vertex>) -> Self {
        let by_id: BTreeMap<String, Vertex> = vertices.into_iter().map(|v| (v.id.clone(), v)).collect();
        edges.retain(|e| is_there(&e.figures, from_ms, to_ms));
        by_exclusion(&mut edges, &by_id);
        let mut edges: Vec<MapEdge> = edges.iter().map(MapEdge::from).collect();
        edges.sort_by(|a, b| a.id.cmp(&b.id));
        let vertices = by_id.into_values().collect();
        let (coverage, tags) = (Coverage::default(), NodeTags::new());
        let mut view = Self { from_ms, to_ms, vertices, edges, coverage, tags };
        view.drop_lonely();
        view.coverage = Coverage::of(&view);
        view
    }

    /// Vertices without edges are not shown.
    pub(crate) fn drop_lonely(&mut self) {
        let used: HashSet<&str> = self.edges.iter().flat_map(|e| [e.client.as_str(), &e.server]).collect();
        self.vertices.retain(|v| used.contains(v.id.as_str()));
    }

    /// A vertex by its id.
    #[must_use]
    pub fn vertex(&self, id: &str) -> Option<&Vertex> {
        self.vertices.binary_search_by(|v| v.id.as_str().cmp(id)).ok().map(|at| &self.vertices[at])
    }

    /// Keeps what is asked for. The coverage is of what is left; what is known of nodes stays.
    pub fn select(&mut self, wanted: &Selection, names: &Names) {
        let mut edges = std::mem::take(&mut self.edges);
        let ends = |e: &MapEdge| [self.vertex(&e.client), self.vertex(&e.server)];
        let any = |e: &MapEdge, check: &dyn Fn(&Vertex) -> bool| ends(e).into_iter().flatten().any(check);
        edges.retain(|e| {
            wanted.node.as_ref().is_none_or(|n| any(e, &|v| v.node.as_ref().is_some_and(|m| m.as_str() == n)))
                && wanted.site.as_ref().is_none_or(|s| any(e, &|v| v.site.as_str() == s))
                && wanted.service.as_ref().is_none_or(|s| any(e, &|v| is_called(v, s)))
                && !(wanted.fold && {
                    let owners = ends(e).map(|v| v.and_then(|v| v.owner.as_deref()));
                    names.is_infrastructure(e.protocol, e.port, owners)
                })
        });
        self.edges = edges;
        self.drop_lonely();
        let of_nodes = std::mem::take(&mut self.coverage);
        self.coverage = Coverage { nodes: of_nodes.nodes, conflicts: of_nodes.conflicts, ..Coverage::of(self) };
    }
}

/// Tags of the nodes of these vertices, out of those of all.
#[must_use]
pub fn tags_of(vertices: &[Vertex], mut all: NodeTags) -> NodeTags {
    let nodes: BTreeSet<&NodeId> = vertices.iter().filter_map(|v| v.node.as_ref()).collect();
    all.retain(|node, _| nodes.contains(node));
    all
}

/// Whether an edge is on the map of a time.
fn is_there(figures: &Figures, from: i64, to: i64) -> bool {
    figures.first_ms < to && (figures.last_ms + 60_000 > from || figures.active > 0)
}

/// Whether a vertex goes by this name: its id, its owner on any node, or the name it is shown under.
#[must_use]
pub fn is_called(vertex: &Vertex, name: &str) -> bool {
    vertex.id == name
        || vertex.name == name
        || vertex.owner.as_deref() == Some(name)
        || vertex.hostname.as_deref() == Some(name)
}

/// Whether a vertex goes by this name, or is on the node of this name.
#[must_use]
pub fn is_meant(vertex: &Vertex, name: &str) -> bool {
    is_called(vertex, name) || vertex.node.as_ref().is_some_and(|n| n.as_str() == name)
}

/// Whether a vertex is outside of all nodes.
#[must_use]
pub fn is_outside(vertex: &Vertex) -> bool {
    vertex.kind == VertexKind::External
}
