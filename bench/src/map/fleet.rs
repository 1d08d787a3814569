//! Messages of nodes that do not exist: births, and minutes of edges told by both ends.

use anyhow::{Context as _, Result};
use tacit_collector::store::{Incoming, IncomingBody};
use tacit_wire::message::{
    Birth, Clock, Edge, EndpointDef, Head, Links, NodeIdentity, OwnerKind, Profile, Protocol, Sketch,
};
use tacit_wire::{BootId, Digest, NodeId, Num, Seq, SiteId, StreamId};

/// What happened on an edge in a minute.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Flow {
    /// Connections opened.
    pub connects: u32,
    /// Connects that failed.
    pub failed: u32,
    /// Bytes from client to server.
    pub sent: u64,
    /// Bytes from server to client.
    pub received: u64,
    /// Segments sent again.
    pub retransmits: u32,
    /// Median round trip, seconds.
    pub rtt_s: f32,
    /// Connections open at the end.
    pub active: u32,
    /// Mean lifetime, seconds.
    pub lifetime_s: f32,
}

/// One end's word about an edge.
#[derive(Debug, Clone, PartialEq)]
pub struct Half {
    /// Unit at this end.
    pub owner: String,
    /// Whether this end listens.
    pub server: bool,
    /// The other end's address.
    pub peer: String,
    /// The server's port.
    pub port: u16,
    /// The client's ports.
    pub ports: [u16; 4],
    /// What happened.
    pub flow: Flow,
}

/// The site of nodes that do not exist.
///
/// # Errors
/// Never.
pub fn site() -> Result<SiteId> {
    "default".parse().context("the site's name")
}

/// A birth on its way into the store.
///
/// # Errors
/// When the name is none.
pub fn birth(node: &str, address: &str, now_ms: i64) -> Result<Incoming> {
    let node: NodeId = node.parse().context("the node's name")?;
    let birth = Birth {
        boot: BootId([1; 16]),
        connection: 1,
        agent: env!("CARGO_PKG_VERSION").to_owned(),
        clock: Clock { wall_ms: now_ms, mono_ms: 60_000, synchronised: Some(true) },
        identity: NodeIdentity { hostname: node.to_string(), cores: 2, ..NodeIdentity::default() },
        addresses: vec![address.to_owned()],
        listeners: Vec::new(),
        epoch: 1,
        series: 0,
        dictionary: Digest::of(b""),
        models: Vec::new(),
        config: Digest::of(b""),
        capabilities: Vec::new(),
        outbox: Vec::new(),
        absent: Vec::new(),
        profile: Profile::Lean,
        interval_ms: 1000,
        tags: Vec::new(),
        node,
    };
    Ok(Incoming { site: site()?, received_ms: now_ms, bytes: 0, body: IncomingBody::Birth(Box::new(birth)) })
}

/// A minute of a node on its way into the store, written when the minute was over.
///
/// # Errors
/// When the name is none.
pub fn minute(node: &str, number: u64, start_ms: i64, halves: &[Half]) -> Result<Incoming> {
    let written_ms = start_ms + 61_000;
    let head = Head {
        node: node.parse().context("the node's name")?,
        boot: BootId([1; 16]),
        stream: StreamId([2; 8]),
        seq: Seq(number),
        oldest: Seq(1),
        wall_ms: written_ms,
        mono_ms: 60_000 + number * 60_000,
    };
    let (mut endpoints, mut edges) = (Vec::new(), Vec::new());
    for (n, half) in (0..).zip(halves) {
        let (here, there) = if half.server { (half.port, 0) } else { (0, half.port) };
        let end = |id, address: &str, port, owner: Option<&str>| EndpointDef {
            id,
            address: address.to_owned(),
            port,
            owner: owner.map(ToOwned::to_owned),
            owner_kind: owner.map(|_| OwnerKind::Unit),
            scope: None,
        };
        endpoints.push(end(2 * n, "", here, Some(&half.owner)));
        endpoints.push(end(2 * n + 1, &half.peer, there, None));
        edges.push(edge(n, half));
    }
    let links = Links { head, start_ms, step_s: 60, level: 2, overflows: 0, endpoints, edges, steady: 0 };
    Ok(Incoming { site: site()?, received_ms: written_ms, bytes: 0, body: IncomingBody::Links(Box::new(links)) })
}

fn edge(n: u32, half: &Half) -> Edge {
    let f = half.flow;
    let (sent, received) = if half.server { (f.received, f.sent) } else { (f.sent, f.received) };
    Edge {
        local: 2 * n,
        peer: 2 * n + 1,
        protocol: Protocol::Tcp,
        server: half.server,
        connects: f.connects,
        // A connect that failed is seen by its client alone, and so are, mostly, segments sent again.
        failed: if half.server { 0 } else { f.failed },
        sent,
        received,
        retransmits: if half.server { 0 } else { f.retransmits },
        rtt_p50: Num(f.rtt_s),
        rtt_p95: Num(f.rtt_s * 3.0),
        rtt_min: Num(f.rtt_s / 2.0),
        active: f.active,
        lifetime: Num(f.lifetime_s),
        accept_queue: half.server.then_some(0),
        confidence: Num(1.0),
        ports: Sketch::of(&half.ports).ports().to_vec(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ends_say_the_same() {
        let flow = Flow {
            connects: 3,
            failed: 1,
            sent: 10,
            received: 20,
            retransmits: 0,
            rtt_s: 0.001,
            active: 1,
            lifetime_s: 0.5,
        };
        let half =
            |server| Half { owner: "x".into(), server, peer: "10.0.0.1".into(), port: 80, ports: [1, 2, 3, 4], flow };
        let (client, server) = (edge(0, &half(false)), edge(0, &half(true)));
        assert_eq!((client.sent, client.received, client.failed), (server.received, server.sent, 1));
        assert_eq!(client.ports, server.ports);
        assert!(birth("not a name", "", 0).is_err());
    }
}
