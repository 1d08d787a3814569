//! What is wrong, why we think so, since when, who is affected, what changed before, what was folded: the order of the console's page.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use tacit_collector::cause::{Cause, Ranking};
use tacit_collector::incident::about::{About, node_of};
use tacit_collector::incident::correlator::alarms;
use tacit_collector::store::{CauseLabel, EventRecord, IncidentDetail};
use tacit_wire::message::{Event, Evidence, ProcessNote};
use tacit_wire::{Num, words};

use super::state_words;
use crate::output::{duration, plain, table, utc};

/// Candidates that are named.
const NAMED: usize = 5;
/// Lines of each list.
const LINES: usize = 40;

/// An incident in words.
pub fn describe(detail: &IncidentDetail) -> String {
    let i = &detail.incident;
    let nodes: Vec<&str> = i.nodes.iter().map(AsRef::as_ref).collect();
    let mut out = format!(
        "{}\n\nincident {}, {}, severity {:.2}, on {}, since {}\n",
        plain(&i.title),
        i.id,
        state_words(i),
        i.severity,
        if nodes.is_empty() { "no node".to_owned() } else { nodes.join(", ") },
        utc(i.onset_ms)
    );
    // Writing to a String cannot fail, here and below.
    for mark in marks(detail) {
        let _ = writeln!(out, "{mark}");
    }
    out.push_str(&cause(detail));
    if let Some(worst) = worst(&detail.events) {
        out.push_str(&shown(&worst.event));
    }
    out.push_str(&affected(detail));
    out.push_str(&before(detail));
    out.push_str(&folded(detail));
    out.push_str("\nTimeline\n");
    for entry in detail.audit.iter().filter(|a| !matches!(a.action.as_str(), "event-added" | "event-ended")) {
        let note = entry.note.as_deref().map_or_else(String::new, |n| format!(": {}", plain(n)));
        let _ = writeln!(out, "{}  {} by {}{note}", utc(entry.at_ms), plain(&entry.action), plain(&entry.actor));
    }
    out
}

fn marks(detail: &IncidentDetail) -> Vec<String> {
    let i = &detail.incident;
    let mut marks = Vec::new();
    if i.injected {
        marks.push("DEMO: all of it was injected by Tacit itself".to_owned());
    }
    if i.unstable {
        marks.push("something in it comes and goes".to_owned());
    }
    marks.extend(i.parent.map(|p| format!("it goes on with incident {p}, which took no more events")));
    marks.extend(i.merged_into.map(|m| format!("it became part of incident {m}")));
    marks.extend(i.assignee.as_ref().map(|who| format!("{} has it", plain(who))));
    marks
}

/// Who is behind it, how sure that is, and what speaks against it.
fn cause(detail: &IncidentDetail) -> String {
    let i = &detail.incident;
    let mut out = String::from("\nCause\n");
    match (detail.ranking.as_ref().filter(|r| r.causes.iter().any(|c| c.score > 0.0)), &i.cause) {
        (Some(ranking), _) => out.push_str(&ranked(ranking, i.onset_ms)),
        (None, Some(head)) => {
            let _ = writeln!(out, "{}: {}", plain(&head.entity), plain(&head.line));
        }
        (None, None) => out.push_str("nothing speaks against anybody yet\n"),
    }
    match &i.cause_label {
        None => {}
        Some(CauseLabel::Right) => out.push_str("a person says that this is right\n"),
        Some(CauseLabel::Was(name)) => {
            let _ = writeln!(out, "a person says that it was {}", plain(name));
        }
    }
    out
}

fn ranked(ranking: &Ranking, onset_ms: i64) -> String {
    let Some(first) = ranking.causes.first() else { return String::new() };
    let lead = format!("{:.0} %", ranking.margin * 100.0);
    let sure = if ranking.unsure {
        format!("UNSURE, it leads the next by only {lead} of its score")
    } else {
        format!("it leads the next by {lead} of its score")
    };
    let mut out = format!("{}: {sure}\n", plain(&first.entity));
    out.push_str(&lines(first, onset_ms));
    let next: Vec<String> = ranking
        .causes
        .iter()
        .enumerate()
        .skip(1)
        .take(NAMED - 1)
        .filter(|(_, c)| c.score > 0.0)
        .map(|(n, c)| format!("{}. {}", n + 1, plain(&c.entity)))
        .collect();
    if !next.is_empty() {
        let _ = writeln!(out, "next: {}", next.join(", "));
    }
    out
}

/// The lines of evidence against a candidate, each with its moment.
pub fn lines(cause: &Cause, onset_ms: i64) -> String {
    let mut out = String::new();
    for line in &cause.evidence {
        let (text, at) = (plain(&line.to_string()), utc(line.since_ms));
        let _ = writeln!(out, "  {text}  from {at}, {}", beside(line.since_ms, onset_ms));
    }
    out
}

/// How far a moment is from the first alarm.
fn beside(at_ms: i64, onset_ms: i64) -> String {
    match at_ms.saturating_sub(onset_ms) {
        -999..=999 => "with the first alarm".into(),
        late if late > 0 => format!("{} after the first alarm", duration(late / 1000)),
        early => format!("{} before the first alarm", duration(early.saturating_neg() / 1000)),
    }
}

fn worst(events: &[EventRecord]) -> Option<&EventRecord> {
    events.iter().filter(|e| alarms(e)).max_by(|a, b| a.event.severity.0.total_cmp(&b.event.severity.0))
}

/// What an event shows: its series and processes.
fn shown(e: &Event) -> String {
    let mut out = format!("\nWorst event\n{} {} ({})  {}\n", e.kind, e.event, e.phase, plain(&e.text));
    let likely = words::likely(e.fault, e.confidence);
    if !likely.is_empty() {
        let _ = writeln!(out, "{likely}");
    }
    let evidence: Vec<Vec<String>> = e.evidence.iter().map(evidence_row).collect();
    if !evidence.is_empty() {
        out.push_str(&table(&["SERIES", "OBSERVED", "USUAL", "SHARE"], &evidence));
    }
    let process =
        |p: &ProcessNote| vec![p.pid.to_string(), plain(&p.name), number(p.cpu), format!("{:.0} MB", p.memory.0 / 1e6)];
    let processes: Vec<Vec<String>> = e.processes.iter().map(process).collect();
    if !processes.is_empty() {
        out.push_str(&table(&["PID", "PROCESS", "CORES", "MEMORY"], &processes));
    }
    out
}

fn evidence_row(e: &Evidence) -> Vec<String> {
    vec![
        plain(&e.label()),
        format!("{} {}", number(e.observed), plain(&e.unit)),
        format!("{} to {}", number(e.low), number(e.high)),
        e.share.get().map_or("–".into(), |s| format!("{:.0} %", s * 100.0)),
    ]
}

fn number(value: Num) -> String {
    match value.get() {
        None => "–".into(),
        Some(v) if v != 0.0 && (v.abs() < 0.01 || v.abs() >= 1e6) => format!("{v:.2e}"),
        Some(v) => format!("{v:.2}"),
    }
}

/// Who is affected, node by node.
fn affected(detail: &IncidentDetail) -> String {
    let i = &detail.incident;
    if i.entities.is_empty() {
        return String::new();
    }
    let mut nodes: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for entity in &i.entities {
        let services = nodes.entry(node_of(entity).unwrap_or("elsewhere")).or_default();
        match (node_of(entity), entity.split_once('/')) {
            (Some(_), Some((_, service))) => services.push(plain(service)),
            (Some(_), None) => {}
            (None, _) => services.push(plain(entity)),
        }
    }
    let mut out = String::from("\nAffected\n");
    for (node, services) in nodes {
        let _ = writeln!(out, "{}  {}", plain(node), services.join(", "));
    }
    out
}

/// What else happened near its beginning.
fn before(detail: &IncidentDetail) -> String {
    let mut all: Vec<(i64, String)> = Vec::new();
    for record in &detail.events {
        let e = &record.event;
        if !alarms(record) {
            all.push((record.onset_ms, format!("{}: {}", About::of(record).entity, e.text)));
        }
        // By the node's clock, brought to the collector's as the onset was.
        let here = |at: i64| at.saturating_sub(e.onset_ms).saturating_add(record.onset_ms);
        all.extend(e.context.iter().map(|c| (here(c.at_ms), format!("{}: {}", e.head.node, c.text))));
    }
    if all.is_empty() {
        return String::new();
    }
    all.sort();
    all.dedup();
    let mut out = String::from("\nWhat else happened\n");
    for (at, text) in all.iter().take(LINES) {
        let _ = writeln!(out, "{}  {}, {}", utc(*at), plain(text), beside(*at, detail.incident.onset_ms));
    }
    out
}

/// Events by what they are about.
fn folded(detail: &IncidentDetail) -> String {
    let mut groups: BTreeMap<String, Vec<&EventRecord>> = BTreeMap::new();
    for record in detail.events.iter().filter(|e| alarms(e)) {
        groups.entry(About::of(record).entity).or_default().push(record);
    }
    let cause = detail.incident.cause.as_ref().map_or("", |c| c.entity.as_str());
    let mut out = String::from("\nFolded beneath\n");
    let mut rows: Vec<Vec<String>> = Vec::new();
    for (entity, events) in groups.iter().take(LINES) {
        let Some(worst) = events.iter().max_by(|a, b| a.event.severity.0.total_cmp(&b.event.severity.0)) else {
            continue;
        };
        let role = if entity == cause { " (the cause)" } else { "" };
        rows.push(vec![format!("{}{role}", plain(entity)), events.len().to_string(), plain(&worst.event.text)]);
    }
    if rows.is_empty() {
        return String::new();
    }
    out.push_str(&table(&["ENTITY", "EVENTS", "WORST"], &rows));
    if groups.len() > LINES {
        let _ = writeln!(out, "{} more; tacit incident why {} has all", groups.len() - LINES, detail.incident.id);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use tacit_collector::cause::{EdgeKind, EntityKind, Line, What};

    #[test]
    fn doubt_is_said_out_loud() {
        let line = Line {
            what: What::Edge(EdgeKind::RoundTrip),
            subject: "api → db".into(),
            unit: "s".into(),
            from: Some(0.000_3),
            to: Some(0.041),
            since_ms: 1_700_000_000_000,
            credited_to: "db".into(),
            strength: 1.0,
        };
        let cause = |name: &str, evidence: Vec<Line>| Cause {
            entity: name.into(),
            kind: EntityKind::Service,
            score: 1.0,
            change: None,
            evidence,
        };
        let mut ranking =
            Ranking { causes: vec![cause("db", vec![line]), cause("api", Vec::new())], margin: 0.04, unsure: true };
        let text = ranked(&ranking, 1_700_000_004_000);
        assert!(text.starts_with("db: UNSURE, it leads the next by only 4 % of its score\n"), "{text}");
        let line = "  round trip api → db 300 µs → 41 ms  from 2023-11-14 22:13:20 UTC, 4 s before the first alarm";
        assert!(text.lines().any(|l| l == line), "{text}");
        assert!(text.ends_with("next: 2. api\n"));
        ranking.unsure = false;
        assert!(!ranked(&ranking, 0).contains("UNSURE"));
    }
}
