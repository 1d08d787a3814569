//! The hours of a book: minutes are sealed into them, they are handed over to be stored, read, and forgotten.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use super::ledger::Entry;
use super::{Book, HOUR_MS, HOURS_KEPT_MS, IDLE_MS, LATE_MS, MINUTE_MS, Speaker, hour_of};
use crate::map::addresses::{Conflict, ConflictKind};
use crate::map::changes::SETTLED_MS;
use crate::map::half::NodeNo;
use crate::store::{EdgeFigures, EdgeHours, Figures, MapChange, MapHour};

/// How long a node is learned before its new edges are news: all are new when it comes.
const LEARNING_MS: i64 = HOUR_MS;
/// A node that did not speak for so long is not there to say that an edge goes on.
const SILENT_MS: i64 = 10 * MINUTE_MS;
/// Nodes with absurd counts that are listed.
const ABSURD_MAX: usize = 100;

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

    /// One edge of it.
    fn of(&self, number: u32) -> Option<Figures> {
        let mut sum = self.sealed.get(&number).copied();
        for (_, figures) in self.minutes.values().flatten().filter(|(n, _)| *n == number) {
            match &mut sum {
                Some(sum) => sum.add(figures),
                None => sum = Some(*figures),
            }
        }
        sum
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
        self.hearing.forget(now, &self.dirty);
        self.addresses.forget(now);
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
            let (ledger, hearing) = (&self.ledger, &self.hearing);
            let speakers = |n: u32| {
                let key = &ledger.entry(n).key;
                [key.client.node(), key.server.node()]
                    .into_iter()
                    .flatten()
                    .filter_map(move |node| hearing.speaker(node))
            };
            // A map without a past has nothing new on it, nor has a node of which little is known yet.
            let is_new = |n: u32| {
                let learning = speakers(n).any(|s| minute - s.first_ms < LEARNING_MS);
                !learning && ledger.is_new(n, minute, LEARNING_MS)
            };
            let speaks = |n: u32| speakers(n).any(|s| minute - s.last_ms < SILENT_MS);
            let record = move |n: u32| &ledger.entry(n).record;
            changes.extend(self.watcher.look(minute, &figures, record, is_new, speaks));
            self.ledger.are_known(figures.keys().copied());
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
        let one = |(number, figures): (&u32, &Figures)| EdgeFigures {
            edge: self.ledger.entry(*number).record.clone(),
            figures: *figures,
        };
        let mut edges: Vec<EdgeFigures> = figures.iter().map(one).collect();
        edges.sort_by(|a, b| a.edge.id.cmp(&b.edge.id));
        MapHour { hour, vertices: self.ledger.ends(figures.keys().copied()), edges }
    }

    /// An hour was stored.
    pub fn saved(&mut self, hour: i64, now: i64) {
        if let Some(kept) = self.hours.get_mut(&hour) {
            kept.saved = true;
            kept.by_node = HashMap::new();
        }
        self.hours.retain(|start, h| !h.saved || now - start < HOURS_KEPT_MS);
        self.pairs.forget(now);
        self.destinations.forget(now);
        // Whoever has become quiet makes room for others.
        self.outsiders.retain(|_, bytes| {
            *bytes /= 2;
            *bytes > 0
        });
        self.compact();
    }

    /// Edges that no hour in memory has are forgotten here; the store remembers them.
    fn compact(&mut self) {
        let mut used: BTreeSet<u32> = self.watcher.edges().collect();
        for hour in self.hours.values() {
            used.extend(hour.sealed.keys());
            used.extend(hour.minutes.values().flatten().map(|(n, _)| *n));
        }
        if used.len() * 2 > self.ledger.size() {
            return;
        }
        let moved = self.ledger.keep(&used);
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
        let number = self.ledger.find(id)?;
        let hours = self.hours.iter().filter_map(|(start, h)| Some((*start, h.of(number)?)));
        Some((self.ledger.entry(number).record.clone(), hours.collect()))
    }

    /// Nodes that send links, with what is known of them.
    pub fn speakers(&self) -> impl Iterator<Item = (&tacit_wire::NodeId, &Speaker)> {
        self.hearing.speakers().map(|(n, s)| (self.nodes.name(n), s))
    }

    /// What nodes say that does not fit together.
    #[must_use]
    pub fn conflicts(&self) -> Vec<Conflict> {
        let mut all = self.addresses.conflicts(&self.nodes);
        let mut absurd: Vec<(NodeNo, u64)> =
            self.hearing.speakers().filter(|(_, s)| s.absurd > 0).map(|(n, s)| (n, s.absurd)).collect();
        absurd.sort_unstable();
        all.extend(absurd.into_iter().take(ABSURD_MAX).map(|(node, edges)| {
            let name = self.nodes.name(node).to_string();
            Conflict {
                kind: ConflictKind::Absurd,
                site: self.nodes.site_name(self.nodes.site_of(node)).to_string(),
                address: String::new(),
                text: format!("{name} counts what no machine reaches, on {edges} edges; it was cut"),
                nodes: vec![name],
            }
        }));
        all
    }

    /// Changes that were left out because there were too many at once, since the collector started.
    #[must_use]
    pub fn changes_left_out(&self) -> u64 {
        self.watcher.left_out()
    }

    /// Clients, servers, connects and failed connects since the collector started, busiest first, at most `most`.
    #[must_use]
    pub fn totals(&self, most: usize) -> Vec<(&str, &str, u16, u64, u64)> {
        let busy = |e: &&Entry| e.total.connects > 0 || e.total.failed > 0;
        let mut all: Vec<&Entry> = self.ledger.entries().filter(busy).collect();
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
