//! The rules of grouping, one by one, and what holds for any input.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use proptest::prelude::*;
use tacit_wire::message::Direction;

use super::order::Waiting;
use super::storm::storm;
use super::*;

const MINUTE: i64 = 60_000;
const NOW: i64 = 1_700_000_000_000;

/// Units 1 to 9 on hosts 11 to 19 in a chain; 21 is a second unit on host 11; 31 to 34 know nobody; 31 and 32 share a tag.
fn relations() -> Topology {
    let mut hosts: Vec<_> = (1..10).map(|n| (EntityNo(n), EntityNo(10 + n))).collect();
    hosts.extend([31, 32, 33, 34].map(|n| (EntityNo(n), EntityNo(n))));
    hosts.push((EntityNo(21), EntityNo(11)));
    let edges: Vec<_> = (1..9).map(|n| (EntityNo(n), EntityNo(n + 1))).collect();
    Topology::new(&hosts, &edges, &[(EntityNo(31), TagNo(1)), (EntityNo(32), TagNo(1))], 1)
}

fn onset(event: u64, entity: u32, family: u32, at_ms: i64, role: Role) -> Onset {
    let fingerprint = Fingerprint { entity: EntityNo(entity), family: FamilyNo(family), direction: Direction::High };
    Onset {
        event: EventNo(event),
        fingerprint,
        at_ms: NOW.saturating_add(at_ms),
        role,
        score: 3.0,
        claim: Some(1e-9),
        watched_ms: 7 * 1440 * MINUTE,
    }
}

/// A grouping with all that came out of it.
struct Run {
    grouper: Grouper,
    relations: Topology,
    out: Vec<Outcome>,
}

impl Run {
    fn new() -> Self {
        Self { grouper: Grouper::new(Rules::default(), GroupNo(1)), relations: relations(), out: Vec::new() }
    }

    fn begin(&mut self, onset: &Onset) -> Placed {
        let out = self.grouper.begin(onset, onset.at_ms, &self.relations);
        let placed: Vec<Placed> =
            out.iter().filter_map(|o| if let Outcome::Placed(p) = o { Some(*p) } else { None }).collect();
        self.out.extend(out);
        assert_eq!(placed.len(), 1, "an event is placed once");
        placed[0]
    }

    /// Begins (entity, family, millisecond, role) one after another; gives their groups, each with the number of its first event.
    fn groups(&mut self, events: &[(u32, u32, i64, Role)]) -> Vec<u64> {
        let numbered = events.iter().zip(0..);
        let placed =
            numbered.map(|((entity, family, at, role), n)| self.begin(&onset(n, *entity, *family, *at, *role)));
        placed.collect::<Vec<_>>().iter().map(|p| p.group.0).collect()
    }

    fn opened(&self) -> Vec<u64> {
        self.out
            .iter()
            .filter_map(|o| if let Outcome::Opened { group, .. } = o { Some(group.0) } else { None })
            .collect()
    }

    /// Lets everything end; gives the events of the digest.
    fn digest(&mut self) -> Vec<u64> {
        let over = self.grouper.advance(NOW + 1000 * MINUTE);
        self.out.extend(over);
        let digests =
            self.out.iter().filter_map(|o| if let Outcome::Digest { events, .. } = o { Some(events) } else { None });
        digests.flatten().map(|e| e.0).collect()
    }
}

use Role::{Certain, Context, Symptom, Weaker};

#[test]
fn each_relation_binds_as_near_as_it_is() {
    let of = |entity| {
        let mut run = Run::new();
        let groups = run.groups(&[(1, 1, 0, Certain), (entity, 2, 1000, Symptom)]);
        let Outcome::Placed(placed) = run.out[run.out.len() - if groups[0] == groups[1] { 1 } else { 2 }] else {
            panic!("the second event was placed last")
        };
        (groups[0] == groups[1], placed.how)
    };
    // The same unit, the same host, a direct edge.
    for entity in [1, 21, 11, 2] {
        assert!(of(entity).0, "{entity}: {:?}", of(entity).1);
    }
    // Two hops and nothing at all; the weights say what was missing.
    for entity in [3, 33] {
        let (joined, how) = of(entity);
        let How::First { nearest: Some(nearest) } = how else { panic!("{entity}: {how:?}") };
        assert!(!joined && nearest.total() < Rules::default().join, "{nearest}");
        assert_eq!(nearest.two_hops > 0.0, entity == 3);
    }
}

#[test]
fn time_unbinds() {
    let far = (Rules::default().decay_ms as f64 * 3.0) as i64;
    assert_eq!(Run::new().groups(&[(1, 1, 0, Certain), (2, 2, far, Certain)]), [1, 2]);
    // Several weak bonds make a strong one.
    assert_eq!(Run::new().groups(&[(1, 1, 0, Certain), (3, 3, 12_000, Certain)]), [1, 2]);
    assert_eq!(Run::new().groups(&[(1, 1, 0, Certain), (1, 2, 1000, Certain), (3, 3, 12_000, Certain)]), [1, 1, 1]);
}

#[test]
fn two_faults_that_know_nothing_of_each_other_are_two_incidents() {
    let mut run = Run::new();
    let groups = run.groups(&[
        (1, 1, 0, Certain),
        (33, 5, 2000, Certain),
        (2, 2, 3000, Symptom),
        (33, 6, 4000, Symptom),
        (1, 3, 5000, Weaker),
    ]);
    assert_eq!(groups, [1, 2, 1, 2, 1]);
    assert_eq!(run.opened(), [1, 2]);
    assert!(run.digest().is_empty());
}

#[test]
fn weaker_events_wait_for_a_symptom_or_for_company() {
    let mut run = Run::new();
    run.groups(&[(1, 1, 0, Weaker), (33, 1, 1000, Weaker)]);
    assert!(run.opened().is_empty());
    assert_eq!(run.grouper.size(), (2, 2));
    let opened = run.begin(&onset(2, 2, 2, 2000, Certain));
    assert_eq!(run.opened(), [opened.group.0]);
    let Some(Outcome::Opened { events, .. }) = run.out.last() else { panic!("it opened last") };
    assert_eq!(*events, [EventNo(0), EventNo(2)]);
    assert_eq!(run.digest(), [1]);
    assert_eq!(run.grouper.size(), (0, 0));

    let mut run = Run::new();
    run.groups(&[(1, 1, 0, Weaker), (2, 2, 1000, Weaker), (1, 3, 2000, Weaker)]);
    assert_eq!(run.opened(), [1]);
    let gate = run.out.iter().find_map(|o| if let Outcome::Opened { gate, .. } = o { Some(*gate) } else { None });
    assert!(matches!(gate, Some(Gate::Several { events: 3, entities: 2, .. })), "{gate:?}");
}

#[test]
fn context_joins_and_never_opens() {
    let mut run = Run::new();
    let groups = run.groups(&[(1, 1, 0, Context), (1, 2, 1000, Context), (2, 3, 2000, Context)]);
    assert!(run.opened().is_empty(), "{groups:?}");
    let symptom = run.begin(&onset(9, 1, 4, 3000, Certain));
    assert_eq!((symptom.group.0, run.opened()), (1, vec![1]));
}

#[test]
fn what_begins_on_many_hosts_at_once_is_one_thing() {
    let mut run = Run::new();
    let groups =
        run.groups(&[(31, 7, 0, Symptom), (33, 7, 500, Symptom), (34, 7, 900, Symptom), (5, 7, 1000, Symptom)]);
    assert_eq!(groups, [1, 2, 1, 1]);
    let merged = Outcome::Merged { from: GroupNo(2), into: GroupNo(1), was_open: true };
    assert!(run.out.contains(&merged), "{:?}", run.out);
    // Something else on one of them at that moment is the same; another kind elsewhere is not.
    assert_eq!(run.begin(&onset(10, 33, 8, 1500, Weaker)).group.0, 1);
    assert_ne!(run.begin(&onset(11, 8, 9, 1600, Weaker)).group.0, 1);
    // A job of which nobody suffers goes into the digest.
    let mut run = Run::new();
    run.groups(&[31, 32, 33, 34, 5, 8].map(|entity| (entity, 7, 0, Weaker)));
    assert!(run.opened().is_empty());
    assert_eq!(run.digest().len(), 6);
}

#[test]
fn a_group_that_grew_for_long_enough_has_a_child() {
    let mut run = Run::new();
    let step = MINUTE / 2;
    let steps = Rules::default().growth_ms / step;
    let groups = run.groups(&(0..steps + 5).map(|n| (1, n as u32, n * step, Certain)).collect::<Vec<_>>());
    let parts: BTreeSet<u64> = groups.iter().copied().collect();
    assert_eq!(parts.len(), 2, "{groups:?}");
    let parent = run.out.iter().find_map(|o| if let Outcome::Opened { parent, .. } = o { *parent } else { None });
    assert_eq!(parent, Some(GroupNo(1)));
    assert!(
        run.out.iter().any(|o| matches!(o, Outcome::Placed(Placed { how: How::Child { of: GroupNo(1), .. }, .. })))
    );
}

#[test]
fn an_event_between_groups_that_wait_makes_one_of_them() {
    let mut run = Run::new();
    // Units 1 and 3 are two hops from each other; unit 2 is next to both.
    let groups = run.groups(&[(1, 1, 0, Weaker), (3, 2, 10_500, Weaker), (2, 3, 11_000, Certain)]);
    assert_eq!(groups, [1, 2, 1]);
    assert!(run.out.contains(&Outcome::Merged { from: GroupNo(2), into: GroupNo(1), was_open: false }));
    let Some(Outcome::Opened { events, .. }) = run.out.last() else { panic!("it opened last") };
    assert_eq!(events.len(), 3);
}

#[test]
fn an_event_between_young_incidents_makes_one_of_them() {
    let events = [(1, 1, 0, Role::Certain), (3, 2, 10_500, Role::Certain), (2, 3, 11_000, Role::Certain)];
    let mut run = Run::new();
    run.groups(&events);
    assert_eq!(run.opened(), [1, 2]);
    assert!(run.out.iter().any(|o| matches!(o, Outcome::Merged { was_open: true, .. })));
    // Of those that are older people know already: they stay apart.
    let rules = Rules { bridge_ms: 10_000, ..Rules::default() };
    let mut run = Run { grouper: Grouper::new(rules, GroupNo(1)), ..Run::new() };
    run.groups(&events);
    assert_eq!(run.opened(), [1, 2]);
    assert!(!run.out.iter().any(|o| matches!(o, Outcome::Merged { .. })));
}

#[test]
fn what_flaps_is_one_event_until_it_is_quiet() {
    let mut run = Run::new();
    let mut how = Vec::new();
    for n in 0..6 {
        let event = onset(n, 1, 1, n as i64 * 3 * MINUTE, Certain);
        how.push(run.begin(&event).how);
        run.grouper.end(&event.fingerprint, event.at_ms + MINUTE, event.at_ms + MINUTE);
    }
    assert!(how[2..].iter().all(|h| matches!(h, How::Unstable { event: EventNo(1), .. })), "{how:?}");
    let last = NOW + 16 * MINUTE;
    let quiet = Rules::default().flap_ms;
    let is_steady = |o: &Outcome| matches!(o, Outcome::Steady(_));
    assert!(!run.grouper.advance(last + quiet - 1).iter().any(is_steady));
    assert!(run.grouper.advance(last + quiet).iter().any(is_steady));
}

#[test]
fn a_storm_behind_a_switch_and_a_stranger_are_two_incidents() {
    for seed in 0..4 {
        let storm = storm(seed);
        assert!(storm.onsets.len() > 10_000);
        let mut grouper = Grouper::new(Rules::default(), GroupNo(1));
        let mut of_event: BTreeMap<EventNo, GroupNo> = BTreeMap::new();
        let (mut open, mut digest) = (BTreeSet::new(), 0);
        let mut out: Vec<Outcome> = Vec::new();
        for onset in &storm.onsets {
            out.extend(grouper.begin(onset, onset.at_ms, &storm.relations));
        }
        out.extend(grouper.advance(i64::MAX));
        let mut into: BTreeMap<GroupNo, GroupNo> = BTreeMap::new();
        for outcome in &out {
            match outcome {
                Outcome::Placed(p) => {
                    of_event.insert(p.event, p.group);
                }
                Outcome::Opened { group, .. } => {
                    open.insert(*group);
                }
                Outcome::Merged { from, into: to, .. } => {
                    open.remove(from);
                    into.insert(*from, *to);
                }
                Outcome::Digest { events, .. } => digest += events.len(),
                Outcome::Steady(_) => {}
            }
        }
        let of = |event: &EventNo| {
            let mut group = of_event[event];
            while let Some(next) = into.get(&group) {
                group = *next;
            }
            group
        };
        assert_eq!((open.len(), digest), (2, 0), "seed {seed}: {open:?}");
        let strange: BTreeSet<GroupNo> = storm.stranger.iter().map(of).collect();
        let others: BTreeSet<GroupNo> =
            storm.onsets.iter().map(|o| o.event).filter(|e| !storm.stranger.contains(e)).map(|e| of(&e)).collect();
        assert_eq!((strange.len(), others.len()), (1, 1), "seed {seed}");
        assert_ne!(strange, others);
    }
}

#[test]
fn memory_is_bounded() {
    let rules = Rules { groups_most: 50, waiting_most: 100, fingerprints_most: 64, ..Rules::default() };
    let (mut grouper, nobody) = (Grouper::new(rules, GroupNo(1)), Topology::default());
    let mut digest = 0;
    for n in 0..3000_u32 {
        let at = i64::from(n) * 1000;
        let role = if n % 3 == 0 { Certain } else { Weaker };
        for outcome in grouper.begin(&onset(u64::from(n), n % 1500, n, at, role), NOW + at, &nobody) {
            digest += if let Outcome::Digest { events, .. } = outcome { events.len() } else { 0 };
        }
        let (groups, waiting) = grouper.size();
        assert!(groups <= 50 && waiting <= 100, "{groups} {waiting}");
    }
    assert!(digest > 1900, "{digest}");
}

/// Any onset, wild times and scores included.
fn any_onset() -> impl Strategy<Value = (u32, u32, i64, u8, f32, f64, i64)> {
    let time = prop_oneof![8 => 0..20 * MINUTE, 1 => any::<i64>(), 1 => Just(i64::MIN), 1 => Just(i64::MAX)];
    let score = prop_oneof![4 => 0.0..5.0_f32, 1 => Just(f32::NAN), 1 => any::<f32>()];
    let claim = prop_oneof![4 => 1e-9..1.0_f64, 1 => Just(f64::NAN), 1 => any::<f64>()];
    (prop_oneof![1..10_u32, 31..35_u32], 0..6_u32, time, 0..5_u8, score, claim, any::<i64>())
}

type Any = (u32, u32, i64, u8, f32, f64, i64);

fn wild(n: u64, (entity, family, at, role, score, claim, watched_ms): &Any) -> Onset {
    let role = [Certain, Symptom, Weaker, Weaker, Context][usize::from(*role)];
    Onset { score: *score, claim: Some(*claim), watched_ms: *watched_ms, ..onset(n, *entity, *family, *at, role) }
}

/// All outcomes of events that come in this order; every third ends the one before.
fn replay(events: &[Any]) -> Vec<Outcome> {
    let (mut grouper, relations) = (Grouper::new(Rules::default(), GroupNo(1)), relations());
    let mut out = Vec::new();
    let mut now = NOW;
    for (n, event) in events.iter().enumerate() {
        let onset = wild(n as u64, event);
        now = now.saturating_add(event.2.clamp(0, 2 * MINUTE));
        out.extend(grouper.begin(&onset, now, &relations));
        if n % 3 == 2 {
            grouper.end(&onset.fingerprint, onset.at_ms, now);
        }
    }
    out.extend(grouper.advance(i64::MAX));
    assert_eq!(grouper.size(), (0, 0));
    out
}

proptest! {
    /// Every event is placed once, and what is new ends in exactly one open group or once in the digest.
    #[test]
    fn every_event_is_in_one_group_or_in_the_digest(events in prop::collection::vec(any_onset(), 0..120)) {
        let out = replay(&events);
        let mut placed: Vec<u64> = Vec::new();
        let mut new: HashSet<EventNo> = HashSet::new();
        let mut of: BTreeMap<EventNo, GroupNo> = BTreeMap::new();
        let (mut open, mut digest) = (HashSet::new(), Vec::new());
        for outcome in &out {
            prop_assert!(!outcome.to_string().is_empty());
            match outcome {
                Outcome::Placed(p) => {
                    placed.push(p.event.0);
                    if !matches!(p.how, How::Repeats { .. } | How::Unstable { .. }) {
                        new.insert(p.event);
                        of.insert(p.event, p.group);
                    }
                    prop_assert!(p.p > 0.0 && p.p <= 1.0);
                }
                Outcome::Merged { from, into, .. } => {
                    for group in of.values_mut().filter(|g| *g == from) {
                        *group = *into;
                    }
                    open.remove(from);
                }
                Outcome::Opened { group, events, .. } => {
                    prop_assert!(open.insert(*group), "it opens once");
                    for event in events {
                        prop_assert_eq!(of.get(event), Some(group));
                    }
                }
                Outcome::Digest { group, events, .. } => {
                    for event in events {
                        prop_assert_eq!(of.get(event), Some(group));
                    }
                    digest.extend(events.iter().copied());
                }
                Outcome::Steady(_) => {}
            }
        }
        prop_assert_eq!(placed, (0..events.len() as u64).collect::<Vec<_>>());
        let in_digest: HashSet<EventNo> = digest.iter().copied().collect();
        prop_assert_eq!(in_digest.len(), digest.len());
        for event in new {
            prop_assert!(open.contains(&of[&event]) != in_digest.contains(&event), "{:?}", event);
        }
    }

    /// The same events in the same order give the same outcomes.
    #[test]
    fn it_is_deterministic(events in prop::collection::vec(any_onset(), 0..80)) {
        prop_assert_eq!(format!("{:?}", replay(&events)), format!("{:?}", replay(&events)));
    }

    /// Whatever order events come in within the time of holding, they are grouped by their corrected onsets.
    #[test]
    fn arrival_does_not_matter(
        events in prop::collection::vec((1..10_u32, 0..6_u32, 0..4000_i64), 1..40),
        order in any::<u64>(),
    ) {
        let rules = Rules::default();
        let run = |arrival: &[usize]| {
            let (mut waiting, mut run) = (Waiting::default(), Run::new());
            for n in arrival {
                let (entity, family, at) = events[*n];
                let onset = onset(*n as u64, entity, family, at, Symptom);
                waiting.hold(onset.at_ms, *n as u64, NOW + 4000, onset, &rules);
            }
            for onset in waiting.release(NOW + 4000 + rules.hold_ms, &rules) {
                run.begin(&onset);
            }
            format!("{:?}", run.out)
        };
        let sorted: Vec<usize> = (0..events.len()).collect();
        let mut shuffled = sorted.clone();
        fastrand::Rng::with_seed(order).shuffle(&mut shuffled);
        prop_assert_eq!(run(&sorted), run(&shuffled));
    }
}
