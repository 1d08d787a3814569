//! Nameless clients that can only have been one service.
//!
//! Whose a connection was shows only while it is open, so the first short connections of a client are unattributed until a look meets one.
//! When one service of the node, and no other, is known to use the same server in the time of the map, they are taken for its own, and
//! the confidence says so. What is stored stays as it was told.

use std::collections::{BTreeMap, HashMap, HashSet};

use crate::store::{EdgeFigures, Vertex, VertexKind};

/// How sure an owner is that is known by exclusion.
const BY_EXCLUSION: f64 = 0.5;

/// Adds edges of nameless clients to the one edge of a service on the same node that leads to the same server and port.
pub fn by_exclusion(edges: &mut Vec<EdgeFigures>, vertices: &BTreeMap<String, Vertex>) {
    let is = |e: &EdgeFigures, kind: VertexKind| vertices.get(&e.edge.client).is_some_and(|v| v.kind == kind);
    // The client's node, and `>server:protocol/port`.
    let place = |e: &EdgeFigures| {
        let node = vertices.get(&e.edge.client)?.node.as_ref()?;
        Some((node.to_string(), e.edge.id.get(e.edge.client.len()..)?.to_owned()))
    };
    let mut services: HashMap<(String, String), Option<usize>> = HashMap::new();
    for (i, edge) in edges.iter().enumerate().filter(|(_, e)| is(e, VertexKind::Service)) {
        if let Some(place) = place(edge) {
            services.entry(place).and_modify(|one| *one = None).or_insert(Some(i));
        }
    }
    let of_service = |e: &EdgeFigures| services.get(&place(e)?).copied().flatten();
    let nameless = edges.iter().enumerate().filter(|(_, e)| is(e, VertexKind::Node));
    let moves: Vec<(usize, usize)> = nameless.filter_map(|(i, e)| Some((i, of_service(e)?))).collect();
    for (from, to) in &moves {
        let [first_seen_ms, last_seen_ms] = [edges[*from].edge.first_seen_ms, edges[*from].edge.last_seen_ms];
        let nameless = edges[*from].figures;
        let EdgeFigures { edge, figures } = &mut edges[*to];
        let (owned, sure) = (figures.owned, f64::from(figures.confidence));
        let [known, guessed] = [figures.connects, nameless.connects].map(|n| n.max(1) as f64);
        // Other connections, not the same ones later.
        let active = figures.active.saturating_add(nameless.active);
        figures.add(&nameless);
        figures.active = active;
        figures.owned = owned;
        figures.confidence = ((sure * known + sure.min(BY_EXCLUSION) * guessed) / (known + guessed)) as f32;
        edge.first_seen_ms = edge.first_seen_ms.min(first_seen_ms);
        edge.last_seen_ms = edge.last_seen_ms.max(last_seen_ms);
    }
    let gone: HashSet<usize> = moves.iter().map(|(from, _)| *from).collect();
    let mut at = 0_usize..;
    edges.retain(|_| at.next().is_some_and(|i| !gone.contains(&i)));
}

#[cfg(test)]
mod tests {
    use crate::map::fixtures::view;

    #[test]
    fn a_nameless_client_is_the_one_service_that_uses_the_same_server() {
        let map = view(&[("a/web", "b/db"), ("a/unattributed", "b/db"), ("c/unattributed", "b/db")]);
        let edges: Vec<_> = map.edges.iter().map(|e| (e.id.as_str(), e.connects, e.confidence)).collect();
        assert_eq!(edges, [("a/web>b/db:tcp/80", 20, 0.75), ("c/unattributed>b/db:tcp/80", 10, 1.0)]);
        assert!(map.vertices.iter().all(|v| v.id != "a/unattributed"));
    }

    #[test]
    fn where_two_may_be_meant_nobody_is_named() {
        let map =
            view(&[("a/web", "b/db"), ("a/job", "b/db"), ("a/unattributed", "b/db"), ("a/unattributed", "b/mail")]);
        assert_eq!(map.edges.len(), 4, "{:?}", map.edges);
        assert!(map.edges.iter().all(|e| e.connects == 10));
    }
}
