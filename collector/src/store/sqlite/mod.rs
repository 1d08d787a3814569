//! The store in one SQLite file: one writer thread that groups commits ([`writer`]), and readers of their own.
//!
//! Write-ahead log with `synchronous = FULL`: what was committed survives a power cut, and readers never wait.

mod access;
mod convert;
mod events;
mod housekeeping;
mod identity;
mod incidents;
mod ingest;
mod map;
mod nodes;
mod notifications;
mod outside;
mod quiet;
mod rankings;
mod schema;
mod streams;
mod tags;
mod writer;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use rusqlite::{Connection, Transaction};
use tacit_wire::message::StreamAck;
use tacit_wire::{EventId, NodeId, SeriesDef, SiteId};

use super::*;
use writer::Writer;

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Database(error.to_string())
    }
}

/// SQLite behind the [`Store`] trait.
#[derive(Debug)]
pub struct SqliteStore {
    path: PathBuf,
    writer: Writer,
    readers: Arc<Mutex<Vec<Connection>>>,
}

impl SqliteStore {
    /// Opens or makes the database file and brings its schema up to date.
    ///
    /// # Errors
    /// When the file cannot be opened, is not ours, is damaged, or belongs to a newer collector.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        let connection = schema::open(path)?;
        Ok(Self { path: path.to_owned(), writer: Writer::start(connection)?, readers: Arc::default() })
    }

    /// Runs `job` on the writer thread; its changes are committed, with those of others, when this returns.
    async fn write<T: Send + 'static>(
        &self,
        job: impl FnOnce(&Transaction<'_>) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.writer.run(job).await
    }

    /// Runs `job` on a reader.
    async fn read<T: Send + 'static>(
        &self,
        job: impl FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (path, readers) = (self.path.clone(), Arc::clone(&self.readers));
        let work = move || {
            let idle = readers.lock().unwrap_or_else(PoisonError::into_inner).pop();
            let connection = match idle {
                Some(connection) => connection,
                None => schema::open_reader(&path)?,
            };
            let result = job(&connection);
            let mut readers = readers.lock().unwrap_or_else(PoisonError::into_inner);
            if readers.len() < READERS_KEPT {
                readers.push(connection);
            }
            result
        };
        tokio::task::spawn_blocking(work).await.map_err(|e| StoreError::Database(e.to_string()))?
    }
}

/// Idle readers that are kept open.
const READERS_KEPT: usize = 4;

#[async_trait]
impl Store for SqliteStore {
    async fn commit(&self, batch: Vec<Incoming>) -> Result<Vec<Outcome>, StoreError> {
        self.write(move |t| batch.iter().map(|message| ingest::store(t, message)).collect()).await
    }

    async fn acks(&self, node: &NodeId) -> Result<Vec<StreamAck>, StoreError> {
        let node = node.clone();
        self.read(move |c| streams::acks(c, &node)).await
    }

    async fn quarantine(&self, bad: Quarantined) -> Result<(), StoreError> {
        self.write(move |t| housekeeping::quarantine(t, &bad)).await
    }

    async fn quarantined(&self, limit: usize) -> Result<Vec<Quarantined>, StoreError> {
        self.read(move |c| housekeeping::quarantined(c, limit)).await
    }

    async fn nodes(&self, after: Option<&NodeId>, limit: usize) -> Result<Vec<NodeRecord>, StoreError> {
        let after = after.cloned();
        self.read(move |c| nodes::list(c, after.as_ref(), limit)).await
    }

    async fn node(&self, node: &NodeId) -> Result<Option<NodeRecord>, StoreError> {
        let node = node.clone();
        self.read(move |c| nodes::one(c, &node)).await
    }

    async fn mark_offline(
        &self,
        node: &NodeId,
        connection: Option<u64>,
        reason: Option<&str>,
        at_ms: i64,
    ) -> Result<bool, StoreError> {
        let (node, reason) = (node.clone(), reason.map(str::to_owned));
        self.write(move |t| nodes::mark_offline(t, &node, connection, reason.as_deref(), at_ms)).await
    }

    async fn gone_nodes(&self, limit: usize) -> Result<Vec<GoneNode>, StoreError> {
        self.read(move |c| nodes::gone(c, limit)).await
    }

    async fn silent_nodes(
        &self,
        since_ms: i64,
        after: Option<&NodeId>,
        limit: usize,
    ) -> Result<Vec<(SiteId, NodeId)>, StoreError> {
        let after = after.cloned();
        self.read(move |c| nodes::silent(c, since_ms, after.as_ref(), limit)).await
    }

    async fn lose_silent(&self, since_ms: i64) -> Result<usize, StoreError> {
        self.write(move |t| nodes::lose_silent(t, since_ms)).await
    }

    async fn dictionary(&self, node: &NodeId) -> Result<Vec<SeriesDef>, StoreError> {
        let node = node.clone();
        self.read(move |c| nodes::dictionary(c, &node)).await
    }

    async fn put_dictionary(
        &self,
        node: &NodeId,
        epoch: u32,
        series: &[SeriesDef],
        whole: bool,
    ) -> Result<(), StoreError> {
        let (node, series) = (node.clone(), series.to_vec());
        self.write(move |t| nodes::put_dictionary(t, &node, epoch, &series, whole)).await
    }

    async fn points(&self, query: PointQuery) -> Result<Vec<SeriesPoints>, StoreError> {
        self.read(move |c| nodes::points(c, &query)).await
    }

    async fn events(&self, query: EventQuery) -> Result<Vec<EventRecord>, StoreError> {
        self.read(move |c| events::list(c, &query)).await
    }

    async fn event(&self, node: &NodeId, event: EventId) -> Result<Option<EventRecord>, StoreError> {
        let node = node.clone();
        self.read(move |c| events::one(c, &node, event)).await
    }

    async fn incidents(&self, query: IncidentQuery) -> Result<Vec<Incident>, StoreError> {
        self.read(move |c| incidents::list(c, &query)).await
    }

    async fn incident(&self, id: IncidentId) -> Result<Option<IncidentDetail>, StoreError> {
        self.read(move |c| incidents::detail(c, id)).await
    }

    async fn incident_head(&self, id: IncidentId) -> Result<Option<Incident>, StoreError> {
        self.read(move |c| incidents::head(c, id)).await
    }

    async fn events_named(&self, events: Vec<EventKey>) -> Result<Vec<EventRecord>, StoreError> {
        self.read(move |c| events::named(c, &events)).await
    }

    async fn keys_of_incident(&self, id: IncidentId, limit: usize) -> Result<Vec<EventKey>, StoreError> {
        self.read(move |c| events::keys_of(c, id, limit)).await
    }

    async fn incident_lasts(&self, id: IncidentId) -> Result<bool, StoreError> {
        self.read(move |c| events::lasts(c, id)).await
    }

    async fn lasting_events(&self, id: IncidentId, limit: usize) -> Result<Vec<EventRecord>, StoreError> {
        self.read(move |c| events::lasting(c, id, limit)).await
    }

    async fn telling_events(&self, id: IncidentId, most: [usize; 2]) -> Result<Vec<EventRecord>, StoreError> {
        self.read(move |c| events::telling(c, id, most)).await
    }

    async fn save_incident(&self, change: IncidentChange) -> Result<Incident, StoreError> {
        self.write(move |t| incidents::save(t, change, &Held::new())).await
    }

    async fn save_joined(&self, change: IncidentChange, read: Arc<Held>) -> Result<Incident, StoreError> {
        self.write(move |t| incidents::save(t, change, &read)).await
    }

    async fn unjudged_events(&self, limit: usize) -> Result<Vec<EventRecord>, StoreError> {
        self.read(move |c| events::unjudged(c, &Held::new(), limit)).await
    }

    async fn unjudged_beside(&self, held: Arc<Held>, limit: usize) -> Result<Vec<EventRecord>, StoreError> {
        self.read(move |c| events::unjudged(c, &held, limit)).await
    }

    async fn unjudged_keys(&self, limit: usize) -> Result<Vec<EventKey>, StoreError> {
        self.read(move |c| events::unjudged_keys(c, limit)).await
    }

    async fn mark_judged(&self, all: Vec<EventRecord>) -> Result<Vec<bool>, StoreError> {
        let mark = |t: &Transaction<'_>, event: &EventRecord| events::mark_judged(t, &event.key(), event.revision);
        self.write(move |t| all.iter().map(|event| mark(t, event)).collect()).await
    }

    async fn put_outside(&self, events: Vec<EventRecord>) -> Result<Vec<Outcome>, StoreError> {
        self.write(move |t| events.iter().map(|event| outside::put(t, event)).collect()).await
    }

    async fn events_from(
        &self,
        source: EventSource,
        since_ms: i64,
        limit: usize,
    ) -> Result<Vec<EventRecord>, StoreError> {
        self.read(move |c| outside::from(c, source, since_ms, limit)).await
    }

    async fn expired_outside(&self, now_ms: i64, limit: usize) -> Result<Vec<EventRecord>, StoreError> {
        self.read(move |c| outside::expired(c, now_ms, limit)).await
    }

    async fn mark_digest(&self, events: Vec<EventKey>, why: String) -> Result<(), StoreError> {
        self.write(move |t| outside::mark_digest(t, &events, &why)).await
    }

    async fn save_ranking(&self, ranking: StoredRanking) -> Result<(), StoreError> {
        self.write(move |t| rankings::save(t, &ranking)).await
    }

    async fn rankings(&self, incident: IncidentId, limit: usize) -> Result<Vec<StoredRanking>, StoreError> {
        self.read(move |c| rankings::list(c, incident, limit)).await
    }

    async fn append_trail(&self, entries: Vec<TrailEntry>) -> Result<(), StoreError> {
        self.write(move |t| entries.iter().try_for_each(|entry| rankings::append(t, entry))).await
    }

    async fn trail(&self, limit: usize) -> Result<Vec<TrailEntry>, StoreError> {
        self.read(move |c| rankings::trail(c, limit)).await
    }

    async fn save_silence(&self, silence: Silence, trail: TrailEntry) -> Result<Silence, StoreError> {
        self.write(move |t| quiet::save_silence(t, silence, trail)).await
    }

    async fn silences(&self, not_over_at: Option<i64>) -> Result<Vec<Silence>, StoreError> {
        self.read(move |c| quiet::silences(c, not_over_at)).await
    }

    async fn silence(&self, id: i64) -> Result<Option<Silence>, StoreError> {
        self.read(move |c| quiet::silence(c, id)).await
    }

    async fn save_window(&self, window: Window, trail: TrailEntry) -> Result<Window, StoreError> {
        self.write(move |t| quiet::save_window(t, window, trail)).await
    }

    async fn window_used(&self, id: i64, at_ms: i64) -> Result<(), StoreError> {
        self.write(move |t| quiet::window_used(t, id, at_ms)).await
    }

    async fn windows(&self, not_over_at: Option<i64>) -> Result<Vec<Window>, StoreError> {
        self.read(move |c| quiet::windows(c, not_over_at)).await
    }

    async fn window(&self, id: i64) -> Result<Option<Window>, StoreError> {
        self.read(move |c| quiet::window(c, id)).await
    }

    async fn queue_notifications(&self, all: Vec<Notification>) -> Result<Vec<Notification>, StoreError> {
        self.write(move |t| notifications::queue(t, all)).await
    }

    async fn due_notifications(&self, now_ms: i64, limit: usize) -> Result<Vec<Notification>, StoreError> {
        self.read(move |c| notifications::due(c, now_ms, limit)).await
    }

    async fn settle_notification(&self, notification: Notification) -> Result<(), StoreError> {
        self.write(move |t| notifications::settle(t, &notification)).await
    }

    async fn notifications(&self, incident: Option<IncidentId>, limit: usize) -> Result<Vec<Notification>, StoreError> {
        self.read(move |c| notifications::list(c, incident, limit)).await
    }

    async fn links_after(&self, after: i64, minutes: (i64, i64), limit: usize) -> Result<Vec<StoredLinks>, StoreError> {
        self.read(move |c| map::after(c, after, minutes, limit)).await
    }

    async fn links_of(&self, minute: i64) -> Result<Vec<StoredLinks>, StoreError> {
        self.read(move |c| map::minute(c, minute)).await
    }

    async fn listening_after(&self, after: i64, limit: usize) -> Result<Vec<Listening>, StoreError> {
        self.read(move |c| map::listening(c, after, limit)).await
    }

    async fn address_claims(&self, since_ms: i64) -> Result<Vec<AddressClaim>, StoreError> {
        self.read(move |c| map::claims(c, since_ms)).await
    }

    async fn node_tags(&self) -> Result<NodeTags, StoreError> {
        self.read(tags::all).await
    }

    async fn save_map_hour(&self, part: MapHour) -> Result<(), StoreError> {
        self.write(move |t| map::save_hour(t, &part)).await
    }

    async fn map_edges(&self, limit: usize) -> Result<Vec<EdgeRecord>, StoreError> {
        self.read(move |c| map::edges(c, limit)).await
    }

    async fn map_figures(&self, from_ms: i64, to_ms: i64) -> Result<Vec<EdgeFigures>, StoreError> {
        self.read(move |c| map::figures(c, from_ms, to_ms)).await
    }

    async fn map_history(&self, edge: &str, from_ms: i64, to_ms: i64) -> Result<Option<EdgeHours>, StoreError> {
        let edge = edge.to_owned();
        self.read(move |c| map::history(c, &edge, from_ms, to_ms)).await
    }

    async fn map_vertices(&self, ids: Vec<String>) -> Result<Vec<Vertex>, StoreError> {
        self.read(move |c| map::vertices(c, &ids)).await
    }

    async fn save_map_changes(&self, changes: Vec<MapChange>) -> Result<(), StoreError> {
        self.write(move |t| map::save_changes(t, &changes)).await
    }

    async fn map_changes(&self, from_ms: i64, to_ms: i64, limit: usize) -> Result<Vec<MapChange>, StoreError> {
        self.read(move |c| map::changes(c, from_ms, to_ms, limit)).await
    }

    async fn retain(&self, limits: &Retention, now_ms: i64) -> Result<u64, StoreError> {
        let limits = *limits;
        self.write(move |t| housekeeping::retain(t, &limits, now_ms)).await
    }

    async fn totals(&self) -> Result<Totals, StoreError> {
        self.read(housekeeping::totals).await
    }
}

#[cfg(test)]
mod lean_tests;
#[cfg(test)]
mod map_tests;
#[cfg(test)]
mod tests;
