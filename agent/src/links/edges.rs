//! The figures of one interval, by edge.

use std::collections::HashMap;
use std::net::IpAddr;

use tacit_wire::message::Sketch;

use super::message::Transport;
use super::owner::OwnerId;

/// Edges of one interval; with more, the rest of an end's peers is one edge whose peer has no address.
const MOST: usize = 512;
/// Round trips kept of one edge; beyond it each has the same chance to stay.
const ROUND_TRIPS: usize = 128;
/// Weight of the newest round trip in what is shown as of late.
const RECENT: f32 = 0.125;

/// An edge: a local end and its peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Key {
    /// Transport.
    pub transport: Transport,
    /// Whether the local end is the server.
    pub server: bool,
    /// Local address; none where the kernel did not keep it.
    pub local: Option<IpAddr>,
    /// Local port of a server; 0 of a client.
    pub port: u16,
    /// Who has the local end.
    pub owner: OwnerId,
    /// The peer's address; none for the rest of many.
    pub peer: Option<IpAddr>,
    /// The peer's port when it is the server; 0 when it is the client.
    pub peer_port: u16,
}

/// Figures of an edge.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Figures {
    /// Connections opened.
    pub connects: u32,
    /// Connects that failed.
    pub failed: u32,
    /// Bytes sent and acknowledged.
    pub sent: u64,
    /// Bytes received.
    pub received: u64,
    /// Segments sent again.
    pub retransmits: u32,
    /// Connections open at the end.
    pub active: u32,
    /// Connections that ended.
    pub ended: u32,
    /// Seconds that those that ended had lived, together.
    pub lived_s: f64,
    /// Largest accept queue.
    pub accept_queue: Option<u32>,
    /// Client ports.
    pub ports: Sketch,
    /// Sum of the owner's confidence, and of how many.
    pub(super) sure: f32,
    pub(super) judged: u32,
    pub(super) round_trips: Vec<u32>,
    pub(super) round_trips_seen: u32,
    pub(super) min_rtt_us: Option<u32>,
    /// The round trip as of late.
    pub(super) recent_rtt_us: f32,
}

impl Figures {
    /// Adds a round trip in microseconds, and the least of its connection.
    pub fn round_trip(&mut self, rtt_us: u32, min_us: u32) {
        if rtt_us == 0 {
            return;
        }
        let least = rtt_us.min(min_us);
        self.min_rtt_us = Some(self.min_rtt_us.map_or(least, |m| m.min(least)));
        self.round_trips_seen = self.round_trips_seen.saturating_add(1);
        let step = RECENT.max(1.0 / self.round_trips_seen as f32);
        self.recent_rtt_us += step * (rtt_us as f32 - self.recent_rtt_us);
        if self.round_trips.len() < ROUND_TRIPS {
            self.round_trips.push(rtt_us);
        } else if let Some(place) = self.round_trips.get_mut(fastrand::u32(..self.round_trips_seen) as usize) {
            *place = rtt_us;
        }
    }

    /// Takes in how sure the owner of one connection is.
    pub fn judge(&mut self, confidence: f32) {
        self.sure += confidence;
        self.judged += 1;
    }

    /// The owner of all of them was found later.
    pub fn judged_anew(&mut self, confidence: f32) {
        self.judged = self.judged.max(1);
        self.sure = confidence * self.judged as f32;
    }

    /// How sure the owner is on average.
    #[must_use]
    pub fn confidence(&self) -> f32 {
        self.sure / self.judged.max(1) as f32
    }

    /// Median, 95 % point and least of the round trips, in seconds.
    pub fn round_trips(&mut self) -> Option<[f32; 3]> {
        self.round_trips.sort_unstable();
        let last = self.round_trips.len().checked_sub(1)?;
        let at = |share: usize| self.round_trips[(last * share).div_ceil(100)] as f32 / 1e6;
        Some([at(50), at(95), self.min_rtt_us? as f32 / 1e6])
    }

    /// Whether anything happened.
    #[must_use]
    pub fn moved(&self) -> bool {
        self.connects > 0
            || self.failed > 0
            || self.sent > 0
            || self.received > 0
            || self.retransmits > 0
            || self.ended > 0
    }

    /// Takes in those of the same edge from later on.
    pub fn later(&mut self, other: Self) {
        let active = other.active;
        self.merge(other);
        self.active = active;
    }

    /// Takes in the figures of another edge.
    pub fn merge(&mut self, mut other: Self) {
        self.connects = self.connects.saturating_add(other.connects);
        self.failed = self.failed.saturating_add(other.failed);
        self.sent = self.sent.saturating_add(other.sent);
        self.received = self.received.saturating_add(other.received);
        self.retransmits = self.retransmits.saturating_add(other.retransmits);
        self.active = self.active.saturating_add(other.active);
        self.ended = self.ended.saturating_add(other.ended);
        self.lived_s += other.lived_s;
        self.accept_queue = self.accept_queue.max(other.accept_queue);
        self.sure += other.sure;
        self.judged = self.judged.saturating_add(other.judged);
        self.ports.merge(&other.ports);
        for rtt in std::mem::take(&mut other.round_trips) {
            self.round_trip(rtt, other.min_rtt_us.unwrap_or(rtt));
        }
    }
}

/// What a service did in the interval so far, over all of its edges.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Totals {
    /// Connections opened.
    pub connects: u64,
    /// Connects that failed.
    pub failed: u64,
    /// Bytes sent and acknowledged.
    pub sent: u64,
    /// Bytes received.
    pub received: u64,
    /// Segments sent again.
    pub retransmits: u64,
    /// Connections open now.
    pub active: u32,
    /// Largest accept queue now.
    pub accept_queue: u32,
    /// Sum of recent round trips in microseconds, and of how many.
    pub(super) rtt_us: f32,
    pub(super) rtts: f32,
}

impl Totals {
    /// Adds an edge. Connections that are open are counted apart.
    pub fn add(&mut self, figures: &Figures) {
        self.connects += u64::from(figures.connects);
        self.failed += u64::from(figures.failed);
        self.sent = self.sent.saturating_add(figures.sent);
        self.received = self.received.saturating_add(figures.received);
        self.retransmits += u64::from(figures.retransmits);
        let weight = figures.round_trips_seen as f32;
        self.rtt_us += weight * figures.recent_rtt_us;
        self.rtts += weight;
    }

    /// Adds what the same service did elsewhere.
    pub fn merge(&mut self, other: &Self) {
        self.connects += other.connects;
        self.failed += other.failed;
        self.sent = self.sent.saturating_add(other.sent);
        self.received = self.received.saturating_add(other.received);
        self.retransmits += other.retransmits;
        self.active = self.active.saturating_add(other.active);
        self.accept_queue = self.accept_queue.max(other.accept_queue);
        self.rtt_us += other.rtt_us;
        self.rtts += other.rtts;
    }

    /// Mean round trip of late in seconds.
    #[must_use]
    pub fn round_trip_s(&self) -> Option<f32> {
        (self.rtts > 0.0).then(|| self.rtt_us / self.rtts / 1e6)
    }

    /// What moved, as one figure that only grows within an interval.
    #[must_use]
    pub fn moved(&self) -> u64 {
        self.connects.saturating_add(self.failed).saturating_add(self.sent).saturating_add(self.received)
    }
}

/// All edges of the interval.
#[derive(Debug, Default)]
pub struct Edges(HashMap<Key, Figures>);

impl Edges {
    /// The figures of an edge; beyond the bound those of the rest of its end's peers.
    pub fn of(&mut self, key: Key) -> &mut Figures {
        let full = self.0.len() >= MOST && !self.0.contains_key(&key);
        let key = if full { Key { peer: None, peer_port: 0, ..key } } else { key };
        // Without end even so, where owners and ports are many: then all of them are one.
        let full = self.0.len() >= 2 * MOST && !self.0.contains_key(&key);
        let key = if full { Key { local: None, port: 0, owner: 0, ..key } } else { key };
        self.0.entry(key).or_default()
    }

    /// The figures of an edge, if anything was seen of it.
    pub fn seen(&mut self, key: &Key) -> Option<&mut Figures> {
        self.0.get_mut(key)
    }

    /// All edges and figures.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = (&Key, &mut Figures)> {
        self.0.iter_mut()
    }

    /// All edges and figures, to be read.
    pub fn iter(&self) -> impl Iterator<Item = (&Key, &Figures)> {
        self.0.iter()
    }

    /// All edges.
    pub fn keys(&self) -> impl Iterator<Item = &Key> {
        self.0.keys()
    }

    /// Takes everything out.
    pub fn take(&mut self) -> HashMap<Key, Figures> {
        std::mem::take(&mut self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rest_of_many_peers_is_one_edge() {
        let mut edges = Edges::default();
        let key = |peer: u32| Key {
            transport: Transport::Tcp,
            server: true,
            local: None,
            port: 80,
            owner: 1,
            peer: Some(std::net::Ipv4Addr::from_bits(peer).into()),
            peer_port: 0,
        };
        (0..100_000).for_each(|peer| edges.of(key(peer)).connects += 1);
        let all = edges.take();
        assert_eq!((all.len(), all.values().map(|f| f.connects).sum::<u32>()), (MOST + 1, 100_000));
    }

    #[test]
    fn round_trips_are_ordered() {
        let mut figures = Figures::default();
        assert_eq!(figures.round_trips(), None);
        (1..=100).for_each(|i| figures.round_trip(i * 1000, i * 900));
        assert_eq!(figures.round_trips(), Some([0.051, 0.096, 0.0009]));
    }
}
