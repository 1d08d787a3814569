//! Nodes, their series, and what they say when asked.

use std::convert::Infallible;
use std::time::Duration;

use axum::Json;
use axum::extract::{RawQuery, State};
use axum::response::Sse;
use axum::response::sse::Event;
use futures_util::Stream;
use futures_util::stream::unfold;
use serde::{Deserialize, Serialize};
use tacit_wire::limits::{MAINTENANCE_S, REASON};
use tacit_wire::message::{CommandKind, ResultBody};
use tacit_wire::{NodeId, SeriesDef};
use tokio::time::Instant;
use utoipa::{IntoParams, ToSchema};

use super::events::{limit, node_id};
use super::extract::{Body, Path, Query};
use super::live::{event, sse};
use super::{ApiError, ApiState, Problem};
use crate::clock::now_ms;
use crate::store::{NodeRecord, PointQuery, SeriesPoints};

/// Nodes of one answer.
const PAGE: usize = 1000;
/// Length of a watch lease; it is renewed while somebody looks.
const LEASE: Duration = Duration::from_secs(30);
/// Longest wait for an answer.
const ANSWER: Duration = Duration::from_secs(10);
/// Most parts of a diagnosis; what a node says beyond them is not read.
const PARTS_MAX: usize = 32;
/// Most values of one answer: about 30 MB of JSON, or the usual six hours of 1388 series.
const POINTS_MAX: i64 = 500_000;
const MINUTE_MS: i64 = 60_000;
const DAY_MS: i64 = 86_400_000;

/// Which nodes to list.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub struct NodeFilter {
    /// Only those whose name comes after this one: `next` of the answer before.
    after: Option<String>,
    /// Most nodes to list, 1 to 1000, by default 1000.
    limit: Option<usize>,
}

/// A list of nodes.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Nodes {
    /// By name.
    pub nodes: Vec<NodeRecord>,
    /// There are more: ask again with this as `after`.
    #[schema(value_type = Option<String>)]
    pub next: Option<NodeId>,
}

/// Nodes by name, for the API and the page.
///
/// # Errors
/// When the filter makes no sense or the store cannot be asked.
pub async fn page(state: &ApiState, filter: &NodeFilter) -> Result<Nodes, ApiError> {
    let after = filter.after.as_deref().map(node_id).transpose()?;
    let most = limit(Some(filter.limit.unwrap_or(PAGE)))?;
    let mut nodes = state.store.nodes(after.as_ref(), most + 1).await?;
    let more = nodes.len() > most;
    nodes.truncate(most);
    let next = nodes.last().filter(|_| more).map(|n| n.node.clone());
    Ok(Nodes { nodes, next })
}

/// Nodes by name.
#[utoipa::path(get, path = "/api/v1/nodes", params(NodeFilter),
    responses((status = 200, body = Nodes), (status = 400, body = Problem)))]
pub async fn list(State(state): State<ApiState>, Query(filter): Query<NodeFilter>) -> Result<Json<Nodes>, ApiError> {
    Ok(Json(page(&state, &filter).await?))
}

/// One node, for the API and the page.
///
/// # Errors
/// When it is not there or the store cannot be asked.
pub async fn read(state: &ApiState, node: &str) -> Result<NodeRecord, ApiError> {
    let id = node_id(node)?;
    state
        .store
        .node(&id)
        .await?
        .ok_or_else(|| ApiError::missing(format!("node {node}"), "/api/v1/nodes lists the nodes"))
}

/// One node.
#[utoipa::path(get, path = "/api/v1/nodes/{node}", params(("node" = String, Path)),
    responses((status = 200, body = NodeRecord), (status = 400, body = Problem), (status = 404, body = Problem)))]
pub async fn one(State(state): State<ApiState>, Path(node): Path<String>) -> Result<Json<NodeRecord>, ApiError> {
    read(&state, &node).await.map(Json)
}

/// The series of a node.
#[derive(Debug, Serialize, ToSchema)]
pub struct Series {
    /// By number.
    #[schema(value_type = Vec<Object>)]
    pub series: Vec<SeriesDef>,
}

/// The series a node samples.
#[utoipa::path(get, path = "/api/v1/nodes/{node}/series", params(("node" = String, Path)),
    responses((status = 200, body = Series), (status = 400, body = Problem), (status = 404, body = Problem)))]
pub async fn series(State(state): State<ApiState>, Path(node): Path<String>) -> Result<Json<Series>, ApiError> {
    let record = read(&state, &node).await?;
    Ok(Json(Series { series: state.store.dictionary(&record.node).await? }))
}

/// Minute values.
#[derive(Debug, Serialize, ToSchema)]
pub struct Points {
    /// One entry a series.
    pub series: Vec<SeriesPoints>,
}

/// Minute values of a node's series. `series` (a label, repeatable) chooses; `from` and `to` are Unix milliseconds and by default
/// the last six hours. One answer holds at most 500,000 minutes, counted over all series.
#[utoipa::path(get, path = "/api/v1/nodes/{node}/points",
    params(("node" = String, Path), ("series" = Option<Vec<String>>, Query), ("from" = Option<i64>, Query), ("to" = Option<i64>, Query)),
    responses((status = 200, body = Points), (status = 400, body = Problem), (status = 404, body = Problem)))]
pub async fn points(
    State(state): State<ApiState>,
    Path(node): Path<String>,
    RawQuery(query): RawQuery,
) -> Result<Json<Points>, ApiError> {
    let record = read(&state, &node).await?;
    let now = now_ms();
    let mut asked =
        PointQuery { node: record.node, series: Vec::new(), from_ms: now - 6 * 3_600_000, to_ms: now + 60_000 };
    for (key, value) in pairs(query.as_deref().unwrap_or_default()) {
        let time = || {
            value
                .parse::<i64>()
                .map_err(|_| ApiError::bad(format!("{key} is not a time: {value:?}"), "write Unix milliseconds"))
        };
        match key.as_str() {
            "series" => asked.series.push(value),
            "from" => asked.from_ms = time()?,
            "to" => asked.to_ms = time()?,
            _ => return Err(ApiError::bad(format!("there is no parameter {key:?}"), "allowed are series, from, to")),
        }
    }
    check_size(&state, &asked, now).await?;
    let labels = asked.series.clone();
    let series = state.store.points(asked).await?;
    if let Some(unknown) = labels.into_iter().find(|label| !series.iter().any(|s| s.series.label() == *label)) {
        let what = format!("series {unknown:?} of {node}");
        return Err(ApiError::missing(what, "/api/v1/nodes/{node}/series lists them; write name{key=value,…}"));
    }
    Ok(Json(Points { series }))
}

/// Refuses a time that ends before it begins, and one of more values than an answer should hold.
async fn check_size(state: &ApiState, asked: &PointQuery, now_ms: i64) -> Result<(), ApiError> {
    if asked.from_ms > asked.to_ms {
        return Err(ApiError::bad("from is after to", "swap them"));
    }
    let series = match asked.series.len() {
        0 => state.store.dictionary(&asked.node).await?.len(),
        n => n,
    };
    // Nothing older is kept, and nothing newer is there.
    let kept = now_ms - i64::from(state.retention.points_days) * DAY_MS..=now_ms + MINUTE_MS;
    let within = |at: i64| at.clamp(*kept.start(), *kept.end());
    let minutes = (within(asked.to_ms) - within(asked.from_ms)) / MINUTE_MS;
    let values = minutes.saturating_mul(i64::try_from(series).unwrap_or(i64::MAX));
    if values > POINTS_MAX {
        let message = format!("that would be up to {values} values, more than the {POINTS_MAX} of one answer");
        return Err(ApiError::bad(message, "choose series, or a shorter time with from and to"));
    }
    Ok(())
}

/// Keys and values of a query or a form, decoded; a key may be there more than once.
pub(super) fn pairs(query: &str) -> Vec<(String, String)> {
    let decode = |text: &str| {
        let mut bytes = Vec::with_capacity(text.len());
        let mut rest = text.bytes();
        while let Some(b) = rest.next() {
            let mut hex =
                || Some((char::from(rest.next()?).to_digit(16)? << 4 | char::from(rest.next()?).to_digit(16)?) as u8);
            bytes.push(match b {
                b'+' => b' ',
                b'%' => hex().unwrap_or(b'%'),
                b => b,
            });
        }
        String::from_utf8_lossy(&bytes).into_owned()
    };
    let pairs = query.split('&').filter(|p| !p.is_empty());
    pairs.map(|p| p.split_once('=').unwrap_or((p, ""))).map(|(k, v)| (decode(k), decode(v))).collect()
}

/// What a node's `doctor` says.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Diagnosis {
    /// Words for people.
    pub text: String,
}

/// Asks the node how it is.
#[utoipa::path(get, path = "/api/v1/nodes/{node}/diagnose", params(("node" = String, Path)),
    responses((status = 200, body = Diagnosis), (status = 400, body = Problem), (status = 404, body = Problem),
        (status = 503, body = Problem), (status = 504, body = Problem)))]
pub async fn diagnose(State(state): State<ApiState>, Path(node): Path<String>) -> Result<Json<Diagnosis>, ApiError> {
    let record = read(&state, &node).await?;
    words(&state, &record, CommandKind::Diagnose).await
}

/// Work on a machine.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Maintenance {
    /// For how long from now on, at most 604,800 (7 days); 0 ends it.
    seconds: u32,
    /// Why, at most 200 bytes.
    #[serde(default)]
    reason: String,
}

/// Says to a node that somebody works on it: until that ends it learns nothing and none of its models raises an alarm. Rules go on.
#[utoipa::path(post, path = "/api/v1/nodes/{node}/maintenance", params(("node" = String, Path)), request_body = Maintenance,
    responses((status = 200, body = Diagnosis), (status = 400, body = Problem), (status = 404, body = Problem),
        (status = 413, body = Problem), (status = 415, body = Problem), (status = 503, body = Problem),
        (status = 504, body = Problem)))]
pub async fn maintenance(
    State(state): State<ApiState>,
    Path(node): Path<String>,
    Body(asked): Body<Maintenance>,
) -> Result<Json<Diagnosis>, ApiError> {
    if asked.seconds > MAINTENANCE_S || asked.reason.len() > REASON {
        let (seconds, reason) = (asked.seconds, asked.reason.len());
        let what =
            format!("{seconds} s with a reason of {reason} bytes: {MAINTENANCE_S} s and {REASON} bytes are the most");
        return Err(ApiError::bad(what, "mark less, and again when that is over"));
    }
    let record = read(&state, &node).await?;
    words(&state, &record, CommandKind::Maintain { seconds: asked.seconds, reason: asked.reason }).await
}

/// Asks a node for an answer in words.
async fn words(state: &ApiState, record: &NodeRecord, kind: CommandKind) -> Result<Json<Diagnosis>, ApiError> {
    let mut asked = state.ingest.commands.ask(&record.site, &record.node, kind, ANSWER).ok_or_else(ApiError::busy)?;
    let mut text = String::new();
    for _ in 0..PARTS_MAX {
        let part = tokio::select! {
            () = state.stop.cancelled() => return Err(ApiError::stopping()),
            part = asked.part(ANSWER) => part.ok_or_else(|| ApiError::no_answer(&record.node))?,
        };
        match part.body {
            Some(ResultBody::Text { text: more }) => text.push_str(&more),
            Some(ResultBody::Refused { reason }) => text.push_str(&reason),
            _ => {}
        }
        if part.last {
            break;
        }
    }
    Ok(Json(Diagnosis { text }))
}

/// Full-rate samples as server-sent events, for as long as somebody looks: `frames` with `{epoch, start_ms, step_ms, ids,
/// frames}`, `silent` when the node does not answer. The stream ends when its reader is too slow for what the node sends.
#[utoipa::path(get, path = "/api/v1/nodes/{node}/watch", params(("node" = String, Path)),
    responses((status = 200, content_type = "text/event-stream"), (status = 400, body = Problem), (status = 404, body = Problem),
        (status = 503, body = Problem)))]
pub async fn watch(
    State(state): State<ApiState>,
    Path(node): Path<String>,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, ApiError> {
    let record = read(&state, &node).await?;
    let lease = || CommandKind::Watch { seconds: LEASE.as_secs() as u32 };
    let asked = state.ingest.commands.ask(&record.site, &record.node, lease(), LEASE).ok_or_else(ApiError::busy)?;
    let renew_at = Instant::now() + LEASE / 2;
    Ok(sse(unfold((state, record, asked, renew_at), move |(state, record, mut asked, mut renew_at)| async move {
        loop {
            let asked_at = Instant::now();
            let part = tokio::select! {
                () = state.stop.cancelled() => return None,
                part = asked.part(ANSWER) => part,
            };
            if part.is_none() && asked_at.elapsed() < ANSWER {
                // Too many parts waited for this reader, and the answer broke off: the next ones would come to nobody.
                return None;
            }
            if Instant::now() >= renew_at {
                renew_at = Instant::now() + LEASE / 2;
                state.ingest.commands.renew(&asked, &record.site, &record.node, lease(), LEASE);
            }
            let told = match part.map(|p| p.body) {
                None => {
                    // It may come back: ask again, under the same number.
                    renew_at = Instant::now();
                    event("silent", &serde_json::json!({}))
                }
                Some(Some(body @ ResultBody::Frames { .. })) => match &body {
                    ResultBody::Frames { epoch, start_ms, step_ms, ids, frames } => event(
                        "frames",
                        &serde_json::json!({ "epoch": epoch, "start_ms": start_ms, "step_ms": step_ms, "ids": ids, "frames": frames }),
                    ),
                    _ => continue,
                },
                Some(_) => continue,
            };
            return Some((Ok(told), (state, record, asked, renew_at)));
        }
    })))
}

#[cfg(test)]
mod tests {
    use super::pairs;

    #[test]
    fn queries_are_decoded() {
        let found = pairs("series=a%7Bb%3Dc%7D&series=x+y&from=1&bad=%zz");
        let text = |k: &str, v: &str| (k.to_owned(), v.to_owned());
        assert_eq!(found[..3], [text("series", "a{b=c}"), text("series", "x y"), text("from", "1")]);
        assert_eq!(found[3].0, "bad");
    }
}
