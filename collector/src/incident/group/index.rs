//! Which groups were active where: by entity, by host, by tag. An event looks at its own places and at those of its neighbours,
//! never at all other events.

use std::collections::HashMap;

use super::event::{EntityNo, GroupNo, TagNo};
use super::mass::Mass;

/// Where something happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Place {
    /// At an entity itself.
    Entity(EntityNo),
    /// Anywhere on a host.
    Host(EntityNo),
    /// On any host of a tag.
    Tag(TagNo),
}

/// What a group did at a place.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Spot {
    /// The group.
    pub group: GroupNo,
    /// How much lately.
    pub mass: Mass,
    /// Hosts concerned, at a tag.
    pub hosts: u32,
}

/// All places where groups are active.
#[derive(Debug, Default)]
pub struct Index {
    spots: HashMap<Place, Vec<Spot>>,
}

impl Index {
    /// What groups did at a place, in the order of their numbers.
    #[must_use]
    pub fn at(&self, place: Place) -> &[Spot] {
        self.spots.get(&place).map_or(&[], Vec::as_slice)
    }

    /// Adds to what a group did at a place; says whether that is the first of it there.
    pub fn add(&mut self, place: Place, group: GroupNo, mass: Mass, hosts: u32, decay_ms: i64) -> bool {
        let spots = self.spots.entry(place).or_default();
        match spots.binary_search_by_key(&group, |s| s.group) {
            Ok(n) => {
                spots[n].mass.add(mass, decay_ms);
                spots[n].hosts = spots[n].hosts.saturating_add(hosts);
                false
            }
            Err(n) => {
                spots.insert(n, Spot { group, mass, hosts });
                true
            }
        }
    }

    /// A group is over.
    pub fn forget(&mut self, group: GroupNo, places: &[Place]) {
        for place in places {
            self.take(*place, group);
        }
    }

    /// A group goes into another; gives the places that are new to that one. A host on which both were counts twice at its
    /// tags: they are few, as only young groups go into others.
    pub fn merge(&mut self, from: GroupNo, into: GroupNo, places: &[Place], decay_ms: i64) -> Vec<Place> {
        let mut new = Vec::new();
        for place in places {
            let Some(spot) = self.take(*place, from) else { continue };
            if self.add(*place, into, spot.mass, spot.hosts, decay_ms) {
                new.push(*place);
            }
        }
        new
    }

    fn take(&mut self, place: Place, group: GroupNo) -> Option<Spot> {
        let spots = self.spots.get_mut(&place)?;
        let n = spots.binary_search_by_key(&group, |s| s.group).ok()?;
        let spot = spots.remove(n);
        if spots.is_empty() {
            self.spots.remove(&place);
        }
        Some(spot)
    }

    /// How many places are held.
    #[cfg(test)]
    pub fn places(&self) -> usize {
        self.spots.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DECAY: i64 = 90_000;

    #[test]
    fn a_group_leaves_nothing_behind() {
        let (mut index, here, there) = (Index::default(), Place::Entity(EntityNo(1)), Place::Tag(TagNo(1)));
        let one = Mass::of(1.0, 0);
        assert!(index.add(here, GroupNo(2), one, 0, DECAY));
        assert!(index.add(here, GroupNo(1), one, 0, DECAY));
        assert!(!index.add(here, GroupNo(2), one, 0, DECAY));
        assert!(index.add(there, GroupNo(2), one, 1, DECAY));
        let groups: Vec<_> = index.at(here).iter().map(|s| s.group.0).collect();
        assert_eq!(groups, [1, 2]);

        assert_eq!(index.merge(GroupNo(2), GroupNo(1), &[here, there], DECAY), [there]);
        assert!((index.at(here)[0].mass.at(0, DECAY) - 3.0).abs() < 1e-12);
        assert_eq!(index.at(there)[0].hosts, 1);
        index.forget(GroupNo(1), &[here, there]);
        assert_eq!(index.places(), 0);
    }
}
