//! The map: who talks to whom, what changed, what depends on what.

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
use crate::map::view::{MapEdge, MapView, Selection};
use crate::store::{EdgeFigures, MapChange};

const HOUR_MS: i64 = 3_600_000;
/// Longest time of one answer: as long as hourly figures are kept by default, and a day.
const TIME_MAX_MS: i64 = 31 * 24 * HOUR_MS;
/// Longest name of a service or an edge.
const NAME_MAX: usize = 1024;

/// Which part of the map.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub struct MapFilter {
    /// From, Unix milliseconds; by default an hour before `to`.
    from: Option<i64>,
    /// To, Unix milliseconds; by default now. The map as of a time is the map up to it.
    to: Option<i64>,
    /// Only edges with an end on this node.
    node: Option<String>,
    /// Only edges with an end that is this service: an id, or an owner's name on any node.
    service: Option<String>,
    /// Only edges with an end in this site.
    site: Option<String>,
    /// `false` leaves out infrastructure: names, time, monitoring, as configured.
    infrastructure: Option<bool>,
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
    fn parts(self) -> Result<(i64, i64, Selection), ApiError> {
        let (from, to) = time(self.from, self.to)?;
        let site = self.site.as_deref().map(str::parse::<tacit_wire::SiteId>).transpose();
        let site = site.map_err(|e| ApiError::bad(e.to_string(), "/api/v1/nodes has the sites"))?;
        let selection = Selection {
            node: self.node.as_deref().map(node_id).transpose()?.map(|n| n.to_string()),
            service: self.service.map(|s| name(s, "service")).transpose()?,
            site: site.map(|s| s.to_string()),
            fold: self.infrastructure == Some(false),
        };
        Ok((from, to, selection))
    }
}

/// The map of a time, by default the last hour. An edge is on it when it was seen then, or was open and idle; its figures are
/// those of the whole hours that the time touches, from both ends, as seen from the client.
#[utoipa::path(get, path = "/api/v1/map", params(MapFilter),
    responses((status = 200, body = MapView), (status = 400, body = Problem), (status = 409, body = Problem)))]
pub async fn map(State(state): State<ApiState>, Query(filter): Query<MapFilter>) -> Result<Json<MapView>, ApiError> {
    let (from, to, selection) = filter.parts()?;
    Ok(Json(state.map.view(from, to, selection).await?))
}

/// Two times.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub struct Times {
    /// The earlier one, Unix milliseconds.
    from: i64,
    /// The later one, Unix milliseconds; by default now.
    to: Option<i64>,
}

/// What differs between the hours before two times: edges that appeared, vanished, or behave differently.
#[utoipa::path(get, path = "/api/v1/map/diff", params(Times),
    responses((status = 200, body = MapDiff), (status = 400, body = Problem), (status = 409, body = Problem)))]
pub async fn difference(State(state): State<ApiState>, Query(times): Query<Times>) -> Result<Json<MapDiff>, ApiError> {
    let (later_from, later) = time(None, times.to)?;
    let (earlier_from, earlier) = time(None, Some(times.from))?;
    if earlier >= later {
        return Err(ApiError::bad("from is not before to", "from is the earlier time"));
    }
    let before = state.map.view(earlier_from, earlier, Selection::default()).await?;
    let after = state.map.view(later_from, later, Selection::default()).await?;
    Ok(Json(diff::diff(&before, &after)))
}

/// A service, at a time.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub struct Service {
    /// An id of a vertex, an owner's name on any node, or a node.
    service: String,
    /// As of this time, Unix milliseconds; by default now.
    to: Option<i64>,
}

/// What depends on a service or a node, directly and through how many steps, and what does not.
#[utoipa::path(get, path = "/api/v1/map/blast", params(Service),
    responses((status = 200, body = Blast), (status = 400, body = Problem), (status = 404, body = Problem),
        (status = 409, body = Problem)))]
pub async fn blast(State(state): State<ApiState>, Query(asked): Query<Service>) -> Result<Json<Blast>, ApiError> {
    let (from, to) = time(None, asked.to)?;
    let service = name(asked.service, "service")?;
    let view = state.map.view(from, to, Selection::default()).await?;
    graph::blast(&view, &service).map(Json).ok_or_else(|| not_on_map(&service))
}

fn not_on_map(name: &str) -> ApiError {
    ApiError::missing(format!("{name:?} on the map"), "/api/v1/map has the vertices")
}

/// Two ends, at a time.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub struct Ends {
    /// An id of a vertex, an owner's name on any node, or a node: where the way begins.
    from: String,
    /// Where it ends.
    to: String,
    /// As of this time, Unix milliseconds; by default now.
    at: Option<i64>,
}

/// The shortest way from one service or node to another, along connects.
#[utoipa::path(get, path = "/api/v1/map/path", params(Ends),
    responses((status = 200, body = Route), (status = 400, body = Problem), (status = 404, body = Problem),
        (status = 409, body = Problem)))]
pub async fn path(State(state): State<ApiState>, Query(asked): Query<Ends>) -> Result<Json<Route>, ApiError> {
    let (from, to) = time(None, asked.at)?;
    let (a, b) = (name(asked.from, "from")?, name(asked.to, "to")?);
    let view = state.map.view(from, to, Selection::default()).await?;
    graph::path(&view, &a, &b).map(Json).map_err(not_on_map)
}

/// One edge, in a time.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub struct OneEdge {
    /// Its id.
    id: String,
    /// From, Unix milliseconds; by default a day before `to`.
    from: Option<i64>,
    /// To, Unix milliseconds; by default now.
    to: Option<i64>,
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

/// An edge hour by hour, by default the last day.
#[utoipa::path(get, path = "/api/v1/map/edge", params(OneEdge),
    responses((status = 200, body = EdgeHistory), (status = 400, body = Problem), (status = 404, body = Problem)))]
pub async fn edge(State(state): State<ApiState>, Query(asked): Query<OneEdge>) -> Result<Json<EdgeHistory>, ApiError> {
    let day = |to: Option<i64>| to.unwrap_or_else(now_ms).saturating_sub(24 * HOUR_MS).max(0);
    let (from, to) = time(Some(asked.from.unwrap_or_else(|| day(asked.to))), asked.to)?;
    let id = name(asked.id, "id")?;
    let found = state.map.history(&id, from, to).await?;
    let (edge, hours) = found.ok_or_else(|| ApiError::missing(format!("edge {id:?}"), "/api/v1/map has the edges"))?;
    let one =
        |(hour_ms, figures)| EdgeHour { hour_ms, edge: MapEdge::from(&EdgeFigures { edge: edge.clone(), figures }) };
    Ok(Json(EdgeHistory { id, hours: hours.into_iter().map(one).collect() }))
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
    let (from, to, selection) = MapFilter { from, to, node, service, site, infrastructure }.parts()?;
    let view = state.map.view(from, to, selection).await?;
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
