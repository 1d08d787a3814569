//! Nodes: the list, and one of them.

use askama::Template;
use axum::extract::State;
use serde_json::json;
use tacit_wire::series::label;
use tacit_wire::{Attribute, words};

use super::format::{Line, escape, line, percent, time};
use super::map::{self, NodeEdges};
use super::{Fact, Page, render};
use crate::api::{self, ApiError, ApiState, NodeFilter, Path, Query};
use crate::clock::now_ms;
use crate::store::{IncidentQuery, NodeRecord, PointQuery, Presence, tag_words};

#[derive(Template)]
#[template(path = "nodes.html")]
struct List {
    page: &'static str,
    live: &'static str,
    rows: Vec<Row>,
    next: Option<String>,
}

struct Row {
    node: String,
    os: String,
    presence: &'static str,
    seen: String,
    series: u32,
    stage: String,
    cpu: String,
    memory: String,
    open: u32,
}

fn presence(n: &NodeRecord) -> &'static str {
    match n.presence {
        Presence::Online => "online",
        Presence::Lost => "lost",
        Presence::Stopped => "stopped",
    }
}

fn stage(n: &NodeRecord) -> String {
    let models = n.report.as_ref().map_or(&n.birth.models, |r| &r.models);
    models.first().map_or("–".into(), |m| m.stage.to_string())
}

/// The list.
pub async fn list(State(state): State<ApiState>, filter: Result<Query<NodeFilter>, ApiError>) -> Page {
    let Query(filter) = filter?;
    let found = api::nodes(&state, &filter).await?;
    let next = found.next.map(|node| node.to_string());
    render(&List { page: "nodes", live: "node", rows: found.nodes.iter().map(row).collect(), next })
}

fn row(n: &NodeRecord) -> Row {
    let cost = n.report.as_ref().map(|r| &r.cost);
    Row {
        node: n.node.to_string(),
        os: n.birth.identity.os.clone(),
        presence: presence(n),
        seen: time(n.last_seen_ms),
        series: n.report.as_ref().map_or(n.birth.series, |r| r.series),
        stage: stage(n),
        cpu: cost.map_or("–".into(), |c| percent(c.cpu)),
        memory: cost.filter(|c| c.pss > 0).map_or("–".into(), |c| words::value(c.pss as f32, "By")),
        open: n.open_incidents,
    }
}

#[derive(Template)]
#[template(path = "node.html")]
struct One {
    page: &'static str,
    live: &'static str,
    node: String,
    presence: &'static str,
    sentence: String,
    health: Vec<String>,
    incidents: Vec<Line>,
    charts: Vec<Chart>,
    edges: NodeEdges,
    facts: Vec<Fact>,
    absent: Vec<(String, String)>,
}

struct Chart {
    words: String,
    name: String,
    unit: &'static str,
    json: String,
}

/// Name, attributes and unit of a series that a node page draws.
type Key = (&'static str, &'static [(&'static str, &'static str)], &'static str);

/// The series a node page draws.
const KEY: [Key; 6] = [
    ("system.linux.cpu.busy", &[], "1"),
    ("system.memory.utilization", &[], "1"),
    ("system.cpu.load_average.1m", &[], "{thread}"),
    ("system.linux.pressure", &[("system.resource", "cpu"), ("system.pressure.kind", "some")], "1"),
    ("system.linux.pressure", &[("system.resource", "io"), ("system.pressure.kind", "some")], "1"),
    ("system.linux.pressure", &[("system.resource", "memory"), ("system.pressure.kind", "some")], "1"),
];

/// One node.
pub async fn one(State(state): State<ApiState>, node: Result<Path<String>, ApiError>) -> Page {
    let Path(node) = node?;
    let n = api::node(&state, &node).await?;
    let open =
        IncidentQuery { open: Some(true), node: Some(n.node.clone()), limit: Some(20), ..IncidentQuery::default() };
    let incidents = state.store.incidents(open).await?.iter().map(line).collect();
    let charts = charts(&state, &n).await?;
    let edges = map::of_node(&state, &n).await?;
    let report = n.report.as_ref();
    let absent = report.map(|r| &r.absent).filter(|a| !a.is_empty()).unwrap_or(&n.birth.absent);
    render(&One {
        page: "nodes",
        live: "",
        node: n.node.to_string(),
        presence: presence(&n),
        sentence: sentence(&n),
        health: report.map_or_else(Vec::new, |r| r.health.clone()),
        incidents,
        charts,
        edges,
        facts: facts(&n),
        absent: absent.iter().map(|a| (a.source.clone(), a.reason.clone())).collect(),
    })
}

fn sentence(n: &NodeRecord) -> String {
    let state = match (n.presence, &n.reason) {
        (Presence::Online, _) => "online".to_owned(),
        (_, Some(reason)) => format!("{}: <bdi>{}</bdi>", presence(n), escape(reason)),
        (_, None) => presence(n).to_owned(),
    };
    format!("{state} · last message {} · site {}", time(n.last_seen_ms), n.site)
}

async fn charts(state: &ApiState, n: &NodeRecord) -> Result<Vec<Chart>, super::PageError> {
    let now = now_ms();
    let mut charts = Vec::new();
    for (name, attributes, unit) in KEY {
        let attributes: Vec<Attribute> = attributes.iter().map(|(k, v)| Attribute::new(*k, *v)).collect();
        let full = label(name, &attributes);
        let query = PointQuery {
            node: n.node.clone(),
            series: vec![full.clone()],
            from_ms: now - 6 * 3_600_000,
            to_ms: now + 60_000,
        };
        let points = state.store.points(query).await?.pop().map(|s| s.points).unwrap_or_default();
        let x: Vec<f64> = points.iter().map(|p| p.at_ms as f64 / 1000.0).collect();
        let y: Vec<Option<f32>> = points.iter().map(|p| p.mean.get()).collect();
        charts.push(Chart {
            words: words::name(name, &attributes),
            name: full,
            unit,
            json: json!({ "x": x, "y": y }).to_string(),
        });
    }
    Ok(charts)
}

fn facts(n: &NodeRecord) -> Vec<Fact> {
    let (b, i) = (&n.birth, &n.birth.identity);
    let mut facts = vec![
        Fact::new("System", &i.os),
        Fact::new("Kernel", format!("{} on {}", i.kernel, i.arch)),
        Fact::new("Processor", format!("{} × {}", i.cores, if i.cpu.is_empty() { "unknown" } else { &i.cpu })),
        Fact::new("Memory", words::value(i.memory as f32, "By")),
        Fact::new("Agent", &b.agent),
        Fact::new("Series", n.report.as_ref().map_or(b.series, |r| r.series)),
        Fact::new("Clock", format!("{:+.1} s beside the collector's", n.clock_offset_ms as f64 / 1000.0)),
        Fact::html("First seen", time(n.first_seen_ms)),
    ];
    if let Some(board) = &i.board {
        facts.push(Fact::new("Board", board));
    }
    if !b.tags.is_empty() {
        let tags: Vec<String> = b.tags.iter().map(|t| tag_words(&t.key, &t.value)).collect();
        facts.push(Fact::new("Tags", tags.join(", ")));
    }
    if !b.addresses.is_empty() {
        facts.push(Fact::new("Addresses", b.addresses.join(", ")));
    }
    let Some(r) = &n.report else { return facts };
    if let Some(m) = r.models.first() {
        let model = if m.points < 60 { "none yet".to_owned() } else { format!("{} {}", m.name, m.digest.short()) };
        facts.push(Fact::new("Model in force", model));
        facts.push(Fact::new("Stage of learning", format!("{}, {} samples learned", m.stage, m.points)));
    }
    let promised = r.promise.promised_per_day.get().map_or("model events are off".to_owned(), |p| {
        format!("{} raised in {:.1} days, {p:.2} a day promised", r.promise.events, r.promise.days.0)
    });
    facts.push(Fact::new("Alarms", promised));
    facts.push(Fact::new("Rule events", format!("{} in {:.1} days", r.promise.rules, r.promise.days.0)));
    facts.push(Fact::new(
        "Own cost",
        format!("{} of a core, {}", percent(r.cost.cpu), words::value(r.cost.pss as f32, "By")),
    ));
    facts.push(Fact::new("Sends", r.cost.sent.get().map_or("–".into(), |s| format!("{s:.1} B/s"))));
    facts
}
