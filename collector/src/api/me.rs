//! Who asks, and their own password.

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::admit::Asker;
use super::extract::Body;
use super::{ApiError, ApiState, Problem};
use crate::access::Refusal;
use crate::access::me::{self, Who};
use crate::access::roles::Role;

/// Who asks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Myself {
    /// A user's name, `token NAME (ID)`, or `anyone` where nobody has to sign in.
    pub name: String,
    /// What they may do.
    pub role: Role,
    /// Whether who asks has to be known here.
    pub required: bool,
}

/// Who am I, and what may I do?
#[utoipa::path(get, path = "/api/v1/me", responses((status = 200, body = Myself)))]
pub async fn me() -> Json<Myself> {
    let me = me::me();
    Json(Myself { name: me.name(), role: me.role.unwrap_or(Role::Viewer), required: me.is_known() })
}

/// A change of one's own password.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct OwnPassword {
    /// The present one.
    old: String,
    /// The new one: 10 to 256 bytes.
    new: String,
}

/// Change your own password. All your sessions end.
#[utoipa::path(post, path = "/api/v1/me/password", request_body = OwnPassword,
    responses((status = 200, body = Myself), (status = 400, body = Problem), (status = 401, body = Problem),
        (status = 409, body = Problem), (status = 413, body = Problem), (status = 415, body = Problem),
        (status = 429, body = Problem)))]
pub async fn password(
    State(state): State<ApiState>,
    axum::Extension(Asker(address)): axum::Extension<Asker>,
    Body(asked): Body<OwnPassword>,
) -> Result<Json<Myself>, ApiError> {
    change(&state, Asker(address), &asked.old, &asked.new).await?;
    Ok(me().await)
}

/// Changes the password of who asks, for the API and the page.
///
/// # Errors
/// When it is no user who asks, the old password is wrong, or the new one cannot be taken.
pub async fn change(state: &ApiState, Asker(address): Asker, old: &str, new: &str) -> Result<(), ApiError> {
    let Who::User(name) = me::me().who else {
        return Err(ApiError::conflict("only a user has a password", "tacit token make makes another token"));
    };
    crate::access::password::check(new)?;
    state.access.by_password(address, &name, old).await.map_err(|why| match why {
        Refusal::Wrong(_) => ApiError::bad("the present password is wrong", "an admin can set a new one"),
        other => other.into(),
    })?;
    let hash = state.access.passwords.hash(new.to_owned()).await?;
    state.store.set_password(&name, hash).await?;
    state.access.rights_changed();
    Ok(())
}
