//! Maps for tests.

use tacit_wire::message::{Edge, EndpointDef, Head, Links, OwnerKind, Protocol, Sketch};
use tacit_wire::{BootId, NodeId, Num, Seq, SiteId, StreamId};

use super::addresses::Addresses;
use super::half::Half;
use super::join::{Joined, Minute, Scene, join};
use super::names::{MapConfig, Names};
use super::nodes::Nodes;
use super::pairs::Pairs;
use super::repair::{self, Destinations, Listeners};
use super::vertex::{EdgeKey, VertexKey, edge_id};
use super::view::MapView;
use crate::store::{AddressClaim, EdgeFigures, EdgeRecord, Figures, StoredLinks, Vertex, VertexKind};

/// A vertex of this id: `node/owner`, `node/unattributed`, or outside.
pub fn vertex(id: &str) -> Vertex {
    let inside = id.split_once('/').filter(|_| !id.starts_with("ext:"));
    let owner = inside.map(|(_, owner)| owner).filter(|owner| *owner != "unattributed");
    Vertex {
        id: id.into(),
        name: id.into(),
        kind: match inside {
            Some((_, "unattributed")) => VertexKind::Node,
            Some(_) => VertexKind::Service,
            None => VertexKind::External,
        },
        node: inside.map(|(node, _)| node.parse().unwrap()),
        site: "lab".parse().unwrap(),
        address: None,
        port: None,
        owner: owner.map(Into::into),
        owner_kind: owner.map(|_| OwnerKind::Unit),
        hostname: None,
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
    MapView::new(0, 3_600_000, edges.iter().map(edge).collect(), vertices)
}

/// A few nodes and what they say of a minute.
pub struct Fleet {
    pub nodes: Nodes,
    pub addresses: Addresses,
    pub pairs: Pairs,
    pub at: i64,
    pub near: Vec<Half>,
    pub listeners: Listeners,
    destinations: Destinations,
    names: Names,
    home: SiteId,
}

impl Fleet {
    /// Nodes, each with its site and addresses.
    pub fn new(all: &[(&str, &str, &[&str])]) -> Self {
        let mut nodes = Nodes::default();
        let mut claims = Vec::new();
        for (since, (node, site, addresses)) in (0..).zip(all) {
            let (node, site): (NodeId, SiteId) = (node.parse().unwrap(), site.parse().unwrap());
            nodes.number(&node, &site);
            claims.extend(addresses.iter().map(|a| AddressClaim {
                site: site.clone(),
                address: (*a).into(),
                node: node.clone(),
                since,
                until: None,
            }));
        }
        let home = all[0].1.parse().unwrap();
        let names = Names::new(&MapConfig::default(), None).unwrap();
        let mut addresses = Addresses::default();
        addresses.renew(&claims, &mut nodes, &names);
        Self {
            nodes,
            addresses,
            pairs: Pairs::default(),
            at: 3_600_000,
            near: Vec::new(),
            listeners: Listeners::default(),
            destinations: Destinations::default(),
            names,
            home,
        }
    }

    fn half(&mut self, node: &str, owner: &str, server: bool, port: u16, peer: &str, ports: &[u16]) -> Half {
        let number = (0..).find(|n| self.nodes.name(*n).as_str() == node).unwrap();
        Half {
            node: number,
            server,
            protocol: Protocol::Tcp,
            scope: 0,
            local: None,
            peer: peer.parse().unwrap(),
            port,
            owner: Some(owner.into()),
            owner_kind: OwnerKind::Unit,
            ports: Sketch::of(ports),
            figures: Figures { connects: 10, sent: 1000, received: 5000, confidence: 1.0, ..Figures::none(self.at) },
        }
    }

    /// `node` says that `owner` connects to an address.
    pub fn client(&mut self, node: &str, owner: &str, peer: &str, port: u16, ports: &[u16]) -> Half {
        self.half(node, owner, false, port, peer, ports)
    }

    /// `node` says that an address connects to `owner`.
    pub fn server(&mut self, node: &str, owner: &str, port: u16, peer: &str, ports: &[u16]) -> Half {
        self.half(node, owner, true, port, peer, ports)
    }

    /// Repairs and joins what was said.
    pub fn join(&mut self, halves: &[Half]) -> Joined {
        let (mut halves, at) = (halves.to_vec(), self.at);
        for half in &halves {
            if let Some(local) = half.local {
                self.addresses.observe(half.node, self.nodes.site_of(half.node), local, at);
            }
        }
        repair::name_servers(&mut halves, &self.listeners);
        repair::set_directions(&mut halves, &self.nodes, &self.addresses, &self.listeners, at);
        self.destinations.recover(&mut halves, at);
        let spoke = halves.iter().map(|h| h.node).collect();
        let scene =
            Scene { nodes: &self.nodes, addresses: &self.addresses, names: &self.names, listeners: &self.listeners };
        join(Minute { at, halves: &halves, near: &self.near, spoke: &spoke }, scene, &mut self.pairs)
    }

    /// The id of an edge.
    pub fn edge_id(&self, key: &EdgeKey) -> String {
        let id = |v: &VertexKey| v.describe(OwnerKind::Unit, &self.nodes, &self.names, &self.home).id;
        edge_id(&id(&key.client), &id(&key.server), key.protocol, key.port)
    }
}

/// Addresses of nodes of one site, for ever.
pub fn claims(all: &[(&str, &str)]) -> Vec<AddressClaim> {
    let one = |(node, address): &(&str, &str)| AddressClaim {
        site: "lab".parse().unwrap(),
        address: (*address).into(),
        node: node.parse().unwrap(),
        since: 0,
        until: None,
    };
    all.iter().map(one).collect()
}

/// A message with one edge of the owner `x`: ten connects, and some that stay open.
pub fn said(id: i64, node: &str, at: i64, server: bool, peer: &str, port: u16, active: u32) -> StoredLinks {
    let head = Head {
        node: node.parse().unwrap(),
        boot: BootId([1; 16]),
        stream: StreamId([2; 8]),
        seq: Seq(1),
        oldest: Seq(1),
        wall_ms: at,
        mono_ms: 1000,
    };
    let (here, there) = if server { (port, 0) } else { (0, port) };
    let end = |id, address: &str, port, owner: Option<&str>| EndpointDef {
        id,
        address: address.into(),
        port,
        owner: owner.map(str::to_owned),
        owner_kind: owner.map(|_| OwnerKind::Unit),
        scope: None,
    };
    let edge = Edge {
        local: 0,
        peer: 1,
        protocol: Protocol::Tcp,
        server,
        connects: 10,
        failed: 0,
        sent: 1000,
        received: 1000,
        retransmits: 0,
        rtt_p50: Num::NONE,
        rtt_p95: Num::NONE,
        rtt_min: Num::NONE,
        active,
        lifetime: Num::NONE,
        accept_queue: None,
        confidence: Num(1.0),
        ports: vec![40_000],
    };
    let endpoints = vec![end(0, "", here, Some("x")), end(1, peer, there, None)];
    let links =
        Links { head, start_ms: at, step_s: 60, level: 2, overflows: 0, endpoints, edges: vec![edge], steady: 0 };
    StoredLinks { id, site: "lab".parse().unwrap(), minute: at, links }
}
