//! When an edge is told: at the next full minute when something about it is new, else in a batch of several minutes, and not at all while
//! it goes on as it was told (`steady`), for at most an hour.
//!
//! ```text
//! minute ─┬─ new, failing, slow: a message of this minute, few of them
//!         └─ the rest ─ pending ─ full batch ─┬─ as last told: counted as steady
//!                                             └─ otherwise: told; once with zeros when it has stopped
//! ```
//!
//! Figures of one edge are told once: what a minute's message had is not in the batch, but for the ports, so a collector adds up what comes.

use std::collections::HashMap;

use tacit_wire::message::Links;

use super::edges::{Figures, Key};
use super::owner::Owners;
use super::publish::{Dictionary, Interval, Observed, Part, STEP_MS};
use crate::clock::Tick;
use crate::detect::event::Sender;

/// Edges told before their batch in one minute; the rest waits.
const NEWS: usize = 16;
/// Edges of one message: their ends fit beside them into the bound of a payload.
const EDGES: usize = 100;
/// Edges of one batch; with more, the rest of an end's peers is one.
const PENDING: usize = 1024;
/// A steady edge is told again after so long.
const AGAIN_MS: i64 = 3_600_000;
/// An edge that stopped so long ago is forgotten: when it comes back it is new.
const FORGOTTEN_MS: i64 = 2 * AGAIN_MS;
/// Edges remembered as told; beyond it all are told anew.
const MOST: usize = 4096;

/// What an edge did, comparable between intervals of different length. Counts are a second.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Pace {
    connects: f64,
    failed: f64,
    sent: f64,
    received: f64,
    retransmits: f64,
    active: u32,
    /// Seconds; NaN where none was measured.
    round_trip: f32,
    lifetime: f64,
    accept_queue: u32,
}

impl Pace {
    fn of(figures: &mut Figures, seconds: f64) -> Self {
        let ended = f64::from(figures.ended);
        Self {
            connects: f64::from(figures.connects) / seconds,
            failed: f64::from(figures.failed) / seconds,
            sent: figures.sent as f64 / seconds,
            received: figures.received as f64 / seconds,
            retransmits: f64::from(figures.retransmits) / seconds,
            active: figures.active,
            round_trip: figures.round_trips().map_or(f32::NAN, |[median, ..]| median),
            lifetime: if ended > 0.0 { figures.lived_s / ended } else { 0.0 },
            accept_queue: figures.accept_queue.unwrap_or(0),
        }
    }

    /// Whether a person who looks at a failure would want to know at once.
    fn is_news_after(&self, before: &Self) -> bool {
        let doubled = |now: f64, then: f64, least: f64| now > 2.0 * then && now - then > least;
        doubled(self.failed, before.failed, 0.0)
            || doubled(self.retransmits, before.retransmits, 0.2)
            || doubled(self.round_trip.into(), before.round_trip.into(), 0.005)
            || doubled(self.lifetime, before.lifetime, 0.1)
            || doubled(self.active.into(), before.active.into(), 10.0)
            || doubled(self.accept_queue.into(), before.accept_queue.into(), 8.0)
    }

    /// Whether `seconds` at the pace told before describe this one: within a tenth, and small counts within two.
    fn is_as_told(&self, told: &Self, seconds: f64) -> bool {
        let near = |a: f64, b: f64, slack: f64| (a - b).abs() <= slack.max(0.1 * a.max(b));
        let count = |a: f64, b: f64| near(a, b, 2.0 / seconds);
        let round_trips = (self.round_trip - told.round_trip).abs();
        // Lifetimes are sampled by looks: three of them are the noise of a few connections.
        let sightings = 15.0 / (self.connects.max(told.connects) * seconds).max(1.0);
        count(self.connects, told.connects)
            && near(self.failed, told.failed, 0.0)
            && near(self.sent, told.sent, 0.0)
            && near(self.received, told.received, 0.0)
            && count(self.retransmits, told.retransmits)
            && near(self.active.into(), told.active.into(), 2.0)
            // Where one of them is missing the difference is no number, and says nothing.
            && (round_trips.is_nan() || round_trips <= (0.25 * told.round_trip).max(0.0005))
            && near(self.lifetime, told.lifetime, sightings.max(0.05))
            && self.accept_queue.abs_diff(told.accept_queue) <= 4
    }
}

/// What was told of an edge last.
#[derive(Debug, Clone, Copy)]
struct Told {
    pace: Pace,
    /// Start of the interval.
    start_ms: i64,
    /// Whether anything moved.
    moved: bool,
    /// How sure the owner is.
    confidence: f32,
}

/// Collects minutes and makes messages of them.
#[derive(Debug)]
pub struct Batch {
    length_ms: i64,
    dictionary: Dictionary,
    started_ms: Option<i64>,
    pending: HashMap<Key, Figures>,
    told: HashMap<Key, Told>,
    overflows: u32,
}

impl Batch {
    /// Batches of this length, a multiple of a minute; with one minute each edge that moved is told in it.
    #[must_use]
    pub fn new(length_ms: i64) -> Self {
        Self {
            length_ms: length_ms.max(STEP_MS),
            dictionary: Dictionary::default(),
            started_ms: None,
            pending: HashMap::new(),
            told: HashMap::new(),
            overflows: 0,
        }
    }

    /// Announces all ends and tells all edges again: the collector does not know them.
    pub fn tell_all(&mut self) {
        self.dictionary.announce_all();
        self.told.clear();
    }

    /// Takes in the edges of one minute, and all connections open at its end. Returns what is to be told now.
    pub fn minute(
        &mut self,
        edges: HashMap<Key, Figures>,
        active: &HashMap<Key, u32>,
        observed: Observed,
        owners: &Owners,
        sender: &Sender,
        now: Tick,
    ) -> Vec<Links> {
        self.overflows = self.overflows.saturating_add(observed.overflows);
        let start_ms = *self.started_ms.get_or_insert(observed.start_ms);
        let end_ms = observed.start_ms + STEP_MS;
        let passed = end_ms - start_ms;
        // The clock may have been set meanwhile, either way.
        let full = end_ms.rem_euclid(self.length_ms) == 0 || !(STEP_MS..self.length_ms).contains(&passed);
        let (told, interval, steady) = if full {
            self.started_ms = None;
            edges.into_iter().for_each(|(key, figures)| later(&mut self.pending, key, figures));
            let length_ms = passed.clamp(STEP_MS, self.length_ms);
            let (told, steady) = self.batch(active, start_ms, length_ms as f64 / 1000.0);
            (told, Interval { start_ms, length_ms }, steady)
        } else {
            let told = self.news(edges, observed.start_ms);
            (told, Interval { start_ms: observed.start_ms, length_ms: STEP_MS }, 0)
        };
        let overflows = if full || !told.is_empty() { std::mem::take(&mut self.overflows) } else { 0 };
        if told.is_empty() && overflows == 0 && steady == 0 {
            return Vec::new();
        }
        let observed = Observed { overflows, ..observed };
        let mut parts: Vec<Part> = Vec::new();
        for edge in told {
            match parts.last_mut() {
                Some(part) if part.edges.len() < EDGES => part.edges.push(edge),
                _ => parts.push(Part {
                    edges: vec![edge],
                    interval,
                    observed: Observed { overflows: 0, ..observed },
                    steady: 0,
                }),
            }
        }
        // What holds for the whole interval is told once, with the last part: by then all others are known.
        match parts.last_mut() {
            Some(last) => (last.observed, last.steady) = (observed, steady),
            None => parts.push(Part { edges: Vec::new(), interval, observed, steady }),
        }
        parts.into_iter().map(|part| self.dictionary.message(part, owners, sender, now)).collect()
    }

    /// What of a minute cannot wait, the worst first.
    fn news(&mut self, edges: HashMap<Key, Figures>, start_ms: i64) -> Vec<(Key, Figures)> {
        let mut news = Vec::new();
        for (key, mut figures) in edges {
            let pace = Pace::of(&mut figures, STEP_MS as f64 / 1000.0);
            if self.told.get(&key).is_none_or(|told| pace.is_news_after(&told.pace)) {
                news.push((key, figures, pace));
            } else {
                later(&mut self.pending, key, figures);
            }
        }
        let worth = |pace: &Pace| (pace.failed, pace.sent + pace.received);
        news.sort_unstable_by(|(.., a), (.., b)| worth(b).partial_cmp(&worth(a)).unwrap_or(std::cmp::Ordering::Equal));
        for (key, figures, _) in news.drain(NEWS.min(news.len())..) {
            later(&mut self.pending, key, figures);
        }
        let told = news.into_iter().map(|(key, figures, pace)| {
            self.told.insert(key, Told { pace, start_ms, moved: true, confidence: figures.confidence() });
            // The other end may tell of it in its batch: that of this end needs the same ports to be joined with it.
            let mut ports = Figures { ports: figures.ports, ..Figures::default() };
            ports.judge(figures.confidence());
            later(&mut self.pending, key, ports);
            (key, figures)
        });
        told.collect()
    }

    /// A full batch: what is to be told of it, and how many edges go on as they were told.
    fn batch(&mut self, active: &HashMap<Key, u32>, start_ms: i64, seconds: f64) -> (Vec<(Key, Figures)>, u32) {
        if self.told.len() > MOST {
            self.told.retain(|_, last| last.moved);
        }
        if self.told.len() > MOST {
            self.told.clear();
        }
        let pending = std::mem::take(&mut self.pending);
        let has_stopped = |(key, last): &(&Key, &Told)| last.moved && !pending.contains_key(key);
        let stopped: Vec<(Key, f32)> =
            self.told.iter().filter(has_stopped).map(|(key, last)| (*key, last.confidence)).collect();
        let still = |key: &Key| active.get(key).copied().unwrap_or(0);
        let (mut tell, mut steady) = (Vec::new(), 0);
        for (key, mut figures) in pending {
            figures.active = still(&key);
            let pace = Pace::of(&mut figures, seconds);
            if self.told_lately(&key, start_ms).is_some_and(|told| pace.is_as_told(&told, seconds)) {
                steady += 1;
            } else {
                let confidence = figures.confidence();
                self.told.insert(key, Told { pace, start_ms, moved: goes_on(&figures), confidence });
                tell.push((key, figures));
            }
        }
        for (key, confidence) in stopped {
            let mut zeros = Figures { active: still(&key), ..Figures::default() };
            zeros.judge(confidence);
            self.told.insert(key, Told { pace: Pace::of(&mut zeros, seconds), start_ms, moved: false, confidence });
            // With every minute told nothing is taken for steady, so silence already says it.
            if self.is_silent_when_steady() {
                tell.push((key, zeros));
            }
        }
        self.told.retain(|_, last| last.moved || start_ms - last.start_ms < FORGOTTEN_MS);
        (tell, steady)
    }

    fn is_silent_when_steady(&self) -> bool {
        self.length_ms > STEP_MS
    }

    /// The pace that a collector assumes to go on, when an edge may be silent.
    fn told_lately(&self, key: &Key, start_ms: i64) -> Option<Pace> {
        let told = self.told.get(key).filter(|_| self.is_silent_when_steady())?;
        (told.moved && (start_ms - AGAIN_MS..start_ms).contains(&told.start_ms)).then_some(told.pace)
    }
}

/// What a reader takes for moving: that connections ended is none of it.
fn goes_on(figures: &Figures) -> bool {
    figures.connects > 0 || figures.failed > 0 || figures.sent > 0 || figures.received > 0 || figures.retransmits > 0
}

/// The same edge, later.
fn later(pending: &mut HashMap<Key, Figures>, mut key: Key, figures: Figures) {
    if pending.len() >= PENDING && !pending.contains_key(&key) {
        key = Key { peer: None, peer_port: 0, ..key };
    }
    match pending.get_mut(&key) {
        Some(before) => before.later(figures),
        None => drop(pending.insert(key, figures)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::links::message::Transport;
    use crate::links::owner::UNATTRIBUTED;
    use crate::source::Root;
    use proptest::prelude::*;
    use std::net::Ipv4Addr;
    use tacit_wire::Encoding;
    use tacit_wire::codec::encode;

    const FIVE: i64 = 5 * STEP_MS;

    fn key(peer: u32) -> Key {
        Key {
            transport: Transport::Tcp,
            server: false,
            local: Some(Ipv4Addr::new(10, 0, 0, 1).into()),
            port: 0,
            owner: UNATTRIBUTED,
            peer: Some(Ipv4Addr::from_bits(0x0a00_0100 + peer).into()),
            peer_port: 5432,
        }
    }

    fn figures(connects: u32) -> Figures {
        Figures { connects, sent: u64::from(connects) * 1000, ..Figures::default() }
    }

    struct Node {
        batch: Batch,
        owners: Owners,
        sender: Sender,
        minute: i64,
    }

    impl Node {
        fn new(length_ms: i64) -> Self {
            let sender = Sender { node: "n".parse().expect("an id"), boot: Default::default() };
            Self { batch: Batch::new(length_ms), owners: Owners::new(&Root::new("/nonexistent")), sender, minute: 0 }
        }

        fn minute(&mut self, edges: impl IntoIterator<Item = (u32, Figures)>) -> Vec<Links> {
            let edges: HashMap<Key, Figures> = edges.into_iter().map(|(peer, figures)| (key(peer), figures)).collect();
            let observed = Observed { start_ms: self.minute * STEP_MS, level: 1, overflows: 0 };
            self.minute += 1;
            let active = HashMap::new();
            self.batch.minute(edges, &active, observed, &self.owners, &self.sender, Tick::default())
        }
    }

    /// Start and length in minutes, connects of each edge, and how many are steady.
    fn told(messages: &[Links]) -> Vec<(i64, u32, Vec<u32>, u32)> {
        let told = |m: &Links| {
            let connects = m.edges.iter().map(|e| e.connects).collect();
            (m.start_ms / STEP_MS, m.step_s / 60, connects, m.steady)
        };
        messages.iter().map(told).collect()
    }

    #[test]
    fn a_new_edge_is_told_at_once_then_in_batches_then_not_at_all_and_when_it_stops() {
        let mut node = Node::new(FIVE);
        let all: Vec<_> = (0..20).flat_map(|i| told(&node.minute((i < 15).then(|| (1, figures(100)))))).collect();
        let expected = [
            (0, 1, vec![100], 0),
            // What the first minute told is not in the batch.
            (0, 5, vec![400], 0),
            (5, 5, vec![500], 0),
            (10, 5, vec![], 1),
            (15, 5, vec![0], 0),
        ];
        assert_eq!(all, expected);
    }

    #[test]
    fn a_steady_edge_is_told_again_each_hour() {
        let mut node = Node::new(FIVE);
        let all: Vec<_> = (0..130).flat_map(|_| told(&node.minute([(1, figures(100))]))).collect();
        let with_figures: Vec<i64> = all.iter().filter(|(.., connects, _)| !connects.is_empty()).map(|m| m.0).collect();
        assert_eq!(with_figures, [0, 0, 5, 70], "{all:?}");
        assert_eq!(all.len(), 27, "each batch says how many are steady");
    }

    #[test]
    fn what_fails_or_slows_down_is_told_in_its_minute() {
        let mut node = Node::new(FIVE);
        (0..5).for_each(|_| drop(node.minute([(1, figures(100))])));
        assert!(node.minute([(1, figures(90))]).is_empty());
        let failing = Figures { failed: 3, ..figures(10) };
        assert_eq!(told(&node.minute([(1, failing.clone())])), [(6, 1, vec![10], 0)]);
        assert!(node.minute([(1, failing)]).is_empty(), "the same is no news twice");
        let mut slow = figures(100);
        slow.round_trip(40_000, 40_000);
        assert!(node.minute([(1, slow)]).is_empty(), "nothing is known to compare with");
        assert_eq!(told(&node.minute([(1, figures(100))])), [(5, 5, vec![300], 0)]);
        let queue = Figures { accept_queue: Some(30), ..figures(100) };
        assert_eq!(told(&node.minute([(1, queue)])), [(10, 1, vec![100], 0)]);
    }

    #[test]
    fn with_batches_of_a_minute_each_edge_that_moved_is_told() {
        let mut node = Node::new(STEP_MS);
        for minute in 0..70 {
            assert_eq!(told(&node.minute([(1, figures(7))])), [(minute, 1, vec![7], 0)]);
        }
        assert!(node.minute([]).is_empty());
    }

    #[test]
    fn ends_are_announced_once_an_hour_and_when_asked_for() {
        let mut node = Node::new(STEP_MS);
        let ends = |node: &mut Node| node.minute([(1, figures(7))]).remove(0).endpoints;
        let first = ends(&mut node);
        assert_eq!((first.len(), ends(&mut node).len()), (2, 0));
        node.batch.tell_all();
        assert_eq!((ends(&mut node), ends(&mut node).len()), (first.clone(), 0));
        node.minute = 60;
        assert_eq!(ends(&mut node), first, "the same numbers");
    }

    #[test]
    fn many_edges_are_told_in_parts_that_fit() {
        let mut node = Node::new(STEP_MS);
        let mut messages = node.minute((0..1024).map(|i| (i, figures(i))));
        assert_eq!((messages.len(), messages.iter().map(|m| m.edges.len()).sum::<usize>()), (11, 1024));
        for message in &mut messages {
            message.endpoints.iter_mut().for_each(|e| e.owner = Some("w".repeat(64)));
            for encoding in [Encoding::Cbor, Encoding::Json] {
                encode(message, encoding).expect("it keeps the bounds");
            }
        }
    }

    /// The promise of the issue: 50 edges of which each changes all the time cost at most 2 KB a minute.
    #[test]
    fn fifty_changing_edges_cost_less_than_two_kilobytes_a_minute() {
        let mut node = Node::new(FIVE);
        let mut random = fastrand::Rng::with_seed(7);
        let mut bytes = 0;
        for minute in 0..65 {
            let edges: Vec<_> = (0..50)
                .map(|peer| {
                    let mut figures = figures(random.u32(0..5000));
                    (figures.failed, figures.retransmits) = (random.u32(0..100), random.u32(0..100));
                    (figures.received, figures.ended) = (random.u64(0..1 << 30), random.u32(0..5000));
                    figures.lived_s = random.f64() * 1000.0;
                    (0..20).for_each(|_| figures.round_trip(random.u32(100..100_000), 100));
                    (0..20).for_each(|_| figures.ports.insert(random.u16(..)));
                    (peer, figures)
                })
                .collect();
            let sizes = node
                .minute(edges)
                .iter()
                .map(|m| encode(m, Encoding::Cbor).expect("it keeps the bounds").len())
                .sum::<usize>();
            // The first minutes announce everything.
            bytes += if minute < 5 { 0 } else { sizes };
        }
        println!("{} bytes a minute", bytes / 60);
        assert!(bytes / 60 <= 2048, "{} bytes a minute", bytes / 60);
    }

    proptest! {
        /// Law: who adds up what is told, and lets steady edges go on as told, is never further from the truth than a tenth and
        /// what small counts may differ.
        #[test]
        fn what_is_told_adds_up(paces in proptest::collection::vec(prop_oneof![Just(0_u32), 0..40_u32, 900..1100_u32], 40)) {
            let mut node = Node::new(FIVE);
            let (mut truth, mut assumed, mut slack) = (0.0, 0.0, 0.0);
            let mut pace = 0.0;
            for connects in paces.into_iter().chain([0; 10]) {
                truth += f64::from(connects);
                for message in node.minute((connects > 0).then(|| (1, figures(connects)))) {
                    if let Some(edge) = message.edges.first() {
                        assumed += f64::from(edge.connects);
                        pace = f64::from(edge.connects) / f64::from(message.step_s);
                    } else if message.steady > 0 {
                        let more = pace * f64::from(message.step_s);
                        assumed += more;
                        slack += 2.0 + 0.12 * more;
                    }
                }
            }
            prop_assert!((truth - assumed).abs() <= slack + 1e-6, "{truth} {assumed} {slack}");
        }
    }
}
