//! The map against what is true.

use serde::Serialize;
use tacit_collector::map::book::MINUTE_MS;
use tacit_collector::map::view::{MapEdge, MapView};
use tacit_collector::store::{Vertex, VertexKind};
use tacit_wire::message::Protocol;

use super::truth::{End, Truth};

/// Whether an owner is the right one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Owned {
    /// It is.
    Right,
    /// None is named.
    Unknown,
    /// Another is named.
    Wrong,
    /// There is none to name: somebody outside, or gone before anybody can look.
    None,
}

/// An edge of the map that is expected, or one of the parts in which it is told.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Told {
    /// Its id.
    pub id: String,
    /// Connections counted.
    pub connects: u64,
    /// The owners of client and server.
    pub owners: [Owned; 2],
    /// How sure the map is of them.
    pub confidence: f32,
}

/// What became of an expected edge.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Row {
    /// What is true.
    pub truth: Truth,
    /// What the map has of it; nothing when it was missed.
    pub told: Vec<Told>,
    /// Connections counted.
    pub connects: u64,
    /// Failed connects counted.
    pub failed: u64,
    /// Segments sent again.
    pub retransmits: u64,
    /// Median round trip, seconds.
    pub rtt_s: Option<f32>,
    /// Mean lifetime, seconds.
    pub lifetime_s: Option<f32>,
    /// First and last minute it was seen in.
    pub seen_ms: Option<(i64, i64)>,
    /// Whether the rewritten address is told as it is.
    pub via_right: Option<bool>,
}

/// All edges.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Judged {
    /// Expected edges, in their order.
    pub rows: Vec<Row>,
    /// Edges that are not there.
    pub false_edges: Vec<String>,
    /// Failed connects told on edges without any.
    pub failed_elsewhere: u64,
    /// Share of the map's own edges between nodes that have an owner on both ends, as it says itself.
    pub owned_share: Option<f32>,
    /// The same of bytes.
    pub bytes_share: Option<f32>,
}

impl Row {
    fn new(truth: &Truth) -> Self {
        Self {
            truth: truth.clone(),
            told: Vec::new(),
            connects: 0,
            failed: 0,
            retransmits: 0,
            rtt_s: None,
            lifetime_s: None,
            seen_ms: None,
            via_right: None,
        }
    }

    /// Whether the map has it.
    pub fn found(&self) -> bool {
        !self.told.is_empty()
    }

    /// Whether the times at which it was seen are those at which it was there, to the minute.
    pub fn in_time(&self) -> Option<bool> {
        if self.truth.since_ms.is_none() && self.truth.until_ms.is_none() {
            return None;
        }
        let (first, last) = self.seen_ms?;
        let minute = |at: i64| at.div_euclid(MINUTE_MS) * MINUTE_MS;
        let begins = self.truth.since_ms.is_none_or(|since| first >= minute(since));
        // What ends with the minute is told in the next.
        let ends = self.truth.until_ms.is_none_or(|until| last <= minute(until) + MINUTE_MS);
        Some(begins && ends)
    }

    /// Whether the slowness shows where it is: in lifetimes, not in round trips.
    pub fn slow_right(&self) -> Option<bool> {
        let lived = self.truth.lived_s?;
        let near = |seen: f32| (0.5 * lived..2.0 * lived).contains(&f64::from(seen));
        Some(self.lifetime_s.is_some_and(near) && self.rtt_s.is_some_and(|rtt| f64::from(rtt) < lived / 4.0))
    }

    fn take(&mut self, edge: &MapEdge, owners: [Owned; 2]) {
        self.told.push(Told { id: edge.id.clone(), connects: edge.connects, owners, confidence: edge.confidence });
        self.connects += edge.connects;
        self.failed += edge.failed;
        self.retransmits += edge.retransmits;
        // The part with the most connections speaks for it.
        let largest = self.told.iter().all(|t| t.connects <= edge.connects);
        if largest {
            (self.rtt_s, self.lifetime_s) = (edge.rtt_p50, edge.lifetime);
        }
        let (first, last) = self.seen_ms.unwrap_or((edge.first_seen_ms, edge.last_seen_ms));
        self.seen_ms = Some((first.min(edge.first_seen_ms), last.max(edge.last_seen_ms)));
        if self.truth.via.is_some() {
            self.via_right = Some(self.via_right.unwrap_or(true) && edge.via == self.truth.via);
        }
    }
}

/// Compares.
pub fn judge(view: &MapView, truths: &[Truth]) -> Judged {
    let mut rows: Vec<Row> = truths.iter().map(Row::new).collect();
    let mut judged =
        Judged { owned_share: view.coverage.edges_share, bytes_share: view.coverage.bytes_share, ..Judged::default() };
    for edge in &view.edges {
        let ends = [&edge.client, &edge.server].map(|id| view.vertex(id));
        let row = match ends {
            [Some(client), Some(server)] => rows.iter_mut().find(|r| is_meant(&r.truth, edge, client, server)),
            _ => None,
        };
        let Some(row) = row else {
            judged.false_edges.push(format!("{} ({} connects, {} failed)", edge.id, edge.connects, edge.failed));
            judged.failed_elsewhere += edge.failed;
            continue;
        };
        if row.truth.failed == 0 {
            judged.failed_elsewhere += edge.failed;
        }
        let owned = |at: usize, end: &End| owner(end, ends[at]);
        let owners = [owned(0, &row.truth.client), owned(1, &row.truth.server)];
        row.take(edge, owners);
    }
    judged.rows = rows;
    judged
}

fn is_meant(truth: &Truth, edge: &MapEdge, client: &Vertex, server: &Vertex) -> bool {
    let port = truth.port == 0 || edge.port == truth.port || (truth.port_lost && edge.port == 0);
    edge.protocol == Protocol::Tcp && port && host(client) == truth.client.host && host(server) == truth.server.host
}

fn host(vertex: &Vertex) -> String {
    match (&vertex.node, &vertex.address) {
        (Some(node), _) => node.to_string(),
        (None, Some(address)) => format!("ext:{address}"),
        (None, None) => vertex.id.clone(),
    }
}

fn owner(end: &End, vertex: Option<&Vertex>) -> Owned {
    let named = vertex.filter(|v| v.kind == VertexKind::Service).and_then(|v| v.owner.as_deref());
    match (end.owner.as_deref(), named) {
        (None, _) => Owned::None,
        (Some(_), None) => Owned::Unknown,
        (Some(right), Some(named)) if right == named => Owned::Right,
        (Some(_), Some(_)) => Owned::Wrong,
    }
}

/// The figures of a run, out of all edges.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Totals {
    /// Short connections that were made, both ends of a proxied one counted.
    pub short: u64,
    /// Those counted.
    pub short_counted: u64,
    /// Share counted, percent.
    pub short_percent: Option<f64>,
    /// Largest distance of an edge's count from the truth, percent, of edges whose count is known.
    pub worst_percent: Option<f64>,
    /// Edges that the map has to have, and those it has.
    pub must: usize,
    /// See `must`.
    pub found: usize,
    /// Edges that are not there.
    pub false_edges: usize,
    /// Ends whose owner is right, not named, wrong: by edges as they are told.
    pub ends: [usize; 3],
    /// The same, each end once a connection.
    pub ends_by_connection: [u64; 3],
    /// Connections between nodes with the right owner on both ends, percent.
    pub both_percent: Option<f64>,
    /// Failed connects that were made, and those told on their edge.
    pub failed: u64,
    /// See `failed`.
    pub failed_told: u64,
    /// Failed connects told elsewhere.
    pub failed_elsewhere: u64,
    /// Whether every edge with a time was seen in its time.
    pub in_time: Option<bool>,
    /// Whether slowness shows in lifetimes and not in round trips.
    pub slow_right: Option<bool>,
    /// Share of the segments sent again that are told on edges with loss, percent.
    pub lossy_percent: Option<f64>,
}

impl Judged {
    /// The figures.
    pub fn totals(&self) -> Totals {
        let percent = |part: u64, whole: u64| (whole > 0).then(|| part as f64 / whole as f64 * 100.0);
        let sum = |of: &dyn Fn(&Row) -> u64| self.rows.iter().map(of).sum::<u64>();
        let short: Vec<&Row> = self.rows.iter().filter(|r| r.truth.short).collect();
        let made = short.iter().filter_map(|r| r.truth.connects).sum();
        // More than there were is no better than less.
        let counted = short.iter().map(|r| r.connects.min(r.truth.connects.unwrap_or(0))).sum();
        let off = |r: &Row| {
            let truth = r.truth.connects.filter(|n| *n > 0)?;
            Some((r.connects as f64 - truth as f64).abs() / truth as f64 * 100.0)
        };
        let inner: Vec<&Row> = self.rows.iter().filter(|r| is_between_nodes(&r.truth)).collect();
        let both = |t: &&Told| t.owners.iter().all(|o| *o == Owned::Right);
        let owned = inner.iter().flat_map(|r| &r.told).filter(both).map(|t| t.connects).sum();
        let all = inner.iter().flat_map(|r| &r.told).map(|t| t.connects).sum();
        let every = |of: &dyn Fn(&Row) -> Option<bool>| self.rows.iter().filter_map(of).reduce(|a, b| a && b);
        Totals {
            short: made,
            short_counted: counted,
            short_percent: percent(counted, made),
            worst_percent: self.rows.iter().filter(|r| r.truth.must).filter_map(off).reduce(f64::max),
            must: self.rows.iter().filter(|r| r.truth.must).count(),
            found: self.rows.iter().filter(|r| r.truth.must && r.found()).count(),
            false_edges: self.false_edges.len(),
            ends: [Owned::Right, Owned::Unknown, Owned::Wrong].map(|o| self.ends(o, |_| 1) as usize),
            ends_by_connection: [Owned::Right, Owned::Unknown, Owned::Wrong].map(|o| self.ends(o, |t| t.connects)),
            both_percent: percent(owned, all),
            failed: sum(&|r| r.truth.failed),
            failed_told: sum(&|r| r.failed.min(r.truth.failed)),
            failed_elsewhere: self.failed_elsewhere,
            in_time: every(&Row::in_time),
            slow_right: every(&Row::slow_right),
            lossy_percent: percent(sum(&|r| if r.truth.lossy { r.retransmits } else { 0 }), sum(&|r| r.retransmits)),
        }
    }

    fn ends(&self, owned: Owned, each: impl Fn(&Told) -> u64) -> u64 {
        let told = self.rows.iter().flat_map(|r| &r.told);
        told.map(|t| each(t) * t.owners.iter().filter(|o| **o == owned).count() as u64).sum()
    }
}

fn is_between_nodes(truth: &Truth) -> bool {
    truth.client.owner.is_some() && truth.server.owner.is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Client's node and owner, server's, port, connects.
    type Row<'a> = (&'a str, Option<&'a str>, &'a str, Option<&'a str>, u16, u64);

    fn view(edges: &[Row<'_>]) -> MapView {
        let vertex = |node: &str, owner: Option<&str>| {
            let outside = node.strip_prefix("ext:");
            serde_json::json!({ "id": format!("{node}/{}", owner.unwrap_or("-")), "name": node, "site": "default",
                "kind": if outside.is_some() { "external" } else if owner.is_some() { "service" } else { "node" },
                "node": if outside.is_some() { None } else { Some(node) }, "address": outside, "port": null,
                "owner": owner, "owner_kind": null })
        };
        let mut vertices: Vec<serde_json::Value> =
            edges.iter().flat_map(|(a, x, b, y, ..)| [vertex(a, *x), vertex(b, *y)]).collect();
        vertices.sort_by_key(|v| v["id"].as_str().map(ToOwned::to_owned));
        vertices.dedup();
        let edge = |(a, x, b, y, port, connects): &Row<'_>| {
            let (client, server) = (format!("{a}/{}", x.unwrap_or("-")), format!("{b}/{}", y.unwrap_or("-")));
            serde_json::json!({ "id": format!("{client}>{server}:tcp/{port}"), "client": client, "server": server,
                "protocol": "tcp", "port": port, "via": null, "connects": connects, "failed": 1, "sent": 0, "received": 0,
                "retransmits": 2, "rtt_p50": 0.001, "rtt_p95": null, "rtt_min": null, "active": 0, "lifetime": 0.2,
                "accept_queue": null, "confidence": 1.0, "first_seen_ms": 60_000, "last_seen_ms": 120_000, "owned": true })
        };
        let coverage = serde_json::json!({ "edges": 1, "edges_owned": 1, "edges_share": 1.0, "bytes": 0, "bytes_owned": 0,
            "bytes_share": null, "outside": 0, "nodes": [], "conflicts": [] });
        serde_json::from_value(serde_json::json!({ "from_ms": 0, "to_ms": 1, "vertices": vertices,
            "edges": edges.iter().map(edge).collect::<Vec<_>>(), "coverage": coverage }))
        .expect("the API's form")
    }

    #[test]
    fn what_is_not_there_is_false_and_an_owner_may_be_right_unknown_or_wrong() {
        let view = view(&[
            ("a", Some("x"), "b", Some("y"), 80, 90),
            ("a", None, "b", Some("y"), 80, 9),
            ("a", Some("x"), "c", Some("evil"), 81, 1),
            ("ext:192.0.2.1", None, "b", Some("y"), 80, 1),
        ]);
        let truth =
            Truth { short: true, connects: Some(100), ..Truth::new("t", End::of("a", "x"), End::of("b", "y"), 80) };
        let wrong = Truth { failed: 3, ..Truth::new("w", End::of("a", "x"), End::of("c", "z"), 81) };
        let missed = Truth::new("m", End::of("a", "x"), End::of("d", "z"), 82);
        let judged = judge(&view, &[truth, wrong, missed]);
        assert_eq!(judged.false_edges, ["ext:192.0.2.1/->b/y:tcp/80 (1 connects, 1 failed)"]);
        let totals = judged.totals();
        assert_eq!((totals.short, totals.short_counted, totals.must, totals.found), (100, 99, 3, 2));
        assert_eq!((totals.ends, totals.ends_by_connection), ([4, 1, 1], [190, 9, 1]));
        assert_eq!((totals.failed, totals.failed_told, totals.failed_elsewhere), (3, 1, 3));
    }

    #[test]
    fn times_and_slowness_are_judged() {
        let view = view(&[("a", Some("x"), "b", Some("y"), 80, 90)]);
        let edge = || Truth::new("t", End::of("a", "x"), End::of("b", "y"), 80);
        let of = |truth: Truth| judge(&view, &[truth]).rows.remove(0);
        assert_eq!(of(edge()).in_time(), None);
        assert_eq!(of(Truth { since_ms: Some(70_000), until_ms: Some(100_000), ..edge() }).in_time(), Some(true));
        assert_eq!(of(Truth { since_ms: Some(120_000), ..edge() }).in_time(), Some(false));
        assert_eq!(of(Truth { until_ms: Some(50_000), ..edge() }).in_time(), Some(false));
        assert_eq!(of(Truth { lived_s: Some(0.2), ..edge() }).slow_right(), Some(true));
        assert_eq!(of(Truth { lived_s: Some(0.5), ..edge() }).slow_right(), Some(false));
    }
}
