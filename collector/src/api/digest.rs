//! What disturbed nobody, and why: events that no incident has, incidents that are muted, and the trail of who muted them.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::events::limit;
use super::extract::Query;
use super::{ApiError, ApiState, Problem};
use crate::clock::now_ms;
use crate::incident::about::About;
use crate::store::{
    EventQuery, EventRecord, EventSource, Incident, IncidentId, IncidentQuery, IncidentState, TrailEntry,
};

const DAY_MS: i64 = 24 * 3_600_000;
/// Longest time of one answer.
const TIME_MAX_MS: i64 = 31 * DAY_MS;
/// Events that are counted in one answer.
const COUNTED: usize = 10_000;
/// Lines of each count.
const TALLY_MAX: usize = 100;
/// How far back muted incidents that are over are told of.
const RECENT_MS: i64 = 7 * DAY_MS;
/// Open incidents that are looked through, and those that are over.
const OPEN_SEARCHED: usize = 10_000;
const OVER_SEARCHED: usize = 2_000;
/// Incidents that are told of in each list.
const TOLD_MAX: usize = 200;

/// Which time.
#[derive(Debug, Clone, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub struct Days {
    /// A day, `2026-01-31`, in UTC.
    pub day: Option<String>,
    /// From, Unix milliseconds; by default a day before `to_ms`.
    pub from_ms: Option<i64>,
    /// To, Unix milliseconds; by default now.
    pub to_ms: Option<i64>,
    /// At most so many events, the newest: 1 to 1000, by default 100. All are counted.
    pub limit: Option<usize>,
}

impl Days {
    /// From when to when.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn time(&self, now_ms: i64) -> Result<(i64, i64), ApiError> {
        let hint = "write day=2026-01-31, or from_ms and to_ms; by default the last 24 hours";
        if let Some(day) = &self.day {
            if self.from_ms.is_some() || self.to_ms.is_some() {
                return Err(ApiError::bad("day stands beside from_ms or to_ms", hint));
            }
            let from = midnight(day).ok_or_else(|| ApiError::bad(format!("{day:?} is not a day"), hint))?;
            return Ok((from, from.saturating_add(DAY_MS)));
        }
        let to = self.to_ms.unwrap_or(now_ms);
        let from = self.from_ms.unwrap_or_else(|| to.saturating_sub(DAY_MS));
        if from >= to {
            return Err(ApiError::bad("from_ms is not before to_ms", hint));
        }
        if to.saturating_sub(from) > TIME_MAX_MS {
            return Err(ApiError::bad("the time is longer than 31 days", hint));
        }
        Ok((from, to))
    }
}

/// The beginning of a day in UTC, Unix milliseconds.
fn midnight(day: &str) -> Option<i64> {
    let is_date = day.len() == 10 && day.bytes().all(|b| b.is_ascii_digit() || b == b'-');
    let date = day.parse::<Date>().ok().filter(|_| is_date)?;
    Some(date.to_zoned(TimeZone::UTC).ok()?.timestamp().as_millisecond())
}

/// An event that no incident has.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct DigestEvent {
    /// Its node; `-` when it is about none.
    pub node: String,
    /// Its number.
    pub event: String,
    /// Who says it.
    pub source: EventSource,
    /// `anomaly`, `rule` or `context`.
    pub kind: String,
    /// What it is about.
    pub entity: String,
    /// In which respect.
    pub family: String,
    /// Onset in the collector's time, Unix milliseconds.
    pub onset_ms: i64,
    /// How bad, 0 to 1.
    pub severity: Option<f32>,
    /// In words.
    pub text: String,
    /// Why no incident has it.
    pub why: String,
}

impl DigestEvent {
    /// A stored event as a line.
    #[must_use]
    pub fn of(record: &EventRecord) -> Self {
        let About { entity, family, .. } = About::of(record);
        let e = &record.event;
        Self {
            node: e.head.node.to_string(),
            event: e.event.to_string(),
            source: record.source(),
            kind: e.kind.to_string(),
            entity,
            family,
            onset_ms: record.onset_ms,
            severity: e.severity.get().filter(|s| s.is_finite()),
            text: e.text.clone(),
            why: record.digest.clone().unwrap_or_default(),
        }
    }
}

/// How many events have something in common.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Tally {
    /// What it is.
    pub name: String,
    /// How many.
    pub events: u32,
}

/// Most first; of many names the first hundred.
fn tally(names: impl Iterator<Item = String>) -> Vec<Tally> {
    let mut counts: BTreeMap<String, u32> = BTreeMap::new();
    for name in names {
        let count = counts.entry(name).or_default();
        *count = count.saturating_add(1);
    }
    let mut all: Vec<Tally> = counts.into_iter().map(|(name, events)| Tally { name, events }).collect();
    all.sort_by(|a, b| b.events.cmp(&a.events).then_with(|| a.name.cmp(&b.name)));
    all.truncate(TALLY_MAX);
    all
}

/// What opened nothing in a time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Digest {
    /// From, Unix milliseconds.
    pub from_ms: i64,
    /// To, Unix milliseconds.
    pub to_ms: i64,
    /// Events that were counted.
    pub events_counted: u32,
    /// Whether these are all: no more than 10,000, the newest, are counted.
    pub complete: bool,
    /// By why no incident has them.
    pub reasons: Vec<Tally>,
    /// By what they are about.
    pub entities: Vec<Tally>,
    /// By respect: rule, fault, alert.
    pub families: Vec<Tally>,
    /// The newest of them.
    pub events: Vec<DigestEvent>,
}

/// What opened nothing, for the API and the page.
///
/// # Errors
/// When the time makes no sense or the store cannot be asked.
pub async fn read_digest(state: &ApiState, days: &Days) -> Result<Digest, ApiError> {
    let (from_ms, to_ms) = days.time(now_ms())?;
    let most = limit(days.limit)?;
    let query = EventQuery {
        digest: true,
        since_ms: Some(from_ms),
        until_ms: Some(to_ms),
        limit: Some(COUNTED),
        ..EventQuery::default()
    };
    let found = state.store.events(query).await?;
    let complete = found.len() < COUNTED;
    let mut events: Vec<DigestEvent> = found.iter().map(DigestEvent::of).collect();
    let of = |name: fn(&DigestEvent) -> &String| tally(events.iter().map(|e| name(e).clone()));
    let (reasons, entities, families) = (of(|e| &e.why), of(|e| &e.entity), of(|e| &e.family));
    let events_counted = u32::try_from(events.len()).unwrap_or(u32::MAX);
    events.truncate(most);
    Ok(Digest { from_ms, to_ms, events_counted, complete, reasons, entities, families, events })
}

/// Events that no incident has, and why: counted, and the newest of them. By default of the last 24 hours.
#[utoipa::path(get, path = "/api/v1/digest", params(Days),
    responses((status = 200, body = Digest), (status = 400, body = Problem)))]
pub async fn digest(State(state): State<ApiState>, Query(days): Query<Days>) -> Result<Json<Digest>, ApiError> {
    Ok(Json(read_digest(&state, &days).await?))
}

/// How much an incident holds that told nobody anew.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Folded {
    /// The incident.
    pub incident: IncidentId,
    /// What is wrong.
    pub title: String,
    /// Events that it holds beyond its first.
    pub events: u32,
}

/// What disturbed nobody.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Suppressed {
    /// Open incidents that are muted; `muted_by` says by what.
    pub muted: Vec<Incident>,
    /// Incidents of the last seven days that were muted when they ended.
    pub were_muted: Vec<Incident>,
    /// Open incidents in which something comes and goes: its turns are told of once.
    pub unstable: Vec<Incident>,
    /// Open incidents that hold more than one event, the largest first.
    pub folded: Vec<Folded>,
    /// Events of open incidents beyond the first of each.
    pub folded_events: u32,
    /// Incidents of the last seven days that became part of others.
    pub merged: Vec<Incident>,
    /// Why events of the last 24 hours opened nothing.
    pub digest: Vec<Tally>,
    /// How many these are, at most 10,000.
    pub digest_events: u32,
}

/// What disturbed nobody, for the API and the page.
///
/// # Errors
/// When the store cannot be asked.
pub async fn read_suppressed(state: &ApiState) -> Result<Suppressed, ApiError> {
    let of =
        |open: bool, most: usize| IncidentQuery { open: Some(open), node: None, since_ms: None, limit: Some(most) };
    let now = now_ms();
    let open = state.store.incidents(of(true, OPEN_SEARCHED)).await?;
    // By when it opened, as they are kept: one that was open for long before it ended is left out.
    let recent = state.store.incidents(of(false, OVER_SEARCHED)).await?;
    let digest = read_digest(state, &Days::default()).await?;
    Ok(suppressed(&open, &recent, digest, now))
}

fn suppressed(open: &[Incident], over: &[Incident], digest: Digest, now_ms: i64) -> Suppressed {
    let told = |all: &[Incident], is: &dyn Fn(&Incident) -> bool| -> Vec<Incident> {
        all.iter().filter(|i| is(i)).take(TOLD_MAX).cloned().collect()
    };
    let recent = |i: &Incident| i.resolved_ms.is_some_and(|at| at >= now_ms.saturating_sub(RECENT_MS));
    let beyond = |i: &Incident| i.events.saturating_sub(1);
    let mut folded: Vec<Folded> = open
        .iter()
        .filter(|i| beyond(i) > 0)
        .map(|i| Folded { incident: i.id, title: i.title.clone(), events: beyond(i) })
        .collect();
    folded.sort_by(|a, b| b.events.cmp(&a.events).then(a.incident.cmp(&b.incident)));
    let folded_events = folded.iter().fold(0_u32, |all, f| all.saturating_add(f.events));
    folded.truncate(TOLD_MAX);
    Suppressed {
        muted: told(open, &|i| i.state == IncidentState::Muted),
        were_muted: told(over, &|i| i.muted_by.is_some() && recent(i)),
        unstable: told(open, &|i| i.unstable),
        folded,
        folded_events,
        merged: told(over, &|i| i.merged_into.is_some() && recent(i)),
        digest: digest.reasons,
        digest_events: digest.events_counted,
    }
}

/// What disturbed nobody, and why: incidents that are or were muted, and by what; events that were folded into open incidents;
/// what comes and goes; and what opened nothing.
#[utoipa::path(get, path = "/api/v1/suppressed", responses((status = 200, body = Suppressed)))]
pub async fn suppression(State(state): State<ApiState>) -> Result<Json<Suppressed>, ApiError> {
    read_suppressed(&state).await.map(Json)
}

/// How many lines.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub struct Lines {
    /// At most so many: 1 to 1000, by default 100.
    limit: Option<usize>,
}

/// What was done beside incidents.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Trail {
    /// Newest first.
    pub trail: Vec<TrailEntry>,
}

/// Everything that was done beside incidents, newest first: silences and windows, changes, notifications. Nothing in it is ever
/// altered.
#[utoipa::path(get, path = "/api/v1/trail", params(Lines),
    responses((status = 200, body = Trail), (status = 400, body = Problem)))]
pub async fn trail(State(state): State<ApiState>, Query(lines): Query<Lines>) -> Result<Json<Trail>, ApiError> {
    Ok(Json(Trail { trail: state.store.trail(limit(lines.limit)?).await? }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::incident;

    #[test]
    fn a_day_is_a_day_in_utc() {
        let day = |text: &str| Days { day: Some(text.into()), ..Days::default() }.time(0).ok();
        assert_eq!(day("1970-01-02"), Some((DAY_MS, 2 * DAY_MS)));
        for wrong in ["1970-13-01", "today", "", "1970-1-2", "19700102", "1970-01-02T00:00"] {
            assert_eq!(day(wrong), None, "{wrong}");
        }
        let both = Days { day: Some("1970-01-02".into()), from_ms: Some(1), ..Days::default() };
        assert!(both.time(0).unwrap_err().message().contains("beside"));
        assert_eq!(Days::default().time(5 * DAY_MS).ok(), Some((4 * DAY_MS, 5 * DAY_MS)));
        let long = Days { from_ms: Some(i64::MIN), to_ms: Some(i64::MAX), ..Days::default() };
        assert!(long.time(0).unwrap_err().message().contains("31 days"));
        let turned = Days { from_ms: Some(2), to_ms: Some(1), ..Days::default() };
        assert!(turned.time(0).unwrap_err().message().contains("not before"));
    }

    #[test]
    fn counts_are_largest_first_and_bounded() {
        let names = |list: &[&str]| tally(list.iter().map(|n| (*n).to_owned()));
        let found = names(&["b", "a", "b", "c", "a", "b"]);
        let found: Vec<_> = found.iter().map(|t| (t.name.as_str(), t.events)).collect();
        assert_eq!(found, [("b", 3), ("a", 2), ("c", 1)]);
        assert_eq!(tally((0..500).map(|n| n.to_string())).len(), TALLY_MAX);
    }

    #[test]
    fn what_disturbed_nobody_is_sorted_by_why() {
        let one = |id: i64, change: fn(&mut Incident)| {
            let mut one = Incident { id, events: 1, ..incident() };
            change(&mut one);
            one
        };
        let open = [
            one(1, |i| i.events = 4),
            one(2, |i| {
                i.state = IncidentState::Muted;
                i.muted_by = Some("silence 3".into());
                i.events = 9;
            }),
            one(3, |i| i.unstable = true),
        ];
        let over = [
            one(4, |i| (i.muted_by, i.resolved_ms) = (Some("incident 1".into()), Some(20 * DAY_MS))),
            one(5, |i| (i.muted_by, i.resolved_ms) = (Some("window 1".into()), Some(DAY_MS))),
            one(6, |i| (i.merged_into, i.resolved_ms) = (Some(1), Some(20 * DAY_MS))),
        ];
        let digest = Digest {
            from_ms: 0,
            to_ms: 1,
            events_counted: 7,
            complete: true,
            reasons: vec![Tally { name: "no symptom".into(), events: 7 }],
            entities: Vec::new(),
            families: Vec::new(),
            events: Vec::new(),
        };
        let told = suppressed(&open, &over, digest, 21 * DAY_MS);
        let ids = |list: &[Incident]| list.iter().map(|i| i.id).collect::<Vec<_>>();
        assert_eq!((ids(&told.muted), ids(&told.were_muted)), (vec![2], vec![4]));
        assert_eq!((ids(&told.unstable), ids(&told.merged)), (vec![3], vec![6]));
        let folded: Vec<_> = told.folded.iter().map(|f| (f.incident, f.events)).collect();
        assert_eq!((folded, told.folded_events), (vec![(2, 8), (1, 3)], 11));
        assert_eq!((told.digest_events, told.digest[0].events), (7, 7));
    }
}
