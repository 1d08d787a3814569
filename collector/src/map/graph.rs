//! Questions to the graph: who depends on a service, and how does one thing reach another.

use std::collections::{HashMap, HashSet, VecDeque};

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::view::{MapView, is_meant};

/// Somebody who depends on what was asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Dependent {
    /// The vertex.
    pub id: String,
    /// Through how many edges; 1 is direct.
    pub steps: u32,
    /// The vertex through which it depends; what was asked for when direct.
    pub through: String,
}

/// What breaks when a service or a node goes down.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Blast {
    /// What was asked for.
    pub service: String,
    /// The vertices that go by this name.
    pub roots: Vec<String>,
    /// Who depends on them, nearest first.
    pub affected: Vec<Dependent>,
    /// Who does not.
    pub unaffected: Vec<String>,
}

/// A way from one vertex to another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Route {
    /// Whether there is one.
    pub found: bool,
    /// Its vertices, from client to server.
    pub vertices: Vec<String>,
    /// Its edges.
    pub edges: Vec<String>,
}

/// Vertices that go by a name: an id, an owner's name, or everything on a node.
#[must_use]
pub fn named<'a>(view: &'a MapView, name: &str) -> Vec<&'a str> {
    view.vertices.iter().filter(|v| is_meant(v, name)).map(|v| v.id.as_str()).collect()
}

/// Who depends on `name`; `None` when nothing on the map goes by it.
#[must_use]
pub fn blast(view: &MapView, name: &str) -> Option<Blast> {
    let roots = named(view, name);
    if roots.is_empty() {
        return None;
    }
    let mut clients: HashMap<&str, Vec<&str>> = HashMap::new();
    for edge in &view.edges {
        clients.entry(&edge.server).or_default().push(&edge.client);
    }
    let mut seen: HashSet<&str> = roots.iter().copied().collect();
    let mut queue: VecDeque<(&str, u32)> = roots.iter().map(|r| (*r, 0)).collect();
    let mut affected = Vec::new();
    while let Some((at, steps)) = queue.pop_front() {
        for client in clients.get(at).into_iter().flatten() {
            if seen.insert(client) {
                affected.push(Dependent { id: (*client).to_owned(), steps: steps + 1, through: at.to_owned() });
                queue.push_back((client, steps + 1));
            }
        }
    }
    let unaffected = view.vertices.iter().filter(|v| !seen.contains(v.id.as_str())).map(|v| v.id.clone()).collect();
    let roots = roots.into_iter().map(str::to_owned).collect();
    Some(Blast { service: name.to_owned(), roots, affected, unaffected })
}

/// The shortest way by which `from` reaches `to`, along its own connects; `Err` names what is not on the map.
///
/// # Errors
/// The name that nothing on the map goes by.
pub fn path<'n>(view: &MapView, from: &'n str, to: &'n str) -> Result<Route, &'n str> {
    let (starts, ends) = (named(view, from), named(view, to));
    for (found, name) in [(&starts, from), (&ends, to)] {
        if found.is_empty() {
            return Err(name);
        }
    }
    let mut servers: HashMap<&str, Vec<(&str, &str)>> = HashMap::new();
    for edge in &view.edges {
        servers.entry(&edge.client).or_default().push((&edge.server, &edge.id));
    }
    let mut came: HashMap<&str, (&str, &str)> = HashMap::new();
    let mut seen: HashSet<&str> = starts.iter().copied().collect();
    let mut queue: VecDeque<&str> = starts.iter().copied().collect();
    while let Some(at) = queue.pop_front() {
        if ends.contains(&at) {
            return Ok(walk_back(at, &came));
        }
        for (server, edge) in servers.get(at).into_iter().flatten() {
            if seen.insert(server) {
                came.insert(server, (at, edge));
                queue.push_back(server);
            }
        }
    }
    Ok(Route { found: false, vertices: Vec::new(), edges: Vec::new() })
}

fn walk_back(end: &str, came: &HashMap<&str, (&str, &str)>) -> Route {
    let (mut vertices, mut edges, mut at) = (vec![end.to_owned()], Vec::new(), end);
    while let Some((before, edge)) = came.get(at) {
        vertices.push((*before).to_owned());
        edges.push((*edge).to_owned());
        at = before;
    }
    vertices.reverse();
    edges.reverse();
    Route { found: true, vertices, edges }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::map::fixtures::view;

    #[test]
    fn a_blast_reaches_clients_of_clients_and_spares_the_rest() {
        let view = view(&[
            ("lb/nginx", "app/web"),
            ("app/web", "db/postgres"),
            ("db/postgres", "nas/nfs"),
            ("job/cron", "app/mail"),
        ]);
        let blast = blast(&view, "postgres").unwrap();
        let affected: Vec<_> = blast.affected.iter().map(|d| (d.id.as_str(), d.steps, d.through.as_str())).collect();
        assert_eq!(affected, [("app/web", 1, "db/postgres"), ("lb/nginx", 2, "app/web")]);
        assert_eq!(blast.unaffected, ["app/mail", "job/cron", "nas/nfs"]);
        // A node is everything on it.
        assert_eq!(super::blast(&view, "app").unwrap().roots, ["app/mail", "app/web"]);
        assert_eq!(super::blast(&view, "nothing"), None);
    }

    #[test]
    fn a_path_is_the_shortest_along_connects() {
        let view = view(&[("a/x", "b/x"), ("b/x", "c/x"), ("c/x", "a/x"), ("c/x", "d/x"), ("b/x", "d/x")]);
        assert_eq!(path(&view, "a", "d/x").unwrap().vertices, ["a/x", "b/x", "d/x"]);
        assert_eq!(path(&view, "a", "d").unwrap().edges.len(), 2);
        assert!(!path(&view, "d", "a").unwrap().found);
        assert_eq!(path(&view, "a", "nowhere"), Err("nowhere"));
    }
}
