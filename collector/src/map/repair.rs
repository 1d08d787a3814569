//! What halves lack or get wrong is put right before they are joined: ports that failed connects lost, owners of servers that only
//! births know, and directions on which two ends disagree.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::sync::Arc;

use tacit_wire::message::{Listener, OwnerKind, Protocol, Sketch};

use super::addresses::Addresses;
use super::half::{Half, NodeNo};
use super::names::plain;
use super::nodes::Nodes;
use super::pairs::End;

/// How long a destination is remembered without being used.
const KEPT_MS: i64 = 26 * 3_600_000;
/// Destinations on one host that are remembered; with two a lost port is not guessed any more.
const PLACES_MAX: usize = 4;
/// Hosts that clients connect to: what all nodes share evenly, and most and least of one. A node that has its share learns nothing new until old ones
/// end; one that scans a network uses up its own only.
const HOSTS_MAX: usize = 500_000;
const HOSTS_OF_NODE: usize = 4096;
const HOSTS_LEAST: usize = 64;
/// How sure an owner is that only a birth names, and one that a lost port is given to.
const SURE: f32 = 0.7;

/// What nodes listen on, as their births say.
#[derive(Debug, Default)]
pub struct Listeners {
    nodes: HashMap<NodeNo, HashMap<u16, Option<Arc<str>>>>,
}

impl Listeners {
    /// Takes over what the newest birth of a node says.
    pub fn set(&mut self, node: NodeNo, listeners: &[Listener]) {
        let mut ports: HashMap<u16, Option<Arc<str>>> = HashMap::new();
        for listener in listeners {
            let owner = listener.owner.as_deref().map(|o| plain(o.trim())).filter(|o| !o.is_empty()).map(Arc::from);
            // Two owners on different addresses of one port: either may be meant.
            ports
                .entry(listener.port)
                .and_modify(|known| *known = known.take().filter(|k| Some(k) == owner.as_ref()))
                .or_insert(owner);
        }
        if ports.is_empty() {
            self.nodes.remove(&node);
        } else {
            self.nodes.insert(node, ports);
        }
    }

    /// Whether a node listens on a port; `None` when it does not say on which.
    #[must_use]
    pub fn listens(&self, node: NodeNo, port: u16) -> Option<bool> {
        self.nodes.get(&node).map(|ports| ports.contains_key(&port))
    }

    /// Who listens on a port of a node.
    #[must_use]
    pub fn end(&self, node: NodeNo, protocol: Protocol, port: u16) -> Option<End> {
        if protocol != Protocol::Tcp {
            return None;
        }
        let owner = self.nodes.get(&node)?.get(&port)?.clone()?;
        Some(End { node, kind: kind_of(&owner), owner: Some(owner), port, via: None })
    }
}

/// A birth names an owner without saying what it is.
fn kind_of(owner: &str) -> OwnerKind {
    let unit = [".service", ".socket", ".scope", ".slice"].iter().any(|suffix| owner.ends_with(suffix));
    if unit { OwnerKind::Unit } else { OwnerKind::Executable }
}

/// A port that a client on a node connects to.
#[derive(Debug, Clone, PartialEq)]
struct Place {
    owner: Option<Arc<str>>,
    kind: OwnerKind,
    port: u16,
    at: i64,
}

/// A host that a node's clients connect to: transport, address, and the scope of a loopback.
type Host = (Protocol, IpAddr, u32);

/// Where clients connect to, by node and host: a failed blocking connect keeps nothing but that.
#[derive(Debug, Default)]
pub struct Destinations {
    nodes: HashMap<NodeNo, HashMap<Host, Vec<Place>>>,
}

impl Destinations {
    /// Gives client halves without a port the one port that their owner is known to use on that host; where there are several or
    /// none, the port stays unknown.
    pub fn recover(&mut self, halves: &mut [Half], at: i64) {
        for half in halves.iter().filter(|h| !h.server && h.port != 0 && !h.peer.is_unspecified()) {
            self.learn(half, at);
        }
        for half in halves.iter_mut().filter(|h| !h.server && h.port == 0) {
            let places = self.nodes.get(&half.node).and_then(|hosts| hosts.get(&host(half))).map(Vec::as_slice);
            // Where the list is full, one that is not on it may be meant.
            let places = places.filter(|p| p.len() < PLACES_MAX).unwrap_or_default();
            // Who is not known may be anybody on this node.
            let mut fitting = places.iter().filter(|p| half.owner.is_none() || p.owner == half.owner);
            let (Some(place), None) = (fitting.next(), fitting.next()) else { continue };
            half.port = place.port;
            if half.owner.is_none() && place.owner.is_some() {
                half.owner.clone_from(&place.owner);
                (half.owner_kind, half.figures.confidence) = (place.kind, SURE);
            }
        }
    }

    fn learn(&mut self, half: &Half, at: i64) {
        let share = share(self.nodes.len());
        let (hosts, host) = (self.nodes.entry(half.node).or_default(), host(half));
        if hosts.len() >= share && !hosts.contains_key(&host) {
            return;
        }
        let places = hosts.entry(host).or_default();
        if let Some(known) = places.iter_mut().find(|p| p.port == half.port && p.owner == half.owner) {
            known.at = known.at.max(at);
        } else if places.len() < PLACES_MAX {
            places.push(Place { owner: half.owner.clone(), kind: half.owner_kind, port: half.port, at });
        }
    }

    /// Forgets what was not used for long.
    pub fn forget(&mut self, now: i64) {
        self.nodes.retain(|_, hosts| {
            hosts.retain(|_, places| {
                places.retain(|p| now - p.at < KEPT_MS);
                !places.is_empty()
            });
            !hosts.is_empty()
        });
    }
}

/// Hosts that are remembered of one of so many nodes.
fn share(nodes: usize) -> usize {
    (HOSTS_MAX / nodes.max(1)).clamp(HOSTS_LEAST, HOSTS_OF_NODE)
}

/// The host that a client half is about.
fn host(half: &Half) -> Host {
    (half.protocol, half.peer, half.loop_scope())
}

/// Names servers that their own node saw without an owner.
pub fn name_servers(halves: &mut [Half], listeners: &Listeners) {
    for half in halves.iter_mut().filter(|h| h.server && h.owner.is_none() && h.scope == 0) {
        if let Some(End { owner, kind, .. }) = listeners.end(half.node, half.protocol, half.port) {
            (half.owner, half.owner_kind, half.figures.confidence) = (owner, kind, SURE);
        }
    }
}

/// The ports of one connection seen from one end: its own, the other's.
type Ports = (u16, u16);

/// Turns halves round whose node mistook its own direction: both ends say they are the client, or both the server. Who listens
/// on the port is the server; where births do not say, the lower port is.
pub fn set_directions(halves: &mut [Half], nodes: &Nodes, addresses: &Addresses, listeners: &Listeners, at: i64) {
    let other = |h: &Half| addresses.owner(h.node, nodes.site_of(h.node), h.peer, at);
    // Only a half of a single port can be turned: of several the other ends' ports are a sketch.
    let ports = |h: &Half| -> Option<Ports> {
        let &[client] = h.ports.ports() else { return None };
        (h.port != 0).then_some(if h.server { (h.port, client) } else { (client, h.port) })
    };
    // Who says that he is the server, or the client, of whom, and on which of the server's ports.
    let mut said: HashSet<(NodeNo, NodeNo, Protocol, bool, u16)> = HashSet::new();
    for half in &*halves {
        said.extend(other(half).map(|peer| (half.node, peer, half.protocol, half.server, half.port)));
    }
    // A birth says nothing of what listens in containers.
    for half in halves.iter_mut().filter(|h| h.scope == 0) {
        let (Some(peer), Some((own, theirs))) = (other(half), ports(half)) else { continue };
        if peer == half.node {
            continue;
        }
        // The other end says the same of itself: of its own port as the server, of ours as the client.
        let port = if half.server { theirs } else { own };
        if !said.contains(&(peer, half.node, half.protocol, half.server, port)) {
            continue;
        }
        let serves = match (listeners.listens(half.node, own), listeners.listens(peer, theirs)) {
            // Each is the server of some; these may be two connections.
            (Some(true), Some(true)) => continue,
            (Some(true), _) | (None, Some(false)) => true,
            (_, Some(true)) | (Some(false), None) => false,
            (None, None) | (Some(false), Some(false)) => own < theirs,
        };
        if serves != half.server {
            turn(half, own, theirs);
        }
    }
}

/// The same connection seen as the other direction.
fn turn(half: &mut Half, own: u16, theirs: u16) {
    half.server = !half.server;
    (half.port, half.ports) = if half.server { (own, Sketch::of(&[theirs])) } else { (theirs, Sketch::of(&[own])) };
    std::mem::swap(&mut half.figures.sent, &mut half.figures.received);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::map::fixtures::Fleet;

    fn listener(port: u16, owner: Option<&str>) -> Listener {
        Listener { address: "*".into(), port, owner: owner.map(Into::into) }
    }

    fn fleet() -> Fleet {
        Fleet::new(&[("web", "lab", &["10.0.0.1"]), ("db", "lab", &["10.0.0.2"])])
    }

    #[test]
    fn a_lost_port_is_found_when_only_one_can_be_meant() {
        let mut fleet = fleet();
        let mut destinations = Destinations::default();
        let failed = |fleet: &mut Fleet, owner: Option<&str>, peer: &str| {
            let mut half = fleet.client("web", "x", peer, 0, &[]);
            half.owner = owner.map(Arc::from);
            (half.figures.connects, half.figures.failed) = (0, 3);
            half
        };
        let mut halves = vec![
            fleet.client("web", "php", "10.0.0.2", 5432, &[1]),
            fleet.client("web", "cron", "10.0.0.3", 80, &[2]),
            fleet.client("web", "cron", "10.0.0.3", 443, &[3]),
            failed(&mut fleet, Some("php"), "10.0.0.2"),
            failed(&mut fleet, Some("cron"), "10.0.0.2"),
            failed(&mut fleet, None, "10.0.0.2"),
            failed(&mut fleet, Some("cron"), "10.0.0.3"),
            failed(&mut fleet, Some("php"), "10.0.0.9"),
        ];
        destinations.recover(&mut halves, 0);
        let told: Vec<_> = halves[3..].iter().map(|h| (h.port, h.owner.as_deref())).collect();
        // One that cron never used, one of two, and one that nobody used stay unknown.
        let expected =
            [(5432, Some("php")), (0, Some("cron")), (5432, Some("php")), (0, Some("cron")), (0, Some("php"))];
        assert_eq!(told, expected);
        // The next minute has only the failure: it is remembered where it belongs.
        let mut later = [failed(&mut fleet, Some("php"), "10.0.0.2")];
        destinations.recover(&mut later, 60_000);
        assert_eq!(later[0].port, 5432);
        destinations.forget(KEPT_MS + 1);
        assert!(destinations.nodes.is_empty());
    }

    #[test]
    fn a_node_that_scans_uses_up_its_own_share() {
        let mut fleet = fleet();
        let mut destinations = Destinations::default();
        let any = fleet.client("web", "scanner", "10.0.0.9", 80, &[1]);
        let scan = |n: u32| Half { peer: IpAddr::V4((0x0b00_0000 + n).into()), ..any.clone() };
        let mut halves: Vec<Half> = (0..2 * HOSTS_OF_NODE as u32).map(scan).collect();
        destinations.recover(&mut halves, 0);
        assert_eq!(destinations.nodes[&any.node].len(), HOSTS_OF_NODE);
        // Another node learns as ever, and the first one what it uses again.
        let mut failed = fleet.client("db", "backup", "10.0.0.1", 0, &[]);
        failed.figures.failed = 1;
        let mut halves = vec![fleet.client("db", "backup", "10.0.0.1", 22, &[1]), failed, scan(0)];
        destinations.recover(&mut halves, KEPT_MS - 1);
        assert_eq!(halves[1].port, 22);
        destinations.forget(KEPT_MS);
        assert_eq!(destinations.nodes.values().map(HashMap::len).collect::<Vec<_>>(), [1, 1]);
        assert_eq!([1, 100, 1000, 100_000].map(share), [HOSTS_OF_NODE, HOSTS_OF_NODE, 500, HOSTS_LEAST]);
    }

    #[test]
    fn births_name_servers() {
        let mut fleet = fleet();
        let mut listeners = Listeners::default();
        let on = [listener(5432, Some("postgresql.service")), listener(80, Some("a")), listener(80, Some("b"))];
        listeners.set(1, &on);
        let mut halves: Vec<Half> = [5432, 80, 22].map(|port| fleet.server("db", "x", port, "10.0.0.1", &[1])).into();
        halves.iter_mut().for_each(|h| h.owner = None);
        name_servers(&mut halves, &listeners);
        let owners: Vec<_> = halves.iter().map(|h| h.owner.as_deref()).collect();
        assert_eq!(owners, [Some("postgresql.service"), None, None]);
        assert_eq!(halves[0].owner_kind, OwnerKind::Unit);
        assert_eq!(
            (listeners.listens(1, 80), listeners.listens(1, 22), listeners.listens(0, 22)),
            (Some(true), Some(false), None)
        );
    }

    /// What each half is turned to: node, server, port, ports.
    fn turned(fleet: &mut Fleet, listeners: &Listeners, halves: &[Half]) -> Vec<(NodeNo, bool, u16, Vec<u16>)> {
        let mut halves = halves.to_vec();
        set_directions(&mut halves, &fleet.nodes, &fleet.addresses, listeners, fleet.at);
        halves.iter().map(|h| (h.node, h.server, h.port, h.ports.ports().to_vec())).collect()
    }

    #[test]
    fn who_listens_is_the_server() {
        let mut fleet = fleet();
        let mut listeners = Listeners::default();
        listeners.set(1, &[listener(50_000, None)]);
        // A service on a high port, both ends say they are the client.
        let client = fleet.client("web", "php", "10.0.0.2", 50_000, &[40_000]);
        let wrong = fleet.client("db", "worker", "10.0.0.1", 40_000, &[50_000]);
        let right = [(0, false, 50_000, vec![40_000]), (1, true, 50_000, vec![40_000])];
        assert_eq!(turned(&mut fleet, &listeners, &[client.clone(), wrong.clone()]), right);
        // Both say they are the server.
        let server = fleet.server("db", "worker", 50_000, "10.0.0.1", &[40_000]);
        let wrong_too = fleet.server("web", "php", 40_000, "10.0.0.2", &[50_000]);
        assert_eq!(turned(&mut fleet, &listeners, &[wrong_too, server.clone()]), right);
        // Without births the lower port is the server, and halves that agree stay.
        let none = Listeners::default();
        assert!(turned(&mut fleet, &none, &[client.clone(), wrong])[0].1, "40000 is lower");
        assert_eq!(turned(&mut fleet, &none, &[client, server]), right);
    }
}
