//! Connections of each service as figures of the node, so that the detector judges them like all other series.
//!
//! The thread that observes connections turns totals into rates with each look; the source [`link`](crate::source::link) shows
//! the newest ones in each sample.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::edges::Totals;
use super::owner::{OwnerId, Owners};

/// Services that are shown, a client and a server of one name counted apart; those that come later wait for a place.
pub const MOST: usize = 16;
/// Services remembered.
const MOST_KNOWN: usize = 1024;
/// A client is shown once it moved something in so many minutes: one that ran once has no usual behaviour.
const MINUTES: u32 = 5;
/// A service that moved nothing and holds no connection for so long is forgotten.
const FORGOTTEN_MS: u64 = 3_600_000;
const MINUTE_MS: u64 = 60_000;

/// Figures of one service, in the order of [`Figure`].
pub type Figures = [f32; Figure::COUNT];

/// What is shown of a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Figure {
    /// Connections opened a second.
    Connects,
    /// Connects that failed a second.
    Failed,
    /// Bytes sent a second.
    Sent,
    /// Bytes received a second.
    Received,
    /// Segments sent again a second.
    Retransmits,
    /// Mean round trip of late in seconds; NaN before the first.
    RoundTrip,
    /// Connections open.
    Active,
    /// Largest accept queue; NaN of a client.
    AcceptQueue,
}

impl Figure {
    /// How many there are.
    pub const COUNT: usize = Self::AcceptQueue as usize + 1;
}

/// A service that is shown.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// Unit, container or executable.
    pub name: Arc<str>,
    /// Whether as a server.
    pub server: bool,
    /// Its figures.
    pub figures: Figures,
}

/// What is shown now.
#[derive(Debug, Default)]
pub struct Shown {
    /// Another number whenever the list of services is another.
    pub generation: u64,
    /// The services.
    pub rows: Vec<Row>,
}

/// What the observing thread and the sampling thread share.
#[derive(Debug, Clone, Default)]
pub struct ServiceFigures(Arc<Mutex<Shown>>);

impl ServiceFigures {
    /// What is shown.
    pub fn shown(&self) -> MutexGuard<'_, Shown> {
        // The rows are valid at every step, so a poisoned lock changes nothing.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Debug)]
struct Service {
    before: Totals,
    minutes: u32,
    minute: u64,
    /// When it last moved something or held a connection.
    used_ms: u64,
    shown: bool,
}

/// Turns totals into rates.
#[derive(Debug, Default)]
pub struct Services {
    known: HashMap<(OwnerId, bool), Service>,
    looked_ms: Option<u64>,
    shown: ServiceFigures,
}

impl Services {
    /// Shows its figures through `shown`.
    #[must_use]
    pub fn new(shown: ServiceFigures) -> Self {
        Self { shown, ..Self::default() }
    }

    /// Totals start from zero: a new interval begins.
    pub fn interval_began(&mut self) {
        self.known.values_mut().for_each(|service| service.before = Totals::default());
    }

    /// Takes in what each service did in the interval so far.
    pub fn looked(&mut self, totals: &HashMap<(OwnerId, bool), Totals>, owners: &Owners, now_ms: u64) {
        let Some(before_ms) = self.looked_ms.replace(now_ms) else { return };
        let seconds = now_ms.saturating_sub(before_ms).max(1) as f32 / 1000.0;
        let mut shown = self.shown.0.lock().unwrap_or_else(PoisonError::into_inner);
        let row = |(owner, server): (OwnerId, bool), before: &Totals, now: &Totals| {
            let name = Arc::clone(&owners.get(owner).name);
            let known = shown.rows.iter().find(|row| row.server == server && row.name == name);
            let last = known.map(|row| row.figures[Figure::RoundTrip as usize]);
            Row { name, server, figures: figures(before, now, seconds, server, last) }
        };
        let mut rows = Vec::with_capacity(shown.rows.len());
        let mut places = MOST.saturating_sub(self.known.values().filter(|service| service.shown).count());
        for (&key, now) in totals {
            let room = self.known.len() < MOST_KNOWN;
            let service = match self.known.entry(key) {
                Entry::Occupied(known) => known.into_mut(),
                Entry::Vacant(_) if !room => continue,
                Entry::Vacant(new) => new.insert(Service::new(now_ms)),
            };
            service.take(now, now_ms);
            if !service.shown && places > 0 && service.has_a_usual_behaviour(key.1) {
                service.shown = true;
                places -= 1;
            }
            if service.shown {
                rows.push(row(key, &service.before, now));
            }
            service.before = *now;
        }
        // One of which nothing was heard in this interval goes on with what it had, but moves nothing.
        self.known.retain(|_, service| now_ms.saturating_sub(service.used_ms) < FORGOTTEN_MS);
        let silent = self.known.iter().filter(|(key, service)| service.shown && !totals.contains_key(key));
        rows.extend(silent.map(|(key, _)| row(*key, &Totals::default(), &Totals::default())));
        rows.sort_unstable_by(|a, b| (&a.name, a.server).cmp(&(&b.name, b.server)));
        let same = |(a, b): (&Row, &Row)| a.name == b.name && a.server == b.server;
        if rows.len() != shown.rows.len() || !rows.iter().zip(&shown.rows).all(same) {
            shown.generation += 1;
        }
        shown.rows = rows;
    }
}

impl Service {
    fn new(now_ms: u64) -> Self {
        Self { before: Totals::default(), minutes: 0, minute: u64::MAX, used_ms: now_ms, shown: false }
    }

    fn take(&mut self, now: &Totals, now_ms: u64) {
        let moved = now.moved() > self.before.moved();
        if moved || now.active > 0 {
            self.used_ms = now_ms;
        }
        if moved && self.minute != now_ms / MINUTE_MS {
            self.minute = now_ms / MINUTE_MS;
            self.minutes = self.minutes.saturating_add(1);
        }
    }

    fn has_a_usual_behaviour(&self, server: bool) -> bool {
        self.minutes >= if server { 1 } else { MINUTES }
    }
}

fn figures(before: &Totals, now: &Totals, seconds: f32, server: bool, last_round_trip: Option<f32>) -> Figures {
    let rate = |now: u64, before: u64| now.saturating_sub(before) as f32 / seconds;
    [
        rate(now.connects, before.connects),
        rate(now.failed, before.failed),
        rate(now.sent, before.sent),
        rate(now.received, before.received),
        rate(now.retransmits, before.retransmits),
        // Nothing measured is no change: the last one holds.
        now.round_trip_s().or(last_round_trip).unwrap_or(f32::NAN),
        now.active as f32,
        if server { now.accept_queue as f32 } else { f32::NAN },
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::Root;

    fn totals(connects: u64, active: u32) -> Totals {
        Totals { connects, active, ..Totals::default() }
    }

    #[test]
    fn rates_are_between_looks_and_survive_the_end_of_an_interval() {
        let owners = Owners::new(&Root::new("/nonexistent"));
        let shown = ServiceFigures::default();
        let mut services = Services::new(shown.clone());
        let rates = |services: &mut Services, connects: u64, now_ms: u64| {
            services.looked(&HashMap::from([((1, true), totals(connects, 2))]), &owners, now_ms);
            shown
                .shown()
                .rows
                .first()
                .map(|row| [row.figures[Figure::Connects as usize], row.figures[Figure::Active as usize]])
        };
        assert_eq!(rates(&mut services, 5, 1000), None, "a rate needs two looks");
        assert_eq!(rates(&mut services, 25, 3000), Some([12.5, 2.0]));
        assert_eq!(rates(&mut services, 31, 5000), Some([3.0, 2.0]));
        services.interval_began();
        assert_eq!(rates(&mut services, 4, 7000), Some([2.0, 2.0]));
        services.looked(&HashMap::new(), &owners, 9000);
        assert_eq!(shown.shown().rows[0].figures[Figure::Connects as usize], 0.0, "silence is zero");
        assert_eq!(shown.shown().generation, 1, "the list stayed as it was");
        services.looked(&HashMap::new(), &owners, 7000 + FORGOTTEN_MS);
        assert!(shown.shown().rows.is_empty());
        assert_eq!(shown.shown().generation, 2);
    }

    #[test]
    fn a_client_waits_until_it_has_a_usual_behaviour_and_places_are_few() {
        let owners = Owners::new(&Root::new("/nonexistent"));
        let shown = ServiceFigures::default();
        let mut services = Services::new(shown.clone());
        let mut client = |minute: u64| {
            services.looked(&HashMap::from([((1, false), totals(minute + 1, 0))]), &owners, minute * MINUTE_MS);
            shown.shown().rows.len()
        };
        assert_eq!((0..7).map(&mut client).collect::<Vec<_>>(), [0, 0, 0, 0, 0, 1, 1]);

        let shown = ServiceFigures::default();
        let mut services = Services::new(shown.clone());
        services.looked(&HashMap::new(), &owners, 0);
        let many: HashMap<_, _> = (0..3000).map(|owner| ((owner, true), totals(1, 0))).collect();
        services.looked(&many, &owners, 1000);
        assert_eq!((shown.shown().rows.len(), services.known.len()), (MOST, MOST_KNOWN));
    }
}
