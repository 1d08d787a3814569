//! What a message shows as soon as it is heard; [`urgent`](crate::map::urgent) judges it.

use std::collections::BTreeMap;

use super::{Book, MINUTE_MS};
use crate::map::half::NodeNo;
use crate::map::join::Scene;
use crate::map::urgent::{About, Interval, Past, Said, Sign, Trouble, edge_of};
use crate::map::vertex::EdgeKey;
use crate::store::StoredLinks;

/// How long a message's time may be over for it to be news.
const FRESH_MS: i64 = 5 * MINUTE_MS;

impl Book {
    /// Looks at a message that was just heard.
    pub(super) fn look_at_once(&mut self, node: NodeNo, message: &StoredLinks, now: i64) {
        let at = Interval { start_ms: message.minute, length_ms: message.minutes().saturating_mul(MINUTE_MS) };
        let over_ms = now.saturating_sub(at.start_ms.saturating_add(at.length_ms));
        if over_ms > FRESH_MS || !self.urgent.wants(node, &message.links) {
            return;
        }
        let mut halves = self.hearing.told(node, message);
        halves.retain(|half| !half.server);
        let lost: Vec<bool> = halves.iter().map(|half| half.port == 0).collect();
        self.destinations.recover(&mut halves, message.minute);
        let scene =
            Scene { nodes: &self.nodes, addresses: &self.addresses, names: &self.names, listeners: &self.listeners };
        let mut edges: BTreeMap<EdgeKey, Said> = BTreeMap::new();
        for (half, was_lost) in halves.iter().zip(lost) {
            edges.entry(edge_of(half, scene, &self.pairs, message.minute)).or_default().add(half, was_lost);
        }
        for (key, said) in &edges {
            let Some(number) = self.ledger.number_of(key) else { continue };
            let entry = self.ledger.entry(number);
            let past = Past {
                connects: entry.total.connects,
                failed: entry.total.failed,
                since_ms: entry.total.first_ms,
                lasts: self.watcher.lasts(number),
            };
            self.urgent.look(About { node, key, edge: &entry.record, at }, said, &past);
        }
    }

    /// What is to be told at once, of messages that were heard since this was asked last.
    pub fn signs(&mut self, now: i64) -> Vec<Sign> {
        self.urgent.take(now)
    }

    /// Edges that are in trouble as of the newest minute that was judged, by their ids.
    #[must_use]
    pub fn troubled(&self) -> Vec<(Trouble, String)> {
        let named = |(number, trouble): (u32, Trouble)| (trouble, self.ledger.entry(number).record.id.clone());
        self.watcher.troubled().map(named).collect()
    }

    /// The ids of all vertices in memory.
    #[must_use]
    pub fn vertex_ids(&self) -> Vec<String> {
        self.ledger.vertices().map(|vertex| vertex.id.clone()).collect()
    }
}
