//! What the agent of a machine tells of its connections: after each minute the edges of that minute, as an agent with
//! `links.report = "1min"` does. Each end tells what it sees itself; the collector joins the two.

use tacit_agent::clock::Tick;
use tacit_agent::detect::event::Sender;
use tacit_wire::Num;
use tacit_wire::message::{Edge, EndpointDef, Links, OwnerKind, Protocol, SKETCH, Sketch};

use super::model::{Flow, Moment};
use super::noise::Noise;
use super::shop::{End, MACHINES, PATHS, Path};

/// A minute in milliseconds.
pub const MINUTE_MS: i64 = 60_000;
/// As agents with the capabilities of the drop-in see: with all owners.
const LEVEL: u8 = 2;

/// The minute that is going on at one machine.
#[derive(Debug)]
pub struct LinkBook {
    machine: usize,
    minute: Option<i64>,
    sums: [Sum; PATHS.len()],
}

/// What passed over a path.
#[derive(Debug, Clone, Copy, Default)]
struct Sum {
    connects: f64,
    failed: f64,
    sent: f64,
    received: f64,
    retransmits: f64,
    /// Seconds that the connections of this minute last, together.
    lasted: f64,
    active: f64,
    queue: f64,
}

impl Sum {
    fn add(&mut self, flow: &Flow) {
        self.connects += flow.connects;
        self.failed += flow.failed;
        self.sent += flow.sent;
        self.received += flow.received;
        self.retransmits += flow.retransmits;
        self.lasted += flow.lifetime * flow.connects;
        self.active = flow.active;
        self.queue = self.queue.max(flow.queue);
    }
}

impl LinkBook {
    /// Of the machine of this number.
    #[must_use]
    pub fn new(machine: usize) -> Self {
        Self { machine, minute: None, sums: [Sum::default(); PATHS.len()] }
    }

    /// Takes a second; the first one of a new minute gives the minute before.
    pub fn second(&mut self, at: Tick, moment: &Moment, sender: &Sender) -> Option<Links> {
        let minute = at.wall_ms.div_euclid(MINUTE_MS);
        let over = self.minute.replace(minute).filter(|before| *before != minute);
        let told = over.map(|before| self.tell(before, at, sender));
        for (sum, flow) in self.sums.iter_mut().zip(&moment.flows) {
            sum.add(flow);
        }
        told
    }

    fn tell(&mut self, minute: i64, at: Tick, sender: &Sender) -> Links {
        let (mut endpoints, mut edges) = (Vec::new(), Vec::new());
        for (number, (path, sum)) in (0..).zip(PATHS.iter().zip(&mut self.sums)) {
            let sum = std::mem::take(sum);
            for server in [false, true] {
                let (own, peer) = if server { (path.server, path.client) } else { (path.client, path.server) };
                if own != End::Machine(self.machine) {
                    continue;
                }
                let local = 2 * number;
                endpoints.push(end(local, own, if server { path.port } else { 0 }, Some(MACHINES[self.machine].unit)));
                endpoints.push(end(local + 1, peer, if server { 0 } else { path.port }, None));
                edges.push(edge(local, server, path, &sum, ports(number, minute, &sum)));
            }
        }
        Links {
            head: sender.head(at),
            start_ms: minute * MINUTE_MS,
            step_s: 60,
            level: LEVEL,
            overflows: 0,
            endpoints,
            edges,
            steady: 0,
        }
    }
}

fn end(id: u32, end: End, port: u16, owner: Option<&str>) -> EndpointDef {
    EndpointDef {
        id,
        address: end.address().to_owned(),
        port,
        owner: owner.map(str::to_owned),
        owner_kind: owner.map(|_| OwnerKind::Unit),
        scope: None,
    }
}

/// The sketch of client ports in a minute: the same from both ends.
fn ports(path: u32, minute: i64, sum: &Sum) -> Vec<u16> {
    let mut noise = Noise::new(minute.unsigned_abs().wrapping_mul(PATHS.len() as u64) + u64::from(path));
    let seen = (sum.connects as usize).min(SKETCH);
    let ports: Vec<u16> = (0..seen).map(|_| noise.port()).collect();
    Sketch::of(&ports).ports().to_vec()
}

fn edge(local: u32, server: bool, path: &Path, sum: &Sum, ports: Vec<u16>) -> Edge {
    let count = |value: f64| value.round() as u32;
    let (sent, received) = if server { (sum.received, sum.sent) } else { (sum.sent, sum.received) };
    // A connect that found a full queue never was a connection of the server.
    let of_client = |value: f64| if server { 0 } else { count(value) };
    let time = |seconds: f64| Num::quantised(seconds as f32);
    Edge {
        local,
        peer: local + 1,
        protocol: Protocol::Tcp,
        server,
        connects: count(sum.connects),
        failed: of_client(sum.failed),
        sent: sent.round() as u64,
        received: received.round() as u64,
        retransmits: of_client(sum.retransmits),
        rtt_p50: time(path.round_trip),
        rtt_p95: time(1.6 * path.round_trip),
        rtt_min: time(0.7 * path.round_trip),
        active: count(sum.active),
        lifetime: time(sum.lasted / sum.connects.max(1e-9)),
        accept_queue: server.then(|| count(sum.queue)),
        confidence: Num(1.0),
        ports,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::model::Shop;
    use crate::demo::shop::{API, BATCH, CACHE, DB};

    fn told(machine: usize, seconds: u64) -> Vec<Links> {
        let (mut shop, mut book) = (Shop::default(), LinkBook::new(machine));
        let sender = Sender { node: MACHINES[machine].name.parse().unwrap(), boot: tacit_wire::BootId([1; 16]) };
        let start = Tick { mono_ms: 1_000_000, wall_ms: 1_700_000_040_000 };
        (0..seconds).filter_map(|s| book.second(start.plus_ms(s * 1000), &shop.step(), &sender)).collect()
    }

    #[test]
    fn both_ends_tell_the_same_of_each_minute() {
        let (api, db) = (told(API, 200), told(DB, 200));
        assert_eq!((api.len(), db.len()), (3, 3));
        assert_eq!(api[0].start_ms % MINUTE_MS, 0);
        assert_eq!(api[1].start_ms, api[0].start_ms + MINUTE_MS);
        // Web servers come to the application, which goes to cache, database and payments.
        assert_eq!(api[1].edges.iter().map(|e| e.server).collect::<Vec<_>>(), [true, true, false, false, false]);
        let client = &api[1].edges[3];
        let peer = api[1].endpoints.iter().find(|e| e.id == client.peer).unwrap();
        assert_eq!((peer.address.as_str(), peer.port), (MACHINES[DB].address, 5432));
        let server = &db[1].edges[0];
        assert_eq!(
            (client.connects, client.sent, client.received, &client.ports),
            (server.connects, server.received, server.sent, &server.ports)
        );
        assert!(client.connects > 3000 && client.ports.len() == SKETCH && server.accept_queue == Some(0));
        assert_eq!((told(CACHE, 130)[0].edges.len(), told(BATCH, 130)[0].edges.len(), db[0].edges.len()), (1, 1, 2));
        for links in api.iter().chain(&db) {
            tacit_wire::codec::encode(links, tacit_wire::Encoding::Cbor).unwrap();
        }
    }
}
