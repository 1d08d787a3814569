//! How causes were ranked, whether the same evidence still gives the same ranking, and how often the ranking was right.
//!
//! Every ranking is kept with what it was made of. A replay runs the code of today on the evidence of then: where the two differ,
//! the method has changed since, not the memory.

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::extract::{Path, Query};
use super::incidents::{number, read};
use super::{ApiError, ApiState, Problem};
use crate::cause::constants::EXPLAINED;
use crate::cause::{Evidence, Line, Ranking, rank};
use crate::store::{CauseLabel, Incident, IncidentId, IncidentQuery, Label, StoredRanking};

/// Rankings of one answer; no incident keeps as many.
const RANKINGS_MAX: usize = 100;
/// Incidents that scores are counted over.
const SCORED_MAX: usize = 10_000;
/// Incidents whose rankings are read for scores.
const RANKED_MAX: usize = 500;
/// Numbers that went through JSON differ in the last digit.
const EPSILON: f64 = 1e-9;

/// Which rankings.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub struct Wanted {
    /// `true` gives what each ranking was made of, too.
    evidence: Option<bool>,
}

/// A ranking as it was made.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct RankingMade {
    /// When, Unix milliseconds.
    pub at_ms: i64,
    /// What came of it.
    #[schema(value_type = Object)]
    pub ranking: Ranking,
    /// What was known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub evidence: Option<Evidence>,
}

/// Rankings of an incident.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Rankings {
    /// Newest first.
    pub rankings: Vec<RankingMade>,
}

/// How the causes of an incident were ranked, newest first.
#[utoipa::path(get, path = "/api/v1/incidents/{id}/rankings", params(("id" = i64, Path), Wanted),
    responses((status = 200, body = Rankings), (status = 400, body = Problem), (status = 404, body = Problem)))]
pub async fn list(
    State(state): State<ApiState>,
    Path(id): Path<String>,
    Query(wanted): Query<Wanted>,
) -> Result<Json<Rankings>, ApiError> {
    let id = number(&id)?;
    let stored = state.store.rankings(id, RANKINGS_MAX).await?;
    if stored.is_empty() {
        // No ranking, or no incident?
        read(&state, id).await?;
    }
    let whole = wanted.evidence == Some(true);
    let made =
        |r: StoredRanking| RankingMade { at_ms: r.at_ms, ranking: r.ranking, evidence: whole.then_some(r.evidence) };
    Ok(Json(Rankings { rankings: stored.into_iter().map(made).collect() }))
}

/// Which ranking.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub struct At {
    /// The one made at this time, Unix milliseconds; by default the newest.
    at_ms: Option<i64>,
}

/// A ranking made again from the same evidence.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Replay {
    /// Of which incident.
    pub incident: IncidentId,
    /// When the ranking was made first, Unix milliseconds.
    pub at_ms: i64,
    /// Whether the first five, their scores and lines, and the margin are the same.
    pub same: bool,
    /// The first five as they were.
    #[schema(value_type = Object)]
    pub stored: Ranking,
    /// The first five as they are now.
    #[schema(value_type = Object)]
    pub again: Ranking,
}

/// Makes a ranking again from the evidence that is kept with it, and says whether the same comes of it.
#[utoipa::path(get, path = "/api/v1/incidents/{id}/replay", params(("id" = i64, Path), At),
    responses((status = 200, body = Replay), (status = 400, body = Problem), (status = 404, body = Problem)))]
pub async fn replay(
    State(state): State<ApiState>,
    Path(id): Path<String>,
    Query(at): Query<At>,
) -> Result<Json<Replay>, ApiError> {
    let id = number(&id)?;
    let limit = if at.at_ms.is_some() { RANKINGS_MAX } else { 1 };
    let stored = state.store.rankings(id, limit).await?;
    let Some(stored) = stored.into_iter().find(|r| at.at_ms.is_none_or(|at| r.at_ms == at)) else {
        read(&state, id).await?;
        let which = at.at_ms.map_or_else(String::new, |at| format!(" at {at}"));
        let what = format!("a ranking of incident {id}{which}");
        return Err(ApiError::missing(what, "/api/v1/incidents/{id}/rankings lists those that are kept"));
    };
    let StoredRanking { at_ms, evidence, ranking, .. } = stored;
    // A large fleet is some 50 ms of work: others are served meanwhile.
    let again = tokio::task::spawn_blocking(move || rank(&evidence)).await;
    let again = first_five(again.map_err(|_| ApiError::stopping())?);
    let stored = first_five(ranking);
    Ok(Json(Replay { incident: id, at_ms, same: same(&stored, &again), stored, again }))
}

/// A ranking with the causes that have lines.
#[must_use]
pub fn first_five(mut ranking: Ranking) -> Ranking {
    ranking.causes.truncate(EXPLAINED);
    ranking
}

/// Whether two rankings say the same.
fn same(a: &Ranking, b: &Ranking) -> bool {
    a.unsure == b.unsure
        && close(a.margin, b.margin)
        && a.causes.len() == b.causes.len()
        && a.causes.iter().zip(&b.causes).all(|(a, b)| {
            (&a.entity, a.kind, &a.change) == (&b.entity, b.kind, &b.change)
                && close(a.score, b.score)
                && a.evidence.len() == b.evidence.len()
                && a.evidence.iter().zip(&b.evidence).all(|(a, b)| same_line(a, b))
        })
}

fn same_line(a: &Line, b: &Line) -> bool {
    let words = |l: &Line| (l.what, l.subject.clone(), l.unit.clone(), l.since_ms, l.credited_to.clone());
    let near = |a: Option<f64>, b: Option<f64>| match (a, b) {
        (Some(a), Some(b)) => close(a, b),
        (a, b) => a.is_none() && b.is_none(),
    };
    words(a) == words(b) && near(a.from, b.from) && near(a.to, b.to) && close(a.strength, b.strength)
}

fn close(a: f64, b: f64) -> bool {
    (a - b).abs() <= EPSILON * a.abs().max(b.abs()).max(1.0)
}

/// How many incidents have a label.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct LabelCount {
    /// The label.
    pub label: Label,
    /// How many.
    pub incidents: u32,
}

/// How good the incidents and the rankings of their causes were, as people say.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Scores {
    /// Incidents that were looked at: the newest 10,000, without those that Tacit injected itself.
    pub incidents: u32,
    /// By label.
    pub labels: Vec<LabelCount>,
    /// Of those labelled true or false alarm, the share that is true.
    pub precision: Option<f32>,
    /// Incidents of which a person said what the cause was: at most the newest 500.
    pub causes: u32,
    /// Share of them whose first was it (AC@1).
    pub at_1: Option<f32>,
    /// Share that had it among the first three.
    pub at_3: Option<f32>,
    /// Share that had it among the first five.
    pub at_5: Option<f32>,
    /// Of those that the ranking was sure of, the share whose first was it.
    pub at_1_when_sure: Option<f32>,
}

/// The scores, for the API and the page.
///
/// # Errors
/// When the store cannot be asked.
pub async fn read_scores(state: &ApiState) -> Result<Scores, ApiError> {
    let query = IncidentQuery { limit: Some(SCORED_MAX), ..IncidentQuery::default() };
    let mut incidents = state.store.incidents(query).await?;
    incidents.retain(|i| !i.injected);
    let mut found = Vec::new();
    for incident in incidents.iter().filter(|i| i.cause_label.is_some()).take(RANKED_MAX) {
        let place = match &incident.cause_label {
            Some(CauseLabel::Was(name)) => {
                let newest = state.store.rankings(incident.id, 1).await?;
                newest.first().and_then(|r| r.ranking.causes.iter().position(|c| c.entity == *name))
            }
            _ => Some(0),
        };
        found.push((place, incident.cause.as_ref().is_some_and(|c| !c.unsure)));
    }
    Ok(scores(&incidents, &found))
}

/// Scores of incidents, and of the place that the right cause had in each ranking that somebody judged, with whether that was sure.
fn scores(incidents: &[Incident], found: &[(Option<usize>, bool)]) -> Scores {
    let count = |label: Label| incidents.iter().filter(|i| i.label == Some(label)).count();
    let all = [Label::True, Label::FalseAlarm, Label::Maintenance, Label::Duplicate, Label::Unsure];
    let within = |places: usize| {
        let hits = found.iter().filter(|(place, _)| place.is_some_and(|p| p < places)).count();
        share(hits, found.len())
    };
    let sure: Vec<_> = found.iter().filter(|(_, sure)| *sure).collect();
    Scores {
        incidents: number_of(incidents.len()),
        labels: all.map(|label| LabelCount { label, incidents: number_of(count(label)) }).to_vec(),
        precision: share(count(Label::True), count(Label::True) + count(Label::FalseAlarm)),
        causes: number_of(found.len()),
        at_1: within(1),
        at_3: within(3),
        at_5: within(5),
        at_1_when_sure: share(sure.iter().filter(|(place, _)| *place == Some(0)).count(), sure.len()),
    }
}

fn number_of(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

fn share(part: usize, whole: usize) -> Option<f32> {
    (whole > 0).then(|| part as f32 / whole as f32)
}

/// How good the incidents and the rankings of their causes were, counted from what people said of them.
#[utoipa::path(get, path = "/api/v1/scores", responses((status = 200, body = Scores)))]
pub async fn scored(State(state): State<ApiState>) -> Result<Json<Scores>, ApiError> {
    read_scores(&state).await.map(Json)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cause::{Cause, Edge, EdgeKind, EdgeMetric, Entity, Point, Series, What};
    use crate::fixtures::incident;

    fn evidence() -> Evidence {
        let entity = |name: &str| Entity { name: name.into(), ..Entity::default() };
        let window = [0.041, 0.033].map(|value| Point { at_ms: 5, value });
        let series = Series::new([0.000_3, 0.000_31, 0.000_29, 0.000_33, 0.000_3], window);
        let slow = EdgeMetric { kind: EdgeKind::Slowness, series };
        Evidence {
            entities: vec![entity("api"), entity("db"), entity("web")],
            edges: vec![Edge { caller: "api".into(), callee: "db".into(), link: None, metrics: vec![slow] }],
            ..Evidence::default()
        }
    }

    #[test]
    fn a_ranking_that_went_through_json_is_the_same() {
        let made = first_five(rank(&evidence()));
        assert_eq!(made.causes[0].entity, "db");
        let text = serde_json::to_string(&(evidence(), &made)).unwrap();
        let (evidence, stored): (Evidence, Ranking) = serde_json::from_str(&text).unwrap();
        assert!(same(&stored, &first_five(rank(&evidence))));
    }

    #[test]
    fn what_differs_is_seen() {
        let made = first_five(rank(&evidence()));
        let differs = |change: fn(&mut Ranking)| {
            let mut other = made.clone();
            change(&mut other);
            assert!(!same(&made, &other), "{other:?}");
        };
        differs(|r| r.margin += 0.01);
        differs(|r| r.unsure = !r.unsure);
        differs(|r| r.causes.swap(0, 1));
        differs(|r| r.causes[0].score *= 1.001);
        differs(|r| r.causes[0].evidence[0].to = Some(0.05));
        differs(|r| r.causes[0].evidence[0].what = What::Change);
        differs(|r| {
            r.causes.pop();
        });
        let cause: &Cause = &made.causes[0];
        assert!(same_line(&cause.evidence[0], &cause.evidence[0]));
    }

    #[test]
    fn scores_are_shares_of_what_people_judged() {
        let with = |label: Option<Label>| Incident { label, ..incident() };
        let incidents = [Some(Label::True), Some(Label::True), Some(Label::FalseAlarm), None].map(with);
        let found = [(Some(0), true), (Some(2), true), (Some(4), false), (None, false)];
        let scores = scores(&incidents, &found);
        assert_eq!((scores.incidents, scores.causes, scores.labels[0].incidents), (4, 4, 2));
        assert_eq!(scores.precision.map(|p| (p * 300.0).round()), Some(200.0));
        assert_eq!((scores.at_1, scores.at_3, scores.at_5), (Some(0.25), Some(0.5), Some(0.75)));
        assert_eq!(scores.at_1_when_sure, Some(0.5));
        assert_eq!(super::scores(&[], &[]).at_1, None);
    }
}
