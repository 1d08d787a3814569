//! What cannot wait until both ends have spoken: edges whose connects fail now, or whose connections hang.
//!
//! The map judges minutes that are seven minutes old, when all batches have come. That is right for history and too late for a
//! person. So each message is looked at when it is heard: an agent tells what is new and failing with the next full minute. One
//! half is enough, the client's: it is resolved as [`join`](super::join) does with a client that nobody answered, and compared
//! with what its edge did before.
//!
//! Only edges that worked before are told here. One that never did (a scan, a job that calls a dead port) waits for the map.

use std::collections::HashMap;

use tacit_wire::message::{Edge, Links};

use super::half::{Half, NodeNo};
use super::join::Scene;
use super::pairs::{Destination, Pairs};
use super::vertex::{EdgeKey, VertexKey};
use crate::store::EdgeRecord;

/// Fewer failed connects are no sign.
const FAILED_MIN: u64 = 3;
/// A smaller share of failed connects is no sign …
const SHARE_MIN: f64 = 0.3;
/// … nor is one that is less than so many times the usual.
const SHARE_TIMES: f64 = 2.0;
/// With fewer connects nothing is said of how long they last.
const CONNECTS_MIN: u64 = 20;
/// How many times the usual is slow, and by how many seconds at least.
const SLOW_TIMES: f64 = 3.0;
const SLOW_BY: f64 = 0.05;
/// A trouble that was not seen for longer is another one when it comes back.
const PAUSE_MS: i64 = 900_000;
/// Troubles of one node, and of all, that are followed.
const OF_NODE_MAX: usize = 64;
const NODES_MAX: usize = 10_000;
/// Signs that wait to be taken.
const SIGNS_MAX: usize = 10_000;

/// In which way an edge is in trouble.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Trouble {
    /// Its connects fail.
    Failing,
    /// Its connections last far longer than they did.
    Slowed,
}

impl Trouble {
    /// The word in events.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Failing => "failing",
            Self::Slowed => "slowed",
        }
    }
}

/// What is said of a trouble.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Word {
    /// It began, or goes on.
    In(Trouble),
    /// It is over.
    Well(Trouble),
}

/// What a message shows of an edge.
#[derive(Debug, Clone, PartialEq)]
pub struct Sign {
    /// Which edge, by its id.
    pub edge: String,
    /// Its client, by its id.
    pub client: String,
    /// Its server, by its id.
    pub server: String,
    /// When it began, or was over, Unix milliseconds.
    pub at_ms: i64,
    /// What is said of it.
    pub word: Word,
    /// In words.
    pub text: String,
    /// The figure now and usually: share of connects that fail, or seconds that connections last.
    pub figures: Option<[f32; 2]>,
}

/// What a message says of one edge, seen from its client.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Said {
    connects: u64,
    failed: u64,
    active: u64,
    /// Mean lifetime in seconds, and of how many.
    lifetime: f64,
    lifetimes: u64,
    /// Failed connects had lost their port: what else the edge did stands elsewhere.
    is_partial: bool,
}

impl Said {
    /// Adds a half; `was_lost` says that its port had to be guessed.
    pub fn add(&mut self, half: &Half, was_lost: bool) {
        let figures = &half.figures;
        self.connects = self.connects.saturating_add(figures.connects);
        self.failed = self.failed.saturating_add(figures.failed);
        self.active = self.active.saturating_add(figures.active.into());
        self.is_partial |= was_lost;
        if !figures.lifetime.is_nan() {
            let (old, new) = (self.lifetimes, figures.connects.max(1));
            self.lifetimes = old.saturating_add(new);
            let sum = self.lifetime * old as f64 + f64::from(figures.lifetime) * new as f64;
            self.lifetime = sum / self.lifetimes as f64;
        }
    }

    /// Connections open over connects a second: how long one lasts, as those that still hang have it too.
    fn waiting(&self, seconds: f64) -> f64 {
        self.active as f64 * seconds / self.connects.max(1) as f64
    }
}

/// What an edge did before.
#[derive(Debug, Clone, Copy)]
pub struct Past {
    /// Connects that worked since it is known to this process.
    pub connects: u64,
    /// Connects that failed since then.
    pub failed: u64,
    /// Since when, Unix milliseconds.
    pub since_ms: i64,
    /// Usual lifetime, and usual [`waiting`](Said::waiting), in seconds, once they are known.
    pub lasts: Option<[f32; 2]>,
}

/// The time that a message is about.
#[derive(Debug, Clone, Copy)]
pub struct Interval {
    /// Its start by the collector's clock, Unix milliseconds.
    pub start_ms: i64,
    /// Its length in milliseconds.
    pub length_ms: i64,
}

impl Interval {
    /// The best guess of when something in it happened.
    fn middle(&self) -> i64 {
        self.start_ms.saturating_add(self.length_ms / 2)
    }

    fn end(&self) -> i64 {
        self.start_ms.saturating_add(self.length_ms)
    }

    fn seconds(&self) -> f64 {
        self.length_ms.max(1) as f64 / 1000.0
    }
}

/// Which edge a message speaks of, and of which time.
#[derive(Debug, Clone, Copy)]
pub struct About<'a> {
    /// Who says it.
    pub node: NodeNo,
    /// What makes the edge one.
    pub key: &'a EdgeKey,
    /// As it is known.
    pub edge: &'a EdgeRecord,
    /// When.
    pub at: Interval,
}

/// Since when an edge is in trouble, and when that was seen last.
#[derive(Debug, Clone, Copy)]
struct Episode {
    since_ms: i64,
    seen_ms: i64,
    /// What says that it is well may not be all of it.
    is_partial: bool,
}

/// Troubles that go on, and what is to be told.
#[derive(Debug, Default)]
pub struct Urgent {
    open: HashMap<NodeNo, HashMap<(EdgeKey, Trouble), Episode>>,
    signs: Vec<Sign>,
}

impl Urgent {
    /// Whether a message may hold anything that cannot wait.
    #[must_use]
    pub fn wants(&self, node: NodeNo, links: &Links) -> bool {
        let may_fail = |edge: &Edge| u64::from(edge.failed) >= FAILED_MIN;
        let may_hang = |edge: &Edge| u64::from(edge.connects) >= CONNECTS_MIN && edge.active > 0;
        self.open.contains_key(&node) || links.edges.iter().any(|e| !e.server && (may_fail(e) || may_hang(e)))
    }

    /// Looks at what a message says of an edge that is known to have done something before.
    pub fn look(&mut self, about: About<'_>, said: &Said, past: &Past) {
        let (edge, at) = (about.edge, about.at);
        let share = said.failed as f64 / tried(said, past, at).max(1.0);
        let usual = past.failed as f64 / past.connects.saturating_add(past.failed).max(1) as f64;
        let begins =
            said.failed >= FAILED_MIN && share >= SHARE_MIN && share >= SHARE_TIMES * usual && past.connects > 0;
        let goes_on = said.failed > 0 && share >= SHARE_MIN / 2.0 && self.is_open(about, Trouble::Failing);
        if begins || goes_on {
            let of = if said.is_partial {
                String::new()
            } else {
                format!(" of {}", said.connects.saturating_add(said.failed))
            };
            let (client, server, percent) = (&edge.client, &edge.server, share * 100.0);
            let text = format!("{percent:.0} % of the connects from {client} to {server} fail ({}{of}).", said.failed);
            self.found(about, Trouble::Failing, said.is_partial, text, [share, usual]);
        } else if said.connects > 0 && share < SHARE_MIN / 6.0 {
            self.well(about, Trouble::Failing, said);
        }
        let Some([lifetime, waiting]) = past.lasts.map(|lasts| lasts.map(f64::from)) else { return };
        if said.connects < CONNECTS_MIN {
            return;
        }
        let now = said.waiting(at.seconds());
        let is_slow = |now: f64, usual: f64| now >= SLOW_TIMES * usual && now >= usual + SLOW_BY;
        // Connections that are kept open say nothing; where they end, that has to show too.
        if is_slow(now, waiting) && (said.lifetimes == 0 || is_slow(said.lifetime, lifetime)) {
            let [now, usual] = if said.lifetimes == 0 { [now, waiting] } else { [said.lifetime, lifetime] };
            let figures = [now, usual];
            let (client, server, now, usual) = (&edge.client, &edge.server, now * 1000.0, usual * 1000.0);
            let text = format!("Connections from {client} to {server} last {now:.0} ms, usual are {usual:.0} ms.");
            self.found(about, Trouble::Slowed, false, text, figures);
        } else if now < SLOW_TIMES / 2.0 * waiting + SLOW_BY {
            self.well(about, Trouble::Slowed, said);
        }
    }

    fn is_open(&self, about: About<'_>, trouble: Trouble) -> bool {
        self.open.get(&about.node).is_some_and(|open| open.contains_key(&(about.key.clone(), trouble)))
    }

    fn found(&mut self, about: About<'_>, trouble: Trouble, is_partial: bool, text: String, figures: [f64; 2]) {
        if self.open.len() >= NODES_MAX && !self.open.contains_key(&about.node) {
            return;
        }
        let open = self.open.entry(about.node).or_default();
        let key = (about.key.clone(), trouble);
        if open.len() >= OF_NODE_MAX && !open.contains_key(&key) {
            return;
        }
        let new = Episode { since_ms: about.at.middle(), seen_ms: about.at.end(), is_partial };
        let episode = open.entry(key).or_insert(new);
        if new.seen_ms.saturating_sub(episode.seen_ms) > PAUSE_MS {
            *episode = new;
        }
        episode.seen_ms = episode.seen_ms.max(new.seen_ms);
        episode.is_partial |= is_partial;
        let since_ms = episode.since_ms;
        self.say(about.edge, Word::In(trouble), since_ms, text, Some(figures.map(|f| f as f32)));
    }

    fn well(&mut self, about: About<'_>, trouble: Trouble, said: &Said) {
        let Some(open) = self.open.get_mut(&about.node) else { return };
        let key = (about.key.clone(), trouble);
        let Some(episode) = open.get(&key).filter(|e| about.at.end() > e.seen_ms) else { return };
        // Where failures lose their port they are told apart from what works: that some works says nothing of them.
        if trouble == Trouble::Failing && (episode.is_partial || said.is_partial) {
            return;
        }
        open.remove(&key);
        if open.is_empty() {
            self.open.remove(&about.node);
        }
        let text = format!("{} to {} is well again.", about.edge.client, about.edge.server);
        self.say(about.edge, Word::Well(trouble), about.at.middle(), text, None);
    }

    fn say(&mut self, edge: &EdgeRecord, word: Word, at_ms: i64, text: String, figures: Option<[f32; 2]>) {
        if self.signs.len() < SIGNS_MAX {
            let (client, server) = (edge.client.clone(), edge.server.clone());
            self.signs.push(Sign { edge: edge.id.clone(), client, server, at_ms, word, text, figures });
        }
    }

    /// What is to be told, once; forgets troubles that nobody spoke of for long.
    pub fn take(&mut self, now_ms: i64) -> Vec<Sign> {
        self.open.retain(|_, open| {
            open.retain(|_, episode| now_ms.saturating_sub(episode.seen_ms) <= PAUSE_MS);
            !open.is_empty()
        });
        std::mem::take(&mut self.signs)
    }
}

/// How many connects were tried. What works of an edge may stand in another message: then it is taken to go on as usual.
fn tried(said: &Said, past: &Past, at: Interval) -> f64 {
    let told = said.connects.saturating_add(said.failed) as f64;
    if !said.is_partial {
        return told;
    }
    let known_ms = at.start_ms.saturating_sub(past.since_ms).max(60_000);
    let usual = past.connects as f64 * at.length_ms as f64 / known_ms as f64;
    told.max(said.failed as f64 + usual)
}

/// The edge of a client's half that nobody has answered yet.
#[must_use]
pub fn edge_of(half: &Half, scene: Scene<'_>, pairs: &Pairs, minute: i64) -> EdgeKey {
    let scope = half.loop_scope();
    let to = Destination { node: half.node, protocol: half.protocol, ip: half.peer, port: half.port, scope };
    let site = scene.nodes.site_of(half.node);
    let target = scene.addresses.owner(half.node, site, half.peer, minute);
    let host = target.filter(|t| scope == 0 && scene.addresses.is_host(*t, half.peer, minute));
    let met = pairs.servers(&to).into_iter().find(|end| end.via.is_some() || target.is_none_or(|t| t == end.node));
    let known = met
        .or_else(|| pairs.listener(host?, half.protocol, half.port).cloned())
        .or_else(|| scene.listeners.end(host?, half.protocol, half.port));
    let client = half.owner.clone();
    let client = client.map_or(VertexKey::Unattributed(half.node), |owner| VertexKey::Service(half.node, owner));
    let (server, port) = match (known, target) {
        (Some(end), _) => {
            let port = end.port;
            (end.owner.map_or(VertexKey::Port(end.node, port), |owner| VertexKey::Service(end.node, owner)), port)
        }
        (None, Some(node)) => (VertexKey::Port(node, half.port), half.port),
        (None, None) => (VertexKey::outside(site, half.peer, half.port, scene.names), half.port),
    };
    EdgeKey { client, server, protocol: half.protocol, port }
}

#[cfg(test)]
mod tests;
