//! Events in the order of their corrected onsets: they come as networks and batches let them, and are held for a moment.

use std::collections::{BTreeMap, VecDeque};

use super::rules::Rules;

/// Events that are held at once; more are let go before their time.
const HELD_MOST: usize = 65_536;

/// By onset, then by what the caller tells equal ones apart with.
type Key = (i64, u64);

/// Holds what came until what is older has had its chance to come as well.
#[derive(Debug)]
pub struct Waiting<T> {
    held: BTreeMap<Key, T>,
    /// When each was heard of, in that order.
    heard: VecDeque<(i64, Key)>,
}

impl<T> Default for Waiting<T> {
    fn default() -> Self {
        Self { held: BTreeMap::new(), heard: VecDeque::new() }
    }
}

impl<T> Waiting<T> {
    /// Holds something that began at `at_ms` and was heard of at `now_ms`. Equal times are told apart by `key`, which has to be
    /// another one for every event, so that the order of arrival does not matter. What was held under both is given back.
    pub fn hold(&mut self, at_ms: i64, key: u64, now_ms: i64, what: T, rules: &Rules) -> Option<T> {
        let key = (rules.plausible(at_ms, now_ms), key);
        self.heard.push_back((now_ms, key));
        self.held.insert(key, what)
    }

    /// What has been held long enough, and whatever is older than that, oldest first.
    pub fn release(&mut self, now_ms: i64, rules: &Rules) -> Vec<T> {
        let mut newest: Option<Key> = None;
        while let Some((heard_ms, key)) = self.heard.front().copied() {
            // A clock that was put back makes nothing wait for the time to come again.
            let is_held = now_ms.abs_diff(heard_ms) < rules.hold_ms.unsigned_abs();
            if is_held && self.heard.len() <= HELD_MOST {
                break;
            }
            self.heard.pop_front();
            if self.held.contains_key(&key) {
                newest = newest.max(Some(key));
            }
        }
        let mut out = Vec::new();
        while let Some(entry) = self.held.first_entry().filter(|e| Some(*e.key()) <= newest) {
            out.push(entry.remove());
        }
        out
    }

    /// When there is something to release again; `None` when nothing is held.
    #[must_use]
    pub fn due_ms(&self, rules: &Rules) -> Option<i64> {
        let is_held = |key: &Key| self.held.contains_key(key);
        self.heard.iter().find(|(_, key)| is_held(key)).map(|(heard, _)| heard.saturating_add(rules.hold_ms))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_leave_in_the_order_of_their_onsets() {
        let (mut waiting, rules) = (Waiting::default(), Rules::default());
        for (at, heard) in [(3000, 3000), (1000, 3100), (2000, 3200), (9000, 9000)] {
            waiting.hold(at, at as u64, heard, at, &rules);
        }
        assert_eq!(waiting.due_ms(&rules), Some(3000 + rules.hold_ms));
        assert!(waiting.release(2999 + rules.hold_ms, &rules).is_empty());
        // What is older goes along, however short it was held.
        assert_eq!(waiting.release(3000 + rules.hold_ms, &rules), [1000, 2000, 3000]);
        assert_eq!(waiting.due_ms(&rules), Some(9000 + rules.hold_ms));
        waiting.hold(500, 500, 9000, 500, &rules);
        assert_eq!(waiting.release(9000 + rules.hold_ms, &rules), [500, 9000]);
        assert_eq!(waiting.due_ms(&rules), None);
    }

    #[test]
    fn late_ones_never_keep_others_waiting() {
        let (mut waiting, rules) = (Waiting::default(), Rules::default());
        waiting.hold(10_000, 0, 10_000, 0, &rules);
        for n in 1..100 {
            waiting.hold(n, 0, 10_000 + n * 100, n, &rules);
        }
        assert_eq!(waiting.release(10_000 + rules.hold_ms, &rules).last(), Some(&0));
    }

    #[test]
    fn a_clock_that_is_put_back_keeps_nobody_waiting() {
        let (mut waiting, rules) = (Waiting::default(), Rules::default());
        waiting.hold(0, 0, 3_600_000, 0, &rules);
        assert_eq!(waiting.release(1000, &rules), [0]);
    }

    #[test]
    fn wild_times_do_not_wait_for_ever() {
        let (mut waiting, rules) = (Waiting::default(), Rules::default());
        for (key, at) in [i64::MAX, i64::MIN, 0].into_iter().enumerate() {
            assert!(waiting.hold(at, key as u64, 1000, at, &rules).is_none());
        }
        assert_eq!(waiting.release(1000 + rules.hold_ms, &rules), [i64::MIN, 0, i64::MAX]);
        assert_eq!(waiting.hold(5, 1, 10, 1, &rules), None);
        assert_eq!(waiting.hold(5, 1, 10, 2, &rules), Some(1));
    }
}
