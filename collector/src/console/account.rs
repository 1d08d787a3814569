//! Who somebody is here, and their own password.

use askama::Template;
use axum::Extension;
use axum::extract::State;
use axum::response::{IntoResponse, Response};

use super::format::capital;
use super::login::signed_out;
use super::{Fact, Page, PageError, render};
use crate::access::me::{Who, me};
use crate::api::{self, ApiState, Asker, Fields};

#[derive(Template)]
#[template(path = "account.html")]
struct Account {
    page: &'static str,
    live: &'static str,
    facts: Vec<Fact>,
    wrong: String,
    /// Whether the form can be sent.
    can: bool,
}

/// The page.
pub async fn page() -> Page {
    shown(String::new())
}

fn shown(wrong: String) -> Page {
    let me = me();
    let facts = match me.who {
        Who::Anyone => vec![Fact::new("You", "nobody has to sign in here")],
        _ => vec![Fact::new("You", me.name()), Fact::new("Role", me.role_name())],
    };
    render(&Account { page: "account", live: "", facts, wrong, can: me.session.is_some() })
}

/// Changes the password of who asks; they sign in again with it.
pub async fn password(
    State(state): State<ApiState>,
    Extension(asker): Extension<Asker>,
    Extension(fields): Extension<Fields>,
) -> Result<Response, PageError> {
    let Err(error) = api::me::change(&state, asker, fields.get("old"), fields.get("new")).await else {
        return Ok(signed_out(&state, "/login?changed=true"));
    };
    let mut response = shown(format!("{}.", capital(error.message().to_owned())))?.into_response();
    *response.status_mut() = error.status();
    Ok(response)
}
