//! Users and tokens: who may ask, forms to change that, and what was changed last.

use askama::Template;
use axum::Extension;
use axum::extract::State;
use axum::response::{IntoResponse, Redirect, Response};

use super::format::{capital, time};
use super::{Page, PageError, render};
use crate::access::me::has_session;
use crate::access::roles::Role;
use crate::api::tokens::MadeToken;
use crate::api::{ApiError, ApiState, Fields, Path, tokens, users};
use crate::clock::now_ms;
use crate::store::{AccessLine, ApiToken, User};

const HERE: &str = "/settings/users";
/// Lines of the log that are shown.
const LINES: usize = 50;
/// Lives of a token that can be chosen, in days; none is for ever.
const LIVES: [(&str, &str); 5] =
    [("30", "30 days"), ("1", "a day"), ("90", "90 days"), ("365", "a year"), ("", "until it is revoked")];
const DAY_S: u64 = 86_400;

#[derive(Template)]
#[template(path = "users.html")]
struct Users {
    page: &'static str,
    live: &'static str,
    users: Vec<UserRow>,
    tokens: Vec<TokenRow>,
    lines: Vec<Line>,
    roles: [&'static str; 3],
    lives: [(&'static str, &'static str); 5],
    /// What went wrong, as a sentence.
    wrong: String,
    /// A token that was just made; it is shown this once.
    made: Option<Made>,
    /// Whether forms can be sent.
    can: bool,
    /// Whether there is no user yet.
    none: bool,
}

struct UserRow {
    name: String,
    role: &'static str,
    roles: Vec<Choice>,
    made: String,
    disabled: Option<String>,
}

struct Choice {
    value: &'static str,
    here: bool,
}

struct TokenRow {
    id: String,
    name: String,
    role: &'static str,
    by: String,
    made: String,
    ends: String,
    used: String,
    lives: bool,
}

struct Made {
    name: String,
    secret: String,
}

struct Line {
    when: String,
    what: String,
    who: String,
}

/// The page.
pub async fn page(State(state): State<ApiState>) -> Page {
    shown(&state, String::new(), None).await
}

async fn shown(state: &ApiState, wrong: String, made: Option<MadeToken>) -> Page {
    let now = now_ms();
    let all = state.store.users().await?;
    let lines = state.store.access_log(None, LINES).await?;
    render(&Users {
        page: "settings",
        live: "",
        none: all.is_empty(),
        users: all.iter().map(user).collect(),
        tokens: state.store.tokens().await?.iter().map(|t| token(t, now)).collect(),
        lines: lines.iter().map(line).collect(),
        roles: Role::ALL.map(Role::as_str),
        lives: LIVES,
        wrong,
        made: made.map(|made| Made { name: made.token.name, secret: made.secret }),
        can: has_session(),
    })
}

fn user(user: &User) -> UserRow {
    let choice = |role: Role| Choice { value: role.as_str(), here: role == user.role };
    UserRow {
        name: user.name.clone(),
        role: user.role.as_str(),
        roles: Role::ALL.map(choice).into(),
        made: time(user.created_ms),
        disabled: user.disabled_ms.map(time),
    }
}

fn token(token: &ApiToken, now_ms: i64) -> TokenRow {
    let over = token.expires_ms.is_some_and(|end| end <= now_ms);
    let ends = match (token.revoked_ms, token.expires_ms) {
        (Some(at), _) => format!("revoked {}", time(at)),
        (None, Some(at)) if over => format!("over since {}", time(at)),
        (None, Some(at)) => super::format::ahead(at),
        (None, None) => "when it is revoked".into(),
    };
    TokenRow {
        id: token.id.clone(),
        name: token.name.clone(),
        role: token.role.as_str(),
        by: token.made_by.clone().unwrap_or_else(|| "the collector's machine".into()),
        made: time(token.created_ms),
        ends,
        used: token.last_used_ms.map_or_else(|| "never".into(), time),
        lives: token.revoked_ms.is_none() && !over,
    }
}

fn line(line: &AccessLine) -> Line {
    Line {
        when: time(line.at_ms),
        what: format!("{} {} → {}", line.method, line.path, line.status),
        who: format!("{} ({}) from {}", line.who, line.role, line.address),
    }
}

/// Shows the page again, or what went wrong on it.
async fn again<T>(state: &ApiState, done: Result<T, ApiError>) -> Result<Response, PageError> {
    let Err(error) = done else { return Ok(Redirect::to(HERE).into_response()) };
    let mut response = shown(state, format!("{}.", capital(error.message().to_owned())), None).await?.into_response();
    *response.status_mut() = error.status();
    Ok(response)
}

fn role(fields: &Fields) -> Result<Role, ApiError> {
    fields.get("role").parse().map_err(|e: crate::store::NoRole| ApiError::bad(e.to_string(), "choose one"))
}

/// Makes a user.
pub async fn add_user(
    State(state): State<ApiState>,
    Extension(fields): Extension<Fields>,
) -> Result<Response, PageError> {
    let done = match role(&fields) {
        Ok(role) => users::make(&state, fields.get("name"), role, fields.get("password").to_owned()).await,
        Err(error) => Err(error),
    };
    again(&state, done).await
}

/// Does something to a user: the field `do` says what.
pub async fn change_user(
    State(state): State<ApiState>,
    Path(name): Path<String>,
    Extension(fields): Extension<Fields>,
) -> Result<Response, PageError> {
    let done = match (fields.get("do"), role(&fields)) {
        ("role", Ok(role)) => users::set_role(&state, &name, role).await,
        ("role", Err(error)) => Err(error),
        ("password", _) => users::set_password(&state, &name, fields.get("password").to_owned()).await,
        ("disable", _) => users::set_disabled(&state, &name, true).await,
        ("enable", _) => users::set_disabled(&state, &name, false).await,
        (other, _) => Err(ApiError::bad(format!("{other:?} is nothing that can be done"), "use the page")),
    };
    again(&state, done).await
}

/// Makes a token and shows it.
pub async fn add_token(
    State(state): State<ApiState>,
    Extension(fields): Extension<Fields>,
) -> Result<Response, PageError> {
    let seconds = match fields.get("days") {
        "" => Ok(None),
        days => days.parse::<u64>().map(|days| Some(days.saturating_mul(DAY_S))),
    };
    let done = match (role(&fields), seconds) {
        (Ok(role), Ok(seconds)) => tokens::make(&state, fields.get("name"), role, seconds).await,
        (Err(error), _) => Err(error),
        (_, Err(_)) => Err(ApiError::bad("the number of days is none", "choose one")),
    };
    match done {
        Ok(made) => Ok(shown(&state, String::new(), Some(made)).await?.into_response()),
        Err(error) => again::<()>(&state, Err(error)).await,
    }
}

/// Ends a token.
pub async fn end_token(State(state): State<ApiState>, Path(id): Path<String>) -> Result<Response, PageError> {
    let done = tokens::end(&state, &id).await;
    again(&state, done).await
}
