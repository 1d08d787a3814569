//! Signing in and out. It works without JavaScript, by keyboard, and says what is wrong in a line.

use askama::Template;
use axum::Extension;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{Html, IntoResponse, Redirect, Response};
use serde::Deserialize;

use super::format::capital;
use super::{PageError, render};
use crate::access::Refusal;
use crate::access::log::Acted;
use crate::access::me::me;
use crate::api::{ApiError, ApiState, Asker, Fields, Query};

/// Letters of a name that are shown again.
const NAME_SHOWN: usize = 64;

#[derive(Template)]
#[template(path = "login.html")]
struct Login {
    page: &'static str,
    live: &'static str,
    /// What went wrong, as a sentence.
    wrong: String,
    /// What went well, as a sentence.
    said: &'static str,
    name: String,
    next: String,
}

/// What a link to the page may say.
#[derive(Debug, Default, Deserialize)]
pub struct Asked {
    /// Where somebody wanted to go.
    #[serde(default)]
    next: String,
    /// They have changed their password.
    #[serde(default)]
    changed: bool,
}

/// The page.
pub async fn page(State(state): State<ApiState>, asked: Result<Query<Asked>, ApiError>) -> Result<Response, PageError> {
    if !state.access.is_required().await? {
        return Ok(Redirect::to("/").into_response());
    }
    let Query(asked) = asked?;
    let said = if asked.changed { "Your password is changed. Sign in with the new one." } else { "" };
    let next = within(&asked.next).to_owned();
    show(&Login { page: "login", live: "", wrong: String::new(), said, name: String::new(), next })
}

/// Our own form says where it comes from, or a browser without `Sec-Fetch-Site` could not be told from a page elsewhere.
fn show(page: &Login) -> Result<Response, PageError> {
    let page: Html<String> = render(page)?;
    Ok(([(header::REFERRER_POLICY, "same-origin")], page).into_response())
}

/// Signs somebody in.
pub async fn enter(
    State(state): State<ApiState>,
    Extension(Asker(address)): Extension<Asker>,
    Extension(fields): Extension<Fields>,
    headers: HeaderMap,
) -> Result<Response, PageError> {
    let (name, next) = (fields.get("name"), within(fields.get("next")));
    let refusal = match state.access.sign_in(address, (name, fields.get("password")), &headers).await {
        Ok((user, cookie)) => {
            let mut response = ([(header::SET_COOKIE, cookie)], Redirect::to(next)).into_response();
            response.extensions_mut().insert(Acted { name: user.name, role: Some(user.role) });
            return Ok(response);
        }
        Err(refusal) => refusal,
    };
    let wait = if let Refusal::Wait(seconds) = refusal { Some(seconds) } else { None };
    let error = ApiError::from(refusal);
    let shown = name.chars().take(NAME_SHOWN).collect();
    let wrong = format!("{}.", capital(error.message().to_owned()));
    let login = Login { page: "login", live: "", wrong, said: "", name: shown, next: next.to_owned() };
    let mut response = show(&login)?;
    *response.status_mut() = error.status();
    if let Some(wait) = wait {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(wait));
    }
    if error.status() != StatusCode::TOO_MANY_REQUESTS {
        // A name that nobody has may be a password in the wrong field.
        let known = state.store.user(name).await?.map_or_else(|| "-".to_owned(), |user| user.name);
        response.extensions_mut().insert(Acted { name: known, role: None });
    }
    Ok(response)
}

/// Signs somebody out: this browser, not others of the same user.
pub async fn leave(State(state): State<ApiState>) -> Result<Response, PageError> {
    if let Some(session) = me().session {
        state.store.end_session(session.id_hash).await?;
        state.access.rights_changed();
    }
    Ok(signed_out(&state, "/login"))
}

/// Takes the cookie away and shows another page.
pub fn signed_out(state: &ApiState, place: &str) -> Response {
    ([(header::SET_COOKIE, state.access.sessions.no_cookie())], Redirect::to(place)).into_response()
}

/// An address on this collector; anything else is the home page. Nobody is sent elsewhere by a link to our page.
fn within(place: &str) -> &str {
    let rest = place.strip_prefix('/').unwrap_or("/");
    let is_ours = !rest.starts_with(['/', '\\']) && place.bytes().all(|b| b.is_ascii_graphic() && b != b'\\');
    if is_ours { place } else { "/" }
}

#[cfg(test)]
mod tests {
    use super::within;

    #[test]
    fn nobody_is_sent_elsewhere() {
        for ours in ["/", "/nodes/web-1", "/map?node=web-1&to=5", "/incidents/1#why"] {
            assert_eq!(within(ours), ours);
        }
        for other in [
            "",
            "nodes",
            "//evil.example",
            "/\\evil.example",
            "\\/evil.example",
            "https://evil.example",
            "/a\\b",
            "/a b",
            "/a\r\nset-cookie: x",
            "/é",
            "javascript:alert(1)",
        ] {
            assert_eq!(within(other), "/", "{other:?}");
        }
    }
}
