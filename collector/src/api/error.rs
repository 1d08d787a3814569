//! Errors in words.

use axum::Json;
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use crate::access::Refusal;
use crate::access::password::PasswordError;
use crate::store::StoreError;

/// Why a request was not answered.
#[derive(Debug)]
pub struct ApiError {
    status: StatusCode,
    code: &'static str,
    message: String,
    hint: &'static str,
}

/// The body of every answer that is an error.
#[derive(Debug, Serialize, ToSchema)]
pub struct Problem {
    error: Words,
}

/// What is wrong, and what to do.
#[derive(Debug, Serialize, ToSchema)]
struct Words {
    /// One word for programs; it stays what it is.
    code: &'static str,
    /// What is wrong, for people.
    message: String,
    /// What to do about it.
    hint: &'static str,
}

impl ApiError {
    /// The request itself is wrong.
    pub fn bad(message: impl Into<String>, hint: &'static str) -> Self {
        Self { status: StatusCode::BAD_REQUEST, code: "bad-request", message: message.into(), hint }
    }

    /// The thing is not there.
    pub fn missing(what: impl std::fmt::Display, hint: &'static str) -> Self {
        let message = format!("{what} does not exist");
        Self { status: StatusCode::NOT_FOUND, code: "not-found", message, hint }
    }

    /// The node did not answer.
    pub fn no_answer(node: &tacit_wire::NodeId) -> Self {
        Self {
            status: StatusCode::GATEWAY_TIMEOUT,
            code: "no-answer",
            message: format!("{node} did not answer in time"),
            hint: "is it online?",
        }
    }

    /// Too much is under way.
    pub fn busy() -> Self {
        Self {
            status: StatusCode::SERVICE_UNAVAILABLE,
            code: "busy",
            message: "too many requests to nodes are open".into(),
            hint: "try again in a moment",
        }
    }

    /// The collector ends before the answer is there.
    pub fn stopping() -> Self {
        Self {
            status: StatusCode::SERVICE_UNAVAILABLE,
            code: "stopping",
            message: "the collector is stopping".into(),
            hint: "try again when it runs",
        }
    }

    pub(super) fn forbidden(message: &str, hint: &'static str) -> Self {
        Self { status: StatusCode::FORBIDDEN, code: "forbidden", message: message.into(), hint }
    }

    /// Nobody knows who asks.
    pub(super) fn unauthorized(message: impl Into<String>) -> Self {
        Self {
            status: StatusCode::UNAUTHORIZED,
            code: "unauthorized",
            message: message.into(),
            hint: "sign in at /login, or send a token as `authorization: Bearer tacit-api.…` (tacit: TACIT_TOKEN)",
        }
    }

    /// The state of things does not allow it.
    pub(super) fn conflict(message: impl Into<String>, hint: &'static str) -> Self {
        Self { status: StatusCode::CONFLICT, code: "conflict", message: message.into(), hint }
    }

    /// It was tried too often.
    pub(super) fn too_many(message: impl Into<String>) -> Self {
        Self {
            status: StatusCode::TOO_MANY_REQUESTS,
            code: "too-many",
            message: message.into(),
            hint: "wait; the header retry-after says how long",
        }
    }

    /// There is no room for it now.
    pub(super) fn crowded(message: impl Into<String>) -> Self {
        let hint = "try again in a moment";
        Self { status: StatusCode::SERVICE_UNAVAILABLE, code: "busy", message: message.into(), hint }
    }

    /// It did not work, and not because of the request.
    pub(super) fn failed(message: impl Into<String>) -> Self {
        let (message, hint) = (message.into(), "the collector's log says more");
        tracing::error!(error = message, "A request failed.");
        Self { status: StatusCode::INTERNAL_SERVER_ERROR, code: "failed", message, hint }
    }

    pub(super) fn unsupported() -> Self {
        Self {
            status: StatusCode::UNSUPPORTED_MEDIA_TYPE,
            code: "not-json",
            message: "the body must be JSON".into(),
            hint: "send it with content-type: application/json",
        }
    }

    pub(super) fn too_large(limit: usize) -> Self {
        Self {
            status: StatusCode::PAYLOAD_TOO_LARGE,
            code: "too-large",
            message: format!("the body is larger than {limit} bytes"),
            hint: "say it shorter",
        }
    }

    /// One of the codes of enrolment, which agents know.
    pub(super) fn coded(
        status: StatusCode,
        code: &'static str,
        message: impl Into<String>,
        hint: &'static str,
    ) -> Self {
        Self { status, code, message: message.into(), hint }
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
        let (status, code, hint) = match &error {
            StoreError::NotFound(_) => (StatusCode::NOT_FOUND, "not-found", "it may have been forgotten meanwhile"),
            StoreError::Conflict(_) | StoreError::Stale(_) => {
                (StatusCode::CONFLICT, "conflict", "look at its state again")
            }
            StoreError::Database(_) | StoreError::TooNew { .. } => {
                tracing::error!(%error, "A request failed.");
                (StatusCode::INTERNAL_SERVER_ERROR, "store", "the collector's log says more")
            }
        };
        Self { status, code, message: error.to_string(), hint }
    }
}

impl From<Refusal> for ApiError {
    fn from(refusal: Refusal) -> Self {
        let words = refusal.to_string();
        match refusal {
            Refusal::Wrong(_) => Self::unauthorized(words),
            Refusal::Wait(_) => Self::too_many(words),
            Refusal::Password(error) => error.into(),
            Refusal::Random(_) => Self::failed(words),
            Refusal::Store(error) => error.into(),
        }
    }
}

impl From<PasswordError> for ApiError {
    fn from(error: PasswordError) -> Self {
        let words = error.to_string();
        match error {
            PasswordError::Length(_) => Self::bad(words, "choose another; a sentence is good"),
            PasswordError::Busy => Self::crowded(words),
            PasswordError::Hash(_) => Self::failed(words),
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let error = Words { code: self.code, message: self.message, hint: self.hint };
        (self.status, Json(Problem { error })).into_response()
    }
}

/// For paths below `/api` that are none.
pub async fn no_such_resource() -> ApiError {
    ApiError {
        status: StatusCode::NOT_FOUND,
        code: "not-found",
        message: "there is no such resource".into(),
        hint: "/api/v1/openapi.json lists them",
    }
}

/// For methods that a path does not take; which it takes is in the header `allow`.
pub async fn no_such_method(method: Method) -> ApiError {
    ApiError {
        status: StatusCode::METHOD_NOT_ALLOWED,
        code: "method-not-allowed",
        message: format!("{method} is not possible here"),
        hint: "the header allow says what is",
    }
}
