//! What the worst event itself shows: its series, recorded at full rate, the processes on top, and the model that judged.

use serde_json::json;
use tacit_wire::message::{Direction, Event, Evidence, ProcessNote, RecordingRow};
use tacit_wire::series::label;
use tacit_wire::words;

use crate::console::format;
use crate::incident::correlator::alarms;
use crate::store::EventRecord;

/// A series of the event.
pub struct EvidenceRow {
    pub words: String,
    pub name: String,
    pub observed: String,
    pub arrow: &'static str,
    pub usual: String,
    pub share: f32,
    pub percent: String,
}

/// A series around the onset.
pub struct Chart {
    pub words: String,
    pub json: String,
}

/// A process that was on top.
pub struct ProcessRow {
    pub name: String,
    pub command: String,
    pub unit: String,
    pub pid: u32,
    pub cpu: String,
    pub memory: String,
    pub growth: String,
    pub io: String,
}

/// What an event shows.
pub struct EventSection {
    /// What kind of trouble it likely is.
    pub likely: String,
    /// Why it alarms, when it shows no series.
    pub reason: String,
    pub rows: Vec<EvidenceRow>,
    pub charts: Vec<Chart>,
    pub processes: Vec<ProcessRow>,
    pub model: String,
    /// Where an outside alert can be read.
    pub url: String,
}

/// What the worst of an incident's events shows.
pub fn section(events: &[EventRecord]) -> EventSection {
    let Some(record) = worst(events) else {
        return EventSection {
            likely: String::new(),
            reason: "It holds no event that alarms.".into(),
            rows: Vec::new(),
            charts: Vec::new(),
            processes: Vec::new(),
            model: String::new(),
            url: String::new(),
        };
    };
    let e = &record.event;
    EventSection {
        likely: words::likely(e.fault, e.confidence),
        reason: reason(record),
        rows: rows(&e.evidence),
        charts: charts(e),
        processes: e.processes.iter().map(process).collect(),
        model: model(e),
        url: url(record),
    }
}

/// The event that says most: the most severe that is not mere context.
pub fn worst(events: &[EventRecord]) -> Option<&EventRecord> {
    events.iter().filter(|e| alarms(e)).max_by(|a, b| a.event.severity.0.total_cmp(&b.event.severity.0))
}

fn reason(record: &EventRecord) -> String {
    let event = &record.event;
    match (&event.rule, &record.outside) {
        (Some(rule), _) => format!("The rule {rule} needs no learning: {}.", event.text),
        (None, Some(outside)) => format!("It comes from elsewhere ({}): {}.", outside.source.as_str(), event.text),
        (None, None) => "The event came without evidence.".into(),
    }
}

/// An address of somebody else's choosing: only such as a browser fetches.
fn url(record: &EventRecord) -> String {
    let given = record.outside.as_ref().and_then(|o| o.url.as_deref()).unwrap_or_default();
    let is_web = given.starts_with("https://") || given.starts_with("http://");
    if is_web { given.to_owned() } else { String::new() }
}

/// Bars are drawn against the largest share: with hundreds of series even that is a few percent.
fn rows(list: &[Evidence]) -> Vec<EvidenceRow> {
    let largest = list.iter().filter_map(|e| e.share.get()).fold(f32::MIN_POSITIVE, f32::max);
    list.iter().map(|e| row(e, largest)).collect()
}

fn row(e: &Evidence, largest: f32) -> EvidenceRow {
    EvidenceRow {
        words: words::name(&e.name, &e.attributes),
        name: e.label(),
        observed: format::value(e.observed, &e.unit),
        arrow: match e.direction {
            Direction::High => "↑",
            Direction::Low => "↓",
            _ => "",
        },
        usual: match (e.low.get(), e.high.get()) {
            (Some(low), Some(high)) => format!("{} to {}", words::value(low, &e.unit), words::value(high, &e.unit)),
            (None, Some(high)) => format!("below {}", words::value(high, &e.unit)),
            _ => "–".into(),
        },
        share: (e.share.get().unwrap_or(0.0) / largest).clamp(0.0, 1.0),
        percent: e.share.get().map_or("–".into(), |s| format!("{:.0} %", s * 100.0)),
    }
}

fn charts(event: &Event) -> Vec<Chart> {
    let Some(recording) = &event.recording else { return Vec::new() };
    let chart = |row: &RecordingRow| {
        let name = label(&row.name, &row.attributes);
        let known = event.evidence.iter().find(|e| e.label() == name);
        let x: Vec<f64> = (0..row.values.len())
            .map(|n| recording.start_ms.saturating_add(n as i64 * i64::from(recording.step_ms)) as f64 / 1000.0)
            .collect();
        let json = json!({
            "x": x,
            "y": row.values,
            "unit": row.unit,
            "low": known.and_then(|e| e.low.get()),
            "high": known.and_then(|e| e.high.get()),
            "onset": event.onset_ms as f64 / 1000.0,
        });
        Chart { words: words::name(&row.name, &row.attributes), json: json.to_string() }
    };
    recording.rows.iter().map(chart).collect()
}

fn process(p: &ProcessNote) -> ProcessRow {
    ProcessRow {
        name: p.name.clone(),
        command: p.command.clone().unwrap_or_default(),
        unit: p.unit.clone().unwrap_or_default(),
        pid: p.pid,
        cpu: p.cpu.get().map_or("–".into(), |c| format!("{c:.2}")),
        memory: format::value(p.memory, "By"),
        growth: format::value(p.memory_growth, "By"),
        io: format::value(p.io, "By/s"),
    }
}

fn model(event: &Event) -> String {
    let Some(digest) = &event.model else { return String::new() };
    let stage = event.stage.unwrap_or_default();
    format!(
        "Judged on the node by model {} in stage {stage}; alarm value {:.2} above its threshold{}.",
        digest.short(),
        event.score.0,
        event
            .p_value
            .get()
            .filter(|p| *p > 0.0)
            .map_or(String::new(), |p| format!("; chance of it in a quiet sample {p:.0e}"))
    )
}

#[cfg(test)]
mod tests {
    use tacit_wire::message::{EventKind, Phase};

    use super::*;
    use crate::fixtures::event;
    use crate::store::{EventSource, Outside};

    #[test]
    fn only_addresses_of_the_web_are_links() {
        let mut alert = event(1, EventKind::Rule, Phase::Open, 0);
        for (url, expected) in [
            ("https://prometheus.example/graph?g0=up", "https://prometheus.example/graph?g0=up"),
            ("javascript:alert(1)", ""),
            (" https://a.example", ""),
            ("data:text/html,x", ""),
        ] {
            let outside = Outside { source: EventSource::Alert, url: Some(url.into()), ..Outside::default() };
            alert.outside = Some(Box::new(outside));
            assert_eq!(section(std::slice::from_ref(&alert)).url, expected);
        }
        assert!(section(&[alert]).reason.starts_with("It comes from elsewhere (alert)"));
        assert_eq!(section(&[]).reason, "It holds no event that alarms.");
    }
}
