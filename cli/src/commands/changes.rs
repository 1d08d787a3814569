//! `tacit change`

use std::fmt::Write as _;

use anyhow::Result;
use serde::{Deserialize, Serialize};
use tacit_collector::store::EventRecord;

use super::{print, print_json};
use crate::arguments::Change;
use crate::client::Client;
use crate::output::{plain, utc};

#[derive(Serialize, Deserialize)]
struct Changes {
    changes: Vec<EventRecord>,
}

/// Announces a change, and prints what is known of it now.
///
/// # Errors
/// When the collector cannot be asked or refuses.
pub fn announce(options: &Change) -> Result<()> {
    let body = serde_json::json!({
        "what": options.what,
        "service": options.service,
        "node": options.node,
        "entity": options.entity,
        "site": options.site,
        "at_ms": options.at,
        "kind": options.kind,
        "url": options.url,
        "id": options.id,
        "actor": options.actor.as_deref().filter(|who| !who.trim().is_empty()),
    });
    let answer: Changes = Client::of(&options.ask)?.post("/changes", &body)?;
    if options.ask.json {
        return print_json(&answer);
    }
    let mut out = String::new();
    for change in &answer.changes {
        let entity = change.outside.as_ref().map_or("", |outside| outside.entity.as_str());
        // Writing to a String cannot fail.
        let _ = writeln!(out, "{}: {} ({})", plain(entity), plain(&change.event.text), utc(change.onset_ms));
    }
    print(&out)
}
