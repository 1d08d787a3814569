//! `tacit notify …`

use anyhow::{Result, bail};
use serde_json::{Value, json};
use tacit_collector::api::notify::{Notifications, ReceiverStates, TestResult};
use tacit_collector::store::{Delivery, Notification};

use super::{print, print_json};
use crate::arguments::Notify;
use crate::client::Client;
use crate::output::{ago, now_ms, plain, table};

/// Tests receivers, or lists what they were told.
///
/// # Errors
/// When the collector cannot be asked or refuses, or a receiver did not take the test.
pub fn run(what: &Notify) -> Result<()> {
    match what {
        Notify::Test { receiver, ask } => {
            let order = receiver.as_ref().map_or_else(|| json!({}), |name| json!({ "receiver": name }));
            let result: TestResult = Client::of(ask)?.post("/notify/test", &order)?;
            if ask.json {
                print_json(&result)?;
            } else {
                print(&tested(&result))?;
            }
            match result.results.iter().filter(|r| !r.ok).count() {
                0 => Ok(()),
                1 => bail!("one receiver did not take the message"),
                n => bail!("{n} receivers did not take the message"),
            }
        }
        Notify::List { incident, limit, ask } => {
            let client = Client::of(ask)?;
            let of = incident.map_or_else(String::new, |id| format!("&incident={id}"));
            let list: Notifications = client.get(&format!("/notifications?limit={limit}{of}"))?;
            let receivers: ReceiverStates = client.get("/receivers")?;
            if ask.json {
                let all: Value = json!({ "notifications": list.notifications, "receivers": receivers.receivers });
                return print_json(&all);
            }
            print(&listed(&list.notifications, now_ms()))?;
            print(&failing(&receivers, now_ms()))
        }
    }
}

fn tested(result: &TestResult) -> String {
    if result.results.is_empty() {
        return "There is no receiver: [[notify.receiver]] in the collector's configuration makes one.\n".into();
    }
    let row = |r: &tacit_collector::notify::desk::Tested| {
        let took = if r.ok { "took it" } else { "failed" };
        vec![r.receiver.clone(), r.kind.as_str().to_owned(), took.to_owned(), plain(&r.said)]
    };
    table(&["RECEIVER", "KIND", "RESULT", "SAID"], &result.results.iter().map(row).collect::<Vec<_>>())
}

fn listed(notifications: &[Notification], now: i64) -> String {
    if notifications.is_empty() {
        return "Nothing was told to anybody.\n".into();
    }
    let row = |n: &Notification| {
        vec![
            format!("{} ago", ago(n.made_ms, now)),
            n.incident.to_string(),
            n.receiver.clone(),
            n.state.clone(),
            delivery(n),
            plain(&n.summary),
        ]
    };
    table(
        &["WHEN", "INCIDENT", "RECEIVER", "STATE", "DELIVERY", "WHAT"],
        &notifications.iter().map(row).collect::<Vec<_>>(),
    )
}

fn delivery(n: &Notification) -> String {
    let reason = n.error.as_deref().map(plain).unwrap_or_default();
    match n.delivery {
        Delivery::Sent => "sent".into(),
        Delivery::Waiting if n.attempts == 0 => "waits".into(),
        Delivery::Waiting => format!("waits after {} tries: {reason}", n.attempts),
        Delivery::Failed => format!("not sent: {}", reason.trim_start_matches("not sent: ")),
    }
}

fn failing(receivers: &ReceiverStates, now: i64) -> String {
    let line = |r: &tacit_collector::api::notify::ReceiverState| {
        let since = ago(r.health.failing_since_ms?, now);
        let why = plain(r.health.error.as_deref().unwrap_or_default());
        Some(format!("{} takes nothing for {since}: {why}\n", r.name))
    };
    receivers.receivers.iter().filter_map(line).collect()
}
