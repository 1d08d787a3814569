//! What is told to people elsewhere: notifications, receivers, and a test of them.

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::events::limit;
use super::extract::{Body, Query};
use super::{ApiError, ApiState, Problem};
use crate::clock::now_ms;
use crate::notify::config::Kind;
use crate::notify::desk::Tested;
use crate::notify::receiver::Health;
use crate::store::Notification;

/// Which notifications.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub struct Wanted {
    /// Only of this incident.
    incident: Option<i64>,
    /// At most so many: 1 to 1000, by default 100.
    limit: Option<usize>,
}

/// A list of notifications.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Notifications {
    /// Newest first. Those to `console` are the collector's own notes of what was worth a page.
    pub notifications: Vec<Notification>,
}

/// What was told to whom, and what waits to be, newest first.
#[utoipa::path(get, path = "/api/v1/notifications", params(Wanted),
    responses((status = 200, body = Notifications), (status = 400, body = Problem)))]
pub async fn list(
    State(state): State<ApiState>,
    Query(wanted): Query<Wanted>,
) -> Result<Json<Notifications>, ApiError> {
    let notifications = state.store.notifications(wanted.incident, limit(wanted.limit)?).await?;
    Ok(Json(Notifications { notifications }))
}

/// A receiver as it does now.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct ReceiverState {
    /// Its name.
    pub name: String,
    /// By which way it is told.
    pub kind: Kind,
    /// Where it is; what may be secret is left out.
    pub target: String,
    /// Whether it is told that something is over.
    pub send_resolved: bool,
    /// How it does.
    pub health: Health,
}

/// All receivers.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct ReceiverStates {
    /// In the order of the configuration.
    pub receivers: Vec<ReceiverState>,
}

/// Who is told of incidents, and whether they take it.
#[utoipa::path(get, path = "/api/v1/receivers", responses((status = 200, body = ReceiverStates)))]
pub async fn receivers(State(state): State<ApiState>) -> Json<ReceiverStates> {
    let of = |r: &std::sync::Arc<crate::notify::receiver::Receiver>| ReceiverState {
        name: r.name.clone(),
        kind: r.kind,
        target: r.target.clone(),
        send_resolved: r.send_resolved,
        health: r.health(),
    };
    Json(ReceiverStates { receivers: state.notify.receivers().iter().map(of).collect() })
}

/// Who is to be tested.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TestOrder {
    /// A receiver by its name; all, when it is missing.
    pub receiver: Option<String>,
}

/// What became of a test.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct TestResult {
    /// Each receiver that was tested.
    pub results: Vec<Tested>,
}

/// Send a test message now, and hear what happened.
#[utoipa::path(post, path = "/api/v1/notify/test", request_body = TestOrder,
    responses((status = 200, body = TestResult), (status = 400, body = Problem), (status = 404, body = Problem),
        (status = 413, body = Problem), (status = 415, body = Problem)))]
pub async fn test(State(state): State<ApiState>, Body(order): Body<TestOrder>) -> Result<Json<TestResult>, ApiError> {
    match state.notify.test(order.receiver.as_deref(), now_ms()).await {
        Some(results) => Ok(Json(TestResult { results })),
        None => {
            let name = order.receiver.unwrap_or_default();
            Err(ApiError::missing(format!("receiver {name:?}"), "/api/v1/receivers lists them"))
        }
    }
}
