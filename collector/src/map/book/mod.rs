//! The map in memory: the newest hours, edge by edge, and what is needed to join the next minute.
//!
//! An hour is a function of the messages about its minutes: minutes are kept apart while late halves may come and are then
//! sealed into one figure an edge. Whatever is joined again replaces what was there. Everything is bounded: by node
//! ([`super::half::EDGES_MAX`] edges a minute and an hour) and in all ([`MAP_MAX`]).

mod hours;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use tacit_wire::SiteId;
use tacit_wire::message::OwnerKind;

use hours::Hour;

use super::addresses::Addresses;
use super::changes::Watcher;
use super::half::{Dictionaries, EDGES_MAX, Half, NodeNo, Unusable};
use super::join::{Joined, JoinedEdge, Minute, Scene, join};
use super::names::Names;
use super::nodes::Nodes;
use super::pairs::Pairs;
use super::vertex::{EdgeKey, VertexKey, edge_id};
use crate::store::{AddressClaim, EdgeRecord, Figures, StoredLinks, Vertex};

/// A minute and an hour in milliseconds.
pub const MINUTE_MS: i64 = 60_000;
/// An hour in milliseconds.
pub const HOUR_MS: i64 = 3_600_000;
/// How old a minute is when it is joined first: both halves are there by then.
pub const JOIN_AFTER_MS: i64 = 90_000;
/// Until when late halves are folded into a minute one by one; after that its hour is joined again as a whole.
pub const LATE_MS: i64 = 11 * MINUTE_MS;
/// Most edges and most vertices in memory.
pub const MAP_MAX: usize = 500_000;
/// How long an open but idle edge stays on the map without a word.
const IDLE_MS: i64 = 24 * HOUR_MS;
/// Distance of joins of one minute: late halves come one by one.
const REST_MS: i64 = 10_000;
/// Distance of hours that are joined again.
const REOPEN_MS: i64 = 120_000;
/// How old an hour may be to be joined again: its messages are kept a little longer.
const LATEST_MS: i64 = 5 * HOUR_MS;
/// How long hours stay in memory.
const HOURS_KEPT_MS: i64 = 2 * HOUR_MS + LATE_MS;

/// What is known of a node that sends links.
#[derive(Debug, Clone, Copy, Default)]
pub struct Speaker {
    /// Level of observation, as it said last.
    pub level: u8,
    /// First minute it spoke of, in this process.
    pub first_ms: i64,
    /// Last minute it spoke of.
    pub last_ms: i64,
    /// Close events it lost since the collector started.
    pub overflows: u64,
    /// Edges that could not be used since the collector started.
    pub unusable: u64,
    /// Edges beyond the bounds since the collector started.
    pub beyond: u64,
}

/// An edge in memory.
#[derive(Debug, Clone)]
struct Entry {
    key: EdgeKey,
    record: EdgeRecord,
    /// What it did since the collector started.
    total: Figures,
}

/// The map in memory.
#[derive(Debug, Default)]
pub struct Book {
    home: Option<SiteId>,
    nodes: Nodes,
    dictionaries: Dictionaries,
    addresses: Addresses,
    /// Names and infrastructure.
    pub names: Names,
    pairs: Pairs,
    vertices: Vec<(VertexKey, Vertex)>,
    vertex_numbers: HashMap<VertexKey, u32>,
    entries: Vec<Entry>,
    numbers: HashMap<EdgeKey, u32>,
    hours: BTreeMap<i64, Hour>,
    loose: BTreeMap<i64, Vec<Half>>,
    spoke: BTreeMap<i64, HashSet<NodeNo>>,
    speakers: HashMap<NodeNo, Speaker>,
    /// When edges were first seen, by a hash of their id.
    known: HashMap<u64, i64>,
    watcher: Watcher,
    dirty: BTreeSet<i64>,
    /// Hours that messages came for after they were sealed.
    late: BTreeSet<i64>,
    open_from: i64,
    reopened_at: i64,
    joined_at: BTreeMap<i64, i64>,
    oldest_known: Option<i64>,
}

fn hash(text: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    hasher.finish()
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
        for edge in edges.iter().take(MAP_MAX) {
            self.known.insert(hash(&edge.id), edge.first_seen_ms);
            self.oldest_known = Some(self.oldest_known.map_or(edge.first_seen_ms, |o| o.min(edge.first_seen_ms)));
        }
    }

    /// Hours from this one on are joined as their messages are heard: the last ones before a start may not have been complete.
    pub fn open_from(&mut self, hour: i64) {
        self.open_from = hour;
    }

    /// Takes over whose addresses are whose.
    pub fn set_addresses(&mut self, claims: &[AddressClaim]) {
        self.addresses = Addresses::new(claims, &mut self.nodes);
    }

    /// Notes that a message came; its minute is to be joined.
    pub fn hear(&mut self, message: &StoredLinks, now: i64) {
        let node = self.nodes.number(&message.links.head.node, &message.site);
        self.dictionaries.learn(node, message);
        let minute = message.minute;
        let speaker = self.speakers.entry(node).or_insert_with(|| Speaker { first_ms: minute, ..Speaker::default() });
        if minute >= speaker.last_ms {
            (speaker.last_ms, speaker.level) = (minute, message.links.level);
        }
        speaker.overflows = speaker.overflows.saturating_add(message.links.overflows.into());
        self.spoke.entry(minute).or_default().insert(node);
        if self.is_open(minute, now) {
            self.dirty.insert(minute);
        } else {
            self.late.insert(hour_of(minute));
        }
    }

    /// Joins again an hour that late messages came for, one in [`REOPEN_MS`]: a node that was away brings hours of them.
    pub fn reopen_late(&mut self, now: i64) {
        if now - self.reopened_at < REOPEN_MS {
            return;
        }
        if let Some(hour) = self.late.pop_first().filter(|h| now - h < LATEST_MS) {
            self.reopened_at = now;
            self.reopen(hour);
        }
    }

    /// Whether a minute still stands apart, so that it can be joined again alone.
    fn is_open(&self, minute: i64, now: i64) -> bool {
        let young = now - minute < LATE_MS;
        let never = !self.hours.contains_key(&hour_of(minute)) && minute >= self.open_from;
        young || never
    }

    /// An hour is joined again from its messages.
    fn reopen(&mut self, hour: i64) {
        let begun = self.begin(hour);
        self.hours.insert(hour, begun);
        self.dirty.extend((0..60).map(|n| hour + n * MINUTE_MS));
    }

    /// Minutes that are to be joined now, oldest first.
    #[must_use]
    pub fn due(&self, now: i64, most: usize) -> Vec<i64> {
        let rested = |m: &&i64| self.joined_at.get(m).is_none_or(|at| now - at >= REST_MS);
        let old = |m: &&i64| now - **m >= JOIN_AFTER_MS;
        self.dirty.iter().filter(old).filter(rested).take(most).copied().collect()
    }

    /// Joins a minute from everything that was said about it.
    pub fn join(&mut self, at: i64, messages: &[StoredLinks], now: i64) {
        self.dirty.remove(&at);
        self.joined_at.insert(at, now);
        let halves = self.halves(messages);
        if halves.is_empty() && !self.hours.contains_key(&hour_of(at)) {
            return;
        }
        let beside = [at - MINUTE_MS, at + MINUTE_MS];
        let near: Vec<Half> = beside.iter().filter_map(|m| self.loose.get(m)).flatten().cloned().collect();
        let spoke: HashSet<NodeNo> =
            [beside[0], at, beside[1]].iter().filter_map(|m| self.spoke.get(m)).flatten().copied().collect();
        for half in &halves {
            if let Some(local) = half.local {
                self.addresses.observe(half.node, local);
            }
        }
        let scene = Scene { nodes: &self.nodes, addresses: &self.addresses, names: &self.names };
        let minute = Minute { at, halves: &halves, near: &near, spoke: &spoke };
        let joined = join(minute, scene, &mut self.pairs);
        self.take(at, joined, now);
    }

    fn halves(&mut self, messages: &[StoredLinks]) -> Vec<Half> {
        let mut halves = Vec::new();
        let mut counts: HashMap<NodeNo, usize> = HashMap::new();
        for message in messages {
            let node = self.nodes.number(&message.links.head.node, &message.site);
            let before = halves.len();
            let already = counts.entry(node).or_default();
            let Unusable { beyond, unknown } = self.dictionaries.halves(node, message, *already, &mut halves);
            *already += halves.len() - before;
            if let Some(speaker) = self.speakers.get_mut(&node) {
                speaker.beyond += u64::from(beyond);
                speaker.unusable += u64::from(unknown);
            }
        }
        halves
    }

    fn take(&mut self, at: i64, joined: Joined, now: i64) {
        let hour = hour_of(at);
        if !self.hours.contains_key(&hour) {
            let begun = self.begin(hour);
            self.hours.insert(hour, begun);
        }
        let mut figures: HashMap<u32, Figures> = HashMap::with_capacity(joined.edges.len());
        for edge in joined.edges {
            let said = edge.said;
            // Numbers are for what will be kept: a flood must not use them up.
            if !self.numbers.contains_key(&edge.key) && !self.is_allowed(hour, said) {
                continue;
            }
            let Some(number) = self.number(edge.key.clone(), &edge, at) else { continue };
            if !self.has_room(hour, number, said) {
                continue;
            }
            match figures.entry(number) {
                std::collections::hash_map::Entry::Occupied(mut there) => there.get_mut().add(&edge.figures),
                std::collections::hash_map::Entry::Vacant(free) => {
                    free.insert(edge.figures);
                }
            }
        }
        let Some(kept) = self.hours.get_mut(&hour) else { return };
        kept.saved = false;
        let before = kept.minutes.insert(at, figures.iter().map(|(n, f)| (*n, *f)).collect()).unwrap_or_default();
        self.count(&before, &figures);
        // The half that was alone beside it has found the other: name its edge again.
        for beside in [at - MINUTE_MS, at + MINUTE_MS] {
            if joined.crossed && self.loose.remove(&beside).is_some() && self.is_open(beside, now) {
                self.dirty.insert(beside);
            }
        }
        self.loose.insert(at, joined.loose);
    }

    /// Keeps the totals of `/metrics`: they never go down, so what a second join takes away stays counted.
    fn count(&mut self, before: &[(u32, Figures)], now: &HashMap<u32, Figures>) {
        let before: HashMap<u32, &Figures> = before.iter().map(|(n, f)| (*n, f)).collect();
        for (number, figures) in now {
            let old = before.get(number);
            let grown = |new: u64, old: Option<u64>| new.saturating_sub(old.unwrap_or(0));
            let total = &mut self.entries[*number as usize].total;
            total.connects = total.connects.saturating_add(grown(figures.connects, old.map(|f| f.connects)));
            total.failed = total.failed.saturating_add(grown(figures.failed, old.map(|f| f.failed)));
        }
    }

    /// Whether any of these nodes may bring another edge in this hour; if not, that is counted.
    fn is_allowed(&mut self, hour: i64, said: [Option<NodeNo>; 2]) -> bool {
        let edges = self.hours.get(&hour).map(|h| &h.by_node);
        let full = |node: &NodeNo| edges.and_then(|e| e.get(node)).is_some_and(|e| e.len() >= EDGES_MAX);
        let allowed = said.iter().flatten().any(|node| !full(node));
        for node in said.into_iter().flatten().filter(|_| !allowed) {
            if let Some(speaker) = self.speakers.get_mut(&node) {
                speaker.beyond += 1;
            }
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
            } else if let Some(speaker) = self.speakers.get_mut(&node) {
                speaker.beyond += 1;
            }
        }
        room
    }

    fn number(&mut self, key: EdgeKey, edge: &JoinedEdge, at: i64) -> Option<u32> {
        if let Some(number) = self.numbers.get(&key) {
            let record = &mut self.entries[*number as usize].record;
            record.first_seen_ms = record.first_seen_ms.min(at);
            record.last_seen_ms = record.last_seen_ms.max(at);
            if let Some((ip, port)) = edge.via {
                record.via = Some(std::net::SocketAddr::new(ip, port).to_string());
            }
            return Some(*number);
        }
        if self.entries.len() >= MAP_MAX || self.vertices.len() + 2 > MAP_MAX {
            return None;
        }
        let client = self.vertex(&key.client, edge.kinds[0]);
        let server = self.vertex(&key.server, edge.kinds[1]);
        let id = edge_id(&client, &server, key.protocol, key.port);
        let first = self.known.get(&hash(&id)).copied();
        let record = EdgeRecord {
            first_seen_ms: first.unwrap_or(at).min(at),
            last_seen_ms: at,
            client,
            server,
            protocol: key.protocol,
            port: key.port,
            via: edge.via.map(|(ip, port)| std::net::SocketAddr::new(ip, port).to_string()),
            id,
        };
        let number = self.entries.len() as u32;
        self.numbers.insert(key.clone(), number);
        self.entries.push(Entry { key, record, total: Figures::none(at) });
        Some(number)
    }

    fn vertex(&mut self, key: &VertexKey, kind: OwnerKind) -> String {
        if let Some(number) = self.vertex_numbers.get(key) {
            return self.vertices[*number as usize].1.id.clone();
        }
        let fallback = self.nodes.site_name(0).clone();
        let home = self.home.as_ref().unwrap_or(&fallback);
        let vertex = key.describe(kind, &self.nodes, &self.names, home);
        let id = vertex.id.clone();
        self.vertex_numbers.insert(key.clone(), self.vertices.len() as u32);
        self.vertices.push((key.clone(), vertex));
        id
    }
}
