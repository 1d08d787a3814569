//! `tacit digest`

use std::fmt::Write as _;

use anyhow::Result;
use serde_json::json;
use tacit_collector::api::digest::{Digest, Suppressed, Tally};

use super::{print, print_json};
use crate::arguments::Digest as Options;
use crate::client::{Client, escaped};
use crate::output::{plain, table, utc};

/// Lines of each count.
const LINES: usize = 10;

/// Says what disturbed nobody, and why.
///
/// # Errors
/// When the collector cannot be asked or refuses.
pub fn run(options: &Options) -> Result<()> {
    let client = Client::of(&options.ask)?;
    let day = options.day.as_ref().map_or_else(String::new, |day| format!("&day={}", escaped(day)));
    let digest: Digest = client.get(&format!("/digest?limit={}{day}", options.limit))?;
    let suppressed: Suppressed = client.get("/suppressed")?;
    if options.ask.json {
        return print_json(&json!({ "digest": digest, "suppressed": suppressed }));
    }
    print(&(describe(&digest) + &quiet(&suppressed)))
}

fn describe(digest: &Digest) -> String {
    let all = if digest.complete { "" } else { "more than " };
    let mut out = format!(
        "from {} to {}: {all}{} events opened nothing\n",
        utc(digest.from_ms),
        utc(digest.to_ms),
        digest.events_counted
    );
    if digest.events_counted == 0 {
        return out;
    }
    for (head, rows) in [("WHY", &digest.reasons), ("ABOUT", &digest.entities), ("IN WHICH RESPECT", &digest.families)]
    {
        out.push('\n');
        out.push_str(&tally(head, rows));
    }
    let rows: Vec<Vec<String>> =
        digest.events.iter().map(|e| vec![utc(e.onset_ms), plain(&e.entity), plain(&e.text), plain(&e.why)]).collect();
    out.push('\n');
    out.push_str(&table(&["SINCE", "ABOUT", "WHAT", "WHY IT OPENED NOTHING"], &rows));
    out
}

fn tally(head: &str, rows: &[Tally]) -> String {
    let shown: Vec<Vec<String>> = rows.iter().take(LINES).map(|t| vec![t.events.to_string(), plain(&t.name)]).collect();
    table(&["EVENTS", head], &shown)
}

fn quiet(s: &Suppressed) -> String {
    let mut out = String::from("\n");
    // Writing to a String cannot fail, here and below.
    for i in &s.muted {
        let by = i.muted_by.as_deref().map_or_else(|| "something".to_owned(), plain);
        let _ = writeln!(out, "incident {} is muted by {by}: {}", i.id, plain(&i.title));
    }
    for i in &s.unstable {
        let _ = writeln!(out, "incident {} comes and goes: {}", i.id, plain(&i.title));
    }
    for f in s.folded.iter().take(LINES) {
        let _ = writeln!(out, "incident {} holds {} more events: {}", f.incident, f.events, plain(&f.title));
    }
    let _ = writeln!(
        out,
        "{} muted now, {} were muted when they ended and {} became part of others in the last seven days; \
         {} events are folded into open incidents",
        s.muted.len(),
        s.were_muted.len(),
        s.merged.len(),
        s.folded_events
    );
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_opened_nothing_is_counted_and_said() {
        let mut digest = Digest {
            from_ms: 0,
            to_ms: 86_400_000,
            events_counted: 3,
            complete: true,
            reasons: vec![Tally { name: "no symptom\u{1b}[2J".into(), events: 3 }],
            entities: Vec::new(),
            families: Vec::new(),
            events: Vec::new(),
        };
        let text = describe(&digest);
        assert!(text.starts_with("from 1970-01-01 00:00:00 UTC to 1970-01-02 00:00:00 UTC: 3 events opened nothing"));
        assert!(text.contains("3       no symptom") && !text.contains('\u{1b}'), "{text}");
        (digest.events_counted, digest.complete) = (10_000, false);
        assert!(describe(&digest).contains("more than 10000 events"));
    }
}
