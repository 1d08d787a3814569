//! What goes into the store and comes out of it. The API's JSON is made of the same types.

use serde::{Deserialize, Serialize};
use tacit_wire::message::{Birth, Event, Links, Phase, Report, Summary};
use tacit_wire::topic::Up;
use tacit_wire::{NodeId, Num, SeriesDef, SiteId};
use utoipa::ToSchema;

use super::{CauseHead, CauseLabel, EventKey, EventSource, Outside};
use crate::cause::Ranking;

/// A decoded message on its way into the store.
#[derive(Debug, Clone)]
pub struct Incoming {
    /// Site of the topic it came by.
    pub site: SiteId,
    /// When it was received, Unix milliseconds by the collector's clock.
    pub received_ms: i64,
    /// Size on the wire.
    pub bytes: usize,
    /// The message.
    pub body: IncomingBody,
}

/// The kinds of message that are stored. Results go to whoever asked and are not.
#[derive(Debug, Clone)]
#[allow(missing_docs)]
pub enum IncomingBody {
    Birth(Box<Birth>),
    Summary(Box<Summary>),
    Event(Box<Event>),
    Links(Box<Links>),
    Report(Box<Report>),
}

/// What became of a message in [`super::Store::commit`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Stored now.
    Stored,
    /// It was there already.
    Duplicate,
}

/// A message that could not be decoded.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Quarantined {
    /// When it came, Unix milliseconds.
    pub received_ms: i64,
    /// The topic.
    pub topic: String,
    /// MQTT client id of the sender.
    pub client: String,
    /// Why it was refused.
    pub reason: String,
    /// Size in bytes.
    pub bytes: usize,
    /// The first 512 bytes.
    #[serde(skip)]
    pub head: Vec<u8>,
}

/// Whether a node is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Presence {
    /// Connected.
    Online,
    /// Its connection broke and it did not come back.
    Lost,
    /// It said goodbye.
    Stopped,
}

/// A node of the inventory.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct NodeRecord {
    /// Node id.
    #[schema(value_type = String)]
    pub node: NodeId,
    /// Site.
    #[schema(value_type = String)]
    pub site: SiteId,
    /// Presence.
    pub presence: Presence,
    /// Why it is not there.
    pub reason: Option<String>,
    /// First seen, Unix milliseconds.
    pub first_seen_ms: i64,
    /// Last message, Unix milliseconds.
    pub last_seen_ms: i64,
    /// The node's clock less the collector's, in milliseconds, as last estimated.
    pub clock_offset_ms: i64,
    /// Its last birth.
    #[schema(value_type = Object)]
    pub birth: Birth,
    /// Its last report.
    #[schema(value_type = Option<Object>)]
    pub report: Option<Report>,
    /// Incidents open on it.
    pub open_incidents: u32,
}

/// A node that is not there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GoneNode {
    /// Node id.
    pub node: NodeId,
    /// Site.
    pub site: SiteId,
    /// Lost or stopped.
    pub presence: Presence,
    /// Why it is not there.
    pub reason: Option<String>,
    /// When it went, as well as that is known, Unix milliseconds.
    pub went_ms: i64,
}

/// Which minute values are asked for.
#[derive(Debug, Clone)]
pub struct PointQuery {
    /// Node.
    pub node: NodeId,
    /// Series by label; empty means all.
    pub series: Vec<String>,
    /// From, Unix milliseconds.
    pub from_ms: i64,
    /// To, Unix milliseconds.
    pub to_ms: i64,
}

/// Minute values of one series.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct SeriesPoints {
    /// The series.
    #[schema(value_type = Object)]
    pub series: SeriesDef,
    /// Values, oldest first.
    pub points: Vec<Point>,
}

/// One value.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Point {
    /// Start of the step, Unix milliseconds, corrected for the node's clock offset.
    pub at_ms: i64,
    /// Mean.
    #[schema(value_type = Option<f32>)]
    pub mean: Num,
    /// Minimum, when it was sent.
    #[schema(value_type = Option<f32>)]
    pub min: Num,
    /// Maximum, when it was sent.
    #[schema(value_type = Option<f32>)]
    pub max: Num,
}

/// Which events are asked for.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct EventQuery {
    /// Only of this node.
    pub node: Option<NodeId>,
    /// Only those whose onset is not before, Unix milliseconds.
    pub since_ms: Option<i64>,
    /// Only of this incident.
    pub incident: Option<IncidentId>,
    /// Only those that no incident has, with the reason.
    #[serde(default)]
    pub digest: bool,
    /// Only those whose onset is before, Unix milliseconds.
    pub until_ms: Option<i64>,
    /// Only those that are no alarms of this incident.
    pub beside: Option<IncidentId>,
    /// Without processes and flight recordings.
    #[serde(default)]
    pub lean: bool,
    /// Oldest first.
    #[serde(default)]
    pub oldest_first: bool,
    /// At most so many (default 100).
    pub limit: Option<usize>,
}

/// An event as last renewed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct EventRecord {
    /// The event; its phase is the newest one.
    #[schema(value_type = Object)]
    pub event: Event,
    /// Onset in the collector's time, Unix milliseconds.
    pub onset_ms: i64,
    /// When the first phase was received, Unix milliseconds.
    pub received_ms: i64,
    /// The incident it belongs to.
    pub incident: Option<IncidentId>,
    /// Grows with every phase that is received.
    pub revision: i64,
    /// Who says it and of what, when it was not an agent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outside: Option<Box<Outside>>,
    /// Why no incident has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
}

impl EventRecord {
    /// Whether it has ended.
    #[must_use]
    pub fn closed(&self) -> bool {
        self.event.phase == Phase::Close
    }

    /// Who says it.
    #[must_use]
    pub fn source(&self) -> EventSource {
        self.outside.as_ref().map_or(EventSource::Node, |o| o.source)
    }

    /// Which event it is.
    #[must_use]
    pub fn key(&self) -> EventKey {
        (self.event.head.node.clone(), self.event.event)
    }
}

/// Number of an incident.
pub type IncidentId = i64;

/// Where in its life an incident is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum IncidentState {
    /// Nobody has taken it.
    Open,
    /// Somebody has.
    Acknowledged,
    /// Quiet because of a silence, a window or another incident; `muted_by` says which.
    Muted,
    /// Over.
    Resolved,
    /// It came back within the reopen window.
    Reopened,
}

/// What a person says an incident was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Label {
    /// Something was wrong.
    True,
    /// Nothing was.
    FalseAlarm,
    /// Planned work.
    Maintenance,
    /// Another incident already said so.
    Duplicate,
    /// Cannot tell.
    Unsure,
}

/// An incident.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Incident {
    /// Number; 0 before it is stored.
    pub id: IncidentId,
    /// State.
    pub state: IncidentState,
    /// What muted it.
    pub muted_by: Option<String>,
    /// What is wrong, in one sentence.
    pub title: String,
    /// How bad, 0 to 1.
    pub severity: f32,
    /// Nodes concerned.
    #[schema(value_type = Vec<String>)]
    pub nodes: Vec<NodeId>,
    /// Onset of its first event, collector's time, Unix milliseconds.
    pub onset_ms: i64,
    /// When it opened, Unix milliseconds.
    pub opened_ms: i64,
    /// When it last changed, Unix milliseconds.
    pub updated_ms: i64,
    /// When it was resolved, Unix milliseconds.
    pub resolved_ms: Option<i64>,
    /// Who has it.
    pub assignee: Option<String>,
    /// What it was.
    pub label: Option<Label>,
    /// How many events it holds.
    pub events: u32,
    /// All its events were injected by a demonstration or test.
    pub injected: bool,
    /// Counts its changes. A change that was made from an older revision is refused, so that a person and the collector
    /// never undo what the other did.
    #[serde(default)]
    pub revision: u64,
    /// Who is thought to be behind it.
    #[serde(default)]
    pub cause: Option<CauseHead>,
    /// What a person says of that.
    #[serde(default)]
    pub cause_label: Option<CauseLabel>,
    /// What it concerns: nodes, services, edges' ends, by name; at most [`ENTITIES_MAX`].
    #[serde(default)]
    pub entities: Vec<String>,
    /// Why it was opened, in words.
    #[serde(default)]
    pub gate: Option<String>,
    /// The incident that it goes on with, when that took no more.
    #[serde(default)]
    pub parent: Option<IncidentId>,
    /// The incident that it became part of.
    #[serde(default)]
    pub merged_into: Option<IncidentId>,
    /// Something in it comes and goes.
    #[serde(default)]
    pub unstable: bool,
}

/// Entities of an incident that are named in it; its events have all of them.
pub const ENTITIES_MAX: usize = 200;

impl Incident {
    /// Whether it is not over.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.state != IncidentState::Resolved
    }
}

/// An incident with what it holds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct IncidentDetail {
    /// The incident.
    pub incident: Incident,
    /// Its events, oldest first.
    pub events: Vec<EventRecord>,
    /// Everything that was done to it, oldest first.
    pub audit: Vec<AuditEntry>,
    /// Who may be behind it, the likeliest first, as ranked last.
    #[serde(default)]
    #[schema(value_type = Option<Object>)]
    pub ranking: Option<Ranking>,
}

/// One line of the audit trail; never changed, never removed before its incident.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct AuditEntry {
    /// When, Unix milliseconds.
    pub at_ms: i64,
    /// Who: a user name, or `tacit`.
    pub actor: String,
    /// What (`opened`, `event-added`, `acknowledged`, `labelled`, `resolved`, `reopened`, `commented`).
    pub action: String,
    /// More words.
    pub note: Option<String>,
}

/// A change to an incident.
#[derive(Debug, Clone)]
pub struct IncidentChange {
    /// The incident as it shall be.
    pub incident: Incident,
    /// The event that is the reason: it belongs to the incident from now on and counts as looked at, as it was read.
    pub event: Option<EventRecord>,
    /// Events that belong to it from now on, whoever had them before; they were looked at already.
    pub also: Vec<EventKey>,
    /// What to append to its trail.
    pub audit: Vec<AuditEntry>,
}

/// Which incidents are asked for.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct IncidentQuery {
    /// Only those not resolved.
    pub open: Option<bool>,
    /// Only those that concern this node.
    pub node: Option<NodeId>,
    /// Only those opened not before, Unix milliseconds.
    pub since_ms: Option<i64>,
    /// At most so many (default 100).
    pub limit: Option<usize>,
}

/// How long things are kept, in days.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Retention {
    /// Minute values.
    pub points_days: u32,
    /// Events that belong to no incident.
    pub events_days: u32,
    /// Resolved incidents, with their events.
    pub incidents_days: u32,
}

impl Default for Retention {
    fn default() -> Self {
        Self { points_days: 30, events_days: 90, incidents_days: 400 }
    }
}

/// Counts over everything.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Totals {
    /// Nodes known.
    pub nodes: u64,
    /// Nodes online.
    pub nodes_online: u64,
    /// Series watched on online nodes.
    pub series: u64,
    /// Open incidents (open, acknowledged, muted, reopened).
    pub incidents_open: u64,
    /// Opening time of the newest incident, Unix milliseconds.
    pub last_incident_ms: Option<i64>,
    /// Model events raised in the counted days, over all nodes.
    pub alarms_actual: u64,
    /// Model events promised for the counted days, over all nodes.
    pub alarms_promised: f64,
    /// Incidents that were told to somebody, or would have been if there were a receiver, in the last 30 days.
    #[serde(default)]
    pub pages: u64,
    /// Messages stored since the database was made.
    pub messages: u64,
    /// Bytes of the database.
    pub bytes: u64,
}

/// The topics that carry numbered messages.
pub const NUMBERED: [Up; 4] = [Up::Summary, Up::Event, Up::Links, Up::Report];
