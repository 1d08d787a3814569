//! Who may become a node, and who is one: tokens to enrol with, and revocation.

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use tacit_wire::NodeId;
use tacit_wire::limits::REASON;
use utoipa::{IntoParams, ToSchema};

use super::events::{limit, node_id};
use super::extract::{Body, Path, Query};
use super::users::Nothing;
use super::{ApiError, ApiState, Problem};
use crate::access::Refusal;
use crate::access::me::me;
use crate::clock::now_ms;
use crate::identity::token::{self, LIFE_MAX_S, USES_MAX};
use crate::store::{EnrollToken, NodeKey};

/// A token's life when nobody says how long: an hour.
const LIFE_S: u64 = 3600;

/// Tokens to enrol with.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct EnrollTokens {
    /// Newest first; those that have ended too.
    pub tokens: Vec<EnrollToken>,
}

/// A token to make.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewEnrollToken {
    /// The site of whoever enrols with it.
    site: String,
    /// How many nodes can enrol with it: 1 to 100,000, by default 1.
    uses: Option<u32>,
    /// After how many seconds it ends: at most 90 days, by default an hour.
    seconds: Option<u64>,
    /// Whether it may take the place of a node that has the name already.
    #[serde(default)]
    replace: bool,
}

/// A token that was made.
#[derive(Serialize, Deserialize, ToSchema)]
pub struct MadeEnrollToken {
    /// What a machine needs to enrol. It is shown this once.
    pub secret: String,
    /// The token.
    pub token: EnrollToken,
}

/// Which nodes.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub struct IdentityFilter {
    /// Only those whose name comes after this one: `next` of the answer before.
    after: Option<String>,
    /// Most nodes to list, 1 to 1000, by default 1000.
    limit: Option<usize>,
}

/// Nodes that were enrolled.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Identities {
    /// By name; revoked ones too.
    pub identities: Vec<NodeKey>,
    /// There are more: ask again with this as `after`.
    #[schema(value_type = Option<String>)]
    pub next: Option<NodeId>,
}

/// Why a node is to be let in no more.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Revocation {
    /// The reason, at most 200 bytes.
    reason: String,
}

/// Tokens to enrol with, without their secrets.
#[utoipa::path(get, path = "/api/v1/enroll-tokens", responses((status = 200, body = EnrollTokens)))]
pub async fn tokens(State(state): State<ApiState>) -> Result<Json<EnrollTokens>, ApiError> {
    Ok(Json(EnrollTokens { tokens: state.store.enroll_tokens().await? }))
}

/// Make a token to enrol with.
#[utoipa::path(post, path = "/api/v1/enroll-tokens", request_body = NewEnrollToken,
    responses((status = 200, body = MadeEnrollToken), (status = 400, body = Problem), (status = 409, body = Problem),
        (status = 413, body = Problem), (status = 415, body = Problem)))]
pub async fn add_token(
    State(state): State<ApiState>,
    Body(new): Body<NewEnrollToken>,
) -> Result<Json<MadeEnrollToken>, ApiError> {
    let site =
        new.site.parse().map_err(|e: tacit_wire::id::IdError| ApiError::bad(e.to_string(), "lab, or berlin-2"))?;
    let (uses_left, seconds) = (new.uses.unwrap_or(1), new.seconds.unwrap_or(LIFE_S));
    if !(1..=USES_MAX).contains(&uses_left) || !(1..=LIFE_MAX_S).contains(&seconds) {
        let what = format!("a token is for 1 to {USES_MAX} nodes, and lives a second to {} days", LIFE_MAX_S / 86_400);
        return Err(ApiError::bad(what, "make another one when this has ended"));
    }
    let pin = state.identity.pin().ok_or_else(|| {
        let hint = "on its machine: tacit ca init, and [tls] enabled = true in collector.toml";
        ApiError::conflict("this collector enrols no nodes: it has TLS off, or no certificate authority", hint)
    })?;
    let fresh = token::make(&pin).map_err(Refusal::from)?;
    let (now, life_ms) = (now_ms(), i64::try_from(seconds * 1000).unwrap_or(i64::MAX));
    let token = EnrollToken {
        id: fresh.id,
        site,
        uses_left,
        created_ms: now,
        expires_ms: now.saturating_add(life_ms),
        created_by: me().name(),
        revoked_ms: None,
        replace: new.replace,
    };
    state.store.add_enroll_token(token.clone(), fresh.secret_hash).await?;
    Ok(Json(MadeEnrollToken { secret: fresh.text, token }))
}

/// End a token to enrol with. Nodes that enrolled with it stay.
#[utoipa::path(post, path = "/api/v1/enroll-tokens/{id}/revoke", params(("id" = String, Path)), request_body = Nothing,
    responses((status = 200, body = EnrollToken), (status = 400, body = Problem), (status = 404, body = Problem),
        (status = 409, body = Problem), (status = 413, body = Problem), (status = 415, body = Problem)))]
pub async fn revoke_token(
    State(state): State<ApiState>,
    Path(id): Path<String>,
    _nothing: Body<Nothing>,
) -> Result<Json<EnrollToken>, ApiError> {
    Ok(Json(state.store.revoke_enroll_token(&id, now_ms()).await?))
}

/// Nodes that were enrolled, by name.
#[utoipa::path(get, path = "/api/v1/identities", params(IdentityFilter),
    responses((status = 200, body = Identities), (status = 400, body = Problem)))]
pub async fn nodes(
    State(state): State<ApiState>,
    Query(filter): Query<IdentityFilter>,
) -> Result<Json<Identities>, ApiError> {
    let after = filter.after.as_deref().map(node_id).transpose()?;
    let most = limit(Some(filter.limit.unwrap_or(1000)))?;
    let mut identities = state.store.node_keys(after.as_ref(), most + 1).await?;
    let more = identities.len() > most;
    identities.truncate(most);
    let next = identities.last().filter(|_| more).map(|known| known.node.clone());
    Ok(Json(Identities { identities, next }))
}

/// Let a node in no more: its connection is cut at once, and its certificate counts no longer. It can be enrolled again, with another key.
#[utoipa::path(post, path = "/api/v1/identities/{node}/revoke", params(("node" = String, Path)), request_body = Revocation,
    responses((status = 200, body = NodeKey), (status = 400, body = Problem), (status = 404, body = Problem),
        (status = 409, body = Problem), (status = 413, body = Problem), (status = 415, body = Problem)))]
pub async fn revoke_node(
    State(state): State<ApiState>,
    Path(node): Path<String>,
    Body(asked): Body<Revocation>,
) -> Result<Json<NodeKey>, ApiError> {
    let node = node_id(&node)?;
    let reason = asked.reason.trim();
    if reason.is_empty() || reason.len() > REASON || reason.chars().any(char::is_control) {
        return Err(ApiError::bad(format!("a reason is a line of 1 to {REASON} bytes"), "stolen; replaced; sold"));
    }
    Ok(Json(state.identity.revoke(&node, reason, now_ms()).await?))
}
