//! The worst minute that the grouping promises to survive: 500 nodes behind one failing switch raise 10,000 events, and in the
//! middle of it a disk fills somewhere else. Made by numbers alone, for tests and benches.

use tacit_wire::message::Direction;

use super::event::{EntityNo, EventNo, FamilyNo, Fingerprint, Onset, Role, TagNo};
use super::relation::Topology;

/// Nodes behind the switch.
pub const NODES: u32 = 500;
/// Nodes elsewhere; the first few of them call services behind the switch.
pub const ELSEWHERE: u32 = 200;
/// Events of each node behind the switch.
const EVENTS: u32 = 20;
/// Respects in which each of a node's entities can be in trouble.
const FAMILIES: u32 = 8;
/// Units of a node.
const UNITS: u32 = 2;
const CALLERS: u32 = 20;
const MINUTE_MS: u64 = 60_000;

/// When the storm begins, Unix milliseconds.
pub const START_MS: i64 = 1_700_000_000_000;

/// A storm: who is related to whom, and what happens.
#[derive(Debug)]
pub struct Storm {
    /// Relations.
    pub relations: Topology,
    /// Onsets, oldest first.
    pub onsets: Vec<Onset>,
    /// The events of the stranger.
    pub stranger: Vec<EventNo>,
}

/// Host `n` has number `n`; its units come after all hosts.
fn unit(host: u32, n: u32) -> EntityNo {
    EntityNo(NODES + ELSEWHERE + host * UNITS + n)
}

fn onset(entity: EntityNo, family: u32, at: u64, role: Role) -> Onset {
    let fingerprint = Fingerprint { entity, family: FamilyNo(family), direction: Direction::High };
    Onset {
        event: EventNo(0),
        fingerprint,
        at_ms: START_MS.saturating_add_unsigned(at),
        role,
        score: 2.0,
        claim: Some(1e-6),
        watched_ms: 30 * 86_400_000,
    }
}

/// A storm; another one for each seed.
#[must_use]
pub fn storm(seed: u64) -> Storm {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut onsets = Vec::new();
    for host in 0..NODES {
        let mut kinds: Vec<u32> = (0..FAMILIES * (UNITS + 1)).collect();
        random.shuffle(&mut kinds);
        for kind in kinds.into_iter().take(EVENTS as usize) {
            let (part, family) = (kind / FAMILIES, kind % FAMILIES);
            let entity = if part == UNITS { EntityNo(host) } else { unit(host, part) };
            // Three respects of eight hurt somebody; one of them needs no statistics.
            let role = match family {
                0 => Role::Certain,
                1 | 2 => Role::Symptom,
                _ => Role::Weaker,
            };
            onsets.push(onset(entity, family, random.u64(0..MINUTE_MS), role));
        }
    }
    // Whoever calls a service behind the switch from elsewhere has failing edges.
    for host in NODES..NODES + CALLERS {
        onsets.push(onset(unit(host, 0), 0, random.u64(2000..MINUTE_MS), Role::Certain));
    }
    let (filled, client) = (NODES + 100, NODES + 101);
    let strange = [
        onset(EntityNo(filled), 100, 30_000, Role::Certain),
        onset(unit(filled, 0), 1, 31_000, Role::Symptom),
        onset(EntityNo(filled), 3, 31_500, Role::Weaker),
        onset(unit(client, 0), 1, 33_000, Role::Symptom),
    ];
    onsets.extend(strange);
    onsets.sort_by_key(|o| (o.at_ms, o.fingerprint));
    for (onset, n) in onsets.iter_mut().zip(0..) {
        onset.event = EventNo(n);
    }
    let is_strange = |o: &&Onset| strange.iter().any(|s| s.fingerprint == o.fingerprint);
    let stranger = onsets.iter().filter(is_strange).map(|o| o.event).collect();
    Storm { relations: relations(&mut random), onsets, stranger }
}

/// Everybody behind the switch talks to ten others there; elsewhere to three others there, and some to two behind the switch.
fn relations(random: &mut fastrand::Rng) -> Topology {
    let all = NODES + ELSEWHERE;
    let hosts: Vec<_> = (0..all).flat_map(|h| (0..UNITS).map(move |n| (unit(h, n), EntityNo(h)))).collect();
    let tags: Vec<_> = (0..all).map(|h| (EntityNo(h), TagNo(u32::from(h >= NODES)))).collect();
    let mut edges = Vec::new();
    for host in 0..NODES {
        edges.extend((0..10).map(|n| (unit(host, n % UNITS), unit(random.u32(0..NODES), random.u32(0..UNITS)))));
    }
    for host in NODES..all {
        // The stranger and its client have nobody in common with the callers.
        let (from, to) = if host < NODES + CALLERS { (NODES, NODES + CALLERS) } else { (NODES + CALLERS, all) };
        edges.extend((0..3).map(|_| (unit(host, 0), unit(random.u32(from..to), 0))));
        if host < NODES + CALLERS {
            edges.extend((0..2).map(|_| (unit(host, 0), unit(random.u32(0..NODES), 0))));
        }
    }
    edges.push((unit(NODES + 101, 0), unit(NODES + 100, 0)));
    Topology::new(&hosts, &edges, &tags, 1)
}
