//! A group while events still come to it.

use super::event::{EntityNo, EventNo, Fingerprint, GroupNo};
use super::gate::{Evidence, Gate};
use super::index::Place;
use super::rules::Rules;
use super::shared::{Kind, kind};

/// Events of an open group that are kept: one with more is never taken for a part of another.
const MEMBERS_OF_OPEN: usize = 64;

/// A group that takes events.
#[derive(Debug, Clone)]
pub struct Group {
    /// Its number.
    pub no: GroupNo,
    /// Onset of its first event.
    pub first_ms: i64,
    /// Onset of its last.
    pub last_ms: i64,
    /// Its events; all of them until it opens.
    pub members: Vec<(EventNo, Fingerprint)>,
    /// Whether `members` are all of them.
    pub whole: bool,
    /// Where the index has it.
    pub places: Vec<Place>,
    /// Its improbable events.
    pub evidence: Evidence,
    /// Why it opened, when it did.
    pub opened: Option<Gate>,
    /// The full group that it goes on with.
    pub parent: Option<GroupNo>,
    /// The child that goes on with it.
    pub heir: Option<GroupNo>,
    /// The only thing that happened in it.
    kind: Option<Kind>,
    /// The only host that it happened on.
    host: Option<EntityNo>,
    /// Times and weights of the newest onsets; none that is both older and lighter than another.
    fresh: Vec<(i64, f64)>,
}

impl Group {
    /// An empty group that is made for such a thing on that host.
    #[must_use]
    pub fn new(no: GroupNo, at_ms: i64, parent: Option<GroupNo>, kind: Kind, host: EntityNo) -> Self {
        Self {
            no,
            first_ms: at_ms,
            last_ms: at_ms,
            members: Vec::new(),
            whole: true,
            places: Vec::new(),
            evidence: Evidence::default(),
            opened: None,
            parent,
            heir: None,
            kind: Some(kind),
            host: Some(host),
            fresh: Vec::new(),
        }
    }

    /// Whether it still takes an event of that time.
    #[must_use]
    pub fn takes(&self, at_ms: i64, rules: &Rules) -> bool {
        self.last_ms.max(at_ms).saturating_sub(self.first_ms.min(at_ms)) <= rules.growth_ms
    }

    /// Whether it may go into another without making that too long.
    #[must_use]
    pub fn fits(&self, into: &Self, rules: &Rules) -> bool {
        into.last_ms.max(self.last_ms).saturating_sub(into.first_ms.min(self.first_ms)) <= rules.growth_ms
    }

    /// Whether it is a fragment of a shared onset of this kind: all of it began at one moment, and is of the kind or on one
    /// host; or of a crowd, which is too many hosts to be chance.
    #[must_use]
    pub fn is_fragment_of(&self, shared: Kind, hosts: usize, rules: &Rules) -> bool {
        let is_moment = self.last_ms.saturating_sub(self.first_ms) <= rules.simultaneous_ms;
        let is_simple = self.kind == Some(shared) || self.host.is_some();
        is_moment && self.whole && (is_simple || hosts >= rules.crowd_hosts)
    }

    /// Takes an event.
    pub fn add(
        &mut self,
        event: EventNo,
        fingerprint: Fingerprint,
        host: EntityNo,
        at_ms: i64,
        root: f64,
        rules: &Rules,
    ) {
        self.first_ms = self.first_ms.min(at_ms);
        self.last_ms = self.last_ms.max(at_ms);
        self.members.push((event, fingerprint));
        self.trim();
        self.kind = self.kind.filter(|k| *k == kind(&fingerprint));
        self.host = self.host.filter(|h| *h == host);
        self.refresh(at_ms, root, rules);
    }

    /// Takes all of another group; `new` are the places that it did not have.
    pub fn absorb(&mut self, other: Self, new: Vec<Place>, rules: &Rules) {
        self.first_ms = self.first_ms.min(other.first_ms);
        self.last_ms = self.last_ms.max(other.last_ms);
        self.members.extend(other.members);
        self.whole &= other.whole;
        self.trim();
        self.places.extend(new);
        self.evidence.absorb(&other.evidence);
        self.kind = self.kind.filter(|k| other.kind == Some(*k));
        self.host = self.host.filter(|h| other.host == Some(*h));
        self.heir = self.heir.or(other.heir);
        for (at_ms, root) in other.fresh {
            self.refresh(at_ms, root, rules);
        }
    }

    /// It opens; gives the events it has so far.
    pub fn open(&mut self, gate: Gate) -> Vec<EventNo> {
        self.opened = Some(gate);
        let events = self.members.iter().map(|(event, _)| *event).collect();
        self.trim();
        events
    }

    /// Weight of the heaviest event that began at about that time.
    #[must_use]
    pub fn fresh(&self, at_ms: i64, rules: &Rules) -> f64 {
        self.fresh.iter().filter(|(at, _)| rules.is_same_moment(*at, at_ms)).map(|(_, root)| *root).fold(0.0, f64::max)
    }

    fn refresh(&mut self, at_ms: i64, root: f64, rules: &Rules) {
        let newest = self.last_ms;
        let old = |at: i64| newest.saturating_sub(at) > rules.simultaneous_ms;
        self.fresh.retain(|(at, weight)| !old(*at) && (*at > at_ms || *weight > root));
        if !old(at_ms) && !self.fresh.iter().any(|(at, weight)| *at >= at_ms && *weight >= root) {
            self.fresh.push((at_ms, root));
        }
    }

    fn trim(&mut self) {
        if self.opened.is_some() && self.members.len() > MEMBERS_OF_OPEN {
            self.members = Vec::new();
            self.whole = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use tacit_wire::message::Direction;

    use super::*;
    use crate::incident::group::event::FamilyNo;

    const HOST: EntityNo = EntityNo(1);

    fn print(family: u32) -> Fingerprint {
        Fingerprint { entity: EntityNo(1), family: FamilyNo(family), direction: Direction::High }
    }

    fn new() -> Group {
        Group::new(GroupNo(1), 0, None, kind(&print(1)), HOST)
    }

    #[test]
    fn it_grows_for_so_long_and_no_longer_to_either_side() {
        let rules = Rules::default();
        let mut group = new();
        group.add(EventNo(1), print(1), HOST, 0, 1.0, &rules);
        assert!(group.takes(rules.growth_ms, &rules) && !group.takes(rules.growth_ms + 1, &rules));
        assert!(group.takes(-rules.growth_ms, &rules) && !group.takes(-rules.growth_ms - 1, &rules));
        assert!(!group.takes(i64::MIN, &rules) && !group.takes(i64::MAX, &rules));
    }

    #[test]
    fn a_fragment_is_one_moment_of_one_kind_or_one_host() {
        let rules = Rules::default();
        let is_fragment = |events: &[(u32, u32, i64)], hosts: usize| {
            let mut group = new();
            for (family, host, at) in events {
                group.add(EventNo(1), print(*family), EntityNo(*host), *at, 1.0, &rules);
            }
            group.is_fragment_of(kind(&print(1)), hosts, &rules)
        };
        assert!(is_fragment(&[(1, 1, 0), (1, 2, 5000)], 3));
        assert!(is_fragment(&[(1, 1, 0), (2, 1, 5000)], 3));
        assert!(!is_fragment(&[(1, 1, 0), (2, 2, 5000)], 3));
        assert!(is_fragment(&[(1, 1, 0), (2, 2, 5000)], rules.crowd_hosts));
        assert!(!is_fragment(&[(1, 1, 0), (1, 1, 60_000)], rules.crowd_hosts));
    }

    #[test]
    fn fresh_is_the_heaviest_of_the_moment() {
        let rules = Rules::default();
        let mut group = new();
        for (at, root) in [(0, 0.9), (4000, 0.5), (2000, 0.4), (6000, 0.2)] {
            group.add(EventNo(1), print(1), HOST, at, root, &rules);
        }
        assert_eq!([0, 11_000, 15_000, 17_000].map(|at| group.fresh(at, &rules)), [0.9, 0.5, 0.2, 0.0]);
        group.add(EventNo(2), print(1), HOST, 8000, 1.0, &rules);
        assert_eq!(group.fresh.len(), 1);
    }

    #[test]
    fn an_open_group_keeps_few_of_its_events() {
        let rules = Rules::default();
        let mut group = new();
        for n in 0..100 {
            group.add(EventNo(n), print(1), HOST, 0, 1.0, &rules);
        }
        assert_eq!(group.open(Gate::Certain { event: EventNo(1) }).len(), 100);
        assert!(group.members.is_empty() && !group.whole);
    }
}
