//! The hours of a book: minutes are sealed into them, they are handed over to be stored, read, and forgotten.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use super::{Book, Entry, HOUR_MS, HOURS_KEPT_MS, IDLE_MS, LATE_MS, MAP_MAX, MINUTE_MS, Speaker, hash, hour_of};
use crate::map::addresses::Conflict;
use crate::map::changes::SETTLED_MS;
use crate::map::half::NodeNo;
use crate::map::vertex::VertexKey;
use crate::store::{EdgeFigures, EdgeHours, Figures, MapChange, MapHour};

/// An hour in memory.
#[derive(Debug, Default)]
pub(super) struct Hour {
    pub(super) minutes: BTreeMap<i64, Vec<(u32, Figures)>>,
    pub(super) sealed: HashMap<u32, Figures>,
    pub(super) by_node: HashMap<NodeNo, HashSet<u32>>,
    pub(super) saved: bool,
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

impl Book {
    /// A new hour: what is open and idle is still there.
    pub(super) fn begin(&self, hour: i64) -> Hour {
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
        let settled = (now - SETTLED_MS).div_euclid(MINUTE_MS) * MINUTE_MS;
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
    pub fn conflicts(&self) -> &[Conflict] {
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
