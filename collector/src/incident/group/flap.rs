//! Fingerprints: what is the same event again, and what flaps.
//!
//! An event that begins while its fingerprint is open is the same event. One that came and went [`Rules::flap_transitions`] times
//! within [`Rules::flap_ms`] is *unstable*: it is held as one event until it was quiet for as long.

use std::collections::{BTreeSet, HashMap, VecDeque};

use super::event::{EventNo, Fingerprint, GroupNo};
use super::rules::Rules;

/// Transitions of a fingerprint that are kept.
const TRANSITIONS_MOST: usize = 16;

/// What a fingerprint is doing.
#[derive(Debug, Clone)]
struct Known {
    event: EventNo,
    group: GroupNo,
    /// Events of it that are open.
    open: u32,
    /// Its last transition.
    last_ms: i64,
    /// Begins and ends within the time of flapping, oldest first.
    transitions: VecDeque<i64>,
    unstable: bool,
}

/// What an onset is to its fingerprint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Begin {
    /// Something new.
    New,
    /// The event that is there already.
    Repeats {
        /// Which one.
        event: EventNo,
        /// The group it is in.
        group: GroupNo,
    },
    /// One more turn of an event that comes and goes.
    Unstable {
        /// The event that is held.
        event: EventNo,
        /// The group it is in.
        group: GroupNo,
        /// Transitions within the time of flapping.
        transitions: usize,
    },
}

/// An event that was unstable and has been quiet since.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Steady {
    /// Which fingerprint.
    pub fingerprint: Fingerprint,
    /// The event that was held.
    pub event: EventNo,
    /// The group it is in.
    pub group: GroupNo,
    /// Whether it rests in its open state.
    pub open: bool,
}

/// All fingerprints that are known.
#[derive(Debug, Default)]
pub struct Fingerprints {
    known: HashMap<Fingerprint, Known>,
    unstable: BTreeSet<Fingerprint>,
}

impl Fingerprints {
    /// An event begins. A new one has to be told with [`Fingerprints::place`] once its group is known.
    pub fn begin(&mut self, fingerprint: &Fingerprint, at_ms: i64, rules: &Rules) -> Begin {
        let Some(known) = self.known.get_mut(fingerprint) else { return Begin::New };
        let (event, group) = (known.event, known.group);
        let believed = at_ms.saturating_sub(known.last_ms) <= rules.open_most_ms;
        if known.open > 0 && believed {
            known.open = known.open.saturating_add(1);
            known.last_ms = known.last_ms.max(at_ms);
            return Begin::Repeats { event, group };
        }
        known.open = 1;
        known.turn(at_ms, rules);
        let transitions = known.transitions.len();
        if known.unstable || transitions >= rules.flap_transitions {
            known.unstable = true;
            self.unstable.insert(*fingerprint);
            return Begin::Unstable { event, group, transitions };
        }
        Begin::New
    }

    /// Where a new event went.
    pub fn place(&mut self, fingerprint: &Fingerprint, event: EventNo, group: GroupNo, at_ms: i64, rules: &Rules) {
        if let Some(known) = self.known.get_mut(fingerprint) {
            known.event = event;
            known.group = group;
            return;
        }
        if self.known.len() >= rules.fingerprints_most {
            self.forget_some(rules);
        }
        let transitions = VecDeque::from([at_ms]);
        let fresh = Known { event, group, open: 1, last_ms: at_ms, transitions, unstable: false };
        self.known.insert(*fingerprint, fresh);
    }

    /// An event ends.
    pub fn end(&mut self, fingerprint: &Fingerprint, at_ms: i64, rules: &Rules) {
        let Some(known) = self.known.get_mut(fingerprint).filter(|k| k.open > 0) else { return };
        known.open -= 1;
        if known.open == 0 {
            known.turn(at_ms, rules);
        }
    }

    /// A group went into another.
    pub fn regroup(&mut self, fingerprint: &Fingerprint, from: GroupNo, into: GroupNo) {
        if let Some(known) = self.known.get_mut(fingerprint).filter(|k| k.group == from) {
            known.group = into;
        }
    }

    /// Events that were unstable and have been quiet long enough, in the order of their fingerprints.
    pub fn steady(&mut self, now_ms: i64, rules: &Rules) -> Vec<Steady> {
        let mut steady = Vec::new();
        for fingerprint in &self.unstable {
            let Some(known) = self.known.get_mut(fingerprint) else { continue };
            if now_ms.saturating_sub(known.last_ms) >= rules.flap_ms {
                known.unstable = false;
                known.transitions.clear();
                let (event, group, open) = (known.event, known.group, known.open > 0);
                steady.push(Steady { fingerprint: *fingerprint, event, group, open });
            }
        }
        for s in &steady {
            self.unstable.remove(&s.fingerprint);
        }
        steady
    }

    /// Forgets the eighth of the fingerprints that was silent longest.
    fn forget_some(&mut self, rules: &Rules) {
        let mut order: Vec<(i64, Fingerprint)> = self.known.iter().map(|(f, k)| (k.last_ms, *f)).collect();
        order.sort_unstable();
        for (_, fingerprint) in order.iter().take(rules.fingerprints_most / 8 + 1) {
            self.known.remove(fingerprint);
            self.unstable.remove(fingerprint);
        }
    }
}

impl Known {
    fn turn(&mut self, at_ms: i64, rules: &Rules) {
        let oldest = at_ms.saturating_sub(rules.flap_ms);
        self.transitions.retain(|t| *t >= oldest);
        if self.transitions.len() >= TRANSITIONS_MOST {
            self.transitions.pop_front();
        }
        self.transitions.push_back(at_ms);
        self.last_ms = self.last_ms.max(at_ms);
    }
}

#[cfg(test)]
mod tests {
    use tacit_wire::message::Direction;

    use super::*;
    use crate::incident::group::event::{EntityNo, FamilyNo};

    const MINUTE: i64 = 60_000;

    fn print(entity: u32) -> Fingerprint {
        Fingerprint { entity: EntityNo(entity), family: FamilyNo(1), direction: Direction::High }
    }

    /// Begins, and is placed in the group of its own number when new.
    fn begin(all: &mut Fingerprints, n: u64, at: i64, rules: &Rules) -> Begin {
        let begin = all.begin(&print(1), at, rules);
        if begin == Begin::New {
            all.place(&print(1), EventNo(n), GroupNo(n), at, rules);
        }
        begin
    }

    #[test]
    fn an_open_event_is_repeated_and_a_closed_one_is_not() {
        let rules = Rules::default();
        let mut all = Fingerprints::default();
        assert_eq!(begin(&mut all, 1, 0, &rules), Begin::New);
        let same = Begin::Repeats { event: EventNo(1), group: GroupNo(1) };
        assert_eq!(begin(&mut all, 2, MINUTE, &rules), same);
        all.end(&print(1), 2 * MINUTE, &rules);
        // The second is still open.
        assert_eq!(begin(&mut all, 3, 3 * MINUTE, &rules), same);
        all.end(&print(1), 4 * MINUTE, &rules);
        all.end(&print(1), 4 * MINUTE, &rules);
        all.end(&print(1), 4 * MINUTE, &rules);
        assert_eq!(begin(&mut all, 4, 40 * MINUTE, &rules), Begin::New);
        let again = Begin::Repeats { event: EventNo(4), group: GroupNo(4) };
        assert_eq!(begin(&mut all, 5, 41 * MINUTE, &rules), again);
    }

    #[test]
    fn an_end_that_never_came_does_not_hold_for_ever() {
        let rules = Rules::default();
        let mut all = Fingerprints::default();
        begin(&mut all, 1, 0, &rules);
        assert_eq!(begin(&mut all, 2, rules.open_most_ms + 1, &rules), Begin::New);
    }

    #[test]
    fn four_transitions_are_unstable_until_it_was_quiet() {
        let rules = Rules::default();
        let mut all = Fingerprints::default();
        begin(&mut all, 1, 0, &rules);
        all.end(&print(1), MINUTE, &rules);
        assert_eq!(begin(&mut all, 2, 5 * MINUTE, &rules), Begin::New);
        all.end(&print(1), 6 * MINUTE, &rules);
        let held = |transitions| Begin::Unstable { event: EventNo(2), group: GroupNo(2), transitions };
        assert_eq!(begin(&mut all, 3, 9 * MINUTE, &rules), held(5));
        all.end(&print(1), 10 * MINUTE, &rules);
        // Held on although there is little of it within half an hour now.
        assert_eq!(begin(&mut all, 4, 38 * MINUTE, &rules), held(3));
        all.end(&print(1), 39 * MINUTE, &rules);
        assert_eq!(all.steady(68 * MINUTE, &rules), []);
        let steady = all.steady(69 * MINUTE, &rules);
        assert_eq!(steady, [Steady { fingerprint: print(1), event: EventNo(2), group: GroupNo(2), open: false }]);
        assert_eq!(all.steady(99 * MINUTE, &rules), []);
        assert_eq!(begin(&mut all, 5, 70 * MINUTE, &rules), Begin::New);
    }

    #[test]
    fn the_silent_ones_are_forgotten_first() {
        let rules = Rules { fingerprints_most: 16, ..Rules::default() };
        let mut all = Fingerprints::default();
        for n in 0..40 {
            all.place(&print(n), EventNo(0), GroupNo(0), i64::from(n), &rules);
            assert!(all.known.len() <= 16);
        }
        assert_eq!(all.begin(&print(0), 50, &rules), Begin::New);
        assert_ne!(all.begin(&print(39), 50, &rules), Begin::New);
    }
}
