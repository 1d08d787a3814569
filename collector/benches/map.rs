//! What a minute of the map costs: 2,000 nodes with 50 edges each, from messages as they are stored to edges with figures.

use std::collections::BTreeMap;

use divan::Bencher;
use divan::counter::ItemsCount;
use tacit_collector::map::book::{Book, HOUR_MS, JOIN_AFTER_MS, MINUTE_MS};
use tacit_collector::map::names::{MapConfig, Names};
use tacit_collector::store::{AddressClaim, StoredLinks};
use tacit_wire::message::{Edge, EndpointDef, Head, Links, OwnerKind, Protocol};
use tacit_wire::{BootId, Num, Seq, StreamId};

const NODES: u32 = 2000;
/// Edges of a node: half as client, half as server.
const EDGES: u32 = 50;

fn main() {
    divan::main();
}

fn address(node: u32) -> String {
    format!("10.{}.{}.1", node / 250, node % 250)
}

/// Every node connects to the 25 that follow it, through ten virtual addresses where `virtual_addresses`.
fn minute(at: i64, seq: u64, virtual_addresses: bool) -> Vec<StoredLinks> {
    (0..NODES).map(|node| message(node, at, seq, virtual_addresses)).collect()
}

fn message(node: u32, at: i64, seq: u64, virtual_addresses: bool) -> StoredLinks {
    let (mut endpoints, mut edges) = (Vec::new(), Vec::new());
    for n in 0..EDGES {
        let server = n % 2 == 1;
        let step = n / 2 + 1;
        let other = if server { (node + NODES - step) % NODES } else { (node + step) % NODES };
        let rewritten = virtual_addresses && step == 1;
        let peer = if rewritten && !server { format!("10.98.0.{}", node % 10) } else { address(other) };
        let client = if server { other } else { node };
        let end = |id, address: String, port, owner: Option<String>| EndpointDef {
            id,
            address,
            port,
            owner_kind: owner.as_ref().map(|_| OwnerKind::Unit),
            owner,
            scope: None,
        };
        let port = 5000 + step as u16;
        let (here, there) = if server { (port, 0) } else { (0, port) };
        endpoints.push(end(2 * n, String::new(), here, Some(format!("unit-{}.service", n % 6))));
        endpoints.push(end(2 * n + 1, peer, there, None));
        let ports = (0..4).map(|p| (32_768 + (client * 97 + step * 13 + p * 7) % 28_000) as u16).collect();
        edges.push(edge(n, server, ports));
    }
    let head = Head {
        node: format!("node-{node}").parse().expect("a node id"),
        boot: BootId([1; 16]),
        stream: StreamId([2; 8]),
        seq: Seq(seq),
        oldest: Seq(1),
        wall_ms: at,
        mono_ms: 1000,
    };
    let links = Links { head, start_ms: at, step_s: 60, level: 2, overflows: 0, endpoints, edges, steady: 0 };
    let id = i64::try_from(seq).expect("a small number") * i64::from(NODES) + i64::from(node);
    StoredLinks { id, site: "lab".parse().expect("a site id"), minute: at, links }
}

fn edge(n: u32, server: bool, ports: Vec<u16>) -> Edge {
    Edge {
        local: 2 * n,
        peer: 2 * n + 1,
        protocol: Protocol::Tcp,
        server,
        connects: 40,
        failed: 0,
        sent: 100_000,
        received: 900_000,
        retransmits: 1,
        rtt_p50: Num(0.0005),
        rtt_p95: Num(0.002),
        rtt_min: Num(0.0002),
        active: 4,
        lifetime: Num(1.5),
        accept_queue: server.then_some(0),
        confidence: Num(1.0),
        ports,
    }
}

fn claims() -> Vec<AddressClaim> {
    let one = |node| AddressClaim {
        site: "lab".parse().expect("a site id"),
        address: address(node),
        node: format!("node-{node}").parse().expect("a node id"),
        since: 0,
        until: None,
    };
    (0..NODES).map(one).collect()
}

/// Hearing, joining and settling one minute of a map that runs: this is what a minute of a core is spent on, but for decoding.
#[divan::bench(args = [false, true], sample_count = 20, sample_size = 1)]
fn minute_of_2000_nodes_50_edges(bencher: Bencher<'_, '_>, virtual_addresses: bool) {
    let names = Names::new(&MapConfig::default(), None).expect("the defaults are good");
    let mut book = Book::new(names, None);
    let start = 1000 * HOUR_MS;
    let mut n = 0;
    bencher
        .counter(ItemsCount::new(NODES * EDGES))
        .with_inputs(|| {
            n += 1;
            minute(start + n * MINUTE_MS, n as u64, virtual_addresses)
        })
        .bench_local_values(|messages| {
            let at = messages[0].minute;
            let now = at + JOIN_AFTER_MS;
            book.set_addresses(&claims());
            for message in &messages {
                book.hear(message, now);
            }
            book.join(at, &messages, now);
            let changes = book.settle(now);
            let (map, _) = book.read(at, at + MINUTE_MS);
            assert_eq!(map.edges.len() as u32, NODES * EDGES / 2);
            changes
        });
}

/// Reading the messages of a minute from CBOR, as the store does.
#[divan::bench(sample_count = 20, sample_size = 1)]
fn decode_minute(bencher: Bencher<'_, '_>) {
    let packed: Vec<Vec<u8>> =
        minute(0, 1, false).iter().map(|m| minicbor::to_vec(&m.links).expect("it is small")).collect();
    bencher.bench_local(|| {
        let all: BTreeMap<usize, Links> =
            packed.iter().map(|p| minicbor::decode(p).expect("it was written so")).enumerate().collect();
        all.len()
    });
}
