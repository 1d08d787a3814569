//! What happens, as server-sent events.

use std::convert::Infallible;
use std::time::Duration;

use axum::extract::State;
use axum::response::Sse;
use axum::response::sse::{Event, KeepAlive};
use futures_util::Stream;
use futures_util::stream::unfold;
use serde::Serialize;
use serde_json::json;
use tokio::sync::broadcast::error::RecvError;

use super::ApiState;
use crate::ingest::Live;

/// Keeps proxies from closing a quiet stream.
const KEEP_ALIVE: Duration = Duration::from_secs(20);

/// A stream of server-sent events that keeps itself alive.
pub fn sse<S: Stream<Item = Result<Event, Infallible>> + Send + 'static>(
    stream: S,
) -> Sse<axum::response::sse::KeepAliveStream<S>> {
    Sse::new(stream).keep_alive(KeepAlive::new().interval(KEEP_ALIVE))
}

/// One event: a name and JSON data.
pub fn event(name: &str, data: &impl Serialize) -> Event {
    let text = serde_json::to_string(data).unwrap_or_else(|e| json!({ "error": e.to_string() }).to_string());
    Event::default().event(name).data(text)
}

/// What happens, as it happens: `event` with the event, `incident` with the incident, `node` with its name, `lost` when this
/// listener was too slow and missed some.
#[utoipa::path(get, path = "/api/v1/live", responses((status = 200, content_type = "text/event-stream")))]
pub async fn live(State(state): State<ApiState>) -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    let receiver = state.ingest.live.subscribe();
    sse(unfold((state, receiver), |(state, mut receiver)| async move {
        loop {
            let next = tokio::select! {
                () = state.stop.cancelled() => return None,
                next = receiver.recv() => next,
            };
            let told = match next {
                Ok(Live::Event(node, id)) => match state.store.event(&node, id).await {
                    Ok(Some(record)) => event("event", &record),
                    _ => continue,
                },
                Ok(Live::Incident(incident)) => event("incident", &incident),
                Ok(Live::Node(node)) => event("node", &json!({ "node": node })),
                Ok(Live::Summary(node)) => event("summary", &json!({ "node": node })),
                Err(RecvError::Lagged(missed)) => event("lost", &json!({ "missed": missed })),
                Err(RecvError::Closed) => return None,
            };
            return Some((Ok(told), (state, receiver)));
        }
    }))
}
