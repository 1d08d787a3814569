//! Which groups are worth an incident: those with a symptom, or with several independent improbable events. The rest is a digest.

use super::event::{EventNo, Fingerprint, Onset, Role};
use super::rules::Rules;
use super::shared::kind;

/// Improbable events of a group that are kept; more are not needed to open it.
const KEPT: usize = 32;

/// Why a group opened.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Gate {
    /// Somebody is hurt, and no statistics are needed to know it.
    Certain {
        /// The event that says so.
        event: EventNo,
    },
    /// Somebody is hurt, as measured.
    Symptom {
        /// The event that says so.
        event: EventNo,
        /// How probable it was for its source.
        p: f64,
    },
    /// Several independent weaker events.
    Several {
        /// How many.
        events: usize,
        /// On how many entities.
        entities: usize,
        /// How improbable each had to be.
        limit: f64,
    },
}

/// The improbable events of a group.
#[derive(Debug, Clone, Default)]
pub struct Evidence {
    improbable: Vec<(Fingerprint, i64)>,
}

impl Evidence {
    /// Whether an event opens a group by itself; if not, it is kept when it is improbable enough to count.
    pub fn add(&mut self, onset: &Onset, at_ms: i64, p: f64, limit: f64, rules: &Rules) -> Option<Gate> {
        let event = onset.event;
        match onset.role {
            Role::Certain => return Some(Gate::Certain { event }),
            Role::Symptom if p <= rules.symptom_p => return Some(Gate::Symptom { event, p }),
            Role::Context => return None,
            Role::Symptom | Role::Weaker => {}
        }
        if p <= limit && self.improbable.len() < KEPT {
            self.improbable.push((onset.fingerprint, at_ms));
        }
        None
    }

    /// Takes what another group has.
    pub fn absorb(&mut self, other: &Self) {
        let room = KEPT.saturating_sub(self.improbable.len());
        self.improbable.extend(other.improbable.iter().take(room));
    }

    /// Whether what came together opens the group. The same respect of the same entity counts once, and so does the same
    /// thing on several entities at the same moment.
    #[must_use]
    pub fn several(&self, limit: f64, rules: &Rules) -> Option<Gate> {
        let mut independent: Vec<(Fingerprint, i64)> = Vec::new();
        for (f, at) in &self.improbable {
            let same = |(known, known_at): &(Fingerprint, i64)| {
                let at_once = rules.is_same_moment(*at, *known_at);
                (known.entity == f.entity && known.family == f.family) || (kind(known) == kind(f) && at_once)
            };
            if !independent.iter().any(same) {
                independent.push((*f, *at));
            }
        }
        let mut entities: Vec<_> = self.improbable.iter().map(|(f, _)| f.entity).collect();
        entities.sort_unstable();
        entities.dedup();
        let (events, entities) = (independent.len(), entities.len());
        (events >= rules.weak_events && entities >= rules.weak_entities).then_some(Gate::Several {
            events,
            entities,
            limit,
        })
    }

    /// How many improbable events there are, for people.
    #[must_use]
    pub fn kept(&self) -> usize {
        self.improbable.len()
    }
}

#[cfg(test)]
mod tests {
    use tacit_wire::message::Direction;

    use super::*;
    use crate::incident::group::event::{EntityNo, FamilyNo};

    fn onset(entity: u32, family: u32, role: Role) -> Onset {
        let fingerprint =
            Fingerprint { entity: EntityNo(entity), family: FamilyNo(family), direction: Direction::High };
        Onset { event: EventNo(7), fingerprint, at_ms: 0, role, score: 0.0, claim: None, watched_ms: 0 }
    }

    /// Whether weaker events of (entity, family, second, p) open a group.
    fn opens(events: &[(u32, u32, i64, f64)]) -> bool {
        let (rules, mut evidence) = (Rules::default(), Evidence::default());
        let limit = rules.weak_limit(1);
        for (entity, family, at, p) in events {
            let gate = evidence.add(&onset(*entity, *family, Role::Weaker), at * 1000, *p, limit, &rules);
            assert_eq!(gate, None);
        }
        evidence.several(limit, &rules).is_some()
    }

    #[test]
    fn a_symptom_opens_when_it_is_no_habit() {
        let (rules, mut evidence) = (Rules::default(), Evidence::default());
        let mut add = |role, p| evidence.add(&onset(1, 1, role), 0, p, rules.weak_p, &rules);
        assert_eq!(add(Role::Certain, 1.0), Some(Gate::Certain { event: EventNo(7) }));
        let p = rules.symptom_p;
        assert_eq!(add(Role::Symptom, p), Some(Gate::Symptom { event: EventNo(7), p }));
        assert_eq!(add(Role::Symptom, 2.0 * p), None);
        assert_eq!((add(Role::Weaker, 1e-9), add(Role::Context, 1e-9)), (None, None));
    }

    #[test]
    fn several_have_to_be_independent_and_improbable() {
        let rare = Rules::default().weak_p / 10.0;
        assert!(opens(&[(1, 1, 0, rare), (2, 2, 0, rare), (1, 3, 0, rare)]));
        // One entity, one respect, one shared onset, or nothing unusual: no.
        assert!(!opens(&[(1, 1, 0, rare), (1, 2, 0, rare), (1, 3, 0, rare)]));
        assert!(!opens(&[(1, 1, 0, rare), (1, 1, 60, rare), (2, 1, 90, rare)]));
        assert!(!opens(&[(1, 1, 0, rare), (2, 1, 1, rare), (3, 1, 2, rare), (4, 1, 3, rare)]));
        assert!(!opens(&[(1, 1, 0, rare), (2, 2, 0, 20.0 * rare), (1, 3, 0, rare)]));
        // The same thing at different moments is not shared.
        assert!(opens(&[(1, 1, 0, rare), (2, 1, 30, rare), (3, 1, 60, rare)]));
    }

    #[test]
    fn what_two_groups_have_counts_together() {
        let rules = Rules::default();
        let limit = rules.weak_p;
        let (mut one, mut two) = (Evidence::default(), Evidence::default());
        for (evidence, entity, family) in [(&mut one, 1, 1), (&mut two, 2, 3)] {
            assert_eq!(evidence.add(&onset(entity, family, Role::Weaker), 0, limit, limit, &rules), None);
        }
        assert_eq!(one.add(&onset(1, 2, Role::Weaker), 0, limit, limit, &rules), None);
        assert_eq!((one.several(limit, &rules), two.several(limit, &rules)), (None, None));
        one.absorb(&two);
        assert_eq!(one.several(limit, &rules), Some(Gate::Several { events: 3, entities: 2, limit }));
        assert_eq!(one.kept(), 3);
    }
}
