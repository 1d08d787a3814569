//! The HTTP interface: `/api/v1`, one file a resource, and the console's pages beside it.
//!
//! Answers are JSON made of the store's types; `/api/v1/openapi.json` describes them. Errors are
//! `{"error":{"code","message","hint"}}`. What changes something takes JSON only and only from the same origin, and a collector
//! on loopback answers to loopback names only: a page elsewhere cannot reach it through a visitor's browser. Who may ask for what is said in
//! `access::roles`.

mod access_log;
mod admit;
mod alert_filter;
mod alerts;
mod changes;
pub mod digest;
pub mod enrol;
mod error;
mod events;
mod extract;
mod guard;
pub mod identity;
mod incidents;
mod live;
pub mod map;
pub mod me;
mod metrics;
mod nodes;
pub mod notify;
mod openapi;
pub mod quiet;
pub mod rankings;
pub mod status;
pub mod tokens;
pub mod users;

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware;
use axum::routing::{any, get, post};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tracing::error;

pub use access_log::AccessLog;
pub use admit::{Asker, CSRF_FIELD, Fields};
pub use error::{ApiError, Problem};
pub use extract::{Path, Query};
pub use incidents::{Filter as IncidentFilter, Incidents, SplitParts, find as incidents, read as incident};
pub use nodes::{NodeFilter, page as nodes, read as node};
pub use openapi::ApiDoc;

use crate::access::Access;
use crate::console;
use crate::identity::Identity;
use crate::ingest::Ingest;
use crate::interop::Interop;
use crate::map::Map;
use crate::notify::Desk;
use crate::store::{Retention, Store};
use crate::tls::TlsListener;

/// Largest request body.
const BODY_MAX: usize = 64 * 1024;

/// What handlers need.
#[derive(Debug, Clone)]
pub struct ApiState {
    /// What is kept.
    pub store: Arc<dyn Store>,
    /// What comes in.
    pub ingest: Arc<Ingest>,
    /// Who talks to whom.
    pub map: Arc<Map>,
    /// What others say.
    pub interop: Arc<Interop>,
    /// Who is told of incidents.
    pub notify: Arc<Desk>,
    /// Who may ask.
    pub access: Arc<Access>,
    /// Who the nodes are.
    pub identity: Arc<Identity>,
    /// When the collector started, Unix milliseconds.
    pub started_ms: i64,
    /// Whether what it is told is made up.
    pub demo: bool,
    /// How long things are kept.
    pub retention: Retention,
    /// Where this listens.
    pub http: SocketAddr,
    /// Where the embedded broker listens.
    pub mqtt: Option<SocketAddr>,
    /// Set when the collector ends: streams end with it.
    pub stop: CancellationToken,
}

/// All routes of `/api/v1`, relative to it; a test of `openapi` reads them here and compares them with the description.
fn v1() -> Router<ApiState> {
    Router::new()
        .route("/status", get(status::status))
        .route("/nodes", get(nodes::list))
        .route("/nodes/{node}", get(nodes::one))
        .route("/nodes/{node}/series", get(nodes::series))
        .route("/nodes/{node}/points", get(nodes::points))
        .route("/nodes/{node}/watch", get(nodes::watch))
        .route("/nodes/{node}/diagnose", get(nodes::diagnose))
        .route("/nodes/{node}/maintenance", post(nodes::maintenance))
        .route("/events", get(events::list))
        .route("/events/{node}/{event}", get(events::one))
        .route("/incidents", get(incidents::list))
        .route("/incidents/{id}", get(incidents::one))
        .route("/incidents/{id}/acknowledge", post(incidents::acknowledge))
        .route("/incidents/{id}/resolve", post(incidents::resolve))
        .route("/incidents/{id}/label", post(incidents::label))
        .route("/incidents/{id}/comment", post(incidents::comment))
        .route("/incidents/{id}/assign", post(incidents::assign))
        .route("/incidents/{id}/cause", post(incidents::cause))
        .route("/incidents/{id}/merge", post(incidents::merge))
        .route("/incidents/{id}/split", post(incidents::split))
        .route("/incidents/{id}/rankings", get(rankings::list))
        .route("/incidents/{id}/replay", get(rankings::replay))
        .route("/scores", get(rankings::scored))
        .route("/digest", get(digest::digest))
        .route("/suppressed", get(digest::suppression))
        .route("/trail", get(digest::trail))
        .route("/map", get(map::map))
        .route("/map/diff", get(map::difference))
        .route("/map/blast", get(map::blast))
        .route("/map/path", get(map::path))
        .route("/map/edge", get(map::edge))
        .route("/map/export", get(map::exported))
        .route("/map/changes", get(map::changes))
        .route("/silences", get(quiet::silences))
        .route("/silences", post(quiet::add_silence))
        .route("/silences/{id}/end", post(quiet::end_silence))
        .route("/windows", get(quiet::windows))
        .route("/windows", post(quiet::add_window))
        .route("/windows/{id}/end", post(quiet::end_window))
        .route("/notifications", get(notify::list))
        .route("/receivers", get(notify::receivers))
        .route("/notify/test", post(notify::test))
        .route("/changes", get(changes::list))
        .route("/changes", post(changes::announce))
        .route("/quarantine", get(status::quarantine))
        .route("/me", get(me::me))
        .route("/me/password", post(me::password))
        .route("/users", get(users::list))
        .route("/users", post(users::add))
        .route("/users/{name}/role", post(users::role))
        .route("/users/{name}/disable", post(users::disable))
        .route("/users/{name}/enable", post(users::enable))
        .route("/users/{name}/password", post(users::password))
        .route("/tokens", get(tokens::list))
        .route("/tokens", post(tokens::add))
        .route("/tokens/{id}/revoke", post(tokens::revoke))
        .route("/access-log", get(access_log::list))
        .route("/ca", get(enrol::roots))
        .route("/enroll", post(enrol::enrol))
        .route("/enroll/renew", post(enrol::renew))
        .route("/enroll-tokens", get(identity::tokens))
        .route("/enroll-tokens", post(identity::add_token))
        .route("/enroll-tokens/{id}/revoke", post(identity::revoke_token))
        .route("/identities", get(identity::nodes))
        .route("/identities/{node}/revoke", post(identity::revoke_node))
        .route("/live", get(live::live))
        .route("/openapi.json", get(openapi::json))
        .fallback(error::no_such_resource)
}

/// The whole interface.
pub fn router(state: ApiState) -> Router {
    Router::new()
        .nest("/api/v1", v1())
        .route("/api/{*rest}", any(error::no_such_resource))
        .route("/api/v2/alerts", get(alerts::list))
        .route("/api/v2/alerts", post(alerts::take))
        .route("/api/v2/status", get(alerts::status))
        .route("/-/healthy", get(alerts::healthy))
        .route("/-/ready", get(alerts::ready))
        .route("/metrics", get(metrics::metrics))
        .route("/healthz", get(status::healthz))
        .route("/readyz", get(status::readyz))
        .merge(console::pages(state.demo))
        .method_not_allowed_fallback(error::no_such_method)
        .layer(middleware::from_fn_with_state(state.clone(), guard::guard))
        .layer(DefaultBodyLimit::max(BODY_MAX))
        .with_state(state)
}

/// Serves until told to stop.
pub async fn serve(state: ApiState, listener: TcpListener, stop: CancellationToken) {
    let ended = stop.clone().cancelled_owned();
    let settings = state.identity.http();
    let service = router(state).into_make_service_with_connect_info::<admit::Peer>();
    let served = match settings {
        None => axum::serve(listener, service).with_graceful_shutdown(ended).await,
        Some(settings) => match TlsListener::new(listener, settings) {
            Ok(listener) => axum::serve(listener, service).with_graceful_shutdown(ended).await,
            Err(e) => Err(e),
        },
    };
    if let Err(e) = served {
        error!(error = %e, "The HTTP server ended.");
    }
}
