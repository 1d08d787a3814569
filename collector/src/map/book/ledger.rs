//! Edges and vertices in memory, by number: hours hold figures by number, and what many hours share is here once.

use std::collections::{BTreeSet, HashMap};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::net::SocketAddr;

use tacit_wire::SiteId;
use tacit_wire::message::OwnerKind;

use super::MAP_MAX;
use crate::map::join::JoinedEdge;
use crate::map::names::Names;
use crate::map::nodes::Nodes;
use crate::map::vertex::{EdgeKey, VertexKey, edge_id};
use crate::store::{EdgeRecord, Figures, Vertex};

/// An edge in memory.
#[derive(Debug, Clone)]
pub struct Entry {
    /// What makes it one.
    pub key: EdgeKey,
    /// As it is stored.
    pub record: EdgeRecord,
    /// What it did since the collector started.
    pub total: Figures,
}

/// What names of vertices are made of.
#[derive(Debug, Clone, Copy)]
pub struct Naming<'a> {
    /// Names and sites of nodes.
    pub nodes: &'a Nodes,
    /// Names of addresses and ports.
    pub names: &'a Names,
    /// The first site of this collector.
    pub home: Option<&'a SiteId>,
}

/// Edges and vertices.
#[derive(Debug, Default)]
pub struct Ledger {
    vertices: Vec<(VertexKey, Vertex)>,
    vertex_numbers: HashMap<VertexKey, u32>,
    entries: Vec<Entry>,
    numbers: HashMap<EdgeKey, u32>,
    /// When edges were first seen, by a hash of their id.
    known: HashMap<u64, i64>,
    oldest_known: Option<i64>,
}

fn hash(text: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    hasher.finish()
}

fn via(edge: &JoinedEdge) -> Option<String> {
    edge.via.map(|(ip, port)| SocketAddr::new(ip, port).to_string())
}

impl Ledger {
    /// Takes over what the store remembers of edges.
    pub fn remember(&mut self, edges: &[EdgeRecord]) {
        edges.iter().take(MAP_MAX).for_each(|edge| self.know(hash(&edge.id), edge.first_seen_ms));
    }

    fn know(&mut self, edge: u64, first: i64) {
        if self.known.len() < 2 * MAP_MAX {
            self.known.entry(edge).or_insert(first);
            self.oldest_known = Some(self.oldest_known.map_or(first, |o| o.min(first)));
        }
    }

    /// Edges of these numbers are no news any more.
    pub fn are_known(&mut self, numbers: impl Iterator<Item = u32>) {
        for number in numbers {
            let record = &self.entry(number).record;
            let (edge, first) = (hash(&record.id), record.first_seen_ms);
            self.know(edge, first);
        }
    }

    /// Whether an edge was not seen before `minute`, on a map that has a past of at least `past`.
    #[must_use]
    pub fn is_new(&self, number: u32, minute: i64, past: i64) -> bool {
        let known = self.known.contains_key(&hash(&self.entry(number).record.id));
        !known && self.oldest_known.is_some_and(|oldest| minute - oldest >= past)
    }

    /// Whether an edge has a number.
    #[must_use]
    pub fn has(&self, key: &EdgeKey) -> bool {
        self.numbers.contains_key(key)
    }

    /// The number of an edge.
    #[must_use]
    pub fn number_of(&self, key: &EdgeKey) -> Option<u32> {
        self.numbers.get(key).copied()
    }

    /// All vertices.
    pub fn vertices(&self) -> impl Iterator<Item = &Vertex> {
        self.vertices.iter().map(|(_, vertex)| vertex)
    }

    /// How many edges are in memory.
    #[must_use]
    pub fn size(&self) -> usize {
        self.entries.len()
    }

    /// An edge by its number.
    #[must_use]
    pub fn entry(&self, number: u32) -> &Entry {
        &self.entries[number as usize]
    }

    /// All edges.
    pub fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.entries.iter()
    }

    /// The number of the edge of this id.
    #[must_use]
    pub fn find(&self, id: &str) -> Option<u32> {
        self.entries.iter().position(|e| e.record.id == id).map(|n| n as u32)
    }

    /// The number of an edge that was seen at `at`; `None` when the map is full.
    pub fn number(&mut self, edge: &JoinedEdge, at: i64, naming: Naming<'_>) -> Option<u32> {
        if let Some(number) = self.numbers.get(&edge.key) {
            let record = &mut self.entries[*number as usize].record;
            record.first_seen_ms = record.first_seen_ms.min(at);
            record.last_seen_ms = record.last_seen_ms.max(at);
            record.via = via(edge).or_else(|| record.via.take());
            return Some(*number);
        }
        if self.entries.len() >= MAP_MAX || self.vertices.len() + 2 > MAP_MAX {
            return None;
        }
        let key = edge.key.clone();
        let client = self.vertex(&key.client, edge.kinds[0], naming);
        let server = self.vertex(&key.server, edge.kinds[1], naming);
        let id = edge_id(&client, &server, key.protocol, key.port);
        let first = self.known.get(&hash(&id)).copied();
        let record = EdgeRecord {
            first_seen_ms: first.unwrap_or(at).min(at),
            last_seen_ms: at,
            client,
            server,
            protocol: key.protocol,
            port: key.port,
            via: via(edge),
            id,
        };
        let number = self.entries.len() as u32;
        self.numbers.insert(key.clone(), number);
        self.entries.push(Entry { key, record, total: Figures::none(at) });
        Some(number)
    }

    fn vertex(&mut self, key: &VertexKey, kind: OwnerKind, naming: Naming<'_>) -> String {
        if let Some(number) = self.vertex_numbers.get(key) {
            return self.vertices[*number as usize].1.id.clone();
        }
        let home = naming.home.unwrap_or_else(|| naming.nodes.site_name(0));
        let vertex = key.describe(kind, naming.nodes, naming.names, home);
        let id = vertex.id.clone();
        self.vertex_numbers.insert(key.clone(), self.vertices.len() as u32);
        self.vertices.push((key.clone(), vertex));
        id
    }

    /// The vertices at the ends of these edges.
    #[must_use]
    pub fn ends(&self, numbers: impl Iterator<Item = u32>) -> Vec<Vertex> {
        let mut used = BTreeSet::new();
        for number in numbers {
            let key = &self.entry(number).key;
            used.extend([&key.client, &key.server].map(|v| self.vertex_numbers[v]));
        }
        used.into_iter().map(|n| self.vertices[n as usize].1.clone()).collect()
    }

    /// Keeps the totals of `/metrics`: they never go down, so what a second join takes away stays counted.
    pub fn count(&mut self, before: &[(u32, Figures)], now: &HashMap<u32, Figures>) {
        let before: HashMap<u32, &Figures> = before.iter().map(|(n, f)| (*n, f)).collect();
        for (number, figures) in now {
            let old = before.get(number);
            let grown = |new: u64, old: Option<u64>| new.saturating_sub(old.unwrap_or(0));
            let total = &mut self.entries[*number as usize].total;
            total.connects = total.connects.saturating_add(grown(figures.connects, old.map(|f| f.connects)));
            total.failed = total.failed.saturating_add(grown(figures.failed, old.map(|f| f.failed)));
        }
    }

    /// Keeps these edges only and gives their new numbers; the store remembers the others.
    pub fn keep(&mut self, used: &BTreeSet<u32>) -> HashMap<u32, u32> {
        let moved: HashMap<u32, u32> = used.iter().zip(0..).map(|(old, new)| (*old, new)).collect();
        let entries: Vec<Entry> = used.iter().map(|n| self.entries[*n as usize].clone()).collect();
        self.numbers = entries.iter().zip(0..).map(|(e, n)| (e.key.clone(), n)).collect();
        let keys: BTreeSet<&VertexKey> = entries.iter().flat_map(|e| [&e.key.client, &e.key.server]).collect();
        let vertices: Vec<_> = keys.iter().map(|k| self.vertices[self.vertex_numbers[*k] as usize].clone()).collect();
        self.vertex_numbers = vertices.iter().zip(0..).map(|(v, n)| (v.0.clone(), n)).collect();
        self.vertices = vertices;
        self.entries = entries;
        moved
    }
}
