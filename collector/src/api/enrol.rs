//! How a machine becomes a node, and stays one. Nobody has to sign in for this: a token, or the node's own key, is what counts.

use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use serde::{Deserialize, Serialize};
use tracing::{error, warn};
use utoipa::ToSchema;

use super::admit::Asker;
use super::extract::Body;
use super::{ApiError, ApiState, Problem};
use crate::access::log::Acted;
use crate::clock::now_ms;
use crate::identity::enrol::{Asked, Issued, Refusal};
use crate::identity::in_url;

/// Bytes of a name that somebody sends.
const NAME_MAX: usize = 253;

/// Whom nodes shall trust.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Roots {
    /// Certificates of authorities as PEM, the newest first.
    pub certificates: String,
}

/// A machine that wants to become a node.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Enroll {
    /// The token: `tacit1.…`.
    token: String,
    /// A PKCS #10 request of an ECDSA key on P-256, as PEM.
    csr: String,
    /// The name that it wants; by default what the machine is called.
    node: Option<String>,
    /// What the machine is called.
    #[serde(default)]
    host: String,
}

/// A node whose certificate ends.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Renew {
    /// Its name.
    node: String,
    /// A PKCS #10 request of the key that it has, as PEM.
    csr: String,
}

/// What a node needs to connect.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Enrolled {
    /// Its name: the common name of its certificate, and its MQTT client id.
    pub node: String,
    /// Its site.
    pub site: String,
    /// Its certificate, then those that lead to every authority in `ca`, as PEM.
    pub certificate: String,
    /// Whom it shall trust, as PEM.
    pub ca: String,
    /// Where it connects to.
    pub broker: String,
    /// When the certificate ends, Unix milliseconds.
    pub not_after_ms: i64,
    /// When it shall renew it, Unix milliseconds.
    pub renew_after_ms: i64,
}

/// Why there is no certificate.
#[derive(Debug)]
pub struct NotEnrolled {
    error: ApiError,
    /// Seconds after which it may be tried again.
    wait: Option<u64>,
}

impl IntoResponse for NotEnrolled {
    fn into_response(self) -> Response {
        let mut response = self.error.into_response();
        if let Some(wait) = self.wait {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(wait));
        }
        response
    }
}

impl From<ApiError> for NotEnrolled {
    fn from(error: ApiError) -> Self {
        Self { error, wait: None }
    }
}

/// Whom nodes shall trust. Who has a token compares its pin with these before it believes anything else.
#[utoipa::path(get, path = "/api/v1/ca", responses((status = 200, body = Roots), (status = 404, body = Problem)))]
pub async fn roots(State(state): State<ApiState>) -> Result<Json<Roots>, ApiError> {
    let certificates = state.identity.roots_pem();
    if certificates.is_empty() {
        return Err(ApiError::missing("a certificate authority", "tacit ca init, and [tls] enabled = true"));
    }
    Ok(Json(Roots { certificates }))
}

/// Become a node. Asked again with the same key it answers again, for no further use of the token.
#[utoipa::path(post, path = "/api/v1/enroll", request_body = Enroll,
    responses((status = 200, body = Enrolled), (status = 400, body = Problem), (status = 401, body = Problem),
        (status = 403, body = Problem), (status = 409, body = Problem), (status = 413, body = Problem),
        (status = 415, body = Problem), (status = 429, body = Problem)))]
pub async fn enrol(
    State(state): State<ApiState>,
    Extension(asker): Extension<Asker>,
    headers: HeaderMap,
    Body(asked): Body<Enroll>,
) -> Result<(Extension<Acted>, Json<Enrolled>), NotEnrolled> {
    take_try(&state, asker)?;
    let asked = Asked { token: &asked.token, csr: &asked.csr, node: asked.node.as_deref(), host: &asked.host };
    if asked.host.len() > NAME_MAX || asked.node.is_some_and(|node| node.len() > NAME_MAX) {
        return Err(ApiError::bad(format!("a name has at most {NAME_MAX} bytes"), "say it shorter").into());
    }
    let outcome = state.identity.enrol(asked, now_ms()).await;
    answer(&state, asker, &headers, outcome)
}

/// Get another certificate for the key that the node has. The signature of the request is what proves who asks.
#[utoipa::path(post, path = "/api/v1/enroll/renew", request_body = Renew,
    responses((status = 200, body = Enrolled), (status = 400, body = Problem), (status = 403, body = Problem),
        (status = 404, body = Problem), (status = 409, body = Problem), (status = 413, body = Problem),
        (status = 415, body = Problem), (status = 429, body = Problem)))]
pub async fn renew(
    State(state): State<ApiState>,
    Extension(asker): Extension<Asker>,
    headers: HeaderMap,
    Body(asked): Body<Renew>,
) -> Result<(Extension<Acted>, Json<Enrolled>), NotEnrolled> {
    take_try(&state, asker)?;
    let outcome = state.identity.renew(&asked.node, &asked.csr, now_ms()).await;
    answer(&state, asker, &headers, outcome)
}

fn take_try(state: &ApiState, Asker(address): Asker) -> Result<(), NotEnrolled> {
    state.identity.take_try(address).map_err(|wait| NotEnrolled {
        error: ApiError::too_many(format!("too many tries from this address: the next in {wait} s")),
        wait: Some(wait),
    })
}

fn answer(
    state: &ApiState,
    Asker(address): Asker,
    headers: &HeaderMap,
    outcome: Result<Issued, Refusal>,
) -> Result<(Extension<Acted>, Json<Enrolled>), NotEnrolled> {
    let issued = outcome.map_err(|refusal| {
        let (status, code, hint) = refusal.answer();
        if status.is_server_error() {
            error!(%address, code, error = %refusal, "A node was not enrolled.");
        } else {
            warn!(%address, code, "A node was not enrolled: {refusal}.");
        }
        NotEnrolled::from(ApiError::coded(status, code, refusal.to_string(), hint))
    })?;
    state.identity.give_back(address);
    let name = match &issued.token {
        Some(token) => format!("node {} (token {token})", issued.node),
        None => format!("node {}", issued.node),
    };
    let enrolled = Enrolled {
        broker: broker(state, headers),
        node: issued.node.to_string(),
        site: issued.site.to_string(),
        certificate: issued.certificate,
        ca: issued.ca,
        not_after_ms: issued.not_after_ms,
        renew_after_ms: issued.renew_after_ms,
    };
    Ok((Extension(Acted { name, role: None }), Json(enrolled)))
}

/// Where a node connects to: what is set; else the host by which it called us, which it can reach and whose certificate it just verified, with the
/// port of the broker.
fn broker(state: &ApiState, headers: &HeaderMap) -> String {
    if let Some(set) = state.identity.broker() {
        return set.to_owned();
    }
    let called = headers.get(header::HOST).and_then(|host| host.to_str().ok()).and_then(host_of);
    let host = called.or_else(|| state.identity.public_name().map(in_url));
    let host = host.unwrap_or_else(|| "localhost".to_owned());
    format!("mqtts://{host}:{}", state.mqtt.map_or(8883, |address| address.port()))
}

/// The host of a `host` header, without its port.
fn host_of(header: &str) -> Option<String> {
    if let Some((v6, _)) = header.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        return v6.parse::<std::net::Ipv6Addr>().ok().map(|v6| format!("[{v6}]"));
    }
    let is_plain = |b: u8| b.is_ascii_alphanumeric() || b"-._".contains(&b);
    let host = header.split(':').next().unwrap_or_default();
    (!host.is_empty() && host.len() <= NAME_MAX && host.bytes().all(is_plain)).then(|| host.to_owned())
}

#[cfg(test)]
mod tests {
    use super::host_of;

    #[test]
    fn a_node_is_sent_to_the_host_that_it_called() {
        for (header, expected) in [
            ("tacit.example.org:8420", Some("tacit.example.org")),
            ("tacit.example.org", Some("tacit.example.org")),
            ("192.0.2.1:8420", Some("192.0.2.1")),
            ("[2001:db8::1]:8420", Some("[2001:db8::1]")),
            ("[evil]:1", None),
            ("a@b:1", None),
            ("", None),
            (":8420", None),
        ] {
            assert_eq!(host_of(header).as_deref(), expected, "{header}");
        }
    }
}
