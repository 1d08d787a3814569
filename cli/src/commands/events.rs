//! `tacit events`

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};
use tacit_collector::store::EventRecord;

use super::{print, print_json};
use crate::arguments::Events;
use crate::client::Client;
use crate::output::utc;

#[derive(Serialize, Deserialize)]
struct List {
    events: Vec<EventRecord>,
}

/// Lists events, oldest of the asked-for first so that `--follow` goes on below.
///
/// # Errors
/// When the collector cannot be asked.
pub fn run(options: &Events) -> Result<()> {
    let client = Client::of(&options.ask)?;
    let mut path = format!("/events?limit={}", options.limit);
    if let Some(node) = &options.node {
        let node: tacit_wire::NodeId = node.parse()?;
        path.push_str(&format!("&node={node}"));
    }
    let mut answer: List = client.get(&path)?;
    if options.ask.json && !options.follow {
        return print_json(&answer);
    }
    answer.events.reverse();
    for record in &answer.events {
        show(record, options.ask.json)?;
    }
    if !options.follow {
        return if answer.events.is_empty() { print("There has been no event.\n") } else { Ok(()) };
    }
    client.follow("/live", |name, data| {
        if name != "event" {
            return Ok(());
        }
        let record: EventRecord = serde_json::from_str(data).context("the collector sent an event in another form")?;
        let wanted = options.node.as_ref().is_none_or(|n| record.event.head.node.as_str() == n);
        if wanted { show(&record, options.ask.json) } else { Ok(()) }
    })
}

fn show(record: &EventRecord, json: bool) -> Result<()> {
    if json {
        return print(&(serde_json::to_string(record)? + "\n"));
    }
    let e = &record.event;
    print(&format!(
        "{}  {}  {:<7} {:<6} {:.2}  {}\n",
        utc(record.onset_ms),
        e.head.node,
        e.kind,
        e.phase,
        e.severity.0,
        e.text
    ))
}
