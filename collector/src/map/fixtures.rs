//! Maps for tests.

use tacit_wire::message::{OwnerKind, Protocol};

use super::view::MapView;
use crate::store::{EdgeFigures, EdgeRecord, Figures, Vertex, VertexKind};

/// A vertex of this id: `node/owner`, or outside.
pub fn vertex(id: &str) -> Vertex {
    let inside = id.split_once('/').filter(|_| !id.starts_with("ext:"));
    Vertex {
        id: id.into(),
        name: id.into(),
        kind: if inside.is_some() { VertexKind::Service } else { VertexKind::External },
        node: inside.map(|(node, _)| node.parse().unwrap()),
        site: "lab".parse().unwrap(),
        address: None,
        port: None,
        owner: inside.map(|(_, owner)| owner.into()),
        owner_kind: inside.map(|_| OwnerKind::Unit),
    }
}

/// The map of these edges, each client and server, in the hour 0.
pub fn view(edges: &[(&str, &str)]) -> MapView {
    let vertices = edges.iter().flat_map(|(a, b)| [vertex(a), vertex(b)]).collect();
    let edge = |(client, server): &(&str, &str)| EdgeFigures {
        edge: EdgeRecord {
            id: super::vertex::edge_id(client, server, Protocol::Tcp, 80),
            client: (*client).into(),
            server: (*server).into(),
            protocol: Protocol::Tcp,
            port: 80,
            via: None,
            first_seen_ms: 0,
            last_seen_ms: 0,
        },
        figures: Figures {
            connects: 10,
            sent: 1000,
            received: 9000,
            rtt_p50: 0.0005,
            rtt_weight: 10.0,
            owned: true,
            confidence: 1.0,
            ..Figures::none(0)
        },
    };
    let edges: Vec<_> = edges.iter().map(edge).collect();
    MapView::new(0, 3_600_000, &edges, vertices)
}
