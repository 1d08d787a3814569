//! Connections inside the network namespaces of containers.
//!
//! Entering a namespace needs `CAP_SYS_ADMIN`, which the agent never has. `tacit-netns` has it, and passes netlink sockets that it
//! opened inside; reading them needs nothing (docs/decisions/014-container-namespaces.md).
//!
//! ```text
//! helper  each 10 s, on a thread of its own: which namespaces are there? two sockets in each new one
//!    ↓
//! Containers  up to 128 namespaces; those that are not listed any more are let go of
//!    ↓
//! space   one namespace: sockets, tracker, whose it is
//! ```
//!
//! A descriptor keeps its namespace alive, so each is closed as soon as the helper does not list it any more; a container whose first
//! process ends is asked about at once. What lives shorter than the distance of rounds may be missed whole.
//!
//! The kernel keeps the connections of all namespaces in one table, so a dump of any of them walks that whole table. That is why
//! looks are paid from one account of 1/250 of the time, the longest waiting first; events, which count each connection, cost
//! only what there is to hear.

mod helper;
mod space;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::Instant;

use helper::{Asker, HelperError, Question, Round};
use space::Space;

use super::edges::{Figures, Key, Totals};
use super::message::Record;
use super::owner::{OwnerId, Owners, Place, UNATTRIBUTED};

/// Namespaces looked at; each has two descriptors and some 100 KiB, more with many connections.
pub const MOST: usize = 128;
/// Distance of rounds, and the least when a container seems to have ended.
const ROUND_MS: u64 = 10_000;
const SOON_MS: u64 = 1_000;
/// Longest distance of rounds while nobody answers.
const PATIENT_MS: u64 = 300_000;
/// Without an answer for so long all namespaces are let go of: nobody says any more that they still live.
const STALE_MS: u64 = 60_000;
/// One whose socket fails is not opened again for so long.
const BARRED_MS: u64 = 600_000;
/// Distance of looks at one namespace, at least; and at least so many times what its last one took.
const LOOK_MS: u64 = 2_000;
const REST: f64 = 250.0;
/// Most that the account of looks may hold, and most that one look is charged: one that takes for ever rests for long itself,
/// but holds the others up for 5 s only.
const CREDIT_MS: f64 = 20.0;
/// Edges of all containers in one interval, and the least of one that all may have.
const MOST_EDGES: usize = 512;
const LEAST_EDGES: usize = 4;

/// What the helper said last.
#[derive(Debug, Clone, Copy, Default)]
struct Told {
    listed: usize,
    more: bool,
    refused: usize,
}

/// All containers' namespaces that are looked at.
#[derive(Debug)]
pub struct Containers {
    path: PathBuf,
    /// None until the helper's socket is there: most machines have no containers.
    asker: Option<Asker>,
    spaces: Vec<Space>,
    /// Those whose sockets failed, and until when they are left alone.
    barred: HashMap<u32, u64>,
    /// Edges of namespaces that are gone.
    ended: Vec<HashMap<Key, Figures>>,
    records: Vec<Record>,
    told: Result<Told, String>,
    lost: u64,
    next_round_ms: u64,
    asked_ms: u64,
    answered_ms: u64,
    failures: u32,
    credit_ms: f64,
    looked_ms: u64,
}

impl Containers {
    /// Asks the helper at `path`, once there is one.
    #[must_use]
    pub fn new(path: &Path) -> Self {
        Self {
            path: path.to_owned(),
            asker: None,
            spaces: Vec::new(),
            barred: HashMap::new(),
            ended: Vec::new(),
            records: Vec::new(),
            told: Err(absent(path)),
            lost: 0,
            next_round_ms: 0,
            asked_ms: 0,
            answered_ms: 0,
            failures: 0,
            credit_ms: CREDIT_MS,
            looked_ms: 0,
        }
    }

    /// Hears of closed sockets in each namespace.
    pub fn hear(&mut self, owners: &Owners) {
        let lost: u64 = self.spaces.iter_mut().map(|space| space.hear(owners)).sum();
        self.lost += lost;
        owners.enter(Place::default());
    }

    /// Takes in what the helper answered, asks it again when it is time, and dumps the sockets of those that are due.
    pub fn look(&mut self, owners: &mut Owners, now_ms: u64) {
        match self.asker.as_mut().and_then(Asker::news) {
            Some(Ok(round)) => self.answered(round, owners, now_ms),
            Some(Err(why)) => self.failed(&why, owners, now_ms),
            None => {}
        }
        self.ask(now_ms);
        self.look_around(owners, now_ms);
        owners.enter(Place::default());
    }

    /// Adds the edges since the last call. Returns how many events were lost.
    pub fn take(&mut self, owners: &Owners, edges: &mut HashMap<Key, Figures>) -> u64 {
        let mut all = std::mem::take(&mut self.ended);
        all.extend(self.spaces.iter_mut().map(|space| space.take(owners)));
        owners.enter(Place::default());
        all.retain(|one| !one.is_empty());
        let share = (MOST_EDGES / all.len().max(1)).max(LEAST_EDGES);
        for one in all {
            narrowed(one, share).into_iter().for_each(|(key, figures)| space::add(edges, key, figures));
        }
        std::mem::take(&mut self.lost)
    }

    /// Adds the connections open now.
    pub fn active(&self, owners: &Owners, all: &mut HashMap<Key, u32>) {
        self.spaces.iter().for_each(|space| space.active(owners, all));
        owners.enter(Place::default());
    }

    /// Adds what each service did in the interval so far. A container that was started again is the same service.
    pub fn services(&self, owners: &Owners, all: &mut HashMap<(OwnerId, bool), Totals>) {
        for ((owner, server), totals) in self.spaces.iter().flat_map(|space| space.tracker().services()) {
            let owner = owners.everywhere(owner);
            if owner != UNATTRIBUTED {
                all.entry((owner, server)).or_default().merge(&totals);
            }
        }
    }

    /// Whether the helper answers.
    #[must_use]
    pub fn are_seen(&self) -> bool {
        self.told.is_ok()
    }

    /// Namespaces that are looked at now, by inode.
    #[must_use]
    pub fn held(&self) -> Vec<u32> {
        self.spaces.iter().map(|space| space.place.scope).collect()
    }

    /// The smallest receive buffer, if there is any.
    #[must_use]
    pub fn least_room(&self) -> Option<usize> {
        self.spaces.iter().map(Space::room).min()
    }

    /// In plain words: what is seen, or what is missing.
    #[must_use]
    pub fn describe(&self) -> String {
        match &self.told {
            Ok(told) => words(told, self.spaces.len()),
            Err(why) => format!("containers with a network of their own are not seen: {why}"),
        }
    }

    fn ask(&mut self, now_ms: u64) {
        let mut ended = false;
        for space in &mut self.spaces {
            ended |= space.has_lost_its_process();
        }
        if ended {
            self.next_round_ms = self.next_round_ms.min(self.asked_ms + SOON_MS);
        }
        if now_ms < self.next_round_ms {
            return;
        }
        self.asked_ms = now_ms;
        self.next_round_ms = now_ms + ROUND_MS;
        if self.asker.is_none() && self.path.exists() {
            match Asker::start(self.path.clone()) {
                Ok(asker) => self.asker = Some(asker),
                Err(error) => self.told = Err(format!("no thread to ask tacit-netns: {error}")),
            }
        }
        self.barred.retain(|_, until_ms| now_ms < *until_ms);
        if let Some(asker) = &mut self.asker {
            let held = self.spaces.iter().map(|space| space.place.scope).collect();
            asker.ask(Question { held, barred: self.barred.keys().copied().collect(), most: MOST });
        }
    }

    fn answered(&mut self, round: Round, owners: &mut Owners, now_ms: u64) {
        (self.failures, self.answered_ms) = (0, now_ms);
        let mut told = Told { listed: round.listed.len(), more: round.more, refused: round.refused };
        for i in (0..self.spaces.len()).rev() {
            let space = &self.spaces[i];
            // Where not all are told, one that is not may be among the rest.
            if !(round.listed.contains(&space.place.scope) || (round.more && space.has_its_process())) {
                self.let_go(i, owners, now_ms);
            }
        }
        for passed in round.opened {
            let known = self.spaces.iter().any(|space| space.place.scope == passed.inode);
            match Space::new(passed, owners) {
                Ok(space) if !known && self.spaces.len() < MOST => self.spaces.push(space),
                Ok(_) => {}
                Err(_) => told.refused += 1,
            }
        }
        self.told = Ok(told);
    }

    fn failed(&mut self, why: &HelperError, owners: &mut Owners, now_ms: u64) {
        self.told = Err(why.to_string());
        let distance = ROUND_MS.saturating_mul(1 << self.failures.min(8)).min(PATIENT_MS);
        self.failures += 1;
        self.next_round_ms = now_ms + distance;
        if now_ms.saturating_sub(self.answered_ms) >= STALE_MS {
            (0..self.spaces.len()).rev().for_each(|i| self.let_go(i, owners, now_ms));
        }
    }

    fn let_go(&mut self, i: usize, owners: &mut Owners, now_ms: u64) {
        let edges = self.spaces.swap_remove(i).end(owners, now_ms);
        if self.ended.len() < MOST {
            self.ended.push(edges);
        } else if let Some(last) = self.ended.last_mut() {
            // Hundreds of short containers within a minute share what one may tell.
            edges.into_iter().for_each(|(key, figures)| space::add(last, key, figures));
            *last = narrowed(std::mem::take(last), MOST_EDGES);
        }
    }

    fn look_around(&mut self, owners: &mut Owners, now_ms: u64) {
        let passed_ms = now_ms.saturating_sub(self.looked_ms) as f64;
        self.looked_ms = now_ms;
        self.credit_ms = (self.credit_ms + passed_ms / REST).min(CREDIT_MS);
        let mut due: Vec<usize> = (0..self.spaces.len()).filter(|i| self.spaces[*i].next_look_ms <= now_ms).collect();
        due.sort_unstable_by_key(|i| self.spaces[*i].looked_ms);
        let mut broken = Vec::new();
        for i in due {
            if self.credit_ms <= 0.0 {
                break;
            }
            let space = &mut self.spaces[i];
            let began = Instant::now();
            let looked = space.look(owners, &mut self.records, now_ms);
            let took_ms = began.elapsed().as_secs_f64() * 1000.0;
            self.credit_ms -= took_ms.min(CREDIT_MS);
            space.looked_ms = now_ms;
            space.rest_until_ms = now_ms + (took_ms * REST) as u64;
            space.next_look_ms = space.rest_until_ms.max(now_ms + LOOK_MS);
            if looked.is_err() {
                self.barred.insert(space.place.scope, now_ms + BARRED_MS);
                broken.push(i);
            }
        }
        broken.sort_unstable();
        broken.into_iter().rev().for_each(|i| self.let_go(i, owners, now_ms));
        self.records.shrink_to(1024);
    }
}

/// What the helper at `path` has to tell now, for `doctor`.
#[must_use]
pub fn examine(path: &Path) -> String {
    // None is opened: what is there is known without.
    match helper::round(path, &Question::default()) {
        Ok(round) => {
            let told = Told { listed: round.listed.len(), more: round.more, refused: 0 };
            words(&told, round.listed.len().min(MOST))
        }
        Err(why) => format!("containers with a network of their own are not seen: {why}"),
    }
}

fn absent(path: &Path) -> String {
    format!("there is no {}; tacit-netns.socket is not installed or not started", path.display())
}

fn words(told: &Told, seen: usize) -> String {
    let mut text = format!("{seen} network namespaces of containers are seen");
    if told.listed > MOST || told.more {
        let more = if told.more { "more than " } else { "" };
        text.push_str(&format!(", of {more}{} (at most {MOST})", told.listed));
    }
    if told.refused > 0 {
        text.push_str(&format!(", {} cannot be opened", told.refused));
    }
    text
}

/// At most `share` edges and, in one for each owner, transport and side, the rest.
fn narrowed(edges: HashMap<Key, Figures>, share: usize) -> HashMap<Key, Figures> {
    if edges.len() <= share {
        return edges;
    }
    let mut all: Vec<(Key, Figures)> = edges.into_iter().collect();
    let weight = |f: &Figures| (f.connects.saturating_add(f.failed), f.sent.saturating_add(f.received));
    all.sort_unstable_by_key(|(_, figures)| std::cmp::Reverse(weight(figures)));
    let rest = all.split_off(share);
    let mut edges: HashMap<Key, Figures> = all.into_iter().collect();
    for (key, figures) in rest {
        space::add(&mut edges, Key { local: None, port: 0, peer: None, peer_port: 0, ..key }, figures);
    }
    edges
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::links::message::Transport;
    use crate::source::Root;
    use std::net::Ipv4Addr;

    fn key(owner: OwnerId, peer: u32) -> Key {
        Key {
            transport: Transport::Tcp,
            server: false,
            local: Some(Ipv4Addr::LOCALHOST.into()),
            port: 0,
            owner,
            peer: Some(Ipv4Addr::from_bits(peer).into()),
            peer_port: 80,
        }
    }

    fn connects(n: u32) -> Figures {
        Figures { connects: n, ..Figures::default() }
    }

    #[test]
    fn a_busy_container_leaves_room_for_the_others() {
        let busy: HashMap<Key, Figures> = (0..1000).map(|peer| (key(1 + peer % 2, peer), connects(peer))).collect();
        let total: u32 = busy.values().map(|f| f.connects).sum();
        let narrow = narrowed(busy, 10);
        assert_eq!((narrow.len(), narrow.values().map(|f| f.connects).sum::<u32>()), (12, total));
        assert!((990..1000).all(|peer| narrow.contains_key(&key(1 + peer % 2, peer))), "the busiest stay");

        let mut containers = Containers::new(Path::new("/nonexistent"));
        containers.ended.push((0..1000).map(|peer| (key(1, peer), connects(1))).collect());
        containers.ended.push(HashMap::from([(key(2, 0), connects(1))]));
        let (owners, mut edges) = (Owners::new(&Root::new("/nonexistent")), HashMap::new());
        assert_eq!(containers.take(&owners, &mut edges), 0);
        assert_eq!(edges.keys().filter(|k| k.owner == 1).count(), MOST_EDGES / 2 + 1);
        assert_eq!(edges.get(&key(2, 0)), Some(&connects(1)));
    }

    #[test]
    fn without_a_helper_it_is_said_and_nothing_is_asked() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("netns.sock");
        let mut containers = Containers::new(&path);
        let mut owners = Owners::new(&Root::new("/nonexistent"));
        containers.look(&mut owners, 1000);
        assert!(containers.asker.is_none() && !containers.are_seen());
        assert!(containers.describe().contains("tacit-netns.socket"), "{}", containers.describe());
        assert!(examine(&path).contains("does not answer"), "{}", examine(&path));
    }

    #[test]
    fn who_does_not_answer_is_asked_less_often() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("netns.sock");
        std::fs::write(&path, "no socket").expect("written");
        let mut containers = Containers::new(&path);
        let mut owners = Owners::new(&Root::new("/nonexistent"));
        let mut asked = Vec::new();
        for second in 0..2000_u64 {
            containers.look(&mut owners, second * 1000);
            if containers.asked_ms == second * 1000 {
                asked.push(second);
                // The answer of this round is there before the next look.
                while containers.asker.as_ref().is_some_and(Asker::is_waiting) {
                    containers.look(&mut owners, second * 1000);
                    std::thread::yield_now();
                }
            }
        }
        let distances: Vec<u64> = asked.windows(2).map(|pair| pair[1] - pair[0]).collect();
        assert_eq!(distances[..6], [10, 20, 40, 80, 160, 300]);
        assert!(containers.describe().contains("does not answer"), "{}", containers.describe());
    }
}
