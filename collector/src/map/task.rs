//! Keeps the map: reads what came, joins minutes that are due, stores hours that are complete.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tracing::{error, warn};

use super::Map;
use super::book::{HOUR_MS, LATE_MS, MAP_MAX, hour_of};
use crate::clock::now_ms;
use crate::store::{MapHour, Store, StoreError};

/// Distance of rounds.
const ROUND: Duration = Duration::from_secs(5);
/// Messages read at once.
const BATCH: usize = 500;
/// Minutes joined in one round; after a start there are up to two hours of them.
const JOINS: usize = 120;
/// Edges written in one transaction, so that ingest does not wait long.
const ROWS: usize = 2000;
/// How far back messages are read: agents announce their endpoints each hour, and a node that was away brings late ones.
const BACK_MS: i64 = 6 * HOUR_MS;
/// How far ahead of our clock a minute may be.
const AHEAD_MS: i64 = 5 * 60_000;

/// Keeps a map up to date.
#[derive(Debug)]
pub struct Mapper {
    map: Arc<Map>,
    store: Arc<dyn Store>,
    last: i64,
    started: bool,
}

impl Mapper {
    /// A keeper of `map`.
    #[must_use]
    pub fn new(map: Arc<Map>, store: Arc<dyn Store>) -> Self {
        Self { map, store, last: 0, started: false }
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
        self.hear(now).await?;
        let due = self.map.with_book(move |book| {
            book.reopen_late(now);
            book.due(now, JOINS)
        });
        for minute in due.await? {
            let messages = self.store.links_of(minute).await?;
            self.map.with_book(move |book| book.join(minute, &messages, now)).await?;
        }
        let changes = self.map.with_book(move |book| book.settle(now)).await?;
        if !changes.is_empty() {
            self.store.save_map_changes(changes).await?;
        }
        self.save(now).await
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

    async fn save(&self, now: i64) -> Result<(), StoreError> {
        let complete = self.map.with_book(move |book| book.to_save(now)).await?;
        let Some(MapHour { hour, vertices, edges }) = complete else { return Ok(()) };
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
