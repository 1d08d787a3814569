//! Silences and recurring windows, as they are kept and as the API gives them.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// How a value is compared.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub enum MatchOp {
    /// The same.
    #[default]
    #[serde(rename = "=")]
    Equal,
    /// Another.
    #[serde(rename = "!=")]
    NotEqual,
    /// The whole value is as the pattern says: `*` stands for any text, `?` for one character, `|` between alternatives.
    #[serde(rename = "=~")]
    Like,
    /// It is not.
    #[serde(rename = "!~")]
    Unlike,
}

/// A condition on one field of an event.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Matcher {
    /// `node`, `site`, `entity`, `source`, `kind` (anomaly, rule), `family` (the rule, fault or alert), `text`, or a label of an alert.
    pub field: String,
    /// How.
    #[serde(default)]
    pub op: MatchOp,
    /// With what.
    pub value: String,
}

/// Alarms that match are shown, but disturb nobody, for a time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Silence {
    /// Number; 0 before it is stored.
    pub id: i64,
    /// All have to hold.
    pub matchers: Vec<Matcher>,
    /// From, Unix milliseconds.
    pub starts_ms: i64,
    /// To, Unix milliseconds.
    pub ends_ms: i64,
    /// Who made it.
    pub actor: String,
    /// Why.
    pub reason: String,
    /// When it was made, Unix milliseconds.
    pub made_ms: i64,
    /// When somebody ended it before its time, Unix milliseconds.
    pub ended_ms: Option<i64>,
}

/// On which days a window opens.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum WindowDays {
    /// Each week on these days: `mon`, `tue`, `wed`, `thu`, `fri`, `sat`, `sun`.
    Weekly(Vec<String>),
    /// Each month on these days, 1 to 31; a month that is too short is left out; −1 is its last day.
    Monthly(Vec<i8>),
}

/// A window that comes again, in which alarms that match disturb nobody.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Window {
    /// Number; 0 before it is stored.
    pub id: i64,
    /// What it is for.
    pub name: String,
    /// All have to hold.
    pub matchers: Vec<Matcher>,
    /// On which days it opens.
    pub days: WindowDays,
    /// At what time of day, `HH:MM`.
    pub at: String,
    /// For how many minutes.
    pub minutes: u32,
    /// In which time zone, an IANA name.
    pub zone: String,
    /// Who answers for it.
    pub owner: String,
    /// Why.
    pub reason: String,
    /// When it was made, Unix milliseconds.
    pub made_ms: i64,
    /// It does not open after this, Unix milliseconds. Every window has an end.
    pub expires_ms: i64,
    /// When somebody ended it before its time, Unix milliseconds.
    pub ended_ms: Option<i64>,
    /// When something was muted by it last, Unix milliseconds.
    pub used_ms: Option<i64>,
}
