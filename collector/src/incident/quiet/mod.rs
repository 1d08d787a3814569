//! Silences and windows: what is muted, when, and by which. Pure; the collector applies it to the events of incidents.
//!
//! What is muted is shown, but disturbs nobody. A [`Silence`] holds once, from a time to a time. A [`Window`] comes again, each
//! week or month, in a time zone. Both mute what all of their matchers fit, both end by themselves, and a window that nobody
//! needs any more says so: see [`warning`].

mod matcher;
mod silence;
mod window;
#[cfg(test)]
mod window_tests;

use std::collections::BTreeMap;
use std::fmt;

use jiff::Timestamp;

use crate::store::{Matcher, Silence, Tags, Window};

pub use matcher::{check_matchers, matches_everything};
pub use silence::{MUTE_DAYS, check_silence};
pub use window::{LIFE_DAYS, MINUTES_MAX, check_window, next_from, open_at, schedule, warning};

/// Longest name of a person or a window, in bytes.
pub const NAME_MAX: usize = 256;
/// Longest reason, in bytes.
pub const REASON_MAX: usize = 2000;

const MINUTE_MS: i64 = 60_000;
const DAY_MS: i64 = 86_400_000;

/// An event as matchers see it.
#[derive(Debug, Clone, Copy)]
pub struct Subject<'a> {
    /// Its node, when it is about one.
    pub node: Option<&'a str>,
    /// The site of that.
    pub site: Option<&'a str>,
    /// What it is about: a node, or a vertex of the map.
    pub entity: &'a str,
    /// Who says it: `node`, `presence`, `map`, `alert`, `change`.
    pub source: &'static str,
    /// Its kind: `anomaly`, `rule`, `context`.
    pub kind: &'static str,
    /// The rule, the fault, or the name of the alert.
    pub family: &'a str,
    /// Its sentence.
    pub text: &'a str,
    /// Labels of an alert.
    pub labels: &'a BTreeMap<String, String>,
    /// Tags of its node, asked for as `tag.KEY`.
    pub tags: &'a Tags,
}

impl<'a> Subject<'a> {
    /// The value of a field; nothing is the empty text. An alert that is about no known node may have a label `node`.
    fn field(&self, name: &str) -> &'a str {
        if let Some(tag) = name.strip_prefix("tag.").and_then(|key| self.tags.get(key)) {
            return tag;
        }
        let label = || self.labels.get(name).map(String::as_str);
        match name {
            "node" => self.node.or_else(label).unwrap_or_default(),
            "site" => self.site.or_else(label).unwrap_or_default(),
            "entity" => self.entity,
            "source" => self.source,
            "kind" => self.kind,
            "family" => self.family,
            "text" => self.text,
            _ => label().unwrap_or_default(),
        }
    }
}

/// All that may mute at a time.
#[derive(Debug, Clone, Default)]
pub struct Quiet {
    /// Silences that are not over.
    pub silences: Vec<Silence>,
    /// Windows that are not over.
    pub windows: Vec<Window>,
}

impl Quiet {
    /// Of these silences and windows.
    #[must_use]
    pub fn new(silences: Vec<Silence>, windows: Vec<Window>) -> Self {
        Self { silences, windows }
    }

    /// What mutes an event at a time, if anything does: the first silence, else the first window. The calendar is asked only
    /// when the matchers fit.
    #[must_use]
    pub fn mutes(&self, subject: &Subject<'_>, now_ms: i64) -> Option<MutedBy> {
        let fit = |matchers: &[Matcher]| matchers.iter().all(|m| m.matches(subject));
        if let Some(silence) = self.silences.iter().find(|s| s.in_force(now_ms) && fit(&s.matchers)) {
            return Some(MutedBy::Silence(silence.id));
        }
        let window = self.windows.iter().find(|w| fit(&w.matchers) && open_at(w, now_ms).is_some())?;
        Some(MutedBy::Window(window.id, window.name.clone()))
    }
}

/// What muted an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MutedBy {
    /// A silence, by number.
    Silence(i64),
    /// A window, by number and name.
    Window(i64, String),
}

impl fmt::Display for MutedBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Silence(id) => write!(f, "silence {id}"),
            Self::Window(id, name) => write!(f, "window {id} ({name})"),
        }
    }
}

/// Checks a text that somebody has to write.
fn check_text(what: &str, text: &str, most: usize) -> Result<(), String> {
    if text.trim().is_empty() {
        return Err(format!("{what} is missing: whoever finds this muted wants to know it"));
    }
    if text.len() > most {
        return Err(format!("{what} has {} bytes, at most {most} are possible: say it shorter", text.len()));
    }
    Ok(())
}

/// Matchers as people write them, and what none means.
fn conditions(matchers: &[Matcher]) -> String {
    if matchers.is_empty() {
        return "everything".into();
    }
    matchers.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
}

/// A time in words.
fn utc(ms: i64) -> String {
    Timestamp::from_millisecond(ms)
        .map_or_else(|_| "an unknown time".into(), |t| t.strftime("%Y-%m-%d %H:%M UTC").to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::WindowDays;

    fn silence(id: i64, matcher: &str) -> Silence {
        Silence {
            id,
            matchers: vec![matcher.parse().unwrap()],
            starts_ms: 1000,
            ends_ms: 2000,
            actor: "ana".into(),
            reason: "a new disk".into(),
            made_ms: 1000,
            ended_ms: None,
        }
    }

    /// Each day from 00:00 to 01:00.
    fn window(id: i64, matcher: &str) -> Window {
        let days = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"].map(str::to_owned);
        Window {
            id,
            name: "nightly backup".into(),
            matchers: vec![matcher.parse().unwrap()],
            days: WindowDays::Weekly(days.into()),
            at: "00:00".into(),
            minutes: 60,
            zone: "UTC".into(),
            owner: "ana".into(),
            reason: "reads all disks".into(),
            made_ms: 0,
            expires_ms: 100 * DAY_MS,
            ended_ms: None,
            used_ms: None,
        }
    }

    fn subject<'a>(node: &'a str, labels: &'a BTreeMap<String, String>) -> Subject<'a> {
        Subject {
            node: Some(node),
            site: Some("lab"),
            entity: node,
            source: "node",
            kind: "anomaly",
            family: "disk-io",
            text: "disk reads are slow",
            labels,
            tags: labels,
        }
    }

    #[test]
    fn what_mutes_is_named() {
        let none = BTreeMap::new();
        let quiet = Quiet::new(vec![silence(3, "node=web-1")], vec![window(1, "family=~disk*")]);
        let by = |node: &str, at_ms: i64| quiet.mutes(&subject(node, &none), at_ms).map(|by| by.to_string());
        assert_eq!(by("web-1", 1000).as_deref(), Some("silence 3"));
        // The silence is over, the window is open; then the window is closed, and the next night it is open again.
        assert_eq!(by("web-1", 2000).as_deref(), Some("window 1 (nightly backup)"));
        assert_eq!(by("web-2", 1000).as_deref(), Some("window 1 (nightly backup)"));
        assert_eq!(by("web-1", 60 * MINUTE_MS), None);
        assert_eq!(by("web-1", DAY_MS).as_deref(), Some("window 1 (nightly backup)"));
        assert_eq!(by("web-1", 101 * DAY_MS), None);
    }

    #[test]
    fn all_matchers_have_to_fit() {
        let none = BTreeMap::new();
        let mut both = silence(1, "node=web-1");
        both.matchers.push("kind=rule".parse().unwrap());
        let mut all = silence(2, "node=web-1");
        all.matchers.clear();
        let by =
            |silence: &Silence| Quiet::new(vec![silence.clone()], Vec::new()).mutes(&subject("web-1", &none), 1500);
        assert_eq!(by(&both), None);
        assert_eq!(by(&all), Some(MutedBy::Silence(2)));
    }

    #[test]
    fn fields_of_an_event_come_before_labels_of_that_name() {
        let labels = [("node", "other"), ("severity", "page"), ("text", "other")];
        let labels: BTreeMap<String, String> = labels.map(|(k, v)| (k.to_owned(), v.to_owned())).into();
        let mut event = subject("web-1", &labels);
        assert_eq!((event.field("node"), event.field("severity")), ("web-1", "page"));
        assert_eq!((event.field("text"), event.field("nothing")), ("disk reads are slow", ""));
        event.node = None;
        assert_eq!(event.field("node"), "other");
        assert_eq!((event.field("tag.severity"), event.field("tag.nothing")), ("page", ""));
    }
}
