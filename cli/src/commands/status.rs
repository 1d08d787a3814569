//! `tacit status`

use anyhow::Result;
use serde_json::Value;

use super::{print, print_json};
use crate::arguments::Ask;
use crate::client::Client;
use crate::output::{ago, now_ms};

/// Says whether all is quiet, and what stands behind it.
///
/// # Errors
/// When the collector cannot be asked.
pub fn run(ask: &Ask) -> Result<()> {
    let status: Value = Client::of(ask)?.get("/status")?;
    if ask.json {
        return print_json(&status);
    }
    let totals = &status["totals"];
    let count = |name: &str| totals[name].as_u64().unwrap_or(0);
    let open = count("incidents_open");
    let first = match open {
        0 => "All quiet.".to_owned(),
        1 => "1 open incident: tacit incidents".to_owned(),
        n => format!("{n} open incidents: tacit incidents"),
    };
    let last =
        totals["last_incident_ms"].as_i64().map_or("none yet".to_owned(), |t| format!("{} ago", ago(t, now_ms())));
    let demo = if status["demo"] == true { "DEMO: a simulated shop; nothing here is real.\n" } else { "" };
    print(&format!(
        "{demo}{first}\n{} of {} nodes online, {} series watched\n\
         alarms: {} raised, {:.1} promised; last incident: {last}\n",
        count("nodes_online"),
        count("nodes"),
        count("series"),
        count("alarms_actual"),
        totals["alarms_promised"].as_f64().unwrap_or(0.0),
    ))
}
