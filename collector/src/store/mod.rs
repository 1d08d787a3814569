//! Where everything is kept: one trait, one method per question the collector asks, no SQL outside this folder.
//!
//! SQLite is the default; PostgreSQL comes behind the same trait. Writes of what nodes send go through
//! [`Store::commit`] alone: it is one transaction for a batch, idempotent on (node, stream, number), and a message is
//! acknowledged only after it returned.

mod access;
mod correlation;
mod identity;
mod map;
mod notifications;
mod quiet;
pub mod sqlite;
mod tags;
mod types;

pub use access::*;
pub use correlation::*;
pub use identity::*;
pub use map::*;
pub use notifications::*;
pub use quiet::*;
pub use tags::*;
pub use types::*;

use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;
use tacit_wire::message::StreamAck;
use tacit_wire::{EventId, NodeId, SeriesDef, SiteId};

pub use sqlite::SqliteStore;

/// Phases of events that somebody holds: the revision of each.
pub type Held = HashMap<EventKey, i64>;

/// Why the store could not answer.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database refused or failed; trying again may help.
    #[error("database: {0}")]
    Database(String),
    /// The database belongs to a newer version of the collector.
    #[error("the database has schema version {found}, this collector knows up to {known}: use a newer collector")]
    TooNew {
        /// Version of the file.
        found: i64,
        /// Newest version known.
        known: i64,
    },
    /// The thing asked for is not there.
    #[error("{0} does not exist")]
    NotFound(String),
    /// The change does not fit the present state.
    #[error("{0}")]
    Conflict(String),
    /// Somebody else changed the incident between reading and writing: read it again.
    #[error("incident {0} was changed meanwhile")]
    Stale(IncidentId),
}

/// The collector's memory.
#[async_trait]
pub trait Store: AccessStore + IdentityStore + Send + Sync + std::fmt::Debug + 'static {
    // -- what nodes send ------------------------------------------------------------------------------------------

    /// Stores a batch in one transaction and says for each message whether it was new. On an error nothing is stored.
    async fn commit(&self, batch: Vec<Incoming>) -> Result<Vec<Outcome>, StoreError>;

    /// The cumulative acknowledgement of each stream of a node.
    async fn acks(&self, node: &NodeId) -> Result<Vec<StreamAck>, StoreError>;

    /// Keeps a message that could not be decoded; the oldest of a bounded number is forgotten.
    async fn quarantine(&self, bad: Quarantined) -> Result<(), StoreError>;

    /// The quarantine, newest first.
    async fn quarantined(&self, limit: usize) -> Result<Vec<Quarantined>, StoreError>;

    // -- nodes ----------------------------------------------------------------------------------------------------

    /// Nodes by name, at most `limit`, those after `after`.
    async fn nodes(&self, after: Option<&NodeId>, limit: usize) -> Result<Vec<NodeRecord>, StoreError>;

    /// One node.
    async fn node(&self, node: &NodeId) -> Result<Option<NodeRecord>, StoreError>;

    /// Marks an online node as stopped (it gave a reason) or lost (it gave none) since a time, unless a newer connection is
    /// known, and says whether that changed anything.
    async fn mark_offline(
        &self,
        node: &NodeId,
        connection: Option<u64>,
        reason: Option<&str>,
        at_ms: i64,
    ) -> Result<bool, StoreError>;

    /// Nodes that are not there, by name, at most `limit`.
    async fn gone_nodes(&self, limit: usize) -> Result<Vec<GoneNode>, StoreError>;

    /// Nodes by name that count as online and were not heard since a time, at most `limit`, those after `after`.
    async fn silent_nodes(
        &self,
        since_ms: i64,
        after: Option<&NodeId>,
        limit: usize,
    ) -> Result<Vec<(SiteId, NodeId)>, StoreError>;

    /// Marks all nodes as lost that count as online and were not heard since a time; says how many.
    async fn lose_silent(&self, since_ms: i64) -> Result<usize, StoreError>;

    /// The series dictionary of a node's current epoch.
    async fn dictionary(&self, node: &NodeId) -> Result<Vec<SeriesDef>, StoreError>;

    /// Replaces or extends the dictionary of an epoch.
    async fn put_dictionary(
        &self,
        node: &NodeId,
        epoch: u32,
        series: &[SeriesDef],
        whole: bool,
    ) -> Result<(), StoreError>;

    /// Minute values of series between two times, oldest first.
    async fn points(&self, query: PointQuery) -> Result<Vec<SeriesPoints>, StoreError>;

    // -- events and incidents --------------------------------------------------------------------------------------

    /// Events, newest first.
    async fn events(&self, query: EventQuery) -> Result<Vec<EventRecord>, StoreError>;

    /// One event.
    async fn event(&self, node: &NodeId, event: EventId) -> Result<Option<EventRecord>, StoreError>;

    /// Incidents, newest first.
    async fn incidents(&self, query: IncidentQuery) -> Result<Vec<Incident>, StoreError>;

    /// One incident with its events and audit trail.
    async fn incident(&self, id: IncidentId) -> Result<Option<IncidentDetail>, StoreError>;

    /// One incident alone.
    async fn incident_head(&self, id: IncidentId) -> Result<Option<Incident>, StoreError>;

    /// These events, in this order, without processes and flight recordings; one that is not there is left out.
    async fn events_named(&self, events: Vec<EventKey>) -> Result<Vec<EventRecord>, StoreError>;

    /// Which events an incident has, at most `limit`.
    async fn keys_of_incident(&self, id: IncidentId, limit: usize) -> Result<Vec<EventKey>, StoreError>;

    /// Whether an alarm of an incident lasts.
    async fn incident_lasts(&self, id: IncidentId) -> Result<bool, StoreError>;

    /// Alarms of an incident that last, the newest at most `limit`, oldest first, without processes and flight recordings.
    async fn lasting_events(&self, id: IncidentId, limit: usize) -> Result<Vec<EventRecord>, StoreError>;

    /// Alarms of an incident by which its causes are ranked, oldest first: so many of those that began first, and so many of the worst.
    /// The same events are the same choice: of equals the earlier goes first, then the lesser name and number.
    async fn telling_events(&self, id: IncidentId, most: [usize; 2]) -> Result<Vec<EventRecord>, StoreError>;

    /// Writes an incident (new when its id is 0), links the event that is its reason, marks that as looked at, and appends
    /// to the audit trail, in one transaction. Fails with [`StoreError::Stale`] and changes nothing when the incident or
    /// the event has another revision by now, or somebody else has looked at the event.
    async fn save_incident(&self, change: IncidentChange) -> Result<Incident, StoreError>;

    /// The same, and marks the events that join as looked at, in the same transaction: each that has the revision that was read. A
    /// later phase of another is looked at next.
    async fn save_joined(&self, change: IncidentChange, read: Arc<Held>) -> Result<Incident, StoreError>;

    /// Stored events that no incident has looked at yet, oldest first: correlation goes on from here after a crash.
    async fn unjudged_events(&self, limit: usize) -> Result<Vec<EventRecord>, StoreError>;

    /// The same without phases that somebody holds already, by event and revision: they are not even read.
    async fn unjudged_beside(&self, held: Arc<Held>, limit: usize) -> Result<Vec<EventRecord>, StoreError>;

    /// Which events no incident has looked at yet.
    async fn unjudged_keys(&self, limit: usize) -> Result<Vec<EventKey>, StoreError>;

    /// Marks events as looked at, each unless a later phase of it was received or somebody else has looked; says which it did.
    async fn mark_judged(&self, events: Vec<EventRecord>) -> Result<Vec<bool>, StoreError>;

    // -- events from elsewhere, rankings, trail --------------------------------------------------------------------

    /// Stores events that no agent sent (`outside` is set), by node and number. One that is there already and says the same is a
    /// duplicate, of which only the time of expiry is renewed; what says something else is to be looked at again.
    async fn put_outside(&self, events: Vec<EventRecord>) -> Result<Vec<Outcome>, StoreError>;

    /// Events of one source since a time, newest first.
    async fn events_from(
        &self,
        source: EventSource,
        since_ms: i64,
        limit: usize,
    ) -> Result<Vec<EventRecord>, StoreError>;

    /// Open events from elsewhere that are over at a time because nobody said them again, at most `limit`.
    async fn expired_outside(&self, now_ms: i64, limit: usize) -> Result<Vec<EventRecord>, StoreError>;

    /// Says why no incident has these events.
    async fn mark_digest(&self, events: Vec<EventKey>, why: String) -> Result<(), StoreError>;

    /// Keeps a ranking; of an incident the first and the newest few stay.
    async fn save_ranking(&self, ranking: StoredRanking) -> Result<(), StoreError>;

    /// Rankings of an incident, newest first.
    async fn rankings(&self, incident: IncidentId, limit: usize) -> Result<Vec<StoredRanking>, StoreError>;

    /// Appends to the trail of what was done beside incidents.
    async fn append_trail(&self, entries: Vec<TrailEntry>) -> Result<(), StoreError>;

    /// That trail, newest first.
    async fn trail(&self, limit: usize) -> Result<Vec<TrailEntry>, StoreError>;

    // -- silences and windows ----------------------------------------------------------------------------------------

    /// Writes a silence (new when its id is 0) with a line for the trail.
    async fn save_silence(&self, silence: Silence, trail: TrailEntry) -> Result<Silence, StoreError>;

    /// Silences, newest first: those that are not over at a time, or all.
    async fn silences(&self, not_over_at: Option<i64>) -> Result<Vec<Silence>, StoreError>;

    /// One silence.
    async fn silence(&self, id: i64) -> Result<Option<Silence>, StoreError>;

    /// Writes a window (new when its id is 0) with a line for the trail.
    async fn save_window(&self, window: Window, trail: TrailEntry) -> Result<Window, StoreError>;

    /// Notes when something was muted by a window last.
    async fn window_used(&self, id: i64, at_ms: i64) -> Result<(), StoreError>;

    /// Windows, newest first: those that are not over at a time, or all.
    async fn windows(&self, not_over_at: Option<i64>) -> Result<Vec<Window>, StoreError>;

    /// One window.
    async fn window(&self, id: i64) -> Result<Option<Window>, StoreError>;

    // -- notifications -----------------------------------------------------------------------------------------------

    /// Queues notifications; one whose incident, receiver and state are there already is left out. Gives those that are new.
    async fn queue_notifications(&self, all: Vec<Notification>) -> Result<Vec<Notification>, StoreError>;

    /// Notifications that are to be tried at a time, oldest first.
    async fn due_notifications(&self, now_ms: i64, limit: usize) -> Result<Vec<Notification>, StoreError>;

    /// Writes what became of a try.
    async fn settle_notification(&self, notification: Notification) -> Result<(), StoreError>;

    /// Notifications, newest first, of one incident or all.
    async fn notifications(&self, incident: Option<IncidentId>, limit: usize) -> Result<Vec<Notification>, StoreError>;

    // -- the map --------------------------------------------------------------------------------------------------

    /// `links` messages that came after number `after` and are about minutes from the first to before the second, in the
    /// order they came, at most `limit`.
    async fn links_after(&self, after: i64, minutes: (i64, i64), limit: usize) -> Result<Vec<StoredLinks>, StoreError>;

    /// Every message that is about one minute, alone or with others, in the order it came.
    async fn links_of(&self, minute: i64) -> Result<Vec<StoredLinks>, StoreError>;

    /// What births say nodes listen on, of those that changed after number `after`, in that order, at most `limit`.
    async fn listening_after(&self, after: i64, limit: usize) -> Result<Vec<Listening>, StoreError>;

    /// Which node had which address at or after a time; who named an address first comes first.
    async fn address_claims(&self, since_ms: i64) -> Result<Vec<AddressClaim>, StoreError>;

    /// What people said of nodes, as their newest births have it.
    async fn node_tags(&self) -> Result<NodeTags, StoreError>;

    /// Writes a part of an hour of the map; rows that are there are replaced.
    async fn save_map_hour(&self, part: MapHour) -> Result<(), StoreError>;

    /// Edges that are remembered, most recent first, at most `limit`.
    async fn map_edges(&self, limit: usize) -> Result<Vec<EdgeRecord>, StoreError>;

    /// What each edge did in the stored hours from the first time to before the second, added up.
    async fn map_figures(&self, from_ms: i64, to_ms: i64) -> Result<Vec<EdgeFigures>, StoreError>;

    /// One edge hour by hour, oldest first.
    async fn map_history(&self, edge: &str, from_ms: i64, to_ms: i64) -> Result<Option<EdgeHours>, StoreError>;

    /// Vertices by their ids; one that is not known is left out.
    async fn map_vertices(&self, ids: Vec<String>) -> Result<Vec<Vertex>, StoreError>;

    /// Keeps changes of the map; one that is there already stays as it is.
    async fn save_map_changes(&self, changes: Vec<MapChange>) -> Result<(), StoreError>;

    /// Changes of the map in a time, newest first, at most `limit`.
    async fn map_changes(&self, from_ms: i64, to_ms: i64, limit: usize) -> Result<Vec<MapChange>, StoreError>;

    // -- housekeeping -----------------------------------------------------------------------------------------------

    /// Forgets what is older than the retention allows and says how many rows went.
    async fn retain(&self, limits: &Retention, now_ms: i64) -> Result<u64, StoreError>;

    /// Counts for the home page and `/metrics`.
    async fn totals(&self) -> Result<Totals, StoreError>;
}
