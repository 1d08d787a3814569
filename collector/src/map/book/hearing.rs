//! What nodes said: their dictionaries, what they told last, how much of it could be used, and who is to announce anew.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use super::{LATE_MS, MINUTE_MS};
use crate::map::half::{Dictionaries, EDGES_MAX, Half, NodeNo};
use crate::map::steady::Steady;
use crate::store::StoredLinks;

/// Distance of requests to one node that it announce its endpoints.
const ASK_MS: i64 = 5 * MINUTE_MS;
/// Nodes asked in one round: after a restart many may be unknown at once.
const ASKED_AT_ONCE: usize = 50;
/// How long it is remembered who spoke of a minute.
const SPOKE_MS: i64 = 6 * 3_600_000;

/// What is known of a node that sends links.
#[derive(Debug, Clone, Copy, Default)]
pub struct Speaker {
    /// Level of observation, as it said last.
    pub level: u8,
    /// First minute it spoke of, in this process.
    pub first_ms: i64,
    /// Last minute it spoke of.
    pub last_ms: i64,
    /// Close events it lost since the collector started.
    pub overflows: u64,
    /// Edges since the collector started whose ends were not announced, or that go on without having been told.
    pub unusable: u64,
    /// Edges beyond the bounds since the collector started.
    pub beyond: u64,
    /// Edges since the collector started whose counts no machine reaches.
    pub absurd: u64,
}

/// Minutes of a node that are incomplete because endpoints were not announced.
#[derive(Debug, Default)]
struct Gap {
    minutes: BTreeSet<i64>,
    wanted: bool,
    asked_ms: i64,
    filled_ms: i64,
}

/// What nodes said.
#[derive(Debug, Default)]
pub struct Hearing {
    dictionaries: Dictionaries,
    steady: Steady,
    speakers: HashMap<NodeNo, Speaker>,
    /// Edges each node told, by the first minute they are about.
    told: BTreeMap<i64, HashMap<NodeNo, usize>>,
    spoke: BTreeMap<i64, HashSet<NodeNo>>,
    gaps: HashMap<NodeNo, Gap>,
}

impl Hearing {
    /// Takes in a message and returns the minutes that are to be joined (again).
    pub fn hear(&mut self, node: NodeNo, message: &StoredLinks, now: i64) -> BTreeSet<i64> {
        let links = &message.links;
        self.dictionaries.learn(node, message);
        let told = self.told.entry(message.minute).or_default().entry(node).or_default();
        let mut halves = Vec::new();
        let found = self.dictionaries.halves(node, message, EDGES_MAX.saturating_sub(*told), &mut halves);
        *told = told.saturating_add(links.edges.len());
        let missing = self.steady.hear(node, message, &halves);

        let mut minutes: BTreeSet<i64> = message.covered().collect();
        let last = minutes.last().copied().unwrap_or(message.minute);
        let first_ms = message.minute;
        let speaker = self.speakers.entry(node).or_insert_with(|| Speaker { first_ms, ..Speaker::default() });
        if last >= speaker.last_ms {
            (speaker.last_ms, speaker.level) = (last, links.level);
        }
        let unknown = u64::from(found.unknown) + u64::from(missing);
        speaker.overflows = speaker.overflows.saturating_add(links.overflows.into());
        speaker.beyond = speaker.beyond.saturating_add(found.beyond.into());
        speaker.absurd = speaker.absurd.saturating_add(found.absurd.into());
        speaker.unusable = speaker.unusable.saturating_add(unknown);
        for minute in &minutes {
            self.spoke.entry(*minute).or_default().insert(node);
        }
        // Not for what is long over: a node that was away brings it, and says nothing of it again.
        if unknown > 0 && now - last < LATE_MS {
            let gap = self.gaps.entry(node).or_default();
            gap.wanted = true;
            gap.minutes.extend(minutes.iter().copied());
        }
        if let Some(gap) = self.gaps.get_mut(&node)
            && !links.endpoints.is_empty()
            && now - gap.filled_ms >= ASK_MS
        {
            // What was unknown may have a name now; once in a while, or a node that lies keeps us busy.
            gap.filled_ms = now;
            minutes.append(&mut gap.minutes);
        }
        minutes
    }

    /// What a message that was heard says, of its whole interval.
    #[must_use]
    pub fn told(&self, node: NodeNo, message: &StoredLinks) -> Vec<Half> {
        let mut halves = Vec::new();
        self.dictionaries.halves(node, message, EDGES_MAX, &mut halves);
        halves
    }

    /// Takes in a message of an hour that is heard anew; only what goes on is of interest.
    pub fn hear_again(&self, node: NodeNo, message: &StoredLinks, steady: &mut Steady) {
        let mut halves = Vec::new();
        self.dictionaries.halves(node, message, EDGES_MAX, &mut halves);
        steady.hear(node, message, &halves);
    }

    /// Takes over what goes on in an hour that was heard anew.
    pub fn replace(&mut self, hour: std::ops::Range<i64>, heard: Steady) {
        self.steady.replace(hour, heard);
    }

    /// Everything that was said of a minute, or goes on in it.
    #[must_use]
    pub fn halves(&self, minute: i64, messages: &[(NodeNo, &StoredLinks)]) -> Vec<Half> {
        let mut halves = Vec::new();
        // By first minute too: what a batch may hold is not used up by the messages of a minute.
        let mut told: HashMap<(NodeNo, i64), usize> = HashMap::new();
        // Intervals that overlap do not multiply it.
        let mut all: HashMap<NodeNo, usize> = HashMap::new();
        for (node, message) in messages {
            let told = told.entry((*node, message.minute)).or_default();
            let sum = all.entry(*node).or_default();
            let room = EDGES_MAX.saturating_sub(*told).min((2 * EDGES_MAX).saturating_sub(*sum));
            let before = halves.len();
            self.dictionaries.halves_of(*node, message, minute, room, &mut halves);
            *sum += halves.len() - before;
            *told = told.saturating_add(message.links.edges.len());
        }
        self.steady.fill_in(minute, &mut halves);
        halves
    }

    /// Nodes that spoke of any of these minutes.
    #[must_use]
    pub fn spoke(&self, minutes: &[i64]) -> HashSet<NodeNo> {
        minutes.iter().filter_map(|m| self.spoke.get(m)).flatten().copied().collect()
    }

    /// What is known of a node.
    #[must_use]
    pub fn speaker(&self, node: NodeNo) -> Option<&Speaker> {
        self.speakers.get(&node)
    }

    /// Nodes that send links.
    pub fn speakers(&self) -> impl Iterator<Item = (NodeNo, &Speaker)> {
        self.speakers.iter().map(|(n, s)| (*n, s))
    }

    /// Counts an edge that is beyond a bound.
    pub fn beyond(&mut self, node: NodeNo) {
        if let Some(speaker) = self.speakers.get_mut(&node) {
            speaker.beyond = speaker.beyond.saturating_add(1);
        }
    }

    /// Nodes that are to announce their endpoints; each is told so at most once in [`ASK_MS`].
    pub fn ask(&mut self, now: i64) -> Vec<NodeNo> {
        let due = |gap: &Gap| gap.wanted && now - gap.asked_ms >= ASK_MS;
        let mut nodes: Vec<NodeNo> = self.gaps.iter().filter(|(_, gap)| due(gap)).map(|(n, _)| *n).collect();
        nodes.sort_unstable();
        nodes.truncate(ASKED_AT_ONCE);
        for node in &nodes {
            if let Some(gap) = self.gaps.get_mut(node) {
                (gap.asked_ms, gap.wanted) = (now, false);
            }
        }
        nodes
    }

    /// Forgets what is too old to be joined again, but for minutes that wait.
    pub fn forget(&mut self, now: i64, waiting: &BTreeSet<i64>) {
        self.spoke = self.spoke.split_off(&(now - SPOKE_MS));
        self.told = self.told.split_off(&(now - SPOKE_MS));
        self.steady.forget(now - LATE_MS - 2 * MINUTE_MS, |minute| waiting.contains(&minute));
        self.gaps.retain(|_, gap| {
            gap.minutes = gap.minutes.split_off(&(now - LATE_MS));
            gap.wanted || !gap.minutes.is_empty() || now - gap.asked_ms < ASK_MS
        });
    }
}
