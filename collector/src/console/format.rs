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

/// A moment by the clock, in UTC: the time of day, with the day when it is another than that of `beside_ms`.
pub fn clock(ms: i64, beside_ms: i64) -> String {
    let at = |ms: i64| Timestamp::from_millisecond(ms).ok();
    let Some(time) = at(ms) else { return "an unknown time".into() };
    let day = |t: Timestamp| t.strftime("%Y-%m-%d").to_string();
    let is_same = at(beside_ms).is_some_and(|beside| day(beside) == day(time));
    let form = if is_same { "%H:%M:%S" } else { "%Y-%m-%d %H:%M:%S" };
    time.strftime(form).to_string()
}

/// A time in one unit: `4 s`, `12 min`, `5 h`, `2 d`.
pub fn span(ms: i64) -> String {
    let seconds = ms.saturating_abs() / 1000;
    match seconds {
        ..60 => format!("{seconds} s"),
        60..3600 => format!("{} min", seconds / 60),
        3600..86_400 => format!("{} h", seconds / 3600),
        _ => format!("{} d", seconds / 86_400),
    }
}

/// How far a moment is from the onset: `+4 s`, `−12 min`; nothing within the same second.
pub fn offset(ms: i64, onset_ms: i64) -> String {
    match ms.saturating_sub(onset_ms) {
        -999..=999 => "0 s".into(),
        late if late > 0 => format!("+{}", span(late)),
        early => format!("−{}", span(early)),
    }
}

/// How far a moment is from the first alarm, in words.
pub fn beside_first_alarm(ms: i64, onset_ms: i64) -> String {
    match ms.saturating_sub(onset_ms) {
        -999..=999 => "with the first alarm".into(),
        late if late > 0 => format!("{} after the first alarm", span(late)),
        early => format!("{} before the first alarm", span(early)),
    }
}

/// A number of things: `one node`, `12 nodes`.
pub fn counted(count: usize, one: &str, many: &str) -> String {
    if count == 1 { format!("one {one}") } else { format!("{count} {many}") }
}

/// Words as they begin a sentence.
pub fn capital(mut words: String) -> String {
    if let Some(first) = words.get_mut(..1) {
        first.make_ascii_uppercase();
    }
    words
}

/// A moment that is still to come, as [`time`].
pub fn ahead(ms: i64) -> String {
    time(ms).replacen("<time ", "<time class=\"ahead\" ", 1)
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

/// Nodes that are named in a line.
const NAMED: usize = 3;

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
    /// Who is thought to be behind it; empty when nobody is.
    pub cause: String,
    pub unsure: bool,
    pub unstable: bool,
    /// What is folded into it: `40 events of 12 services`; empty when that is one.
    pub folded: String,
    /// The incident that it goes on with, or became part of.
    pub other: String,
    /// Who has it.
    pub assignee: String,
}

/// An incident as a line.
pub fn line(i: &Incident) -> Line {
    let cause = i.cause.as_ref();
    Line {
        id: i.id,
        title: i.title.clone(),
        state: state(i),
        severity: severity(i.severity),
        nodes: nodes(i),
        since: time(i.onset_ms),
        mark: mark(i),
        injected: i.injected,
        cause: cause.map_or_else(String::new, |c| c.entity.clone()),
        unsure: cause.is_some_and(|c| c.unsure),
        unstable: i.unstable,
        folded: folded(i),
        other: other(i),
        assignee: i.assignee.clone().unwrap_or_default(),
    }
}

fn nodes(i: &Incident) -> String {
    let named: Vec<&str> = i.nodes.iter().take(NAMED).map(AsRef::as_ref).collect();
    match i.nodes.len() {
        0 => "no node".into(),
        all if all > NAMED => format!("{} and {} more", named.join(", "), all - NAMED),
        _ => named.join(", "),
    }
}

fn folded(i: &Incident) -> String {
    let services = i.entities.iter().filter(|e| e.contains('/')).count();
    let events = i.events as usize;
    match (events, services) {
        (0 | 1, 0 | 1) => String::new(),
        (_, 0) => counted(events, "event", "events"),
        _ => format!("{} of {}", counted(events, "event", "events"), counted(services, "service", "services")),
    }
}

/// How it hangs together with others, in words.
fn other(i: &Incident) -> String {
    match (i.merged_into, i.parent) {
        (Some(into), _) => format!("part of incident {into}"),
        (None, Some(parent)) => format!("goes on with incident {parent}"),
        (None, None) => String::new(),
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

    #[test]
    fn moments_stand_beside_the_onset() {
        let onset = 1_700_000_000_000;
        assert_eq!(clock(onset + 65_000, onset), "22:14:25");
        assert_eq!(clock(onset - 86_400_000, onset), "2023-11-13 22:13:20");
        assert_eq!(clock(i64::MAX, onset), "an unknown time");
        assert_eq!(offset(onset + 4_100, onset), "+4 s");
        assert_eq!(offset(onset - 125_000, onset), "−2 min");
        assert_eq!(offset(onset + 10, onset), "0 s");
        assert_eq!(capital(counted(1, "event", "events")), "One event");
        assert_eq!(capital("éa".into()), "éa");
        assert_eq!(beside_first_alarm(onset - 4_000, onset), "4 s before the first alarm");
        assert_eq!(beside_first_alarm(i64::MIN, i64::MAX), "106751991167 d before the first alarm");
    }

    #[test]
    fn a_line_says_how_much_is_folded_into_it() {
        let mut one = crate::fixtures::incident();
        one.events = 1;
        assert_eq!((line(&one).folded.as_str(), line(&one).nodes.as_str()), ("", "web-1"));
        one.events = 40;
        one.entities = vec!["web-1".into(), "web-1/nginx.service".into(), "db-1/postgresql.service".into()];
        one.nodes = (1..=5).map(|n| format!("web-{n}").parse().unwrap()).collect();
        assert_eq!(line(&one).folded, "40 events of 2 services");
        assert_eq!(line(&one).nodes, "web-1, web-2, web-3 and 2 more");
        one.parent = Some(7);
        assert_eq!(line(&one).other, "goes on with incident 7");
        one.merged_into = Some(9);
        assert_eq!(line(&one).other, "part of incident 9");
    }
}
