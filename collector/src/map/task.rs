//! Keeps the map: reads what came, joins minutes that are due, stores hours that are complete.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tracing::{debug, error, warn};

use super::Map;
use super::book::{HOUR_MS, LATE_MS, MAP_MAX, hour_of};
use super::steady::Steady;
use crate::clock::now_ms;
use crate::ingest::Ingest;
use crate::interop::edges::{Edges, Spoken};
use crate::store::{MapHour, Presence, Store, StoreError};

/// Distance of rounds.
const ROUND: Duration = Duration::from_secs(5);
/// Messages, and nodes' listening services, read at once.
const BATCH: usize = 500;
/// Minutes joined in one round; after a start there are up to two hours of them.
const JOINS: usize = 120;
/// Edges written in one transaction, so that ingest does not wait long.
const ROWS: usize = 2000;
/// How far back messages are read: agents announce their endpoints each hour, and a node that was away brings late ones.
const BACK_MS: i64 = 6 * HOUR_MS;
/// How far ahead of our clock a minute may be.
const AHEAD_MS: i64 = 5 * 60_000;
/// What an agent must be able to do to be asked for its endpoints.
const ANNOUNCE: &str = "announce";

/// Keeps a map up to date.
#[derive(Debug)]
pub struct Mapper {
    map: Arc<Map>,
    store: Arc<dyn Store>,
    ingest: Option<Arc<Ingest>>,
    /// Troubles of edges as events.
    edges: Edges,
    last: i64,
    last_listening: i64,
    started: bool,
}

impl Mapper {
    /// A keeper of `map`.
    #[must_use]
    pub fn new(map: Arc<Map>, store: Arc<dyn Store>) -> Self {
        Self { map, store, ingest: None, edges: Edges::default(), last: 0, last_listening: 0, started: false }
    }

    /// Lets it ask nodes to announce what is not known of them, and tell what happens to edges as events.
    #[must_use]
    pub fn asking(self, ingest: Arc<Ingest>) -> Self {
        Self { ingest: Some(ingest), ..self }
    }

    /// Runs until it is told to stop.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut failing = false;
        while !stop.is_cancelled() {
            match self.round(now_ms()).await {
                Ok(()) => failing = false,
                Err(e) if !failing => {
                    failing = true;
                    error!(error = %e, "Cannot keep the map; trying again.");
                }
                Err(_) => {}
            }
            tokio::select! {
                () = stop.cancelled() => {}
                () = tokio::time::sleep(ROUND) => {}
            }
        }
    }

    /// Does everything that is due.
    ///
    /// # Errors
    /// When the database fails; what was not done is done in the next round.
    pub async fn round(&mut self, now: i64) -> Result<(), StoreError> {
        let claims = self.store.address_claims(now - BACK_MS).await?;
        let edges = if self.started { Vec::new() } else { self.store.map_edges(MAP_MAX).await? };
        let first = !self.started;
        self.map
            .with_book(move |book| {
                book.set_addresses(&claims);
                if first {
                    book.remember(&edges);
                    book.open_from(hour_of(now - LATE_MS) - HOUR_MS);
                }
            })
            .await?;
        self.started = true;
        self.read_listeners().await?;
        self.hear(now).await?;
        let signs = self.map.with_book(move |book| book.signs(now)).await?;
        if !signs.is_empty() {
            self.tell(Spoken { signs, ..Spoken::default() }, now).await?;
        }
        self.reopen(now).await?;
        for minute in self.map.with_book(move |book| book.due(now, JOINS)).await? {
            let messages = self.store.links_of(minute).await?;
            self.map.with_book(move |book| book.join(minute, &messages, now)).await?;
        }
        let changes = self.map.with_book(move |book| book.settle(now)).await?;
        if !changes.is_empty() {
            self.store.save_map_changes(changes.clone()).await?;
        }
        let going_on =
            if self.edges.any_open() { self.map.with_book(|book| book.troubled()).await? } else { Vec::new() };
        self.tell(Spoken { changes, going_on, ..Spoken::default() }, now).await?;
        self.ask(now).await?;
        self.save(now).await
    }

    async fn read_listeners(&mut self) -> Result<(), StoreError> {
        loop {
            let changed = self.store.listening_after(self.last_listening, BATCH).await?;
            let Some(newest) = changed.last().map(|l| l.id) else { return Ok(()) };
            self.map.with_book(move |book| book.set_listeners(&changed)).await?;
            self.last_listening = newest;
        }
    }

    async fn hear(&mut self, now: i64) -> Result<(), StoreError> {
        loop {
            let minutes = (now - BACK_MS, now + AHEAD_MS);
            let messages = self.store.links_after(self.last, minutes, BATCH).await?;
            let Some(newest) = messages.last().map(|m| m.id) else { return Ok(()) };
            self.last = newest;
            self.map
                .with_book(move |book| {
                    for message in &messages {
                        book.hear(message, now);
                    }
                })
                .await?;
        }
    }

    /// Makes events of what the map says.
    async fn tell(&mut self, spoken: Spoken, now: i64) -> Result<(), StoreError> {
        let Some(ingest) = &self.ingest else { return Ok(()) };
        self.edges.take(&*self.store, ingest, spoken, now).await
    }

    /// Begins an hour anew that late messages came for. What went on in it was told up to an hour before.
    async fn reopen(&self, now: i64) -> Result<(), StoreError> {
        let Some(hour) = self.map.with_book(move |book| book.late_hour(now)).await? else { return Ok(()) };
        let (mut steady, mut last) = (Steady::default(), 0);
        loop {
            let messages = self.store.links_after(last, (hour - HOUR_MS, hour + HOUR_MS), BATCH).await?;
            let Some(newest) = messages.last().map(|m| m.id) else { break };
            last = newest;
            let work = self.map.with_book(move |book| {
                book.hear_again(&messages, &mut steady);
                steady
            });
            steady = work.await?;
        }
        self.map.with_book(move |book| book.reopen(hour, steady)).await
    }

    /// Asks nodes to announce their endpoints that speak of some we do not know: we were away when they did, or forgot.
    async fn ask(&self, now: i64) -> Result<(), StoreError> {
        let Some(ingest) = &self.ingest else { return Ok(()) };
        for (site, node) in self.map.with_book(move |book| book.to_ask(now)).await? {
            let Some(record) = self.store.node(&node).await? else { continue };
            let able = record.birth.capabilities.iter().any(|c| c == ANNOUNCE);
            if able && record.presence == Presence::Online {
                debug!(%node, "It speaks of endpoints that are not known here: asking it to announce them.");
                ingest.announce(&site, &node);
            }
        }
        Ok(())
    }

    async fn save(&self, now: i64) -> Result<(), StoreError> {
        let complete = self.map.with_book(move |book| book.to_save(now)).await?;
        let Some(MapHour { hour, mut vertices, edges }) = complete else { return Ok(()) };
        self.map.give_hostnames(&mut vertices);
        let rows = edges.len();
        for vertices in vertices.chunks(ROWS) {
            self.store.save_map_hour(MapHour { hour, vertices: vertices.to_vec(), edges: Vec::new() }).await?;
        }
        for edges in edges.chunks(ROWS) {
            self.store.save_map_hour(MapHour { hour, vertices: Vec::new(), edges: edges.to_vec() }).await?;
        }
        if rows >= MAP_MAX / 2 {
            warn!(edges = rows, "The map has grown large; edges beyond {MAP_MAX} are left out.");
        }
        self.map.with_book(move |book| book.saved(hour, now)).await
    }
}

#[cfg(test)]
mod tests {
    use tacit_wire::message::{Birth, Links};
    use tacit_wire::{Seq, StreamId};

    use super::*;
    use crate::map::book::{Book, MINUTE_MS};
    use crate::map::fixtures::said;
    use crate::map::names::{MapConfig, Names};
    use crate::map::view::{MapView, Selection};
    use crate::store::{Incoming, IncomingBody, SqliteStore};

    const START: i64 = 400_000 * HOUR_MS;

    fn incoming(at: i64, body: IncomingBody) -> Incoming {
        Incoming { site: "lab".parse().unwrap(), received_ms: at, bytes: 1, body }
    }

    /// Two nodes are born, and say what both ends see.
    struct Fleet {
        store: Arc<dyn Store>,
        seq: u64,
        folder: tempfile::TempDir,
    }

    impl Fleet {
        async fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let store: Arc<dyn Store> = Arc::new(SqliteStore::open(&folder.path().join("tacit.db")).unwrap());
            for (node, address) in [("web", "10.0.0.1"), ("db", "10.0.0.2")] {
                let mut birth = Birth { addresses: vec![address.into()], ..crate::fixtures::birth(node, 1) };
                birth.clock.wall_ms = START;
                store.commit(vec![incoming(START, IncomingBody::Birth(Box::new(birth)))]).await.unwrap();
            }
            Self { store, seq: 0, folder }
        }

        async fn say(&mut self, node: &str, change: impl FnOnce(&mut Links), at: i64) {
            self.seq += 1;
            let (server, peer) = if node == "db" { (true, "10.0.0.1") } else { (false, "10.0.0.2") };
            let mut links = said(0, node, at, server, peer, 5432, 0).links;
            (links.head.seq, links.head.stream) = (Seq(self.seq), StreamId([7; 8]));
            change(&mut links);
            self.store.commit(vec![incoming(at, IncomingBody::Links(Box::new(links)))]).await.unwrap();
        }

        async fn both(&mut self, at: i64) {
            for node in ["web", "db"] {
                self.say(node, |_| (), at).await;
            }
        }

        /// A collector that starts now on what is stored.
        fn start(&self) -> (Arc<Map>, Mapper) {
            let book = Book::new(Names::new(&MapConfig::default(), None).unwrap(), None);
            let map = Arc::new(Map::new(book, Arc::clone(&self.store)));
            (Arc::clone(&map), Mapper::new(map, Arc::clone(&self.store)))
        }
    }

    async fn seen(map: &Arc<Map>, from: i64, to: i64) -> MapView {
        map.view(from, to, Selection::default()).await.unwrap()
    }

    /// What of a map may not depend on when its collector started.
    fn told(view: &MapView) -> String {
        format!("{:#?}\n{:#?}", view.vertices, view.edges)
    }

    #[tokio::test]
    async fn a_map_survives_a_restart_of_its_collector() {
        let mut fleet = Fleet::new().await;
        let (open, now) = (START + HOUR_MS + 10 * MINUTE_MS, START + HOUR_MS + 20 * MINUTE_MS);
        fleet.both(START + 5 * MINUTE_MS).await;
        // Five minutes in one message, which go on in the next.
        let batch = |steady: u32| {
            move |links: &mut Links| {
                (links.step_s, links.steady) = (300, steady);
                if steady > 0 {
                    links.edges.clear();
                }
            }
        };
        for node in ["web", "db"] {
            fleet.say(node, batch(0), START + 30 * MINUTE_MS).await;
            fleet.say(node, batch(1), START + 35 * MINUTE_MS).await;
        }
        fleet.both(open).await;
        let (map, mut mapper) = fleet.start();
        mapper.round(now).await.unwrap();
        let before = seen(&map, START, now).await;
        let edge = &before.edges[0];
        assert_eq!((before.edges.len(), edge.id.as_str(), edge.connects), (1, "web/x>db/x:tcp/5432", 40));
        assert_eq!((edge.first_seen_ms, edge.last_seen_ms), (START + 5 * MINUTE_MS, open));

        // One that dies at once, and one that goes on.
        for _ in 0..2 {
            let (map, mut mapper) = fleet.start();
            mapper.round(now).await.unwrap();
            assert_eq!(told(&seen(&map, START, now).await), told(&before));
            let first = seen(&map, START, START + HOUR_MS).await;
            assert_eq!((first.edges[0].connects, first.edges[0].last_seen_ms), (30, START + 39 * MINUTE_MS));
        }
        let later = START + 2 * HOUR_MS + 20 * MINUTE_MS;
        let (_, mut mapper) = fleet.start();
        mapper.round(later).await.unwrap();
        mapper.round(later).await.unwrap();
        // Much later all of it comes from the store.
        let (map, mut mapper) = fleet.start();
        mapper.round(later + 24 * HOUR_MS).await.unwrap();
        assert_eq!(told(&seen(&map, START, now).await), told(&before));
        let (record, hours) = map.history("web/x>db/x:tcp/5432", START, now).await.unwrap().unwrap();
        assert_eq!(record.first_seen_ms, START + 5 * MINUTE_MS);
        assert_eq!(hours.iter().map(|(_, f)| f.connects).collect::<Vec<_>>(), [30, 10]);
    }

    #[tokio::test]
    async fn a_late_message_leaves_what_went_on_in_its_hour() {
        let mut fleet = Fleet::new().await;
        let batch = START + HOUR_MS - 5 * MINUTE_MS;
        let (map, mut mapper) = fleet.start();
        for node in ["web", "db"] {
            fleet.say(node, |links| links.step_s = 300, batch).await;
            // All of the next hour's first batch goes on from the hour before.
            let goes_on = |links: &mut Links| {
                (links.step_s, links.steady) = (300, 1);
                links.edges.clear();
            };
            fleet.say(node, goes_on, START + HOUR_MS).await;
        }
        let hour = (START + HOUR_MS, START + 2 * HOUR_MS);
        mapper.round(START + 2 * HOUR_MS + LATE_MS).await.unwrap();
        assert_eq!(seen(&map, hour.0, hour.1).await.edges[0].connects, 10);
        fleet.say("web", |_| (), START + HOUR_MS + 40 * MINUTE_MS).await;
        mapper.round(START + 2 * HOUR_MS + LATE_MS + 10 * MINUTE_MS).await.unwrap();
        assert_eq!(seen(&map, hour.0, hour.1).await.edges[0].connects, 20);
    }

    #[tokio::test]
    async fn a_late_hour_waits_for_a_database_that_fails() {
        let mut fleet = Fleet::new().await;
        let (map, mut mapper) = fleet.start();
        fleet.both(START + 5 * MINUTE_MS).await;
        let now = START + HOUR_MS + LATE_MS + 10 * MINUTE_MS;
        mapper.round(now).await.unwrap();
        fleet.say("web", |_| (), START + 40 * MINUTE_MS).await;
        mapper.hear(now).await.unwrap();
        let database = rusqlite::Connection::open(fleet.folder.path().join("tacit.db")).unwrap();
        let rename =
            |from: &str, to: &str| database.execute_batch(&format!("ALTER TABLE {from} RENAME TO {to}")).unwrap();
        rename("links", "away");
        mapper.reopen(now).await.unwrap_err();
        rename("away", "links");
        mapper.round(now + MINUTE_MS).await.unwrap();
        assert_eq!(seen(&map, START, START + HOUR_MS).await.edges[0].connects, 10, "not tried again at once");
        mapper.round(now + 2 * MINUTE_MS).await.unwrap();
        assert_eq!(seen(&map, START, START + HOUR_MS).await.edges[0].connects, 20);
    }

    #[tokio::test]
    async fn names_stand_beside_addresses() {
        let mut fleet = Fleet::new().await;
        let (map, mut mapper) = fleet.start();
        fleet.say("web", |links| links.endpoints[1].address = "192.0.2.7".into(), START).await;
        let now = START + 10 * MINUTE_MS;
        mapper.round(now).await.unwrap();
        let address = map.question(now).await.unwrap();
        assert_eq!(address.to_string(), "192.0.2.7");
        assert_eq!(map.question(now + MINUTE_MS).await, None, "one at a time");
        map.answer(address, crate::map::reverse::Answer::Name("API.example.".into()), now);
        let view = seen(&map, START, now).await;
        let outside = view.vertices.iter().find(|v| v.node.is_none()).unwrap();
        assert_eq!((outside.id.as_str(), outside.hostname.as_deref()), ("ext:192.0.2.7:5432", Some("api.example")));
        assert_eq!(outside.address.as_deref(), Some("192.0.2.7"));
        let asked = Selection { service: Some("api.example".into()), ..Selection::default() };
        assert_eq!(map.view(START, now, asked).await.unwrap().edges.len(), 1, "it can be asked for by its name");
        // It is stored with its hour, and survives.
        mapper.round(START + HOUR_MS + LATE_MS).await.unwrap();
        let (map, _) = fleet.start();
        assert_eq!(seen(&map, START, now).await.vertices.iter().filter_map(|v| v.hostname.as_deref()).count(), 1);
    }
}
