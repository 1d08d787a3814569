//! Settings: what is in force, and what was refused.

use askama::Template;
use axum::extract::State;

use super::format::time;
use super::{Fact, Page, render};
use crate::access::me;
use crate::access::roles::Role;
use crate::api::ApiState;
use crate::store::StoreError;

#[derive(Template)]
#[template(path = "settings.html")]
struct Settings {
    page: &'static str,
    live: &'static str,
    facts: Vec<Fact>,
    /// Whether users and tokens may be seen.
    governs: bool,
    quarantine: Vec<Bad>,
}

struct Bad {
    when: String,
    topic: String,
    client: String,
    bytes: usize,
    reason: String,
}

/// The page.
pub async fn settings(State(state): State<ApiState>) -> Page {
    let totals = state.store.totals().await?;
    let r = state.retention;
    let counts = state.ingest.counters.now();
    let facts = vec![
        Fact::new("Version", env!("CARGO_PKG_VERSION")),
        Fact::new("Console and API", format!("http://{}", state.http)),
        Fact::new("Broker", state.mqtt.map_or("external".into(), |a| format!("mqtt://{a}, embedded"))),
        Fact::new("Who may ask", who_may_ask(&state).await?),
        Fact::new("Minute values are kept", format!("{} days", r.points_days)),
        Fact::new("Events without an incident", format!("{} days", r.events_days)),
        Fact::new("Resolved incidents", format!("{} days", r.incidents_days)),
        Fact::new("Database", tacit_wire::words::value(totals.bytes as f32, "By")),
        Fact::new("Messages stored", totals.messages),
        Fact::new(
            "Since the start",
            format!(
                "{} received, {} repeated, {} failed commits",
                counts.messages, counts.duplicates, counts.store_failures
            ),
        ),
    ];
    let bad = |q: crate::store::Quarantined| Bad {
        when: time(q.received_ms),
        topic: q.topic,
        client: q.client,
        bytes: q.bytes,
        reason: q.reason,
    };
    let quarantine = state.store.quarantined(50).await?.into_iter().map(bad).collect();
    let governs = me::is_known() && me::may(Role::Admin);
    render(&Settings { page: "settings", live: "", facts, governs, quarantine })
}

async fn who_may_ask(state: &ApiState) -> Result<&'static str, StoreError> {
    Ok(match (state.access.is_required().await?, state.access.awaits_first_user().await?) {
        (true, _) => "who signs in or has a token",
        (false, true) => "everybody on this machine; tacit-collector user add makes the first user",
        (false, false) => "everybody: access.required = false",
    })
}
