//! The map: who talks to whom, what changed, what depends on what. The `read` functions serve the console's page too.

use std::collections::HashSet;

use axum::Json;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::events::{limit, node_id};
use super::extract::Query;
use super::{ApiError, ApiState, Problem};
use crate::clock::now_ms;
use crate::map::diff::{self, MapDiff};
use crate::map::export;
use crate::map::graph::{self, Blast, Route};
use crate::map::view::{MapEdge, MapView, Selection, is_outside};
use crate::store::{EdgeFigures, MapChange};

const HOUR_MS: i64 = 3_600_000;
/// Longest time of one answer: as long as hourly figures are kept by default, and a day.
const TIME_MAX_MS: i64 = 31 * 24 * HOUR_MS;
/// Longest name of a service or an edge.
const NAME_MAX: usize = 1024;

/// Which part of the map.
#[derive(Debug, Clone, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub struct MapFilter {
    /// From, Unix milliseconds; by default an hour before `to`.
    pub from: Option<i64>,
    /// To, Unix milliseconds; by default now. The map as of a time is the map up to it.
    pub to: Option<i64>,
    /// Only edges with an end on this node.
    pub node: Option<String>,
    /// Only edges with an end that is this service: an id, or an owner's name on any node.
    pub service: Option<String>,
    /// Only edges with an end in this site.
    pub site: Option<String>,
    /// `false` leaves out infrastructure: names, time, monitoring, as configured.
    pub infrastructure: Option<bool>,
    /// `false` leaves out edges with an end outside of all nodes.
    pub outside: Option<bool>,
    /// Only edges with at least so many connects a second, on average.
    pub connects: Option<f64>,
    /// Only edges with at least so many bytes a second, both ways, on average.
    pub bytes: Option<f64>,
    /// `true` leaves only edges of whose connects at least one in twenty fails.
    pub failing: Option<bool>,
}

/// Which edges, by what they do.
#[derive(Debug, Clone, Copy)]
struct Least {
    outside: bool,
    connects: f64,
    bytes: f64,
    failing: bool,
}

impl Least {
    fn allows(&self, view: &MapView, edge: &MapEdge, seconds: f64) -> bool {
        let ends = || [&edge.client, &edge.server].map(|id| view.vertex(id));
        let bytes = edge.bytes();
        (self.outside || !ends().into_iter().flatten().any(is_outside))
            && edge.connects as f64 / seconds >= self.connects
            && bytes as f64 / seconds >= self.bytes
            && (!self.failing || is_failing(edge))
    }

    /// Leaves the edges that are asked for. The coverage stays that of all: what is small is not unknown.
    fn narrow(&self, view: &mut MapView) {
        let seconds = seconds(view.from_ms, view.to_ms, now_ms());
        let mut edges = std::mem::take(&mut view.edges);
        edges.retain(|e| self.allows(view, e, seconds));
        view.edges = edges;
        view.drop_lonely();
    }
}

/// Whether at least one in twenty connects fails.
#[must_use]
pub fn is_failing(edge: &MapEdge) -> bool {
    edge.failed > 0 && edge.failed.saturating_mul(20) >= edge.connects.max(edge.failed)
}

/// How many seconds the figures of a map are of: the whole hours that its time touches, as far as they are over.
#[must_use]
pub fn seconds(from_ms: i64, to_ms: i64, now_ms: i64) -> f64 {
    let start = from_ms.div_euclid(HOUR_MS) * HOUR_MS;
    let end = to_ms.saturating_add(HOUR_MS - 1).div_euclid(HOUR_MS).saturating_mul(HOUR_MS).min(now_ms);
    end.saturating_sub(start).max(60_000) as f64 / 1000.0
}

/// A time from two parameters.
fn time(from: Option<i64>, to: Option<i64>) -> Result<(i64, i64), ApiError> {
    let to = to.unwrap_or_else(now_ms);
    let from = from.unwrap_or_else(|| to.saturating_sub(HOUR_MS));
    let hint = "write Unix milliseconds; by default the last hour";
    if !(0..=i64::MAX / 4).contains(&to) || from < 0 {
        return Err(ApiError::bad("from and to are times after 1970", hint));
    }
    if from >= to {
        return Err(ApiError::bad("from is not before to", hint));
    }
    if to - from > TIME_MAX_MS {
        return Err(ApiError::bad("the time is longer than 31 days", hint));
    }
    Ok((from, to))
}

/// A name that is asked for.
fn name(text: String, of: &str) -> Result<String, ApiError> {
    if text.is_empty() || text.len() > NAME_MAX {
        return Err(ApiError::bad(format!("{of} has 1 to {NAME_MAX} bytes"), "/api/v1/map has the names"));
    }
    Ok(text)
}

impl MapFilter {
    fn selection(&self) -> Result<Selection, ApiError> {
        let site = self.site.as_deref().map(str::parse::<tacit_wire::SiteId>).transpose();
        let site = site.map_err(|e| ApiError::bad(e.to_string(), "/api/v1/nodes has the sites"))?;
        Ok(Selection {
            node: self.node.as_deref().map(node_id).transpose()?.map(|n| n.to_string()),
            service: self.service.clone().map(|s| name(s, "service")).transpose()?,
            site: site.map(|s| s.to_string()),
            fold: self.infrastructure == Some(false),
        })
    }

    fn least(&self) -> Result<Least, ApiError> {
        let least = |value: Option<f64>, of: &str| match value.unwrap_or(0.0) {
            n if n.is_finite() && n >= 0.0 => Ok(n),
            n => Err(ApiError::bad(format!("{of} {n} is no rate"), "write a number a second, 0 or more")),
        };
        Ok(Least {
            outside: self.outside != Some(false),
            connects: least(self.connects, "connects")?,
            bytes: least(self.bytes, "bytes")?,
            failing: self.failing == Some(true),
        })
    }
}

/// The map of a time, for the API and the page.
///
/// # Errors
/// When the filter makes no sense or the store cannot be asked.
pub async fn read(state: &ApiState, filter: &MapFilter) -> Result<MapView, ApiError> {
    let (from, to) = time(filter.from, filter.to)?;
    let (selection, least) = (filter.selection()?, filter.least()?);
    let mut view = state.map.view(from, to, selection).await?;
    least.narrow(&mut view);
    Ok(view)
}

/// The map of a time, by default the last hour. An edge is on it when it was seen then, or was open and idle; its figures are
/// those of the whole hours that the time touches, from both ends, as seen from the client.
#[utoipa::path(get, path = "/api/v1/map", params(MapFilter),
    responses((status = 200, body = MapView), (status = 400, body = Problem), (status = 409, body = Problem)))]
pub async fn map(State(state): State<ApiState>, Query(filter): Query<MapFilter>) -> Result<Json<MapView>, ApiError> {
    Ok(Json(read(&state, &filter).await?))
}

/// Two times, and which part of the map.
#[derive(Debug, Clone, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub struct Times {
    /// The earlier one, Unix milliseconds.
    pub from: i64,
    /// The later one, Unix milliseconds; by default now.
    pub to: Option<i64>,
    /// Only edges with an end on this node.
    pub node: Option<String>,
    /// Only edges with an end that is this service.
    pub service: Option<String>,
    /// Only edges with an end in this site.
    pub site: Option<String>,
    /// `false` leaves out infrastructure.
    pub infrastructure: Option<bool>,
    /// `false` leaves out edges with an end outside of all nodes.
    pub outside: Option<bool>,
    /// Only edges with at least so many connects a second, on average, at one of the times.
    pub connects: Option<f64>,
    /// Only edges with at least so many bytes a second, both ways, on average, at one of the times.
    pub bytes: Option<f64>,
    /// `true` leaves only edges of whose connects at least one in twenty fails at one of the times.
    pub failing: Option<bool>,
}

/// The difference of two maps, for the API and the page.
///
/// # Errors
/// When the times or the filter make no sense or the store cannot be asked.
pub async fn read_difference(state: &ApiState, times: Times) -> Result<MapDiff, ApiError> {
    let Times { from, to, node, service, site, infrastructure, outside, connects, bytes, failing } = times;
    let (later_from, later) = time(None, to)?;
    let (earlier_from, earlier) = time(None, Some(from))?;
    if earlier >= later {
        return Err(ApiError::bad("from is not before to", "from is the earlier time"));
    }
    let filter =
        MapFilter { from: None, to: None, node, service, site, infrastructure, outside, connects, bytes, failing };
    let (selection, least) = (filter.selection()?, filter.least()?);
    let mut before = state.map.view(earlier_from, earlier, selection.clone()).await?;
    let mut after = state.map.view(later_from, later, selection).await?;
    // An edge that is large enough at one of the times is compared with what it was, or is, at the other.
    let mut kept: HashSet<String> = HashSet::new();
    for view in [&before, &after] {
        let seconds = seconds(view.from_ms, view.to_ms, now_ms());
        kept.extend(view.edges.iter().filter(|e| least.allows(view, e, seconds)).map(|e| e.id.clone()));
    }
    for view in [&mut before, &mut after] {
        view.edges.retain(|e| kept.contains(&e.id));
    }
    Ok(diff::diff(&before, &after))
}

/// What differs between the hours before two times: edges that appeared, vanished, or behave differently.
#[utoipa::path(get, path = "/api/v1/map/diff", params(Times),
    responses((status = 200, body = MapDiff), (status = 400, body = Problem), (status = 409, body = Problem)))]
pub async fn difference(State(state): State<ApiState>, Query(times): Query<Times>) -> Result<Json<MapDiff>, ApiError> {
    Ok(Json(read_difference(&state, times).await?))
}

/// A service, at a time.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub struct Service {
    /// An id of a vertex, an owner's name on any node, or a node.
    pub service: String,
    /// As of this time, Unix milliseconds; by default now.
    pub to: Option<i64>,
}

/// What depends on a service or a node, for the API and the page.
///
/// # Errors
/// When the name or the time makes no sense, nothing on the map goes by the name, or the store cannot be asked.
pub async fn read_blast(state: &ApiState, asked: Service) -> Result<Blast, ApiError> {
    let (from, to) = time(None, asked.to)?;
    let service = name(asked.service, "service")?;
    let view = state.map.view(from, to, Selection::default()).await?;
    graph::blast(&view, &service).ok_or_else(|| not_on_map(&service))
}

/// What depends on a service or a node, directly and through how many steps, and what does not.
#[utoipa::path(get, path = "/api/v1/map/blast", params(Service),
    responses((status = 200, body = Blast), (status = 400, body = Problem), (status = 404, body = Problem),
        (status = 409, body = Problem)))]
pub async fn blast(State(state): State<ApiState>, Query(asked): Query<Service>) -> Result<Json<Blast>, ApiError> {
    read_blast(&state, asked).await.map(Json)
}

fn not_on_map(name: &str) -> ApiError {
    ApiError::missing(format!("{name:?} on the map"), "/api/v1/map has the vertices")
}

/// Two ends, at a time.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub struct Ends {
    /// An id of a vertex, an owner's name on any node, or a node: where the way begins.
    pub from: String,
    /// Where it ends.
    pub to: String,
    /// As of this time, Unix milliseconds; by default now.
    pub at: Option<i64>,
}

/// The shortest way from one service or node to another, for the API and the page.
///
/// # Errors
/// When a name or the time makes no sense, nothing on the map goes by a name, or the store cannot be asked.
pub async fn read_path(state: &ApiState, asked: Ends) -> Result<Route, ApiError> {
    let (from, to) = time(None, asked.at)?;
    let (a, b) = (name(asked.from, "from")?, name(asked.to, "to")?);
    let view = state.map.view(from, to, Selection::default()).await?;
    graph::path(&view, &a, &b).map_err(not_on_map)
}

/// The shortest way from one service or node to another, along connects.
#[utoipa::path(get, path = "/api/v1/map/path", params(Ends),
    responses((status = 200, body = Route), (status = 400, body = Problem), (status = 404, body = Problem),
        (status = 409, body = Problem)))]
pub async fn path(State(state): State<ApiState>, Query(asked): Query<Ends>) -> Result<Json<Route>, ApiError> {
    read_path(&state, asked).await.map(Json)
}

/// One edge, in a time.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub struct OneEdge {
    /// Its id.
    pub id: String,
    /// From, Unix milliseconds; by default a day before `to`.
    pub from: Option<i64>,
    /// To, Unix milliseconds; by default now.
    pub to: Option<i64>,
}

/// An hour of an edge.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct EdgeHour {
    /// Start of the hour, Unix milliseconds.
    pub hour_ms: i64,
    /// The edge with what it did in it.
    pub edge: MapEdge,
}

/// An edge hour by hour.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct EdgeHistory {
    /// Its id.
    pub id: String,
    /// Oldest first; hours in which it was not there are left out.
    pub hours: Vec<EdgeHour>,
}

/// An edge hour by hour, for the API and the page.
///
/// # Errors
/// When the id or the time makes no sense, there is no such edge, or the store cannot be asked.
pub async fn read_edge(state: &ApiState, asked: OneEdge) -> Result<EdgeHistory, ApiError> {
    let day = |to: Option<i64>| to.unwrap_or_else(now_ms).saturating_sub(24 * HOUR_MS).max(0);
    let (from, to) = time(Some(asked.from.unwrap_or_else(|| day(asked.to))), asked.to)?;
    let id = name(asked.id, "id")?;
    let found = state.map.history(&id, from, to).await?;
    let (edge, hours) = found.ok_or_else(|| ApiError::missing(format!("edge {id:?}"), "/api/v1/map has the edges"))?;
    let one =
        |(hour_ms, figures)| EdgeHour { hour_ms, edge: MapEdge::from(&EdgeFigures { edge: edge.clone(), figures }) };
    Ok(EdgeHistory { id, hours: hours.into_iter().map(one).collect() })
}

/// An edge hour by hour, by default the last day.
#[utoipa::path(get, path = "/api/v1/map/edge", params(OneEdge),
    responses((status = 200, body = EdgeHistory), (status = 400, body = Problem), (status = 404, body = Problem)))]
pub async fn edge(State(state): State<ApiState>, Query(asked): Query<OneEdge>) -> Result<Json<EdgeHistory>, ApiError> {
    read_edge(&state, asked).await.map(Json)
}

/// What and how to export.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub struct Export {
    /// `dot` (Graphviz) or `mermaid`.
    #[param(value_type = String)]
    format: Format,
    /// From, Unix milliseconds; by default an hour before `to`.
    from: Option<i64>,
    /// To, Unix milliseconds; by default now.
    to: Option<i64>,
    /// Only edges with an end on this node.
    node: Option<String>,
    /// Only edges with an end that is this service.
    service: Option<String>,
    /// Only edges with an end in this site.
    site: Option<String>,
    /// `false` leaves out infrastructure.
    infrastructure: Option<bool>,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Format {
    Dot,
    Mermaid,
}

/// The map as text for other programs.
#[utoipa::path(get, path = "/api/v1/map/export", params(Export),
    responses((status = 200, content_type = "text/plain", body = String), (status = 400, body = Problem),
        (status = 409, body = Problem)))]
pub async fn exported(State(state): State<ApiState>, Query(asked): Query<Export>) -> Result<Response, ApiError> {
    let Export { format, from, to, node, service, site, infrastructure } = asked;
    let filter = MapFilter { from, to, node, service, site, infrastructure, ..MapFilter::default() };
    let view = read(&state, &filter).await?;
    let text = match format {
        Format::Dot => export::dot(&view),
        Format::Mermaid => export::mermaid(&view),
    };
    Ok(([(header::CONTENT_TYPE, "text/plain; charset=utf-8")], text).into_response())
}

/// Which changes.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub struct ChangeFilter {
    /// From, Unix milliseconds; by default a day before `to`.
    from: Option<i64>,
    /// To, Unix milliseconds; by default now.
    to: Option<i64>,
    /// At most so many: 1 to 1000, by default 100.
    limit: Option<usize>,
}

/// What happened to edges.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Changes {
    /// Newest first.
    pub changes: Vec<MapChange>,
}

/// Edges that appeared, vanished, slowed down or failed, newest first.
#[utoipa::path(get, path = "/api/v1/map/changes", params(ChangeFilter),
    responses((status = 200, body = Changes), (status = 400, body = Problem)))]
pub async fn changes(
    State(state): State<ApiState>,
    Query(asked): Query<ChangeFilter>,
) -> Result<Json<Changes>, ApiError> {
    let to = asked.to.unwrap_or_else(now_ms);
    let (from, to) = time(Some(asked.from.unwrap_or_else(|| to.saturating_sub(24 * HOUR_MS).max(0))), Some(to))?;
    Ok(Json(Changes { changes: state.store.map_changes(from, to, limit(asked.limit)?).await? }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::map::fixtures::view;

    const ALL: Least = Least { outside: true, connects: 0.0, bytes: 0.0, failing: false };

    /// Edges that are left, by their servers.
    fn left(least: Least) -> Vec<String> {
        let mut view = view(&[("a/x", "b/x"), ("a/x", "c/x"), ("a/x", "ext:192.0.2.1:443")]);
        // The hour is over: 3600 connects are one a second.
        view.edges[0].connects = 3600;
        (view.edges[1].connects, view.edges[1].failed, view.edges[1].received) = (100, 5, 36_000_000);
        least.narrow(&mut view);
        assert_eq!(view.vertices.len(), if view.edges.is_empty() { 0 } else { view.edges.len() + 1 });
        assert_eq!(view.coverage.edges, 2, "the coverage is of all");
        view.edges.into_iter().map(|e| e.server).collect()
    }

    #[test]
    fn edges_are_chosen_by_what_they_do() {
        assert_eq!(left(ALL).len(), 3);
        assert_eq!(left(Least { outside: false, ..ALL }), ["b/x", "c/x"]);
        assert_eq!(left(Least { connects: 1.0, ..ALL }), ["b/x"]);
        assert_eq!(left(Least { bytes: 10_000.0, ..ALL }), ["c/x"]);
        assert_eq!(left(Least { failing: true, ..ALL }), ["c/x"]);
        assert_eq!(left(Least { connects: 1.1, ..ALL }).len(), 0);
    }

    #[test]
    fn figures_are_of_whole_hours_up_to_now() {
        let minutes = |n: i64| n * 60_000;
        let of = |from, to, now| seconds(minutes(from), minutes(to), minutes(now)) as i64 / 60;
        assert_eq!(of(70, 130, 1000), 120, "two hours are touched");
        assert_eq!(of(70, 130, 140), 80, "the second is not over");
        assert_eq!(of(60, 120, 1000), 60);
        assert_eq!(of(60, 120, 0), 1, "never nothing");
    }

    #[test]
    fn rates_that_are_none_are_refused() {
        for wrong in [-1.0, f64::NAN, f64::INFINITY] {
            assert!(MapFilter { bytes: Some(wrong), ..MapFilter::default() }.least().is_err(), "{wrong}");
        }
    }
}
