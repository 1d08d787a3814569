//! The collector's own metrics in the exposition format.

use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::{ApiError, ApiState};

type Labels = Vec<(&'static str, &'static str)>;

/// `/metrics`: what came in, what is known, what is open.
#[utoipa::path(get, path = "/metrics", responses((status = 200, content_type = "application/openmetrics-text")))]
pub async fn metrics(State(state): State<ApiState>) -> Result<Response, ApiError> {
    let totals = state.store.totals().await?;
    let counts = state.ingest.counters.now();
    let mut registry = Registry::with_prefix("tacit_collector");
    let mut counter = |name: &str, help: &str, value: u64| {
        let metric = Counter::<u64>::default();
        metric.inc_by(value);
        registry.register(name, help, metric);
    };
    counter("messages_received", "Messages received from nodes", counts.messages);
    counter("received_bytes", "Payload bytes received from nodes", counts.bytes);
    counter("messages_stored", "Messages stored", counts.stored);
    counter("messages_duplicate", "Messages that were stored before", counts.duplicates);
    counter("store_failures", "Commits that failed and were tried again", counts.store_failures);
    let refused = Family::<Labels, Counter>::default();
    for (reason, count) in counts.refused {
        refused.get_or_create(&vec![("reason", reason)]).inc_by(count);
    }
    registry.register("messages_refused", "Messages refused, by reason", refused);
    let nodes = Family::<Labels, Gauge>::default();
    nodes.get_or_create(&vec![("presence", "online")]).set(totals.nodes_online as i64);
    nodes.get_or_create(&vec![("presence", "offline")]).set((totals.nodes - totals.nodes_online) as i64);
    registry.register("nodes", "Nodes known, by presence", nodes);
    let mut gauge = |name: &str, help: &str, value: u64| {
        let metric = Gauge::<i64>::default();
        metric.set(value as i64);
        registry.register(name, help, metric);
    };
    gauge("series", "Series sampled on online nodes", totals.series);
    gauge("incidents_open", "Incidents that are not resolved", totals.incidents_open);
    gauge("store_bytes", "Size of the database", totals.bytes);
    let mut text = String::new();
    // Writing to a String cannot fail.
    let _ = encode(&mut text, &registry);
    Ok(([(header::CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")], text).into_response())
}
