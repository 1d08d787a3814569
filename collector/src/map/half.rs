//! One end's word about an edge, resolved from the node's dictionary of endpoints.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use tacit_wire::StreamId;
use tacit_wire::message::{Edge, EndpointDef, OwnerKind, Protocol, Sketch};

use crate::store::{Figures, StoredLinks};

/// Endpoints of one start of an agent that are remembered.
const ENDPOINTS_MAX: usize = 16_384;
/// Edges of a node in one minute that are believed; an honest node has some tens.
pub const EDGES_MAX: usize = 4096;
/// Starts of agents whose endpoints are remembered, the most recently heard; what is forgotten is announced again within the hour.
const STARTS_MAX: usize = 20_000;

/// Number of a node in this process.
pub type NodeNo = u32;

/// What one end says of an edge in a minute.
#[derive(Debug, Clone)]
pub struct Half {
    /// Who says it.
    pub node: NodeNo,
    /// Whether it is the server.
    pub server: bool,
    /// Transport.
    pub protocol: Protocol,
    /// Its own address, when it says one.
    pub local: Option<IpAddr>,
    /// The other end's address, as it sees it.
    pub peer: IpAddr,
    /// The server's port, as it sees it.
    pub port: u16,
    /// Unit, container or executable at its end.
    pub owner: Option<Arc<str>>,
    /// How that was found.
    pub owner_kind: OwnerKind,
    /// Ports of the client.
    pub ports: Sketch,
    /// What happened, seen from the client.
    pub figures: Figures,
}

/// An endpoint in parsed form.
#[derive(Debug, Clone)]
struct Endpoint {
    address: Option<IpAddr>,
    port: u16,
    owner: Option<Arc<str>>,
    kind: OwnerKind,
}

/// What could not be used of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Unusable {
    /// Edges beyond the bound.
    pub beyond: u32,
    /// Edges of endpoints that were not announced, or without a usable peer.
    pub unknown: u32,
}

/// The endpoints of every start of every agent.
#[derive(Debug, Default)]
pub struct Dictionaries {
    starts: HashMap<(NodeNo, StreamId), (i64, HashMap<u32, Endpoint>)>,
}

impl Dictionaries {
    /// Takes the endpoints that a message announces.
    pub fn learn(&mut self, node: NodeNo, message: &StoredLinks) {
        let key = (node, message.links.head.stream);
        if self.starts.len() >= STARTS_MAX && !self.starts.contains_key(&key) {
            self.forget();
        }
        let (heard, known) = self.starts.entry(key).or_default();
        *heard = message.id;
        for def in &message.links.endpoints {
            if known.len() < ENDPOINTS_MAX || known.contains_key(&def.id) {
                known.insert(def.id, endpoint(def));
            }
        }
    }

    /// Forgets the half that was not heard of for longest.
    fn forget(&mut self) {
        let mut heard: Vec<i64> = self.starts.values().map(|(heard, _)| *heard).collect();
        heard.sort_unstable();
        let middle = heard.get(heard.len() / 2).copied().unwrap_or(0);
        self.starts.retain(|_, (heard, _)| *heard > middle);
    }

    /// Adds the halves that a message holds; `already` are those of the same node and minute.
    pub fn halves(&self, node: NodeNo, message: &StoredLinks, already: usize, out: &mut Vec<Half>) -> Unusable {
        let mut unusable = Unusable::default();
        let Some((_, known)) = self.starts.get(&(node, message.links.head.stream)) else {
            unusable.unknown = message.links.edges.len() as u32;
            return unusable;
        };
        // What a message announces holds for it, whatever the same number meant to others before or after.
        let announced: HashMap<u32, Endpoint> = message.links.endpoints.iter().map(|d| (d.id, endpoint(d))).collect();
        let room = EDGES_MAX.saturating_sub(already);
        unusable.beyond = message.links.edges.len().saturating_sub(room) as u32;
        for edge in message.links.edges.iter().take(room) {
            let find = |id: u32| announced.get(&id).or_else(|| known.get(&id));
            match half(node, edge, find, message.minute) {
                Some(half) => out.push(half),
                None => unusable.unknown += 1,
            }
        }
        unusable
    }
}

fn endpoint(def: &EndpointDef) -> Endpoint {
    let owner = def.owner.as_deref().map(str::trim).filter(|o| !o.is_empty());
    Endpoint {
        address: def.address.parse().ok().map(|a: IpAddr| a.to_canonical()).filter(|a| !a.is_unspecified()),
        port: def.port,
        owner: owner.map(Arc::from),
        kind: def.owner_kind.unwrap_or(OwnerKind::Unattributed),
    }
}

fn half<'a>(node: NodeNo, edge: &Edge, find: impl Fn(u32) -> Option<&'a Endpoint>, minute: i64) -> Option<Half> {
    let (local, peer) = (find(edge.local)?, find(edge.peer)?);
    let owned = local.kind != OwnerKind::Unattributed && local.kind != OwnerKind::Unknown;
    Some(Half {
        node,
        server: edge.server,
        protocol: edge.protocol,
        local: local.address,
        peer: peer.address?,
        port: if edge.server { local.port } else { peer.port },
        owner: local.owner.clone().filter(|_| owned),
        owner_kind: local.kind,
        ports: Sketch::of(&edge.ports),
        figures: Figures::of(edge, minute),
    })
}
