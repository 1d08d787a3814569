//! What every request must pass, and what every answer carries. Who asks and whether they may is the next step: `admit`.

use std::net::IpAddr;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};

use super::admit::admit;
use super::{ApiError, ApiState};
use crate::access::roles::{self, Found};

/// Pages run no script, style or connection but our own.
const CSP: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; \
     form-action 'self'; frame-ancestors 'none'; base-uri 'none'";

/// Refuses strangers' names and cross-origin changes; adds security headers.
pub async fn guard(State(state): State<ApiState>, request: Request, next: Next) -> Response {
    let mut response = match check(&state, &request) {
        Ok(()) => admit(&state, request, next).await,
        Err(error) => error.into_response(),
    };
    let headers = response.headers_mut();
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, CSP),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers.entry(header::REFERRER_POLICY).or_insert(HeaderValue::from_static("no-referrer"));
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}

fn check(state: &ApiState, request: &Request) -> Result<(), ApiError> {
    let headers = request.headers();
    if state.http.ip().is_loopback() && !host(headers).is_some_and(is_loopback_name) {
        return Err(ApiError::forbidden(
            "this collector answers to loopback names only",
            "use http://127.0.0.1 or http://localhost",
        ));
    }
    if matches!(*request.method(), Method::GET | Method::HEAD) {
        return Ok(());
    }
    if !same_origin(headers) {
        return Err(ApiError::forbidden("the request comes from another origin", "use the console or the API itself"));
    }
    // A page elsewhere can send a POST without asking first, but not one of JSON; other methods it cannot send at all. Our own forms
    // carry a token instead.
    let is_form = matches!(roles::find(request.method(), request.uri().path()), Found::Rule(rule) if rule.is_form);
    let kind = if is_form { "application/x-www-form-urlencoded" } else { "application/json" };
    if request.method() == Method::POST && !is_of(headers, kind) {
        return Err(ApiError::unsupported());
    }
    Ok(())
}

fn is_of(headers: &HeaderMap, wanted: &str) -> bool {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or_default();
    kind.split(';').next().is_some_and(|k| k.trim().eq_ignore_ascii_case(wanted))
}

fn host(headers: &HeaderMap) -> Option<&str> {
    headers.get(header::HOST)?.to_str().ok()
}

fn is_loopback_name(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(v6) => v6.split_once(']').map_or(v6, |(name, _)| name),
        None => host.rsplit_once(':').map_or(host, |(name, _)| name),
    };
    name == "localhost" || name.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// Browsers say where a request comes from; programs do not, and are not used by strangers' pages.
fn same_origin(headers: &HeaderMap) -> bool {
    let text = |name: &str| headers.get(name).and_then(|v| v.to_str().ok());
    if let Some(site) = text("sec-fetch-site") {
        return matches!(site, "same-origin" | "none");
    }
    match text("origin") {
        None => true,
        Some(origin) => origin.split_once("://").is_some_and(|(_, o)| Some(o) == host(headers)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_loopback_names() {
        for good in ["localhost:8420", "127.0.0.1:8420", "127.0.0.1", "[::1]:8420", "localhost"] {
            assert!(is_loopback_name(good), "{good}");
        }
        for bad in ["evil.example:8420", "10.0.0.1:8420", "", "localhost.evil.example"] {
            assert!(!is_loopback_name(bad), "{bad}");
        }
    }

    #[test]
    fn origins_are_compared() {
        let headers = |list: &[(&'static str, &'static str)]| {
            list.iter().map(|(k, v)| (k.parse().unwrap(), HeaderValue::from_static(v))).collect::<HeaderMap>()
        };
        assert!(same_origin(&headers(&[("host", "127.0.0.1:8420")])));
        assert!(same_origin(&headers(&[("host", "127.0.0.1:8420"), ("origin", "http://127.0.0.1:8420")])));
        assert!(!same_origin(&headers(&[("host", "127.0.0.1:8420"), ("origin", "http://evil.example")])));
        assert!(!same_origin(&headers(&[("host", "127.0.0.1:8420"), ("sec-fetch-site", "cross-site")])));
    }
}
