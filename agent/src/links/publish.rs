//! From edges to `links` messages: ends are numbered in a dictionary and announced with their first use.

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

/// The shortest interval.
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
    /// The container's network namespace in which the address means something; 0 for the node's own.
    scope: u32,
}

/// The dictionary of ends.
#[derive(Debug, Default)]
pub struct Dictionary {
    next: u32,
    ends: HashMap<End, (u32, i64)>,
}

/// What was observed in a minute, beside its edges.
#[derive(Debug, Clone, Copy)]
pub struct Observed {
    /// Start of the minute, Unix milliseconds.
    pub start_ms: i64,
    /// Level of observation.
    pub level: u8,
    /// Events that were lost.
    pub overflows: u32,
}

/// The time that figures are of.
#[derive(Debug, Clone, Copy)]
pub struct Interval {
    /// Start, Unix milliseconds.
    pub start_ms: i64,
    /// Length.
    pub length_ms: i64,
}

/// What one message tells.
#[derive(Debug)]
pub struct Part {
    /// Edges and their figures.
    pub edges: Vec<(Key, Figures)>,
    /// Of which time.
    pub interval: Interval,
    /// How it was observed.
    pub observed: Observed,
    /// Edges that are not told because they go on as they were told.
    pub steady: u32,
}

impl Dictionary {
    /// The message.
    pub fn message(&mut self, part: Part, owners: &Owners, sender: &Sender, now: Tick) -> Links {
        let Part { edges, interval, observed, steady } = part;
        let hour = interval.start_ms.div_euclid(ANNOUNCED_MS);
        let mut endpoints = Vec::new();
        let mut edges: Vec<Edge> = edges
            .into_iter()
            .map(|(key, figures)| {
                let scope = owners.get(key.owner).scope;
                let local = End { address: key.local, port: key.port, owner: Some(key.owner), scope };
                // An address outside is the same from wherever it is seen; each namespace has a loopback of its own.
                let scope = if key.peer.is_some_and(|peer| peer.is_loopback()) { scope } else { 0 };
                let peer = End { address: key.peer, port: key.peer_port, owner: None, scope };
                let local = self.number(local, hour, owners, &mut endpoints);
                edge(local, self.number(peer, hour, owners, &mut endpoints), key, figures)
            })
            .collect();
        self.ends.retain(|_, (_, used)| hour - *used < FORGOTTEN_HOURS);
        edges.sort_unstable_by_key(|e| (e.local, e.peer));
        Links {
            head: sender.head(now),
            start_ms: interval.start_ms,
            step_s: u32::try_from(interval.length_ms / 1000).unwrap_or(u32::MAX),
            level: observed.level,
            overflows: observed.overflows,
            endpoints,
            edges,
            steady,
        }
    }

    /// Announces each end again with its next use.
    pub fn announce_all(&mut self) {
        self.ends.values_mut().for_each(|(_, used)| *used -= 1);
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
            owner: owner.filter(|o| !o.name.is_empty()).map(|o| o.name.to_string()),
            owner_kind: owner.map(|o| if o.name.is_empty() { OwnerKind::Unattributed } else { o.kind }),
            scope: (end.scope != 0).then_some(end.scope),
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
