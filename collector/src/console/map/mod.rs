//! The map: who talks to whom, drawn and as a table.
//!
//! The page is whole without its script: the table, the details, what depends on what, what changed. The script draws the same
//! map from the API and asks for this page again when something else is to be shown.

mod asked;
mod details;
mod rows;
mod sections;

use std::collections::BTreeSet;

use askama::Template;
use axum::extract::State;
use axum::http::StatusCode;

pub(super) use self::asked::address;
use self::asked::{Asked, Group, field};
use self::details::{EdgeDetails, ServiceDetails};
use self::rows::{Head, Known, Line, Told};
use self::sections::{BlastSection, CoverageSection, DiffSection, PathSection};
use super::{Page, PageError, render};
use crate::api::map::{self as api, Ends, MapFilter, OneEdge, Service};
use crate::api::{ApiError, ApiState, Query};
use crate::clock::now_ms;
use crate::map::view::MapView;
use crate::store::NodeRecord;

const HOUR_MS: i64 = 3_600_000;
/// How long the history of an edge is.
const HISTORY_MS: i64 = 7 * 24 * HOUR_MS;
/// Lines of the table at once.
const LINES: usize = 100;
/// Lines on the page of a node.
const NODE_LINES: usize = 20;
/// Changes of the map that are looked through for those of an edge.
const CHANGES_MAX: usize = 1000;
/// Names that are offered while somebody writes.
const NAMES_MAX: usize = 1000;
/// Fields of the form that are seen only when they are asked for.
const FOLDED_AWAY: [&str; 12] = [
    "node",
    "service",
    "site",
    "connects",
    "bytes",
    "failing",
    "infrastructure",
    "outside",
    "diff",
    "blast",
    "path_from",
    "path_to",
];
/// How far the slider reaches back.
const SLIDER_HOURS: i64 = 30 * 24;

#[derive(Template)]
#[template(path = "map.html")]
struct MapPage {
    page: &'static str,
    live: &'static str,
    /// No node has told of a connection, ever.
    is_new: bool,
    form: Form,
    /// Whether the part of the form that is folded away was used.
    asked_for_more: bool,
    draw: Draw,
    notes: Vec<String>,
    edge: Option<EdgeDetails>,
    service: Option<ServiceDetails>,
    blast: Option<BlastSection>,
    path: Option<PathSection>,
    diff: Option<DiffSection>,
    heads: Vec<Head>,
    rows: Vec<Line>,
    count: String,
    before: Option<String>,
    next: Option<String>,
    coverage: CoverageSection,
}

/// The fields of the form.
struct Form {
    to: String,
    diff: String,
    hours: i64,
    slider: i64,
    node: String,
    service: String,
    site: String,
    connects: String,
    bytes: String,
    failing: bool,
    infrastructure: bool,
    outside: bool,
    groups: Vec<(String, String, bool)>,
    find: String,
    blast: String,
    path_from: String,
    path_to: String,
    /// What the form does not show but must not lose.
    kept: Vec<(&'static str, String)>,
    names: Vec<String>,
    presets: Vec<(&'static str, String)>,
}

/// What the script draws: addresses at the API, and what is chosen.
struct Draw {
    map: String,
    diff: String,
    blast: String,
    path: String,
    group: String,
    open: String,
    find: String,
    show: String,
    edge: String,
}

/// The page.
pub async fn page(State(state): State<ApiState>, pairs: Result<Query<Vec<(String, String)>>, ApiError>) -> Page {
    let Query(pairs) = pairs?;
    let asked = Asked::parse(pairs)?;
    let view = api::read(&state, &asked.filter).await?;
    let seconds = api::seconds(view.from_ms, view.to_ms, now_ms());
    let mut notes = Vec::new();
    let diff = match asked.diff {
        Some(from) => Some(api::read_difference(&state, asked.times(from)).await?),
        None => None,
    };
    let known = Known::new(&view, diff.as_ref());
    let mut edges = rows::told(&view, diff.as_ref());
    rows::sort(&mut edges, asked.sort);
    let edge = edge_details(&state, &asked, &edges, &view, seconds, &known, &mut notes).await?;
    let named = asked.text("show").or_else(|| asked.text("service").filter(|_| edge.is_none()));
    let service = named.and_then(|name| details::service(name, &view, &edges, seconds, &known, &asked));
    if let (Some(name), None) = (asked.text("show"), &service) {
        notes.push(format!("{name} has no edge on this map."));
    }
    let blast = match asked.text("blast") {
        Some(service) => {
            let asked = Service { service: service.to_owned(), to: asked.filter.to };
            or_note(api::read_blast(&state, asked).await, &mut notes)?
        }
        None => None,
    };
    let path = match (asked.text("path_from"), asked.text("path_to")) {
        (Some(from), Some(to)) => {
            let ends = Ends { from: from.to_owned(), to: to.to_owned(), at: asked.filter.to };
            or_note(api::read_path(&state, ends).await, &mut notes)?
        }
        _ => None,
    };
    let skip = asked.skip.min(edges.len());
    let shown: Vec<Line> =
        edges.iter().skip(skip).take(LINES).map(|t| rows::line(t, seconds, &known, &asked)).collect();
    render(&MapPage {
        page: "map",
        live: "",
        is_new: asked.is_plain() && view.edges.is_empty() && view.coverage.nodes.is_empty(),
        form: form(&asked, &view),
        asked_for_more: FOLDED_AWAY.iter().any(|key| asked.text(key).is_some()),
        draw: draw(&asked),
        edge,
        service,
        blast: blast.map(|b| sections::blast(&b, &known, &asked)),
        path: path.map(|r| sections::path(&r, &known, &asked)),
        diff: diff.as_ref().map(|d| sections::diff(d, &asked)),
        heads: rows::heads(Some(&asked)),
        count: count(edges.len(), skip, shown.len()),
        before: (skip > 0).then(|| asked.link(&[("skip", &skip_to(skip.saturating_sub(LINES)))])),
        next: (skip + shown.len() < edges.len()).then(|| asked.link(&[("skip", &skip_to(skip + LINES))])),
        rows: shown,
        coverage: sections::coverage(&view.coverage),
        notes,
    })
}

/// The first page has no number.
fn skip_to(lines: usize) -> String {
    if lines == 0 { String::new() } else { lines.to_string() }
}

fn count(all: usize, skip: usize, shown: usize) -> String {
    match all {
        0 => "No edge is on this map.".into(),
        1 => "One edge.".into(),
        _ if shown == all => format!("{all} edges."),
        _ if shown == 0 => format!("{all} edges, none after {skip}."),
        _ => format!("{all} edges, here {} to {}.", skip + 1, skip + shown),
    }
}

/// What is not on the map of this time is said, and the rest of the page is shown.
fn or_note<T>(found: Result<T, ApiError>, notes: &mut Vec<String>) -> Result<Option<T>, ApiError> {
    match found {
        Ok(found) => Ok(Some(found)),
        Err(e) if e.status() == StatusCode::NOT_FOUND => {
            notes.push(format!("{}.", e.message()));
            Ok(None)
        }
        Err(e) => Err(e),
    }
}

/// Details of the edge that is asked for, when it ever was there.
async fn edge_details(
    state: &ApiState,
    asked: &Asked,
    edges: &[Told<'_>],
    view: &MapView,
    seconds: f64,
    known: &Known<'_>,
    notes: &mut Vec<String>,
) -> Result<Option<EdgeDetails>, PageError> {
    let Some(id) = asked.text("edge") else { return Ok(None) };
    let to = asked.filter.to.unwrap_or_else(now_ms);
    let from = to.saturating_sub(HISTORY_MS).max(0);
    let one = OneEdge { id: id.to_owned(), from: Some(from), to: asked.filter.to };
    let Some(history) = or_note(api::read_edge(state, one).await, notes)? else { return Ok(None) };
    let on_map = edges.iter().find(|t| t.edge.id == id).map(|t| t.edge);
    if on_map.is_none() {
        notes.push("The edge that is shown is not on this map: its figures are those of its last hour.".into());
    }
    // One hour is one hour, whatever the map is of.
    let seconds = if on_map.is_some() { seconds } else { 3600.0 };
    let Some(now) = on_map.or(history.hours.last().map(|h| &h.edge)) else { return Ok(None) };
    let changes = state.store.map_changes(from, to, CHANGES_MAX).await?;
    Ok(Some(details::edge(now, &history, &changes, &view.coverage, seconds, known, asked)))
}

fn form(asked: &Asked, view: &MapView) -> Form {
    let text = |key| asked.text(key).unwrap_or_default().to_owned();
    let kept = ["from", "open", "show", "edge", "sort"];
    let to = asked.filter.to.unwrap_or_else(now_ms);
    let ago = |hours: i64| to.saturating_sub(hours * HOUR_MS).max(0).to_string();
    let presets = [("an hour before", 1), ("a day before", 24), ("a week before", 168)];
    Form {
        to: field(asked.filter.to),
        diff: field(asked.diff),
        hours: SLIDER_HOURS,
        slider: asked.filter.to.map_or(0, |to| -((now_ms() - to) / HOUR_MS).clamp(0, SLIDER_HOURS)),
        node: text("node"),
        service: text("service"),
        site: text("site"),
        connects: text("connects"),
        bytes: text("bytes"),
        failing: asked.filter.failing == Some(true),
        infrastructure: asked.filter.infrastructure == Some(true),
        outside: asked.filter.outside != Some(false),
        groups: groups(asked, view),
        find: text("find"),
        blast: text("blast"),
        path_from: text("path_from"),
        path_to: text("path_to"),
        kept: kept.into_iter().filter_map(|key| Some((key, asked.text(key)?.to_owned()))).collect(),
        names: view.vertices.iter().take(NAMES_MAX).map(|v| v.id.clone()).collect(),
        presets: presets.map(|(words, hours)| (words, asked.link(&[("diff", &ago(hours))]))).to_vec(),
    }
}

/// How the drawing may be grouped, and how it is: value, words, whether it is chosen.
fn groups(asked: &Asked, view: &MapView) -> Vec<(String, String, bool)> {
    let mut keys: BTreeSet<&str> = view.tags.values().flatten().map(|(key, _)| key.as_str()).collect();
    // Nobody on this map may have what is asked for.
    let chosen = asked.text("group").and_then(|text| text.strip_prefix("tag.")).filter(|key| !key.is_empty());
    keys.extend(chosen);
    let fixed = |value: &str, words: &str, group| (value.to_owned(), words.to_owned(), asked.group == group);
    let mut all = vec![fixed("node", "by node", Group::Node), fixed("site", "by site", Group::Site)];
    all.extend(keys.into_iter().map(|key| (format!("tag.{key}"), format!("by {key}"), chosen == Some(key))));
    all.push(fixed("none", "not at all", Group::None));
    all
}

fn draw(asked: &Asked) -> Draw {
    let text = |key| asked.text(key).unwrap_or_default().to_owned();
    Draw {
        map: asked.of_map(),
        diff: asked.of_difference(),
        blast: asked.of_blast(),
        path: asked.of_path(),
        group: asked.text("group").unwrap_or("node").to_owned(),
        open: text("open"),
        find: text("find"),
        show: text("show"),
        edge: text("edge"),
    }
}

/// The edges of a node, for its page.
pub struct NodeEdges {
    pub heads: Vec<Head>,
    pub rows: Vec<Line>,
    /// How well the node sees; empty when it says nothing of connections.
    pub level: String,
    /// The map of this node.
    pub link: String,
    pub count: usize,
}

/// Reads the edges of a node in the last hour.
///
/// # Errors
/// When the store cannot be asked.
pub async fn of_node(state: &ApiState, node: &NodeRecord) -> Result<NodeEdges, PageError> {
    let filter = MapFilter { node: Some(node.node.to_string()), ..MapFilter::default() };
    let view = api::read(state, &filter).await?;
    let seconds = api::seconds(view.from_ms, view.to_ms, now_ms());
    let asked = Asked::parse(vec![("node".to_owned(), node.node.to_string())])?;
    let known = Known::new(&view, None);
    let mut edges = rows::told(&view, None);
    rows::sort(&mut edges, asked.sort);
    let level = view.coverage.nodes.iter().find(|n| n.node == node.node);
    Ok(NodeEdges {
        heads: rows::heads(None),
        rows: edges.iter().take(NODE_LINES).map(|t| rows::line(t, seconds, &known, &asked)).collect(),
        level: level.map_or_else(String::new, |n| details::level(n).to_owned()),
        link: asked.link(&[("infrastructure", "true")]),
        count: edges.len(),
    })
}
