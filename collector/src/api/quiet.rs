//! Silences and windows: who mutes what, from when to when, and why.

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};

use super::extract::{Body, Path, Query};
use super::{ApiError, ApiState, Problem};
use crate::access::me::signed;
use crate::clock::now_ms;
use crate::incident::quiet::{NAME_MAX, check_silence, check_window, matches_everything, next_from, open_at, warning};
use crate::store::{Matcher, Silence, StoreError, TrailEntry, Window, WindowDays};

/// What can be written, for who wrote something else.
const HINT: &str = "docs/INCIDENTS.md, \"Silences and windows\", has what can be written";
const CONFIRM: &str = "name what to mute; if all of it is meant, send \"confirm\": true (tacit: --yes)";

/// Which silences or windows.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub struct Which {
    /// Those that are over too.
    all: Option<bool>,
}

/// A list of silences.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Silences {
    /// Newest first.
    pub silences: Vec<Silence>,
}

/// A window, and what it does now.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct WindowState {
    /// The window.
    pub window: Window,
    /// Whether it mutes now.
    pub open_now: bool,
    /// Until when, if it does, Unix milliseconds.
    pub open_until_ms: Option<i64>,
    /// When it opens next, Unix milliseconds.
    pub next_ms: Option<i64>,
    /// What its owner should look at: it expires soon, has muted nothing for long, or cannot be read any more.
    pub warning: Option<String>,
}

impl WindowState {
    /// A window as it is at a time.
    #[must_use]
    pub fn at(window: Window, now_ms: i64) -> Self {
        let open = open_at(&window, now_ms);
        Self {
            open_now: open.is_some(),
            open_until_ms: open.map(|(_, to)| to),
            next_ms: next_from(&window, now_ms),
            warning: warning(&window, now_ms),
            window,
        }
    }
}

/// A list of windows.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Windows {
    /// Newest first.
    pub windows: Vec<WindowState>,
}

/// A silence to make.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewSilence {
    /// What it mutes; all have to hold. Each is a text (`node=web-1`, `family=~disk*|cpu`, `site!=lab`) or an object as in answers.
    #[serde(default)]
    matchers: Vec<Value>,
    /// When it begins, Unix milliseconds; by default now.
    starts_ms: Option<i64>,
    /// For how many minutes; this or `ends_ms`. It lasts at most 90 days.
    minutes: Option<u32>,
    /// When it ends, Unix milliseconds.
    ends_ms: Option<i64>,
    /// Who makes it; by default `operator`.
    actor: Option<String>,
    /// Why.
    #[serde(default)]
    reason: String,
    /// It is meant to mute everything, or all but what the matchers name.
    #[serde(default)]
    confirm: bool,
}

/// The days of a window to make: one of both.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewDays {
    /// Each week on these days: `mon`, `tue`, `wed`, `thu`, `fri`, `sat`, `sun`.
    weekly: Option<Vec<String>>,
    /// Each month on these days, 1 to 31; −1 is its last.
    monthly: Option<Vec<i8>>,
}

/// A window to make.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewWindow {
    /// What it is for.
    #[serde(default)]
    name: String,
    /// What it mutes, as for silences.
    #[serde(default)]
    matchers: Vec<Value>,
    /// On which days it opens.
    days: NewDays,
    /// At what time of day, `HH:MM`.
    at: String,
    /// For how many minutes, at most a week, and less than from one opening to the next.
    minutes: u32,
    /// In which time zone, an IANA name; by default `UTC`.
    zone: Option<String>,
    /// Who answers for it.
    #[serde(default)]
    owner: String,
    /// Why.
    #[serde(default)]
    reason: String,
    /// It does not open after this, Unix milliseconds, at most 400 days ahead. There is no window without an end.
    expires_ms: Option<i64>,
    /// Who makes it; by default `operator`.
    actor: Option<String>,
    /// It is meant to mute everything, or all but what the matchers name.
    #[serde(default)]
    confirm: bool,
}

/// Who ends something.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Ending {
    /// Who; by default `operator`.
    actor: Option<String>,
}

/// Silences that are not over, or all, for the API and the page.
///
/// # Errors
/// When the store cannot be asked.
pub async fn read_silences(state: &ApiState, all: bool) -> Result<Vec<Silence>, ApiError> {
    Ok(state.store.silences((!all).then(now_ms)).await?)
}

/// Windows that are not over, or all, for the API and the page.
///
/// # Errors
/// When the store cannot be asked.
pub async fn read_windows(state: &ApiState, all: bool) -> Result<Vec<WindowState>, ApiError> {
    let now = now_ms();
    let windows = state.store.windows((!all).then_some(now)).await?;
    Ok(windows.into_iter().map(|window| WindowState::at(window, now)).collect())
}

/// Silences that are not over, or all, newest first.
#[utoipa::path(get, path = "/api/v1/silences", params(Which),
    responses((status = 200, body = Silences), (status = 400, body = Problem)))]
pub async fn silences(State(state): State<ApiState>, Query(which): Query<Which>) -> Result<Json<Silences>, ApiError> {
    Ok(Json(Silences { silences: read_silences(&state, which.all.unwrap_or(false)).await? }))
}

/// Windows that are not over, or all, newest first, each with what it does now.
#[utoipa::path(get, path = "/api/v1/windows", params(Which),
    responses((status = 200, body = Windows), (status = 400, body = Problem)))]
pub async fn windows(State(state): State<ApiState>, Query(which): Query<Which>) -> Result<Json<Windows>, ApiError> {
    Ok(Json(Windows { windows: read_windows(&state, which.all.unwrap_or(false)).await? }))
}

/// Mutes what matches for a time: it is shown, but disturbs nobody.
#[utoipa::path(post, path = "/api/v1/silences", request_body = NewSilence,
    responses((status = 200, body = Silence), (status = 400, body = Problem), (status = 409, body = Problem),
        (status = 413, body = Problem), (status = 415, body = Problem)))]
pub async fn add_silence(
    State(state): State<ApiState>,
    Body(asked): Body<NewSilence>,
) -> Result<Json<Silence>, ApiError> {
    let now = now_ms();
    let starts_ms = asked.starts_ms.unwrap_or(now).max(now);
    let ends_ms = match (asked.minutes, asked.ends_ms) {
        (Some(minutes), None) => starts_ms.saturating_add(i64::from(minutes).saturating_mul(60_000)),
        (None, Some(ends_ms)) => ends_ms,
        _ => return Err(ApiError::bad("say for how long: either minutes or ends_ms", HINT)),
    };
    let silence = Silence {
        id: 0,
        matchers: matchers(asked.matchers)?,
        starts_ms,
        ends_ms,
        actor: actor(asked.actor)?,
        reason: asked.reason,
        made_ms: now,
        ended_ms: None,
    };
    check_silence(&silence, now).map_err(|why| ApiError::bad(why, HINT))?;
    confirmed(&silence.matchers, asked.confirm)?;
    let trail = line(now, &silence.actor, "silence-made", String::new(), Some(silence.line()));
    let saved = state.store.save_silence(silence, trail).await?;
    // What is open may be muted by it.
    state.ingest.events_waiting.notify_one();
    Ok(Json(saved))
}

/// Ends a silence before its time.
#[utoipa::path(post, path = "/api/v1/silences/{id}/end", params(("id" = i64, Path)), request_body = Ending,
    responses((status = 200, body = Silence), (status = 400, body = Problem), (status = 404, body = Problem),
        (status = 409, body = Problem), (status = 413, body = Problem), (status = 415, body = Problem)))]
pub async fn end_silence(
    State(state): State<ApiState>,
    Path(id): Path<String>,
    Body(who): Body<Ending>,
) -> Result<Json<Silence>, ApiError> {
    let (id, now) = (number(&id, "silence")?, now_ms());
    let found = state.store.silence(id).await?;
    let silence = found.ok_or_else(|| ApiError::missing(format!("silence {id}"), "/api/v1/silences lists them"))?;
    if silence.until_ms() <= now {
        return Err(StoreError::Conflict(format!("silence {id} is over already")).into());
    }
    let trail = line(now, &actor(who.actor)?, "silence-ended", format!("silence {id}"), Some(silence.line()));
    let saved = state.store.save_silence(Silence { ended_ms: Some(now), ..silence }, trail).await?;
    state.ingest.events_waiting.notify_one();
    Ok(Json(saved))
}

/// Mutes what matches each week or month again, until it expires.
#[utoipa::path(post, path = "/api/v1/windows", request_body = NewWindow,
    responses((status = 200, body = WindowState), (status = 400, body = Problem), (status = 409, body = Problem),
        (status = 413, body = Problem), (status = 415, body = Problem)))]
pub async fn add_window(
    State(state): State<ApiState>,
    Body(asked): Body<NewWindow>,
) -> Result<Json<WindowState>, ApiError> {
    let now = now_ms();
    let days = match (asked.days.weekly, asked.days.monthly) {
        (Some(names), None) => WindowDays::Weekly(names),
        (None, Some(days)) => WindowDays::Monthly(days),
        _ => return Err(ApiError::bad("say on which days: either weekly or monthly", HINT)),
    };
    let endless = "every window ends: say when, with expires_ms, at most 400 days ahead; it warns a week before";
    let window = Window {
        id: 0,
        name: asked.name,
        matchers: matchers(asked.matchers)?,
        days,
        at: asked.at,
        minutes: asked.minutes,
        zone: asked.zone.unwrap_or_else(|| "UTC".into()),
        owner: asked.owner,
        reason: asked.reason,
        made_ms: now,
        expires_ms: asked.expires_ms.ok_or_else(|| ApiError::bad(endless, HINT))?,
        ended_ms: None,
        used_ms: None,
    };
    check_window(&window, now).map_err(|why| ApiError::bad(why, HINT))?;
    confirmed(&window.matchers, asked.confirm)?;
    let trail = line(now, &actor(asked.actor)?, "window-made", String::new(), Some(window.line()));
    let saved = state.store.save_window(window, trail).await?;
    state.ingest.events_waiting.notify_one();
    Ok(Json(WindowState::at(saved, now)))
}

/// Ends a window before it expires.
#[utoipa::path(post, path = "/api/v1/windows/{id}/end", params(("id" = i64, Path)), request_body = Ending,
    responses((status = 200, body = WindowState), (status = 400, body = Problem), (status = 404, body = Problem),
        (status = 409, body = Problem), (status = 413, body = Problem), (status = 415, body = Problem)))]
pub async fn end_window(
    State(state): State<ApiState>,
    Path(id): Path<String>,
    Body(who): Body<Ending>,
) -> Result<Json<WindowState>, ApiError> {
    let (id, now) = (number(&id, "window")?, now_ms());
    let found = state.store.window(id).await?;
    let window = found.ok_or_else(|| ApiError::missing(format!("window {id}"), "/api/v1/windows lists them"))?;
    if window.until_ms() <= now {
        return Err(StoreError::Conflict(format!("window {id} is over already")).into());
    }
    let trail = line(now, &actor(who.actor)?, "window-ended", format!("window {id}"), Some(window.line()));
    let saved = state.store.save_window(Window { ended_ms: Some(now), ..window }, trail).await?;
    state.ingest.events_waiting.notify_one();
    Ok(Json(WindowState::at(saved, now)))
}

/// Matchers as texts and as objects.
fn matchers(given: Vec<Value>) -> Result<Vec<Matcher>, ApiError> {
    let read = |one: Value| match one {
        Value::String(text) => text.parse::<Matcher>(),
        other => serde_json::from_value(other).map_err(|e| format!("a matcher is wrong: {e}")),
    };
    given.into_iter().map(read).collect::<Result<_, _>>().map_err(|why| ApiError::bad(why, HINT))
}

/// Refuses what mutes everything, unless somebody says that this is meant.
fn confirmed(matchers: &[Matcher], confirm: bool) -> Result<(), ApiError> {
    if matches_everything(matchers) && !confirm {
        return Err(ApiError::bad("that would mute everything, or all but what it names", CONFIRM));
    }
    Ok(())
}

/// Who does it.
fn actor(given: Option<String>) -> Result<String, ApiError> {
    let actor = signed(given).unwrap_or_else(|| "operator".into());
    if actor.len() > NAME_MAX {
        return Err(ApiError::bad(format!("the actor has more than {NAME_MAX} bytes"), "say it shorter"));
    }
    Ok(actor)
}

fn number(text: &str, what: &str) -> Result<i64, ApiError> {
    text.parse().map_err(|_| {
        ApiError::bad(
            format!("{text:?} is not the number of a {what}"),
            "the lists at /api/v1/silences and windows have them",
        )
    })
}

/// A line of the trail. The store fills in the number of what is new.
fn line(at_ms: i64, actor: &str, action: &str, subject: String, note: Option<String>) -> TrailEntry {
    TrailEntry { at_ms, actor: actor.to_owned(), action: action.to_owned(), subject, note }
}
