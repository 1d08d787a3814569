//! From edges to `links` messages: ends are announced in a dictionary, and only edges on which something happened are told.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::IpAddr;

use tacit_wire::Num;
use tacit_wire::message::{Edge, EndpointDef, Links, OwnerKind, Protocol};

use super::edges::{Figures, Key};
use super::message::Transport;
use super::owner::{OwnerId, Owners, UNATTRIBUTED};
use crate::clock::Tick;
use crate::detect::event::Sender;

/// Length of an interval.
pub const STEP_MS: i64 = 60_000;
/// An end is announced with its first use in each hour: what a collector missed it learns soon.
const ANNOUNCED_MS: i64 = 3_600_000;
/// An end that was not used for so many hours is forgotten; its number is not used again.
const FORGOTTEN_HOURS: i64 = 2;

/// One end, as it is told apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct End {
    address: Option<IpAddr>,
    port: u16,
    owner: Option<OwnerId>,
}

/// The dictionary of ends.
#[derive(Debug, Default)]
pub struct Dictionary {
    next: u32,
    ends: HashMap<End, (u32, i64)>,
}

/// What was observed in an interval, beside its edges.
#[derive(Debug, Clone, Copy)]
pub struct Observed {
    /// Start of the interval, Unix milliseconds.
    pub start_ms: i64,
    /// Level of observation.
    pub level: u8,
    /// Events that were lost.
    pub overflows: u32,
}

impl Dictionary {
    /// The message of an interval; none when there is nothing to tell.
    pub fn message(
        &mut self,
        edges: HashMap<Key, Figures>,
        owners: &Owners,
        observed: Observed,
        sender: &Sender,
        now: Tick,
    ) -> Option<Links> {
        let hour = observed.start_ms.div_euclid(ANNOUNCED_MS);
        let mut endpoints = Vec::new();
        let mut edges: Vec<Edge> = edges
            .into_iter()
            .map(|(key, figures)| {
                let local = End { address: key.local, port: key.port, owner: Some(key.owner) };
                let peer = End { address: key.peer, port: key.peer_port, owner: None };
                let local = self.number(local, hour, owners, &mut endpoints);
                edge(local, self.number(peer, hour, owners, &mut endpoints), key, figures)
            })
            .collect();
        self.ends.retain(|_, (_, used)| hour - *used < FORGOTTEN_HOURS);
        edges.sort_unstable_by_key(|e| (e.local, e.peer));
        (!edges.is_empty() || observed.overflows > 0).then(|| Links {
            head: sender.head(now),
            start_ms: observed.start_ms,
            step_s: (STEP_MS / 1000) as u32,
            level: observed.level,
            overflows: observed.overflows,
            endpoints,
            edges,
        })
    }

    fn number(&mut self, end: End, hour: i64, owners: &Owners, announced: &mut Vec<EndpointDef>) -> u32 {
        let id = match self.ends.entry(end) {
            Entry::Occupied(mut known) => {
                let (id, used) = known.get_mut();
                if *used == hour {
                    return *id;
                }
                *used = hour;
                *id
            }
            Entry::Vacant(new) => {
                let id = self.next;
                self.next = self.next.wrapping_add(1);
                new.insert((id, hour));
                id
            }
        };
        let owner = end.owner.map(|id| owners.get(id));
        announced.push(EndpointDef {
            id,
            address: end.address.map(|a| a.to_string()).unwrap_or_default(),
            port: end.port,
            owner: owner.filter(|_| end.owner != Some(UNATTRIBUTED)).map(|o| o.name.to_string()),
            owner_kind: owner.map(|o| if o.name.is_empty() { OwnerKind::Unattributed } else { o.kind }),
        });
        id
    }
}

fn edge(local: u32, peer: u32, key: Key, mut figures: Figures) -> Edge {
    let [rtt_p50, rtt_p95, rtt_min] = figures.round_trips().unwrap_or([f32::NAN; 3]).map(Num::quantised);
    let lifetime = if figures.ended > 0 { (figures.lived_s / f64::from(figures.ended)) as f32 } else { f32::NAN };
    Edge {
        local,
        peer,
        protocol: match key.transport {
            Transport::Tcp => Protocol::Tcp,
            Transport::Udp => Protocol::Udp,
        },
        server: key.server,
        connects: figures.connects,
        failed: figures.failed,
        sent: figures.sent,
        received: figures.received,
        retransmits: figures.retransmits,
        rtt_p50,
        rtt_p95,
        rtt_min,
        active: figures.active,
        lifetime: Num::quantised(lifetime),
        accept_queue: figures.accept_queue,
        confidence: Num::quantised(if key.owner == UNATTRIBUTED { 0.0 } else { figures.confidence() }),
        ports: figures.ports.ports().to_vec(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::Root;
    use std::net::Ipv4Addr;

    #[test]
    fn ends_are_announced_once_an_hour() {
        let owners = Owners::new(&Root::new("/nonexistent"));
        let sender = Sender { node: "n".parse().expect("an id"), boot: Default::default() };
        let mut dictionary = Dictionary::default();
        let key = Key {
            transport: Transport::Tcp,
            server: false,
            local: None,
            port: 0,
            owner: UNATTRIBUTED,
            peer: Some(Ipv4Addr::LOCALHOST.into()),
            peer_port: 80,
        };
        let mut at = |minute: i64| {
            let mut figures = Figures::default();
            figures.connects = 3;
            let edges = HashMap::from([(key, figures)]);
            let observed = Observed { start_ms: minute * STEP_MS, level: 1, overflows: 0 };
            dictionary.message(edges, &owners, observed, &sender, Tick::default()).expect("an edge")
        };
        let first = at(60);
        assert_eq!((first.endpoints.len(), first.edges.len(), first.start_ms), (2, 1, 3_600_000));
        assert_eq!(first.endpoints[0].owner_kind, Some(OwnerKind::Unattributed));
        assert!(at(119).endpoints.is_empty());
        assert_eq!(at(120).endpoints, first.endpoints, "the same numbers");
        let nothing = Observed { start_ms: 0, level: 1, overflows: 0 };
        assert_eq!(dictionary.message(HashMap::new(), &owners, nothing, &sender, Tick::default()), None);
    }
}
