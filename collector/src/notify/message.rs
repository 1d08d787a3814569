//! What is said about an incident: the facts of one moment, and why they are told.
//!
//! A message is kept with its notification until it has arrived, and after that as what the receiver knows: the next one is
//! compared with it. Each kind of receiver renders it in its own form.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::map::names::plain;
use crate::store::{Incident, IncidentId, IncidentState};

/// Names of nodes and entities that a message holds; how many there are is told beside them.
const NAMES_MAX: usize = 50;
/// Names in the text for people.
const NAMES_SHOWN: usize = 8;
/// Longest text taken over from an incident, in characters.
const TEXT_MAX: usize = 300;

/// Why something is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Occasion {
    /// The incident is new to the receiver.
    Opened,
    /// Something that people care about has changed.
    Update,
    /// It goes on, and nobody has taken it.
    Repeat,
    /// It is over, or part of another.
    Resolved,
    /// It came back.
    Reopened,
    /// Somebody tries whether messages arrive.
    Test,
}

impl Occasion {
    /// The occasion in a word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Opened => "opened",
            Self::Update => "update",
            Self::Repeat => "repeat",
            Self::Resolved => "resolved",
            Self::Reopened => "reopened",
            Self::Test => "test",
        }
    }

    /// The state as Alertmanager's webhooks name it.
    #[must_use]
    pub const fn status(self) -> &'static str {
        if matches!(self, Self::Resolved) { "resolved" } else { "firing" }
    }
}

/// How bad, in the words that alert rules use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// Good to know.
    Info,
    /// Somebody should look soon.
    Warning,
    /// Somebody should look now.
    Page,
}

impl Level {
    /// The level of a severity.
    #[must_use]
    pub fn of(severity: f32) -> Self {
        match severity {
            s if s >= 0.7 => Self::Page,
            s if s >= 0.4 => Self::Warning,
            _ => Self::Info,
        }
    }

    /// The level in a word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Page => "page",
        }
    }
}

/// Who is thought to be behind it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Cause {
    /// By name, as on the map.
    pub entity: String,
    /// `service`, `node` or `link`.
    pub kind: String,
    /// What speaks most against it, in a line.
    pub line: String,
    /// Whether that is too little to believe it.
    pub unsure: bool,
}

/// What a receiver is told. Its JSON is the body of a webhook without a template; fields are only ever added.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Message {
    /// Form of this message.
    pub version: u8,
    /// Why it is told.
    pub event: Occasion,
    /// Which state it tells: `opened`, `update:1`, `repeat:2`, `resolved`, `reopened:1`.
    pub state: String,
    /// `firing` or `resolved`.
    pub status: String,
    /// Number of the incident; 0 in a test.
    pub incident: IncidentId,
    /// All of it in one line.
    pub summary: String,
    /// What is new since the receiver was told last.
    pub news: Vec<String>,
    /// What is wrong, in one sentence.
    pub title: String,
    /// How bad, 0 to 1.
    pub severity: f64,
    /// How bad, in a word.
    pub level: Level,
    /// Nodes concerned, at most fifty.
    pub nodes: Vec<String>,
    /// How many nodes are concerned.
    pub node_count: usize,
    /// Their sites.
    pub sites: Vec<String>,
    /// Their tags, as `role=db`, at most fifty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    /// Services and other things concerned, at most fifty.
    pub entities: Vec<String>,
    /// Who is thought to be behind it.
    pub cause: Option<Cause>,
    /// How many events it holds.
    pub events: u32,
    /// Since when, Unix milliseconds.
    pub onset_ms: i64,
    /// When it was opened, Unix milliseconds.
    pub opened_ms: i64,
    /// Until when, Unix milliseconds.
    pub resolved_ms: Option<i64>,
    /// Who has it.
    pub acknowledged_by: Option<String>,
    /// Something in it comes and goes.
    pub unstable: bool,
    /// The incident that it became part of.
    pub became: Option<IncidentId>,
    /// All of it was made by a demonstration or a test.
    pub demo: bool,
    /// Its page.
    pub url: String,
    /// Labels under which Alertmanager knows it. They stay while the incident is told, but for an update that says otherwise.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// Labels under which Alertmanager knew it before this update.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub labels_before: Option<BTreeMap<String, String>>,
}

impl Message {
    /// What is known of an incident whose nodes are at these sites.
    #[must_use]
    pub fn about(incident: &Incident, sites: Vec<String>, base_url: &str) -> Self {
        // JSON has no infinity, and what cannot be read again is told again.
        let severity = if incident.severity.is_finite() { incident.severity.clamp(0.0, 1.0) } else { 0.0 };
        let level = Level::of(severity);
        let cause = incident.cause.as_ref().map(|c| Cause {
            entity: short(&c.entity),
            kind: serde_json::to_value(c.kind).ok().and_then(|v| v.as_str().map(str::to_owned)).unwrap_or_default(),
            line: short(&c.line),
            unsure: c.unsure,
        });
        let taken = incident.state == IncidentState::Acknowledged;
        let mut message = Self {
            version: 1,
            event: Occasion::Opened,
            state: String::new(),
            status: String::new(),
            incident: incident.id,
            summary: String::new(),
            news: Vec::new(),
            title: short(&incident.title),
            // Two digits are what it is worth, and what reads well.
            severity: (f64::from(severity) * 100.0).round() / 100.0,
            level,
            nodes: incident.nodes.iter().take(NAMES_MAX).map(ToString::to_string).collect(),
            node_count: incident.nodes.len(),
            sites,
            tags: Vec::new(),
            entities: incident.entities.iter().take(NAMES_MAX).map(|e| short(e)).collect(),
            cause,
            events: incident.events,
            onset_ms: incident.onset_ms,
            opened_ms: incident.opened_ms,
            resolved_ms: incident.resolved_ms,
            acknowledged_by: incident.assignee.as_deref().filter(|_| taken).map(short),
            unstable: incident.unstable,
            became: incident.merged_into,
            demo: incident.injected,
            url: format!("{}/incidents/{}", base_url.trim_end_matches('/'), incident.id),
            labels: BTreeMap::new(),
            labels_before: None,
        };
        message.labels = message.fresh_labels();
        message
    }

    /// The same of nodes with these tags.
    #[must_use]
    pub fn tagged(mut self, tags: impl IntoIterator<Item = String>) -> Self {
        self.tags = tags.into_iter().take(NAMES_MAX).collect();
        self
    }

    /// A message that says that messages arrive.
    #[must_use]
    pub fn test(base_url: &str, now_ms: i64) -> Self {
        let title = "This is a test: messages of Tacit arrive here.".to_owned();
        Self {
            version: 1,
            event: Occasion::Test,
            state: Occasion::Test.as_str().into(),
            status: Occasion::Test.status().into(),
            incident: 0,
            summary: title.clone(),
            news: Vec::new(),
            title,
            severity: 0.0,
            level: Level::Info,
            nodes: Vec::new(),
            node_count: 0,
            sites: Vec::new(),
            tags: Vec::new(),
            entities: Vec::new(),
            cause: None,
            events: 0,
            onset_ms: now_ms,
            opened_ms: now_ms,
            resolved_ms: None,
            acknowledged_by: None,
            unstable: false,
            became: None,
            demo: false,
            url: base_url.trim_end_matches('/').to_owned(),
            labels: BTreeMap::from([
                ("alertname".into(), "TacitTest".into()),
                ("severity".into(), Level::Info.as_str().into()),
            ]),
            labels_before: None,
        }
    }

    /// The facts as they are told: on which occasion, as which state, and what is new.
    #[must_use]
    pub fn told(mut self, event: Occasion, state: &str, news: Vec<String>) -> Self {
        self.event = event;
        state.clone_into(&mut self.state);
        event.status().clone_into(&mut self.status);
        self.news = news;
        self.summary = self.in_a_line();
        self
    }

    /// Labels of what is known now.
    fn fresh_labels(&self) -> BTreeMap<String, String> {
        let mut labels = BTreeMap::from([
            ("alertname".to_owned(), "TacitIncident".to_owned()),
            ("incident".to_owned(), self.incident.to_string()),
            ("severity".to_owned(), self.level.as_str().to_owned()),
        ]);
        let sure = self.cause.as_ref().filter(|c| !c.unsure);
        let one_node = self.nodes.first().filter(|n| self.node_count == 1 && *n != crate::store::NOWHERE);
        for (label, value) in [
            ("site", self.sites.first().filter(|_| self.sites.len() == 1)),
            ("node", one_node),
            ("cause", sure.map(|c| &c.entity)),
        ] {
            if let Some(value) = value {
                labels.insert(label.to_owned(), value.clone());
            }
        }
        if self.demo {
            labels.insert("demo".to_owned(), "true".to_owned());
        }
        labels
    }

    fn in_a_line(&self) -> String {
        let mut line = if self.demo { "DEMO: ".to_owned() } else { String::new() };
        let number = self.incident;
        // Writing to a String cannot fail, here and below.
        let _ = match (self.event, self.became) {
            (Occasion::Resolved, Some(other)) => write!(line, "Incident {number} became part of incident {other}"),
            (Occasion::Resolved, None) => write!(line, "Resolved: incident {number}"),
            (Occasion::Repeat, _) => write!(line, "Still open: incident {number}"),
            (Occasion::Reopened, _) => write!(line, "It came back: incident {number}"),
            (Occasion::Update, _) => write!(line, "Incident {number}, {}", self.news.join("; ")),
            _ => write!(line, "Incident {number}"),
        };
        let _ = write!(line, " [{}]: {}", self.level.as_str(), self.title);
        let mut more = Vec::new();
        if let Some(cause) = self.cause.as_ref().filter(|c| !c.unsure) {
            more.push(format!("cause {}", cause.entity));
        }
        match self.node_count {
            0 | 1 => more.extend(self.nodes.first().filter(|n| *n != crate::store::NOWHERE).map(|n| format!("on {n}"))),
            n => more.push(format!("{n} nodes")),
        }
        if self.events > 1 {
            more.push(format!("{} events", self.events));
        }
        if !more.is_empty() {
            let _ = write!(line, " ({})", more.join(", "));
        }
        line
    }

    /// All of it in lines, for people.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = format!("{}\n", self.summary);
        let mut line = |name: &str, value: &str| {
            let _ = write!(text, "\n{name}: {value}");
        };
        for new in &self.news {
            line("New", new);
        }
        if let Some(c) = &self.cause {
            let name = if c.unsure { "Cause (unsure)" } else { "Cause" };
            line(name, &format!("{} {}: {}", c.kind, c.entity, c.line));
        }
        if !self.nodes.is_empty() {
            line("Nodes", &names(&self.nodes, self.node_count));
        }
        if self.incident != 0 {
            line("Since", &utc(self.onset_ms));
        }
        if let Some(at) = self.resolved_ms {
            line("Until", &utc(at));
        }
        if let Some(who) = &self.acknowledged_by {
            line("Acknowledged by", who);
        }
        if self.unstable {
            line("Unstable", "something in it comes and goes");
        }
        let _ = write!(text, "\n\n{}\n", self.url);
        text
    }

    /// The message as JSON with its text, for bodies and templates.
    #[must_use]
    pub fn view(&self) -> serde_json::Value {
        let mut view = serde_json::to_value(self).unwrap_or_default();
        view["text"] = self.text().into();
        view
    }
}

/// Names as far as they are shown, and how many more there are.
fn names(names: &[String], count: usize) -> String {
    let shown = names.iter().take(NAMES_SHOWN).map(String::as_str).collect::<Vec<_>>().join(", ");
    match count.saturating_sub(names.len().min(NAMES_SHOWN)) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

/// Nodes that are named in one message and not in an earlier one, as far as they are shown.
#[must_use]
pub fn more_nodes(before: &Message, now: &Message) -> Option<String> {
    let more = now.node_count.checked_sub(before.node_count).filter(|more| *more > 0)?;
    let new: Vec<String> = now.nodes.iter().filter(|n| !before.nodes.contains(n)).cloned().collect();
    let word = if more == 1 { "node" } else { "nodes" };
    Some(if new.is_empty() {
        format!("{more} more {word}")
    } else {
        format!("{more} more {word}: {}", names(&new, more.max(new.len())))
    })
}

/// A stranger's text: in one line, and not too long.
fn short(text: &str) -> String {
    let text = plain(text);
    if text.chars().count() <= TEXT_MAX {
        return text;
    }
    text.chars().take(TEXT_MAX - 1).chain(['…']).collect()
}

/// A time as `2026-11-23 12:03:10 UTC`.
fn utc(ms: i64) -> String {
    Timestamp::from_millisecond(ms)
        .map_or_else(|_| format!("{ms} ms"), |t| t.strftime("%Y-%m-%d %H:%M:%S UTC").to_string())
}

/// A time as RFC 3339 has it.
#[must_use]
pub fn rfc3339(ms: i64) -> String {
    Timestamp::from_millisecond(ms).unwrap_or(Timestamp::UNIX_EPOCH).to_string()
}

#[cfg(test)]
#[path = "message_tests.rs"]
mod tests;
