//! Every constant of the grouping, in one place.

/// What each relation between two entities weighs; only the nearest one of a pair counts.
#[derive(Debug, Clone, PartialEq)]
pub struct RelationWeights {
    /// The same unit, or the same node.
    pub unit: f64,
    /// Two things on one host.
    pub host: f64,
    /// One talks to the other.
    pub edge: f64,
    /// Both talk to a third.
    pub two_hops: f64,
    /// The same rack, subnet or tag.
    pub tag: f64,
    /// Nothing but that both began at the same moment.
    pub simultaneous: f64,
}

/// The constants of the grouping. Times are milliseconds.
#[derive(Debug, Clone, PartialEq)]
pub struct Rules {
    /// Time over which a relation fades to 1/e.
    pub decay_ms: i64,
    /// Weights of relations.
    pub relation: RelationWeights,
    /// An event joins a group when what binds them is more than this.
    pub join: f64,
    /// One relation counts for at most so many fresh, wholly improbable events: a storm shall not bind strangers by its mass.
    pub mass_most: f64,
    /// A tag counts like any other relation once this share of its hosts is concerned; before, for one event at most.
    pub tag_share: f64,
    /// And so many hosts at least.
    pub tag_hosts: u32,
    /// Neighbours of whatever has more edges than this are not related through it: everything talks to a name server.
    pub hub_edges: usize,
    /// Neighbours of an entity that are looked at.
    pub near_most: usize,

    /// A group takes events for so long; what comes later makes a child.
    pub growth_ms: i64,
    /// A group is over when nothing joined it for so long.
    pub idle_ms: i64,

    /// Open groups that began at most so long ago are one when an event is bound to both.
    pub bridge_ms: i64,

    /// Onsets within so long are simultaneous.
    pub simultaneous_ms: i64,
    /// The same thing that begins on so many hosts at once is one thing.
    pub shared_hosts: usize,
    /// On so many it is no chance, whatever else happens on them at that moment.
    pub crowd_hosts: usize,
    /// A shared onset is bound to a tag when this share of its hosts has it.
    pub shared_scope: f64,

    /// Transitions within `flap_ms` from which on an event is unstable.
    pub flap_transitions: usize,
    /// See there; and the quiet after which it is stable again.
    pub flap_ms: i64,
    /// An event is believed to be open for so long when nothing more is heard of it.
    pub open_most_ms: i64,

    /// Powers of ten of improbability that count as certain.
    pub full_powers: f64,
    /// A measured symptom opens a group only when it is at most so probable for its source.
    pub symptom_p: f64,
    /// A weaker event counts for the gate only when it is at most so probable, in a fleet of up to `fleet_entities`.
    pub weak_p: f64,
    /// So many independent ones open a group,
    pub weak_events: usize,
    /// on so many entities.
    pub weak_entities: usize,
    /// With more entities than this `weak_p` is lowered in proportion.
    pub fleet_entities: f64,

    /// How far back a source's scores are looked at.
    pub horizon_ms: i64,
    /// Length of the slots in which a source could have raised an event.
    pub slot_ms: i64,
    /// So many slots of experience weigh as much as what the event claims of itself.
    pub prior_slots: f64,
    /// What an event claims that claims nothing: the chance of its threshold in a slot,
    pub claim: f64,
    /// which falls with the score like `exp(-claim_slope * score)`.
    pub claim_slope: f64,

    /// Events are sorted by time of onset over so long before they are grouped.
    pub hold_ms: i64,
    /// An onset is believed to be at most so old when it is heard of,
    pub late_most_ms: i64,
    /// and at most so far ahead.
    pub ahead_most_ms: i64,

    /// Groups that are kept.
    pub groups_most: usize,
    /// Events that may wait in groups that did not open.
    pub waiting_most: usize,
    /// Fingerprints that are kept, and sources with their scores.
    pub fingerprints_most: usize,
}

impl Default for Rules {
    fn default() -> Self {
        const MINUTE: i64 = 60_000;
        Self {
            decay_ms: 90_000,
            relation: RelationWeights { unit: 1.0, host: 0.8, edge: 0.7, two_hops: 0.4, tag: 0.3, simultaneous: 0.2 },
            join: 0.6,
            mass_most: 3.0,
            tag_share: 0.5,
            tag_hosts: 3,
            hub_edges: 48,
            near_most: 1024,
            growth_ms: 15 * MINUTE,
            idle_ms: 15 * MINUTE,
            bridge_ms: 30_000,
            simultaneous_ms: 10_000,
            shared_hosts: 3,
            crowd_hosts: 8,
            shared_scope: 0.8,
            flap_transitions: 4,
            flap_ms: 30 * MINUTE,
            open_most_ms: 24 * 60 * MINUTE,
            full_powers: 2.0,
            symptom_p: 0.025,
            weak_p: 1e-4,
            weak_events: 3,
            weak_entities: 2,
            fleet_entities: 100.0,
            horizon_ms: 7 * 24 * 60 * MINUTE,
            slot_ms: MINUTE,
            prior_slots: 1440.0,
            claim: 1e-3,
            claim_slope: 2.0,
            hold_ms: 2000,
            late_most_ms: 24 * 60 * MINUTE,
            ahead_most_ms: 5000,
            groups_most: 4096,
            waiting_most: 65_536,
            fingerprints_most: 131_072,
        }
    }
}

impl Rules {
    /// Whether two onsets are simultaneous.
    #[must_use]
    pub fn is_same_moment(&self, a_ms: i64, b_ms: i64) -> bool {
        a_ms.abs_diff(b_ms) <= self.simultaneous_ms.unsigned_abs()
    }

    /// How improbable a weaker event has to be in a fleet of so many entities: the more there are, the more is seen by chance.
    #[must_use]
    pub fn weak_limit(&self, entities: usize) -> f64 {
        self.weak_p / (entities as f64 / self.fleet_entities).max(1.0)
    }

    /// How much a probability says, 0 to 1.
    #[must_use]
    pub fn improbability(&self, p: f64) -> f64 {
        let p = if p.is_nan() { 1.0 } else { p.max(f64::MIN_POSITIVE) };
        (-p.log10() / self.full_powers).clamp(0.0, 1.0)
    }

    /// A time that can be believed of something heard of at `now_ms`: a node whose clock is wild does no harm to others.
    #[must_use]
    pub fn plausible(&self, at_ms: i64, now_ms: i64) -> i64 {
        at_ms.max(now_ms.saturating_sub(self.late_most_ms)).min(now_ms.saturating_add(self.ahead_most_ms))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn improbability_is_a_share_whatever_comes() {
        let rules = Rules::default();
        for p in [f64::NAN, -1.0, 0.0, f64::INFINITY, f64::NEG_INFINITY, 1e-300, 1.0, 2.0] {
            assert!((0.0..=1.0).contains(&rules.improbability(p)), "{p}");
        }
        assert!(rules.improbability(1e-2) > rules.improbability(1e-1));
        assert!((rules.improbability(1e-2) - 2.0 / rules.full_powers).abs() < 1e-9);
    }

    #[test]
    fn a_larger_fleet_asks_for_more() {
        let rules = Rules::default();
        assert!((rules.weak_limit(10) - rules.weak_p).abs() < 1e-12);
        assert!((rules.weak_limit(1000) - rules.weak_p / 10.0).abs() < 1e-12);
    }

    #[test]
    fn wild_times_are_brought_back() {
        let rules = Rules::default();
        assert_eq!(rules.plausible(i64::MAX, 1000), 1000 + rules.ahead_most_ms);
        assert_eq!(rules.plausible(i64::MIN, 1000), 1000 - rules.late_most_ms);
        assert_eq!(rules.plausible(900, 1000), 900);
        assert_eq!(rules.plausible(0, i64::MIN), i64::MIN + rules.ahead_most_ms);
        assert_eq!(rules.plausible(0, i64::MAX), i64::MAX - rules.late_most_ms);
    }
}
