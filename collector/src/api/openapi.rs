//! The description of the API.

use axum::Json;
use utoipa::OpenApi;

use super::{events, incidents, live, metrics, nodes, status};

/// Everything under `/api/v1`, and the endpoints for machines beside it.
#[derive(Debug, OpenApi)]
#[openapi(
    info(title = "Tacit collector", description = "Nodes, events and incidents of a fleet."),
    paths(
        status::status,
        status::quarantine,
        status::healthz,
        status::readyz,
        metrics::metrics,
        nodes::list,
        nodes::one,
        nodes::series,
        nodes::points,
        nodes::watch,
        nodes::diagnose,
        events::list,
        events::one,
        incidents::list,
        incidents::one,
        incidents::acknowledge,
        incidents::resolve,
        incidents::label,
        incidents::comment,
        incidents::assign,
        live::live,
        json,
    )
)]
pub struct ApiDoc;

/// This description.
#[utoipa::path(get, path = "/api/v1/openapi.json", responses((status = 200)))]
pub async fn json() -> Json<utoipa::openapi::OpenApi> {
    Json(ApiDoc::openapi())
}
