//! Messages as a node sends them.

use std::time::{SystemTime, UNIX_EPOCH};

use tacit_wire::codec::{Encoding, Message, encode};
use tacit_wire::message::{
    Birth, Clock, ConfigState, Cost, Death, Edge, EndpointDef, Event, EventKind, Head, Links, NodeIdentity, OwnerKind,
    Phase, Profile, Promise, Protocol, Report, ResultBody, ResultMessage, Row, Summary,
};
use tacit_wire::{BootId, Digest, EventId, Num, Seq, SeriesDef, SeriesId, StreamId};

pub const SITE: &str = "lab";

/// The topic of what `node` says.
pub fn topic(node: &str, what: &str) -> String {
    format!("tacit/1/{SITE}/u/{node}/{what}")
}

pub fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("the clock is after 1970");
    i64::try_from(since.as_millis()).expect("it fits")
}

pub fn bytes(message: &impl Message) -> Vec<u8> {
    encode(message, Encoding::Cbor).expect("the message is within its bounds")
}

pub fn birth(node: &str, connection: u64) -> Birth {
    Birth {
        node: node.parse().unwrap(),
        boot: BootId([3; 16]),
        connection,
        agent: "0.1.0".into(),
        clock: Clock { wall_ms: now_ms(), mono_ms: 60_000, synchronised: Some(true) },
        identity: NodeIdentity { hostname: node.into(), cores: 2, ..NodeIdentity::default() },
        addresses: Vec::new(),
        listeners: Vec::new(),
        epoch: 1,
        series: 1,
        dictionary: Digest::of(b"dictionary"),
        models: Vec::new(),
        config: Digest::of(b"config"),
        capabilities: Vec::new(),
        outbox: Vec::new(),
        absent: Vec::new(),
        profile: Profile::Lean,
        interval_ms: 1000,
        tags: Vec::new(),
    }
}

pub fn death(node: &str, connection: u64, reason: Option<&str>) -> Death {
    Death { node: node.parse().unwrap(), boot: BootId([3; 16]), connection, reason: reason.map(str::to_owned) }
}

/// The streams of these tests begin at 1 and give nothing up, so that only what is stored moves their acknowledgement.
pub fn head(node: &str, stream: u8, seq: u64) -> Head {
    Head {
        node: node.parse().unwrap(),
        boot: BootId([3; 16]),
        stream: StreamId([stream; 8]),
        seq: Seq(seq),
        oldest: Seq(1),
        wall_ms: now_ms(),
        mono_ms: 61_000,
    }
}

pub fn event(node: &str, seq: u64, id: u8, phase: Phase) -> Event {
    Event {
        head: head(node, 1, seq),
        event: EventId([id; 8]),
        kind: EventKind::Anomaly,
        phase,
        onset_ms: now_ms(),
        onset_mono_ms: 61_000,
        end_ms: None,
        severity: Num(0.8),
        score: Num(1.0),
        rule: None,
        text: "disk reads are slow".into(),
        evidence: Vec::new(),
        processes: Vec::new(),
        context: Vec::new(),
        recording: None,
        model: None,
        stage: None,
        persisting: false,
        injected: false,
        fault: None,
        confidence: Num(0.0),
        p_value: Num(0.0),
    }
}

/// A minute whose number and only value are the message's number.
pub fn summary(node: &str, seq: u64) -> Summary {
    let series =
        SeriesDef { id: SeriesId(1), name: "system.cpu.utilization".into(), attributes: Vec::new(), unit: "1".into() };
    Summary {
        head: head(node, 2, seq),
        epoch: 1,
        start_ms: i64::try_from(seq).expect("a small number") * 60_000,
        step_s: 60,
        steps: 1,
        series: vec![series],
        rows: vec![Row { id: SeriesId(1), mean: vec![Num(seq as f32)], min: None, max: None }],
        bins: Vec::new(),
        lost_samples: 0,
        alarm: Vec::new(),
        left_out: 0,
    }
}

pub fn report(node: &str, seq: u64) -> Report {
    Report {
        head: head(node, 3, seq),
        config_version: 0,
        config: Digest::of(b"config"),
        config_state: ConfigState::Local,
        models: Vec::new(),
        cost: Cost { cpu: Num(0.001), pss: 6_000_000, ..Cost::default() },
        sources: Vec::new(),
        gaps: Vec::new(),
        promise: Promise { promised_per_day: Num(0.1), days: Num(1.0), ..Promise::default() },
        health: Vec::new(),
        absent: Vec::new(),
        series: 1,
        uptime_s: 60,
    }
}

/// The newest minute that the map is joined from at once.
pub fn settled_minute() -> i64 {
    (now_ms() - 150_000).div_euclid(60_000) * 60_000
}

/// One end's word about an edge: `owner` on `node` at one end, `peer` with the server's `port` at the other.
pub fn half(owner: &str, server: bool, peer: &str, port: u16, ports: &[u16]) -> (EndpointDef, EndpointDef, Edge) {
    let end = |address: &str, port, owner: Option<&str>| EndpointDef {
        id: 0,
        address: address.into(),
        port,
        owner: owner.map(str::to_owned),
        owner_kind: owner.map(|_| OwnerKind::Unit),
        scope: None,
    };
    let (here, there) = if server { (port, 0) } else { (0, port) };
    let edge = Edge {
        local: 0,
        peer: 0,
        protocol: Protocol::Tcp,
        server,
        connects: 10,
        failed: 0,
        sent: if server { 9000 } else { 1000 },
        received: if server { 1000 } else { 9000 },
        retransmits: 1,
        rtt_p50: Num(0.001),
        rtt_p95: Num(0.002),
        rtt_min: Num(0.0005),
        active: 2,
        lifetime: Num(0.25),
        accept_queue: server.then_some(1),
        confidence: Num(1.0),
        ports: ports.to_vec(),
    };
    (end("", here, Some(owner)), end(peer, there, None), edge)
}

/// A minute of edges; each brings its endpoints.
pub fn links(node: &str, seq: u64, start_ms: i64, halves: Vec<(EndpointDef, EndpointDef, Edge)>) -> Links {
    let (mut endpoints, mut edges) = (Vec::new(), Vec::new());
    for (n, (local, peer, edge)) in (0..).zip(halves) {
        endpoints.extend([EndpointDef { id: 2 * n, ..local }, EndpointDef { id: 2 * n + 1, ..peer }]);
        edges.push(Edge { local: 2 * n, peer: 2 * n + 1, ..edge });
    }
    Links { head: head(node, 4, seq), start_ms, step_s: 60, level: 2, overflows: 0, endpoints, edges, steady: 0 }
}

/// A part of the answer to a command.
pub fn result(node: &str, command: EventId, part: u32, last: bool, body: ResultBody) -> ResultMessage {
    ResultMessage { node: node.parse().unwrap(), command, part, last, body: Some(body) }
}
