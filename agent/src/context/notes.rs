//! What happened lately: kept for a while, attached to the events near it, and told within an allowance.

use tacit_wire::message::Context;

/// Notes kept.
const KEPT: usize = 64;
/// A note is near an event that begins within this long of it.
const NEAR_MS: i64 = 10 * 60_000;
/// Most notes of one event; the nearest in time are taken.
const NEAR_MOST: usize = 16;
/// Notes that may be sent at once …
const BURST: u32 = 30;
/// … and the time in which one more may be: a machine in trouble says much, and the line may be metered.
const ONE_MORE_MS: u64 = 2 * 60_000;

/// Recent notes, oldest first.
#[derive(Debug)]
pub struct Notes {
    list: Vec<Context>,
    /// Notes that may be sent now.
    allowed: u32,
    /// When the last one was added to `allowed`.
    since_ms: u64,
}

impl Default for Notes {
    fn default() -> Self {
        Self { list: Vec::new(), allowed: BURST, since_ms: 0 }
    }
}

impl Notes {
    /// Keeps a note; the oldest goes when there are too many.
    pub fn add(&mut self, note: Context) {
        if self.list.len() == KEPT {
            self.list.remove(0);
        }
        self.list.push(note);
    }

    /// The notes near a moment (Unix milliseconds), oldest first.
    #[must_use]
    pub fn near(&self, at_ms: i64) -> Vec<Context> {
        let distance = |n: &Context| n.at_ms.abs_diff(at_ms);
        let mut near: Vec<&Context> = self.list.iter().filter(|n| distance(n) <= NEAR_MS as u64).collect();
        near.sort_by_key(|n| distance(n));
        near.truncate(NEAR_MOST);
        near.sort_by_key(|n| n.at_ms);
        near.into_iter().cloned().collect()
    }

    /// Whether one more note may be sent now (milliseconds since boot). One that may not still explains events near it.
    pub fn may_tell(&mut self, now_mono_ms: u64) -> bool {
        let more = now_mono_ms.saturating_sub(self.since_ms) / ONE_MORE_MS;
        self.since_ms += more * ONE_MORE_MS;
        self.allowed = self.allowed.saturating_add(u32::try_from(more).unwrap_or(BURST)).min(BURST);
        let may = self.allowed > 0;
        self.allowed -= u32::from(may);
        may
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tacit_wire::message::ContextKind;

    fn note(at_ms: i64) -> Context {
        Context { kind: ContextKind::Change, at_ms, text: format!("change {}", at_ms / 60_000), unit: None }
    }

    #[test]
    fn only_what_is_near_is_told() {
        let mut notes = Notes::default();
        (0..100).for_each(|minute| notes.add(note(minute * 60_000)));
        let near = notes.near(99 * 60_000);
        assert_eq!((near.len(), near[0].text.as_str()), (11, "change 89"));
        let between = notes.near(80 * 60_000);
        assert_eq!((between.len(), between[0].text.as_str()), (NEAR_MOST, "change 72"));
        assert!(notes.near(0).is_empty(), "old notes were forgotten");
    }

    #[test]
    fn a_flood_is_cut_off_and_time_brings_more() {
        let mut notes = Notes::default();
        let now = 500_000_000;
        let told = |notes: &mut Notes, at: u64, n: u32| (0..n).filter(|_| notes.may_tell(at)).count();
        assert_eq!(told(&mut notes, now, 1000), BURST as usize);
        assert_eq!(told(&mut notes, now + 3 * ONE_MORE_MS, 1000), 3);
        assert_eq!(told(&mut notes, now + 500 * ONE_MORE_MS, 1000), BURST as usize, "it does not pile up");
    }
}
