//! The web pages: server-rendered, with embedded assets, no build step and nothing from elsewhere.
//!
//! Every number on a page comes from the functions that the API uses. Pages read without JavaScript; with it they keep
//! themselves up to date, draw charts, and act.

mod account;
mod assets;
mod digest;
mod format;
mod home;
mod incident;
mod login;
mod map;
mod nodes;
mod quiet;
mod settings;
mod users;

use askama::Template;
use axum::Router;
use axum::extract::Request;
use axum::http::StatusCode;
use axum::middleware::{self, Next};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::{get, post};

use crate::api::{ApiError, ApiState};

pub use assets::asset;

tokio::task_local! {
    /// Whether the request that this task answers is one to a demonstration; several collectors may be in one process.
    static DEMO: bool;
}

/// Whether a page is to say that nothing on it is real; asked by the frame of all pages.
pub fn is_demo() -> bool {
    DEMO.try_with(|demo| *demo).unwrap_or(false)
}

/// The routes of the pages; those of a demonstration say so.
pub fn pages(demo: bool) -> Router<ApiState> {
    Router::new()
        .route("/", get(home::home))
        .route("/incidents", get(incident::list))
        .route("/incidents/{id}", get(incident::one))
        .route("/digest", get(digest::page))
        .route("/map", get(map::page))
        .route("/nodes", get(nodes::list))
        .route("/nodes/{node}", get(nodes::one))
        .route("/quiet", get(quiet::page))
        .route("/settings", get(settings::settings))
        .route("/settings/users", get(users::page))
        .route("/settings/users", post(users::add_user))
        .route("/settings/users/{name}", post(users::change_user))
        .route("/settings/tokens", post(users::add_token))
        .route("/settings/tokens/{id}", post(users::end_token))
        .route("/account", get(account::page))
        .route("/account/password", post(account::password))
        .route("/login", get(login::page))
        .route("/login", post(login::enter))
        .route("/logout", post(login::leave))
        .route("/assets/{hash}/{name}", get(assets::serve))
        .fallback(not_found)
        .layer(middleware::from_fn(move |request: Request, next: Next| DEMO.scope(demo, next.run(request))))
}

/// A page, or the page that says why not.
type Page = Result<Html<String>, PageError>;

fn render(template: &impl Template) -> Page {
    template
        .render()
        .map(Html)
        .map_err(|e| PageError { status: StatusCode::INTERNAL_SERVER_ERROR, words: e.to_string() })
}

/// Why a page cannot be shown.
#[derive(Debug)]
pub struct PageError {
    status: StatusCode,
    words: String,
}

impl From<ApiError> for PageError {
    fn from(error: ApiError) -> Self {
        Self { status: error.status(), words: error.message().to_owned() }
    }
}

impl From<crate::store::StoreError> for PageError {
    fn from(error: crate::store::StoreError) -> Self {
        ApiError::from(error).into()
    }
}

#[derive(Template)]
#[template(path = "error.html")]
struct ErrorPage<'a> {
    page: &'a str,
    live: &'a str,
    code: u16,
    headline: &'a str,
    words: &'a str,
}

impl IntoResponse for PageError {
    fn into_response(self) -> Response {
        let headline = match self.status {
            StatusCode::NOT_FOUND => "Not here",
            StatusCode::BAD_REQUEST => "That is not a page",
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => "Not allowed",
            _ => "Something is wrong",
        };
        let mut words = self.words.clone();
        words.get_mut(..1).map(str::make_ascii_uppercase);
        words.push('.');
        let page = ErrorPage { page: "", live: "", code: self.status.as_u16(), headline, words: &words };
        (self.status, Html(page.render().unwrap_or(self.words))).into_response()
    }
}

async fn not_found() -> PageError {
    PageError { status: StatusCode::NOT_FOUND, words: "there is no such page".into() }
}

/// A name and a value below a heading; the value is HTML.
struct Fact {
    name: &'static str,
    value: String,
}

impl Fact {
    fn new(name: &'static str, text: impl std::fmt::Display) -> Self {
        Self { name, value: format::escape(&text.to_string()) }
    }

    fn html(name: &'static str, value: String) -> Self {
        Self { name, value }
    }
}

/// One of several views of a page.
struct Tab {
    words: String,
    link: String,
    /// Whether it is the one that is shown.
    here: bool,
    /// How many it holds; empty where that says nothing.
    count: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_demonstration_is_one_to_its_own_requests_only() {
        async fn asked() -> bool {
            tokio::task::yield_now().await;
            is_demo()
        }
        assert_eq!(tokio::join!(DEMO.scope(true, asked()), DEMO.scope(false, asked())), (true, false));
        assert!(!is_demo());
    }
}
