//! One end's word about an edge, resolved from the node's dictionary of endpoints.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use tacit_wire::StreamId;
use tacit_wire::message::{Edge, EndpointDef, OwnerKind, Protocol};

use crate::store::{Figures, StoredLinks};

/// Endpoints of one start of an agent that are remembered.
const ENDPOINTS_MAX: usize = 16_384;
/// Edges of a node in one minute that are believed; an honest node has some tens.
pub const EDGES_MAX: usize = 4096;
/// Starts of agents whose endpoints are remembered, the most recently heard; what is forgotten is announced again within the hour.
const STARTS_MAX: usize = 20_000;

/// Number of a node in this process.
pub type NodeNo = u32;

/// A sketch of client ports: at most four, in order of their hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Sketch {
    ports: [u16; 4],
    len: u8,
}

/// By what the protocol chooses ports, smallest first.
fn rank(port: u16) -> (u16, u16) {
    ((u32::from(port).wrapping_mul(0x9E37_79B1) >> 16) as u16, port)
}

impl Sketch {
    /// The sketch of these ports.
    #[must_use]
    pub fn of(ports: &[u16]) -> Self {
        let mut sketch = Self::default();
        for port in ports {
            sketch.insert(*port);
        }
        sketch
    }

    /// The ports, smallest hash first.
    #[must_use]
    pub fn ports(&self) -> &[u16] {
        &self.ports[..usize::from(self.len)]
    }

    /// Adds a port when it is among the four smallest.
    pub fn insert(&mut self, port: u16) {
        let len = usize::from(self.len);
        let at = self.ports().partition_point(|p| rank(*p) < rank(port));
        if self.ports().get(at) == Some(&port) || at == 4 {
            return;
        }
        self.ports.copy_within(at..len.min(3), at + 1);
        self.ports[at] = port;
        self.len = (self.len + 1).min(4);
    }

    /// Adds those of another.
    pub fn merge(&mut self, other: &Self) {
        for port in other.ports() {
            self.insert(*port);
        }
    }

    /// How many ports are in both.
    #[must_use]
    pub fn overlap(&self, other: &Self) -> usize {
        self.ports().iter().filter(|p| other.ports().contains(p)).count()
    }

    /// Whether `part` can be the sketch of some of the connections that this is the sketch of: no port of it that would have
    /// been among the four is missing here.
    #[must_use]
    pub fn covers(&self, part: &Self) -> bool {
        let last = (self.len == 4).then(|| rank(self.ports[3]));
        part.ports().iter().all(|p| self.ports().contains(p) || last.is_some_and(|last| rank(*p) > last))
    }
}

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sketch_keeps_the_four_smallest_and_knows_its_parts() {
        let all: Vec<u16> = (32_768..33_768).collect();
        let whole = Sketch::of(&all);
        let mut ranked = all.clone();
        ranked.sort_by_key(|p| rank(*p));
        assert_eq!(whole.ports(), &ranked[..4]);
        let (even, odd): (Vec<u16>, Vec<u16>) = all.iter().partition(|p| *p % 2 == 0);
        let (even, odd) = (Sketch::of(&even), Sketch::of(&odd));
        assert!(whole.covers(&even) && whole.covers(&odd));
        assert_eq!(whole.overlap(&even) + whole.overlap(&odd), 4);
        let mut both = even;
        both.merge(&odd);
        assert_eq!(both, whole);
        // Of a few connections every port is known: one that is not among them is of others.
        assert!(Sketch::of(&[1, 2]).covers(&Sketch::of(&[2])) && !Sketch::of(&[1, 2]).covers(&Sketch::of(&[2, 3])));
    }
}
