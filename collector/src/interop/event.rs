//! Events that the collector fills in itself, for those who do not speak as agents do.

use jiff::Timestamp;
use tacit_wire::message::{Context, ContextKind, Event, EventKind, Head, Phase};
use tacit_wire::{BootId, Digest, EventId, NodeId, Num, Seq, StreamId};

use crate::map::names::plain;
use crate::store::{EventRecord, EventSource, Outside};

/// Longest text of an event in characters; with four bytes each it is within the bound of an agent's.
pub const TEXT_MAX: usize = 500;

/// What is to be said.
#[derive(Debug, Clone)]
pub struct Draft {
    /// The node it is about, or [`nowhere`](crate::store::nowhere).
    pub node: NodeId,
    /// Its number, made by [`number`] of what makes it this event and no other.
    pub number: EventId,
    /// What kind of event.
    pub kind: EventKind,
    /// How bad, 0 to 1.
    pub severity: f32,
    /// When it began, Unix milliseconds.
    pub onset_ms: i64,
    /// In one sentence.
    pub text: String,
    /// Who says it and of what.
    pub outside: Outside,
}

impl Draft {
    /// The event. It is open, unless it is context: that is over when it is told, as it is with agents.
    #[must_use]
    pub fn record(self, now_ms: i64) -> EventRecord {
        let is_context = self.kind == EventKind::Context;
        let note =
            Context { kind: self.context_kind(), at_ms: self.onset_ms, text: self.text.clone(), unit: self.owner() };
        let head = Head {
            node: self.node,
            boot: BootId::default(),
            stream: StreamId::default(),
            seq: Seq(0),
            oldest: Seq(0),
            wall_ms: now_ms,
            mono_ms: 0,
        };
        let event = Event {
            head,
            event: self.number,
            kind: self.kind,
            phase: if is_context { Phase::Close } else { Phase::Open },
            onset_ms: self.onset_ms,
            onset_mono_ms: 0,
            end_ms: is_context.then_some(self.onset_ms),
            severity: Num(self.severity),
            score: Num::NONE,
            rule: (!is_context).then(|| self.outside.family.clone()),
            text: self.text,
            evidence: Vec::new(),
            processes: Vec::new(),
            context: if is_context { vec![note] } else { Vec::new() },
            recording: None,
            model: None,
            stage: None,
            persisting: false,
            injected: false,
            fault: None,
            confidence: Num(0.0),
            p_value: Num(0.0),
        };
        EventRecord {
            event,
            onset_ms: self.onset_ms,
            received_ms: now_ms,
            incident: None,
            revision: 0,
            outside: Some(Box::new(self.outside)),
            digest: None,
        }
    }

    fn context_kind(&self) -> ContextKind {
        match (self.outside.source, self.outside.family.as_str()) {
            (EventSource::Change, "maintenance") => ContextKind::Maintenance,
            (EventSource::Change, _) => ContextKind::Change,
            _ => ContextKind::Unknown,
        }
    }

    /// The unit or container of the entity, when it is one on a node.
    fn owner(&self) -> Option<String> {
        let (node, owner) = self.outside.entity.split_once('/')?;
        (node == self.node.as_str() && !owner.starts_with(':')).then(|| owner.to_owned())
    }
}

/// The same event, over since a time; with a new text when there is one.
#[must_use]
pub fn closed(mut record: EventRecord, end_ms: i64, text: Option<String>) -> EventRecord {
    record.event.phase = Phase::Close;
    record.event.end_ms = Some(end_ms.max(record.onset_ms));
    if let Some(outside) = &mut record.outside {
        outside.expires_ms = None;
    }
    if let Some(text) = text {
        record.event.text = text;
    }
    record
}

/// A number that these parts have, and no others: an event that is told again is the same one.
#[must_use]
pub fn number(parts: &[&str]) -> EventId {
    let Digest(hash) = digest(parts.iter().copied());
    let mut first = [0; 8];
    first.copy_from_slice(&hash[..8]);
    EventId(first)
}

/// A digest of texts; where one ends and the next begins makes a difference.
pub fn digest<'a>(parts: impl IntoIterator<Item = &'a str>) -> Digest {
    let mut all = String::new();
    for part in parts {
        all.push_str(&part.len().to_string());
        all.push(':');
        all.push_str(part);
    }
    Digest::of(all.as_bytes())
}

/// A stranger's text as one line of at most [`TEXT_MAX`] characters.
#[must_use]
pub fn line(text: &str) -> String {
    let head: String = text.chars().take(4 * TEXT_MAX).collect();
    let words: Vec<&str> = head.split_whitespace().collect();
    cut(&plain(&words.join(" ")), TEXT_MAX)
}

/// At most so many characters of a text.
#[must_use]
pub fn cut(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        None => text.to_owned(),
        Some(_) => text.chars().take(most.saturating_sub(1)).chain(std::iter::once('…')).collect(),
    }
}

/// A moment in words.
#[must_use]
pub fn moment(ms: i64) -> String {
    Timestamp::from_millisecond(ms)
        .map_or_else(|_| "an unknown time".to_owned(), |t| t.strftime("%Y-%m-%d %H:%M:%S UTC").to_string())
}

/// A length of time in words.
#[must_use]
pub fn length(ms: i64) -> String {
    match ms.max(0) / 1000 {
        seconds @ ..120 => format!("{seconds} s"),
        seconds @ 120..7200 => format!("{} min", seconds / 60),
        seconds @ 7200..172_800 => format!("{} h", seconds / 3600),
        seconds => format!("{} days", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_of_its_parts_and_no_others() {
        assert_eq!(number(&["lost", "web-1"]), number(&["lost", "web-1"]));
        assert_ne!(number(&["lost", "web-1"]), number(&["los", "tweb-1"]));
        assert_ne!(number(&["a", ""]), number(&["a"]));
    }

    #[test]
    fn texts_are_one_line_and_bounded() {
        assert_eq!(line("  the disk\n\tis  full\u{1b}[2J "), "the disk is full\u{fffd}[2J");
        let long = line(&"é".repeat(1_000_000));
        assert_eq!((long.chars().count(), long.chars().last()), (TEXT_MAX, Some('…')));
        assert!(line(&"\u{10ffff}".repeat(600)).len() <= tacit_wire::limits::TEXT);
        assert_eq!(cut("four", 4), "four");
    }

    #[test]
    fn lengths_read_well() {
        let words = [-5, 119_999, 120_000, 7_200_000, 172_800_000].map(length);
        assert_eq!(words, ["0 s", "119 s", "2 min", "2 h", "2 days"]);
        assert_eq!(moment(1_700_000_000_000), "2023-11-14 22:13:20 UTC");
    }
}
