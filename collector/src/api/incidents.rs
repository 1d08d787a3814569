//! Incidents, and what people do to them.

use std::collections::HashSet;

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use tacit_wire::EventId;
use utoipa::{IntoParams, ToSchema};

use super::events::{limit, node_id};
use super::extract::{Body, Path, Query};
use super::{ApiError, ApiState, Problem};
use crate::access::me;
use crate::clock::now_ms;
use crate::incident::actions::{self, Action, act};
use crate::ingest::Live;
use crate::store::{
    CauseLabel, EventKey, EventQuery, EventRecord, Incident, IncidentChange, IncidentDetail, IncidentId, IncidentQuery,
    IncidentState, Label, StoreError,
};

/// Incidents that are looked through for what the store does not look for itself.
const SEARCHED: usize = 10_000;
/// Events that are moved from one incident to another at once.
const MOVED: usize = 10_000;
/// Events that can be named in one request.
const NAMED_MAX: usize = 1000;

/// Which incidents.
#[derive(Debug, Clone, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub struct Filter {
    /// Only those not resolved (`true`) or only those resolved (`false`).
    pub open: Option<bool>,
    /// Only those that concern this node.
    pub node: Option<String>,
    /// Only those opened not before, Unix milliseconds.
    pub since_ms: Option<i64>,
    /// Only those in this state: `open`, `acknowledged`, `muted`, `resolved`, `reopened`.
    #[param(value_type = Option<String>)]
    pub state: Option<IncidentState>,
    /// Only those that are muted (`true`), or all but those (`false`).
    pub muted: Option<bool>,
    /// Only those that this is thought to be the cause of: an entity by its whole name.
    pub cause: Option<String>,
    /// At most so many: 1 to 1000, by default 100.
    pub limit: Option<usize>,
}

/// A list of incidents.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Incidents {
    /// Newest first.
    pub incidents: Vec<Incident>,
}

/// Incidents, newest first, for the API and the page.
///
/// # Errors
/// When the filter makes no sense or the store cannot be asked.
pub async fn find(state: &ApiState, filter: &Filter) -> Result<Vec<Incident>, ApiError> {
    let node = filter.node.as_deref().map(node_id).transpose()?;
    let most = limit(filter.limit)?;
    let by_all = filter.state.is_some() || filter.muted.is_some() || filter.cause.is_some();
    let query = IncidentQuery {
        open: filter.open.or(filter.state.map(|s| s != IncidentState::Resolved)),
        node,
        since_ms: filter.since_ms,
        limit: Some(if by_all { SEARCHED } else { most }),
    };
    let mut found = state.store.incidents(query).await?;
    found.retain(|i| {
        filter.state.is_none_or(|s| i.state == s)
            && filter.muted.is_none_or(|muted| (i.state == IncidentState::Muted) == muted)
            && filter.cause.as_ref().is_none_or(|name| i.cause.as_ref().is_some_and(|c| c.entity == *name))
    });
    found.truncate(most);
    Ok(found)
}

/// Incidents, newest first.
#[utoipa::path(get, path = "/api/v1/incidents", params(Filter),
    responses((status = 200, body = Incidents), (status = 400, body = Problem)))]
pub async fn list(State(state): State<ApiState>, Query(filter): Query<Filter>) -> Result<Json<Incidents>, ApiError> {
    Ok(Json(Incidents { incidents: find(&state, &filter).await? }))
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

/// One incident alone.
async fn head(state: &ApiState, id: IncidentId) -> Result<Incident, ApiError> {
    let found = state.store.incident_head(id).await?;
    found.ok_or_else(|| ApiError::missing(format!("incident {id}"), "/api/v1/incidents lists them"))
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
    /// The incident that it is a duplicate of (`label` only, with `duplicate`).
    pub of: Option<IncidentId>,
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
    let (actor, note) = signed(actor, note)?;
    match action {
        Action::Assign(Some(text)) | Action::Cause(CauseLabel::Was(text)) => bounded(text)?,
        Action::Label(_, Some(of)) => drop(head(state, *of).await?),
        _ => {}
    }
    loop {
        let incident = head(state, id).await?;
        if let Some(saved) = save(state, act(&incident, action, &actor, note.clone(), now_ms())?).await? {
            return Ok(saved);
        }
    }
}

/// Saves a change and tells everybody; `None` when the collector or another person was faster: act on what is there now.
async fn save(state: &ApiState, change: IncidentChange) -> Result<Option<Incident>, ApiError> {
    let saved = match state.store.save_incident(change).await {
        Err(StoreError::Stale(_)) => return Ok(None),
        saved => saved?,
    };
    // Nobody may be listening.
    let _ = state.ingest.live.send(Live::Incident(Box::new(saved.clone())));
    Ok(Some(saved))
}

/// A text that says something.
fn said(text: Option<String>) -> Option<String> {
    text.filter(|t| !t.trim().is_empty())
}

fn bounded(text: &str) -> Result<(), ApiError> {
    if text.len() > TEXT_MAX {
        return Err(ApiError::bad(format!("a text is longer than {TEXT_MAX} bytes"), "say it shorter"));
    }
    Ok(())
}

/// Who does it, and with what remark.
fn signed(actor: Option<String>, note: Option<String>) -> Result<(String, Option<String>), ApiError> {
    let (actor, note) = (me::signed(actor).unwrap_or_else(|| "operator".into()), said(note));
    bounded(&actor)?;
    note.as_deref().map_or(Ok(()), bounded)?;
    Ok((actor, note))
}

fn label_of(asked: &Act) -> Result<Action, ApiError> {
    let label = asked
        .label
        .ok_or_else(|| ApiError::bad("label is missing", "one of true, false-alarm, maintenance, duplicate, unsure"))?;
    if asked.of.is_some() && label != Label::Duplicate {
        return Err(ApiError::bad("of goes with the label duplicate", "leave it out, or label it a duplicate"));
    }
    Ok(Action::Label(label, asked.of))
}

fn comment_of(asked: &Act) -> Result<Action, ApiError> {
    let text = said(asked.note.clone());
    text.map(Action::Comment).ok_or_else(|| ApiError::bad("note is missing", "put the remark into note"))
}

macro_rules! actions {
    ($($(#[$doc:meta])* $name:ident $path:literal |$act:ident| $action:expr;)+) => { $(
        $(#[$doc])*
        #[utoipa::path(post, path = $path, params(("id" = i64, Path)), request_body = Act,
            responses((status = 200, body = Incident), (status = 400, body = Problem), (status = 404, body = Problem),
                (status = 409, body = Problem), (status = 413, body = Problem), (status = 415, body = Problem)))]
        pub async fn $name(State(state): State<ApiState>, Path(id): Path<String>, Body($act): Body<Act>) -> Result<Json<Incident>, ApiError> {
            let action = $action;
            perform(&state, number(&id)?, &action, $act.actor, $act.note).await.map(Json)
        }
    )+ };
}

actions! {
    /// Say that you have it.
    acknowledge "/api/v1/incidents/{id}/acknowledge" |act| Action::Acknowledge;
    /// Say that it is over.
    resolve "/api/v1/incidents/{id}/resolve" |act| Action::Resolve;
    /// Say what it was.
    label "/api/v1/incidents/{id}/label" |act| label_of(&act)?;
    /// Remark something.
    comment "/api/v1/incidents/{id}/comment" |act| comment_of(&act)?;
    /// Say who has it.
    assign "/api/v1/incidents/{id}/assign" |act| Action::Assign(said(act.assignee.clone()));
}

/// What a person says of the cause: `{"right":true}`, or `{"was":"db-1/postgresql.service"}`.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CauseSaid {
    /// Whether the first of the ranking was it.
    right: Option<bool>,
    /// Which it was, by name.
    was: Option<String>,
    /// Who; by default `operator`.
    actor: Option<String>,
    /// A remark for the trail.
    note: Option<String>,
}

/// Say whether the cause that was found is right, or which it was. It is kept for the scores of the ranking.
#[utoipa::path(post, path = "/api/v1/incidents/{id}/cause", params(("id" = i64, Path)), request_body = CauseSaid,
    responses((status = 200, body = Incident), (status = 400, body = Problem), (status = 404, body = Problem),
        (status = 409, body = Problem), (status = 413, body = Problem), (status = 415, body = Problem)))]
pub async fn cause(
    State(state): State<ApiState>,
    Path(id): Path<String>,
    Body(asked): Body<CauseSaid>,
) -> Result<Json<Incident>, ApiError> {
    let label = match (asked.right, said(asked.was)) {
        (Some(true), None) => CauseLabel::Right,
        (None | Some(false), Some(it)) => CauseLabel::Was(it),
        (None | Some(false), None) => {
            return Err(ApiError::bad("it is not said which it was", "right: true, or was: the name of the cause"));
        }
        (Some(true), Some(_)) => {
            return Err(ApiError::bad("right and was are both there", "say one of them"));
        }
    };
    perform(&state, number(&id)?, &Action::Cause(label), asked.actor, asked.note).await.map(Json)
}

/// Into which incident.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct MergeInto {
    /// The number of the one that goes on.
    into: IncidentId,
    /// Who; by default `operator`.
    actor: Option<String>,
    /// A remark for the trail of both.
    note: Option<String>,
}

/// Say that an incident is part of another: that one takes its events, this one is over. The answer is the one that goes on.
#[utoipa::path(post, path = "/api/v1/incidents/{id}/merge", params(("id" = i64, Path)), request_body = MergeInto,
    responses((status = 200, body = Incident), (status = 400, body = Problem), (status = 404, body = Problem),
        (status = 409, body = Problem), (status = 413, body = Problem), (status = 415, body = Problem)))]
pub async fn merge(
    State(state): State<ApiState>,
    Path(id): Path<String>,
    Body(asked): Body<MergeInto>,
) -> Result<Json<Incident>, ApiError> {
    let (from, (actor, note)) = (number(&id)?, signed(asked.actor, asked.note)?);
    let mut whole = None;
    loop {
        let (part, other) = (head(&state, from).await?, head(&state, asked.into).await?);
        let events = state.store.keys_of_incident(from, MOVED).await?;
        let count = events.len();
        let merge = actions::merge(&part, &other, events, &actor, note.as_deref(), now_ms())?;
        // What came between the two writes comes along.
        if whole.is_none() || count > 0 {
            let Some(saved) = save(&state, merge.into).await? else { continue };
            whole = Some(saved);
            if count == MOVED {
                continue;
            }
        }
        if save(&state, merge.from).await?.is_some()
            && let Some(whole) = whole.take()
        {
            return Ok(Json(whole));
        }
    }
}

async fn events_of(state: &ApiState, id: IncidentId) -> Result<Vec<EventRecord>, ApiError> {
    let query =
        EventQuery { incident: Some(id), lean: true, oldest_first: true, limit: Some(MOVED), ..EventQuery::default() };
    Ok(state.store.events(query).await?)
}

/// An event by its node and number.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NamedEvent {
    /// Its node.
    node: String,
    /// Its number: 16 hexadecimal digits.
    event: String,
}

/// Which events are an incident of their own.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SplitOff {
    /// The events, at most 1000.
    events: Vec<NamedEvent>,
    /// Who; by default `operator`.
    actor: Option<String>,
    /// A remark for the trail of both.
    note: Option<String>,
}

/// Two incidents that were one.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct SplitParts {
    /// What is left.
    pub incident: Incident,
    /// The new one, with the events that were named.
    pub split_off: Incident,
}

/// Make an incident of its own of some events. At least one alarm goes, and at least one stays.
#[utoipa::path(post, path = "/api/v1/incidents/{id}/split", params(("id" = i64, Path)), request_body = SplitOff,
    responses((status = 200, body = SplitParts), (status = 400, body = Problem), (status = 404, body = Problem),
        (status = 409, body = Problem), (status = 413, body = Problem), (status = 415, body = Problem)))]
pub async fn split(
    State(state): State<ApiState>,
    Path(id): Path<String>,
    Body(asked): Body<SplitOff>,
) -> Result<Json<SplitParts>, ApiError> {
    let (id, (actor, note)) = (number(&id)?, signed(asked.actor, asked.note)?);
    let chosen = named(&asked.events)?;
    let mut part: Option<Incident> = None;
    loop {
        let whole = head(&state, id).await?;
        let events = events_of(&state, id).await?;
        let (back, stay): (Vec<EventRecord>, Vec<EventRecord>) =
            events.into_iter().partition(|e| chosen.contains(&e.key()));
        let change = match &part {
            None => {
                let all: Vec<EventRecord> = back.iter().chain(&stay).cloned().collect();
                Some(actions::split_off(&whole, &all, &chosen, &actor, note.as_deref(), now_ms())?)
            }
            // A phase of an event that came meanwhile brought it back: it goes once more.
            Some(part) if !back.is_empty() => Some(IncidentChange {
                incident: head(&state, part.id).await?,
                event: None,
                also: back.iter().map(EventRecord::key).collect(),
                audit: Vec::new(),
            }),
            Some(_) => None,
        };
        if let Some(change) = change {
            let Some(saved) = save(&state, change).await? else { continue };
            part = Some(saved);
        }
        let Some(split_off) = part.clone() else { continue };
        let left = actions::after_split(&whole, &stay, split_off.id, &actor, note.as_deref(), now_ms());
        if let Some(incident) = save(&state, left).await? {
            return Ok(Json(SplitParts { incident, split_off }));
        }
    }
}

/// The events that are named, checked.
fn named(events: &[NamedEvent]) -> Result<HashSet<EventKey>, ApiError> {
    if events.is_empty() || events.len() > NAMED_MAX {
        let what = format!("{} events are named", events.len());
        return Err(ApiError::bad(what, "name 1 to 1000 events of the incident, each by node and event"));
    }
    let key = |named: &NamedEvent| -> Result<EventKey, ApiError> {
        let event: EventId = named.event.parse().map_err(|e: tacit_wire::id::IdError| {
            ApiError::bad(e.to_string(), "/api/v1/incidents/{id} has the events")
        })?;
        Ok((node_id(&named.node)?, event))
    };
    events.iter().map(key).collect()
}
