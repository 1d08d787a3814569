//! `tacit incidents` and `tacit incident …`

mod show;
mod why;

use std::fmt::Write as _;

use anyhow::{Context as _, Result};
use serde_json::{Value, json};
use tacit_collector::api::rankings::{Replay, Scores};
use tacit_collector::api::{Incidents as List, SplitParts};
use tacit_collector::cause::Ranking;
use tacit_collector::store::{Incident, IncidentDetail, IncidentState};

use super::{print, print_json};
use crate::arguments::{Incident as Action, Incidents, OneIncident};
use crate::client::Client;
use crate::output::{ago, now_ms, plain, table, utc};

/// Lists incidents.
///
/// # Errors
/// When the collector cannot be asked.
pub fn list(options: &Incidents) -> Result<()> {
    let client = Client::of(&options.ask)?;
    if options.scores {
        let scores: Scores = client.get("/scores")?;
        return if options.ask.json { print_json(&scores) } else { print(&describe_scores(&scores)) };
    }
    let path = match (options.all, options.muted) {
        (true, _) => "/incidents",
        (false, true) => "/incidents?muted=true",
        (false, false) => "/incidents?open=true",
    };
    let answer: List = client.get(path)?;
    if options.ask.json {
        return print_json(&answer);
    }
    if answer.incidents.is_empty() {
        return print(match (options.all, options.muted) {
            (true, _) => "There has been no incident.\n",
            (false, true) => "Nothing is muted.\n",
            (false, false) => "All quiet: no open incident.\n",
        });
    }
    let now = now_ms();
    let rows: Vec<Vec<String>> = answer.incidents.iter().map(|i| row(i, now)).collect();
    print(&table(&["ID", "STATE", "SEVERITY", "SINCE", "EVENTS", "NODES", "CAUSE", "WHAT"], &rows))
}

/// Nodes that are named in a line.
const NAMED: usize = 3;

fn row(i: &Incident, now: i64) -> Vec<String> {
    let more = format!("+{}", i.nodes.len().saturating_sub(NAMED));
    let mut nodes: Vec<&str> = i.nodes.iter().take(NAMED).map(AsRef::as_ref).collect();
    if i.nodes.len() > NAMED {
        nodes.push(&more);
    }
    vec![
        i.id.to_string(),
        state_words(i),
        format!("{:.2}", i.severity),
        format!("{} ago", ago(i.onset_ms, now)),
        i.events.to_string(),
        nodes.join(","),
        i.cause.as_ref().map_or_else(
            || "–".to_owned(),
            |c| if c.unsure { format!("{}?", plain(&c.entity)) } else { plain(&c.entity) },
        ),
        plain(&i.title),
    ]
}

/// State, with what muted it.
fn state_words(i: &Incident) -> String {
    match (&i.muted_by, i.merged_into) {
        (_, Some(into)) => format!("part of {into}"),
        (Some(by), None) if i.state == IncidentState::Muted => format!("muted by {}", plain(by)),
        _ => state(i.state).to_owned(),
    }
}

fn state(state: IncidentState) -> &'static str {
    match state {
        IncidentState::Open => "open",
        IncidentState::Acknowledged => "acknowledged",
        IncidentState::Muted => "muted",
        IncidentState::Resolved => "resolved",
        IncidentState::Reopened => "reopened",
    }
}

/// Shows or changes one incident.
///
/// # Errors
/// When the collector cannot be asked or refuses.
pub fn one(action: &Action) -> Result<()> {
    match action {
        Action::Show(one) => {
            let detail = read(one)?;
            if one.ask.json { print_json(&detail) } else { print(&show::describe(&detail)) }
        }
        Action::Why(one) => explain(one),
        Action::Replay { one, at_ms } => replay(one, *at_ms),
        Action::Ack(one) => change(one, "acknowledge", json!({})),
        Action::Resolve(one) => change(one, "resolve", json!({})),
        Action::Label { one, label, of } => change(one, "label", json!({ "label": label, "of": of })),
        Action::Cause { one, was: Some(name), .. } => change(one, "cause", json!({ "was": name })),
        Action::Cause { one, .. } => change(one, "cause", json!({ "right": true })),
        Action::Comment { one, text } => {
            let said = OneIncident { note: Some(text.clone()), ..one.clone() };
            change(&said, "comment", json!({}))
        }
        Action::Assign { one, who } => change(one, "assign", json!({ "assignee": who })),
        Action::Merge { one, into } => change(one, "merge", json!({ "into": into })),
        Action::Split { one, events } => split(one, events),
    }
}

fn read(one: &OneIncident) -> Result<IncidentDetail> {
    Client::of(&one.ask)?.get(&format!("/incidents/{}", one.id))
}

/// Does something to an incident; what is said of it comes back.
fn post<T: serde::de::DeserializeOwned>(one: &OneIncident, verb: &str, mut body: Value) -> Result<T> {
    body["actor"] = json!(one.actor);
    body["note"] = json!(one.note);
    Client::of(&one.ask)?.post(&format!("/incidents/{}/{verb}", one.id), &body)
}

fn change(one: &OneIncident, verb: &str, body: Value) -> Result<()> {
    let incident: Incident = post(one, verb, body)?;
    if one.ask.json { print_json(&incident) } else { print(&line(&incident)) }
}

fn line(i: &Incident) -> String {
    format!("Incident {} is {}: {}\n", i.id, state(i.state), plain(&i.title))
}

fn split(one: &OneIncident, events: &[String]) -> Result<()> {
    let named = |text: &String| -> Result<Value> {
        let (node, event) = text.split_once('/').with_context(|| {
            format!("{text:?} is no event: write NODE/EVENT, as `tacit incident why {}` lists them", one.id)
        })?;
        Ok(json!({ "node": node, "event": event }))
    };
    let events: Vec<Value> = events.iter().map(named).collect::<Result<_>>()?;
    let parts: SplitParts = post(one, "split", json!({ "events": events }))?;
    if one.ask.json {
        return print_json(&parts);
    }
    print(&(line(&parts.split_off) + &line(&parts.incident)))
}

fn explain(one: &OneIncident) -> Result<()> {
    let detail = read(one)?;
    if one.ask.json {
        // The same, for programs: what is not needed to understand why is left out.
        let i = &detail.incident;
        return print_json(&json!({
            "incident": i.id, "gate": i.gate, "muted_by": i.muted_by, "parent": i.parent, "merged_into": i.merged_into,
            "audit": detail.audit, "cause": i.cause, "cause_label": i.cause_label, "ranking": detail.ranking,
            "events": why::events(&detail),
        }));
    }
    print(&why::explain(&detail))
}

fn replay(one: &OneIncident, at_ms: Option<i64>) -> Result<()> {
    let at = at_ms.map_or_else(String::new, |at| format!("?at_ms={at}"));
    let replay: Replay = Client::of(&one.ask)?.get(&format!("/incidents/{}/replay{at}", one.id))?;
    if one.ask.json {
        return print_json(&replay);
    }
    print(&compare(&replay))
}

fn compare(replay: &Replay) -> String {
    let name = |ranking: &Ranking, place: usize| {
        ranking
            .causes
            .get(place)
            .map_or_else(|| vec!["–".to_owned(), "–".to_owned()], |c| vec![plain(&c.entity), format!("{:.4}", c.score)])
    };
    let places = replay.stored.causes.len().max(replay.again.causes.len());
    let rows: Vec<Vec<String>> = (0..places)
        .map(|n| [vec![(n + 1).to_string()], name(&replay.stored, n), name(&replay.again, n)].concat())
        .collect();
    let words = if replay.same {
        "The same evidence gives the same ranking."
    } else {
        "The same evidence gives another ranking now: the method has changed since."
    };
    format!(
        "Ranking of {}\n{}margin {:.3}, now {:.3}\n{words}\n",
        utc(replay.at_ms),
        table(&["", "THEN", "SCORE", "NOW", "SCORE"], &rows),
        replay.stored.margin,
        replay.again.margin
    )
}

fn describe_scores(scores: &Scores) -> String {
    let share = |s: Option<f32>| s.map_or_else(|| "–".to_owned(), |s| format!("{:.0} %", s * 100.0));
    let mut out = format!("{} incidents, without demonstrations\n", scores.incidents);
    for l in scores.labels.iter().filter(|l| l.incidents > 0) {
        let word = serde_json::to_value(l.label).ok().and_then(|v| v.as_str().map(str::to_owned)).unwrap_or_default();
        // Writing to a String cannot fail, here and below.
        let _ = writeln!(out, "{:>6}  {word}", l.incidents);
    }
    let _ = writeln!(out, "real, of those labelled real or false alarm: {}", share(scores.precision));
    if scores.causes == 0 {
        out.push_str("no cause was judged yet: tacit incident cause ID --right, or --was ENTITY\n");
        return out;
    }
    let _ = writeln!(
        out,
        "judged causes: {}; the first was it in {}, it was among the first three in {}, among the first five in {}",
        scores.causes,
        share(scores.at_1),
        share(scores.at_3),
        share(scores.at_5)
    );
    let _ = writeln!(out, "when it was sure, the first was it in {}", share(scores.at_1_when_sure));
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use tacit_collector::cause::{Cause, EntityKind};

    fn ranking(names: &[&str]) -> Ranking {
        let cause = |name: &&str| Cause {
            entity: (*name).into(),
            kind: EntityKind::Service,
            score: 1.0,
            change: None,
            evidence: Vec::new(),
        };
        Ranking { causes: names.iter().map(cause).collect(), margin: 0.25, unsure: false }
    }

    #[test]
    fn a_replay_shows_both_rankings() {
        let replay =
            Replay { incident: 1, at_ms: 0, same: false, stored: ranking(&["db", "api"]), again: ranking(&["api"]) };
        let text = compare(&replay);
        assert!(text.contains("1  db    1.0000  api  1.0000"), "{text}");
        assert!(text.contains("2  api   1.0000  –    –"), "{text}");
        assert!(text.contains("the method has changed since"));
    }

    #[test]
    fn scores_are_said_in_words() {
        let scores = Scores { incidents: 3, causes: 2, at_1: Some(0.5), ..Scores::default() };
        assert!(describe_scores(&scores).contains("judged causes: 2; the first was it in 50 %"));
        assert!(describe_scores(&Scores::default()).contains("no cause was judged yet"));
    }
}
