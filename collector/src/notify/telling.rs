//! What a receiver is told next: the life of an incident as one receiver hears of it. Pure; `now` is an argument.
//!
//! ```text
//!               wait            interval, and news       repeat, not taken
//!   (nothing) ───────▶ opened ──────────▶ update:1 … ─────────▶ repeat:1 …
//!                        ▲                    │ over, or part of another
//!                        │     interval       ▼
//!                    reopened:1 ◀───────── resolved
//! ```
//!
//! Every state has a name of its own, and a receiver is told a name once (the store sees to that). Muted incidents are not
//! told; one whose mute ends while it is open is told then. Who has taken an incident is told no more of it than that it
//! became worse, and its end.

use std::collections::BTreeMap;

use super::message::{Message, Occasion, more_nodes};
use crate::store::{Incident, IncidentState, Notification};

/// How long is waited, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timing {
    /// From the opening of an incident to its first message.
    pub wait_ms: i64,
    /// From a message to an update of it, at least.
    pub interval_ms: i64,
    /// From a message to its repetition.
    pub repeat_ms: i64,
}

/// What one receiver was told of one incident.
#[derive(Debug, Clone, PartialEq)]
pub struct Told {
    /// The newest message.
    pub last: Message,
    /// When it was made, Unix milliseconds.
    pub at_ms: i64,
    updates: u32,
    repeats: u32,
    reopened: u32,
}

impl Told {
    /// The first message.
    #[must_use]
    pub fn first(message: Message, at_ms: i64) -> Self {
        let mut told = Self { last: message, at_ms, updates: 0, repeats: 0, reopened: 0 };
        let state = told.last.state.clone();
        told.count(&state);
        told
    }

    /// One more message.
    pub fn add(&mut self, message: Message, at_ms: i64) {
        self.count(&message.state);
        (self.last, self.at_ms) = (message, at_ms);
    }

    /// What each receiver was told, from notifications of one incident, newest first. One that cannot be read counts by its
    /// name only.
    #[must_use]
    pub fn of(rows: &[Notification]) -> BTreeMap<String, Self> {
        let mut all: BTreeMap<String, Self> = BTreeMap::new();
        for row in rows {
            if let Some(told) = all.get_mut(&row.receiver) {
                told.count(&row.state);
            } else if let Ok(message) = serde_json::from_str(&row.body) {
                all.insert(row.receiver.clone(), Self::first(message, row.made_ms));
            }
        }
        all
    }

    /// Whether the last that it was told is that it is over.
    #[must_use]
    pub fn closed(&self) -> bool {
        self.last.event == Occasion::Resolved
    }

    fn count(&mut self, state: &str) {
        let (name, number) = state.split_once(':').map_or((state, 0), |(name, n)| (name, n.parse().unwrap_or(0)));
        match name {
            "update" => self.updates = self.updates.max(number),
            "repeat" => self.repeats = self.repeats.max(number),
            "reopened" => self.reopened = self.reopened.max(number),
            _ => {}
        }
    }
}

/// What is told next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Telling {
    /// Why.
    pub event: Occasion,
    /// The name of the state.
    pub state: String,
    /// What is new.
    pub news: Vec<String>,
}

impl Telling {
    fn new(event: Occasion, number: u32, news: Vec<String>) -> Self {
        let word = event.as_str();
        let state = if number == 0 { word.to_owned() } else { format!("{word}:{number}") };
        Self { event, state, news }
    }
}

/// Whether something is so long ago; a clock that was put back never makes anybody wait for the time to come again.
#[must_use]
pub fn passed(since_ms: i64, span_ms: i64, now_ms: i64) -> bool {
    !(0..span_ms).contains(&now_ms.saturating_sub(since_ms))
}

/// What a receiver is to be told of an incident now, if anything. `facts` is what can be told of it; `held` says that it goes
/// on with another that is open, of which people know.
#[must_use]
pub fn next(
    incident: &Incident,
    facts: &Message,
    told: Option<&Told>,
    held: bool,
    timing: Timing,
    now_ms: i64,
) -> Option<Telling> {
    let over = !incident.is_open() || incident.merged_into.is_some();
    let taken = incident.state == IncidentState::Acknowledged;
    let quiet = over || taken || incident.state == IncidentState::Muted;
    let Some(told) = told else {
        let due = !quiet && !held && passed(incident.opened_ms, timing.wait_ms, now_ms);
        return due.then(|| Telling::new(Occasion::Opened, 0, Vec::new()));
    };
    let apart = passed(told.at_ms, timing.interval_ms, now_ms);
    if told.closed() {
        let back = !quiet && apart;
        return back.then(|| Telling::new(Occasion::Reopened, told.reopened.saturating_add(1), Vec::new()));
    }
    if over {
        return Some(Telling::new(Occasion::Resolved, told.reopened, Vec::new()));
    }
    if incident.state == IncidentState::Muted {
        return None;
    }
    let worse = facts.level > told.last.level;
    let news = news(&told.last, facts);
    if apart && !news.is_empty() && (worse || !taken) {
        return Some(Telling::new(Occasion::Update, told.updates.saturating_add(1), news));
    }
    let again = !taken && passed(told.at_ms, timing.repeat_ms, now_ms);
    again.then(|| Telling::new(Occasion::Repeat, told.repeats.saturating_add(1), Vec::new()))
}

/// What people care about that a receiver does not know yet. A cause counts once it is sure: first guesses come and go.
#[must_use]
pub fn news(before: &Message, now: &Message) -> Vec<String> {
    let mut news = Vec::new();
    if now.level > before.level {
        news.push(format!("now {} (was {})", now.level.as_str(), before.level.as_str()));
    }
    let sure = |m: &Message| m.cause.as_ref().filter(|c| !c.unsure).map(|c| c.entity.clone());
    if let Some(cause) = sure(now)
        && sure(before).as_ref() != Some(&cause)
    {
        news.push(format!("the cause is now thought to be {cause}"));
    }
    news.extend(more_nodes(before, now));
    if now.unstable && !before.unstable {
        news.push("something in it comes and goes".to_owned());
    }
    news
}

/// The message of a telling: the labels that Alertmanager knows the incident by stay, unless it is new to it or an update
/// says otherwise.
#[must_use]
pub fn message(facts: Message, telling: Telling, told: Option<&Told>) -> Message {
    let mut message = facts.told(telling.event, &telling.state, telling.news);
    let Some(last) = told.map(|t| &t.last) else { return message };
    match telling.event {
        Occasion::Opened | Occasion::Reopened | Occasion::Test => {}
        Occasion::Update => {
            // How many nodes it has does not make it another alert.
            for label in ["node", "site"] {
                message.labels.remove(label);
                if let Some(value) = last.labels.get(label) {
                    message.labels.insert(label.to_owned(), value.clone());
                }
            }
            message.labels_before = (message.labels != last.labels).then(|| last.labels.clone());
        }
        Occasion::Repeat | Occasion::Resolved => message.labels.clone_from(&last.labels),
    }
    message
}

#[cfg(test)]
#[path = "telling_tests.rs"]
mod tests;
