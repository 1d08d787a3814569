//! API tokens: keys for programs.

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::extract::{Body, Path};
use super::users::{Nothing, not_first};
use super::{ApiError, ApiState, Problem};
use crate::access::Refusal;
use crate::access::me::me;
use crate::access::roles::Role;
use crate::access::token::{self, LIFE_MAX_S};
use crate::clock::now_ms;
use crate::store::ApiToken;

/// All tokens.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Tokens {
    /// Newest first; those that have ended too.
    pub tokens: Vec<ApiToken>,
}

/// A token to make.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewToken {
    /// What it is for.
    name: String,
    /// What it may do.
    role: Role,
    /// After how many seconds it ends; by default it does not.
    seconds: Option<u64>,
}

/// A token that was made.
#[derive(Serialize, Deserialize, ToSchema)]
pub struct MadeToken {
    /// What to send as `authorization: Bearer …`, or as the password of Basic. It is shown this once.
    pub secret: String,
    /// The token.
    pub token: ApiToken,
}

/// The tokens, without their secrets.
#[utoipa::path(get, path = "/api/v1/tokens", responses((status = 200, body = Tokens)))]
pub async fn list(State(state): State<ApiState>) -> Result<Json<Tokens>, ApiError> {
    Ok(Json(Tokens { tokens: state.store.tokens().await? }))
}

/// Make a token. It ends with the user who makes it.
#[utoipa::path(post, path = "/api/v1/tokens", request_body = NewToken,
    responses((status = 200, body = MadeToken), (status = 400, body = Problem), (status = 409, body = Problem),
        (status = 413, body = Problem), (status = 415, body = Problem)))]
pub async fn add(State(state): State<ApiState>, Body(new): Body<NewToken>) -> Result<Json<MadeToken>, ApiError> {
    make(&state, &new.name, new.role, new.seconds).await.map(Json)
}

/// Makes a token, for the API and the page.
///
/// # Errors
/// When the name or the time is wrong, there are too many, or there is no user yet.
pub async fn make(state: &ApiState, name: &str, role: Role, seconds: Option<u64>) -> Result<MadeToken, ApiError> {
    not_first(state).await?;
    token::check_name(name).map_err(|why| ApiError::bad(why, "Prometheus in the lab"))?;
    if seconds.is_some_and(|s| !(1..=LIFE_MAX_S).contains(&s)) {
        return Err(ApiError::bad("a token lives at least a second and at most ten years", "or without an end"));
    }
    let fresh = token::make().map_err(Refusal::from)?;
    let now = now_ms();
    let life_ms = seconds.and_then(|s| i64::try_from(s * 1000).ok());
    let token = ApiToken {
        id: fresh.id,
        name: name.to_owned(),
        role,
        made_by: me().owner,
        created_ms: now,
        expires_ms: life_ms.map(|life| now.saturating_add(life)),
        revoked_ms: None,
        last_used_ms: None,
    };
    state.store.add_token(token.clone(), fresh.secret_hash).await?;
    Ok(MadeToken { secret: fresh.text, token })
}

/// End a token.
#[utoipa::path(post, path = "/api/v1/tokens/{id}/revoke", params(("id" = String, Path)), request_body = Nothing,
    responses((status = 200, body = ApiToken), (status = 400, body = Problem), (status = 404, body = Problem),
        (status = 409, body = Problem), (status = 413, body = Problem), (status = 415, body = Problem)))]
pub async fn revoke(
    State(state): State<ApiState>,
    Path(id): Path<String>,
    _nothing: Body<Nothing>,
) -> Result<Json<ApiToken>, ApiError> {
    end(&state, &id).await.map(Json)
}

/// Ends a token, for the API and the page.
///
/// # Errors
/// When there is none, or it is ended already.
pub async fn end(state: &ApiState, id: &str) -> Result<ApiToken, ApiError> {
    let token = state.store.revoke_token(id, now_ms()).await?;
    state.access.rights_changed();
    Ok(token)
}
