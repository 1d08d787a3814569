//! The part of the map that an incident is about: the cause on the right, who calls it to the left, the way of the fault between.
//!
//! Drawn on the server as plain shapes, so that it is there without any script; the same edges stand beside it as a list.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};

use super::Concern;
use super::cause::blast;
use crate::api::ApiState;
use crate::api::map::{self, MapFilter, is_failing};
use crate::map::view::{MapEdge, MapView, is_meant};
use crate::store::{IncidentDetail, Vertex};

const HOUR_MS: i64 = 3_600_000;
/// Vertices of the drawing.
const VERTICES: usize = 30;
/// Calls between the cause and what it is followed to.
const STEPS: i32 = 4;
/// Edges in the list.
const LISTED: usize = 60;
/// Letters of a name in a box.
const LETTERS: usize = 26;
/// Sizes of the drawing, in pixels.
const BOX: (i32, i32) = (210, 42);
const GAP: (i32, i32) = (70, 14);
const RIM: i32 = 8;

/// A part of the map.
pub struct Excerpt {
    pub width: i32,
    pub height: i32,
    pub box_width: i32,
    pub box_height: i32,
    pub boxes: Vec<Drawn>,
    pub wires: Vec<Wire>,
    pub edges: Vec<Listed>,
    /// Vertices that are left out.
    pub left_out: usize,
    /// The map of who depends on the cause; empty without one.
    pub blast: String,
}

/// A vertex.
pub struct Drawn {
    pub x: i32,
    pub y: i32,
    pub name_y: i32,
    pub node_y: i32,
    pub text_x: i32,
    pub name: String,
    pub node: String,
    /// `cause`, `symptom` or nothing: a class.
    pub role: &'static str,
}

/// An edge.
pub struct Wire {
    pub path: String,
    /// `fault`, `fails` or nothing: a class.
    pub role: &'static str,
}

/// An edge in words.
pub struct Listed {
    pub client: String,
    pub server: String,
    pub note: &'static str,
}

/// Reads the map around an incident; none when nothing of it is on the map.
pub async fn read(state: &ApiState, detail: &IncidentDetail, concern: &Concern<'_>, now_ms: i64) -> Option<Excerpt> {
    let i = &detail.incident;
    let to = i.resolved_ms.unwrap_or(now_ms).clamp(2 * HOUR_MS, now_ms.max(2 * HOUR_MS));
    let from = i.onset_ms.saturating_sub(HOUR_MS).clamp(to - 2 * HOUR_MS, to - HOUR_MS);
    let filter = MapFilter { from: Some(from), to: Some(to), ..MapFilter::default() };
    // A page without its drawing is better than none.
    let view = map::read(state, &filter).await.ok()?;
    excerpt(&view, i.cause.as_ref().map(|c| c.entity.as_str()), concern)
}

/// The part of a map that is about a cause and what it concerns.
fn excerpt(view: &MapView, cause: Option<&str>, concern: &Concern<'_>) -> Option<Excerpt> {
    // One that is not on the map is not drawn, and nothing else is in its place.
    let cause = cause.filter(|name| view.vertices.iter().any(|v| is_meant(v, name)));
    let graph = Graph::new(view);
    let roots = roots(view, &graph, cause, concern);
    if roots.is_empty() {
        return None;
    }
    let reached = graph.reach(&roots);
    let fault = fault(&reached, view, concern);
    let kept = kept(view, &graph, &roots, &reached, &fault, concern);
    let left_out = kept.len().saturating_sub(VERTICES);
    let kept: HashSet<&str> = kept.into_iter().take(VERTICES).collect();
    let edges = edges(view, &kept, &fault);
    let roles = |id: &str| {
        let is_root = cause.is_some() && roots.contains(&id);
        if is_root {
            "cause"
        } else if concern.names(id) {
            "symptom"
        } else {
            ""
        }
    };
    let depth = |id: &str| reached.get(id).map_or(STEPS + 1, |r| r.depth);
    let (boxes, width, height) = boxes(view, &kept, depth, roles);
    let place: HashMap<&str, (i32, i32)> = boxes.iter().map(|(id, b)| (*id, (b.x, b.y))).collect();
    let wire = |(client, server, role): &(&str, &str, &'static str)| {
        Some(Wire { path: path(*place.get(client)?, *place.get(server)?), role })
    };
    Some(Excerpt {
        width,
        height,
        box_width: BOX.0,
        box_height: BOX.1,
        wires: edges.iter().filter_map(wire).collect(),
        edges: edges.iter().take(LISTED).map(listed).collect(),
        boxes: boxes.into_iter().map(|(_, b)| b).collect(),
        left_out,
        blast: cause.map_or_else(String::new, blast),
    })
}

/// Who calls whom on a map.
struct Graph<'a> {
    clients: HashMap<&'a str, BTreeSet<&'a str>>,
    servers: HashMap<&'a str, BTreeSet<&'a str>>,
}

/// How a vertex hangs together with the cause.
struct Reached<'a> {
    /// Through how many calls; below zero, who is called by it.
    depth: i32,
    /// The next one on the way.
    through: Option<&'a str>,
}

impl<'a> Graph<'a> {
    fn new(view: &'a MapView) -> Self {
        let mut graph = Self { clients: HashMap::new(), servers: HashMap::new() };
        for edge in view.edges.iter().filter(|e| e.client != e.server) {
            graph.clients.entry(&edge.server).or_default().insert(&edge.client);
            graph.servers.entry(&edge.client).or_default().insert(&edge.server);
        }
        graph
    }

    fn clients_of(&self, id: &str) -> impl Iterator<Item = &'a str> {
        self.clients.get(id).into_iter().flatten().copied()
    }

    fn servers_of(&self, id: &str) -> impl Iterator<Item = &'a str> {
        self.servers.get(id).into_iter().flatten().copied()
    }

    /// Who calls the roots, through how many calls; then whom they call.
    fn reach(&self, roots: &[&'a str]) -> HashMap<&'a str, Reached<'a>> {
        let mut reached: HashMap<&'a str, Reached<'a>> =
            roots.iter().map(|r| (*r, Reached { depth: 0, through: None })).collect();
        let mut queue: VecDeque<(&'a str, i32)> = roots.iter().map(|r| (*r, 0)).collect();
        while let Some((at, depth)) = queue.pop_front() {
            for client in self.clients_of(at).filter(|_| depth < STEPS) {
                if let Entry::Vacant(place) = reached.entry(client) {
                    place.insert(Reached { depth: depth + 1, through: Some(at) });
                    queue.push_back((client, depth + 1));
                }
            }
        }
        for root in roots {
            for server in self.servers_of(root) {
                reached.entry(server).or_insert(Reached { depth: -1, through: None });
            }
        }
        reached
    }
}

/// Where the fault begins: the cause, else what of the incident calls nobody else of it.
fn roots<'a>(view: &'a MapView, graph: &Graph<'a>, cause: Option<&str>, concern: &Concern<'_>) -> Vec<&'a str> {
    let ids = |is: &dyn Fn(&Vertex) -> bool| -> Vec<&'a str> {
        view.vertices.iter().filter(|v| is(v)).map(|v| v.id.as_str()).collect()
    };
    let mut found = cause.map_or_else(Vec::new, |name| ids(&|v| is_meant(v, name)));
    if found.is_empty() {
        let all = ids(&|v| concern.has(&v.id));
        let inside: HashSet<&str> = all.iter().copied().collect();
        found = all.iter().copied().filter(|id| !graph.servers_of(id).any(|s| inside.contains(s))).collect();
        if found.is_empty() {
            found = all;
        }
    }
    // Of a machine with many services those that the incident's callers use stand first.
    found.sort_by_key(|id| (!graph.clients_of(id).any(|c| concern.has(c)), *id));
    found.truncate(VERTICES / 2);
    found
}

/// The ways from what complains to the cause: pairs of client and server.
fn fault<'a>(
    reached: &HashMap<&'a str, Reached<'a>>,
    view: &'a MapView,
    concern: &Concern<'_>,
) -> HashSet<(&'a str, &'a str)> {
    let mut ways = HashSet::new();
    for vertex in view.vertices.iter().filter(|v| concern.has(&v.id)) {
        let mut at = vertex.id.as_str();
        while let Some(next) = reached.get(at).and_then(|r| r.through) {
            if !ways.insert((at, next)) {
                break;
            }
            at = next;
        }
    }
    ways
}

/// What is drawn, the most important first: the cause, the ways to it, what the incident names, and what else of it is near.
fn kept<'a>(
    view: &'a MapView,
    graph: &Graph<'a>,
    roots: &[&'a str],
    reached: &HashMap<&'a str, Reached<'a>>,
    fault: &HashSet<(&'a str, &'a str)>,
    concern: &Concern<'_>,
) -> Vec<&'a str> {
    let on_way: HashSet<&str> = fault.iter().flat_map(|(client, server)| [*client, *server]).collect();
    let rank = |v: &Vertex| {
        let id = v.id.as_str();
        let near = || reached.contains_key(id) || graph.servers_of(id).any(|s| reached.contains_key(s));
        if roots.contains(&id) {
            Some(0)
        } else if on_way.contains(id) {
            Some(if concern.names(id) { 1 } else { 2 })
        } else if concern.has(id) && near() {
            Some(if concern.names(id) { 3 } else { 4 })
        } else {
            None
        }
    };
    let mut ranked: Vec<(i32, i32, &'a str)> = Vec::new();
    for vertex in &view.vertices {
        if let Some(rank) = rank(vertex) {
            let depth = reached.get(vertex.id.as_str()).map_or(STEPS, |r| r.depth.abs());
            ranked.push((rank, depth, vertex.id.as_str()));
        }
    }
    ranked.sort_unstable();
    ranked.into_iter().map(|(_, _, id)| id).collect()
}

/// Edges between what is drawn, each pair once, with their class: the way of the fault before what merely fails.
fn edges<'a>(
    view: &'a MapView,
    kept: &HashSet<&str>,
    fault: &HashSet<(&'a str, &'a str)>,
) -> Vec<(&'a str, &'a str, &'static str)> {
    let mut roles: BTreeMap<(&'a str, &'a str), &'static str> = BTreeMap::new();
    let is_here = |e: &&MapEdge| kept.contains(e.client.as_str()) && kept.contains(e.server.as_str());
    for edge in view.edges.iter().filter(is_here).filter(|e| e.client != e.server) {
        let pair = (edge.client.as_str(), edge.server.as_str());
        let role = match (fault.contains(&pair), is_failing(edge)) {
            (_, true) => "fails",
            (true, false) => "fault",
            (false, false) => "",
        };
        let known = roles.entry(pair).or_insert(role);
        if role == "fails" {
            *known = role;
        }
    }
    let mut all: Vec<_> = roles.into_iter().map(|((client, server), role)| (client, server, role)).collect();
    all.sort_by_key(|(_, _, role)| role.is_empty());
    all
}

fn listed((client, server, role): &(&str, &str, &'static str)) -> Listed {
    let note = match *role {
        "fails" => "connects fail",
        "fault" => "on the way of the fault",
        _ => "",
    };
    Listed { client: (*client).to_owned(), server: (*server).to_owned(), note }
}

/// Boxes in columns: who is called stands to the right of who calls.
fn boxes<'a>(
    view: &'a MapView,
    kept: &HashSet<&str>,
    depth: impl Fn(&str) -> i32,
    role: impl Fn(&str) -> &'static str,
) -> (Vec<(&'a str, Drawn)>, i32, i32) {
    let mut columns: BTreeMap<i32, Vec<&'a Vertex>> = BTreeMap::new();
    for vertex in view.vertices.iter().filter(|v| kept.contains(v.id.as_str())) {
        // The largest depth is the furthest caller: it stands left.
        columns.entry(-depth(&vertex.id)).or_default().push(vertex);
    }
    let rows = columns.values().map(Vec::len).max().unwrap_or(0);
    let size = |count: usize, edge: i32, gap: i32| {
        let count = i32::try_from(count).unwrap_or(i32::MAX / 1000);
        2 * RIM + count * edge + (count - 1).max(0) * gap
    };
    let (width, height) = (size(columns.len(), BOX.0, GAP.0), size(rows, BOX.1, GAP.1));
    let mut all = Vec::new();
    let mut x = RIM;
    for vertices in columns.into_values() {
        // A short column stands in the middle.
        let mut y = RIM + (height - size(vertices.len(), BOX.1, GAP.1)) / 2;
        for vertex in vertices {
            let (name, node) = names(vertex);
            let drawn = Drawn {
                x,
                y,
                text_x: x + 10,
                name_y: y + 18,
                node_y: y + 34,
                name: cut(&name),
                node: cut(&node),
                role: role(&vertex.id),
            };
            all.push((vertex.id.as_str(), drawn));
            y += BOX.1 + GAP.1;
        }
        x += BOX.0 + GAP.0;
    }
    (all, width, height)
}

/// What stands in a box: the service and its node.
fn names(vertex: &Vertex) -> (String, String) {
    match (&vertex.node, vertex.id.split_once('/')) {
        (Some(node), Some((_, what))) => (what.to_owned(), node.to_string()),
        _ => (vertex.name.clone(), "outside".to_owned()),
    }
}

/// A name that fits into a box: of a long one the beginning and the end.
fn cut(name: &str) -> String {
    let letters: Vec<char> = name.chars().collect();
    if letters.len() <= LETTERS {
        return name.to_owned();
    }
    let (head, tail) = (&letters[..LETTERS / 2], &letters[letters.len() - (LETTERS / 2 - 1)..]);
    head.iter().chain(&['…']).chain(tail).collect()
}

/// A curve from the right side of a client to the left side of a server; upright ones leave at the side.
fn path(client: (i32, i32), server: (i32, i32)) -> String {
    let (x1, y1) = (client.0 + BOX.0, client.1 + BOX.1 / 2);
    let (x2, y2) = (server.0, server.1 + BOX.1 / 2);
    let bend = if x2 > x1 { (x2 - x1) / 2 } else { GAP.0 / 2 };
    format!("M{x1} {y1} C{} {y1} {} {y2} {x2} {y2}", x1 + bend, x2 - bend)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::incident;
    use crate::map::fixtures::view;
    use crate::store::Incident;

    fn detail(entities: &[&str], nodes: &[&str]) -> IncidentDetail {
        let incident = Incident {
            entities: entities.iter().map(|e| (*e).to_owned()).collect(),
            nodes: nodes.iter().map(|n| n.parse().unwrap()).collect(),
            ..incident()
        };
        IncidentDetail { incident, events: Vec::new(), audit: Vec::new(), ranking: None }
    }

    #[test]
    fn the_way_of_the_fault_leads_from_what_complains_to_the_cause() {
        let view = view(&[
            ("lb/nginx", "app/web"),
            ("app/web", "db/postgres"),
            ("job/cron", "db/postgres"),
            ("lb/nginx", "app/mail"),
        ]);
        let detail = detail(&["lb/nginx", "db/postgres"], &[]);
        let found = excerpt(&view, Some("db/postgres"), &Concern::of(&detail)).expect("it is on the map");
        // Whoever is not on the way, and is not of the incident, is not drawn.
        let boxes: Vec<_> = found.boxes.iter().map(|b| (b.node.as_str(), b.name.as_str(), b.role)).collect();
        assert_eq!(boxes, [("lb", "nginx", "symptom"), ("app", "web", ""), ("db", "postgres", "cause")]);
        assert!(found.boxes[0].x < found.boxes[1].x && found.boxes[1].x < found.boxes[2].x);
        let edges: Vec<_> = found.edges.iter().map(|e| (e.client.as_str(), e.server.as_str(), e.note)).collect();
        let way = "on the way of the fault";
        assert_eq!(edges, [("app/web", "db/postgres", way), ("lb/nginx", "app/web", way)]);
        assert_eq!((found.wires.len(), found.left_out, found.blast.as_str()), (2, 0, "/map?blast=db/postgres"));
    }

    #[test]
    fn a_node_is_all_that_is_on_it_and_a_crowd_stays_readable() {
        let clients: Vec<String> = (0..100).map(|n| format!("web-{n}/nginx")).collect();
        let pairs: Vec<(&str, &str)> = clients.iter().map(|c| (c.as_str(), "db/postgres")).collect();
        let nodes: Vec<String> = (0..100).map(|n| format!("web-{n}")).collect();
        let nodes: Vec<&str> = nodes.iter().map(String::as_str).collect();
        let found = excerpt(&view(&pairs), Some("db"), &Concern::of(&detail(&[], &nodes))).expect("it is on the map");
        assert_eq!((found.boxes.len(), found.left_out), (VERTICES, 101 - VERTICES));
        assert!(found.boxes.iter().any(|b| b.role == "cause") && found.width > 0 && found.height > 0);
    }

    #[test]
    fn without_a_cause_it_begins_where_nobody_of_it_is_called() {
        let view = view(&[("a/x", "b/y"), ("b/y", "far/z")]);
        let held = detail(&["a/x", "b/y"], &[]);
        let found = excerpt(&view, None, &Concern::of(&held)).expect("it is on the map");
        let names: Vec<_> = found.boxes.iter().map(|b| b.node.as_str()).collect();
        assert_eq!((names, found.blast.as_str()), (vec!["a", "b"], ""));
        assert!(excerpt(&view, None, &Concern::of(&detail(&["c/w"], &[]))).is_none());
        // A cause that is not on the map leaves what is.
        let found = excerpt(&view, Some("link:sw-1"), &Concern::of(&held)).expect("two of it are there");
        assert!(found.boxes.iter().all(|b| b.role != "cause"));
    }

    #[test]
    fn long_names_keep_both_ends() {
        let cut = cut("a-very-long-name-of-a-service-that-nobody-reads.service");
        assert_eq!((cut.chars().count(), cut.as_str()), (LETTERS, "a-very-long-n…eads.service"));
        assert_eq!(path((0, 0), (280, 56)), "M210 21 C245 21 245 77 280 77");
    }
}
