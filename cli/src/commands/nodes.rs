//! `tacit nodes` and `tacit maintenance`

use anyhow::Result;
use serde::{Deserialize, Serialize};
use tacit_collector::store::{NodeRecord, Presence};

use super::{print, print_json};
use crate::arguments::{Ask, Maintenance};
use crate::client::Client;
use crate::output::{ago, now_ms, table};

#[derive(Serialize, Deserialize)]
struct Nodes {
    nodes: Vec<NodeRecord>,
    #[serde(skip_serializing)]
    next: Option<String>,
}

/// Lists the nodes.
///
/// # Errors
/// When the collector cannot be asked.
pub fn run(ask: &Ask) -> Result<()> {
    let client = Client::of(ask)?;
    let mut answer: Nodes = client.get("/nodes")?;
    while let Some(after) = answer.next.take() {
        let more: Nodes = client.get(&format!("/nodes?after={after}"))?;
        answer.nodes.extend(more.nodes);
        answer.next = more.next;
    }
    if ask.json {
        return print_json(&answer);
    }
    if answer.nodes.is_empty() {
        return print("No node has reported yet. Start an agent: tacit-agent run\n");
    }
    let now = now_ms();
    let rows: Vec<Vec<String>> = answer.nodes.iter().map(|n| row(n, now)).collect();
    print(&table(&["NODE", "SITE", "PRESENCE", "SEEN", "SERIES", "STAGE", "CPU", "MEMORY", "OPEN INCIDENTS"], &rows))
}

/// Marks work on a node, or ends it; prints what the node says.
///
/// # Errors
/// When the collector cannot be asked or the node does not answer.
pub fn maintenance(options: &Maintenance) -> Result<()> {
    let seconds = options.time.map_or(0, |time| time.as_millis() / 1000);
    if options.time.is_some() && seconds == 0 {
        anyhow::bail!("--for: a mark lasts from 1s to 7d; --end ends one");
    }
    let body = serde_json::json!({ "seconds": seconds, "reason": options.reason });
    let answer: serde_json::Value =
        Client::of(&options.ask)?.post(&format!("/nodes/{}/maintenance", options.node), &body)?;
    if options.ask.json {
        return print_json(&answer);
    }
    print(&format!("{}: {}\n", options.node, answer["text"].as_str().unwrap_or_default()))
}

fn row(n: &NodeRecord, now: i64) -> Vec<String> {
    let presence = match n.presence {
        Presence::Online => "online",
        Presence::Lost => "lost",
        Presence::Stopped => "stopped",
    };
    let stage =
        n.report.as_ref().map_or(&n.birth.models, |r| &r.models).first().map_or("–".into(), |m| m.stage.to_string());
    let cost = n.report.as_ref().map(|r| &r.cost);
    vec![
        n.node.to_string(),
        n.site.to_string(),
        presence.into(),
        format!("{} ago", ago(n.last_seen_ms, now)),
        n.report.as_ref().map_or(n.birth.series, |r| r.series).to_string(),
        stage,
        cost.and_then(|c| c.cpu.get()).map_or("–".into(), |share| format!("{:.2} %", share * 100.0)),
        cost.map_or("–".into(), |c| format!("{:.1} MB", c.pss as f64 / 1e6)),
        n.open_incidents.to_string(),
    ]
}
