//! How much of the map is known: edges and bytes owned on both ends, and how well each node sees.

use serde::{Deserialize, Serialize};
use tacit_wire::NodeId;
use utoipa::ToSchema;

use super::addresses::Conflict;
use super::view::{MapView, is_outside};

/// How well a node sees its connections.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct NodeCoverage {
    /// The node.
    #[schema(value_type = String)]
    pub node: NodeId,
    /// Level of observation: 0 `/proc/net`, 1 host namespace, 2 with owners, 3 with container namespaces.
    pub level: u8,
    /// Last minute it spoke of, Unix milliseconds.
    pub last_ms: i64,
    /// Close events it lost since the collector started.
    pub overflows: u64,
    /// Edges since the collector started whose ends were not announced, or that go on without having been told: the node is asked to
    /// announce them again.
    pub unusable: u64,
    /// Edges beyond the bounds since the collector started: they are not on the map.
    pub beyond: u64,
    /// Edges since the collector started whose counts no machine reaches: they were cut.
    #[serde(default)]
    pub absurd: u64,
}

/// How much of a map is known. Edges with an end outside can have an owner on one end only and are counted apart.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Coverage {
    /// Edges between nodes.
    pub edges: u64,
    /// Those with an owner on both ends.
    pub edges_owned: u64,
    /// Their share; absent when there is no edge.
    pub edges_share: Option<f32>,
    /// Bytes between nodes, both ways.
    pub bytes: u64,
    /// Those of edges with an owner on both ends.
    pub bytes_owned: u64,
    /// Their share; absent when there are no bytes.
    pub bytes_share: Option<f32>,
    /// Edges with an end outside.
    pub outside: u64,
    /// Nodes that speak of connections.
    pub nodes: Vec<NodeCoverage>,
    /// What nodes say that does not fit together; the first of each is believed.
    pub conflicts: Vec<Conflict>,
}

impl Coverage {
    /// The coverage of these edges.
    #[must_use]
    pub fn of(view: &MapView) -> Self {
        let mut all = Self::default();
        for edge in &view.edges {
            let ends = [&edge.client, &edge.server].map(|id| view.vertex(id));
            if ends.into_iter().flatten().any(is_outside) {
                all.outside += 1;
                continue;
            }
            let bytes = edge.bytes();
            all.edges += 1;
            all.bytes = all.bytes.saturating_add(bytes);
            if edge.owned {
                all.edges_owned += 1;
                all.bytes_owned = all.bytes_owned.saturating_add(bytes);
            }
        }
        let share = |part: u64, whole: u64| (whole > 0).then(|| (part as f64 / whole as f64) as f32);
        all.edges_share = share(all.edges_owned, all.edges);
        all.bytes_share = share(all.bytes_owned, all.bytes);
        all
    }
}
