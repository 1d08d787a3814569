//! What incidents know beyond the events of nodes: events from elsewhere, rankings, and the trail of everything done.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use tacit_wire::{EventId, NodeId};
use utoipa::ToSchema;

use super::IncidentId;
use crate::cause::{EntityKind, Evidence, Ranking};

/// The node of events that are about no node. No node may have this name.
pub const NOWHERE: &str = "-";

/// [`NOWHERE`] as a node.
#[must_use]
pub fn nowhere() -> NodeId {
    NOWHERE.parse().expect("it has the form of a node")
}

/// Which event: its node and its number.
pub type EventKey = (NodeId, EventId);

/// Who says that an event is there.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum EventSource {
    /// An agent.
    #[default]
    Node,
    /// The collector, about a node that went or came back.
    Presence,
    /// The collector, about an edge of the map.
    Map,
    /// Somebody else's alert.
    Alert,
    /// Somebody announced a change.
    Change,
}

impl EventSource {
    /// The source in a word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Node => "node",
            Self::Presence => "presence",
            Self::Map => "map",
            Self::Alert => "alert",
            Self::Change => "change",
        }
    }
}

/// What is known of an event that no agent sent.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Outside {
    /// Who says it.
    pub source: EventSource,
    /// What it is about: a node (`web-1`), a vertex of the map (`web-1/nginx.service`, `ext:192.0.2.7:443`), or, when neither is
    /// known, a name of its own (`alert:checkout`).
    pub entity: String,
    /// In which respect: the name of an alert, `lost`, `failing`, `slowed`, `appeared`, `vanished`, `deploy`.
    pub family: String,
    /// Labels of an alert or a change.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Where more can be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// The other entity of an edge: its client, where `entity` is its server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client: Option<String>,
    /// It is over then, unless it is said again, Unix milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_ms: Option<i64>,
}

/// Who is thought to be behind an incident.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct CauseHead {
    /// By name, as on the map.
    pub entity: String,
    /// What it is.
    #[schema(value_type = String)]
    pub kind: EntityKind,
    /// What speaks most against it, in a line.
    pub line: String,
    /// By what part of its score it leads, 0 to 1.
    pub margin: f64,
    /// Whether that is too little to believe it.
    pub unsure: bool,
}

/// What a person says of the ranking.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum CauseLabel {
    /// The first was it.
    Right,
    /// It was this one.
    Was(String),
}

/// A ranking with what it was made of, so that it can be made again.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StoredRanking {
    /// Of which incident.
    pub incident: IncidentId,
    /// When it was made, Unix milliseconds.
    pub at_ms: i64,
    /// What was known.
    pub evidence: Evidence,
    /// What came of it.
    pub ranking: Ranking,
}

/// One line of the trail of everything that was done beside incidents; never changed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct TrailEntry {
    /// When, Unix milliseconds.
    pub at_ms: i64,
    /// Who: a user name, or `tacit`.
    pub actor: String,
    /// What: `silence-made`, `silence-ended`, `window-made`, `window-ended`, `change-announced`, `notified`, `notify-failed`.
    pub action: String,
    /// To what: `silence 3`, `window 1`, `incident 12`.
    pub subject: String,
    /// More words.
    pub note: Option<String>,
}
