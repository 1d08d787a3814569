//! What is told to people elsewhere, as it is kept until it has arrived.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::IncidentId;

/// Where a notification is on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Delivery {
    /// It is to be sent.
    Waiting,
    /// It arrived.
    Sent,
    /// It will not arrive; `error` says why.
    Failed,
}

/// One message to one receiver.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Notification {
    /// Number; 0 before it is stored.
    pub id: i64,
    /// About which incident.
    pub incident: IncidentId,
    /// The receiver, by its name in the configuration.
    pub receiver: String,
    /// Which state of the incident it tells; one receiver is told a state once.
    pub state: String,
    /// What is sent, as the receiver's kind renders it.
    #[serde(skip)]
    pub body: String,
    /// One line for people: what it says.
    pub summary: String,
    /// When it was made, Unix milliseconds.
    pub made_ms: i64,
    /// When it is tried (again), Unix milliseconds.
    pub next_ms: i64,
    /// How often it was tried.
    pub attempts: u32,
    /// Where it is.
    pub delivery: Delivery,
    /// When it arrived, Unix milliseconds.
    pub sent_ms: Option<i64>,
    /// Why the last try did not work.
    pub error: Option<String>,
}
