//! UDP sockets that only asked the kernel for a way.
//!
//! Before a program connects, the C library sorts the addresses of a name (RFC 3484): to each it connects a UDP socket, to the very port
//! that TCP is to use, reads which source address the kernel chose, and closes the socket. No packet leaves, but the kernel tells of its
//! end as of any other, and nothing in that event says how little it was for.
//!
//! So UDP sockets that no dump met are held for a moment. Each TCP connect to the same address and port explains one of them,
//! whichever is told first; what nothing explains is an edge. A resolver asked a thousand times over UDP and three times over TCP
//! keeps 997 of them; a service that is asked over both as often loses its UDP edge, which had no figures but that count.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::IpAddr;

use tacit_wire::message::Sketch;

use crate::links::message::Record;

/// Destinations of held sockets; one more is told at once.
const HELD: usize = 1024;
/// Destinations of TCP connects that are remembered; those beyond it explain only what is held already.
const CONNECTED: usize = 4096;

/// An address and a port.
type Place = (IpAddr, u16);

/// Sockets to one destination that wait to be explained.
#[derive(Debug)]
pub struct Held {
    /// The last of them.
    pub record: Record,
    /// Their own ports.
    pub ports: Sketch,
    /// How many of them are known since before the newest batch of events.
    pub sockets: u32,
    /// How many the newest batch told of: what explains them may not be told yet.
    fresh: u32,
}

/// Holds UDP sockets until it is clear what they were for.
#[derive(Debug, Default)]
pub struct Feelers {
    held: HashMap<Place, Held>,
    /// TCP connects that explain nothing yet, of this interval and of the one before.
    connects: HashMap<Place, [u32; 2]>,
}

impl Feelers {
    /// A UDP socket with a peer was closed that no dump had met. Returns whether it is held, or explained already; if not, it is to
    /// be told.
    pub fn hold(&mut self, record: &Record) -> bool {
        let place = (record.remote, record.remote_port);
        // Without a service's name there is no port either; nobody serves on that one.
        if record.remote_port == 0 || self.is_explained(place) {
            return true;
        }
        let full = self.held.len() >= HELD;
        let held = match self.held.entry(place) {
            Entry::Vacant(_) if full => return false,
            Entry::Vacant(new) => new.insert(Held { record: *record, ports: Sketch::default(), sockets: 0, fresh: 0 }),
            Entry::Occupied(known) => known.into_mut(),
        };
        held.record = *record;
        held.ports.insert(record.local_port);
        held.fresh = held.fresh.saturating_add(1);
        true
    }

    /// A client connects by TCP, or tried to: that explains one UDP socket to the same place.
    pub fn connected(&mut self, record: &Record) {
        let place = (record.remote, record.remote_port);
        let held = match record.remote_port {
            0 => only_one(&mut self.held, record.remote),
            _ => self.held.get_mut(&place),
        };
        match held {
            Some(held) if held.sockets > 0 => held.sockets -= 1,
            Some(held) if held.fresh > 0 => held.fresh -= 1,
            _ if record.remote_port == 0 => {}
            _ if self.connects.len() < CONNECTED || self.connects.contains_key(&place) => {
                let [now, _] = self.connects.entry(place).or_default();
                *now = now.saturating_add(1);
            }
            _ => {}
        }
    }

    /// A new batch of events begins: what explains a socket of the last one is told by now, or in the next dump.
    pub fn batch(&mut self) {
        for held in self.held.values_mut() {
            held.sockets = held.sockets.saturating_add(std::mem::take(&mut held.fresh));
        }
    }

    /// Those that nothing explains, after a dump.
    pub fn unexplained(&mut self) -> Vec<Held> {
        self.held.retain(|_, held| held.sockets > 0 || held.fresh > 0);
        let due: Vec<Place> = self.held.iter().filter(|(_, held)| held.sockets > 0).map(|(place, _)| *place).collect();
        let mut all = Vec::with_capacity(due.len());
        for place in due {
            let Some(held) = self.held.remove(&place) else { continue };
            if held.fresh > 0 {
                let ports = Sketch::of(&[held.record.local_port]);
                self.held.insert(place, Held { record: held.record, ports, sockets: 0, fresh: held.fresh });
            }
            all.push(held);
        }
        all
    }

    /// An interval ends.
    pub fn interval(&mut self) {
        self.connects.retain(|_, [now, before]| {
            (*before, *now) = (*now, 0);
            *before > 0
        });
    }

    fn is_explained(&mut self, place: Place) -> bool {
        let Some([now, before]) = self.connects.get_mut(&place) else { return false };
        let left = if *before > 0 { before } else { now };
        let explained = *left > 0;
        *left = left.saturating_sub(1);
        explained
    }
}

/// A refused connect that blocked has lost its port: it explains a socket where that can only have gone to one place.
fn only_one(held: &mut HashMap<Place, Held>, address: IpAddr) -> Option<&mut Held> {
    let mut there = held.iter_mut().filter(|((to, _), held)| *to == address && (held.sockets > 0 || held.fresh > 0));
    match (there.next(), there.next()) {
        (Some((_, held)), None) => Some(held),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::links::message::Transport;
    use std::net::Ipv4Addr;

    fn record(transport: Transport, address: u32, port: u16) -> Record {
        Record {
            transport,
            state: 7,
            local: Ipv4Addr::LOCALHOST.into(),
            local_port: 40_000,
            remote: Ipv4Addr::from_bits(address).into(),
            remote_port: port,
            cookie: 1,
            queue: 0,
            inode: 0,
            cgroup: 0,
            info: None,
        }
    }

    fn udp(port: u16) -> Record {
        record(Transport::Udp, 1, port)
    }

    fn tcp(port: u16) -> Record {
        record(Transport::Tcp, 1, port)
    }

    /// Ports and sockets that are edges after one more batch.
    fn edges(feelers: &mut Feelers) -> Vec<(u16, u32)> {
        feelers.batch();
        let mut all: Vec<_> = feelers.unexplained().iter().map(|h| (h.record.remote_port, h.sockets)).collect();
        all.sort_unstable();
        all
    }

    #[test]
    fn each_tcp_connect_explains_one_socket_whichever_is_told_first() {
        let mut feelers = Feelers::default();
        assert!(feelers.hold(&udp(8099)));
        feelers.connected(&tcp(8099));
        feelers.connected(&tcp(8098));
        assert!(feelers.hold(&udp(8098)));
        assert_eq!(edges(&mut feelers), []);
        // Of a resolver that is asked over TCP too, the rest is told.
        (0..1000).for_each(|_| assert!(feelers.hold(&udp(53))));
        (0..3).for_each(|_| feelers.connected(&tcp(53)));
        assert_eq!(edges(&mut feelers), [(53, 997)]);
        assert_eq!(edges(&mut feelers), [], "told once");
    }

    #[test]
    fn the_newest_batch_waits_for_what_may_explain_it() {
        let mut feelers = Feelers::default();
        feelers.hold(&udp(80));
        assert!(feelers.unexplained().is_empty());
        feelers.hold(&udp(53));
        feelers.batch();
        feelers.connected(&tcp(80));
        feelers.hold(&udp(53));
        let told: Vec<_> = feelers.unexplained().iter().map(|h| (h.record.remote_port, h.sockets)).collect();
        assert_eq!(told, [(53, 1)]);
        assert_eq!(edges(&mut feelers), [(53, 1)]);
    }

    #[test]
    fn a_connect_explains_what_is_told_within_two_intervals() {
        let mut feelers = Feelers::default();
        (0..3).for_each(|_| feelers.connected(&tcp(80)));
        feelers.interval();
        feelers.hold(&udp(80));
        assert_eq!(edges(&mut feelers), []);
        feelers.interval();
        feelers.hold(&udp(80));
        assert_eq!(edges(&mut feelers), [(80, 1)]);
        assert!(feelers.connects.is_empty());
    }

    #[test]
    fn a_connect_that_lost_its_port_explains_a_socket_when_only_one_place_can_be_meant() {
        let mut feelers = Feelers::default();
        feelers.hold(&udp(80));
        feelers.connected(&tcp(0));
        feelers.connected(&tcp(0));
        assert_eq!(edges(&mut feelers), []);
        feelers.hold(&udp(80));
        feelers.hold(&udp(81));
        feelers.connected(&tcp(0));
        assert_eq!(edges(&mut feelers), [(80, 1), (81, 1)]);
        assert!(feelers.hold(&udp(0)), "nobody serves there");
        assert_eq!(edges(&mut feelers), []);
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut feelers = Feelers::default();
        let held = (0..5000).filter(|n| feelers.hold(&record(Transport::Udp, *n, 53))).count();
        assert_eq!((held, feelers.held.len()), (HELD, HELD));
        (0..50_000).for_each(|n| feelers.connected(&record(Transport::Tcp, n, 80)));
        assert_eq!(feelers.connects.len(), CONNECTED);
        (0..5000).for_each(|n| feelers.connected(&record(Transport::Tcp, n, 53)));
        assert_eq!(edges(&mut feelers), [], "what is held is explained even so");
    }
}
