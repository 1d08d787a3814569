//! `tacit map`, `tacit blast` and `tacit path`

use std::fmt::Write as _;

use anyhow::Result;
use tacit_collector::map::diff::MapDiff;
use tacit_collector::map::graph::{Blast, Route};
use tacit_collector::map::view::{MapEdge, MapView};

use super::{print, print_json};
use crate::arguments::{Blast as BlastOptions, Map, Path};
use crate::client::{Client, escaped};
use crate::output::{ago, now_ms, plain, table, utc};

/// Shows the map, or what differs between two times.
///
/// # Errors
/// When the collector cannot be asked or refuses.
pub fn run(options: &Map) -> Result<()> {
    let client = Client::to(&options.collector, options.token_file.as_deref(), options.ca_file.as_deref())?;
    if let Some([one, other]) = options.diff.as_deref() {
        let diff: MapDiff = client.get(&format!("/map/diff?from={}&to={}", one.min(other), one.max(other)))?;
        return match options.format.as_str() {
            "json" => print_json(&diff),
            "table" => print(&difference(&diff)),
            other => anyhow::bail!("--diff has no format {other}: table or json"),
        };
    }
    let query = query(options);
    match options.format.as_str() {
        "table" | "json" => {
            let view: MapView = client.get(&format!("/map?{query}"))?;
            if options.format == "json" { print_json(&view) } else { print(&show(&view)) }
        }
        format => print(&client.text(&format!("/map/export?format={format}&{query}"))?),
    }
}

fn query(options: &Map) -> String {
    let mut query = format!("infrastructure={}", !options.fold);
    let named = [("node", &options.node), ("service", &options.service)];
    for (key, value) in named.into_iter().filter_map(|(k, v)| Some((k, v.as_ref()?))) {
        let _ = write!(query, "&{key}={}", escaped(value));
    }
    if let Some(to) = options.as_of {
        let _ = write!(query, "&to={to}");
    }
    query
}

fn show(view: &MapView) -> String {
    if view.edges.is_empty() {
        return "No connection was seen in this time. Nodes speak of a minute when it is over: look again in two.\n"
            .into();
    }
    let now = now_ms();
    let rows: Vec<Vec<String>> = view.edges.iter().map(|e| row(e, view, now)).collect();
    let mut out = table(
        &[
            "CLIENT", "SERVER", "PORT", "CONNECTS", "FAILED", "SENT", "RECEIVED", "RETRANS", "RTT", "OPEN", "SEEN",
            "SURE",
        ],
        &rows,
    );
    let c = &view.coverage;
    let percent = |share: Option<f32>| share.map_or("–".into(), |s| format!("{:.0} %", s * 100.0));
    let _ = writeln!(
        out,
        "\n{} edges between nodes, {} of them and {} of their bytes owned on both ends; {} with somebody outside",
        c.edges,
        percent(c.edges_share),
        percent(c.bytes_share),
        c.outside
    );
    for conflict in &c.conflicts {
        let _ = writeln!(out, "conflict: {}", plain(&conflict.text));
    }
    for node in c.nodes.iter().filter(|n| n.beyond > 0) {
        let _ = writeln!(out, "{}: {} edges are beyond its bound and left out", node.node, node.beyond);
    }
    for node in c.nodes.iter().filter(|n| n.unusable > 0) {
        let _ = writeln!(
            out,
            "{}: {} edges had ends it had not announced; it was asked for them",
            node.node, node.unusable
        );
    }
    out
}

/// A vertex by its id, and what its address is called.
fn vertex(id: &str, view: &MapView) -> String {
    match view.vertex(id).and_then(|v| v.hostname.as_ref()) {
        Some(host) => plain(&format!("{id} ({host})")),
        None => plain(id),
    }
}

/// Transport and port; `?` for one that failed connects lost.
fn port(e: &MapEdge) -> String {
    if e.port == 0 { format!("{}/?", e.protocol) } else { format!("{}/{}", e.protocol, e.port) }
}

fn row(e: &MapEdge, view: &MapView, now: i64) -> Vec<String> {
    let via = e.via.as_ref().map_or_else(String::new, |via| plain(&format!(" via {via}")));
    vec![
        vertex(&e.client, view),
        vertex(&e.server, view) + &via,
        port(e),
        e.connects.to_string(),
        e.failed.to_string(),
        bytes(e.sent),
        bytes(e.received),
        e.retransmits.to_string(),
        e.rtt_p50.map_or("–".into(), |s| format!("{:.1} ms", s * 1000.0)),
        e.active.to_string(),
        format!("{} ago", ago(e.last_seen_ms, now)),
        if e.owned { format!("{:.1}", e.confidence) } else { "–".into() },
    ]
}

fn bytes(count: u64) -> String {
    match count {
        ..10_000 => format!("{count} B"),
        10_000..10_000_000 => format!("{} kB", count / 1000),
        10_000_000..10_000_000_000 => format!("{} MB", count / 1_000_000),
        _ => format!("{} GB", count / 1_000_000_000),
    }
}

fn difference(diff: &MapDiff) -> String {
    let mut out = format!("from {} to {}\n", utc(diff.from_ms), utc(diff.to_ms));
    for (sign, edges) in [('+', &diff.appeared), ('-', &diff.vanished)] {
        for e in edges {
            let _ = writeln!(out, "{sign} {} -> {} {}", plain(&e.client), plain(&e.server), port(e));
        }
    }
    for c in &diff.changed {
        let e = &c.after;
        let how = plain(&c.how.join(", "));
        let _ = writeln!(out, "~ {} -> {} {}: {how}", plain(&e.client), plain(&e.server), port(e));
    }
    let _ = writeln!(out, "{} edges are as they were", diff.unchanged);
    out
}

/// Says what depends on a service or a node.
///
/// # Errors
/// When the collector cannot be asked or knows nothing of that name.
pub fn blast(options: &BlastOptions) -> Result<()> {
    let to = options.as_of.map_or_else(String::new, |to| format!("&to={to}"));
    let path = format!("/map/blast?service={}{to}", escaped(&options.service));
    let blast: Blast = Client::of(&options.ask)?.get(&path)?;
    if options.ask.json {
        return print_json(&blast);
    }
    let mut out = plain(&format!("{} is {}", blast.service, blast.roots.join(", "))) + "\n";
    if blast.affected.is_empty() {
        out.push_str("Nothing on the map depends on it.\n");
    } else {
        let rows: Vec<_> =
            blast.affected.iter().map(|d| vec![plain(&d.id), d.steps.to_string(), plain(&d.through)]).collect();
        out.push_str(&table(&["AFFECTED", "STEPS", "THROUGH"], &rows));
    }
    let _ = writeln!(out, "unaffected: {}", blast.unaffected.len());
    print(&out)
}

/// Says how one service or node reaches another.
///
/// # Errors
/// When the collector cannot be asked or knows nothing of one of the names.
pub fn path(options: &Path) -> Result<()> {
    let at = options.as_of.map_or_else(String::new, |at| format!("&at={at}"));
    let path = format!("/map/path?from={}&to={}{at}", escaped(&options.from), escaped(&options.to));
    let route: Route = Client::of(&options.ask)?.get(&path)?;
    if options.ask.json {
        return print_json(&route);
    }
    if !route.found {
        return print(&(plain(&format!("{} does not reach {} on the map.", options.from, options.to)) + "\n"));
    }
    print(&(plain(&route.vertices.join(" -> ")) + "\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_read_well() {
        assert_eq!(
            [0, 9_999, 10_000, 12_345_678, 98_765_432_100].map(bytes),
            ["0 B", "9999 B", "10 kB", "12 MB", "98 GB"]
        );
    }
}
