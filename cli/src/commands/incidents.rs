//! `tacit incidents` and `tacit incident …`

use std::fmt::Write as _;

use anyhow::Result;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tacit_collector::store::{Incident, IncidentDetail, IncidentState};
use tacit_wire::message::Evidence;
use tacit_wire::{Num, words};

use super::{print, print_json};
use crate::arguments::{Incident as Action, Incidents, OneIncident};
use crate::client::Client;
use crate::output::{ago, now_ms, table, utc};

#[derive(Serialize, Deserialize)]
struct List {
    incidents: Vec<Incident>,
}

/// Lists incidents.
///
/// # Errors
/// When the collector cannot be asked.
pub fn list(options: &Incidents) -> Result<()> {
    let path = if options.all { "/incidents" } else { "/incidents?open=true" };
    let answer: List = Client::new(&options.ask.collector).get(path)?;
    if options.ask.json {
        return print_json(&answer);
    }
    if answer.incidents.is_empty() {
        return print(if options.all { "There has been no incident.\n" } else { "All quiet: no open incident.\n" });
    }
    let now = now_ms();
    let rows: Vec<Vec<String>> = answer
        .incidents
        .iter()
        .map(|i| {
            let nodes: Vec<&str> = i.nodes.iter().map(AsRef::as_ref).collect();
            vec![
                i.id.to_string(),
                state(i.state).into(),
                format!("{:.2}", i.severity),
                format!("{} ago", ago(i.onset_ms, now)),
                nodes.join(","),
                i.title.clone(),
            ]
        })
        .collect();
    print(&table(&["ID", "STATE", "SEVERITY", "SINCE", "NODES", "WHAT"], &rows))
}

/// Shows or changes one incident.
///
/// # Errors
/// When the collector cannot be asked or refuses.
pub fn one(action: &Action) -> Result<()> {
    match action {
        Action::Show(one) => {
            let detail: IncidentDetail = Client::new(&one.ask.collector).get(&format!("/incidents/{}", one.id))?;
            if one.ask.json { print_json(&detail) } else { print(&describe(&detail)) }
        }
        Action::Ack(one) => change(one, "acknowledge", json!({})),
        Action::Resolve(one) => change(one, "resolve", json!({})),
        Action::Label { one, label } => change(one, "label", json!({ "label": label })),
    }
}

fn change(one: &OneIncident, verb: &str, mut body: serde_json::Value) -> Result<()> {
    body["actor"] = json!(one.actor);
    body["note"] = json!(one.note);
    let incident: Incident = Client::new(&one.ask.collector).post(&format!("/incidents/{}/{verb}", one.id), &body)?;
    if one.ask.json {
        return print_json(&incident);
    }
    print(&format!("Incident {} is {}: {}\n", incident.id, state(incident.state), incident.title))
}

fn state(state: IncidentState) -> &'static str {
    match state {
        IncidentState::Open => "open",
        IncidentState::Acknowledged => "acknowledged",
        IncidentState::Muted => "muted",
        IncidentState::Resolved => "resolved",
        IncidentState::Reopened => "reopened",
    }
}

/// What is wrong, why we think so, since when, who is affected: the order of the console's page.
fn describe(detail: &IncidentDetail) -> String {
    let i = &detail.incident;
    let nodes: Vec<&str> = i.nodes.iter().map(AsRef::as_ref).collect();
    let mut out = format!(
        "{}\n\nincident {}, {}, severity {:.2}, on {}, since {}\n",
        i.title,
        i.id,
        state(i.state),
        i.severity,
        nodes.join(", "),
        utc(i.onset_ms)
    );
    for record in &detail.events {
        let e = &record.event;
        // Writing to a String cannot fail, here and below.
        let _ = writeln!(out, "\n{} {} ({})  {}", e.kind, e.event, e.phase, e.text);
        let likely = words::likely(e.fault, e.confidence);
        if !likely.is_empty() {
            let _ = writeln!(out, "{likely}");
        }
        let evidence: Vec<Vec<String>> = e.evidence.iter().map(evidence_row).collect();
        if !evidence.is_empty() {
            out.push_str(&table(&["SERIES", "OBSERVED", "USUAL", "SHARE"], &evidence));
        }
        let processes: Vec<Vec<String>> = e
            .processes
            .iter()
            .map(|p| vec![p.pid.to_string(), p.name.clone(), number(p.cpu), format!("{:.0} MB", p.memory.0 / 1e6)])
            .collect();
        if !processes.is_empty() {
            out.push_str(&table(&["PID", "PROCESS", "CORES", "MEMORY"], &processes));
        }
        for c in &e.context {
            let _ = writeln!(out, "{}  {}", utc(c.at_ms), c.text);
        }
    }
    out.push_str("\nTimeline\n");
    for entry in &detail.audit {
        let note = entry.note.as_deref().map_or_else(String::new, |n| format!(": {n}"));
        let _ = writeln!(out, "{}  {} by {}{note}", utc(entry.at_ms), entry.action, entry.actor);
    }
    out
}

fn evidence_row(e: &Evidence) -> Vec<String> {
    vec![
        e.label(),
        format!("{} {}", number(e.observed), e.unit),
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
