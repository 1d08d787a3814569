//! Who is related to whom: hosts, edges, tags.

use std::collections::{BTreeSet, HashMap, HashSet};

use super::event::{EntityNo, TagNo};
use super::rules::Rules;

/// What the grouping asks of the map and the inventory.
pub trait Relations {
    /// The host an entity is on; itself for a host, or when nothing is known.
    fn host(&self, entity: EntityNo) -> EntityNo;
    /// Entities that it talks to or that talk to it, in a fixed order. For a host: those of everything on it.
    fn neighbours(&self, entity: EntityNo) -> &[EntityNo];
    /// Racks, subnets and tags of its host.
    fn tags(&self, entity: EntityNo) -> &[TagNo];
    /// How many hosts have a tag.
    fn hosts_with(&self, tag: TagNo) -> usize;
    /// How many entities are watched.
    fn entities(&self) -> usize;
    /// Changes whenever an answer may.
    fn version(&self) -> u64;
}

/// Relations as tables.
#[derive(Debug, Clone, Default)]
pub struct Topology {
    hosts: HashMap<EntityNo, EntityNo>,
    neighbours: HashMap<EntityNo, Vec<EntityNo>>,
    tags: HashMap<EntityNo, Vec<TagNo>>,
    tagged: HashMap<TagNo, usize>,
    entities: usize,
    version: u64,
}

impl Topology {
    /// Tables from (entity, its host), (client, server) and (host, tag). An edge between entities is one between their hosts too.
    #[must_use]
    pub fn new(
        hosts: &[(EntityNo, EntityNo)],
        edges: &[(EntityNo, EntityNo)],
        tags: &[(EntityNo, TagNo)],
        version: u64,
    ) -> Self {
        let hosts: HashMap<EntityNo, EntityNo> = hosts.iter().copied().collect();
        let host = |e: EntityNo| hosts.get(&e).copied().unwrap_or(e);
        let mut near: HashMap<EntityNo, BTreeSet<EntityNo>> = HashMap::new();
        for (client, server) in edges {
            for a in [*client, host(*client)] {
                for b in [*server, host(*server)] {
                    if a != b {
                        near.entry(a).or_default().insert(b);
                        near.entry(b).or_default().insert(a);
                    }
                }
            }
        }
        let mut by_host: HashMap<EntityNo, BTreeSet<TagNo>> = HashMap::new();
        for (entity, tag) in tags {
            by_host.entry(host(*entity)).or_default().insert(*tag);
        }
        let mut tagged: HashMap<TagNo, usize> = HashMap::new();
        for tag in by_host.values().flatten() {
            *tagged.entry(*tag).or_default() += 1;
        }
        let all: HashSet<EntityNo> = hosts
            .iter()
            .flat_map(|(e, h)| [*e, *h])
            .chain(near.keys().copied())
            .chain(by_host.keys().copied())
            .collect();
        Self {
            entities: all.len(),
            neighbours: near.into_iter().map(|(e, list)| (e, list.into_iter().collect())).collect(),
            tags: by_host.into_iter().map(|(e, list)| (e, list.into_iter().collect())).collect(),
            hosts,
            tagged,
            version,
        }
    }
}

impl Relations for Topology {
    fn host(&self, entity: EntityNo) -> EntityNo {
        self.hosts.get(&entity).copied().unwrap_or(entity)
    }

    fn neighbours(&self, entity: EntityNo) -> &[EntityNo] {
        self.neighbours.get(&entity).map_or(&[], Vec::as_slice)
    }

    fn tags(&self, entity: EntityNo) -> &[TagNo] {
        self.tags.get(&self.host(entity)).map_or(&[], Vec::as_slice)
    }

    fn hosts_with(&self, tag: TagNo) -> usize {
        self.tagged.get(&tag).copied().unwrap_or(0)
    }

    fn entities(&self) -> usize {
        self.entities
    }

    fn version(&self) -> u64 {
        self.version
    }
}

/// How far an entity is along edges.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hops {
    /// A direct edge.
    One,
    /// Through a third.
    Two,
}

/// Pairs that are remembered; more of them are found anew.
const REMEMBERED: usize = 1 << 20;

/// Neighbourhoods as they are needed, kept while the map stays as it is.
#[derive(Debug, Default)]
pub struct Nearness {
    version: Option<u64>,
    lists: HashMap<EntityNo, Vec<(EntityNo, Hops)>>,
    pairs: usize,
}

impl Nearness {
    /// Entities of other hosts within two hops, the direct ones first.
    pub fn of(&mut self, entity: EntityNo, relations: &dyn Relations, rules: &Rules) -> &[(EntityNo, Hops)] {
        let version = Some(relations.version());
        if self.version != version || (self.pairs > REMEMBERED && !self.lists.contains_key(&entity)) {
            *self = Self { version, ..Self::default() };
        }
        let pairs = &mut self.pairs;
        self.lists.entry(entity).or_insert_with(|| {
            let list = within_two(entity, relations, rules);
            // An entity without neighbours takes memory too.
            *pairs += list.len() + 1;
            list
        })
    }
}

fn within_two(entity: EntityNo, relations: &dyn Relations, rules: &Rules) -> Vec<(EntityNo, Hops)> {
    let host = relations.host(entity);
    let mut seen: HashSet<EntityNo> = HashSet::from([entity]);
    let mut list = Vec::new();
    let direct = relations.neighbours(entity);
    for next in direct {
        if list.len() < rules.near_most && seen.insert(*next) && relations.host(*next) != host {
            list.push((*next, Hops::One));
        }
    }
    for between in direct {
        let further = relations.neighbours(*between);
        if further.len() > rules.hub_edges {
            continue;
        }
        for next in further {
            if list.len() < rules.near_most && seen.insert(*next) && relations.host(*next) != host {
                list.push((*next, Hops::Two));
            }
        }
    }
    list
}

#[cfg(test)]
mod tests {
    use super::*;

    fn e(n: u32) -> EntityNo {
        EntityNo(n)
    }

    #[test]
    fn two_hops_but_not_through_a_hub() {
        // 1 - 2 - 3 - 4, and everything talks to 9.
        let mut edges = vec![(e(1), e(2)), (e(2), e(3)), (e(3), e(4))];
        edges.extend((1..80).filter(|n| *n != 9).map(|n| (e(n), e(9))));
        let topology = Topology::new(&[], &edges, &[], 1);
        let list = Nearness::default().of(e(1), &topology, &Rules::default()).to_vec();
        assert_eq!(list, [(e(2), Hops::One), (e(9), Hops::One), (e(3), Hops::Two)]);
    }

    #[test]
    fn an_edge_of_a_unit_is_one_of_its_host() {
        let topology = Topology::new(&[(e(1), e(10)), (e(2), e(20)), (e(3), e(10))], &[(e(1), e(2))], &[], 1);
        assert_eq!(topology.neighbours(e(10)), [e(2), e(20)]);
        let mut near = Nearness::default();
        // What is on the same host is related by that, not by edges.
        assert_eq!(near.of(e(1), &topology, &Rules::default()), [(e(2), Hops::One), (e(20), Hops::One)]);
        assert_eq!(topology.entities(), 5);
    }

    #[test]
    fn another_version_is_looked_at_anew() {
        let mut near = Nearness::default();
        let first = Topology::new(&[], &[(e(1), e(2))], &[(e(1), TagNo(7)), (e(3), TagNo(7))], 1);
        assert_eq!(near.of(e(1), &first, &Rules::default()).len(), 1);
        assert_eq!((first.hosts_with(TagNo(7)), first.tags(e(3))), (2, &[TagNo(7)][..]));
        let second = Topology::new(&[], &[(e(1), e(2)), (e(2), e(3))], &[], 2);
        assert_eq!(near.of(e(1), &second, &Rules::default()).len(), 2);
    }
}
