//! What differs between the maps of two times.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::view::{MapEdge, MapView};
use crate::store::Vertex;

/// An edge that is on both maps and behaves differently.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Changed {
    /// Then.
    pub before: MapEdge,
    /// Now.
    pub after: MapEdge,
    /// What differs: `slower`, `faster`, `failing`, `recovered`, `busier`, `quieter`.
    pub how: Vec<String>,
}

/// The difference of two maps.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct MapDiff {
    /// End of the earlier time, Unix milliseconds.
    pub from_ms: i64,
    /// End of the later time, Unix milliseconds.
    pub to_ms: i64,
    /// Vertices of all edges below.
    pub vertices: Vec<Vertex>,
    /// Edges that only the later map has.
    pub appeared: Vec<MapEdge>,
    /// Edges that only the earlier map has.
    pub vanished: Vec<MapEdge>,
    /// Edges that behave differently.
    pub changed: Vec<Changed>,
    /// Edges that do not.
    pub unchanged: u64,
}

/// What is different from `before` to `after`.
#[must_use]
pub fn diff(before: &MapView, after: &MapView) -> MapDiff {
    let then: BTreeMap<&str, &MapEdge> = before.edges.iter().map(|e| (e.id.as_str(), e)).collect();
    let now: BTreeMap<&str, &MapEdge> = after.edges.iter().map(|e| (e.id.as_str(), e)).collect();
    let mut out = MapDiff {
        from_ms: before.to_ms,
        to_ms: after.to_ms,
        vertices: Vec::new(),
        appeared: after.edges.iter().filter(|e| !then.contains_key(e.id.as_str())).cloned().collect(),
        vanished: before.edges.iter().filter(|e| !now.contains_key(e.id.as_str())).cloned().collect(),
        changed: Vec::new(),
        unchanged: 0,
    };
    for (id, after) in &now {
        let Some(before) = then.get(id) else { continue };
        let how = compare(before, after);
        if how.is_empty() {
            out.unchanged += 1;
        } else {
            out.changed.push(Changed { before: (*before).clone(), after: (*after).clone(), how });
        }
    }
    let edges = out.appeared.iter().chain(&out.vanished).chain(out.changed.iter().map(|c| &c.after));
    let used: std::collections::BTreeSet<&str> = edges.flat_map(|e| [e.client.as_str(), &e.server]).collect();
    let known = |id: &&str| after.vertex(id).or_else(|| before.vertex(id)).cloned();
    let vertices = used.iter().filter_map(known).collect();
    out.vertices = vertices;
    out
}

/// In words, what is different enough to be told.
fn compare(before: &MapEdge, after: &MapEdge) -> Vec<String> {
    let mut how = Vec::new();
    let mut say = |word: &str| how.push(word.to_owned());
    let pairs = [(before.rtt_p50, after.rtt_p50, 0.002), (before.lifetime, after.lifetime, 0.05)];
    let moved = |faster: bool| {
        pairs.iter().any(|(a, b, least)| {
            let (Some(a), Some(b)) = (a, b) else { return false };
            let (low, high) = if faster { (b, a) } else { (a, b) };
            *high > low * 2.0 && high - low > *least
        })
    };
    if moved(false) {
        say("slower");
    } else if moved(true) {
        say("faster");
    }
    let share = |e: &MapEdge| e.failed as f64 / e.connects.max(e.failed).max(1) as f64;
    if share(after) > share(before) + 0.1 {
        say("failing");
    } else if share(after) + 0.1 < share(before) {
        say("recovered");
    }
    let bytes = |e: &MapEdge| e.bytes() as f64 + 10_000.0;
    if bytes(after) > bytes(before) * 4.0 {
        say("busier");
    } else if bytes(after) * 4.0 < bytes(before) {
        say("quieter");
    }
    how
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::map::fixtures::view;

    #[test]
    fn what_came_went_and_changed() {
        let before = view(&[("a/x", "b/x"), ("a/x", "c/x"), ("a/x", "e/x")]);
        let mut after = view(&[("a/x", "b/x"), ("a/x", "d/x"), ("a/x", "e/x")]);
        (after.edges[0].rtt_p50, after.edges[0].failed) = (Some(0.041), 5);
        let diff = diff(&before, &after);
        let ids = |edges: &[MapEdge]| edges.iter().map(|e| e.server.clone()).collect::<Vec<_>>();
        assert_eq!(
            (ids(&diff.appeared), ids(&diff.vanished), diff.unchanged),
            (vec!["d/x".into()], vec!["c/x".into()], 1)
        );
        assert_eq!(diff.changed[0].how, ["slower", "failing"]);
        let vertices: Vec<_> = diff.vertices.iter().map(|v| v.id.as_str()).collect();
        assert_eq!(vertices, ["a/x", "b/x", "c/x", "d/x"]);
    }
}
