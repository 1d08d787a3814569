//! Incidents, and what people do to them.

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::events::{limit, node_id};
use super::extract::{Body, Path, Query};
use super::{ApiError, ApiState, Problem};
use crate::clock::now_ms;
use crate::incident::actions::{Action, act};
use crate::ingest::Live;
use crate::store::{Incident, IncidentDetail, IncidentId, IncidentQuery, Label, StoreError};

/// Which incidents.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub struct Filter {
    /// Only those not resolved (`true`) or only those resolved (`false`).
    open: Option<bool>,
    /// Only those that concern this node.
    node: Option<String>,
    /// Only those opened not before, Unix milliseconds.
    since_ms: Option<i64>,
    /// At most so many: 1 to 1000, by default 100.
    limit: Option<usize>,
}

/// A list of incidents.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Incidents {
    /// Newest first.
    pub incidents: Vec<Incident>,
}

/// Incidents, newest first.
#[utoipa::path(get, path = "/api/v1/incidents", params(Filter),
    responses((status = 200, body = Incidents), (status = 400, body = Problem)))]
pub async fn list(State(state): State<ApiState>, Query(filter): Query<Filter>) -> Result<Json<Incidents>, ApiError> {
    let node = filter.node.as_deref().map(node_id).transpose()?;
    let query = IncidentQuery { open: filter.open, node, since_ms: filter.since_ms, limit: Some(limit(filter.limit)?) };
    Ok(Json(Incidents { incidents: state.store.incidents(query).await? }))
}

/// One incident with its events and trail, for the API and the page.
///
/// # Errors
/// When it is not there or the store cannot be asked.
pub async fn read(state: &ApiState, id: IncidentId) -> Result<IncidentDetail, ApiError> {
    state
        .store
        .incident(id)
        .await?
        .ok_or_else(|| ApiError::missing(format!("incident {id}"), "/api/v1/incidents lists them"))
}

/// One incident with its events and audit trail.
#[utoipa::path(get, path = "/api/v1/incidents/{id}", params(("id" = i64, Path)),
    responses((status = 200, body = IncidentDetail), (status = 400, body = Problem), (status = 404, body = Problem)))]
pub async fn one(State(state): State<ApiState>, Path(id): Path<String>) -> Result<Json<IncidentDetail>, ApiError> {
    read(&state, number(&id)?).await.map(Json)
}

/// The number of an incident in a path.
///
/// # Errors
/// When it is none.
pub fn number(text: &str) -> Result<IncidentId, ApiError> {
    text.parse().map_err(|_| {
        ApiError::bad(format!("{text:?} is not the number of an incident"), "/api/v1/incidents lists them")
    })
}

/// Longest text that a person can leave.
const TEXT_MAX: usize = 2000;

/// Who does it, and what is to be said: texts of at most 2000 bytes.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Act {
    /// Who; by default `operator`.
    pub actor: Option<String>,
    /// A remark for the trail.
    pub note: Option<String>,
    /// What it was (`label` only).
    pub label: Option<Label>,
    /// Who has it (`assign` only); none means nobody.
    pub assignee: Option<String>,
}

/// Does something to an incident and tells everybody.
///
/// # Errors
/// When it is not there, or its state does not allow it.
pub async fn perform(
    state: &ApiState,
    id: IncidentId,
    action: &Action,
    actor: Option<String>,
    note: Option<String>,
) -> Result<Incident, ApiError> {
    let actor = said(actor).unwrap_or_else(|| "operator".into());
    let assignee = if let Action::Assign(who) = action { who.as_ref() } else { None };
    if [Some(&actor), note.as_ref(), assignee].into_iter().flatten().any(|text| text.len() > TEXT_MAX) {
        return Err(ApiError::bad(format!("a text is longer than {TEXT_MAX} bytes"), "say it shorter"));
    }
    let saved = loop {
        let incident = read(state, id).await?.incident;
        match state.store.save_incident(act(&incident, action, &actor, note.clone(), now_ms())?).await {
            // The collector or another person was faster: act on what is there now.
            Err(StoreError::Stale(_)) => {}
            saved => break saved?,
        }
    };
    // Nobody may be listening.
    let _ = state.ingest.live.send(Live::Incident(Box::new(saved.clone())));
    Ok(saved)
}

/// A text that says something.
fn said(text: Option<String>) -> Option<String> {
    text.filter(|t| !t.trim().is_empty())
}

macro_rules! actions {
    ($($(#[$doc:meta])* $name:ident $path:literal |$act:ident| $action:expr;)+) => { $(
        $(#[$doc])*
        #[utoipa::path(post, path = $path, params(("id" = i64, Path)), request_body = Act,
            responses((status = 200, body = Incident), (status = 400, body = Problem), (status = 404, body = Problem),
                (status = 409, body = Problem), (status = 413, body = Problem), (status = 415, body = Problem)))]
        pub async fn $name(State(state): State<ApiState>, Path(id): Path<String>, Body($act): Body<Act>) -> Result<Json<Incident>, ApiError> {
            let action = $action;
            perform(&state, number(&id)?, &action, $act.actor, said($act.note)).await.map(Json)
        }
    )+ };
}

actions! {
    /// Say that you have it.
    acknowledge "/api/v1/incidents/{id}/acknowledge" |act| Action::Acknowledge;
    /// Say that it is over.
    resolve "/api/v1/incidents/{id}/resolve" |act| Action::Resolve;
    /// Say what it was.
    label "/api/v1/incidents/{id}/label" |act| Action::Label(act.label.ok_or_else(|| ApiError::bad("label is missing", "one of true, false-alarm, maintenance, duplicate, unsure"))?);
    /// Remark something.
    comment "/api/v1/incidents/{id}/comment" |act| Action::Comment(said(act.note.clone()).ok_or_else(|| ApiError::bad("note is missing", "put the remark into note"))?);
    /// Say who has it.
    assign "/api/v1/incidents/{id}/assign" |act| Action::Assign(said(act.assignee.clone()));
}
