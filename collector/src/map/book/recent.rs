//! What incidents ask of the map: who is related to whom, and what edges did minute by minute.

use std::collections::BTreeMap;

use tacit_wire::NodeId;

use super::ledger::Entry;
use super::{Book, hour_of};
use crate::map::vertex::VertexKey;
use crate::store::Figures;

/// Two vertices that talk.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Pair {
    /// Who connects.
    pub client: String,
    /// Who listens.
    pub server: String,
    /// The client's node.
    pub client_node: Option<NodeId>,
    /// The server's node.
    pub server_node: Option<NodeId>,
    /// Names, time, monitoring: it relates everybody to everybody.
    pub infrastructure: bool,
}

/// An edge with what it did in each minute that is still known apart.
#[derive(Debug, Clone, PartialEq)]
pub struct RecentEdge {
    /// Who connects.
    pub client: String,
    /// Who listens.
    pub server: String,
    /// Starts of minutes with figures, oldest first.
    pub minutes: Vec<(i64, Figures)>,
}

impl Book {
    /// Everybody who talked since a time, by whole hours.
    #[must_use]
    pub fn pairs(&self, since: i64) -> Vec<Pair> {
        let mut talked = vec![false; self.ledger.size()];
        for (_, hour) in self.hours.range(hour_of(since)..) {
            let in_minutes = hour.minutes.values().flatten().map(|(number, _)| number);
            for number in hour.sealed.keys().chain(in_minutes) {
                talked[*number as usize] = true;
            }
        }
        let node = |key: &VertexKey| key.node().map(|n| self.nodes.name(n).clone());
        let pair = |entry: &Entry| {
            let ends = [owner(&entry.key.client), owner(&entry.key.server)];
            Pair {
                client: entry.record.client.clone(),
                server: entry.record.server.clone(),
                client_node: node(&entry.key.client),
                server_node: node(&entry.key.server),
                infrastructure: self.names.is_infrastructure(entry.key.protocol, entry.key.port, ends),
            }
        };
        let entries = self.ledger.entries().zip(talked);
        let mut pairs: Vec<Pair> = entries.filter(|(_, talked)| *talked).map(|(entry, _)| pair(entry)).collect();
        pairs.sort_unstable();
        pairs.dedup();
        pairs
    }

    /// Edges between vertices that are `wanted`, by minute since a time; two edges of the same ends are one.
    #[must_use]
    pub fn recent(&self, since: i64, wanted: impl Fn(&str) -> bool) -> Vec<RecentEdge> {
        let mut asked: Vec<Option<bool>> = vec![None; self.ledger.size()];
        let mut found: BTreeMap<(&str, &str), BTreeMap<i64, Figures>> = BTreeMap::new();
        for (_, hour) in self.hours.range(hour_of(since)..) {
            for (minute, list) in hour.minutes.range(since..) {
                for (number, figures) in list {
                    let record = &self.ledger.entry(*number).record;
                    let is_asked = &mut asked[*number as usize];
                    if !*is_asked.get_or_insert_with(|| wanted(&record.client) && wanted(&record.server)) {
                        continue;
                    }
                    let of_minute = found.entry((record.client.as_str(), record.server.as_str())).or_default();
                    of_minute.entry(*minute).and_modify(|f| f.add(figures)).or_insert(*figures);
                }
            }
        }
        let edge = |((client, server), minutes): ((&str, &str), BTreeMap<i64, Figures>)| RecentEdge {
            client: client.to_owned(),
            server: server.to_owned(),
            minutes: minutes.into_iter().collect(),
        };
        found.into_iter().map(edge).collect()
    }
}

/// The owner of a service.
fn owner(key: &VertexKey) -> Option<&str> {
    match key {
        VertexKey::Service(_, owner) => Some(owner),
        _ => None,
    }
}
