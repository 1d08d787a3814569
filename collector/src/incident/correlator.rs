//! From phases of events to what shall be done: the grouping with its memory, names for its numbers, and which incident a
//! group is.
//!
//! ```text
//! phase of an event ─┬ new → held, by onset → grouping → steps: wait, open, join, merge, digest
//!                    └ known → step: renew
//! ```
//!
//! Pure: it neither reads a clock nor a store. What it knows is a function of the stored events, so that a collector that
//! starts reads the last days' again ([`Correlator::recall`]) and goes on. A step that opens an incident is to be done before the
//! next event is grouped, which may belong to it.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use tacit_wire::NodeId;
use tacit_wire::message::EventKind;

use super::about::About;
use super::group::order::Waiting;
use super::group::{EventNo, Fingerprint, Gate, GroupNo, Grouper, How, Onset, Outcome, Placed, Role, Rules, Weights};
use super::scene::Scene;
use crate::store::{EventKey, EventRecord, IncidentId};

/// Events whose ends are awaited; of more the oldest are believed to have ended.
const BEGUN_MOST: usize = 200_000;
/// Groups whose incidents are remembered, the newest: what comes and goes may name one that is over.
const INCIDENTS_MOST: usize = 100_000;
/// What began longer ago than this when a collector starts opens nothing any more.
const RECALL_MS: i64 = 24 * 3_600_000;

/// What shall be done about an event or a group.
#[derive(Debug, Clone, PartialEq)]
pub enum Step {
    /// An event is looked at; it waits in a group that is no incident, or it only explains.
    Wait(Box<EventRecord>),
    /// An event belongs to an incident.
    Join {
        /// The event.
        event: Box<EventRecord>,
        /// Its incident.
        incident: IncidentId,
        /// Its group; it gets another incident when that one is over for good.
        group: GroupNo,
        /// Why it belongs there.
        why: String,
        /// It is a turn of something that comes and goes.
        unstable: bool,
    },
    /// A later phase of an event that was looked at before.
    Renew {
        /// The event.
        event: Box<EventRecord>,
        /// It had ended, and is there again.
        back: bool,
    },
    /// A group is an incident now. [`Correlator::is`] has to be told which.
    Open {
        /// The group.
        group: GroupNo,
        /// Its events so far.
        events: Vec<EventKey>,
        /// Why it opened.
        why: String,
        /// The incident that it goes on with, when that took no more.
        parent: Option<IncidentId>,
    },
    /// An incident turned out to be part of another.
    Merge {
        /// What is no more of its own.
        from: IncidentId,
        /// What it is part of.
        into: IncidentId,
    },
    /// Events that waited belong to an incident.
    Adopt {
        /// The events.
        events: Vec<EventKey>,
        /// The incident.
        incident: IncidentId,
    },
    /// Events that opened nothing.
    Digest {
        /// The events.
        events: Vec<EventKey>,
        /// Why not.
        why: String,
    },
    /// Something that came and went has been quiet.
    Steady(IncidentId),
}

/// The grouping, and what is needed to speak of it by name.
#[derive(Debug)]
pub struct Correlator {
    rules: Rules,
    grouper: Grouper,
    waiting: Waiting<EventRecord>,
    /// What was held long enough and is grouped next.
    due: VecDeque<EventRecord>,
    /// Names, and who is related to whom.
    pub scene: Scene,
    next: u64,
    begun: HashMap<EventKey, (u64, Fingerprint)>,
    /// Events in groups that are no incident.
    pending: HashMap<GroupNo, Vec<EventKey>>,
    incidents: BTreeMap<GroupNo, IncidentId>,
    /// When nodes were first heard of.
    watched: HashMap<NodeId, i64>,
}

impl Default for Correlator {
    fn default() -> Self {
        Self::new(Rules::default())
    }
}

impl Correlator {
    /// A grouping by these rules that knows nothing yet.
    #[must_use]
    pub fn new(rules: Rules) -> Self {
        Self {
            grouper: Grouper::new(rules.clone(), GroupNo(1)),
            rules,
            waiting: Waiting::default(),
            due: VecDeque::new(),
            scene: Scene::default(),
            next: 0,
            begun: HashMap::new(),
            pending: HashMap::new(),
            incidents: BTreeMap::new(),
            watched: HashMap::new(),
        }
    }

    /// Notes since when nodes are watched, the earliest of what is said: a node of yesterday has no habits.
    pub fn watched_since(&mut self, node: NodeId, since_ms: i64) {
        self.watched.entry(node).and_modify(|since| *since = (*since).min(since_ms)).or_insert(since_ms);
    }

    /// Takes a phase of an event that was not looked at. A new event is held for a moment.
    pub fn take(&mut self, event: EventRecord, now_ms: i64) -> Option<Step> {
        let key = event.key();
        if let Some((_, fingerprint)) = self.begun.get(&key).copied() {
            if event.closed() {
                self.begun.remove(&key);
                self.grouper.end(&fingerprint, end_of(&event), now_ms);
            }
            return Some(Step::Renew { event: Box::new(event), back: false });
        }
        if event.incident.is_some() {
            let back = !event.closed();
            if back {
                let fingerprint = self.fingerprint(&About::of(&event));
                self.next = self.next.wrapping_add(1);
                self.begin(key, self.next, fingerprint);
            }
            return Some(Step::Renew { event: Box::new(event), back });
        }
        self.locate(&event);
        // One that opened nothing and comes back has another chance.
        let event = EventRecord { digest: None, ..event };
        self.waiting.hold(event.onset_ms, number_of(&key), now_ms, event, &self.rules);
        None
    }

    /// Learns where an event is: the map and the inventory have to say so before it is grouped.
    pub fn locate(&mut self, event: &EventRecord) {
        self.scene.entity(&About::of(event).entity);
    }

    /// Whether there are events that were held long enough.
    #[must_use]
    pub fn is_due(&self, now_ms: i64) -> bool {
        !self.due.is_empty() || self.waiting.due_ms(&self.rules).is_some_and(|due| due <= now_ms)
    }

    /// Groups the events that were held long enough, up to the first that opens an incident; to be called until there are no
    /// more steps.
    pub fn release(&mut self, now_ms: i64) -> Vec<Step> {
        self.due.extend(self.waiting.release(now_ms, &self.rules));
        let mut steps = Vec::new();
        while let Some(event) = self.due.pop_front() {
            let before = steps.len();
            if self.begun.contains_key(&event.key()) {
                // Two phases of it were held.
                steps.extend(self.take(event, now_ms));
            } else {
                self.group(event, now_ms, &mut steps);
            }
            if steps[before..].iter().any(|step| matches!(step, Step::Open { .. })) {
                break;
            }
        }
        steps
    }

    /// Time passes: groups end.
    pub fn advance(&mut self, now_ms: i64) -> Vec<Step> {
        let mut steps = Vec::new();
        for outcome in self.grouper.advance(now_ms) {
            self.beside(&outcome, &mut steps);
        }
        steps
    }

    /// A group is this incident from now on.
    pub fn is(&mut self, group: GroupNo, incident: IncidentId) {
        self.incidents.insert(group, incident);
        if self.incidents.len() > INCIDENTS_MOST {
            self.incidents.pop_first();
        }
    }

    /// Which incident a group is, if any.
    #[must_use]
    pub fn incident(&self, group: GroupNo) -> Option<IncidentId> {
        self.incidents.get(&group).copied()
    }

    /// Goes through an event that was looked at before this collector started, oldest first. What was decided of it then stays
    /// so; what was not is done by the steps.
    pub fn recall(&mut self, event: &EventRecord, now_ms: i64) -> Vec<Step> {
        let mut steps = Vec::new();
        self.group(event.clone(), event.onset_ms.min(now_ms), &mut steps);
        let is_late = now_ms.saturating_sub(event.onset_ms) > RECALL_MS;
        let digest = |events| Step::Digest { events, why: "nobody looked at it within a day".to_owned() };
        let undone = |step: Step| match step {
            Step::Wait(_) | Step::Renew { .. } | Step::Merge { .. } | Step::Steady(_) => None,
            Step::Open { events, .. } | Step::Adopt { events, .. } if is_late => Some(digest(events)),
            Step::Join { event, .. } if is_late => Some(digest(vec![event.key()])),
            other => Some(other),
        };
        steps.into_iter().filter_map(undone).collect()
    }

    fn group(&mut self, event: EventRecord, now_ms: i64, steps: &mut Vec<Step>) {
        let about = About::of(&event);
        let no = EventNo(self.next);
        self.next = self.next.wrapping_add(1);
        let fingerprint = self.fingerprint(&about);
        let since = self.watched.get(&event.event.head.node).copied().unwrap_or(event.onset_ms);
        let onset = Onset {
            event: no,
            fingerprint,
            at_ms: event.onset_ms,
            role: about.role,
            score: event.event.score.get().unwrap_or(0.0),
            claim: event.event.p_value.get().map(f64::from).filter(|p| *p > 0.0),
            watched_ms: event.onset_ms.saturating_sub(since).max(0),
        };
        let outcomes = self.grouper.begin(&onset, now_ms, self.scene.relations());
        let (key, closed, end) = (event.key(), event.closed(), end_of(&event));
        let opens = outcomes.iter().any(|outcome| matches!(outcome, Outcome::Opened { .. }));
        let may_open = !opens && about.role != Role::Context && event.incident.is_none() && event.digest.is_none();
        let (mut event, mut place) = (Some(event), None);
        for outcome in &outcomes {
            match outcome {
                Outcome::Placed(placed) => {
                    if let Some(event) = event.take() {
                        self.placed(event, placed, about.role, steps);
                    }
                    place = Some(*placed);
                }
                other => self.beside(other, steps),
            }
        }
        if let Some(placed) = place.filter(|_| may_open) {
            self.open_late(&placed, steps);
        }
        if closed {
            self.grouper.end(&fingerprint, end, now_ms);
        } else {
            self.begin(key, no.0, fingerprint);
        }
    }

    fn fingerprint(&mut self, about: &About) -> Fingerprint {
        Fingerprint {
            entity: self.scene.entity(&about.entity),
            family: Scene::family(&about.family),
            direction: about.direction,
        }
    }

    fn begin(&mut self, key: EventKey, no: u64, fingerprint: Fingerprint) {
        if self.begun.len() >= BEGUN_MOST {
            let mut numbers: Vec<u64> = self.begun.values().map(|(no, _)| *no).collect();
            numbers.sort_unstable();
            let oldest = numbers.get(BEGUN_MOST / 8).copied().unwrap_or(no);
            self.begun.retain(|_, (no, _)| *no >= oldest);
        }
        self.begun.insert(key, (no, fingerprint));
    }

    /// An event has its group.
    fn placed(&mut self, event: EventRecord, placed: &Placed, role: Role, steps: &mut Vec<Step>) {
        let group = placed.group;
        if let Some(id) = event.incident {
            // It was looked at before: its group is that incident.
            if role != Role::Context {
                self.is(group, id);
            }
            return;
        }
        if event.digest.is_some() {
            return;
        }
        if let Some(incident) = self.incident(group) {
            let unstable = matches!(placed.how, How::Unstable { .. });
            steps.push(Step::Join { event: Box::new(event), incident, group, why: words(placed), unstable });
            return;
        }
        let key = event.key();
        steps.push(Step::Wait(Box::new(event)));
        let is_again = matches!(placed.how, How::Repeats { .. } | How::Unstable { .. });
        if is_again && !self.pending.contains_key(&group) && !self.grouper.is_open(group) {
            // The event that it repeats is in no incident, and its group is over.
            steps.push(Step::Digest { events: vec![key], why: words(placed) });
            return;
        }
        self.pending.entry(group).or_default().push(key);
    }

    /// A group that opened when nothing was to be told of it is an incident with the next alarm.
    fn open_late(&mut self, placed: &Placed, steps: &mut Vec<Step>) {
        let group = placed.group;
        if self.incidents.contains_key(&group) || !self.grouper.is_open(group) {
            return;
        }
        if let Some(events) = self.pending.remove(&group) {
            steps.push(Step::Open { group, events, why: words(placed), parent: None });
        }
    }

    /// What happens to groups.
    fn beside(&mut self, outcome: &Outcome, steps: &mut Vec<Step>) {
        match *outcome {
            Outcome::Placed(_) => {}
            Outcome::Opened { group, parent, gate, .. } => {
                let events = self.pending.remove(&group).unwrap_or_default();
                if events.is_empty() {
                    return;
                }
                if let Some(incident) = self.incident(group) {
                    steps.push(Step::Adopt { events, incident });
                    return;
                }
                let parent = parent.and_then(|p| self.incident(p));
                steps.push(Step::Open { group, events, why: gate_words(&gate), parent });
            }
            Outcome::Merged { from, into, .. } => self.merged(from, into, steps),
            Outcome::Digest { group, why, .. } => {
                self.incidents.remove(&group);
                let events = self.pending.remove(&group).unwrap_or_default();
                if !events.is_empty() {
                    steps.push(Step::Digest { events, why: why.to_string() });
                }
            }
            Outcome::Steady(steady) => steps.extend(self.incident(steady.group).map(Step::Steady)),
        }
    }

    fn merged(&mut self, from: GroupNo, into: GroupNo, steps: &mut Vec<Step>) {
        let mut waited = self.pending.remove(&from).unwrap_or_default();
        if let Some(part) = self.incidents.remove(&from) {
            match self.incident(into) {
                Some(whole) if whole != part => steps.push(Step::Merge { from: part, into: whole }),
                Some(_) => {}
                None => {
                    self.is(into, part);
                    waited.extend(self.pending.remove(&into).unwrap_or_default());
                }
            }
        }
        if waited.is_empty() {
            return;
        }
        match self.incident(into) {
            Some(incident) => steps.push(Step::Adopt { events: waited, incident }),
            None => self.pending.entry(into).or_default().extend(waited),
        }
    }

    /// Groups and events that are held, for people and tests.
    #[must_use]
    pub fn size(&self) -> (usize, usize) {
        self.grouper.size()
    }
}

/// Why an event is where it is, in words for people: without the grouping's own numbers.
fn words(placed: &Placed) -> String {
    let bonds = |weights: &Weights| {
        let text = weights.to_string();
        text.split_once(": ").map_or(text.clone(), |(_, parts)| parts.to_owned())
    };
    match &placed.how {
        How::First { .. } => "it is the first".into(),
        How::Joined(weights) => format!("it is related: {}", bonds(weights)),
        How::Shared { hosts } => format!("the same began on {hosts} hosts at once"),
        How::Child { weights, .. } => format!("it goes on with an incident that takes no more: {}", bonds(weights)),
        How::Repeats { .. } => "it is there already".into(),
        How::Unstable { transitions, .. } => format!("it comes and goes, {transitions} times by now"),
    }
}

fn gate_words(gate: &Gate) -> String {
    match gate {
        Gate::Certain { .. } => "somebody is hurt: it needs no statistics".into(),
        Gate::Symptom { p, .. } => format!("a symptom that is no habit of its source (chance {p:.0e})"),
        Gate::Several { events, entities, limit } => {
            format!("{events} independent events on {entities} entities, each with a chance of at most {limit:.0e}")
        }
    }
}

/// When an event that is over ended, by the collector's clock.
#[must_use]
pub fn end_of(event: &EventRecord) -> i64 {
    let lasted = event.event.end_ms.map_or(0, |end| end.saturating_sub(event.event.onset_ms)).max(0);
    event.onset_ms.saturating_add(lasted)
}

/// Tells events of one moment apart, the same way each time.
fn number_of(key: &EventKey) -> u64 {
    let mut hasher = DefaultHasher::new();
    key.hash(&mut hasher);
    hasher.finish()
}

/// Whether an event can make an incident, or only explains one.
#[must_use]
pub fn alarms(event: &EventRecord) -> bool {
    event.event.kind != EventKind::Context
}

#[cfg(test)]
#[path = "correlator_tests.rs"]
mod tests;
