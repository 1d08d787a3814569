//! Shared onsets: the same thing that begins on many hosts within seconds is one thing, such as a nightly job.
//!
//! When nearly all of those hosts have a tag in common, that is what they share: a host without it that does the same at that
//! moment is a stranger, until there are several such strangers.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};

use tacit_wire::message::Direction;

use super::event::{EntityNo, FamilyNo, Fingerprint, GroupNo, TagNo};
use super::relation::Relations;
use super::rules::Rules;

/// Onsets of one thing that are looked at; enough to know that it is shared.
const SEEN_MOST: usize = 256;
/// Kinds of things whose onsets are kept.
const KINDS_MOST: usize = 4096;

/// What begins.
pub type Kind = (FamilyNo, Direction);

/// What a fingerprint is, whoever has it.
#[must_use]
pub fn kind(fingerprint: &Fingerprint) -> Kind {
    (fingerprint.family, fingerprint.direction)
}

#[derive(Debug, Clone)]
struct Seen {
    at_ms: i64,
    host: EntityNo,
    tags: Vec<TagNo>,
    group: GroupNo,
}

/// Who else does the same at the moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Company {
    /// Hosts, the asking one included.
    pub hosts: usize,
    /// The groups they are in, with how many of the onsets each holds.
    pub groups: BTreeMap<GroupNo, usize>,
}

/// The onsets of the last seconds.
#[derive(Debug, Default)]
pub struct SharedOnsets {
    seen: HashMap<Kind, VecDeque<Seen>>,
}

impl SharedOnsets {
    /// Who shares an onset; `None` when too few do.
    pub fn company(
        &mut self,
        kind: Kind,
        at_ms: i64,
        entity: EntityNo,
        relations: &dyn Relations,
        rules: &Rules,
    ) -> Option<Company> {
        let seen = self.seen.get_mut(&kind)?;
        let newest = seen.iter().map(|s| s.at_ms).fold(at_ms, i64::max);
        seen.retain(|s| newest.saturating_sub(s.at_ms) <= rules.simultaneous_ms);
        let now: Vec<&Seen> = seen.iter().filter(|s| rules.is_same_moment(s.at_ms, at_ms)).collect();
        let host = relations.host(entity);
        let tag = common_tag(&now, rules);
        let is_inside = |tags: &[TagNo]| tag.is_none_or(|t| tags.contains(&t));
        let mine = is_inside(relations.tags(entity));
        let (inside, outside): (Vec<&Seen>, Vec<&Seen>) = now.iter().copied().partition(|s| is_inside(&s.tags));
        let others = if mine { hosts(None, &outside) } else { hosts(Some(host), &outside) };
        let everybody = others >= rules.shared_hosts;
        let company: &[&Seen] = match (everybody, mine) {
            (true, _) => &now,
            (false, true) => &inside,
            (false, false) => return None,
        };
        let hosts = hosts(Some(host), company);
        if hosts < rules.shared_hosts {
            return None;
        }
        let mut groups = BTreeMap::new();
        for s in company {
            *groups.entry(s.group).or_default() += 1;
        }
        Some(Company { hosts, groups })
    }

    /// Notes an onset.
    pub fn note(&mut self, kind: Kind, at_ms: i64, entity: EntityNo, group: GroupNo, relations: &dyn Relations) {
        if self.seen.len() >= KINDS_MOST && !self.seen.contains_key(&kind) {
            // They are of the last seconds: at worst an onset is not seen to be shared.
            self.seen.clear();
        }
        let seen = self.seen.entry(kind).or_default();
        if seen.len() >= SEEN_MOST {
            seen.pop_front();
        }
        seen.push_back(Seen { at_ms, host: relations.host(entity), tags: relations.tags(entity).to_vec(), group });
    }

    /// A group went into another.
    pub fn regroup(&mut self, kind: Kind, from: GroupNo, into: GroupNo) {
        for seen in self.seen.get_mut(&kind).into_iter().flatten().filter(|s| s.group == from) {
            seen.group = into;
        }
    }
}

/// How many hosts there are, with the own one if it counts.
fn hosts(own: Option<EntityNo>, seen: &[&Seen]) -> usize {
    let all: HashSet<EntityNo> = seen.iter().map(|s| s.host).chain(own).collect();
    all.len()
}

/// The tag that nearly all of the hosts have.
fn common_tag(seen: &[&Seen], rules: &Rules) -> Option<TagNo> {
    let mut hosts: HashSet<EntityNo> = HashSet::new();
    let mut tags: BTreeMap<TagNo, usize> = BTreeMap::new();
    for s in seen {
        if hosts.insert(s.host) {
            for tag in &s.tags {
                *tags.entry(*tag).or_default() += 1;
            }
        }
    }
    let enough = rules.shared_scope * hosts.len() as f64;
    let (tag, most) = tags.into_iter().max_by_key(|(tag, n)| (*n, std::cmp::Reverse(*tag)))?;
    (most as f64 >= enough).then_some(tag)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::incident::group::relation::Topology;

    const JOB: Kind = (FamilyNo(1), Direction::High);

    /// Hosts 0 to 99 in rack 1, 100 to 199 in rack 2.
    fn racks() -> Topology {
        let tags: Vec<_> = (0..200).map(|n| (EntityNo(n), TagNo(1 + n / 100))).collect();
        Topology::new(&[], &[], &tags, 1)
    }

    fn note(shared: &mut SharedOnsets, host: u32, at: i64) {
        shared.note(JOB, at, EntityNo(host), GroupNo(u64::from(host)), &racks());
    }

    fn company(shared: &mut SharedOnsets, host: u32, at: i64) -> Option<usize> {
        shared.company(JOB, at, EntityNo(host), &racks(), &Rules::default()).map(|c| c.hosts)
    }

    #[test]
    fn three_hosts_within_seconds_share_an_onset() {
        let mut shared = SharedOnsets::default();
        note(&mut shared, 1, 0);
        note(&mut shared, 1, 100);
        assert_eq!(company(&mut shared, 2, 1000), None);
        note(&mut shared, 2, 1000);
        assert_eq!(company(&mut shared, 3, 9000), Some(3));
        assert_eq!(company(&mut shared, 3, 10_500), None);
        assert_eq!(shared.company((FamilyNo(2), Direction::High), 0, EntityNo(3), &racks(), &Rules::default()), None);
    }

    #[test]
    fn a_stranger_to_the_rack_is_none_of_it_but_several_are() {
        let mut shared = SharedOnsets::default();
        for host in 0..20 {
            note(&mut shared, host, 0);
        }
        assert_eq!(company(&mut shared, 50, 1), Some(21));
        assert_eq!(company(&mut shared, 150, 1), None);
        note(&mut shared, 150, 1);
        // Nor is it company to the rack.
        assert_eq!(company(&mut shared, 51, 1), Some(21));
        note(&mut shared, 151, 1);
        assert_eq!(company(&mut shared, 152, 1), Some(23));
    }

    #[test]
    fn a_merged_group_is_found_by_its_new_number() {
        let mut shared = SharedOnsets::default();
        note(&mut shared, 1, 0);
        note(&mut shared, 2, 0);
        shared.regroup(JOB, GroupNo(2), GroupNo(1));
        let company = shared.company(JOB, i64::MAX, EntityNo(3), &racks(), &Rules::default());
        assert_eq!(company, None);
        note(&mut shared, 1, 0);
        note(&mut shared, 2, 0);
        shared.regroup(JOB, GroupNo(2), GroupNo(1));
        let company = shared.company(JOB, 0, EntityNo(3), &racks(), &Rules::default()).expect("three hosts");
        assert_eq!(company.groups, BTreeMap::from([(GroupNo(1), 2)]));
    }
}
