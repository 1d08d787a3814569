//! Incidents: the list, and one of them: what is wrong, why we think so, since when, who, what changed.

use askama::Template;
use axum::extract::State;
use serde::Deserialize;
use serde_json::json;
use tacit_wire::message::{Direction, Event, EventKind, Evidence, ProcessNote};
use tacit_wire::series::label;
use tacit_wire::words;

use super::format::{self, Line, line, time};
use super::{Page, render};
use crate::api::{ApiError, ApiState, Path, Query};
use crate::store::{EventRecord, IncidentDetail, IncidentQuery, IncidentState};

#[derive(Template)]
#[template(path = "incidents.html")]
struct List {
    page: &'static str,
    live: &'static str,
    all: bool,
    rows: Vec<Line>,
}

/// Which incidents the list shows.
#[derive(Debug, Deserialize)]
pub struct Which {
    #[serde(default)]
    all: bool,
}

/// The list.
pub async fn list(State(state): State<ApiState>, which: Result<Query<Which>, ApiError>) -> Page {
    let Query(which) = which?;
    let query = IncidentQuery { open: (!which.all).then_some(true), limit: Some(200), ..IncidentQuery::default() };
    let rows = state.store.incidents(query).await?.iter().map(line).collect();
    render(&List { page: "incidents", live: "incident", all: which.all, rows })
}

#[derive(Template)]
#[template(path = "incident.html")]
struct One {
    page: &'static str,
    live: &'static str,
    id: i64,
    title: String,
    mark: &'static str,
    state: String,
    severity: &'static str,
    nodes: Vec<String>,
    since: String,
    assignee: String,
    label: String,
    injected: bool,
    can_acknowledge: bool,
    can_resolve: bool,
    labels: [(&'static str, &'static str); 5],
    likely: String,
    reason: String,
    evidence: Vec<EvidenceRow>,
    charts: Vec<Chart>,
    processes: Vec<ProcessRow>,
    timeline: Vec<Moment>,
    model: String,
}

const LABELS: [(&str, &str); 5] = [
    ("true", "A real problem"),
    ("false-alarm", "A false alarm"),
    ("maintenance", "Planned work"),
    ("duplicate", "Known already"),
    ("unsure", "Cannot tell"),
];

struct EvidenceRow {
    words: String,
    name: String,
    observed: String,
    arrow: &'static str,
    usual: String,
    share: f32,
    percent: String,
}

struct Chart {
    words: String,
    json: String,
}

struct ProcessRow {
    name: String,
    command: String,
    unit: String,
    pid: u32,
    cpu: String,
    memory: String,
    growth: String,
    io: String,
}

struct Moment {
    when: String,
    text: String,
}

/// One incident.
pub async fn one(State(state): State<ApiState>, id: Result<Path<String>, ApiError>) -> Page {
    let Path(id) = id?;
    let id = id.parse().map_err(|_| ApiError::missing(format!("incident {id:?}"), "/incidents lists them"))?;
    let detail = crate::api::incident(&state, id).await?;
    render(&page(&detail))
}

fn page(detail: &IncidentDetail) -> One {
    let i = &detail.incident;
    let worst = worst(&detail.events);
    let open = i.state != IncidentState::Resolved;
    One {
        page: "incidents",
        live: "incident event",
        id: i.id,
        title: i.title.clone(),
        mark: format::mark(i),
        state: format::state(i),
        severity: format::severity(i.severity),
        nodes: i.nodes.iter().map(ToString::to_string).collect(),
        since: time(i.onset_ms),
        assignee: i.assignee.clone().unwrap_or_default(),
        label: i
            .label
            .and_then(|l| serde_json::to_value(l).ok())
            .and_then(|v| v.as_str().map(str::to_owned))
            .unwrap_or_default(),
        injected: i.injected,
        can_acknowledge: open && i.state != IncidentState::Acknowledged,
        can_resolve: open,
        labels: LABELS,
        likely: worst.map_or_else(String::new, |r| words::likely(r.event.fault, r.event.confidence)),
        reason: worst.map_or_else(String::new, |r| rule_words(&r.event)),
        evidence: worst.map_or_else(Vec::new, |r| evidence_rows(&r.event.evidence)),
        charts: worst.map_or_else(Vec::new, |r| charts(&r.event)),
        processes: worst.map_or_else(Vec::new, |r| r.event.processes.iter().map(process).collect()),
        timeline: timeline(detail),
        model: worst.map_or_else(String::new, |r| model(&r.event)),
    }
}

/// The event that says most: the most severe that is not mere context.
fn worst(events: &[EventRecord]) -> Option<&EventRecord> {
    let alarms = events.iter().filter(|e| e.event.kind != EventKind::Context);
    alarms.max_by(|a, b| a.event.severity.0.total_cmp(&b.event.severity.0))
}

fn rule_words(event: &Event) -> String {
    match &event.rule {
        Some(rule) => format!("The rule {rule} needs no learning: {}.", event.text),
        None => "The event came without evidence.".into(),
    }
}

/// Bars are drawn against the largest share: with hundreds of series even that is a few percent.
fn evidence_rows(list: &[Evidence]) -> Vec<EvidenceRow> {
    let largest = list.iter().filter_map(|e| e.share.get()).fold(f32::MIN_POSITIVE, f32::max);
    list.iter().map(|e| evidence(e, largest)).collect()
}

fn evidence(e: &Evidence, largest: f32) -> EvidenceRow {
    EvidenceRow {
        words: words::name(&e.name, &e.attributes),
        name: e.label(),
        observed: format::value(e.observed, &e.unit),
        arrow: match e.direction {
            Direction::High => "↑",
            Direction::Low => "↓",
            _ => "",
        },
        usual: match (e.low.get(), e.high.get()) {
            (Some(low), Some(high)) => format!("{} to {}", words::value(low, &e.unit), words::value(high, &e.unit)),
            (None, Some(high)) => format!("below {}", words::value(high, &e.unit)),
            _ => "–".into(),
        },
        share: (e.share.get().unwrap_or(0.0) / largest).clamp(0.0, 1.0),
        percent: e.share.get().map_or("–".into(), |s| format!("{:.0} %", s * 100.0)),
    }
}

fn charts(event: &Event) -> Vec<Chart> {
    let Some(recording) = &event.recording else { return Vec::new() };
    let chart = |row: &tacit_wire::message::RecordingRow| {
        let name = label(&row.name, &row.attributes);
        let known = event.evidence.iter().find(|e| e.label() == name);
        let x: Vec<f64> = (0..row.values.len())
            .map(|n| recording.start_ms.saturating_add(n as i64 * i64::from(recording.step_ms)) as f64 / 1000.0)
            .collect();
        let json = json!({
            "x": x,
            "y": row.values,
            "unit": row.unit,
            "low": known.and_then(|e| e.low.get()),
            "high": known.and_then(|e| e.high.get()),
            "onset": event.onset_ms as f64 / 1000.0,
        });
        Chart { words: words::name(&row.name, &row.attributes), json: json.to_string() }
    };
    recording.rows.iter().map(chart).collect()
}

fn process(p: &ProcessNote) -> ProcessRow {
    ProcessRow {
        name: p.name.clone(),
        command: p.command.clone().unwrap_or_default(),
        unit: p.unit.clone().unwrap_or_default(),
        pid: p.pid,
        cpu: p.cpu.get().map_or("–".into(), |c| format!("{c:.2}")),
        memory: format::value(p.memory, "By"),
        growth: format::value(p.memory_growth, "By"),
        io: format::value(p.io, "By/s"),
    }
}

/// What a moment of the timeline tells. Within one millisecond they stand in this order: a cause before what it did.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Told {
    Context,
    Began,
    Ended,
    Done,
}

/// Phases, context and what people did, in one list, oldest first.
fn timeline(detail: &IncidentDetail) -> Vec<Moment> {
    let mut list: Vec<(i64, Told, String)> = Vec::new();
    for record in &detail.events {
        let e = &record.event;
        let (told, what) = match e.kind {
            EventKind::Rule => (Told::Began, format!("began: {} (rule {})", e.text, e.rule.as_deref().unwrap_or("?"))),
            EventKind::Context => (Told::Context, e.text.clone()),
            _ => (Told::Began, format!("began: {}", e.text)),
        };
        list.push((record.onset_ms, told, what));
        if let (Some(end), true) = (e.end_ms, e.kind != EventKind::Context) {
            list.push((here(record, end), Told::Ended, format!("ended: {}", e.text)));
        }
        for c in &e.context {
            list.push((here(record, c.at_ms), Told::Context, c.text.clone()));
        }
    }
    for entry in &detail.audit {
        if matches!(entry.action.as_str(), "event-added" | "event-ended") {
            continue;
        }
        let note = entry.note.as_ref().filter(|_| entry.action != "opened").map_or(String::new(), |n| format!(": {n}"));
        list.push((entry.at_ms, Told::Done, format!("{} by {}{note}", entry.action, entry.actor)));
    }
    list.sort();
    list.dedup();
    list.into_iter().map(|(at_ms, _, text)| Moment { when: time(at_ms), text }).collect()
}

/// A time by the node's clock, brought to ours as the onset was. Whatever the node says, this is a time.
fn here(record: &EventRecord, at_ms: i64) -> i64 {
    at_ms.saturating_sub(record.event.onset_ms).saturating_add(record.onset_ms)
}

fn model(event: &Event) -> String {
    let Some(digest) = &event.model else { return String::new() };
    let stage = event.stage.unwrap_or_default();
    format!(
        "Judged on the node by model {} in stage {stage}; alarm value {:.2} above its threshold{}.",
        digest.short(),
        event.score.0,
        event
            .p_value
            .get()
            .filter(|p| *p > 0.0)
            .map_or(String::new(), |p| format!("; chance of it in a quiet sample {p:.0e}"))
    )
}
