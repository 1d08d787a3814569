//! Both halves of every edge of a minute become one.
//!
//! A client says "I → address:port", a server says "address → me:port". They meet
//! 1. by address: the destination is an address of a node, and that node has a server half with this port and an address of the
//!    client as its peer;
//! 2. by the sketch of client ports: where the destination was rewritten on the way (DNAT, a virtual address with several
//!    servers behind it), the server still sees the client's address and ports;
//! 3. by the sketch alone, where the destination is right and the client's address was rewritten (masquerade that keeps ports);
//! 4. by what earlier minutes taught ([`Pairs`]), when one half is silent or late.
//!
//! A half always stays on the node that sent it, whatever it claims: nobody can write an edge of which he is not one end.
//! What both count is taken from the client; a server half without its client counts only while the client's node is silent.

mod emit;

use std::collections::{BTreeSet, HashMap, HashSet};
use std::net::IpAddr;

use tacit_wire::message::{OwnerKind, Protocol, Sketch};

use emit::{alone, crowded, emit};

use super::addresses::Addresses;
use super::half::{Half, NodeNo};
use super::names::Names;
use super::nodes::Nodes;
use super::pairs::{Destination, End, Pairs, Source};
use super::repair::Listeners;
use super::vertex::EdgeKey;
use crate::store::Figures;

/// Clients outside of one port that are shown one by one; more are shown by network.
const OUTSIDE_MAX: usize = 64;
/// Destinations that a server half is compared with, of those that share a port with it.
const COMPARED_MAX: usize = 64;

/// What the join needs to know of the world.
#[derive(Debug, Clone, Copy)]
pub struct Scene<'a> {
    /// Names and sites of nodes.
    pub nodes: &'a Nodes,
    /// Whose addresses are whose.
    pub addresses: &'a Addresses,
    /// Names and labels.
    pub names: &'a Names,
    /// What births say nodes listen on.
    pub listeners: &'a Listeners,
}

/// The halves of one minute.
#[derive(Debug, Clone, Copy)]
pub struct Minute<'a> {
    /// Its start, Unix milliseconds.
    pub at: i64,
    /// What was said about it.
    pub halves: &'a [Half],
    /// Halves of the minutes beside it that found no other.
    pub near: &'a [Half],
    /// Nodes that said anything about it or the minutes beside it.
    pub spoke: &'a HashSet<NodeNo>,
}

/// An edge of a minute.
#[derive(Debug, Clone, PartialEq)]
pub struct JoinedEdge {
    /// Which edge.
    pub key: EdgeKey,
    /// How the owners of client and server were found.
    pub kinds: [OwnerKind; 2],
    /// What the client connects to, when that is not the server's own address.
    pub via: Option<(IpAddr, u16)>,
    /// Which nodes said it.
    pub said: [Option<NodeNo>; 2],
    /// What happened.
    pub figures: Figures,
}

/// What became of a minute.
#[derive(Debug, Default)]
pub struct Joined {
    /// Its edges.
    pub edges: Vec<JoinedEdge>,
    /// Halves that found no other and may yet.
    pub loose: Vec<Half>,
    /// Whether a half found its other in a minute beside it: that one is better joined again.
    pub crossed: bool,
}

/// A server half.
struct Server<'a> {
    half: &'a Half,
    near: bool,
    client: Option<NodeNo>,
    taken: bool,
}

/// Client halves with one destination.
struct Group<'a> {
    to: Destination,
    halves: &'a [&'a Half],
    near: bool,
    ports: Sketch,
    target: Option<NodeNo>,
    servers: Vec<usize>,
    via: bool,
}

/// Joins a minute.
#[must_use]
pub fn join(minute: Minute<'_>, scene: Scene<'_>, pairs: &mut Pairs) -> Joined {
    let mut servers = servers(minute, scene);
    let clients = sorted_clients(minute);
    let mut groups = groups(&clients, minute, scene);
    by_address(&mut groups, &mut servers);
    by_ports(&mut groups, &mut servers, pairs);
    by_ports_alone(&mut groups, &mut servers);
    learn(&groups, &servers, pairs, minute.at);

    let mut joined = Joined::default();
    for group in &groups {
        joined.crossed |= crosses(group, &servers);
        emit(group, &servers, scene, pairs, minute, &mut joined);
    }
    let crowded = crowded(&servers);
    for server in servers.iter().filter(|s| !s.taken && !s.near) {
        alone(server, scene, pairs, minute, &crowded, &mut joined);
    }
    joined
}

fn servers<'a>(minute: Minute<'a>, scene: Scene<'_>) -> Vec<Server<'a>> {
    let key = |h: &Half| (h.node, h.protocol, h.port, h.peer, h.scope);
    let mut all: Vec<Server<'a>> = Vec::new();
    let mut present = HashSet::new();
    for (half, near) in minute.halves.iter().map(|h| (h, false)).chain(minute.near.iter().map(|h| (h, true))) {
        if !half.server || (near && present.contains(&key(half))) {
            continue;
        }
        if !near {
            present.insert(key(half));
        }
        let client = scene.addresses.owner(half.node, scene.nodes.site_of(half.node), half.peer, minute.at);
        all.push(Server { half, near, client, taken: false });
    }
    all
}

/// Client halves by destination, those of the minute before those beside it.
fn sorted_clients<'a>(minute: Minute<'a>) -> Vec<&'a Half> {
    let mut all: Vec<&Half> = minute.halves.iter().filter(|h| !h.server).collect();
    let known: HashSet<Destination> = all.iter().map(|h| destination(h)).collect();
    all.extend(minute.near.iter().filter(|h| !h.server && !known.contains(&destination(h))));
    all.sort_by_key(|h| destination(h));
    all
}

fn destination(half: &Half) -> Destination {
    Destination { node: half.node, protocol: half.protocol, ip: half.peer, port: half.port, scope: half.loop_scope() }
}

fn groups<'a>(clients: &'a [&'a Half], minute: Minute<'_>, scene: Scene<'_>) -> Vec<Group<'a>> {
    let parts = clients.chunk_by(|a, b| destination(a) == destination(b));
    parts
        .map(|halves| {
            let to = destination(halves[0]);
            let mut ports = Sketch::default();
            for half in halves {
                ports.merge(&half.ports);
            }
            let target = scene.addresses.owner(to.node, scene.nodes.site_of(to.node), to.ip, minute.at);
            // Halves of other minutes only lend their names.
            let near = halves.iter().all(|h| h.figures.last_ms != minute.at);
            Group { to, halves, near, ports, target, servers: Vec::new(), via: false }
        })
        .collect()
}

/// The destination is a node's address, and that node says so too.
fn by_address(groups: &mut [Group<'_>], servers: &mut [Server<'_>]) {
    let mut places: HashMap<(NodeNo, Protocol, u16, NodeNo, u32), Vec<usize>> = HashMap::new();
    for (at, s) in servers.iter().enumerate() {
        if let Some(client) = s.client {
            let place = (s.half.node, s.half.protocol, s.half.port, client, s.half.loop_scope());
            places.entry(place).or_default().push(at);
        }
    }
    for group in groups.iter_mut() {
        let Some(target) = group.target else { continue };
        let place = (target, group.to.protocol, group.to.port, group.to.node, group.to.scope);
        let Some(found) = places.get(&place) else { continue };
        let here = |at: &&usize| servers[**at].half.local.is_none_or(|local| local == group.to.ip);
        let mut found: Vec<usize> = found.iter().filter(here).copied().collect();
        // One port may be served in several namespaces, or for several addresses of the client: ports tell them apart.
        if found.len() > 1 && found.iter().any(|at| servers[*at].half.ports.overlap(&group.ports) > 0) {
            found.retain(|at| servers[*at].half.ports.overlap(&group.ports) > 0);
        }
        for at in &found {
            servers[*at].taken = true;
        }
        group.servers = found;
    }
}

/// The destination was rewritten: the server sees the client's address and ports.
fn by_ports(groups: &mut [Group<'_>], servers: &mut [Server<'_>], pairs: &Pairs) {
    let mut seen: HashMap<(NodeNo, Protocol, u16, u32), Vec<usize>> = HashMap::new();
    for (at, group) in groups.iter().enumerate().filter(|(_, g)| g.servers.is_empty()) {
        for port in group.ports.ports() {
            seen.entry((group.to.node, group.to.protocol, *port, group.to.scope)).or_default().push(at);
        }
    }
    for (at, server) in servers.iter_mut().enumerate().filter(|(_, s)| !s.taken) {
        let (half, Some(client)) = (server.half, server.client) else { continue };
        let place = |port: &u16| (client, half.protocol, *port, half.loop_scope());
        let shares = half.ports.ports().iter().filter_map(|p| seen.get(&place(p)));
        let candidates: BTreeSet<usize> = shares.flatten().copied().take(COMPARED_MAX).collect();
        let likeness = |group: &Group<'_>| {
            let known = pairs.servers(&group.to).iter().any(|e| e.node == half.node && e.port == half.port);
            (group.ports.overlap(&half.ports), known, group.to.port == half.port)
        };
        let fits = |g: &&usize| {
            let group = &groups[**g];
            let nobody_silent = !(group.near && server.near);
            let overlap = group.ports.overlap(&half.ports);
            // One is a part of the other: of several servers behind one address, or where one end told a minute of what the
            // other told with its batch.
            let part = group.ports.covers(&half.ports) || half.ports.covers(&group.ports);
            nobody_silent && (overlap >= 3 || (overlap > 0 && part))
        };
        let mut fitting: Vec<usize> = candidates.iter().filter(fits).copied().collect();
        fitting.sort_by_key(|g| std::cmp::Reverse(likeness(&groups[*g])));
        let Some(best) = fitting.first().copied() else { continue };
        // Two that fit alike: better none than a false edge.
        if fitting.get(1).is_some_and(|second| likeness(&groups[*second]) == likeness(&groups[best])) {
            continue;
        }
        server.taken = true;
        groups[best].servers.push(at);
        groups[best].via = true;
    }
}

/// The client's address was rewritten and its ports were kept: the destination is right, the ports are the same.
fn by_ports_alone(groups: &mut [Group<'_>], servers: &mut [Server<'_>]) {
    let mut places: HashMap<(NodeNo, Protocol, u16, u32), Vec<usize>> = HashMap::new();
    for (at, s) in servers.iter().enumerate().filter(|(_, s)| !s.taken && !s.near) {
        let place = (s.half.node, s.half.protocol, s.half.port, s.half.loop_scope());
        places.entry(place).or_default().push(at);
    }
    for group in groups.iter_mut().filter(|g| g.servers.is_empty() && !g.near) {
        let Some(target) = group.target else { continue };
        let place = (target, group.to.protocol, group.to.port, group.to.scope);
        let Some(found) = places.get(&place) else { continue };
        let same = |at: &&usize| {
            let s = &servers[**at];
            !s.taken && s.half.ports == group.ports && group.ports.ports().len() > 1
        };
        let Some(at) = found.iter().take(COMPARED_MAX).find(same).copied() else { continue };
        servers[at].taken = true;
        group.servers.push(at);
    }
}

fn end_of(half: &Half, via: Option<(IpAddr, u16)>) -> End {
    let port = if half.server { half.port } else { 0 };
    End { node: half.node, owner: half.owner.clone(), kind: half.owner_kind, port, via }
}

fn learn(groups: &[Group<'_>], servers: &[Server<'_>], pairs: &mut Pairs, at: i64) {
    // Who listens in a container says nothing of the node's own ports.
    for server in servers.iter().filter(|s| !s.near && s.half.owner.is_some() && s.half.scope == 0) {
        pairs.listens(server.half.protocol, end_of(server.half, None), at);
    }
    for group in groups {
        let via = group.via.then_some((group.to.ip, group.to.port));
        for half in group.servers.iter().map(|s| servers[*s].half) {
            let source = source_of(half);
            for client in group.halves {
                pairs.learn(group.to, end_of(half, via), source, end_of(client, via), at);
            }
        }
    }
}

fn source_of(half: &Half) -> Source {
    Source { node: half.node, protocol: half.protocol, port: half.port, ip: half.peer, scope: half.loop_scope() }
}

fn crosses(group: &Group<'_>, servers: &[Server<'_>]) -> bool {
    group.servers.iter().any(|s| servers[*s].near != group.near)
}

#[cfg(test)]
mod tests;
