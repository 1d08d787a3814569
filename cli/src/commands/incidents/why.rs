//! Why an incident is what it is: what opened it, why each event is in it, what muted it, what the ranking of causes saw.

use std::fmt::Write as _;

use serde_json::{Value, json};
use tacit_collector::incident::about::About;
use tacit_collector::store::{EventRecord, IncidentDetail};

use super::show;
use crate::output::{plain, table, utc};

/// Candidates whose lines are shown.
const EXPLAINED: usize = 5;

/// Why, in words.
pub fn explain(detail: &IncidentDetail) -> String {
    let i = &detail.incident;
    let mut out = format!("{}\n\nWhy it opened\n", plain(&i.title));
    let gate = i.gate.as_deref().map_or_else(|| "it is not known any more".to_owned(), plain);
    // Writing to a String cannot fail, here and below.
    let _ = writeln!(out, "{gate}");
    if let Some(parent) = i.parent {
        let _ = writeln!(out, "it goes on with incident {parent}, which took no more events");
    }
    out.push_str("\nWhy its events are in it\n");
    for entry in detail.audit.iter().filter(|a| is_joining(&a.action)) {
        let note = entry.note.as_deref().map_or_else(String::new, plain);
        let _ = writeln!(out, "{}  {}  {note}", utc(entry.at_ms), plain(&entry.action));
    }
    let rows: Vec<Vec<String>> = detail.events.iter().map(row).collect();
    if !rows.is_empty() {
        out.push('\n');
        out.push_str(&table(&["EVENT", "SINCE", "ABOUT", "IN WHICH RESPECT", "SOURCE", "WHAT"], &rows));
    }
    out.push_str(&quiet(detail));
    out.push_str("\nWhat the ranking of causes saw\n");
    match detail.ranking.as_ref().filter(|r| !r.causes.is_empty()) {
        None => out.push_str("there is no ranking yet\n"),
        Some(ranking) => {
            for (n, cause) in ranking.causes.iter().take(EXPLAINED).enumerate() {
                let _ = writeln!(out, "{}. {}, score {:.3}", n + 1, plain(&cause.entity), cause.score);
                out.push_str(&show::lines(cause, i.onset_ms));
            }
            let doubt = if ranking.unsure { ": too little to be sure" } else { "" };
            let _ = writeln!(out, "margin {:.3}{doubt}; tacit incident replay {} ranks again", ranking.margin, i.id);
        }
    }
    out
}

/// Actions that bring events into an incident, or take them out.
fn is_joining(action: &str) -> bool {
    matches!(action, "opened" | "event-added" | "reopened" | "merged" | "merged-into" | "split" | "child" | "unstable")
}

fn row(record: &EventRecord) -> Vec<String> {
    let About { entity, family, .. } = About::of(record);
    let e = &record.event;
    vec![
        format!("{}/{}", e.head.node, e.event),
        utc(record.onset_ms),
        plain(&entity),
        plain(&family),
        format!("{} {}", record.source().as_str(), e.kind),
        plain(&e.text),
    ]
}

/// What muted it, and when it was heard again.
fn quiet(detail: &IncidentDetail) -> String {
    let mut out = String::new();
    for entry in detail.audit.iter().filter(|a| matches!(a.action.as_str(), "muted" | "heard")) {
        let note = entry.note.as_deref().map_or_else(String::new, plain);
        let _ = writeln!(out, "{}  {} {note}", utc(entry.at_ms), plain(&entry.action));
    }
    if out.is_empty() { "\nNothing muted it.\n".into() } else { format!("\nWhat muted it\n{out}") }
}

/// The events of an incident for programs: which, about what, since when.
pub fn events(detail: &IncidentDetail) -> Vec<Value> {
    let one = |record: &EventRecord| {
        let About { entity, family, .. } = About::of(record);
        let e = &record.event;
        json!({
            "node": e.head.node, "event": e.event, "onset_ms": record.onset_ms, "entity": entity, "family": family,
            "source": record.source(), "kind": e.kind, "text": e.text,
        })
    };
    detail.events.iter().map(one).collect()
}
