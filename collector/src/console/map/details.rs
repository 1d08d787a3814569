//! What is known of one edge, and of one service.

use jiff::Timestamp;
use serde_json::json;
use tacit_wire::words;

use super::asked::Asked;
use super::rows::{self, End, Head, Known, Line, Told};
use crate::api::map::EdgeHistory;
use crate::console::Fact;
use crate::console::format::{escape, time};
use crate::map::coverage::{Coverage, NodeCoverage};
use crate::map::view::{MapEdge, MapView, is_called};
use crate::store::{MapChange, Vertex, VertexKind};

const HOUR_MS: i64 = 3_600_000;
/// Lines of a list of a service.
const LINES_MAX: usize = 100;
/// Hours in the table of an edge.
const HOURS_MAX: usize = 24;

/// One end of an edge with what is known of it.
pub(super) struct Side {
    pub role: &'static str,
    pub end: End,
    pub node: String,
    pub owner: String,
    pub how: String,
    /// Who speaks of it.
    pub heard: String,
}

/// A figure hour by hour.
pub(super) struct Chart {
    pub words: &'static str,
    pub json: String,
}

/// An hour in words.
pub(super) struct Hour {
    pub when: String,
    pub connects: u64,
    pub failed: String,
    pub bytes: String,
    pub rtt: String,
}

/// A change in words.
pub(super) struct Moment {
    pub when: String,
    pub text: String,
}

/// An edge.
pub(super) struct EdgeDetails {
    pub sides: [Side; 2],
    pub facts: Vec<Fact>,
    pub conflicts: Vec<String>,
    pub charts: Vec<Chart>,
    pub hours: Vec<Hour>,
    pub moments: Vec<Moment>,
    /// Without these details.
    pub close: String,
}

/// Tells of an edge: `now` are its figures on the map, `history` what it did before.
pub(super) fn edge(
    now: &MapEdge,
    history: &EdgeHistory,
    changes: &[MapChange],
    coverage: &Coverage,
    seconds: f64,
    known: &Known<'_>,
    asked: &Asked,
) -> EdgeDetails {
    let sides =
        [("Client", &now.client), ("Server", &now.server)].map(|(role, id)| side(role, id, known, coverage, asked));
    let conflicts = coverage.conflicts.iter().filter(|c| c.nodes.iter().any(|n| sides.iter().any(|s| s.node == *n)));
    let last = history.hours.iter().rev().take(HOURS_MAX);
    let told = changes.iter().filter(|c| c.edge == now.id);
    EdgeDetails {
        facts: facts(now, seconds),
        conflicts: conflicts.map(|c| c.text.clone()).collect(),
        charts: charts(history),
        hours: last.map(|h| hour(h.hour_ms, &h.edge)).collect(),
        moments: told.map(|c| Moment { when: time(c.at_ms), text: c.text.clone() }).collect(),
        close: asked.link(&[("edge", "")]),
        sides,
    }
}

fn side(role: &'static str, id: &str, known: &Known<'_>, coverage: &Coverage, asked: &Asked) -> Side {
    let vertex = known.vertex(id);
    let node = vertex.and_then(|v| v.node.as_ref()).map_or_else(String::new, ToString::to_string);
    Side {
        role,
        end: rows::end(id, known, asked),
        owner: vertex.and_then(|v| v.owner.clone()).unwrap_or_default(),
        how: vertex.map_or_else(|| "not on the map of this time".into(), how),
        heard: heard(&node, coverage),
        node,
    }
}

/// How the owner was found.
fn how(v: &Vertex) -> String {
    match (v.kind, &v.owner_kind) {
        (VertexKind::External, _) => "outside of all nodes".into(),
        (VertexKind::Node, _) => "owner not known".into(),
        (VertexKind::Service, Some(kind)) => kind.to_string(),
        (VertexKind::Service, None) => String::new(),
    }
}

fn heard(node: &str, coverage: &Coverage) -> String {
    let speaker = coverage.nodes.iter().find(|n| n.node.as_str() == node);
    match speaker {
        Some(n) => format!("reports, {}", level(n)),
        None if node.is_empty() => "does not report: no agent".into(),
        None => "does not report connections".into(),
    }
}

/// How well a node sees.
pub(super) fn level(n: &NodeCoverage) -> &'static str {
    match n.level {
        0 => "level 0: /proc/net only, short connections are missed",
        1 => "level 1: host namespace, without foreign owners",
        2 => "level 2: host namespace, with owners",
        _ => "level 3: with container namespaces",
    }
}

fn facts(e: &MapEdge, seconds: f64) -> Vec<Fact> {
    let each = |count: u64| words::value((count as f64 / seconds) as f32, "By/s");
    let total = |count: u64| words::value(count as f32, "By");
    let mut facts = vec![
        Fact::new("Transport and port", e.port_text()),
        Fact::new("Connects", format!("{}, {} in all", rows::rate(e.connects, seconds), e.connects)),
        Fact::new("Failed connects", rows::failed(e)),
        Fact::new("Client to server", format!("{}, {} in all", each(e.sent), total(e.sent))),
        Fact::new("Server to client", format!("{}, {} in all", each(e.received), total(e.received))),
        Fact::new("Segments sent again", e.retransmits),
        Fact::new(
            "Round trip: median, 95 %, least",
            [e.rtt_p50, e.rtt_p95, e.rtt_min].map(rows::seconds_or_dash).join(", "),
        ),
        Fact::new("Lifetime of connections", rows::seconds_or_dash(e.lifetime)),
        Fact::new("Open at the end", e.active),
        Fact::new("Accept queue, largest", e.accept_queue.map_or_else(|| "–".into(), |q| q.to_string())),
        Fact::new("Owners of both ends known", rows::sure(e)),
        Fact::html("First seen", time(e.first_seen_ms)),
        Fact::html("Last seen", time(e.last_seen_ms)),
    ];
    if let Some(via) = &e.via {
        facts.push(Fact::new("Reached by way of", via));
    }
    facts
}

fn hour(hour_ms: i64, e: &MapEdge) -> Hour {
    Hour {
        when: clock(hour_ms),
        connects: e.connects,
        failed: rows::failed(e),
        bytes: words::value(e.bytes() as f32, "By"),
        rtt: rows::seconds_or_dash(e.rtt_p50),
    }
}

/// An hour as it is written: it is a period, so it stays exact.
fn clock(ms: i64) -> String {
    let at = Timestamp::from_millisecond(ms).ok();
    at.map_or_else(|| "an unknown time".into(), |at| at.strftime("%Y-%m-%d %H:%M UTC").to_string())
}

/// Hours in which the edge was not there are holes.
fn charts(history: &EdgeHistory) -> Vec<Chart> {
    let (Some(first), Some(last)) = (history.hours.first(), history.hours.last()) else { return Vec::new() };
    let count = (last.hour_ms - first.hour_ms) / HOUR_MS + 1;
    let by_hour = |figure: fn(&MapEdge) -> Option<f64>| {
        let mut hours = history.hours.iter().peekable();
        let value = |n: i64| {
            let hour = hours.next_if(|h| h.hour_ms <= first.hour_ms + n * HOUR_MS)?;
            figure(&hour.edge)
        };
        (0..count).map(value).collect::<Vec<Option<f64>>>()
    };
    let x: Vec<i64> = (0..count).map(|n| (first.hour_ms + n * HOUR_MS) / 1000).collect();
    let chart = |words: &'static str, unit: &str, figure: fn(&MapEdge) -> Option<f64>| Chart {
        words,
        json: json!({ "x": x, "y": by_hour(figure), "unit": unit }).to_string(),
    };
    vec![
        chart("Connects an hour", "", |e| Some(e.connects as f64)),
        chart("Failed connects an hour", "", |e| Some(e.failed as f64)),
        chart("Bytes an hour, both ways", "By", |e| Some(e.bytes() as f64)),
        chart("Segments sent again an hour", "", |e| Some(e.retransmits as f64)),
        chart("Round trip, median", "s", |e| e.rtt_p50.map(f64::from)),
        chart("Lifetime of connections, mean", "s", |e| e.lifetime.map(f64::from)),
    ]
}

/// A service, or what else a vertex is.
pub(super) struct ServiceDetails {
    pub name: String,
    pub facts: Vec<Fact>,
    pub heads: Vec<Head>,
    pub incoming: Vec<Line>,
    pub outgoing: Vec<Line>,
    /// Edges that are not listed.
    pub more: usize,
    /// Its own edges only.
    pub only: String,
    /// Who depends on it.
    pub blast: String,
    pub path_from: String,
    pub path_to: String,
    pub close: String,
}

/// Tells of what goes by a name: a vertex, or all vertices of an owner.
pub(super) fn service(
    name: &str,
    view: &MapView,
    edges: &[Told<'_>],
    seconds: f64,
    known: &Known<'_>,
    asked: &Asked,
) -> Option<ServiceDetails> {
    let meant = |id: &str| known.vertex(id).map_or(id == name, |v| is_called(v, name));
    let listed =
        |side: fn(&MapEdge) -> &str| -> Vec<&Told<'_>> { edges.iter().filter(|t| meant(side(t.edge))).collect() };
    let (incoming, outgoing) = (listed(|e| e.server.as_str()), listed(|e| e.client.as_str()));
    if incoming.is_empty() && outgoing.is_empty() {
        return None;
    }
    let vertices: Vec<&Vertex> = view.vertices.iter().filter(|v| is_called(v, name)).collect();
    let lines = |all: &[&Told<'_>]| -> Vec<Line> {
        all.iter().take(LINES_MAX).map(|t| rows::line(t, seconds, known, asked)).collect()
    };
    let shown = match vertices.as_slice() {
        [one] => one.name.clone(),
        _ => name.to_owned(),
    };
    Some(ServiceDetails {
        facts: service_facts(&vertices, incoming.len(), outgoing.len()),
        heads: rows::heads(None),
        more: incoming.len().saturating_sub(LINES_MAX) + outgoing.len().saturating_sub(LINES_MAX),
        only: asked.link(&[("service", name), ("show", "")]),
        blast: asked.link(&[("blast", name)]),
        path_from: asked.link(&[("path_from", name)]),
        path_to: asked.link(&[("path_to", name)]),
        close: asked.link(&[("show", ""), ("service", "")]),
        incoming: lines(&incoming),
        outgoing: lines(&outgoing),
        name: shown,
    })
}

fn service_facts(vertices: &[&Vertex], incoming: usize, outgoing: usize) -> Vec<Fact> {
    let mut nodes: Vec<&str> =
        vertices.iter().filter_map(|v| v.node.as_ref()).map(tacit_wire::NodeId::as_str).collect();
    nodes.sort_unstable();
    nodes.dedup();
    let mut sites: Vec<&str> = vertices.iter().map(|v| v.site.as_str()).collect();
    sites.sort_unstable();
    sites.dedup();
    let link = |node: &&str| format!("<a href=\"/nodes/{0}\">{0}</a>", escape(node));
    let mut facts = vec![Fact::new("Clients", incoming), Fact::new("Servers it uses", outgoing)];
    if !nodes.is_empty() {
        facts.push(Fact::html("Nodes", nodes.iter().take(20).map(link).collect::<Vec<_>>().join(", ")));
    }
    facts.push(Fact::new("Site", sites.join(", ")));
    if let [one] = vertices {
        facts.push(Fact::new("Owner", how(one)));
        if let Some(address) = &one.address {
            facts.push(Fact::new("Address", address));
        }
        if let Some(host) = &one.hostname {
            facts.push(Fact::new("Called by DNS", host));
        }
    }
    facts
}
