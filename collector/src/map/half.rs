//! One end's word about an edge, resolved from the node's dictionary of endpoints.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use tacit_wire::StreamId;
use tacit_wire::message::{Edge, EndpointDef, OwnerKind, Protocol, Sketch};

use super::names::plain;
use crate::store::{Figures, StoredLinks};

/// Endpoints of one node that are remembered.
const ENDPOINTS_MAX: usize = 16_384;
/// Edges of a node in one interval, and in one hour, that are believed; an honest node has some tens.
pub const EDGES_MAX: usize = 4096;
/// Starts of one agent whose endpoints are remembered: after a restart it still sends what waited.
const STARTS_MAX: usize = 4;
/// Nodes whose endpoints are remembered, the most recently heard; what is forgotten is asked for again.
const NODES_MAX: usize = 100_000;

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
    /// Network namespace of its end on its node, by inode; 0 for the node's own.
    pub scope: u32,
    /// Its own address, when it says one.
    pub local: Option<IpAddr>,
    /// The other end's address, as it sees it; unspecified for the rest of very many.
    pub peer: IpAddr,
    /// The server's port, as it sees it; 0 when a failed connect lost it.
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

/// What makes a node's half the same edge in another interval.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct HalfKey {
    server: bool,
    protocol: Protocol,
    scope: u32,
    local: Option<IpAddr>,
    peer: IpAddr,
    port: u16,
    owner: Option<Arc<str>>,
}

impl Half {
    /// The namespace that the other end has to be in: loopback is one's own. 0 for any.
    #[must_use]
    pub fn loop_scope(&self) -> u32 {
        if self.peer.is_loopback() { self.scope } else { 0 }
    }

    /// What makes it the same edge in another interval.
    #[must_use]
    pub fn key(&self) -> HalfKey {
        HalfKey {
            server: self.server,
            protocol: self.protocol,
            scope: self.scope,
            local: self.local,
            peer: self.peer,
            port: self.port,
            owner: self.owner.clone(),
        }
    }
}

/// An endpoint in parsed form.
#[derive(Debug, Clone)]
struct Endpoint {
    /// The minute it was last announced for.
    heard: i64,
    scope: u32,
    address: Option<IpAddr>,
    port: u16,
    owner: Option<Arc<str>>,
    kind: OwnerKind,
}

/// What could not be used of a message as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Unusable {
    /// Edges beyond the bound.
    pub beyond: u32,
    /// Edges of endpoints that were not announced.
    pub unknown: u32,
    /// Edges that count what no machine reaches; they are cut.
    pub absurd: u32,
}

/// One start of an agent.
#[derive(Debug)]
struct Start {
    stream: StreamId,
    heard: i64,
    known: HashMap<u32, Endpoint>,
}

/// The endpoints of every agent.
#[derive(Debug, Default)]
pub struct Dictionaries {
    nodes: HashMap<NodeNo, Vec<Start>>,
}

impl Dictionaries {
    /// Takes the endpoints that a message announces.
    pub fn learn(&mut self, node: NodeNo, message: &StoredLinks) {
        if self.nodes.len() >= NODES_MAX && !self.nodes.contains_key(&node) {
            self.forget();
        }
        let (stream, heard) = (message.links.head.stream, message.id);
        let starts = self.nodes.entry(node).or_default();
        let at = starts.iter().position(|s| s.stream == stream).unwrap_or_else(|| {
            if starts.len() >= STARTS_MAX
                && let Some(oldest) = (0..starts.len()).min_by_key(|n| starts[*n].heard)
            {
                starts.swap_remove(oldest);
            }
            starts.push(Start { stream, heard, known: HashMap::new() });
            starts.len() - 1
        });
        if starts.iter().map(|s| s.known.len()).sum::<usize>() >= ENDPOINTS_MAX {
            // Ends in use are announced each hour: the half that was announced least recently goes.
            let mut heard: Vec<i64> = starts.iter().flat_map(|s| s.known.values().map(|e| e.heard)).collect();
            heard.sort_unstable();
            let middle = heard[heard.len() / 2];
            starts.iter_mut().for_each(|s| s.known.retain(|_, e| e.heard > middle));
        }
        let mut room = ENDPOINTS_MAX.saturating_sub(starts.iter().map(|s| s.known.len()).sum());
        let start = &mut starts[at];
        start.heard = heard;
        for def in &message.links.endpoints {
            if let Some(known) = start.known.get_mut(&def.id) {
                *known = endpoint(def, message.minute);
            } else if room > 0 {
                room -= 1;
                start.known.insert(def.id, endpoint(def, message.minute));
            }
        }
    }

    /// Forgets the half that was not heard of for longest.
    fn forget(&mut self) {
        let newest = |starts: &[Start]| starts.iter().map(|s| s.heard).max().unwrap_or(0);
        let mut heard: Vec<i64> = self.nodes.values().map(|s| newest(s)).collect();
        heard.sort_unstable();
        let middle = heard.get(heard.len() / 2).copied().unwrap_or(0);
        self.nodes.retain(|_, starts| newest(starts) > middle);
    }

    /// Adds the halves that a message holds, of its whole interval, at most `room`.
    pub fn halves(&self, node: NodeNo, message: &StoredLinks, room: usize, out: &mut Vec<Half>) -> Unusable {
        let mut unusable = Unusable::default();
        let starts = self.nodes.get(&node).map(Vec::as_slice).unwrap_or_default();
        let known = starts.iter().find(|s| s.stream == message.links.head.stream).map(|s| &s.known);
        // What a message announces holds for it, whatever the same number meant to others before or after.
        let announced: HashMap<u32, Endpoint> =
            message.links.endpoints.iter().map(|d| (d.id, endpoint(d, message.minute))).collect();
        let find = |id: u32| announced.get(&id).or_else(|| known?.get(&id));
        unusable.beyond = message.links.edges.len().saturating_sub(room) as u32;
        for edge in message.links.edges.iter().take(room) {
            let Some(mut half) = half(node, edge, find, message.minute) else {
                unusable.unknown += 1;
                continue;
            };
            unusable.absurd += u32::from(half.figures.cut(message.minutes()));
            out.push(half);
        }
        unusable
    }

    /// Adds what a message says of one of its minutes.
    pub fn halves_of(&self, node: NodeNo, message: &StoredLinks, minute: i64, room: usize, out: &mut Vec<Half>) {
        let (from, length) = (out.len(), message.minutes());
        self.halves(node, message, room, out);
        if length > 1 {
            for half in &mut out[from..] {
                half.figures = half.figures.of_minute(minute, length);
            }
        }
    }
}

fn endpoint(def: &EndpointDef, heard: i64) -> Endpoint {
    let owner = def.owner.as_deref().map(|o| plain(o.trim())).filter(|o| !o.is_empty());
    Endpoint {
        heard,
        scope: def.scope.unwrap_or(0),
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
        scope: local.scope,
        local: local.address,
        peer: peer.address.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED)),
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
    use crate::map::fixtures::said;

    /// A message of a start of its own, that announces these numbers.
    fn announcing(id: i64, stream: u8, ids: std::ops::Range<u32>) -> StoredLinks {
        let mut message = said(id, "web", 0, false, "10.0.0.2", 80, 0);
        message.links.head.stream = StreamId([stream; 8]);
        let one = message.links.endpoints[1].clone();
        message.links.endpoints = ids.map(|id| EndpointDef { id, ..one.clone() }).collect();
        message
    }

    #[test]
    fn a_node_has_a_bound_of_endpoints_and_of_starts() {
        let mut dictionaries = Dictionaries::default();
        for n in 0..40_u8 {
            dictionaries.learn(0, &announcing(n.into(), n, 0..8192));
        }
        let starts = &dictionaries.nodes[&0];
        assert_eq!(starts.len(), STARTS_MAX);
        assert!(starts.iter().map(|s| s.known.len()).sum::<usize>() <= ENDPOINTS_MAX);
        assert!(starts.iter().any(|s| s.stream == StreamId([39; 8])), "the newest is there");
    }

    #[test]
    fn what_was_not_announced_is_counted_and_found_once_it_is() {
        let mut dictionaries = Dictionaries::default();
        let mut message = said(1, "web", 0, false, "10.0.0.2", 80, 0);
        let announced = std::mem::take(&mut message.links.endpoints);
        dictionaries.learn(0, &message);
        let mut halves = Vec::new();
        assert_eq!(dictionaries.halves(0, &message, 10, &mut halves), Unusable { unknown: 1, ..Unusable::default() });
        let later = StoredLinks { id: 2, ..message.clone() };
        dictionaries.learn(
            0,
            &StoredLinks { links: tacit_wire::message::Links { endpoints: announced, ..later.links }, ..later },
        );
        assert_eq!(dictionaries.halves(0, &message, 10, &mut halves), Unusable::default());
        assert_eq!(halves.len(), 1);
        assert_eq!(dictionaries.halves(0, &message, 0, &mut halves).beyond, 1);
    }

    #[test]
    fn counts_that_no_machine_reaches_are_cut_and_names_are_plain() {
        let mut message = said(1, "web", 0, false, "", 80, 0);
        message.links.endpoints[0].owner = Some("\u{1b}[2Jnginx\n\u{202e}x".into());
        (message.links.edges[0].connects, message.links.edges[0].sent) = (u32::MAX, u64::MAX);
        let (mut dictionaries, mut halves) = (Dictionaries::default(), Vec::new());
        dictionaries.learn(0, &message);
        assert_eq!(dictionaries.halves(0, &message, 10, &mut halves).absurd, 1);
        assert!(halves[0].figures.connects < 1 << 30 && halves[0].figures.sent < 1 << 50);
        assert_eq!(halves[0].owner.as_deref(), Some("\u{fffd}[2Jnginx\u{fffd}\u{fffd}x"));
        assert!(halves[0].peer.is_unspecified(), "the rest of very many");
    }
}
