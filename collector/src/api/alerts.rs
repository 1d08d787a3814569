//! Alerts of others in the form of Alertmanager's API v2, as far as those need it who send alerts: Prometheus lists the collector
//! under `alerting` as it lists an Alertmanager.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::{RawQuery, Request, State};
use axum::http::StatusCode;
use futures_util::StreamExt as _;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::{IntoParams, ToSchema};

use super::alert_filter::Wanted;
use super::nodes::pairs;
use super::{ApiError, ApiState, Problem};
use crate::clock::now_ms;
use crate::interop::alerts::{AT_ONCE_MAX, Taken};
use crate::interop::posted::fingerprint;
use crate::store::EventRecord;

/// Largest body of alerts.
const BODY_MAX: usize = 4 << 20;
/// What of a larger body is read and forgotten, so that its sender hears why it was refused.
const READ_MAX: usize = 64 << 20;
/// Alerts that are named in an answer that refuses some.
const NAMED: usize = 5;
/// What an alert has to be, for who sent something else.
const HINT: &str = "docs/INCIDENTS.md, \"Where events come from\", says what an alert needs";
/// What can be asked for.
const ASKED: &str = "allowed are active, silenced, inhibited, unprocessed (true or false), filter (a matcher as job=\"api\") and receiver (a regular expression)";
/// Who has the alerts that are taken here.
const RECEIVER: &str = "tacit";

/// An alert as it is sent.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct PostableAlert {
    /// Which alert it is; `alertname` is needed.
    pub labels: BTreeMap<String, String>,
    /// What it says: `summary`, else `description`.
    #[serde(default)]
    pub annotations: BTreeMap<String, String>,
    /// When it began, as 2026-11-23T12:03:10Z; by default now.
    pub starts_at: Option<String>,
    /// When it is over unless it is sent again; by default in five minutes. It is over when this is past.
    pub ends_at: Option<String>,
    /// Where more can be read.
    #[serde(rename = "generatorURL")]
    pub generator_url: Option<String>,
}

/// Who has an alert.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct AlertReceiver {
    /// Its name.
    pub name: String,
}

/// Whether an alert is muted.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct AlertStatus {
    /// `active`: incidents are muted here, not alerts.
    pub state: String,
    /// By nothing.
    pub silenced_by: Vec<String>,
    /// By nothing.
    pub inhibited_by: Vec<String>,
    /// By nothing.
    pub muted_by: Vec<String>,
}

/// An alert that is open.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct GettableAlert {
    /// Which alert it is.
    pub labels: BTreeMap<String, String>,
    /// What it says, as `summary`.
    pub annotations: BTreeMap<String, String>,
    /// When it began.
    pub starts_at: String,
    /// When it is over unless it is sent again.
    pub ends_at: String,
    /// When it came first.
    pub updated_at: String,
    /// Where more can be read.
    #[serde(rename = "generatorURL", default, skip_serializing_if = "Option::is_none")]
    pub generator_url: Option<String>,
    /// A number of its labels.
    pub fingerprint: String,
    /// Who has it.
    pub receivers: Vec<AlertReceiver>,
    /// Whether it is muted.
    pub status: AlertStatus,
}

impl GettableAlert {
    fn of(record: EventRecord) -> Option<Self> {
        let outside = record.outside?;
        Some(Self {
            fingerprint: fingerprint(&outside.labels).to_string().chars().take(16).collect(),
            annotations: BTreeMap::from([("summary".to_owned(), record.event.text)]),
            starts_at: written(record.onset_ms),
            ends_at: written(outside.expires_ms.unwrap_or(record.onset_ms)),
            updated_at: written(record.received_ms),
            generator_url: outside.url,
            labels: outside.labels,
            receivers: vec![AlertReceiver { name: RECEIVER.to_owned() }],
            status: AlertStatus {
                state: "active".to_owned(),
                silenced_by: Vec::new(),
                inhibited_by: Vec::new(),
                muted_by: Vec::new(),
            },
        })
    }
}

/// A time as it is written in this API.
fn written(ms: i64) -> String {
    Timestamp::from_millisecond(ms).unwrap_or(Timestamp::UNIX_EPOCH).to_string()
}

/// The body of a request. What is too large is read to its end, or the sender would see a broken connection and no words.
async fn body(request: Request) -> Result<Vec<u8>, ApiError> {
    let mut parts = request.into_body().into_data_stream();
    let (mut bytes, mut size) = (Vec::new(), 0_usize);
    while let Some(part) = parts.next().await {
        let part = part.map_err(|_| ApiError::bad("the body broke off", "send it again"))?;
        size = size.saturating_add(part.len());
        if size > READ_MAX {
            break;
        }
        if size <= BODY_MAX {
            bytes.extend_from_slice(&part);
        } else {
            bytes = Vec::new();
        }
    }
    if size > BODY_MAX { Err(ApiError::too_large(BODY_MAX)) } else { Ok(bytes) }
}

/// Takes alerts in: new ones, repetitions, and their ends. What can be used is taken, also when others beside it are refused.
#[utoipa::path(post, path = "/api/v2/alerts", request_body = Vec<PostableAlert>,
    responses((status = 200), (status = 400, body = Problem), (status = 413, body = Problem), (status = 415, body = Problem)))]
pub async fn take(State(state): State<ApiState>, request: Request) -> Result<StatusCode, ApiError> {
    let bytes = body(request).await?;
    let posted: Vec<Value> = serde_json::from_slice(&bytes)
        .map_err(|e| ApiError::bad(format!("the body is no array of alerts: {e}"), HINT))?;
    if posted.len() > AT_ONCE_MAX {
        let words = format!("{} alerts at once, at most {AT_ONCE_MAX} are allowed", posted.len());
        return Err(ApiError::bad(words, "send them in parts"));
    }
    let taken = state.interop.alerts.take(&posted, now_ms()).await?;
    if taken.wrong.is_empty() { Ok(StatusCode::OK) } else { Err(refusal(&taken)) }
}

/// Which alerts were refused, and why.
fn refusal(taken: &Taken) -> ApiError {
    let named = taken.wrong.iter().take(NAMED).map(|(place, why)| format!("alerts[{place}]: {why}"));
    let mut words = named.collect::<Vec<_>>().join("; ");
    if taken.wrong.len() > NAMED {
        words.push_str(&format!("; and {} more", taken.wrong.len() - NAMED));
    }
    if taken.taken > 0 {
        words.push_str(&format!("; the other {} were taken", taken.taken));
    }
    ApiError::bad(words, HINT)
}

/// Which alerts are asked for, as Alertmanager's tools ask.
#[derive(Debug, Default, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct AlertFilter {
    /// Those that are open; all are.
    active: Option<bool>,
    /// Those that are silenced; none is.
    silenced: Option<bool>,
    /// Those that are inhibited; none is.
    inhibited: Option<bool>,
    /// Those that are unprocessed; none is.
    unprocessed: Option<bool>,
    /// Only those whose labels a matcher fits, as `severity="page"`, `job!=api`, `instance=~"web-.*"`, `team!~"a|b"`; of several,
    /// each in a parameter of its own, all have to. At most 20.
    filter: Option<Vec<String>>,
    /// Only those of a receiver that this regular expression fits; the only one is `tacit`.
    receiver: Option<String>,
}

impl AlertFilter {
    /// What a query asks for. `filter` may be there more than once, which no derived reading allows.
    fn read(query: &str) -> Result<Self, ApiError> {
        let mut asked = Self::default();
        for (key, value) in pairs(query) {
            let flag = || match value.as_str() {
                "true" => Ok(Some(true)),
                "false" => Ok(Some(false)),
                _ => Err(ApiError::bad(format!("{key} is neither true nor false: {value:?}"), ASKED)),
            };
            match key.as_str() {
                "active" => asked.active = flag()?,
                "silenced" => asked.silenced = flag()?,
                "inhibited" => asked.inhibited = flag()?,
                "unprocessed" => asked.unprocessed = flag()?,
                "filter" => asked.filter.get_or_insert_default().push(value),
                "receiver" => asked.receiver = Some(value),
                _ => return Err(ApiError::bad(format!("there is no parameter {key:?}"), ASKED)),
            }
        }
        Ok(asked)
    }
}

/// Alerts that are open, at most 10000.
#[utoipa::path(get, path = "/api/v2/alerts", params(AlertFilter),
    responses((status = 200, body = Vec<GettableAlert>), (status = 400, body = Problem)))]
pub async fn list(
    State(state): State<ApiState>,
    RawQuery(query): RawQuery,
) -> Result<Json<Vec<GettableAlert>>, ApiError> {
    let asked = AlertFilter::read(query.as_deref().unwrap_or_default())?;
    let wanted = Wanted::new(asked.filter.as_deref().unwrap_or_default(), asked.receiver.as_deref())
        .map_err(|words| ApiError::bad(words, ASKED))?;
    let only_others = [asked.silenced, asked.inhibited, asked.unprocessed].contains(&Some(true));
    if asked.active == Some(false) || (only_others && asked.active.is_none()) {
        return Ok(Json(Vec::new()));
    }
    let open = state.interop.alerts.list(now_ms()).await?;
    // Patterns of strangers on values of strangers take their time.
    let choose = move || -> Vec<GettableAlert> {
        let all = open.into_iter().filter_map(GettableAlert::of);
        all.filter(|alert| wanted.fits(&alert.labels, RECEIVER)).collect()
    };
    let chosen = tokio::task::spawn_blocking(choose).await;
    chosen.map(Json).map_err(|e| ApiError::failed(format!("alerts could not be chosen: {e}")))
}

/// The collector as an Alertmanager without peers.
#[utoipa::path(get, path = "/api/v2/status", responses((status = 200)))]
pub async fn status(State(state): State<ApiState>) -> Json<Value> {
    Json(json!({
        "cluster": { "name": RECEIVER, "status": "disabled", "peers": [] },
        "config": { "original": "" },
        "uptime": written(state.started_ms),
        "versionInfo": {
            "version": env!("CARGO_PKG_VERSION"),
            "branch": "",
            "buildDate": "",
            "buildUser": "",
            "goVersion": "",
            "revision": "",
        },
    }))
}

/// As Alertmanager says that it lives.
#[utoipa::path(get, path = "/-/healthy", responses((status = 200)))]
pub async fn healthy() -> &'static str {
    "OK\n"
}

/// As Alertmanager says that it is ready.
#[utoipa::path(get, path = "/-/ready", responses((status = 200), (status = 503)))]
pub async fn ready(State(state): State<ApiState>) -> (StatusCode, &'static str) {
    super::status::readyz(State(state)).await
}
