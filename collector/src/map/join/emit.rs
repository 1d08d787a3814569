//! From halves that met, or did not, to edges.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;

use tacit_wire::message::{OwnerKind, Protocol};

use super::{Group, Joined, JoinedEdge, Minute, OUTSIDE_MAX, Scene, Server, end_of, source_of};
use crate::map::half::{Half, NodeNo};
use crate::map::names::masked;
use crate::map::pairs::{End, Pairs};
use crate::map::vertex::{EdgeKey, VertexKey};
use crate::store::Figures;

/// The edges of a group: each of its clients with each of the servers behind its destination.
pub(super) fn emit(
    group: &Group<'_>,
    servers: &[Server<'_>],
    scene: Scene<'_>,
    pairs: &Pairs,
    minute: Minute<'_>,
    out: &mut Joined,
) {
    let via = group.via.then_some((group.to.ip, group.to.port));
    let mut ends: Vec<(End, Vec<&Half>)> = Vec::new();
    for server in group.servers.iter().map(|s| &servers[*s]) {
        let end = end_of(server.half, via);
        let place = ends.iter().position(|(e, _)| *e == end).unwrap_or_else(|| {
            ends.push((end, Vec::new()));
            ends.len() - 1
        });
        if !server.near {
            ends[place].1.push(server.half);
        }
    }
    if ends.is_empty() {
        if !group.near {
            lone_clients(group, scene, pairs, minute.at, out);
        }
        return;
    }
    // A server that spoke in a minute beside this one stands in for one that is late. Where another spoke of this minute, it is another
    // one: the service moved, or was not yet there.
    if ends.iter().any(|(_, halves)| !halves.is_empty()) {
        ends.retain(|(_, halves)| !halves.is_empty());
    }
    // Several servers share what the client counted as they counted it themselves.
    let weight = |halves: &Vec<&Half>| -> f64 {
        halves.iter().map(|h| 1.0 + h.figures.connects as f64 + h.figures.bytes() as f64).sum::<f64>().max(1e-9)
    };
    let whole: f64 = ends.iter().map(|(_, h)| weight(h)).sum();
    let mut from = 0.0;
    for (end, halves) in &ends {
        let to = from + weight(halves) / whole;
        for (n, client) in group.halves.iter().enumerate() {
            let mut figures = if group.near {
                // The client counted in its own minute; now only the server spoke.
                uncounted(halves, minute.at)
            } else {
                client.figures.part(from, to)
            };
            if n == 0 {
                add_server(&mut figures, halves, group.near);
            }
            let said = [(!group.near).then_some(client.node), (!halves.is_empty()).then_some(end.node)];
            if said != [None, None] {
                out.edges.push(edge(&end_of(client, None), end, group.to.protocol, said, figures, client, halves));
            }
        }
        from = to;
    }
}

fn uncounted(halves: &[&Half], at: i64) -> Figures {
    let mut all = Figures::none(at);
    for half in halves {
        all.add(&half.figures);
    }
    all.uncounted()
}

/// What only the server knows: its own segments sent again, and its queue.
fn add_server(figures: &mut Figures, halves: &[&Half], counted: bool) {
    for half in halves {
        if !counted {
            figures.retransmits = figures.retransmits.saturating_add(half.figures.retransmits);
        }
        figures.accept_queue = figures.accept_queue.max(half.figures.accept_queue);
        if figures.rtt_p50.is_nan() {
            (figures.rtt_p50, figures.rtt_p95) = (half.figures.rtt_p50, half.figures.rtt_p95);
            (figures.rtt_min, figures.rtt_weight) = (half.figures.rtt_min, half.figures.rtt_weight);
        }
    }
}

fn vertex_of_client(end: &End) -> VertexKey {
    end.owner.clone().map_or(VertexKey::Unattributed(end.node), |owner| VertexKey::Service(end.node, owner))
}

fn vertex_of_server(end: &End) -> VertexKey {
    end.owner.clone().map_or(VertexKey::Port(end.node, end.port), |owner| VertexKey::Service(end.node, owner))
}

fn edge(
    client: &End,
    server: &End,
    protocol: Protocol,
    said: [Option<NodeNo>; 2],
    mut figures: Figures,
    client_half: &Half,
    server_halves: &[&Half],
) -> JoinedEdge {
    figures.owned = client.owner.is_some() && server.owner.is_some();
    let of_server = server_halves.iter().map(|h| h.figures.confidence).fold(1.0, f32::min);
    figures.confidence = if figures.owned { client_half.figures.confidence.min(of_server) } else { 0.0 };
    let key =
        EdgeKey { client: vertex_of_client(client), server: vertex_of_server(server), protocol, port: server.port };
    JoinedEdge { key, kinds: [client.kind, server.kind], via: server.via, said, figures }
}

/// A destination that nobody else spoke of: known from before, a node's port, or outside.
fn lone_clients(group: &Group<'_>, scene: Scene<'_>, pairs: &Pairs, at: i64, out: &mut Joined) {
    let remembered = pairs.servers(&group.to);
    let sure = |e: &&End| e.via.is_some() || group.target.is_none_or(|t| t == e.node);
    let listener = |node| pairs.listener(node, group.to.protocol, group.to.port).cloned();
    let born = |node| scene.listeners.end(node, group.to.protocol, group.to.port);
    // What is known of a node's ports says nothing of those of its containers.
    let host = group.target.filter(|t| group.to.scope == 0 && scene.addresses.is_host(*t, group.to.ip, at));
    let known = remembered.iter().find(sure).cloned().or_else(|| host.and_then(listener));
    let is_new = known.is_none();
    let known = known.or_else(|| host.and_then(born));
    for client in group.halves {
        let said = [Some(client.node), None];
        let joined = if let Some(end) = &known {
            let mut joined = edge(&end_of(client, None), end, group.to.protocol, said, client.figures, client, &[]);
            // From memory or a birth: likely, not certain.
            joined.figures.confidence = joined.figures.confidence.min(0.9);
            joined
        } else {
            let server = match group.target {
                Some(node) => VertexKey::Port(node, group.to.port),
                None => VertexKey::outside(scene.nodes.site_of(client.node), group.to.ip, group.to.port, scene.names),
            };
            let end = end_of(client, None);
            let owned = end.owner.is_some() && group.target.is_none();
            let confidence = if owned { client.figures.confidence } else { 0.0 };
            let key =
                EdgeKey { client: vertex_of_client(&end), server, protocol: group.to.protocol, port: group.to.port };
            let figures = Figures { owned: false, confidence, ..client.figures };
            JoinedEdge { key, kinds: [end.kind, OwnerKind::Unattributed], via: None, said, figures }
        };
        out.edges.push(joined);
        if is_new {
            out.loose.push((*client).clone());
        }
    }
}

/// Ports with so many clients outside that these are shown by network.
pub(super) fn crowded(servers: &[Server<'_>]) -> HashSet<(NodeNo, u16)> {
    let mut counts: HashMap<(NodeNo, u16), HashSet<IpAddr>> = HashMap::new();
    for s in servers.iter().filter(|s| s.client.is_none()) {
        let clients = counts.entry((s.half.node, s.half.port)).or_default();
        if clients.len() <= OUTSIDE_MAX {
            clients.insert(s.half.peer);
        }
    }
    counts.into_iter().filter(|(_, c)| c.len() > OUTSIDE_MAX).map(|(k, _)| k).collect()
}

/// A server half whose client said nothing: known from before, a nameless part of a node, or outside.
pub(super) fn alone(
    server: &Server<'_>,
    scene: Scene<'_>,
    pairs: &Pairs,
    minute: Minute<'_>,
    crowded: &HashSet<(NodeNo, u16)>,
    out: &mut Joined,
) {
    let half = server.half;
    let end = end_of(half, None);
    let said = [None, Some(half.node)];
    let known = pairs.clients(&source_of(half)).into_iter().find(|c| server.client.is_none_or(|n| n == c.node));
    let loose = server.client.is_some() && known.is_none();
    let joined = if let Some(client) = known {
        // The client's node counts; when it is silent altogether, the server has to.
        let silent = !minute.spoke.contains(&client.node);
        let figures = if silent { half.figures } else { half.figures.uncounted() };
        let end = End { via: client.via, ..end };
        let mut joined = edge(&client, &end, half.protocol, said, figures, half, &[half]);
        joined.figures.confidence = joined.figures.confidence.min(0.9);
        joined
    } else {
        let site = scene.nodes.site_of(half.node);
        let client = match server.client {
            Some(node) => VertexKey::Unattributed(node),
            None if crowded.contains(&(half.node, half.port)) => {
                let bits = if half.peer.is_ipv4() { 24 } else { 48 };
                match VertexKey::outside(site, half.peer, 0, scene.names) {
                    VertexKey::External(..) => VertexKey::Network(site, masked(half.peer, bits), bits),
                    labelled => labelled,
                }
            }
            None => VertexKey::outside(site, half.peer, 0, scene.names),
        };
        let key = EdgeKey { client, server: vertex_of_server(&end), protocol: half.protocol, port: half.port };
        let confidence = if server.client.is_none() { half.figures.confidence } else { 0.0 };
        let figures = Figures { owned: false, confidence, ..half.figures };
        JoinedEdge { key, kinds: [OwnerKind::Unattributed, end.kind], via: None, said, figures }
    };
    out.edges.push(joined);
    if loose {
        out.loose.push(half.clone());
    }
}
