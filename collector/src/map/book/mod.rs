//! The map in memory: the newest hours, edge by edge, and what is needed to join the next minute.
//!
//! ```text
//! hearing   what nodes said: dictionaries, what they told last, who has to announce anew
//! at_once   what in a message cannot wait until it is joined
//! hours     figures of each edge, by minute while late halves may come, then by hour
//! ledger    edges and vertices by number
//! ```
//!
//! An hour is a function of the messages about its minutes: minutes are kept apart while late halves may come and are then
//! sealed into one figure an edge. Whatever is joined again replaces what was there. Everything is bounded: by node
//! ([`super::half::EDGES_MAX`] edges an interval and an hour) and in all ([`MAP_MAX`]).

mod at_once;
mod hearing;
mod hours;
mod ledger;
mod recent;
#[cfg(test)]
mod tests;

use std::collections::hash_map::Entry as Slot;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::net::IpAddr;

use tacit_wire::SiteId;

use hearing::Hearing;
use hours::Hour;
use ledger::{Ledger, Naming};

use super::addresses::Addresses;
use super::changes::Watcher;
use super::half::{EDGES_MAX, Half, NodeNo};
use super::join::{Joined, JoinedEdge, Minute, Scene, join};
use super::names::Names;
use super::nodes::Nodes;
use super::pairs::Pairs;
use super::repair::{self, Destinations, Listeners};
use super::steady::Steady;
use super::urgent::Urgent;
use super::vertex::VertexKey;
use crate::store::{AddressClaim, EdgeRecord, Figures, Listening, StoredLinks};

pub use hearing::Speaker;
pub use recent::{Pair, RecentEdge};

/// A minute and an hour in milliseconds.
pub const MINUTE_MS: i64 = 60_000;
/// An hour in milliseconds.
pub const HOUR_MS: i64 = 3_600_000;
/// How old a minute is when it is joined first: both halves are there by then.
pub const JOIN_AFTER_MS: i64 = 90_000;
/// Until when late halves are folded into a minute one by one; after that its hour is joined again as a whole. Batches of five
/// minutes come six minutes after their first.
pub const LATE_MS: i64 = 16 * MINUTE_MS;
/// Most edges and most vertices in memory.
pub const MAP_MAX: usize = 500_000;
/// How long an open but idle edge stays on the map without a word.
const IDLE_MS: i64 = 24 * HOUR_MS;
/// Distance of joins of one minute, which grows with each: late halves come one by one.
const REST_MS: i64 = 10_000;
const RESTS_MAX: i64 = 6;
/// Distance of hours that are joined again.
const REOPEN_MS: i64 = 120_000;
/// How old an hour may be to be joined again: its messages, and those of the hour before, are kept a little longer.
const LATEST_MS: i64 = 5 * HOUR_MS;
/// How long hours stay in memory.
const HOURS_KEPT_MS: i64 = 2 * HOUR_MS + LATE_MS;
/// Addresses outside whose traffic is counted, so that the busiest are named first.
const OUTSIDERS_MAX: usize = 4096;

/// The map in memory.
#[derive(Debug, Default)]
pub struct Book {
    home: Option<SiteId>,
    nodes: Nodes,
    addresses: Addresses,
    /// Names and infrastructure.
    pub names: Names,
    listeners: Listeners,
    destinations: Destinations,
    pairs: Pairs,
    hearing: Hearing,
    ledger: Ledger,
    hours: BTreeMap<i64, Hour>,
    loose: BTreeMap<i64, Vec<Half>>,
    watcher: Watcher,
    urgent: Urgent,
    dirty: BTreeSet<i64>,
    /// Hours that messages came for after they were sealed.
    late: BTreeSet<i64>,
    open_from: i64,
    reopened_at: i64,
    /// When each minute was joined last, and how often.
    joined_at: BTreeMap<i64, (i64, i64)>,
    /// Bytes of addresses outside that nobody named.
    outsiders: HashMap<IpAddr, u64>,
}

/// The start of an hour.
#[must_use]
pub const fn hour_of(at: i64) -> i64 {
    at.div_euclid(HOUR_MS) * HOUR_MS
}

impl Book {
    /// An empty book of a collector whose first site is `home`.
    #[must_use]
    pub fn new(names: Names, home: Option<SiteId>) -> Self {
        Self { names, home, ..Self::default() }
    }

    /// Takes over what the store remembers of edges.
    pub fn remember(&mut self, edges: &[EdgeRecord]) {
        self.ledger.remember(edges);
    }

    /// Hours from this one on are joined as their messages are heard: the last ones before a start may not have been complete.
    pub fn open_from(&mut self, hour: i64) {
        self.open_from = hour;
    }

    /// Takes over whose addresses are whose; who named an address first comes first.
    pub fn set_addresses(&mut self, claims: &[AddressClaim]) {
        self.addresses.renew(claims, &mut self.nodes, &self.names);
    }

    /// Takes over what nodes listen on.
    pub fn set_listeners(&mut self, all: &[Listening]) {
        for one in all {
            let node = self.nodes.number(&one.node, &one.site);
            self.listeners.set(node, &one.listeners);
        }
    }

    /// Notes that a message came; its minutes are to be joined. What in it cannot wait is looked at now: [`Book::signs`].
    pub fn hear(&mut self, message: &StoredLinks, now: i64) {
        let node = self.nodes.number(&message.links.head.node, &message.site);
        for minute in self.hearing.hear(node, message, now) {
            if self.is_open(minute, now) {
                self.dirty.insert(minute);
            } else {
                self.late.insert(hour_of(minute));
            }
        }
        self.look_at_once(node, message, now);
    }

    /// An hour that late messages came for and that is to be joined again, one in [`REOPEN_MS`]: a node that was away brings hours
    /// of them. [`Book::hear_again`] all messages of it and of the hour before, then [`Book::reopen`] it; until then it is told again, as
    /// the database may fail meanwhile.
    pub fn late_hour(&mut self, now: i64) -> Option<i64> {
        if now - self.reopened_at < REOPEN_MS {
            return None;
        }
        self.late.retain(|hour| now - hour < LATEST_MS);
        let hour = *self.late.first()?;
        self.reopened_at = now;
        Some(hour)
    }

    /// Takes in messages of an hour that is joined again, so that it is known what went on in it.
    pub fn hear_again(&mut self, messages: &[StoredLinks], steady: &mut Steady) {
        for message in messages {
            let node = self.nodes.number(&message.links.head.node, &message.site);
            self.hearing.hear_again(node, message, steady);
        }
    }

    /// An hour is joined again from its messages, and from what went on in it.
    pub fn reopen(&mut self, hour: i64, steady: Steady) {
        self.late.remove(&hour);
        self.hearing.replace(hour..hour + HOUR_MS, steady);
        let begun = self.begin(hour);
        self.hours.insert(hour, begun);
        self.dirty.extend((0..60).map(|n| hour + n * MINUTE_MS));
    }

    /// Whether a minute still stands apart, so that it can be joined again alone.
    fn is_open(&self, minute: i64, now: i64) -> bool {
        let young = now - minute < LATE_MS;
        let never = !self.hours.contains_key(&hour_of(minute)) && minute >= self.open_from;
        young || never
    }

    /// Minutes that are to be joined now, oldest first.
    #[must_use]
    pub fn due(&self, now: i64, most: usize) -> Vec<i64> {
        let rested =
            |m: &&i64| self.joined_at.get(m).is_none_or(|(at, times)| now - at >= REST_MS * (*times).min(RESTS_MAX));
        let old = |m: &&i64| now - **m >= JOIN_AFTER_MS;
        self.dirty.iter().filter(old).filter(rested).take(most).copied().collect()
    }

    /// Nodes that are to announce their endpoints again: we do not know all they speak of.
    pub fn to_ask(&mut self, now: i64) -> Vec<(SiteId, tacit_wire::NodeId)> {
        let nodes = &self.nodes;
        let name = |n: NodeNo| (nodes.site_name(nodes.site_of(n)).clone(), nodes.name(n).clone());
        self.hearing.ask(now).into_iter().map(name).collect()
    }

    /// Joins a minute from everything that was said about it.
    pub fn join(&mut self, at: i64, messages: &[StoredLinks], now: i64) {
        self.dirty.remove(&at);
        let (joined_at, times) = self.joined_at.entry(at).or_default();
        (*joined_at, *times) = (now, *times + 1);
        let numbered: Vec<(NodeNo, &StoredLinks)> =
            messages.iter().map(|m| (self.nodes.number(&m.links.head.node, &m.site), m)).collect();
        let mut halves = self.hearing.halves(at, &numbered);
        if halves.is_empty() && !self.hours.contains_key(&hour_of(at)) {
            return;
        }
        self.repair(&mut halves, at);
        let (before, after) = (at - MINUTE_MS, at + MINUTE_MS);
        let near: Vec<Half> = [before, after].iter().filter_map(|m| self.loose.get(m)).flatten().cloned().collect();
        let spoke: HashSet<NodeNo> = self.hearing.spoke(&[before, at, after]);
        let scene =
            Scene { nodes: &self.nodes, addresses: &self.addresses, names: &self.names, listeners: &self.listeners };
        let minute = Minute { at, halves: &halves, near: &near, spoke: &spoke };
        let joined = join(minute, scene, &mut self.pairs);
        self.take(at, joined, now);
    }

    fn repair(&mut self, halves: &mut [Half], at: i64) {
        for half in &*halves {
            if let Some(local) = half.local {
                self.addresses.observe(half.node, self.nodes.site_of(half.node), local, at);
            }
        }
        repair::name_servers(halves, &self.listeners);
        repair::set_directions(halves, &self.nodes, &self.addresses, &self.listeners, at);
        self.destinations.recover(halves, at);
    }

    fn take(&mut self, at: i64, joined: Joined, now: i64) {
        let hour = hour_of(at);
        if !self.hours.contains_key(&hour) {
            let begun = self.begin(hour);
            self.hours.insert(hour, begun);
        }
        let mut figures: HashMap<u32, Figures> = HashMap::with_capacity(joined.edges.len());
        for edge in &joined.edges {
            // Numbers are for what will be kept: a flood must not use them up.
            if !self.ledger.has(&edge.key) && !self.is_allowed(hour, edge.said) {
                continue;
            }
            let naming = Naming { nodes: &self.nodes, names: &self.names, home: self.home.as_ref() };
            let Some(number) = self.ledger.number(edge, at, naming) else { continue };
            if !self.has_room(hour, number, edge.said) {
                continue;
            }
            self.note_outsiders(edge);
            match figures.entry(number) {
                Slot::Occupied(mut there) => there.get_mut().add(&edge.figures),
                Slot::Vacant(free) => {
                    free.insert(edge.figures);
                }
            }
        }
        let Some(kept) = self.hours.get_mut(&hour) else { return };
        kept.saved = false;
        let before = kept.minutes.insert(at, figures.iter().map(|(n, f)| (*n, *f)).collect()).unwrap_or_default();
        self.ledger.count(&before, &figures);
        // The half that was alone beside it has found the other: name its edge again.
        for beside in [at - MINUTE_MS, at + MINUTE_MS] {
            if joined.crossed && self.loose.remove(&beside).is_some() && self.is_open(beside, now) {
                self.dirty.insert(beside);
            }
        }
        self.loose.insert(at, joined.loose);
    }

    /// Counts the traffic of addresses that have no name but themselves.
    fn note_outsiders(&mut self, edge: &JoinedEdge) {
        let bytes = edge.figures.bytes();
        for end in [&edge.key.client, &edge.key.server] {
            let VertexKey::External(_, ip, _) = end else { continue };
            let nameless = bytes > 0 && self.names.of_address(*ip).is_none();
            if nameless && (self.outsiders.len() < OUTSIDERS_MAX || self.outsiders.contains_key(ip)) {
                let sum = self.outsiders.entry(*ip).or_default();
                *sum = sum.saturating_add(bytes);
            }
        }
    }

    /// Addresses outside that carry traffic and have no given name, the busiest first.
    #[must_use]
    pub fn outsiders(&self) -> Vec<IpAddr> {
        let mut all: Vec<(u64, IpAddr)> = self.outsiders.iter().map(|(ip, bytes)| (*bytes, *ip)).collect();
        all.sort_unstable_by(|a, b| b.cmp(a));
        all.into_iter().map(|(_, ip)| ip).collect()
    }

    /// Whether any of these nodes may bring another edge in this hour; if not, that is counted.
    fn is_allowed(&mut self, hour: i64, said: [Option<NodeNo>; 2]) -> bool {
        let edges = self.hours.get(&hour).map(|h| &h.by_node);
        let full = |node: &NodeNo| edges.and_then(|e| e.get(node)).is_some_and(|e| e.len() >= EDGES_MAX);
        let allowed = said.iter().flatten().any(|node| !full(node));
        if !allowed {
            said.into_iter().flatten().for_each(|node| self.hearing.beyond(node));
        }
        allowed
    }

    /// Whether this edge may be in this hour: each node that says it has a bound of its own.
    fn has_room(&mut self, hour: i64, number: u32, said: [Option<NodeNo>; 2]) -> bool {
        let Some(kept) = self.hours.get_mut(&hour) else { return false };
        let mut room = false;
        for node in said.into_iter().flatten() {
            let edges = kept.by_node.entry(node).or_default();
            if edges.contains(&number) || edges.len() < EDGES_MAX {
                edges.insert(number);
                room = true;
            } else {
                self.hearing.beyond(node);
            }
        }
        room
    }
}
