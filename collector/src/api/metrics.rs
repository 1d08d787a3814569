//! The collector's own metrics in the exposition format.

use std::sync::atomic::AtomicU64;

use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use prometheus_client::encoding::text::{encode_eof, encode_registry};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::{ApiError, ApiState};
use crate::clock::now_ms;
use crate::notify::config::Kind;
use crate::notify::delivery::Outcome;

/// Edges of the service graph, the busiest: a scraper keeps a series for each.
const GRAPH_MAX: usize = 2000;

type EdgeLabels = Vec<(&'static str, String)>;
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
    let alerts = Family::<Labels, Counter>::default();
    for (outcome, count) in state.interop.alerts.counts() {
        alerts.get_or_create(&vec![("outcome", outcome)]).inc_by(count);
    }
    registry.register("alerts_received", "Alerts of others, by what became of them", alerts);
    notify(&state, &mut registry);
    let nodes = Family::<Labels, Gauge>::default();
    nodes.get_or_create(&vec![("presence", "online")]).set(totals.nodes_online as i64);
    nodes.get_or_create(&vec![("presence", "offline")]).set((totals.nodes - totals.nodes_online) as i64);
    registry.register("nodes", "Nodes known, by presence", nodes);
    map(&state, &mut registry);
    let mut gauge = |name: &str, help: &str, value: u64| {
        let metric = Gauge::<i64>::default();
        metric.set(value as i64);
        registry.register(name, help, metric);
    };
    gauge("series", "Series sampled on online nodes", totals.series);
    gauge("incidents_open", "Incidents that are not resolved", totals.incidents_open);
    gauge("store_bytes", "Size of the database", totals.bytes);
    let mut text = String::new();
    // Writing to a String cannot fail, here and below.
    let _ = encode_registry(&mut text, &registry);
    let _ = encode_registry(&mut text, &service_graph(&state));
    let _ = encode_eof(&mut text);
    Ok(([(header::CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")], text).into_response())
}

/// What was told, to whom it cannot be told, and what the promise is.
fn notify(state: &ApiState, registry: &mut Registry) {
    let told = Family::<Labels, Counter>::default();
    for kind in Kind::ALL {
        for outcome in Outcome::ALL {
            let labels = vec![("kind", kind.as_str()), ("outcome", outcome.as_str())];
            told.get_or_create(&labels).inc_by(state.notify.counted(kind, outcome));
        }
    }
    registry.register("notifications", "Tries to tell a receiver, by its kind and what became of them", told);
    let incidents = Family::<Labels, Gauge>::default();
    for (name, count) in state.notify.states() {
        incidents.get_or_create(&vec![("state", name)]).set(count as i64);
    }
    registry.register("incidents", "Incidents that are not resolved, by state", incidents);
    let (promised, actual) = state.notify.pages(now_ms());
    let gauge = Gauge::<f64, AtomicU64>::default();
    gauge.set(promised.unwrap_or(0.0));
    registry.register("pages_promised", "Pages that a week may have, 0 when nothing is promised", gauge);
    let mut gauge = |name: &str, help: &str, value: u64| {
        let metric = Gauge::<i64>::default();
        metric.set(value as i64);
        registry.register(name, help, metric);
    };
    gauge("pages_actual", "Incidents of the last week that were worth a page", actual);
    gauge("receivers", "Receivers of notifications", state.notify.receivers().len() as u64);
    gauge("receivers_failing", "Receivers that take nothing", state.notify.failing().len() as u64);
}

/// What is left out of the map, and what the resolver was asked.
fn map(state: &ApiState, registry: &mut Registry) {
    let left = state.map.left_out();
    let edges = Family::<Labels, Counter>::default();
    for (reason, count) in [("unusable", left.unusable), ("beyond", left.beyond), ("absurd", left.absurd)] {
        edges.get_or_create(&vec![("reason", reason)]).inc_by(count);
    }
    registry.register("map_edges_refused", "Edges left out of the map or cut, by reason", edges);
    let asked = state.map.questions();
    let answers = Family::<Labels, Counter>::default();
    for (answer, count) in [("name", asked.named), ("none", asked.nameless), ("failed", asked.failed)] {
        answers.get_or_create(&vec![("answer", answer)]).inc_by(count);
    }
    registry.register("reverse_dns_answers", "Answers of the resolver about outside addresses", answers);
    let mut counter = |name: &str, help: &str, value: u64| {
        let metric = Counter::<u64>::default();
        metric.inc_by(value);
        registry.register(name, help, metric);
    };
    counter("reverse_dns_questions", "Questions about outside addresses", asked.asked);
    counter("map_close_events_lost", "Close events of connections that nodes lost", left.overflows);
    counter("map_changes_left_out", "Changes of the map that were too many at once", left.changes);
}

/// The map under the names of OpenTelemetry's service graph, which Grafana draws. What is counted are connections: nobody
/// here sees requests.
fn service_graph(state: &ApiState) -> Registry {
    let (all, failed) = (Family::<EdgeLabels, Counter>::default(), Family::<EdgeLabels, Counter>::default());
    state.map.totals(GRAPH_MAX, |client, server, port, connects, failures| {
        let kind = connection_type(port, server);
        let labels =
            vec![("client", client.to_owned()), ("server", server.to_owned()), ("connection_type", kind.to_owned())];
        all.get_or_create(&labels).inc_by(connects);
        failed.get_or_create(&labels).inc_by(failures);
    });
    let mut registry = Registry::default();
    registry.register("traces_service_graph_request", "Connections between two services", all);
    registry.register("traces_service_graph_request_failed", "Connects between two services that failed", failed);
    registry
}

/// What the specification tells apart: databases, messaging, and ends that are no service of ours.
fn connection_type(port: u16, server: &str) -> &'static str {
    match port {
        1433 | 1521 | 3306 | 5432 | 6379 | 9042 | 11211 | 27017 => "database",
        1883 | 4222 | 5672 | 8883 | 9092 => "messaging_system",
        _ if server.starts_with("ext:") => "virtual_node",
        _ => "",
    }
}
