//! The result, as tables for people and as JSON.

use serde::Serialize;

use super::judge::{Judged, Owned, Row};
use super::node::Cpu;
use super::truth::End;

/// All of a run.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// Edges.
    pub judged: Judged,
    /// Nodes.
    pub nodes: Vec<NodeRow>,
    /// How long the short connections took, seconds.
    pub short_s: f64,
    /// Idle sockets that were open on `front` meanwhile.
    pub sockets: u64,
}

/// A node.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct NodeRow {
    /// Its name.
    pub host: String,
    /// Level of observation, as it says.
    pub level: Option<u8>,
    /// Ends of short connections a second, while they were made.
    pub ends_per_s: f64,
    /// What its agent used without traffic.
    pub baseline: Option<Cpu>,
    /// What it used while the short connections were made.
    pub load: Option<Cpu>,
    /// Events that its kernel could not deliver.
    pub overflows: u64,
    /// Edges that the collector could not use.
    pub unusable: u64,
    /// Segments that its kernel sent again; nothing of a host that is gone.
    pub kernel_retransmits: Option<u64>,
    /// Segments sent again, as it told.
    pub told_retransmits: u64,
    /// `links` messages.
    pub messages: usize,
    /// Their payload, bytes a minute that has one.
    pub bytes_per_minute: f64,
    /// Most in one minute.
    pub bytes_most: usize,
}

impl Report {
    /// As one JSON object.
    pub fn json(&self) -> serde_json::Value {
        serde_json::json!({ "report": self, "totals": self.judged.totals() })
    }

    /// As Markdown.
    pub fn text(&self) -> String {
        [self.edges(), self.summary(), self.of_nodes()].join("\n")
    }

    fn edges(&self) -> String {
        let mut text =
            "| edge | for | connections | counted | failed | told | owners | sure | RTT ms | life s | sent again | |\n\
             |---|---|---:|---:|---:|---:|---|---:|---:|---:|---:|---|\n"
                .to_owned();
        for row in &self.judged.rows {
            let t = &row.truth;
            let name = |end: &End| format!("{}/{}", end.host, end.owner.as_deref().unwrap_or("–"));
            let port = if t.port == 0 { "any".to_owned() } else { t.port.to_string() };
            let milli = |s: f32| format!("{:.2}", s * 1000.0);
            let sure = row.told.iter().map(|told| told.confidence).reduce(f32::min);
            text.push_str(&format!(
                "| {} → {} :{port} | {} | {} | {} | {} | {} | {} | {} | {} | {} | {} | {} |\n",
                name(&t.client),
                name(&t.server),
                t.what,
                t.connects.map_or("–".into(), |n| n.to_string()),
                if row.found() { row.connects.to_string() } else { "–".into() },
                t.failed,
                row.failed,
                owners(row),
                sure.map_or("–".into(), |s| format!("{s:.2}")),
                row.rtt_s.map_or("–".into(), milli),
                row.lifetime_s.map_or("–".into(), |s| format!("{s:.2}")),
                row.retransmits,
                remarks(row),
            ));
        }
        for edge in &self.judged.false_edges {
            text.push_str(&format!("| **false**: {edge} | | | | | | | | | | | |\n"));
        }
        text
    }

    fn summary(&self) -> String {
        let t = self.judged.totals();
        let yes = |b: Option<bool>| b.map_or("not tried", |b| if b { "yes" } else { "**no**" });
        let percent = |p: Option<f64>| p.map_or("–".to_owned(), |p| format!("{p:.2} %"));
        let share = |s: Option<f32>| s.map_or("–".to_owned(), |s| format!("{:.1} %", s * 100.0));
        let [right, unknown, wrong] = t.ends;
        let [right_c, unknown_c, wrong_c] = t.ends_by_connection;
        let told: u64 = self.nodes.iter().filter(|n| n.kernel_retransmits.is_some()).map(|n| n.told_retransmits).sum();
        let kernel: u64 = self.nodes.iter().filter_map(|n| n.kernel_retransmits).sum();
        let rows = [
            (
                "short connections counted",
                format!("{} of {}, {} (in {:.1} s)", t.short_counted, t.short, percent(t.short_percent), self.short_s),
            ),
            ("largest distance of an edge's count", percent(t.worst_percent)),
            ("edges found, missed, false", format!("{}, {}, {}", t.found, t.must - t.found, t.false_edges)),
            ("owners of ends right, not named, wrong", format!("{right}, {unknown}, {wrong}")),
            ("the same by connections", format!("{right_c}, {unknown_c}, {wrong_c}")),
            ("connections between nodes right on both ends", percent(t.both_percent)),
            (
                "owned on both ends, as the map says: edges, bytes",
                format!("{}, {}", share(self.judged.owned_share), share(self.judged.bytes_share)),
            ),
            (
                "failed connects made, told there, told elsewhere",
                format!("{}, {}, {}", t.failed, t.failed_told, t.failed_elsewhere),
            ),
            ("segments sent again: kernels, agents", format!("{kernel}, {told}")),
            ("of those on the map, on the edges with loss", percent(t.lossy_percent)),
            ("moved service and reused address in time", yes(t.in_time).to_owned()),
            ("slow service shows in lifetime, not in RTT", yes(t.slow_right).to_owned()),
        ];
        let body: String = rows.iter().map(|(what, value)| format!("| {what} | {value} |\n")).collect();
        format!("| figure | |\n|---|---|\n{body}")
    }

    fn of_nodes(&self) -> String {
        let mut text = "| node | level | ends/s | CPU %: idle | loaded | difference | observer: idle | loaded | lost events | \
             sent again: kernel | told | links B/min | most |\n|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|\n"
            .to_owned();
        for n in &self.nodes {
            let number = |v: Option<f64>| v.map_or("–".to_owned(), |v| format!("{v:.2}"));
            let more = n.baseline.zip(n.load).map(|(idle, load)| load.all - idle.all);
            text.push_str(&format!(
                "| {} | {} | {:.0} | {} | {} | {} | {} | {} | {} | {} | {} | {:.0} | {} |\n",
                n.host,
                n.level.map_or("–".into(), |l| l.to_string()),
                n.ends_per_s,
                number(n.baseline.map(|c| c.all)),
                number(n.load.map(|c| c.all)),
                number(more),
                number(n.baseline.map(|c| c.observer)),
                number(n.load.map(|c| c.observer)),
                n.overflows,
                n.kernel_retransmits.map_or("–".into(), |r| r.to_string()),
                n.told_retransmits,
                n.bytes_per_minute,
                n.bytes_most,
            ));
        }
        if self.sockets > 0 {
            text.push_str(&format!("\n{} idle sockets were open on `front`.\n", self.sockets));
        }
        text
    }
}

fn owners(row: &Row) -> String {
    let mut words: Vec<String> = Vec::new();
    for (at, end) in ["client", "server"].iter().enumerate() {
        let of = |owned: Owned| row.told.iter().filter(|t| t.owners[at] == owned).count();
        let word = match (of(Owned::Right), of(Owned::Unknown), of(Owned::Wrong)) {
            (_, _, wrong) if wrong > 0 => "**wrong**",
            (0, 0, 0) => continue,
            (_, 0, _) => "right",
            (0, ..) => "not named",
            _ => "in part",
        };
        words.push(format!("{end} {word}"));
    }
    words.join(", ")
}

fn remarks(row: &Row) -> String {
    let mut words = Vec::new();
    if row.truth.must && !row.found() {
        words.push("**missed**".to_owned());
    }
    if let Some(via) = &row.truth.via {
        words.push(if row.via_right == Some(true) { format!("via {via}") } else { format!("via {via}: **not told**") });
    }
    if let Some(right) = row.in_time() {
        words.push(if right { "in time".to_owned() } else { "**at the wrong time**".to_owned() });
    }
    if let Some(lived) = row.truth.lived_s {
        words.push(format!("lived {lived:.2} s"));
    }
    if row.truth.contained {
        words.push("in a container".to_owned());
    }
    words.join("; ")
}
