//! The map in memory: the newest hours, edge by edge, and what is needed to join the next minute.
//!
//! An hour is a function of the messages about its minutes: minutes are kept apart while late halves may come and are then
//! sealed into one figure an edge. Whatever is joined again replaces what was there. Everything is bounded: by node
//! ([`super::half::EDGES_MAX`] edges a minute and an hour) and in all ([`MAP_MAX`]).

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use tacit_wire::SiteId;
use tacit_wire::message::OwnerKind;

use super::addresses::Addresses;
use super::changes::Watcher;
use super::half::{Dictionaries, EDGES_MAX, Half, NodeNo, Unusable};
use super::join::{Joined, JoinedEdge, Minute, Scene, join};
use super::names::Names;
use super::nodes::Nodes;
use super::pairs::Pairs;
use super::vertex::{EdgeKey, VertexKey, edge_id};
use crate::store::{
    AddressClaim, EdgeFigures, EdgeHours, EdgeRecord, Figures, MapChange, MapHour, StoredLinks, Vertex,
};

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

/// An hour in memory.
#[derive(Debug, Default)]
struct Hour {
    minutes: BTreeMap<i64, Vec<(u32, Figures)>>,
    sealed: HashMap<u32, Figures>,
    by_node: HashMap<NodeNo, HashSet<u32>>,
    saved: bool,
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

    /// A new hour: what is open and idle is still there.
    fn begin(&self, hour: i64) -> Hour {
        let mut begun = Hour::default();
        let Some(before) = self.hours.get(&(hour - HOUR_MS)) else { return begun };
        for (number, figures) in before.whole() {
            if figures.active > 0 && hour - figures.last_ms < IDLE_MS {
                let idle = Figures {
                    active: figures.active,
                    owned: figures.owned,
                    confidence: figures.confidence,
                    ..Figures::none(figures.last_ms)
                };
                begun.sealed.insert(number, idle);
            }
        }
        begun
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

    /// Seals minutes that are old, looks for changes in those that have settled, and forgets what is no longer needed.
    pub fn settle(&mut self, now: i64) -> Vec<MapChange> {
        for hour in self.hours.values_mut() {
            let old: Vec<i64> = hour.minutes.range(..now - LATE_MS).map(|(m, _)| *m).collect();
            for minute in old.into_iter().filter(|m| !self.dirty.contains(m)) {
                let Some(figures) = hour.minutes.remove(&minute) else { continue };
                for (number, figures) in figures {
                    hour.sealed.entry(number).and_modify(|f| f.add(&figures)).or_insert(figures);
                }
            }
        }
        let changes = self.look(now);
        self.joined_at = self.joined_at.split_off(&(now - 6 * HOUR_MS));
        self.loose = self.loose.split_off(&(now - LATE_MS - 2 * MINUTE_MS));
        self.spoke = self.spoke.split_off(&(now - 6 * HOUR_MS));
        changes
    }

    fn look(&mut self, now: i64) -> Vec<MapChange> {
        let mut changes = Vec::new();
        let settled = (now - super::changes::SETTLED_MS).div_euclid(MINUTE_MS) * MINUTE_MS;
        for minute in self.watcher.due(settled) {
            let figures: HashMap<u32, Figures> = self
                .hours
                .get(&hour_of(minute))
                .and_then(|h| h.minutes.get(&minute))
                .map(|list| list.iter().copied().collect())
                .unwrap_or_default();
            let entries = &self.entries;
            let record = |n: u32| &entries[n as usize].record;
            // A map without a past has nothing new on it.
            let is_new = |n: u32| {
                let entry = &entries[n as usize];
                let known = self.known.contains_key(&hash(&entry.record.id));
                let young = [&entry.key.client, &entry.key.server]
                    .iter()
                    .filter_map(|v| v.node())
                    .any(|node| self.speakers.get(&node).is_some_and(|s| minute - s.first_ms < HOUR_MS));
                !known && !young && self.oldest_known.is_some_and(|o| minute - o >= HOUR_MS)
            };
            let speaks = |n: u32| {
                let key = &entries[n as usize].key;
                let ends = [&key.client, &key.server];
                ends.iter()
                    .filter_map(|v| v.node())
                    .any(|node| self.speakers.get(&node).is_some_and(|s| minute - s.last_ms < 5 * MINUTE_MS))
            };
            changes.extend(self.watcher.look(minute, &figures, record, is_new, speaks));
            for number in figures.keys() {
                let record = &self.entries[*number as usize].record;
                if self.known.len() < 2 * MAP_MAX {
                    self.known.entry(hash(&record.id)).or_insert(record.first_seen_ms);
                    let first = record.first_seen_ms;
                    self.oldest_known = Some(self.oldest_known.map_or(first, |o| o.min(first)));
                }
            }
        }
        changes
    }

    /// The next hour that is complete and not stored yet.
    #[must_use]
    pub fn to_save(&self, now: i64) -> Option<MapHour> {
        let complete = |(start, hour): &(&i64, &Hour)| {
            let dirty = self.dirty.range(**start..**start + HOUR_MS).next().is_some();
            !hour.saved && !dirty && now - **start >= HOUR_MS + LATE_MS
        };
        let (start, hour) = self.hours.iter().find(complete)?;
        Some(self.pack(*start, &hour.whole()))
    }

    fn pack(&self, hour: i64, figures: &HashMap<u32, Figures>) -> MapHour {
        let mut used = BTreeSet::new();
        let mut edges = Vec::with_capacity(figures.len());
        for (number, figures) in figures {
            let entry = &self.entries[*number as usize];
            used.extend([&entry.key.client, &entry.key.server].map(|v| self.vertex_numbers[v]));
            edges.push(EdgeFigures { edge: entry.record.clone(), figures: *figures });
        }
        edges.sort_by(|a, b| a.edge.id.cmp(&b.edge.id));
        let vertices = used.into_iter().map(|n| self.vertices[n as usize].1.clone()).collect();
        MapHour { hour, vertices, edges }
    }

    /// An hour was stored.
    pub fn saved(&mut self, hour: i64, now: i64) {
        if let Some(kept) = self.hours.get_mut(&hour) {
            kept.saved = true;
            kept.by_node = HashMap::new();
        }
        self.hours.retain(|start, h| !h.saved || now - start < HOURS_KEPT_MS);
        self.pairs.forget(now);
        self.compact();
    }

    /// Edges that no hour in memory has are forgotten here; the store remembers them.
    fn compact(&mut self) {
        let mut used: BTreeSet<u32> = self.watcher.edges().collect();
        for hour in self.hours.values() {
            used.extend(hour.sealed.keys());
            used.extend(hour.minutes.values().flatten().map(|(n, _)| *n));
        }
        if used.len() * 2 > self.entries.len() {
            return;
        }
        let moved: HashMap<u32, u32> = used.iter().zip(0..).map(|(old, new)| (*old, new)).collect();
        let entries: Vec<Entry> = used.iter().map(|n| self.entries[*n as usize].clone()).collect();
        for hour in self.hours.values_mut() {
            hour.sealed = hour.sealed.drain().map(|(n, f)| (moved[&n], f)).collect();
            for (number, _) in hour.minutes.values_mut().flatten() {
                *number = moved[number];
            }
            for edges in hour.by_node.values_mut() {
                *edges = edges.iter().filter_map(|n| moved.get(n).copied()).collect();
            }
        }
        self.watcher.renumber(&moved);
        self.numbers = entries.iter().zip(0..).map(|(e, n)| (e.key.clone(), n)).collect();
        let keys: BTreeSet<&VertexKey> = entries.iter().flat_map(|e| [&e.key.client, &e.key.server]).collect();
        let vertices: Vec<_> = keys.iter().map(|k| self.vertices[self.vertex_numbers[*k] as usize].clone()).collect();
        self.vertex_numbers = vertices.iter().zip(0..).map(|(v, n)| (v.0.clone(), n)).collect();
        self.vertices = vertices;
        self.entries = entries;
    }

    /// The hours in memory that overlap a time, added up, and which they are.
    #[must_use]
    pub fn read(&self, from: i64, to: i64) -> (MapHour, Vec<i64>) {
        let mut sum: HashMap<u32, Figures> = HashMap::new();
        let mut hours = Vec::new();
        for (start, hour) in self.hours.range(hour_of(from)..to) {
            hours.push(*start);
            for (number, figures) in hour.whole() {
                sum.entry(number).and_modify(|f| f.add(&figures)).or_insert(figures);
            }
        }
        (self.pack(hour_of(from), &sum), hours)
    }

    /// One edge in the hours in memory.
    #[must_use]
    pub fn history(&self, id: &str) -> Option<EdgeHours> {
        let number = self.entries.iter().position(|e| e.record.id == id)? as u32;
        let hours = self.hours.iter().filter_map(|(start, h)| Some((*start, h.whole().remove(&number)?)));
        Some((self.entries[number as usize].record.clone(), hours.collect()))
    }

    /// Nodes that send links, with what is known of them.
    pub fn speakers(&self) -> impl Iterator<Item = (&tacit_wire::NodeId, &Speaker)> {
        self.speakers.iter().map(|(n, s)| (self.nodes.name(*n), s))
    }

    /// Addresses that several nodes claim.
    #[must_use]
    pub fn conflicts(&self) -> &[super::addresses::Conflict] {
        self.addresses.conflicts()
    }

    /// Clients, servers, connects and failed connects since the collector started, busiest first, at most `most`.
    #[must_use]
    pub fn totals(&self, most: usize) -> Vec<(&str, &str, u16, u64, u64)> {
        let busy = |e: &&Entry| e.total.connects > 0 || e.total.failed > 0;
        let mut all: Vec<&Entry> = self.entries.iter().filter(busy).collect();
        all.sort_by_key(|e| std::cmp::Reverse(e.total.connects.saturating_add(e.total.failed)));
        let line = |e: &'_ Entry| (e.record.port, e.total.connects, e.total.failed);
        all.into_iter()
            .take(most)
            .map(|e| {
                let (port, connects, failed) = line(e);
                (e.record.client.as_str(), e.record.server.as_str(), port, connects, failed)
            })
            .collect()
    }
}

impl Hour {
    /// Everything in it, minute figures and sealed ones.
    fn whole(&self) -> HashMap<u32, Figures> {
        let mut all = self.sealed.clone();
        for (number, figures) in self.minutes.values().flatten() {
            all.entry(*number).and_modify(|f| f.add(figures)).or_insert(*figures);
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::map::fixtures::{claims, said};
    use crate::map::names::MapConfig;

    const START: i64 = 1000 * HOUR_MS;

    fn book() -> Book {
        let names = Names::new(&MapConfig::default(), None).unwrap();
        let mut book = Book::new(names, None);
        book.open_from(START);
        book.set_addresses(&claims(&[("web", "10.0.0.1"), ("db", "10.0.0.2")]));
        book
    }

    fn minute(at: i64) -> Vec<StoredLinks> {
        vec![said(1, "web", at, false, "10.0.0.2", 5432, 2), said(2, "db", at, true, "10.0.0.1", 5432, 2)]
    }

    fn hear_and_join(book: &mut Book, at: i64, messages: &[StoredLinks], now: i64) {
        for message in messages {
            book.hear(message, now);
        }
        assert!(book.due(now, 1000).contains(&at));
        book.join(at, messages, now);
    }

    #[test]
    fn an_hour_is_what_was_said_about_it_however_often_it_is_joined() {
        let mut book = book();
        let (at, messages) = (START + MINUTE_MS, minute(START + MINUTE_MS));
        let now = at + JOIN_AFTER_MS;
        // One half first, then both, then both again.
        hear_and_join(&mut book, at, &messages[..1], now);
        hear_and_join(&mut book, at, &messages, now + REST_MS);
        hear_and_join(&mut book, at, &messages, now + 2 * REST_MS);
        assert!(book.to_save(now).is_none(), "the hour goes on");
        let later = START + HOUR_MS + LATE_MS;
        book.settle(later);
        let hour = book.to_save(later).unwrap();
        let edges: Vec<_> = hour.edges.iter().map(|e| (e.edge.id.as_str(), e.figures.connects)).collect();
        assert_eq!(edges, [("web/x>db/x:tcp/5432", 10)]);
        book.saved(START, later);
        assert!(book.to_save(later).is_none());
        // A node that was away says something about it: the hour is joined again.
        book.hear(&messages[0], later);
        book.reopen_late(later);
        assert!(book.due(later, 1000).contains(&at) && book.to_save(later).is_none());
        for minute in book.due(later, 1000) {
            book.join(minute, if minute == at { &messages } else { &[] }, later);
        }
        // As text: absent values are no equals.
        assert_eq!(format!("{:?}", book.to_save(later).unwrap()), format!("{hour:?}"));
    }

    #[test]
    fn what_is_open_and_idle_stays() {
        let mut book = book();
        let at = START + 59 * MINUTE_MS;
        hear_and_join(&mut book, at, &minute(at), at + JOIN_AFTER_MS);
        let next = START + HOUR_MS + MINUTE_MS;
        let other = [said(3, "web", next, false, "192.0.2.1", 443, 0)];
        hear_and_join(&mut book, next, &other, next + JOIN_AFTER_MS);
        let (map, hours) = book.read(next, next + MINUTE_MS);
        assert_eq!(hours, [START + HOUR_MS]);
        let edges: Vec<_> =
            map.edges.iter().map(|e| (e.figures.connects, e.figures.active, e.figures.last_ms)).collect();
        assert_eq!(edges, [(0, 2, at), (10, 0, next)]);
    }

    #[test]
    fn numbers_are_used_again() {
        let mut book = book();
        for n in 0..6 {
            let at = START + n * HOUR_MS;
            let peer = format!("192.0.2.{n}");
            hear_and_join(&mut book, at, &[said(n, "web", at, false, &peer, 443, 0)], at + JOIN_AFTER_MS);
            let later = at + HOUR_MS + LATE_MS;
            book.settle(later);
            assert_eq!(book.to_save(later).unwrap().edges.len(), 1);
            book.saved(at, later);
        }
        assert!(book.entries.len() <= 4 && book.hours.len() <= 3, "{} {}", book.entries.len(), book.hours.len());
        let (map, _) = book.read(START + 5 * HOUR_MS, START + 6 * HOUR_MS);
        assert_eq!(map.edges[0].edge.id, "web/x>ext:192.0.2.5:443:tcp/443");
        assert_eq!(map.vertices.len(), 2);
    }
}
