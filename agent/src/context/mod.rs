//! What else happened on the node: notes that explain an anomaly, kept for a while and attached to events near them.

use tacit_wire::message::{Context, ContextKind};

/// Notes kept.
const KEPT: usize = 64;
/// A note is near an event that begins within this long of it.
const NEAR_MS: i64 = 10 * 60_000;

/// Recent notes, oldest first.
#[derive(Debug, Default)]
pub struct Notes(Vec<Context>);

impl Notes {
    /// Keeps a note; the oldest goes when there are too many.
    pub fn add(&mut self, kind: ContextKind, at_ms: i64, text: impl Into<String>) -> Context {
        let note = Context { kind, at_ms, text: text.into(), unit: None };
        if self.0.len() == KEPT {
            self.0.remove(0);
        }
        self.0.push(note.clone());
        note
    }

    /// The notes near a moment.
    #[must_use]
    pub fn near(&self, at_ms: i64) -> Vec<Context> {
        self.0.iter().filter(|n| (n.at_ms - at_ms).abs() <= NEAR_MS).cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_near_is_told() {
        let mut notes = Notes::default();
        for minute in 0..100 {
            notes.add(ContextKind::Change, minute * 60_000, format!("change {minute}"));
        }
        let near = notes.near(99 * 60_000);
        assert_eq!((near.len(), near[0].text.as_str()), (11, "change 89"));
        assert!(notes.near(0).is_empty(), "old notes were forgotten");
    }
}
