//! Events.

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use tacit_wire::{EventId, NodeId};
use utoipa::{IntoParams, ToSchema};

use super::extract::{Path, Query};
use super::{ApiError, ApiState, Problem};
use crate::store::{EventQuery, EventRecord};

/// Most rows of one answer.
pub const LIMIT_MAX: usize = 1000;

/// Which events.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub struct Filter {
    /// Only of this node.
    node: Option<String>,
    /// Only those that began not before, Unix milliseconds.
    since_ms: Option<i64>,
    /// At most so many: 1 to 1000, by default 100.
    limit: Option<usize>,
}

/// A list of events.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Events {
    /// Newest first.
    pub events: Vec<EventRecord>,
}

/// Checks a node's name in a path or query.
///
/// # Errors
/// When it is none.
pub fn node_id(text: &str) -> Result<NodeId, ApiError> {
    text.parse().map_err(|e: tacit_wire::id::IdError| ApiError::bad(e.to_string(), "/api/v1/nodes lists the nodes"))
}

/// Checks a limit.
///
/// # Errors
/// When it is out of range.
pub fn limit(asked: Option<usize>) -> Result<usize, ApiError> {
    match asked.unwrap_or(100) {
        n @ 1..=LIMIT_MAX => Ok(n),
        n => Err(ApiError::bad(format!("limit {n} is out of range"), "allowed are 1 to 1000")),
    }
}

/// Events, newest first.
#[utoipa::path(get, path = "/api/v1/events", params(Filter),
    responses((status = 200, body = Events), (status = 400, body = Problem)))]
pub async fn list(State(state): State<ApiState>, Query(filter): Query<Filter>) -> Result<Json<Events>, ApiError> {
    let node = filter.node.as_deref().map(node_id).transpose()?;
    let limit = Some(limit(filter.limit)?);
    let query = EventQuery { node, since_ms: filter.since_ms, limit, ..EventQuery::default() };
    Ok(Json(Events { events: state.store.events(query).await? }))
}

/// One event.
#[utoipa::path(get, path = "/api/v1/events/{node}/{event}", params(("node" = String, Path), ("event" = String, Path)),
    responses((status = 200, body = EventRecord), (status = 400, body = Problem), (status = 404, body = Problem)))]
pub async fn one(
    State(state): State<ApiState>,
    Path((node, event)): Path<(String, String)>,
) -> Result<Json<EventRecord>, ApiError> {
    let node = node_id(&node)?;
    let id: EventId = event
        .parse()
        .map_err(|e: tacit_wire::id::IdError| ApiError::bad(e.to_string(), "/api/v1/events lists the events"))?;
    let found = state.store.event(&node, id).await?;
    found
        .map(Json)
        .ok_or_else(|| ApiError::missing(format!("event {event} of {node}"), "/api/v1/events lists the events"))
}
