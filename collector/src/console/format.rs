//! Values in words and HTML.

use jiff::Timestamp;
use tacit_wire::{Num, words};

use crate::store::{Incident, IncidentState};

/// Text as HTML.
pub fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;").replace('\'', "&#39;")
}

/// A moment as HTML: relative once the script ran, exact before that and in the title.
pub fn time(ms: i64) -> String {
    let Ok(at) = Timestamp::from_millisecond(ms) else { return "an unknown time".into() };
    format!("<time datetime=\"{}\">{}</time>", at.strftime("%Y-%m-%dT%H:%M:%SZ"), at.strftime("%Y-%m-%d %H:%M:%S UTC"))
}

/// A value with its unit, or a dash.
pub fn value(v: Num, unit: &str) -> String {
    v.get().map_or("–".into(), |v| words::value(v, unit))
}

/// Severity in words.
pub fn severity(severity: f32) -> &'static str {
    match severity {
        s if s >= 0.7 => "severe",
        s if s >= 0.4 => "serious",
        s if s > 0.0 => "mild",
        _ => "of unknown severity",
    }
}

/// State in words.
pub fn state(incident: &Incident) -> String {
    match incident.state {
        IncidentState::Open => "Open".into(),
        IncidentState::Acknowledged => "Acknowledged".into(),
        IncidentState::Muted => incident.muted_by.as_ref().map_or("Muted".into(), |by| format!("Muted by {by}")),
        IncidentState::Resolved => "Resolved".into(),
        IncidentState::Reopened => "Open again".into(),
    }
}

/// The class of its mark: coloured only while somebody should look.
pub fn mark(incident: &Incident) -> &'static str {
    match incident.state {
        IncidentState::Open | IncidentState::Reopened if incident.severity >= 0.7 => "severe",
        IncidentState::Open | IncidentState::Reopened => "moderate",
        IncidentState::Acknowledged => "held",
        IncidentState::Muted | IncidentState::Resolved => "",
    }
}

/// A share as a percentage with the digits it deserves.
pub fn percent(share: Num) -> String {
    share.get().map_or("–".into(), |s| format!("{:.2} %", s * 100.0))
}

/// One line of a list of incidents.
pub struct Line {
    pub id: i64,
    pub title: String,
    pub state: String,
    pub severity: &'static str,
    pub nodes: String,
    pub since: String,
    pub mark: &'static str,
    pub injected: bool,
}

/// An incident as a line.
pub fn line(i: &Incident) -> Line {
    let nodes: Vec<&str> = i.nodes.iter().map(AsRef::as_ref).collect();
    Line {
        id: i.id,
        title: i.title.clone(),
        state: state(i),
        severity: severity(i.severity),
        nodes: nodes.join(", "),
        since: time(i.onset_ms),
        mark: mark(i),
        injected: i.injected,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_of_a_text_is_markup() {
        assert_eq!(escape("<a href=\"x\">'&"), "&lt;a href=&quot;x&quot;&gt;&#39;&amp;");
    }

    #[test]
    fn a_moment_is_exact_without_script() {
        assert_eq!(time(1_700_000_000_000), "<time datetime=\"2023-11-14T22:13:20Z\">2023-11-14 22:13:20 UTC</time>");
    }
}
