//! How much binds an event to each group: relation × what is left of the group's events × improbability.

use std::collections::BTreeMap;

use super::event::{EntityNo, GroupNo};
use super::index::{Index, Place, Spot};
use super::outcome::Weights;
use super::relation::{Hops, Relations};
use super::rules::Rules;
use super::state::Group;

/// Tags of a host that are looked at.
pub const TAGS_MOST: usize = 16;

/// What is left of a group's events in each relation to an event.
#[derive(Debug, Clone, Copy)]
struct Sum {
    group: GroupNo,
    unit: f64,
    host: f64,
    edge: f64,
    two_hops: f64,
    tag: f64,
    fresh: f64,
}

/// Sums by group, in the order of their numbers.
#[derive(Debug, Default)]
struct Sums(Vec<Sum>);

impl Sums {
    fn of(&mut self, group: GroupNo) -> &mut Sum {
        let n = match self.0.binary_search_by_key(&group, |s| s.group) {
            Ok(n) => n,
            Err(n) => {
                self.0.insert(n, Sum { group, unit: 0.0, host: 0.0, edge: 0.0, two_hops: 0.0, tag: 0.0, fresh: 0.0 });
                n
            }
        };
        &mut self.0[n]
    }
}

/// An event that looks for its group.
#[derive(Debug, Clone, Copy)]
pub struct Seeker {
    /// Where it is.
    pub entity: EntityNo,
    /// When it began.
    pub at_ms: i64,
    /// Square root of its improbability; the groups' events have theirs in their masses.
    pub root: f64,
}

/// What binds an event to groups, in the order of their numbers.
#[must_use]
pub fn weigh(
    seeker: &Seeker,
    near: &[(EntityNo, Hops)],
    index: &Index,
    groups: &BTreeMap<GroupNo, Group>,
    relations: &dyn Relations,
    rules: &Rules,
) -> Vec<Weights> {
    let Seeker { entity, at_ms, root } = *seeker;
    let left = |spot: &Spot| spot.mass.at(at_ms, rules.decay_ms);
    let mut sums = Sums::default();
    for spot in index.at(Place::Entity(entity)) {
        sums.of(spot.group).unit = left(spot);
    }
    for spot in index.at(Place::Host(relations.host(entity))) {
        let sum = sums.of(spot.group);
        sum.host = (left(spot) - sum.unit).max(0.0);
    }
    for (other, hops) in near {
        for spot in index.at(Place::Entity(*other)) {
            let sum = sums.of(spot.group);
            match hops {
                Hops::One => sum.edge += left(spot),
                Hops::Two => sum.two_hops += left(spot),
            }
        }
    }
    for tag in relations.tags(entity).iter().take(TAGS_MOST) {
        for spot in index.at(Place::Tag(*tag)) {
            let sum = sums.of(spot.group);
            // What is nearer is in the tag's sum as well.
            let farther = left(spot) - sum.unit - sum.host - sum.edge - sum.two_hops;
            let share = rules.tag_share * relations.hosts_with(*tag) as f64;
            let is_wide = spot.hosts >= rules.tag_hosts && f64::from(spot.hosts) >= share;
            let most = if is_wide { rules.mass_most } else { 1.0 };
            sum.tag = sum.tag.max(farther.clamp(0.0, most));
        }
    }
    for (no, group) in groups {
        let fresh = group.fresh(at_ms, rules);
        if fresh > 0.0 {
            sums.of(*no).fresh = fresh;
        }
    }
    sums.0.into_iter().map(|sum| weighted(&sum, root, rules)).collect()
}

fn weighted(sum: &Sum, root: f64, rules: &Rules) -> Weights {
    let relation = &rules.relation;
    let part = |weight: f64, mass: f64| root * weight * mass.min(rules.mass_most);
    Weights {
        group: sum.group,
        unit: part(relation.unit, sum.unit),
        host: part(relation.host, sum.host),
        edge: part(relation.edge, sum.edge),
        two_hops: part(relation.two_hops, sum.two_hops),
        tag: part(relation.tag, sum.tag),
        simultaneous: part(relation.simultaneous, sum.fresh),
    }
}
