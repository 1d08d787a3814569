//! Is all quiet, and is the collector itself well?

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{ApiError, ApiState};
use crate::clock::now_ms;
use crate::store::{Quarantined, Totals};

/// What the home page says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Status {
    /// Version of the collector.
    pub version: String,
    /// When it started, Unix milliseconds.
    pub since_ms: i64,
    /// Whether no incident is open.
    pub quiet: bool,
    /// Whether this is `tacit demo`: nothing it says is real.
    #[serde(default)]
    pub demo: bool,
    /// Pages promised for a week; none when nothing is promised.
    #[serde(default)]
    pub pages_promised: Option<f64>,
    /// Incidents that were worth a page in the last week, made-up ones left out.
    #[serde(default)]
    pub pages_actual: u64,
    /// Receivers that take nothing, each in a line.
    #[serde(default)]
    pub notify_failing: Vec<String>,
    /// What stands behind it.
    pub totals: Totals,
}

/// The answer, for the API and the page.
///
/// # Errors
/// When the store cannot be asked.
pub async fn read(state: &ApiState) -> Result<Status, ApiError> {
    let totals = state.store.totals().await?;
    let version = env!("CARGO_PKG_VERSION").into();
    let quiet = totals.incidents_open == 0;
    let (pages_promised, pages_actual) = state.notify.pages(now_ms());
    Ok(Status {
        version,
        since_ms: state.started_ms,
        quiet,
        demo: state.demo,
        pages_promised,
        pages_actual,
        notify_failing: state.notify.failing(),
        totals,
    })
}

/// Is all quiet? What stands behind it?
#[utoipa::path(get, path = "/api/v1/status", responses((status = 200, body = Status)))]
pub async fn status(State(state): State<ApiState>) -> Result<Json<Status>, ApiError> {
    read(&state).await.map(Json)
}

/// Refused messages.
#[derive(Debug, Serialize, ToSchema)]
pub struct Quarantine {
    /// Newest first.
    pub quarantine: Vec<Quarantined>,
}

/// Messages that could not be decoded, newest first.
#[utoipa::path(get, path = "/api/v1/quarantine", responses((status = 200, body = Quarantine)))]
pub async fn quarantine(State(state): State<ApiState>) -> Result<Json<Quarantine>, ApiError> {
    Ok(Json(Quarantine { quarantine: state.store.quarantined(200).await? }))
}

/// The process lives.
#[utoipa::path(get, path = "/healthz", responses((status = 200)))]
pub async fn healthz() -> &'static str {
    "ok\n"
}

/// The store answers.
#[utoipa::path(get, path = "/readyz", responses((status = 200), (status = 503)))]
pub async fn readyz(State(state): State<ApiState>) -> (StatusCode, &'static str) {
    match state.store.totals().await {
        Ok(_) => (StatusCode::OK, "ready\n"),
        Err(_) => (StatusCode::SERVICE_UNAVAILABLE, "the store does not answer\n"),
    }
}
