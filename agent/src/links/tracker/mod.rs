//! From sockets to edges: what dumps and destroy events say of one namespace, joined by the kernel's cookie.
//!
//! A dump tells who owns a connection, an event its last figures. Bytes and retransmits are counted as differences from
//! dump to dump, so those of a long connection fall into the minutes in which they were sent. A connection that no dump
//! saw is counted whole by its event; its owner comes from the listener or from memory.
//!
//! [`feelers`] are UDP sockets that were for nothing but to ask for a way, [`strangers`] clients that nobody could be named for yet.

mod feelers;
mod place;
mod strangers;
mod totals;

use std::collections::HashMap;
use std::net::IpAddr;

use super::edges::{Edges, Figures, Key, Totals};
use super::message::{Record, Transport};
use super::owner::{OwnerId, Owners, UNATTRIBUTED};
use feelers::Feelers;
use place::{Placed, guessed_server, is_listener, is_open, key_of, listens_on, placed};
use strangers::{Guess, Strangers};
use totals::{Counted, count, ended};

/// Connections followed; those beyond it are counted when they end.
const MOST: usize = 65_536;
/// A listener that is gone still explains connections that end so much later.
const LISTENER_KEPT_MS: u64 = 120_000;
/// `TCP_SYN_SENT`: not yet a connection.
const SYN_SENT: u8 = 2;
/// So many connections of unnamed clients in an interval are worth looking for.
const UNNAMED: u32 = 5;
/// How sure a direction is that was told by port numbers alone.
const GUESSED: f32 = 0.5;

/// An open connection.
#[derive(Debug)]
struct Live {
    key: Key,
    confidence: f32,
    client_port: u16,
    counted: Counted,
    /// Whether it was there before the agent looked.
    old: bool,
    /// Whether it was counted as a connection; one under way is not yet.
    connected: bool,
    first_seen_ms: u64,
    /// The last dump that had it.
    dump: u32,
}

/// Something that listens.
#[derive(Debug, Clone, Copy)]
struct Listener {
    address: IpAddr,
    owner: OwnerId,
    seen_ms: u64,
    /// Its accept queue now, and the largest of the interval.
    waiting: u32,
    queue: u32,
}

/// The connections of a namespace.
#[derive(Debug, Default)]
pub struct Tracker {
    live: HashMap<u64, Live>,
    listeners: HashMap<(Transport, u16), Vec<Listener>>,
    edges: Edges,
    /// Clients' connections of this interval and the one before that nobody could be named for.
    unnamed: [u32; 2],
    strangers: Strangers,
    feelers: Feelers,
    dump: u32,
    dumped_ms: u64,
    /// Time between the last two dumps: what one sighting stands for.
    between_ms: u64,
    /// Connections followed, where that is fewer than [`MOST`].
    room: Option<usize>,
}

impl Tracker {
    /// Follows so many connections at most.
    #[must_use]
    pub fn with_room(room: usize) -> Self {
        Self { room: Some(room), ..Self::default() }
    }

    /// Takes in a whole dump. `events` says whether ends are told by events; without them what is gone has ended.
    pub fn dumped(&mut self, records: &[Record], owners: &mut Owners, events: bool, now_ms: u64) {
        self.between_ms = now_ms.saturating_sub(if self.dump == 0 { now_ms } else { self.dumped_ms });
        self.dumped_ms = now_ms;
        self.dump += 1;
        // Listeners first: they decide which end serves.
        records.iter().filter(|r| is_listener(r)).for_each(|r| self.listener(r, owners, now_ms));
        records.iter().filter(|r| is_open(r)).for_each(|r| self.open(r, owners, now_ms));
        self.forget(events, now_ms);
        if !events {
            // Nothing more is told of what was closed.
            self.feelers.batch();
        }
        self.tell_feelers(owners);
    }

    /// A batch of destroy events begins.
    pub fn batch(&mut self) {
        self.feelers.batch();
    }

    /// Takes in a destroy event.
    pub fn closed(&mut self, record: &Record, owners: &Owners) {
        let info = record.info.unwrap_or_default();
        if let Some(live) = self.live.remove(&record.cookie) {
            let age = lived_s(&live, self.dumped_ms, self.between_ms);
            let figures = self.edges.of(live.key);
            figures.ports.insert(live.client_port);
            figures.judge(live.confidence);
            count(figures, live.counted, ended(&info, live.key.server, live.counted));
            if record.info.is_some_and(|i| i.never_connected()) {
                figures.failed += 1;
                return;
            }
            figures.connects += u32::from(!live.connected);
            figures.round_trip(info.rtt_us, info.min_rtt_us);
            figures.ended += 1;
            figures.lived_s += age;
            return;
        }
        if record.remote.is_unspecified() {
            // A listener, a socket that was never used, or UDP without a peer.
            return;
        }
        if record.transport == Transport::Udp && !guessed_server(record) && self.feelers.hold(record) {
            return;
        }
        let failed = record.info.is_some_and(|i| i.never_connected());
        let placed =
            if failed && record.remote_port == 0 { self.refused(record, owners) } else { self.place(record, owners) };
        if !placed.key.server && record.transport == Transport::Tcp {
            self.feelers.connected(record);
        }
        if placed.key.owner == UNATTRIBUTED && !placed.key.server && !failed {
            self.unnamed[0] = self.unnamed[0].saturating_add(1);
            if record.transport == Transport::Tcp {
                self.strangers.closed(record);
            }
        }
        let figures = self.edges.of(placed.key);
        figures.judge(placed.confidence);
        if placed.client_port != 0 {
            figures.ports.insert(placed.client_port);
        }
        count(figures, Counted::default(), ended(&info, placed.key.server, Counted::default()));
        if failed {
            figures.failed += 1;
        } else {
            figures.connects += 1;
            figures.ended += 1;
            figures.round_trip(info.rtt_us, info.min_rtt_us);
        }
    }

    /// Whether there are clients whose connections are too short to be met by chance: more looks would name them.
    #[must_use]
    pub fn has_unnamed_clients(&self) -> bool {
        self.unnamed.iter().any(|n| *n >= UNNAMED)
    }

    /// Sockets to ask for, each of which may be the next connection of a client that nobody could be named for.
    #[must_use]
    pub fn guesses(&self, owners: &Owners) -> Vec<Guess> {
        self.strangers.guesses(owners)
    }

    /// Takes in a socket that was asked for. It only tells whose the client is: figures and lifetimes come from events and dumps.
    pub fn met(&mut self, record: &Record, owners: &mut Owners) {
        match owners.at_once(record) {
            None => {}
            Some(UNATTRIBUTED) => self.strangers.stays_nameless(record),
            Some(owner) => owners.remember((record.remote, record.remote_port), owner),
        }
    }

    /// UDP sockets that no TCP connect explains are connections like others.
    fn tell_feelers(&mut self, owners: &Owners) {
        for held in self.feelers.unexplained() {
            let placed = self.place(&held.record, owners);
            if placed.key.owner == UNATTRIBUTED {
                self.unnamed[0] = self.unnamed[0].saturating_add(held.sockets);
            }
            let figures = self.edges.of(placed.key);
            (0..held.sockets).for_each(|_| figures.judge(placed.confidence));
            figures.ports.merge(&held.ports);
            figures.connects = figures.connects.saturating_add(held.sockets);
            figures.ended = figures.ended.saturating_add(held.sockets);
        }
    }

    /// The interval's edges. What is unattributed is looked up once more: memory may know by now.
    pub fn take(&mut self, owners: &Owners) -> HashMap<Key, Figures> {
        self.tell_feelers(owners);
        self.feelers.interval();
        self.strangers.interval();
        self.unnamed = [0, self.unnamed[0]];
        // Asked about, so that they are not forgotten while their connections are open.
        self.listeners.values().flatten().for_each(|l| owners.touch(l.owner));
        for live in self.live.values() {
            owners.touch(live.key.owner);
            if let Some(figures) = self.edges.seen(&live.key) {
                figures.ports.insert(live.client_port);
            }
        }
        for (key, figures) in self.edges.iter_mut().filter(|(key, _)| key.server) {
            let queues = self.listeners.get(&(key.transport, key.port)).into_iter().flatten();
            let mine = queues.filter(|l| key.local.is_none_or(|local| listens_on(l.address, local)));
            figures.accept_queue = mine.map(|l| l.queue).max();
        }
        let listeners = self.listeners.values_mut().flatten();
        listeners.for_each(|l| l.queue = 0);
        let (mut named, unnamed): (HashMap<Key, Figures>, HashMap<Key, Figures>) =
            self.edges.take().into_iter().partition(|(key, _)| key.owner != UNATTRIBUTED);
        for (mut key, mut figures) in unnamed {
            if let Some((owner, confidence)) = self.by_now(&key, owners) {
                key.owner = owner;
                figures.judged_anew(confidence);
            }
            match named.get_mut(&key) {
                Some(there) => there.merge(figures),
                None => drop(named.insert(key, figures)),
            }
        }
        named.retain(|_, figures| figures.moved());
        let active = self.active(owners);
        named.iter_mut().for_each(|(key, figures)| figures.active = active.get(key).copied().unwrap_or(0));
        named
    }

    /// Connections open now, by edge.
    #[must_use]
    pub fn active(&self, owners: &Owners) -> HashMap<Key, u32> {
        let mut active = HashMap::new();
        for live in self.live.values().filter(|live| live.connected) {
            let mut key = live.key;
            if key.owner == UNATTRIBUTED
                && let Some((owner, _)) = self.by_now(&key, owners)
            {
                key.owner = owner;
            }
            *active.entry(key).or_default() += 1;
        }
        active
    }

    /// What each service did in the interval so far, as a client and as a server.
    #[must_use]
    pub fn services(&self) -> HashMap<(OwnerId, bool), Totals> {
        let mut services: HashMap<(OwnerId, bool), Totals> = HashMap::new();
        for (key, figures) in self.edges.iter().filter(|(key, _)| key.owner != UNATTRIBUTED) {
            services.entry((key.owner, key.server)).or_default().add(figures);
        }
        for live in self.live.values().filter(|live| live.connected && live.key.owner != UNATTRIBUTED) {
            services.entry((live.key.owner, live.key.server)).or_default().active += 1;
        }
        for listener in self.listeners.values().flatten().filter(|l| l.owner != UNATTRIBUTED) {
            let totals = services.entry((listener.owner, true)).or_default();
            totals.accept_queue = totals.accept_queue.max(listener.waiting);
        }
        services
    }

    /// Connections followed now.
    #[must_use]
    pub fn open_connections(&self) -> usize {
        self.live.len()
    }

    /// The owner of an unattributed edge as it is known by now.
    fn by_now(&self, key: &Key, owners: &Owners) -> Option<(OwnerId, f32)> {
        if !key.server {
            return owners.remembered((key.peer?, key.peer_port));
        }
        let same_port = self.listeners.get(&(key.transport, key.port))?;
        let serves =
            |l: &&Listener| l.owner != UNATTRIBUTED && key.local.is_none_or(|local| listens_on(l.address, local));
        same_port.iter().find(serves).map(|l| (l.owner, 1.0))
    }

    fn listener(&mut self, record: &Record, owners: &mut Owners, now_ms: u64) {
        let owner = owners.of(record);
        let same_port = self.listeners.entry((record.transport, record.local_port)).or_default();
        let room = same_port.len() < 64;
        match same_port.iter_mut().find(|l| l.address == record.local) {
            Some(l) => {
                l.owner = if owner == UNATTRIBUTED && now_ms - l.seen_ms < LISTENER_KEPT_MS { l.owner } else { owner };
                l.waiting = record.queue;
                l.queue = l.queue.max(record.queue);
                l.seen_ms = now_ms;
            }
            None if room => {
                let (address, queue) = (record.local, record.queue);
                same_port.push(Listener { address, owner, seen_ms: now_ms, waiting: queue, queue });
            }
            None => {}
        }
    }

    fn open(&mut self, record: &Record, owners: &mut Owners, now_ms: u64) {
        let info = record.info.unwrap_or_default();
        let full = self.live.len() >= self.room.unwrap_or(MOST);
        let (new, certain) = match self.live.get_mut(&record.cookie) {
            Some(live) => {
                live.dump = self.dump;
                (false, live.confidence >= 1.0)
            }
            None if full => return,
            None => (true, false),
        };
        let placed = (!certain).then(|| self.place_dumped(record, owners));
        let live = self.live.entry(record.cookie).or_insert_with(|| Live {
            key: key_of(record, false, UNATTRIBUTED),
            confidence: 0.0,
            client_port: record.local_port,
            counted: Counted::default(),
            old: self.dump == 1,
            connected: false,
            first_seen_ms: now_ms,
            dump: self.dump,
        });
        if let Some(placed) = placed {
            (live.key, live.confidence, live.client_port) = (placed.key, placed.confidence, placed.client_port);
        }
        if new && !live.key.server && record.transport == Transport::Tcp {
            self.feelers.connected(record);
        }
        if record.state == SYN_SENT {
            return;
        }
        let (fresh, total, before) = (!live.connected, totals::open(&info, live.key.server), live.counted);
        live.connected = true;
        live.counted = total.at_least(before);
        // What it did before the agent looked is nobody's minute.
        if (fresh && live.old) || (!fresh && live.counted == before) {
            return;
        }
        let figures = self.edges.of(live.key);
        figures.connects += u32::from(fresh);
        figures.judge(live.confidence);
        figures.ports.insert(live.client_port);
        count(figures, before, live.counted);
        figures.round_trip(info.rtt_us, info.min_rtt_us);
    }

    /// Drops what ended unseen: at once without events, else when two dumps in a row miss it (an event may be under way).
    fn forget(&mut self, events: bool, now_ms: u64) {
        let oldest = self.dump.saturating_sub(u32::from(events));
        let (edges, dumped_ms, between_ms) = (&mut self.edges, self.dumped_ms, self.between_ms);
        self.live.retain(|_, live| {
            let gone = live.dump < oldest;
            if gone {
                let figures = edges.of(live.key);
                figures.ended += 1;
                figures.lived_s += lived_s(live, dumped_ms, between_ms);
                figures.judge(live.confidence);
            }
            !gone
        });
        self.listeners.retain(|_, same_port| {
            same_port.retain(|l| now_ms.saturating_sub(l.seen_ms) < LISTENER_KEPT_MS);
            !same_port.is_empty()
        });
    }

    /// The listener that a connection came in by.
    fn serving(&self, record: &Record) -> Option<&Listener> {
        let same_port = self.listeners.get(&(record.transport, record.local_port))?;
        let exact = same_port.iter().find(|l| l.address == record.local);
        exact.or_else(|| same_port.iter().find(|l| listens_on(l.address, record.local)))
    }

    fn place_dumped(&self, record: &Record, owners: &mut Owners) -> Placed {
        if let Some(listener) = self.serving(record) {
            let mut owner = listener.owner;
            if owner == UNATTRIBUTED {
                owner = owners.of(record);
            }
            return placed(record, true, owner, if owner == UNATTRIBUTED { 0.0 } else { 1.0 });
        }
        let owner = owners.of(record);
        if owner == UNATTRIBUTED {
            return self.place(record, owners);
        }
        if guessed_server(record) {
            return placed(record, true, owner, GUESSED);
        }
        owners.remember((record.remote, record.remote_port), owner);
        placed(record, false, owner, 1.0)
    }

    fn place(&self, record: &Record, owners: &Owners) -> Placed {
        if let Some(listener) = self.serving(record) {
            let sure = if listener.owner == UNATTRIBUTED { 0.0 } else { 1.0 };
            return placed(record, true, listener.owner, sure);
        }
        if guessed_server(record) {
            return placed(record, true, UNATTRIBUTED, 0.0);
        }
        let (owner, confidence) = owners.remembered((record.remote, record.remote_port)).unwrap_or((UNATTRIBUTED, 0.0));
        placed(record, false, owner, confidence)
    }

    /// A blocking connect that was refused has lost its ports: it belongs to the one edge known to that address, if there
    /// is just one, else to an edge of its own.
    fn refused(&self, record: &Record, owners: &Owners) -> Placed {
        let is_tcp = |key: &Key| key.transport == Transport::Tcp && !key.server;
        let to_there = |key: &Key| is_tcp(key) && key.peer == Some(record.remote) && key.peer_port != 0;
        let mut known: Option<Key> = None;
        let this_minute = self.edges.keys().copied();
        for key in this_minute.chain(self.live.values().map(|l| l.key)).filter(to_there) {
            match known {
                Some(other) if other.peer_port != key.peer_port || other.owner != key.owner => {
                    return self.place(record, owners);
                }
                _ => known = Some(key),
            }
        }
        match known {
            Some(key) => Placed { key, confidence: GUESSED, client_port: 0 },
            None => Placed { client_port: 0, ..self.place(record, owners) },
        }
    }
}

/// Each sighting stands for the time between two dumps. Single lives are rough so, but their mean is right, also where most
/// connections are too short to be seen at all (they count as zero).
fn lived_s(live: &Live, dumped_ms: u64, between_ms: u64) -> f64 {
    let more = if live.old { 0 } else { between_ms };
    (dumped_ms.saturating_sub(live.first_seen_ms) + more) as f64 / 1000.0
}

#[cfg(test)]
mod tests;
