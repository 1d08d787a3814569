//! Home: is all quiet, and what stands behind it?

use askama::Template;
use axum::extract::State;

use super::format::{Line, line, time};
use super::{Fact, Page, render};
use crate::api::{ApiState, status};
use crate::store::IncidentQuery;

#[derive(Template)]
#[template(path = "home.html")]
struct Home {
    page: &'static str,
    live: &'static str,
    quiet: bool,
    headline: String,
    sentence: String,
    incidents: Vec<Line>,
    facts: Vec<Fact>,
}

/// The page.
pub async fn home(State(state): State<ApiState>) -> Page {
    let status = status::read(&state).await?;
    let t = &status.totals;
    let open = IncidentQuery { open: Some(true), limit: Some(20), ..IncidentQuery::default() };
    let incidents: Vec<Line> = state.store.incidents(open).await?.iter().map(line).collect();
    let (headline, sentence) = match (t.nodes, t.incidents_open) {
        (0, _) => {
            ("No node yet".to_owned(), "Start an agent: tacit-agent run, or tacit up for this machine.".to_owned())
        }
        (_, 0) => (
            "All quiet".to_owned(),
            format!("{} of {} nodes online, {} series watched every second.", t.nodes_online, t.nodes, t.series),
        ),
        (_, 1) => ("One incident".to_owned(), "Somebody should look.".to_owned()),
        (_, n) => (format!("{n} incidents"), "Somebody should look.".to_owned()),
    };
    let promise = match t.alarms_promised {
        p if p > 0.0 => format!("{} raised, {p:.1} promised", t.alarms_actual),
        _ => format!("{} raised", t.alarms_actual),
    };
    let facts = vec![
        Fact::new("Nodes online", format!("{} of {}", t.nodes_online, t.nodes)),
        Fact::new("Series watched", t.series),
        Fact::new("Alarms, last 30 days", promise),
        Fact::html("Last incident", t.last_incident_ms.map_or("none yet".into(), time)),
        Fact::html("Collector since", time(status.since_ms)),
    ];
    render(&Home {
        page: "home",
        live: "incident node",
        quiet: status.quiet && t.nodes > 0,
        headline,
        sentence,
        incidents,
        facts,
    })
}
