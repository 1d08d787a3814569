//! Errors in words.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::json;

use crate::store::StoreError;

/// Why a request was not answered.
#[derive(Debug)]
pub struct ApiError {
    status: StatusCode,
    code: &'static str,
    message: String,
    hint: Option<&'static str>,
}

impl ApiError {
    /// The request itself is wrong.
    pub fn bad(message: impl Into<String>, hint: &'static str) -> Self {
        Self { status: StatusCode::BAD_REQUEST, code: "bad-request", message: message.into(), hint: Some(hint) }
    }

    /// The thing is not there.
    pub fn missing(what: impl std::fmt::Display) -> Self {
        Self { status: StatusCode::NOT_FOUND, code: "not-found", message: format!("{what} does not exist"), hint: None }
    }

    /// The node did not answer.
    pub fn no_answer(node: &tacit_wire::NodeId) -> Self {
        Self {
            status: StatusCode::GATEWAY_TIMEOUT,
            code: "no-answer",
            message: format!("{node} did not answer in time"),
            hint: Some("is it online?"),
        }
    }

    /// Too much is under way.
    pub fn busy() -> Self {
        Self {
            status: StatusCode::SERVICE_UNAVAILABLE,
            code: "busy",
            message: "too many requests to nodes are open".into(),
            hint: Some("try again in a moment"),
        }
    }

    pub(super) fn forbidden(message: &str, hint: &'static str) -> Self {
        Self { status: StatusCode::FORBIDDEN, code: "forbidden", message: message.into(), hint: Some(hint) }
    }

    pub(super) fn unsupported() -> Self {
        Self {
            status: StatusCode::UNSUPPORTED_MEDIA_TYPE,
            code: "not-json",
            message: "the body must be JSON".into(),
            hint: Some("send it with content-type: application/json"),
        }
    }

    /// The status code.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// The words.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        let (status, code) = match &error {
            StoreError::NotFound(_) => (StatusCode::NOT_FOUND, "not-found"),
            StoreError::Conflict(_) => (StatusCode::CONFLICT, "conflict"),
            StoreError::Database(_) | StoreError::TooNew { .. } => {
                tracing::error!(%error, "A request failed.");
                (StatusCode::INTERNAL_SERVER_ERROR, "store")
            }
        };
        Self { status, code, message: error.to_string(), hint: None }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut error = json!({ "code": self.code, "message": self.message });
        if let Some(hint) = self.hint {
            error["hint"] = hint.into();
        }
        (self.status, Json(json!({ "error": error }))).into_response()
    }
}

/// For paths below `/api/v1` that are none.
pub async fn no_such_resource() -> ApiError {
    ApiError {
        status: StatusCode::NOT_FOUND,
        code: "not-found",
        message: "there is no such resource".into(),
        hint: Some("/api/v1/openapi.json lists them"),
    }
}
