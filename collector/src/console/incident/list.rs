//! The inbox: what somebody should look at first, then what is muted, and everything.

use askama::Template;
use axum::extract::State;
use serde::Deserialize;

use crate::api::{ApiError, ApiState, Query};
use crate::clock::now_ms;
use crate::console::format::{Line, line};
use crate::console::{Page, Tab, render};
use crate::store::{EventQuery, Incident, IncidentQuery, IncidentState};

/// Lines of the page.
const LINES: usize = 200;
/// Open incidents that are counted.
const COUNTED: usize = 1000;
/// Events of the digest that are counted.
const DIGEST_COUNTED: usize = 100;
const DAY_MS: i64 = 24 * 3_600_000;

#[derive(Template)]
#[template(path = "incidents.html")]
struct List {
    page: &'static str,
    live: &'static str,
    tabs: Vec<Tab>,
    all: bool,
    empty: String,
    rows: Vec<Line>,
    more: bool,
}

/// Which incidents the list shows.
#[derive(Debug, Deserialize)]
pub struct Which {
    #[serde(default)]
    all: bool,
    #[serde(default)]
    muted: bool,
}

/// The list.
pub async fn list(State(state): State<ApiState>, which: Result<Query<Which>, ApiError>) -> Page {
    let Query(which) = which?;
    let open = IncidentQuery { open: Some(true), limit: Some(COUNTED), ..IncidentQuery::default() };
    let (muted, loud): (Vec<Incident>, Vec<Incident>) =
        state.store.incidents(open).await?.into_iter().partition(|i| i.state == IncidentState::Muted);
    let digest = digest_count(&state).await?;
    let tabs = tabs(&which, loud.len(), muted.len(), &digest);
    let empty = empty(&which, muted.len());
    let shown = match (which.all, which.muted) {
        (true, _) => {
            let every = IncidentQuery { limit: Some(LINES + 1), ..IncidentQuery::default() };
            state.store.incidents(every).await?
        }
        (false, true) => muted,
        (false, false) => loud,
    };
    let rows = shown.iter().take(LINES).map(line).collect();
    let page =
        List { page: "incidents", live: "incident", tabs, all: which.all, empty, rows, more: shown.len() > LINES };
    render(&page)
}

/// How many events of the last day opened nothing, as far as it is worth counting.
async fn digest_count(state: &ApiState) -> Result<String, ApiError> {
    let query = EventQuery {
        digest: true,
        since_ms: Some(now_ms().saturating_sub(DAY_MS)),
        limit: Some(DIGEST_COUNTED),
        ..EventQuery::default()
    };
    Ok(match state.store.events(query).await?.len() {
        n if n >= DIGEST_COUNTED => format!("{n}+"),
        n => shown(n),
    })
}

fn shown(count: usize) -> String {
    if count == 0 { String::new() } else { count.to_string() }
}

fn tabs(which: &Which, open: usize, muted: usize, digest: &str) -> Vec<Tab> {
    let tab = |words: &str, link: &str, count: String, here: bool| Tab {
        words: words.to_owned(),
        link: link.to_owned(),
        here,
        count,
    };
    vec![
        tab("Open", "/incidents", shown(open), !which.all && !which.muted),
        tab("Muted", "/incidents?muted=true", shown(muted), which.muted && !which.all),
        tab("All", "/incidents?all=true", String::new(), which.all),
        tab("Digest", "/digest", digest.to_owned(), false),
    ]
}

fn empty(which: &Which, muted: usize) -> String {
    match (which.all, which.muted, muted) {
        (true, ..) => {
            "There has been no incident. When a node raises an alarm that holds, or breaks a rule, it appears here."
                .into()
        }
        (false, true, _) => "Nothing is muted.".into(),
        (false, false, 0) => "All quiet: no incident is open.".into(),
        (false, false, 1) => "All quiet: no incident is open but a muted one.".into(),
        (false, false, n) => format!("All quiet: no incident is open but {n} muted ones."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_stand_where_they_matter() {
        let which = Which { all: false, muted: true };
        let tabs = tabs(&which, 3, 0, "100+");
        let told: Vec<_> = tabs.iter().map(|t| (t.words.as_str(), t.count.as_str(), t.here)).collect();
        assert_eq!(told, [("Open", "3", false), ("Muted", "", true), ("All", "", false), ("Digest", "100+", false)]);
        assert_eq!(empty(&which, 0), "Nothing is muted.");
        let quiet = Which { all: false, muted: false };
        assert!(empty(&quiet, 2).contains("2 muted ones"));
    }
}
