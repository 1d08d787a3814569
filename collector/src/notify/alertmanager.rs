//! Alertmanager, by its API v2: each incident is one alert, `TacitIncident`, that is said again each minute while it is open.
//!
//! Alertmanager takes an alert for resolved that nobody repeats. So everything open is repeated with an end five minutes ahead,
//! which is also the longest that it takes Alertmanager to forget an incident when the collector dies; the watchdog, an alert
//! that always fires, then goes missing, and whoever waits for it knows.

use serde_json::{Value, json};

use super::http::{Auth, Call, Http, SendError};
use super::message::{Message, Occasion, rfc3339};

/// An alert that nobody repeats ends after this long.
const KEEP_MS: i64 = 5 * 60_000;

/// Alertmanagers that belong together.
#[derive(Debug)]
pub struct Alertmanager {
    /// The client.
    pub http: Http,
    /// Where the members are, without `/api/v2`.
    pub urls: Vec<String>,
    /// Further headers.
    pub headers: Vec<(String, String)>,
    /// Who asks.
    pub auth: Auth,
    /// Whether the watchdog is kept up there.
    pub watchdog: bool,
}

impl Alertmanager {
    /// Says alerts to all members; one that takes them is enough.
    ///
    /// # Errors
    /// When none took them.
    pub fn post(&self, alerts: &[Value]) -> Result<String, SendError> {
        let body = Value::from(alerts).to_string();
        let (mut taken, mut failed) = (None, Vec::new());
        for url in &self.urls {
            let url = format!("{}/api/v2/alerts", url.trim_end_matches('/'));
            let answer = self.http.send(&Call {
                method: "POST",
                url: &url,
                headers: self.headers.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect(),
                auth: &self.auth,
                body: Some(("application/json", body.clone())),
            });
            match answer {
                Ok(status) => taken = Some(status),
                Err(e) => failed.push(e),
            }
        }
        match taken {
            Some(status) => Ok(status),
            None => Err(SendError {
                retry: failed.iter().any(|e| e.retry),
                text: failed.iter().map(|e| e.text.as_str()).collect::<Vec<_>>().join("; "),
            }),
        }
    }
}

/// The alerts of a message: its own, and the end of the one that it was before.
#[must_use]
pub fn alerts(message: &Message, now_ms: i64) -> Vec<Value> {
    let before = message.labels_before.as_ref().map(|labels| alert(message, &json!(labels), Some(now_ms), now_ms));
    let end = match message.event {
        Occasion::Resolved => Some(message.resolved_ms.unwrap_or(now_ms).min(now_ms)),
        // It says all by having come.
        Occasion::Test => Some(now_ms.saturating_add(60_000)),
        _ => None,
    };
    before.into_iter().chain([alert(message, &json!(message.labels), end, now_ms)]).collect()
}

fn alert(message: &Message, labels: &Value, end_ms: Option<i64>, now_ms: i64) -> Value {
    let start = message.onset_ms.min(now_ms);
    let end = end_ms.unwrap_or(now_ms.saturating_add(KEEP_MS)).max(start);
    let mut annotations = json!({ "summary": message.summary, "description": message.text(), "title": message.title });
    if let Some(who) = &message.acknowledged_by {
        annotations["acknowledged_by"] = json!(who);
    }
    if let Some(cause) = &message.cause {
        annotations["cause"] = json!(cause.entity);
        annotations["evidence"] = json!(cause.line);
    }
    json!({
        "labels": labels,
        "annotations": annotations,
        "startsAt": rfc3339(start),
        "endsAt": rfc3339(end),
        "generatorURL": message.url,
    })
}

/// The alert that always fires.
#[must_use]
pub fn watchdog(base_url: &str, started_ms: i64, now_ms: i64) -> Value {
    json!({
        "labels": { "alertname": "TacitWatchdog", "severity": "none" },
        "annotations": {
            "summary": "Tacit's collector lives.",
            "description": "This alert always fires while the collector can do its work. When it goes missing, nobody watches.",
        },
        "startsAt": rfc3339(started_ms.min(now_ms)),
        "endsAt": rfc3339(now_ms.saturating_add(KEEP_MS)),
        "generatorURL": base_url,
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::super::fixtures::{T0, incident};
    use super::*;

    #[test]
    fn an_open_incident_ends_unless_it_is_said_again() {
        let message =
            Message::about(&incident(12), Vec::new(), "http://t").told(Occasion::Opened, "opened", Vec::new());
        let all = alerts(&message, T0 + 60_000);
        assert_eq!(all.len(), 1);
        assert_eq!(all[0]["labels"]["alertname"], "TacitIncident");
        assert_eq!(all[0]["startsAt"], "2023-11-14T22:13:20Z");
        assert_eq!(all[0]["endsAt"], "2023-11-14T22:19:20Z");
        assert_eq!(all[0]["generatorURL"], "http://t/incidents/12");
        assert_eq!(all[0]["annotations"]["summary"], "Incident 12 [page]: requests are slow (on web-1)");
    }

    #[test]
    fn an_end_is_never_before_the_start() {
        let mut i = incident(12);
        i.resolved_ms = Some(T0 - 5000);
        let message = Message::about(&i, Vec::new(), "").told(Occasion::Resolved, "resolved", Vec::new());
        for now in [T0 + 60_000, T0 - 60_000] {
            let alert = &alerts(&message, now)[0];
            assert!(alert["startsAt"].as_str() <= alert["endsAt"].as_str(), "{alert}");
        }
    }

    #[test]
    fn an_alert_that_became_another_ends() {
        let mut message = Message::about(&incident(12), Vec::new(), "").told(Occasion::Update, "update:1", Vec::new());
        message.labels_before =
            Some(BTreeMap::from([("incident".into(), "12".into()), ("severity".into(), "info".into())]));
        let all = alerts(&message, T0 + 60_000);
        assert_eq!(
            (&all[0]["labels"]["severity"], &all[0]["endsAt"]),
            (&json!("info"), &json!("2023-11-14T22:14:20Z"))
        );
        assert_eq!(all[1]["labels"]["severity"], "page");
    }
}
