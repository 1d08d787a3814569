//! Users: who signs in with a password, and what they may do.

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::extract::{Body, Path};
use super::{ApiError, ApiState, Problem};
use crate::access::check_name;
use crate::access::roles::Role;
use crate::clock::now_ms;
use crate::store::User;

/// All users.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Users {
    /// By name; disabled ones too.
    pub users: Vec<User>,
}

/// A user to make.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewUser {
    /// The name: 1 to 64 of a-z, A-Z, 0-9 and `. _ @ -`.
    name: String,
    /// What they may do.
    role: Role,
    /// The password: 10 to 256 bytes.
    password: String,
}

/// Another role.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewRole {
    /// What they may do from now on.
    role: Role,
}

/// Another password.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewPassword {
    /// The password: 10 to 256 bytes.
    password: String,
}

/// Nothing more to say.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Nothing {}

/// Who can sign in.
#[utoipa::path(get, path = "/api/v1/users", responses((status = 200, body = Users)))]
pub async fn list(State(state): State<ApiState>) -> Result<Json<Users>, ApiError> {
    Ok(Json(Users { users: state.store.users().await? }))
}

/// Make a user. The first one is made on the collector's machine instead: `tacit-collector user add`.
#[utoipa::path(post, path = "/api/v1/users", request_body = NewUser,
    responses((status = 200, body = User), (status = 400, body = Problem), (status = 409, body = Problem),
        (status = 413, body = Problem), (status = 415, body = Problem), (status = 503, body = Problem)))]
pub async fn add(State(state): State<ApiState>, Body(new): Body<NewUser>) -> Result<Json<User>, ApiError> {
    make(&state, &new.name, new.role, new.password).await.map(Json)
}

/// Makes a user, for the API and the page.
///
/// # Errors
/// When the name is taken or wrong, the password cannot be taken, or there is no user yet.
pub async fn make(state: &ApiState, name: &str, role: Role, password: String) -> Result<User, ApiError> {
    not_first(state).await?;
    check_name(name).map_err(|why| ApiError::bad(why, "an address of mail is good"))?;
    let password_hash = state.access.passwords.hash(password).await?;
    let user = User { name: name.to_owned(), role, password_hash, created_ms: now_ms(), disabled_ms: None };
    state.store.add_user(user.clone()).await?;
    Ok(user)
}

/// Refuses what only makes sense once there is a user: the first is made by who rules the machine, not by who reaches it.
///
/// # Errors
/// When there is none.
pub async fn not_first(state: &ApiState) -> Result<(), ApiError> {
    if state.access.awaits_first_user().await? {
        let hint = "run there: tacit-collector user add NAME --role admin";
        return Err(ApiError::conflict("the first user is made on the collector's machine", hint));
    }
    Ok(())
}

/// Give a user another role; it counts at once.
#[utoipa::path(post, path = "/api/v1/users/{name}/role", params(("name" = String, Path)), request_body = NewRole,
    responses((status = 200, body = User), (status = 400, body = Problem), (status = 404, body = Problem),
        (status = 409, body = Problem), (status = 413, body = Problem), (status = 415, body = Problem)))]
pub async fn role(
    State(state): State<ApiState>,
    Path(name): Path<String>,
    Body(new): Body<NewRole>,
) -> Result<Json<User>, ApiError> {
    set_role(&state, &name, new.role).await.map(Json)
}

/// Gives a user another role, for the API and the page.
///
/// # Errors
/// When there is no such user, or they are the last admin.
pub async fn set_role(state: &ApiState, name: &str, role: Role) -> Result<User, ApiError> {
    let user = state.store.set_role(name, role).await?;
    state.access.rights_changed();
    Ok(user)
}

/// Disable a user: their sessions and tokens end at once.
#[utoipa::path(post, path = "/api/v1/users/{name}/disable", params(("name" = String, Path)), request_body = Nothing,
    responses((status = 200, body = User), (status = 400, body = Problem), (status = 404, body = Problem),
        (status = 409, body = Problem), (status = 413, body = Problem), (status = 415, body = Problem)))]
pub async fn disable(
    State(state): State<ApiState>,
    Path(name): Path<String>,
    _nothing: Body<Nothing>,
) -> Result<Json<User>, ApiError> {
    set_disabled(&state, &name, true).await.map(Json)
}

/// Let a disabled user in again; tokens that they made count again too.
#[utoipa::path(post, path = "/api/v1/users/{name}/enable", params(("name" = String, Path)), request_body = Nothing,
    responses((status = 200, body = User), (status = 400, body = Problem), (status = 404, body = Problem),
        (status = 409, body = Problem), (status = 413, body = Problem), (status = 415, body = Problem)))]
pub async fn enable(
    State(state): State<ApiState>,
    Path(name): Path<String>,
    _nothing: Body<Nothing>,
) -> Result<Json<User>, ApiError> {
    set_disabled(&state, &name, false).await.map(Json)
}

/// Disables a user or enables them again, for the API and the page.
///
/// # Errors
/// When there is no such user, they are so already, or they are the last admin.
pub async fn set_disabled(state: &ApiState, name: &str, disabled: bool) -> Result<User, ApiError> {
    let user = state.store.set_disabled(name, disabled.then(now_ms)).await?;
    state.access.rights_changed();
    Ok(user)
}

/// Give a user another password: their sessions end.
#[utoipa::path(post, path = "/api/v1/users/{name}/password", params(("name" = String, Path)), request_body = NewPassword,
    responses((status = 200, body = User), (status = 400, body = Problem), (status = 404, body = Problem),
        (status = 413, body = Problem), (status = 415, body = Problem), (status = 503, body = Problem)))]
pub async fn password(
    State(state): State<ApiState>,
    Path(name): Path<String>,
    Body(new): Body<NewPassword>,
) -> Result<Json<User>, ApiError> {
    set_password(&state, &name, new.password).await.map(Json)
}

/// Gives a user another password, for the API and the page.
///
/// # Errors
/// When there is no such user, or the password cannot be taken.
pub async fn set_password(state: &ApiState, name: &str, password: String) -> Result<User, ApiError> {
    let hash = state.access.passwords.hash(password).await?;
    let user = state.store.set_password(name, hash).await?;
    state.access.rights_changed();
    Ok(user)
}
