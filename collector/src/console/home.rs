//! Home: is all quiet, and what stands behind it?

use askama::Template;
use axum::extract::State;

use super::format::{Line, counted, line, time};
use super::{Fact, Page, render};
use crate::api::ApiState;
use crate::api::status::{self, Status};
use crate::store::{Incident, IncidentQuery, IncidentState, Totals};

#[derive(Template)]
#[template(path = "home.html")]
struct Home {
    page: &'static str,
    live: &'static str,
    quiet: bool,
    headline: String,
    sentence: String,
    incidents: Vec<Line>,
    /// Receivers that take nothing.
    failing: Vec<String>,
    facts: Vec<Fact>,
}

/// Open incidents that are looked at.
const LOOKED: usize = 1000;
/// Open incidents that are shown.
const LINES: usize = 20;

/// The page.
pub async fn home(State(state): State<ApiState>) -> Page {
    let status = status::read(&state).await?;
    let t = &status.totals;
    let open = IncidentQuery { open: Some(true), limit: Some(LOOKED), ..IncidentQuery::default() };
    let (muted, loud): (Vec<Incident>, Vec<Incident>) =
        state.store.incidents(open).await?.into_iter().partition(|i| i.state == IncidentState::Muted);
    let muted = muted.len() as u64;
    let (headline, sentence) = words(t, t.incidents_open.saturating_sub(muted));
    let promise = match t.alarms_promised {
        p if p > 0.0 => format!("{} raised, {p:.1} promised", t.alarms_actual),
        _ => format!("{} raised", t.alarms_actual),
    };
    let mut facts = vec![
        Fact::new("Nodes online", format!("{} of {}", t.nodes_online, t.nodes)),
        Fact::new("Series watched", t.series),
        Fact::new("Alarms, last 30 days", promise),
        Fact::new("Pages, last 7 days", pages(&status)),
        Fact::html("Last incident", t.last_incident_ms.map_or("none yet".into(), time)),
        Fact::html("Collector since", time(status.since_ms)),
    ];
    if muted > 0 {
        let words = counted(usize::try_from(muted).unwrap_or(usize::MAX), "incident", "incidents");
        facts.insert(4, Fact::html("Muted now", format!("<a href=\"/incidents?muted=true\">{words}</a>")));
    }
    render(&Home {
        page: "home",
        live: "incident node",
        quiet: loud.is_empty() && t.nodes > 0,
        headline,
        sentence,
        incidents: loud.iter().take(LINES).map(line).collect(),
        failing: status.notify_failing,
        facts,
    })
}

/// What the page says in large letters, and what stands behind it.
fn words(t: &Totals, loud: u64) -> (String, String) {
    match (t.nodes, loud) {
        (0, 0) => {
            ("No node yet".to_owned(), "Start an agent: tacit-agent run, or tacit up for this machine.".to_owned())
        }
        (_, 0) => (
            "All quiet".to_owned(),
            format!("{} of {} nodes online, {} series watched every second.", t.nodes_online, t.nodes, t.series),
        ),
        (_, 1) => ("One incident".to_owned(), "Somebody should look.".to_owned()),
        (_, n) => (format!("{n} incidents"), "Somebody should look.".to_owned()),
    }
}

/// Incidents that were worth a page, against what is promised.
fn pages(status: &Status) -> String {
    match status.pages_promised {
        Some(promised) => format!("{} sent, {promised:.1} promised", status.pages_actual),
        None => format!("{} sent", status.pages_actual),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_quiet_while_nothing_is_heard() {
        let fleet = Totals { nodes: 2, nodes_online: 2, series: 600, incidents_open: 1, ..Totals::default() };
        assert_eq!(words(&fleet, 0).0, "All quiet");
        assert_eq!(words(&fleet, 1).0, "One incident");
        assert_eq!(words(&fleet, 4).0, "4 incidents");
        assert_eq!(words(&Totals::default(), 0).0, "No node yet");
        // Alerts from elsewhere need no node.
        assert_eq!(words(&Totals::default(), 1).0, "One incident");
    }
}
