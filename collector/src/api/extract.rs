//! What requests carry. What cannot be read is refused in the same words as everything else.

use axum::extract::rejection::{JsonRejection, PathRejection, QueryRejection};
use axum::extract::{FromRequest, FromRequestParts};
use axum::http::StatusCode;

use super::{ApiError, BODY_MAX};

/// Parts of the path.
#[derive(Debug, FromRequestParts)]
#[from_request(via(axum::extract::Path), rejection(ApiError))]
pub struct Path<T>(pub T);

/// The query.
#[derive(Debug, FromRequestParts)]
#[from_request(via(axum::extract::Query), rejection(ApiError))]
pub struct Query<T>(pub T);

/// A body of JSON.
#[derive(Debug, FromRequest)]
#[from_request(via(axum::Json), rejection(ApiError))]
pub struct Body<T>(pub T);

impl From<PathRejection> for ApiError {
    fn from(_: PathRejection) -> Self {
        Self::bad("the path is not UTF-8", "encode its bytes as UTF-8 before %-encoding them")
    }
}

impl From<QueryRejection> for ApiError {
    fn from(wrong: QueryRejection) -> Self {
        Self::bad(format!("the query is wrong: {}", reason(&wrong)), "/api/v1/openapi.json lists the parameters")
    }
}

impl From<JsonRejection> for ApiError {
    fn from(wrong: JsonRejection) -> Self {
        match wrong {
            JsonRejection::MissingJsonContentType(_) => Self::unsupported(),
            JsonRejection::JsonSyntaxError(e) => {
                Self::bad(format!("the body is not JSON: {}", reason(&e)), "send {} when there is nothing to say")
            }
            JsonRejection::BytesRejection(e) if e.status() == StatusCode::PAYLOAD_TOO_LARGE => {
                Self::too_large(BODY_MAX)
            }
            other => Self::bad(
                format!("the body is wrong: {}", reason(&other)),
                "/api/v1/openapi.json says what it may hold",
            ),
        }
    }
}

/// The innermost reason: what is around it only says that something was wrong.
fn reason(error: &dyn std::error::Error) -> String {
    let inner = std::iter::successors(Some(error), |e| e.source()).last();
    inner.map_or_else(String::new, ToString::to_string)
}
