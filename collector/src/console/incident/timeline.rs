//! What happened, in corrected time: what the nodes said, what else changed, and what people did.

use tacit_wire::message::EventKind;

use super::Moment;
use crate::console::format::{capital, clock, counted, offset, span};
use crate::store::{EventRecord, IncidentDetail};

/// Lines of the timeline; of more the first and the last are shown.
const LINES: usize = 200;
/// What a clock has to be wrong by before that is said.
const CLOCK_MS: i64 = 1000;

/// What happened.
pub struct Timeline {
    pub first: Vec<Moment>,
    /// How many lines are left out between.
    pub left_out: usize,
    pub last: Vec<Moment>,
    /// Clocks that were corrected, in words.
    pub clocks: Vec<String>,
}

/// What a moment of the timeline tells. Within one millisecond they stand in this order: a cause before what it did.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Told {
    Context,
    Began,
    Ended,
    Done,
}

/// Phases, context and what people did, in one list, oldest first.
pub fn section(detail: &IncidentDetail) -> Timeline {
    let onset_ms = detail.incident.onset_ms;
    let mut list: Vec<(i64, Told, String)> = Vec::new();
    for record in &detail.events {
        tell(record, &mut list);
    }
    for entry in &detail.audit {
        if matches!(entry.action.as_str(), "event-added" | "event-ended") {
            continue;
        }
        let note = entry.note.as_ref().filter(|_| entry.action != "opened").map_or(String::new(), |n| format!(": {n}"));
        list.push((entry.at_ms, Told::Done, format!("{} by {}{note}", entry.action, entry.actor)));
    }
    list.sort();
    list.dedup();
    let left_out = list.len().saturating_sub(LINES);
    let mut first: Vec<Moment> = list.into_iter().map(|(at_ms, _, text)| moment(at_ms, onset_ms, text)).collect();
    let mut rest = if left_out > 0 { first.split_off(LINES / 2) } else { Vec::new() };
    let last = rest.split_off(left_out);
    Timeline { first, left_out, last, clocks: clocks(&detail.events) }
}

/// A moment beside the onset.
pub fn moment(at_ms: i64, onset_ms: i64, text: String) -> Moment {
    Moment { when: clock(at_ms, onset_ms), offset: offset(at_ms, onset_ms), text }
}

fn tell(record: &EventRecord, list: &mut Vec<(i64, Told, String)>) {
    let e = &record.event;
    let (told, what) = match e.kind {
        EventKind::Rule if record.outside.is_none() => {
            (Told::Began, format!("began: {} (rule {})", e.text, e.rule.as_deref().unwrap_or("?")))
        }
        EventKind::Context => (Told::Context, e.text.clone()),
        _ => (Told::Began, format!("began: {}", e.text)),
    };
    list.push((record.onset_ms, told, what));
    if let (Some(end), true) = (e.end_ms, e.kind != EventKind::Context) {
        list.push((here(record, end), Told::Ended, format!("ended: {}", e.text)));
    }
    for c in &e.context {
        list.push((here(record, c.at_ms), Told::Context, c.text.clone()));
    }
}

/// A time by the node's clock, brought to ours as the onset was. Whatever the node says, this is a time.
pub fn here(record: &EventRecord, at_ms: i64) -> i64 {
    at_ms.saturating_sub(record.event.onset_ms).saturating_add(record.onset_ms)
}

/// Nodes whose clocks were wrong, and by how much.
fn clocks(events: &[EventRecord]) -> Vec<String> {
    let mut wrong: Vec<(&str, i64)> = Vec::new();
    for record in events.iter().filter(|e| e.outside.is_none()) {
        let (node, ahead) = (record.event.head.node.as_str(), record.event.onset_ms.saturating_sub(record.onset_ms));
        if ahead.saturating_abs() >= CLOCK_MS && !wrong.iter().any(|(n, _)| *n == node) {
            wrong.push((node, ahead));
        }
    }
    let words = |(node, ahead): (&str, i64)| {
        let side = if ahead > 0 { "ahead" } else { "behind" };
        format!("{node} is {} {side}", span(ahead))
    };
    wrong.into_iter().map(words).collect()
}

/// How many lines are left out, in words.
pub fn left_out(count: usize) -> String {
    capital(counted(count, "line is left out here", "lines are left out here"))
}

#[cfg(test)]
mod tests {
    use tacit_wire::message::Phase;

    use super::*;
    use crate::fixtures::{event, incident};
    use crate::store::AuditEntry;

    fn detail(events: Vec<EventRecord>, audit: Vec<AuditEntry>) -> IncidentDetail {
        IncidentDetail { incident: incident(), events, audit, ranking: None }
    }

    #[test]
    fn what_happened_stands_in_corrected_time() {
        let mut ahead = event(2, EventKind::Anomaly, Phase::Open, 5_000);
        ahead.event.onset_ms += 90_000;
        ahead.event.end_ms = Some(100_000);
        let told = section(&detail(vec![ahead, event(1, EventKind::Context, Phase::Open, -60_000)], Vec::new()));
        let lines: Vec<_> = told.first.iter().map(|m| (m.offset.as_str(), m.text.as_str())).collect();
        assert_eq!(lines, [("−1 min", "event 1"), ("+5 s", "began: event 2"), ("+10 s", "ended: event 2")]);
        assert_eq!(told.clocks, ["web-1 is 1 min ahead"]);
    }

    #[test]
    fn a_storm_leaves_the_beginning_and_the_end() {
        let line = |n: i64| AuditEntry { at_ms: n * 1000, actor: "ana".into(), action: "commented".into(), note: None };
        let told = section(&detail(Vec::new(), (0..500).map(line).collect()));
        assert_eq!((told.first.len(), told.left_out, told.last.len()), (100, 300, 100));
        assert_eq!(told.last[0].offset, "+6 min");
        assert_eq!(told.first[0].text, "commented by ana");
        let few = section(&detail(Vec::new(), (0..5).map(line).collect()));
        assert_eq!((few.first.len(), few.left_out, few.last.len()), (5, 0, 0));
    }
}
