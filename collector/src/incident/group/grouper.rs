//! The grouping itself: one event at a time.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use super::calibrate::Calibrator;
use super::event::{Fingerprint, GroupNo, Onset, Role};
use super::flap::{Begin, Fingerprints};
use super::gate::Gate;
use super::index::{Index, Place};
use super::mass::Mass;
use super::outcome::{How, Outcome, Placed, Weights, Why};
use super::relation::{Nearness, Relations};
use super::rules::Rules;
use super::shared::{Company, Kind, SharedOnsets, kind};
use super::state::Group;
use super::weigh::{Seeker, TAGS_MOST, weigh};

/// Distance of looks at groups that may be over.
const LOOK_MS: u64 = 1000;

/// Puts events into groups, and says which groups are worth an incident.
///
/// The same events in the same order, with the same relations, give the same outcomes.
#[derive(Debug, Default)]
pub struct Grouper {
    rules: Rules,
    calibrator: Calibrator,
    known: Fingerprints,
    shared: SharedOnsets,
    near: Nearness,
    index: Index,
    groups: BTreeMap<GroupNo, Group>,
    next: u64,
    /// Events in groups that have not opened.
    waiting: usize,
    looked_ms: i64,
}

/// Where an event goes.
#[derive(Debug)]
struct Choice {
    how: How,
    /// A group that is there; `None` for a new one.
    group: Option<GroupNo>,
    /// Groups that become part of it.
    absorbs: Vec<GroupNo>,
}

/// An event with what is known of it.
#[derive(Debug, Clone, Copy)]
struct Judged<'a> {
    onset: &'a Onset,
    at_ms: i64,
    p: f64,
    root: f64,
}

impl Grouper {
    /// A grouping by these rules; the first group gets the number `next`.
    #[must_use]
    pub fn new(rules: Rules, next: GroupNo) -> Self {
        Self { rules, next: next.0, ..Self::default() }
    }

    /// An event begins. Exactly one of the outcomes places it.
    pub fn begin(&mut self, onset: &Onset, now_ms: i64, relations: &dyn Relations) -> Vec<Outcome> {
        let is_due = now_ms.abs_diff(self.looked_ms) >= LOOK_MS;
        let mut out = if is_due { self.advance(now_ms) } else { Vec::new() };
        let at_ms = self.rules.plausible(onset.at_ms, now_ms);
        let again = |group, how| Outcome::Placed(Placed { event: onset.event, group, how, p: 1.0 });
        match self.known.begin(&onset.fingerprint, at_ms, &self.rules) {
            Begin::New => self.take(onset, at_ms, relations, &mut out),
            Begin::Repeats { event, group } => out.push(again(group, How::Repeats { event })),
            Begin::Unstable { event, group, transitions } => {
                // It is experience all the same: what comes and goes is no news tomorrow.
                self.calibrator.judge(onset, at_ms, &self.rules);
                out.push(again(group, How::Unstable { event, transitions }));
            }
        }
        out
    }

    /// Whether a group takes events and has opened.
    #[must_use]
    pub fn is_open(&self, group: GroupNo) -> bool {
        self.groups.get(&group).is_some_and(|g| g.opened.is_some())
    }

    /// An event ends.
    pub fn end(&mut self, fingerprint: &Fingerprint, at_ms: i64, now_ms: i64) {
        let at_ms = self.rules.plausible(at_ms, now_ms);
        self.known.end(fingerprint, at_ms, &self.rules);
    }

    /// Time passes: groups end, and unstable events become stable.
    pub fn advance(&mut self, now_ms: i64) -> Vec<Outcome> {
        self.looked_ms = now_ms;
        let mut out: Vec<Outcome> = self.known.steady(now_ms, &self.rules).into_iter().map(Outcome::Steady).collect();
        let is_over = |g: &&Group| now_ms.saturating_sub(g.last_ms) > self.rules.idle_ms;
        let over: Vec<GroupNo> = self.groups.values().filter(is_over).map(|g| g.no).collect();
        for no in over {
            self.finish(no, None, &mut out);
        }
        out
    }

    /// Groups that are held, and events that wait in those that have not opened.
    #[must_use]
    pub fn size(&self) -> (usize, usize) {
        (self.groups.len(), self.waiting)
    }

    /// A new event finds its group.
    fn take(&mut self, onset: &Onset, at_ms: i64, relations: &dyn Relations, out: &mut Vec<Outcome>) {
        let p = self.calibrator.judge(onset, at_ms, &self.rules);
        let improbability = if onset.role == Role::Certain { 1.0 } else { self.rules.improbability(p) };
        let judged = Judged { onset, at_ms, p, root: improbability.sqrt() };
        let (entity, what) = (onset.fingerprint.entity, kind(&onset.fingerprint));
        let seeker = Seeker { entity, at_ms, root: judged.root };
        let near = self.near.of(entity, relations, &self.rules);
        let weights = weigh(&seeker, near, &self.index, &self.groups, relations, &self.rules);
        let is_context = onset.role == Role::Context;
        let company = if is_context { None } else { self.shared.company(what, at_ms, entity, relations, &self.rules) };
        let shared = company.and_then(|c| self.share(&c, &weights, what, at_ms));
        let choice = shared.unwrap_or_else(|| self.choose(&weights, at_ms, !is_context));

        let group = choice.group.unwrap_or_else(|| self.make(&choice.how, at_ms, &onset.fingerprint, relations));
        out.push(Outcome::Placed(Placed { event: onset.event, group, how: choice.how, p }));
        self.known.place(&onset.fingerprint, onset.event, group, at_ms, &self.rules);
        for from in choice.absorbs {
            self.merge(from, group, out);
        }
        if !is_context {
            self.shared.note(what, at_ms, entity, group, relations);
        }
        self.add(&judged, group, relations, out);
        self.bound(out);
    }

    /// The group of a shared onset. In a crowd, whatever else the event is bound to is part of it.
    fn share(&self, company: &Company, weights: &[Weights], what: Kind, at_ms: i64) -> Option<Choice> {
        let rules = &self.rules;
        let taker = |no: &GroupNo| self.groups.get(no).filter(|g| g.takes(at_ms, rules));
        let onsets = |no: GroupNo| company.groups.get(&no).copied().unwrap_or(0);
        let mut takers: Vec<&Group> = company.groups.keys().filter_map(taker).collect();
        if takers.is_empty() {
            return None;
        }
        if company.hosts >= rules.crowd_hosts {
            let bound = weights.iter().filter(|w| w.total() >= rules.join && onsets(w.group) == 0);
            takers.extend(bound.filter_map(|w| taker(&w.group)));
        }
        // What was made before it was seen to be shared can go into another; what cannot has to be that other.
        let is_fragment = |g: &Group| g.is_fragment_of(what, company.hosts, rules);
        let into = takers
            .iter()
            .max_by_key(|g| (g.opened.is_some(), !is_fragment(g), onsets(g.no), Reverse(g.no)))
            .copied()?;
        let is_part = |g: &Group| g.no != into.no && is_fragment(g) && g.fits(into, rules);
        let absorbs = takers.iter().filter(|g| is_part(g)).map(|g| g.no).collect();
        Some(Choice { how: How::Shared { hosts: company.hosts }, group: Some(into.no), absorbs })
    }

    /// The group that an event is bound to most.
    fn choose(&self, weights: &[Weights], at_ms: i64, bridge: bool) -> Choice {
        let held = weights.iter().filter_map(|w| Some((*w, self.groups.get(&w.group)?)));
        let bound: Vec<(Weights, &Group)> = held.filter(|(w, _)| w.total() >= self.rules.join).collect();
        let takers: Vec<(Weights, &Group)> =
            bound.iter().filter(|(_, g)| g.takes(at_ms, &self.rules)).copied().collect();
        let Some((best, of_best)) = strongest(&takers) else {
            return self.beyond(weights, &bound, at_ms);
        };
        let how = How::Joined(best);
        if !bridge {
            return Choice { how, group: Some(best.group), absorbs: Vec::new() };
        }
        let open: Vec<(Weights, &Group)> = takers.iter().filter(|(_, g)| g.opened.is_some()).copied().collect();
        let into = strongest(&open).map_or_else(|| takers.first().map_or(of_best, |(_, g)| *g), |(_, g)| g);
        // Two incidents of a moment ago that one event is bound to were one thing from the start.
        let is_young = |g: &Group| at_ms.saturating_sub(g.first_ms) <= self.rules.bridge_ms;
        let may_go = |g: &Group| g.opened.is_none() || (is_young(g) && is_young(into));
        let is_part = |g: &Group| g.no != into.no && may_go(g) && g.fits(into, &self.rules);
        let absorbs = takers.iter().filter(|(_, g)| is_part(g)).map(|(_, g)| g.no).collect();
        Choice { how, group: Some(into.no), absorbs }
    }

    /// What is bound to full groups goes on in a child; what is bound to none begins a group.
    fn beyond(&self, weights: &[Weights], bound: &[(Weights, &Group)], at_ms: i64) -> Choice {
        let nothing = |how, group| Choice { how, group, absorbs: Vec::new() };
        let Some((best, full)) = strongest(bound) else {
            let nearest = weights.iter().copied().max_by(|a, b| a.total().total_cmp(&b.total()));
            return nothing(How::First { nearest }, None);
        };
        let heir = full.heir.and_then(|no| self.groups.get(&no)).filter(|g| g.takes(at_ms, &self.rules));
        match heir {
            Some(heir) => nothing(How::Joined(best), Some(heir.no)),
            None => nothing(How::Child { of: full.no, weights: best }, None),
        }
    }

    fn make(&mut self, how: &How, at_ms: i64, first: &Fingerprint, relations: &dyn Relations) -> GroupNo {
        let no = GroupNo(self.next);
        self.next = self.next.wrapping_add(1);
        let parent = if let How::Child { of, .. } = how { Some(*of) } else { None };
        if let Some(parent) = parent.and_then(|p| self.groups.get_mut(&p)) {
            parent.heir = Some(no);
        }
        self.groups.insert(no, Group::new(no, at_ms, parent, kind(first), relations.host(first.entity)));
        no
    }

    fn merge(&mut self, from: GroupNo, into: GroupNo, out: &mut Vec<Outcome>) {
        if from == into || !self.groups.contains_key(&into) {
            return;
        }
        let Some(gone) = self.groups.remove(&from) else { return };
        let new = self.index.merge(from, into, &gone.places, self.rules.decay_ms);
        for (_, fingerprint) in &gone.members {
            self.known.regroup(fingerprint, from, into);
            self.shared.regroup(kind(fingerprint), from, into);
        }
        for group in self.groups.values_mut().filter(|g| g.heir == Some(from)) {
            group.heir = Some(into);
        }
        let (was_open, members) = (gone.opened.is_some(), gone.members.len());
        if let Some(group) = self.groups.get_mut(&into) {
            if !was_open && group.opened.is_some() {
                self.waiting = self.waiting.saturating_sub(members);
            }
            group.absorb(gone, new, &self.rules);
        }
        out.push(Outcome::Merged { from, into, was_open });
    }

    /// Adds an event to its group, which may open by it.
    fn add(&mut self, judged: &Judged<'_>, no: GroupNo, relations: &dyn Relations, out: &mut Vec<Outcome>) {
        let Judged { onset, at_ms, p, root } = *judged;
        let Some(group) = self.groups.get_mut(&no) else { return };
        let (entity, decay, mass) = (onset.fingerprint.entity, self.rules.decay_ms, Mass::of(root, at_ms));
        let host = relations.host(entity);
        if self.index.add(Place::Entity(entity), no, mass, 0, decay) {
            group.places.push(Place::Entity(entity));
        }
        let is_new_host = self.index.add(Place::Host(host), no, mass, 0, decay);
        if is_new_host {
            group.places.push(Place::Host(host));
        }
        for tag in relations.tags(entity).iter().take(TAGS_MOST) {
            if self.index.add(Place::Tag(*tag), no, mass, u32::from(is_new_host), decay) {
                group.places.push(Place::Tag(*tag));
            }
        }
        group.add(onset.event, onset.fingerprint, host, at_ms, root, &self.rules);
        if group.opened.is_some() {
            return;
        }
        self.waiting += 1;
        let limit = self.rules.weak_limit(relations.entities());
        let gate = group.evidence.add(onset, at_ms, p, limit, &self.rules);
        if let Some(gate) = gate.or_else(|| group.evidence.several(limit, &self.rules)) {
            self.open(no, gate, out);
        }
    }

    fn open(&mut self, no: GroupNo, gate: Gate, out: &mut Vec<Outcome>) {
        let Some(group) = self.groups.get_mut(&no) else { return };
        let parent = group.parent;
        let events = group.open(gate);
        self.waiting = self.waiting.saturating_sub(events.len());
        out.push(Outcome::Opened { group: no, parent, gate, events });
    }

    /// A group is over.
    fn finish(&mut self, no: GroupNo, why: Option<Why>, out: &mut Vec<Outcome>) {
        let Some(group) = self.groups.remove(&no) else { return };
        self.index.forget(no, &group.places);
        if group.opened.is_some() {
            return;
        }
        self.waiting = self.waiting.saturating_sub(group.members.len());
        let why = why.unwrap_or(Why::NoSymptom { improbable: group.evidence.kept() });
        let events = group.members.into_iter().map(|(event, _)| event).collect();
        out.push(Outcome::Digest { group: no, events, why });
    }

    /// Keeps memory bounded: what waited longest goes first, and open groups only when there is nothing else.
    fn bound(&mut self, out: &mut Vec<Outcome>) {
        while self.waiting > self.rules.waiting_most || self.groups.len() > self.rules.groups_most {
            let oldest = self.groups.values().min_by_key(|g| (g.opened.is_some(), g.last_ms, g.no)).map(|g| g.no);
            let Some(no) = oldest else { return };
            self.finish(no, Some(Why::Crowded), out);
        }
    }
}

/// The strongest bond; of equal ones that to the newest group.
fn strongest<'a>(bonds: &[(Weights, &'a Group)]) -> Option<(Weights, &'a Group)> {
    bonds.iter().copied().max_by(|(a, _), (b, _)| a.total().total_cmp(&b.total()).then(a.group.cmp(&b.group)))
}
