//! Edges that go on as they were told.
//!
//! An agent is silent about an edge that goes on within a tenth of what it told last, and says with each batch how many such
//! edges there are. Here they are filled in: for each minute of such a batch, what its node told last of each edge. A batch
//! without that word, and time without a batch, has nothing filled in: an edge of a node that is gone does not go on.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use tacit_wire::StreamId;

use super::half::{EDGES_MAX, Half, HalfKey, NodeNo};
use crate::store::StoredLinks;

/// How long an edge goes on without being told; agents tell each at least once an hour.
const GOES_ON_MS: i64 = 3_600_000;
/// Starts of one agent that are remembered: after a restart it still sends what waited.
const STARTS_MAX: usize = 2;

/// What a node told last of an edge.
#[derive(Debug)]
pub struct Told {
    /// The half, with the figures of the whole interval.
    half: Half,
    /// Start of the interval by the node's own clock, and its length in minutes.
    start_ms: i64,
    minutes: i64,
    seq: u64,
}

impl Told {
    /// Which edge.
    #[must_use]
    pub fn key(&self) -> HalfKey {
        self.half.key()
    }

    /// The same, going on in a minute.
    #[must_use]
    pub fn in_minute(&self, minute: i64) -> Half {
        Half { figures: self.half.figures.of_minute(minute, self.minutes), ..self.half.clone() }
    }
}

#[derive(Debug)]
struct Start {
    stream: StreamId,
    /// The newest minute it spoke of.
    heard: i64,
    told: HashMap<HalfKey, Arc<Told>>,
}

/// What every node told last, and the minutes in which it goes on.
#[derive(Debug, Default)]
pub struct Steady {
    nodes: HashMap<NodeNo, Vec<Start>>,
    minutes: BTreeMap<i64, HashMap<NodeNo, Vec<Arc<Told>>>>,
}

impl Steady {
    /// Takes in a message with its halves, which have the figures of its whole interval. Returns how many edges the node says
    /// go on of which nothing is known here.
    pub fn hear(&mut self, node: NodeNo, message: &StoredLinks, halves: &[Half]) -> u32 {
        let links = &message.links;
        let starts = self.nodes.entry(node).or_default();
        let at = starts.iter().position(|s| s.stream == links.head.stream).unwrap_or_else(|| {
            if starts.len() >= STARTS_MAX {
                starts.remove(0);
            }
            starts.push(Start { stream: links.head.stream, heard: message.minute, told: HashMap::new() });
            starts.len() - 1
        });
        starts[at].heard = starts[at].heard.max(message.minute);
        let told = &mut starts[at].told;
        let (start_ms, seq, minutes) = (links.start_ms, links.head.seq.0, message.minutes());
        for half in halves {
            let key = half.key();
            if told.get(&key).is_some_and(|known| known.seq > seq) {
                continue;
            }
            if half.figures.is_still() {
                told.remove(&key);
            } else if told.len() < EDGES_MAX || told.contains_key(&key) {
                told.insert(key, Arc::new(Told { half: half.clone(), start_ms, minutes, seq }));
            }
        }
        if links.steady == 0 {
            return 0;
        }
        // What was told within the batch is not silent in it.
        told.retain(|_, t| start_ms.saturating_sub(t.start_ms) <= GOES_ON_MS);
        let mut going: Vec<Arc<Told>> = told.values().filter(|t| t.start_ms < start_ms).cloned().collect();
        // More than the node speaks of: a message that told of an end was lost, of an old one more likely.
        if going.len() > links.steady as usize {
            going.sort_by_cached_key(|t| (std::cmp::Reverse(t.start_ms), t.key()));
            going.truncate(links.steady as usize);
        }
        let missing = links.steady.saturating_sub(going.len() as u32);
        if !going.is_empty() {
            for minute in message.covered() {
                let there = self.minutes.entry(minute).or_default().entry(node).or_default();
                let room = EDGES_MAX.saturating_sub(there.len());
                there.extend(going.iter().take(room).cloned());
            }
        }
        missing
    }

    /// Adds what goes on in a minute beside the halves that were told of it.
    pub fn fill_in(&self, minute: i64, halves: &mut Vec<Half>) {
        let Some(nodes) = self.minutes.get(&minute) else { return };
        let mut said: std::collections::HashSet<(NodeNo, HalfKey)> =
            halves.iter().filter(|h| nodes.contains_key(&h.node)).map(|h| (h.node, h.key())).collect();
        let mut nodes: Vec<_> = nodes.iter().collect();
        nodes.sort_by_key(|(node, _)| **node);
        for (node, going) in nodes {
            for told in going {
                if said.insert((*node, told.key())) {
                    halves.push(told.in_minute(minute));
                }
            }
        }
    }

    /// Takes over what goes on in an hour from messages that were heard anew.
    pub fn replace(&mut self, hour: std::ops::Range<i64>, mut heard: Self) {
        self.minutes.retain(|minute, _| !hour.contains(minute));
        heard.minutes.retain(|minute, _| hour.contains(minute));
        self.minutes.append(&mut heard.minutes);
    }

    /// Forgets minutes before a time but those that are still to be joined, and who has been silent for long.
    pub fn forget(&mut self, before: i64, wanted: impl Fn(i64) -> bool) {
        self.nodes.retain(|_, starts| {
            starts.retain(|s| s.heard >= before.saturating_sub(6 * GOES_ON_MS));
            !starts.is_empty()
        });
        self.minutes.retain(|minute, _| *minute >= before || wanted(*minute));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::map::fixtures::said;
    use crate::map::half::Dictionaries;

    const MINUTE: i64 = 60_000;
    const HOUR: i64 = 60 * MINUTE;

    /// What a node says, batch by batch.
    #[derive(Default)]
    struct Node {
        steady: Steady,
        dictionaries: Dictionaries,
        seq: u64,
    }

    impl Node {
        /// A batch of five minutes in which some edges, by their port, make so many connects.
        fn batch(&mut self, start: i64, told: &[(u16, u32)], steady: u32) -> u32 {
            self.seq += 1;
            let mut message = said(self.seq as i64, "web", start, false, "10.0.0.2", 80, 0);
            let edge = message.links.edges[0].clone();
            let links = &mut message.links;
            (links.steady, links.step_s, links.head.seq.0) = (steady, 300, self.seq);
            links.edges.clear();
            for (n, (port, connects)) in (0..).zip(told) {
                let bytes = u64::from(*connects) * 100;
                let peer = tacit_wire::message::EndpointDef { id: 10 + n, port: *port, ..links.endpoints[1].clone() };
                links.endpoints.push(peer);
                links.edges.push(tacit_wire::message::Edge {
                    peer: 10 + n,
                    connects: *connects,
                    sent: bytes,
                    received: bytes,
                    ..edge.clone()
                });
            }
            self.dictionaries.learn(0, &message);
            let mut halves = Vec::new();
            self.dictionaries.halves(0, &message, 100, &mut halves);
            self.steady.hear(0, &message, &halves)
        }

        /// Connects by port in a time, of what goes on.
        fn going(&self, from: i64, to: i64) -> BTreeMap<u16, u64> {
            let mut sums = BTreeMap::new();
            for n in 0..(to - from) / MINUTE {
                let mut halves = Vec::new();
                self.steady.fill_in(from + n * MINUTE, &mut halves);
                for half in halves {
                    *sums.entry(half.port).or_default() += half.figures.connects;
                }
            }
            sums
        }
    }

    #[test]
    fn an_edge_goes_on_as_told_until_it_is_told_otherwise() {
        let mut node = Node::default();
        let at = |n: i64| 10 * HOUR + n * 5 * MINUTE;
        assert_eq!(node.batch(at(0), &[(80, 100), (81, 7)], 0), 0);
        assert_eq!(node.batch(at(1), &[], 2), 0);
        assert_eq!(node.batch(at(2), &[(81, 0)], 1), 0);
        assert_eq!(node.batch(at(3), &[(80, 500)], 0), 0);
        assert_eq!(node.batch(at(4), &[], 1), 0);
        let batches: Vec<_> = (0..6).map(|n| node.going(at(n), at(n + 1))).collect();
        let expected: [&[(u16, u64)]; 6] = [&[], &[(80, 100), (81, 7)], &[(80, 100)], &[], &[(80, 500)], &[]];
        assert_eq!(batches, expected.map(|b| b.iter().copied().collect::<BTreeMap<_, _>>()));
    }

    #[test]
    fn without_that_word_or_without_a_batch_nothing_goes_on() {
        let mut node = Node::default();
        let at = |n: i64| 10 * HOUR + n * 5 * MINUTE;
        node.batch(at(0), &[(80, 100)], 0);
        node.batch(at(1), &[], 0);
        // The node was away for two batches.
        node.batch(at(4), &[], 1);
        assert_eq!(node.going(at(0), at(4)), BTreeMap::new());
        assert_eq!(node.going(at(4), at(5)), BTreeMap::from([(80, 100)]));
        // After an hour it should have been told again.
        assert_eq!(node.batch(at(12), &[], 1), 0);
        assert_eq!(node.batch(at(13), &[], 1), 1, "nothing is known of it any more");
        assert_eq!(node.going(at(12), at(14)), BTreeMap::from([(80, 100)]));
    }

    #[test]
    fn what_is_told_in_a_minute_is_not_filled_in_there() {
        let mut node = Node::default();
        node.batch(10 * HOUR, &[(80, 100)], 0);
        node.batch(10 * HOUR + 5 * MINUTE, &[], 1);
        let minute = 10 * HOUR + 6 * MINUTE;
        let mut halves = Vec::new();
        node.steady.fill_in(minute, &mut halves);
        let before = halves.len();
        node.steady.fill_in(minute, &mut halves);
        assert_eq!((before, halves.len()), (1, 1));
        // More than the node speaks of: the newest are believed.
        node.batch(10 * HOUR + 10 * MINUTE, &[(81, 3)], 0);
        node.batch(10 * HOUR + 15 * MINUTE, &[], 1);
        assert_eq!(node.going(10 * HOUR + 15 * MINUTE, 10 * HOUR + 20 * MINUTE), BTreeMap::from([(81, 3)]));
        node.steady.forget(11 * HOUR, |m| m == minute);
        assert_eq!(node.steady.minutes.len(), 1);
    }
}
