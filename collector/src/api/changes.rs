//! Changes that somebody announces, so that an incident that begins soon after can name them.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::events::limit;
use super::extract::{Body, Query};
use super::{ApiError, ApiState, Problem};
use crate::access::me::signed;
use crate::clock::now_ms;
use crate::interop::changes::{Change, KIND, NAME_MAX, Target};
use crate::interop::event::{cut, line};
use crate::interop::posted::is_link;
use crate::interop::tell;
use crate::store::{EventRecord, EventSource, TrailEntry};

/// Longest text of what was done, in bytes.
const WHAT_MAX: usize = 2000;
/// How long ago a change may have been made, and how far ahead the caller's clock may be.
const AGO_MS: i64 = 30 * 86_400_000;
const AHEAD_MS: i64 = 300_000;
/// What can be written.
const HINT: &str = "docs/INCIDENTS.md, \"Where events come from\", says what a change may hold";

/// A change to announce.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewChange {
    /// What was done, in a line: `deploy api 1.2.3`.
    what: String,
    /// To this node.
    node: Option<String>,
    /// To this service: `NODE/OWNER`, or an owner's name on whatever nodes the map has it.
    service: Option<String>,
    /// To this vertex of the map.
    entity: Option<String>,
    /// To everything in this site. Without any of these it is the whole fleet.
    site: Option<String>,
    /// When, Unix milliseconds; by default now.
    at_ms: Option<i64>,
    /// When, as 2026-11-23T12:03:10Z.
    at: Option<String>,
    /// `deploy` (the default), `config`, `flag`, `maintenance`, or another word.
    kind: Option<String>,
    /// Who made it.
    actor: Option<String>,
    /// Where more can be read.
    url: Option<String>,
    /// Your name for it: a change that is announced again under it is the same one.
    id: Option<String>,
}

/// A list of changes.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct AnnouncedChanges {
    /// Newest first, as events.
    pub changes: Vec<EventRecord>,
}

impl NewChange {
    fn at(&self, now_ms: i64) -> Result<i64, ApiError> {
        let at_ms = match (&self.at, self.at_ms) {
            (Some(_), Some(_)) => return Err(ApiError::bad("at and at_ms are both there", "one of them is enough")),
            (None, None) => now_ms,
            (None, Some(ms)) => ms,
            (Some(text), None) => text
                .parse::<Timestamp>()
                .map_err(|_| {
                    ApiError::bad(format!("at {:?} is no time", cut(&line(text), 40)), "write 2026-11-23T12:03:10Z")
                })?
                .as_millisecond(),
        };
        if at_ms > now_ms.saturating_add(AHEAD_MS) {
            return Err(ApiError::bad("the change is in the future", "announce it when it is made"));
        }
        if at_ms < now_ms.saturating_sub(AGO_MS) {
            return Err(ApiError::bad("the change was made more than 30 days ago", "it explains nothing any more"));
        }
        Ok(at_ms.min(now_ms))
    }

    fn change(&self, now_ms: i64) -> Result<Change, ApiError> {
        let what = line(&self.what);
        if what.is_empty() || self.what.len() > WHAT_MAX {
            return Err(ApiError::bad(
                format!("what has 1 to {WHAT_MAX} bytes"),
                "say what was done: deploy api 1.2.3",
            ));
        }
        let names = [&self.node, &self.service, &self.entity, &self.site, &self.kind, &self.actor, &self.id];
        if names.into_iter().flatten().any(|text| text.trim().is_empty() || text.len() > NAME_MAX) {
            return Err(ApiError::bad(format!("a name is empty or longer than {NAME_MAX} bytes"), HINT));
        }
        if self.url.as_deref().is_some_and(|url| !is_link(url)) {
            return Err(ApiError::bad("url is no address of a page", "write http:// or https://"));
        }
        let kind = self.kind.as_deref().unwrap_or(KIND);
        if kind.len() > 32 || !kind.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-') {
            return Err(ApiError::bad("kind is no word", "write 1 to 32 of a-z, 0-9 and '-': deploy, config, flag"));
        }
        let labels = [("actor", &self.actor), ("site", &self.site)];
        let labels = labels.into_iter().filter_map(|(key, text)| Some((key.to_owned(), line(text.as_ref()?))));
        Ok(Change {
            what,
            kind: kind.to_owned(),
            at_ms: self.at(now_ms)?,
            id: self.id.clone(),
            url: self.url.clone(),
            labels: labels.collect::<BTreeMap<_, _>>(),
        })
    }
}

/// Announces a change. It is context: it opens no incident, and may explain one.
#[utoipa::path(post, path = "/api/v1/changes", request_body = NewChange,
    responses((status = 200, body = AnnouncedChanges), (status = 400, body = Problem), (status = 413, body = Problem),
        (status = 415, body = Problem)))]
pub async fn announce(
    State(state): State<ApiState>,
    Body(mut new): Body<NewChange>,
) -> Result<Json<AnnouncedChanges>, ApiError> {
    let now = now_ms();
    // An empty name is refused below, whoever says it.
    if new.actor.as_deref().is_none_or(|actor| !actor.trim().is_empty()) {
        new.actor = signed(new.actor);
    }
    let change = new.change(now)?;
    let (node, service, entity, site) = (new.node, new.service, new.entity, new.site);
    let target = Target { node, service, entity, site };
    // Who was named may have come a moment ago.
    let directory = state.interop.places.now(|known| target.places(known).is_err(), now).await?;
    let places =
        target.places(&directory).map_err(|words| ApiError::bad(words, "/api/v1/nodes and /api/v1/map name them"))?;
    let (mut events, mut known) = (Vec::new(), Vec::new());
    for event in places.iter().map(|place| change.event(place, now)) {
        let (node, number) = event.key();
        match state.store.event(&node, number).await? {
            Some(there) => known.push(there),
            None => events.push(event),
        }
    }
    let trail = events.iter().map(|event| TrailEntry {
        at_ms: now,
        actor: change.labels.get("actor").cloned().unwrap_or_else(|| "operator".into()),
        action: "change-announced".into(),
        subject: event.outside.as_ref().map_or_else(String::new, |o| o.entity.clone()),
        note: Some(event.event.text.clone()),
    });
    let trail: Vec<TrailEntry> = trail.collect();
    tell(&*state.store, &state.ingest, events.clone()).await?;
    if !trail.is_empty() {
        state.store.append_trail(trail).await?;
    }
    events.append(&mut known);
    Ok(Json(AnnouncedChanges { changes: events }))
}

/// Which changes.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub struct AnnouncedFilter {
    /// Only those made not before, Unix milliseconds.
    since_ms: Option<i64>,
    /// At most so many: 1 to 1000, by default 100.
    limit: Option<usize>,
}

/// Changes that were announced, newest first. What nodes saw themselves, boots and packages, is among their events.
#[utoipa::path(get, path = "/api/v1/changes", params(AnnouncedFilter),
    responses((status = 200, body = AnnouncedChanges), (status = 400, body = Problem)))]
pub async fn list(
    State(state): State<ApiState>,
    Query(asked): Query<AnnouncedFilter>,
) -> Result<Json<AnnouncedChanges>, ApiError> {
    let (since_ms, limit) = (asked.since_ms.unwrap_or(i64::MIN), limit(asked.limit)?);
    Ok(Json(AnnouncedChanges { changes: state.store.events_from(EventSource::Change, since_ms, limit).await? }))
}
