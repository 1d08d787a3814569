//! An alert as others post it: read from JSON, checked, and bounded.
//!
//! The form is that of Alertmanager's API v2:
//!
//! ```json
//! {"labels": {"alertname": "HighLatency", "instance": "10.0.0.5:9100", "severity": "page"},
//!  "annotations": {"summary": "p99 above 2 s"}, "startsAt": "2026-11-23T12:03:10.000Z",
//!  "endsAt": "2026-11-23T12:07:10.000Z", "generatorURL": "http://prometheus:9090/graph?…"}
//! ```
//!
//! What has no end, or one in the future, is firing; it is over at that end unless it is posted again. Labels say which alert it
//! is; annotations are words, and are cut where labels would be refused.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::Value;
use tacit_wire::Digest;
use tacit_wire::message::EventKind;

use super::event::{TEXT_MAX, cut, digest, length, line};

/// Most labels of an alert.
pub const LABELS_MAX: usize = 64;
/// Longest name and longest value of a label in bytes.
pub const LABEL_MAX: usize = 1024;
/// Longest address of a page that says more, in bytes.
const URL_MAX: usize = 2048;
/// How far ahead of our clock an alert may begin.
const AHEAD_MS: i64 = 300_000;
/// How long ago it may have begun.
const AGO_MS: i64 = 30 * 86_400_000;
/// When an alert is over that nobody says again and that has no end.
const RESOLVE_MS: i64 = 300_000;
/// How far in the future an end may be.
const LAST_MS: i64 = 7 * 86_400_000;
/// How Go writes a time that was not set: 0001-01-01T00:00:00Z.
const UNSET_MS: i64 = -62_135_596_800_000;
/// Alerts about Tacit itself, and those that Tacit sent: they are not taken back.
const OWN: &str = "Tacit";

/// An alert that can be used.
#[derive(Debug, Clone, PartialEq)]
pub struct Posted {
    /// Its labels; those without a value are left out.
    pub labels: BTreeMap<String, String>,
    /// Its name.
    pub name: String,
    /// What it says.
    pub text: String,
    /// How bad it is, 0 to 1.
    pub severity: f32,
    /// It is meant for nobody: a dead man's switch fires always.
    pub is_for_nobody: bool,
    /// When it says that it began, Unix milliseconds.
    pub said_ms: i64,
    /// When it is believed to have begun.
    pub onset_ms: i64,
    /// When it ended or will be over.
    pub ends_ms: i64,
    /// Where more can be read.
    pub url: Option<String>,
}

impl Posted {
    /// Reads an alert.
    ///
    /// # Errors
    /// Why it cannot be used, in words.
    pub fn read(value: &Value, now_ms: i64) -> Result<Self, String> {
        let labels = labels(value.get("labels"))?;
        let name = labels.get("alertname").map(|name| cut(&line(name), TEXT_MAX / 4)).filter(|name| !name.is_empty());
        let name = name.ok_or("it has no label alertname")?;
        let starts = time(value, "startsAt")?;
        let ends = time(value, "endsAt")?;
        if let (Some(starts), Some(ends)) = (starts, ends)
            && ends < starts
        {
            return Err("it ends before it starts".into());
        }
        let said_ms = starts.unwrap_or(now_ms);
        let is_believed = (now_ms.saturating_sub(AGO_MS)..=now_ms.saturating_add(AHEAD_MS)).contains(&said_ms);
        let mut text = text(&name, &labels, value.get("annotations"));
        if !is_believed {
            text =
                format!("{} (it says that it began {}, which is not believed)", cut(&text, 400), off(said_ms, now_ms));
        }
        let word = labels.get("severity").map(|s| s.to_lowercase());
        Ok(Self {
            name,
            text,
            severity: severity(word.as_deref()),
            is_for_nobody: word.as_deref() == Some("none"),
            said_ms,
            onset_ms: if is_believed { said_ms.min(now_ms) } else { now_ms },
            ends_ms: ends.map_or(now_ms.saturating_add(RESOLVE_MS), |e| e.min(now_ms.saturating_add(LAST_MS))),
            url: value.get("generatorURL").and_then(Value::as_str).filter(|url| is_link(url)).map(str::to_owned),
            labels,
        })
    }

    /// Which alert it is, whenever it fires: its labels.
    #[must_use]
    pub fn fingerprint(&self) -> Digest {
        fingerprint(&self.labels)
    }

    /// Whether it is over.
    #[must_use]
    pub fn is_over(&self, now_ms: i64) -> bool {
        self.ends_ms <= now_ms
    }

    /// Whether it is one of ours that came back.
    #[must_use]
    pub fn is_own(&self) -> bool {
        self.name.starts_with(OWN)
    }

    /// What kind of event it is.
    #[must_use]
    pub fn kind(&self) -> EventKind {
        if self.is_for_nobody { EventKind::Context } else { EventKind::Rule }
    }
}

/// Which alert these labels are.
#[must_use]
pub fn fingerprint(labels: &BTreeMap<String, String>) -> Digest {
    digest(labels.iter().flat_map(|(key, value)| [key.as_str(), value.as_str()]))
}

fn labels(value: Option<&Value>) -> Result<BTreeMap<String, String>, String> {
    let said = match value {
        None | Some(Value::Null) => return Err("it has no labels".into()),
        Some(Value::Object(said)) => said,
        Some(_) => return Err("its labels are no object of names and texts".into()),
    };
    if said.len() > LABELS_MAX {
        return Err(format!("it has {} labels, at most {LABELS_MAX} are allowed", said.len()));
    }
    let mut labels = BTreeMap::new();
    for (key, value) in said {
        let shown = || cut(&line(key), 40);
        let text = value.as_str().ok_or_else(|| format!("its label {:?} is no text", shown()))?;
        if key.is_empty() || key.len() > LABEL_MAX || text.len() > LABEL_MAX {
            return Err(format!("its label {:?} is longer than {LABEL_MAX} bytes, or has no name", shown()));
        }
        // An empty label is none, as in Prometheus.
        if !text.is_empty() {
            labels.insert(key.clone(), text.to_owned());
        }
    }
    if labels.is_empty() { Err("it has no labels".into()) } else { Ok(labels) }
}

/// A time; none when it is not there, or was not set.
fn time(value: &Value, key: &str) -> Result<Option<i64>, String> {
    let text = match value.get(key) {
        None | Some(Value::Null) => return Ok(None),
        Some(Value::String(text)) => text,
        Some(_) => return Err(format!("{key} is no text: write a time as 2026-11-23T12:03:10Z")),
    };
    if text.is_empty() {
        return Ok(None);
    }
    let at: Timestamp = text
        .parse()
        .map_err(|_| format!("{key} {:?} is no time: write it as 2026-11-23T12:03:10Z", cut(&line(text), 40)))?;
    Ok(Some(at.as_millisecond()).filter(|ms| *ms != UNSET_MS))
}

/// What an alert says: what people wrote for people, or its labels.
fn text(name: &str, labels: &BTreeMap<String, String>, annotations: Option<&Value>) -> String {
    let written = |key: &str| annotations?.get(key)?.as_str().map(line).filter(|text| !text.is_empty());
    ["summary", "description", "message"].into_iter().find_map(written).unwrap_or_else(|| {
        let others = labels.iter().filter(|(key, _)| !matches!(key.as_str(), "alertname" | "severity"));
        let others: Vec<String> = others.map(|(key, value)| format!("{key}={value}")).collect();
        if others.is_empty() { name.to_owned() } else { line(&format!("{name}: {}", others.join(", "))) }
    })
}

/// How bad the usual words are.
fn severity(word: Option<&str>) -> f32 {
    match word {
        Some("critical" | "page" | "emergency" | "fatal" | "disaster") => 0.9,
        Some("error" | "high" | "major") => 0.8,
        Some("info" | "information" | "informational" | "notice" | "low") => 0.2,
        Some("none") => 0.1,
        _ => 0.5,
    }
}

/// How far off a time is, in words.
fn off(at_ms: i64, now_ms: i64) -> String {
    if at_ms > now_ms {
        format!("in {}", length(at_ms.saturating_sub(now_ms)))
    } else {
        format!("{} ago", length(now_ms.saturating_sub(at_ms)))
    }
}

/// Whether an address may stand behind a link.
#[must_use]
pub fn is_link(url: &str) -> bool {
    let is_web = url.starts_with("http://") || url.starts_with("https://");
    is_web && url.len() <= URL_MAX && !url.chars().any(|c| c.is_control() || c.is_whitespace())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    const NOW: i64 = 1_800_000_000_000;

    fn at(ms: i64) -> String {
        Timestamp::from_millisecond(ms).unwrap().to_string()
    }

    fn read(value: &Value) -> Posted {
        Posted::read(value, NOW).unwrap()
    }

    #[test]
    fn an_alert_of_prometheus_is_read() {
        let posted = read(&json!({
            "labels": {"alertname": "HighLatency", "severity": "Page", "empty": ""},
            "annotations": {"summary": "p99 is above 2 s\n on api", "runbook": 5},
            "startsAt": at(NOW - 60_000), "endsAt": at(NOW + 240_000),
            "generatorURL": "http://prometheus:9090/graph?g0.expr=up",
        }));
        assert_eq!((posted.name.as_str(), posted.text.as_str()), ("HighLatency", "p99 is above 2 s on api"));
        assert_eq!((posted.severity, posted.onset_ms, posted.ends_ms), (0.9, NOW - 60_000, NOW + 240_000));
        assert_eq!(posted.url.as_deref(), Some("http://prometheus:9090/graph?g0.expr=up"));
        assert!(!posted.is_over(NOW) && !posted.is_own() && posted.labels.len() == 2);
        assert_eq!(posted.kind(), EventKind::Rule);
    }

    #[test]
    fn little_is_needed() {
        let posted =
            read(&json!({"labels": {"alertname": "Down", "job": "api"}, "endsAt": "0001-01-01T00:00:00.000Z"}));
        assert_eq!((posted.text.as_str(), posted.severity), ("Down: job=api", 0.5));
        assert_eq!((posted.onset_ms, posted.ends_ms, posted.url), (NOW, NOW + RESOLVE_MS, None));
        let watchdog = read(&json!({"labels": {"alertname": "Watchdog", "severity": "none"}}));
        assert_eq!((watchdog.kind(), watchdog.text.as_str()), (EventKind::Context, "Watchdog"));
        assert!(read(&json!({"labels": {"alertname": "TacitWatchdog"}})).is_own());
        let url = json!({"labels": {"alertname": "a"}, "generatorURL": "javascript:alert(1)"});
        assert_eq!(read(&url).url, None);
    }

    #[test]
    fn what_cannot_be_used_is_said() {
        let many: serde_json::Map<_, _> = (0..65).map(|n| (format!("l{n}"), json!("x"))).collect();
        for (value, words) in [
            (json!(null), "it has no labels"),
            (json!([1]), "it has no labels"),
            (json!({"labels": {}}), "it has no labels"),
            (json!({"labels": {"alertname": ""}}), "it has no labels"),
            (json!({"labels": []}), "its labels are no object"),
            (json!({"labels": {"job": "x"}}), "it has no label alertname"),
            (json!({"labels": {"alertname": " \n"}}), "it has no label alertname"),
            (json!({"labels": {"alertname": 5}}), "its label \"alertname\" is no text"),
            (json!({"labels": {"": "x"}}), "has no name"),
            (json!({"labels": {"alertname": "x".repeat(1025)}}), "longer than 1024 bytes"),
            (json!({"labels": many}), "it has 65 labels, at most 64"),
            (json!({"labels": {"alertname": "a"}, "startsAt": "yesterday"}), "startsAt \"yesterday\" is no time"),
            (json!({"labels": {"alertname": "a"}, "endsAt": 5}), "endsAt is no text"),
            (json!({"labels": {"alertname": "a"}, "startsAt": at(NOW), "endsAt": at(0)}), "it ends before it starts"),
        ] {
            let said = Posted::read(&value, NOW).unwrap_err();
            assert!(said.contains(words), "{value}: {said}");
        }
    }

    #[test]
    fn impossible_times_are_brought_to_now_and_noted() {
        for (starts, words) in [(NOW + 86_400_000, "began in 24 h,"), (0, "began 20833 days ago,")] {
            let posted = read(&json!({"labels": {"alertname": "a"}, "startsAt": at(starts)}));
            assert_eq!((posted.onset_ms, posted.said_ms), (NOW, starts));
            assert!(posted.text.contains(words), "{}", posted.text);
        }
        let late = read(
            &json!({"labels": {"alertname": "a"}, "startsAt": at(NOW + 60_000), "endsAt": "9999-01-01T00:00:00Z"}),
        );
        assert_eq!((late.onset_ms, late.text.as_str(), late.ends_ms), (NOW, "a", NOW + LAST_MS));
    }

    #[test]
    fn long_annotations_are_cut() {
        let posted =
            read(&json!({"labels": {"alertname": "a"}, "annotations": {"description": "x ".repeat(2_000_000)}}));
        assert!(posted.text.chars().count() <= TEXT_MAX && posted.text.starts_with("x x"));
    }

    /// Anything, with the names of an alert's parts more often than by chance.
    fn anything() -> impl Strategy<Value = Value> {
        let text = prop::sample::select(vec!["", "a", "TacitX", "2026-11-23T12:00:00Z", "none", "\u{202e}\u{0}"]);
        let key =
            prop::sample::select(vec!["labels", "annotations", "alertname", "startsAt", "endsAt", "severity", "x"]);
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            text.prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 64, 8, move |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
                prop::collection::vec((key.clone(), inner), 0..8)
                    .prop_map(|pairs| pairs.into_iter().map(|(k, v)| (k.to_owned(), v)).collect::<Value>()),
            ]
        })
    }

    proptest! {
        /// Law: whatever is posted, it is an alert within its bounds or refused in words.
        #[test]
        fn nothing_panics(value in anything(), now in any::<i64>()) {
            match Posted::read(&value, now) {
                Ok(posted) => {
                    prop_assert!(posted.text.len() <= tacit_wire::limits::TEXT);
                    prop_assert!(posted.onset_ms <= now && !posted.name.is_empty());
                    prop_assert!((0.0..=1.0).contains(&posted.severity));
                }
                Err(words) => prop_assert!(!words.is_empty()),
            }
        }
    }
}
