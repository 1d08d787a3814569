//! One map of the fleet from both halves of every edge.
//!
//! ```text
//! links (stored) → half  → repair → join → book            → store (an hour at a time, 30 days)
//!                  parse   ports,   both   hours in memory → view → api, exports, questions
//!                    │     owners   ends       └ changes: appeared, vanished, slowed, failing
//!                    ├ steady: what goes on as it was told
//!                    └ urgent: what cannot wait for the other end
//! ```
//!
//! A message may be about several minutes; each gets its share. A minute is joined once it is [`book::JOIN_AFTER_MS`] old, and again
//! when late halves come; an hour of the map is a function of the messages about it and the hour before, so joining twice changes
//! nothing and a collector that restarts joins the open hours anew.

pub mod addresses;
pub mod book;
mod changes;
pub mod coverage;
pub mod diff;
mod exclusion;
pub mod export;
mod figures;
#[cfg(test)]
pub mod fixtures;
pub mod graph;
pub mod half;
pub mod join;
pub mod names;
pub mod nodes;
pub mod pairs;
pub mod repair;
pub mod reverse;
pub mod steady;
mod task;
pub mod urgent;
pub mod vertex;
pub mod view;

use std::collections::{BTreeMap, HashSet};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

pub use names::MapConfig;
pub use task::Mapper;

use crate::store::{EdgeFigures, EdgeHours, Figures, Store, StoreError, Vertex};
use book::{Book, HOUR_MS, Pair, RecentEdge, hour_of};
use coverage::NodeCoverage;
use reverse::{Answer, Counts, ReverseNames};
use view::{MapView, Selection};

/// The map, for who asks.
#[derive(Debug)]
pub struct Map {
    book: Mutex<Book>,
    /// Locked after the book, when both are.
    reverse: Mutex<ReverseNames>,
    store: Arc<dyn Store>,
}

/// What is left out of the map since the collector started, over all nodes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LeftOut {
    /// Edges whose ends were not announced, or that go on without having been told.
    pub unusable: u64,
    /// Edges beyond the bounds.
    pub beyond: u64,
    /// Edges whose counts were cut.
    pub absurd: u64,
    /// Close events that nodes lost.
    pub overflows: u64,
    /// Changes that were not told because there were too many.
    pub changes: u64,
}

impl Map {
    /// A map of what `store` holds.
    #[must_use]
    pub fn new(book: Book, store: Arc<dyn Store>) -> Self {
        Self { book: Mutex::new(book), reverse: Mutex::default(), store }
    }

    fn reverse(&self) -> MutexGuard<'_, ReverseNames> {
        self.reverse.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The outside address to ask about next; none while a question waits or the budget is used up.
    pub async fn question(self: &Arc<Self>, now: i64) -> Option<IpAddr> {
        let wanted = self.with_book(|book| book.outsiders()).await.ok()?;
        self.reverse().next(&wanted, now)
    }

    /// Takes what an outside address is called.
    pub fn answer(&self, ip: IpAddr, answer: Answer, now: i64) {
        self.reverse().answer(ip, answer, now);
    }

    /// Questions about outside addresses so far.
    #[must_use]
    pub fn questions(&self) -> Counts {
        self.reverse().counts()
    }

    /// Says beside outside addresses what they are called.
    pub fn give_hostnames(&self, vertices: &mut [Vertex]) {
        let names = self.reverse();
        for vertex in vertices {
            let address = vertex.address.as_deref().map(|a| a.trim_start_matches('[').trim_end_matches(']'));
            let name = address.and_then(|a| a.parse::<IpAddr>().ok()).and_then(|ip| names.name(ip));
            if let Some(name) = name {
                vertex.hostname = Some(name.to_owned());
            }
        }
    }

    /// What is left out of the map since the collector started.
    #[must_use]
    pub fn left_out(&self) -> LeftOut {
        let book = self.book();
        let mut all = LeftOut { changes: book.changes_left_out(), ..LeftOut::default() };
        for (_, speaker) in book.speakers() {
            all.unusable = all.unusable.saturating_add(speaker.unusable);
            all.beyond = all.beyond.saturating_add(speaker.beyond);
            all.absurd = all.absurd.saturating_add(speaker.absurd);
            all.overflows = all.overflows.saturating_add(speaker.overflows);
        }
        all
    }

    /// Never held across an await.
    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads the book where it does not keep others from running.
    async fn with_book<T: Send + 'static>(
        self: &Arc<Self>,
        job: impl FnOnce(&mut Book) -> T + Send + 'static,
    ) -> Result<T, StoreError> {
        let map = Arc::clone(self);
        let work = move || job(&mut map.book());
        tokio::task::spawn_blocking(work).await.map_err(|e| StoreError::Database(e.to_string()))
    }

    /// The map of a time.
    ///
    /// # Errors
    /// When the store cannot be asked, or the time is too long.
    pub async fn view(self: &Arc<Self>, from: i64, to: i64, selection: Selection) -> Result<MapView, StoreError> {
        let (part, in_memory) = self.with_book(move |book| book.read(from, to)).await?;
        let mut edges: BTreeMap<String, EdgeFigures> = part.edges.into_iter().map(|e| (e.edge.id.clone(), e)).collect();
        let mut vertices = part.vertices;
        for (from, to) in missing(from, to, &in_memory) {
            for stored in self.store.map_figures(from, to).await? {
                match edges.get_mut(&stored.edge.id) {
                    Some(there) => there.figures.add(&stored.figures),
                    None => {
                        edges.insert(stored.edge.id.clone(), stored);
                    }
                }
            }
        }
        let known: HashSet<&str> = vertices.iter().map(|v| v.id.as_str()).collect();
        let ends = edges.values().flat_map(|e| [&e.edge.client, &e.edge.server]);
        let unknown: HashSet<String> = ends.filter(|v| !known.contains(v.as_str())).cloned().collect();
        if !unknown.is_empty() {
            vertices.extend(self.store.map_vertices(unknown.into_iter().collect()).await?);
        }
        self.give_hostnames(&mut vertices);
        let tags = self.store.node_tags().await?;
        self.with_book(move |book| {
            let mut view = MapView::new(from, to, edges.into_values().collect(), vertices);
            view.coverage.conflicts = book.conflicts();
            view.coverage.nodes = speakers(book);
            if selection != Selection::default() {
                view.select(&selection, &book.names);
            }
            view.tags = view::tags_of(&view.vertices, tags);
            view
        })
        .await
    }

    /// One edge hour by hour, oldest first.
    ///
    /// # Errors
    /// When the store cannot be asked.
    pub async fn history(self: &Arc<Self>, id: &str, from: i64, to: i64) -> Result<Option<EdgeHours>, StoreError> {
        let asked = id.to_owned();
        let recent = self.with_book(move |book| book.history(&asked)).await?;
        let stored = self.store.map_history(id, hour_of(from), to).await?;
        let mut hours: BTreeMap<i64, Figures> = BTreeMap::new();
        let mut record = None;
        // What is in memory is newer than what is stored of the same hour.
        for (edge, figures) in [stored, recent].into_iter().flatten() {
            hours.extend(figures.into_iter().filter(|(h, _)| (hour_of(from)..to).contains(h)));
            record = Some(edge);
        }
        Ok(record.map(|r| (r, hours.into_iter().collect())))
    }

    /// The ids of all vertices in memory: of the last hours, and of edges that are watched.
    ///
    /// # Errors
    /// When the work was cut off.
    pub async fn vertex_ids(self: &Arc<Self>) -> Result<Vec<String>, StoreError> {
        self.with_book(|book| book.vertex_ids()).await
    }

    /// Everybody who talked since a time.
    ///
    /// # Errors
    /// When the work was cut off.
    pub async fn pairs(self: &Arc<Self>, since: i64) -> Result<Vec<Pair>, StoreError> {
        self.with_book(move |book| book.pairs(since)).await
    }

    /// What edges between these vertices did minute by minute since a time.
    ///
    /// # Errors
    /// When the work was cut off.
    pub async fn recent(
        self: &Arc<Self>,
        since: i64,
        vertices: Arc<HashSet<String>>,
    ) -> Result<Vec<RecentEdge>, StoreError> {
        self.with_book(move |book| book.recent(since, |vertex| vertices.contains(vertex))).await
    }

    /// Calls `each` with client, server, port, connects and failed connects since the collector started, busiest first.
    pub fn totals(&self, most: usize, mut each: impl FnMut(&str, &str, u16, u64, u64)) {
        for (client, server, port, connects, failed) in self.book().totals(most) {
            each(client, server, port, connects, failed);
        }
    }
}

fn speakers(book: &Book) -> Vec<NodeCoverage> {
    let one = |(node, s): (&tacit_wire::NodeId, &book::Speaker)| NodeCoverage {
        node: node.clone(),
        level: s.level,
        last_ms: s.last_ms,
        overflows: s.overflows,
        unusable: s.unusable,
        beyond: s.beyond,
        absurd: s.absurd,
    };
    let mut all: Vec<_> = book.speakers().map(one).collect();
    all.sort_by(|a, b| a.node.cmp(&b.node));
    all
}

/// The hours of a time that are not in memory, as ranges.
fn missing(from: i64, to: i64, in_memory: &[i64]) -> Vec<(i64, i64)> {
    let mut ranges = Vec::new();
    let mut start = hour_of(from);
    for hour in in_memory.iter().copied().chain([to]) {
        if start < hour {
            ranges.push((start, hour));
        }
        start = hour.saturating_add(HOUR_MS);
    }
    ranges
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hours_come_from_memory_or_the_store() {
        let h = |n: i64| n * HOUR_MS;
        assert_eq!(missing(h(1) + 5, h(5) + 1, &[h(2), h(4)]), [(h(1), h(2)), (h(3), h(4)), (h(5), h(5) + 1)]);
        assert_eq!(missing(h(1), h(2), &[h(1)]), []);
        assert_eq!(missing(h(1), h(2), &[]), [(h(1), h(2))]);
    }
}
