//! The log of changes: who changed what.

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::events::limit;
use super::extract::Query;
use super::{ApiError, ApiState, Problem};
use crate::store::AccessLine;

/// Which lines.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub struct Wanted {
    /// Only those with a number below this: `next` of the answer before.
    before: Option<i64>,
    /// At most so many: 1 to 1000, by default 100.
    limit: Option<usize>,
}

/// Lines of the log.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct AccessLog {
    /// Newest first.
    pub lines: Vec<AccessLine>,
    /// There may be more: ask again with this as `before`.
    pub next: Option<i64>,
}

/// Who changed what, newest first; the newest 200,000 lines are kept.
#[utoipa::path(get, path = "/api/v1/access-log", params(Wanted),
    responses((status = 200, body = AccessLog), (status = 400, body = Problem)))]
pub async fn list(State(state): State<ApiState>, Query(wanted): Query<Wanted>) -> Result<Json<AccessLog>, ApiError> {
    let limit = limit(wanted.limit)?;
    let lines = state.store.access_log(wanted.before, limit).await?;
    let next = lines.last().filter(|_| lines.len() == limit).map(|line| line.n);
    Ok(Json(AccessLog { lines, next }))
}
