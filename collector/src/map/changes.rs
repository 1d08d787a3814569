//! What changed on the map: edges that appear, vanish, slow down or fail. They are kept, and are events: context, or a symptom.
//!
//! Judged on minutes that have settled, so that a late half neither makes an edge nor ends one.

use std::collections::HashMap;

use super::urgent::Trouble;
use crate::store::{ChangeKind, EdgeRecord, Figures, MapChange};

/// How old a minute is when it is judged: the batches that it is in have come.
pub const SETTLED_MS: i64 = 420_000;
/// Changes of one minute that are kept; a day on which everything is new needs no thousand lines.
const CHANGES_MAX: usize = 200;
/// Changes of one minute at one node that are kept: one that scans or is scanned leaves room for others.
const OF_NODE_MAX: usize = 20;
/// An edge is slow, or fails, once in so long: one that wavers is told of once.
const AGAIN_MS: i64 = 3_600_000;
/// Minutes that are caught up with after a pause; older ones are sealed and cannot be looked at alone.
const CATCH_UP: i64 = 6;
const MINUTE_MS: i64 = 60_000;
/// Silent minutes after which a steady edge has vanished.
const SILENT: u32 = 10;
/// Minutes of the hour before in which a steady edge was seen.
const STEADY: u32 = 30;
/// Minutes in a row that an edge has to be slow.
const SLOW_MINUTES: u8 = 3;
/// How many times the usual is slow.
const SLOW_TIMES: f32 = 3.0;
/// And by how many seconds at least: round trips, lifetimes.
const SLOW_BY: [f32; 2] = [0.002, 0.05];
/// Weight of a minute in what is usual: about an hour.
const WEIGHT: f32 = 1.0 / 60.0;
/// With fewer connects in a minute, how many are open says nothing of how long they last.
const WAITING_MIN: u64 = 5;
/// Minutes until something is usual.
const LEARN: u16 = 20;

/// What is usual of one edge.
#[derive(Debug, Clone, Copy, Default)]
struct Watch {
    /// The last 64 minutes, newest in the lowest bit.
    seen: u64,
    /// Round trips, lifetimes.
    usual: [f32; 2],
    learned: [u16; 2],
    slow: [u8; 2],
    /// Connections open over connects a second, in seconds, and of how many minutes: how long those last that still hang.
    waiting: f32,
    waited: u16,
    failed: u32,
    failing: bool,
    vanished: bool,
    active: u32,
    /// When it was told last that it is slow, that it fails.
    told: [Option<i64>; 2],
}

/// Watches every edge.
#[derive(Debug, Default)]
pub struct Watcher {
    last: Option<i64>,
    watches: HashMap<u32, Watch>,
    left_out: u64,
}

impl Watcher {
    /// Minutes to be judged, when all up to `settled` are ready.
    #[must_use]
    pub fn due(&mut self, settled: i64) -> Vec<i64> {
        let last = *self.last.get_or_insert(settled - MINUTE_MS);
        let from = (last + MINUTE_MS).max(settled - CATCH_UP * MINUTE_MS);
        (0..).map(|n| from + n * MINUTE_MS).take_while(|m| *m <= settled).collect()
    }

    /// Judges a minute. `is_new` says that an edge was never seen before, `speaks` that a node at one of its ends is heard.
    pub fn look<'a>(
        &mut self,
        minute: i64,
        figures: &HashMap<u32, Figures>,
        record: impl Fn(u32) -> &'a EdgeRecord,
        is_new: impl Fn(u32) -> bool,
        speaks: impl Fn(u32) -> bool,
    ) -> Vec<MapChange> {
        self.last = Some(minute);
        let mut found: Vec<(u32, ChangeKind, Option<f32>, Option<f32>)> = Vec::new();
        for (number, figures) in figures {
            let watch = self.watches.entry(*number).or_insert_with(|| {
                // Somebody outside who connects for the first time is no news: that is what servers are for.
                if !is_outside(&record(*number).client) && is_new(*number) {
                    found.push((*number, ChangeKind::Appeared, None, None));
                }
                Watch::default()
            });
            found.extend(watch.step(minute, figures).map(|(kind, observed, usual)| (*number, kind, observed, usual)));
        }
        for (number, watch) in &mut self.watches {
            let here = figures.contains_key(number);
            watch.seen = watch.seen << 1 | u64::from(here);
            if !here && watch.is_gone() && speaks(*number) {
                watch.vanished = true;
                if !is_outside(&record(*number).client) {
                    found.push((*number, ChangeKind::Vanished, None, None));
                }
            }
        }
        self.watches.retain(|_, w| w.seen != 0);
        // What hurts comes first, when there is too much.
        found.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| record(a.0).id.cmp(&record(b.0).id)));
        let all = found.len();
        let mut of_node: HashMap<&str, usize> = HashMap::new();
        let mut told = Vec::new();
        for (number, kind, observed, usual) in found {
            let edge = record(number);
            let nodes = [node_of(&edge.client), node_of(&edge.server)];
            let crowded = nodes.iter().flatten().any(|n| of_node.get(n).is_some_and(|count| *count >= OF_NODE_MAX));
            if crowded || told.len() >= CHANGES_MAX {
                continue;
            }
            for node in nodes.into_iter().flatten() {
                *of_node.entry(node).or_default() += 1;
            }
            told.push(tell(minute, edge, kind, observed, usual));
        }
        self.left_out = self.left_out.saturating_add((all - told.len()) as u64);
        told
    }

    /// Changes that were left out because there were too many at once.
    #[must_use]
    pub fn left_out(&self) -> u64 {
        self.left_out
    }

    /// How long connections of an edge usually last: by those that ended, and by those that are open; once both are known.
    #[must_use]
    pub fn lasts(&self, edge: u32) -> Option<[f32; 2]> {
        let watch = self.watches.get(&edge)?;
        (watch.learned[1] >= LEARN && watch.waited >= LEARN).then_some([watch.usual[1], watch.waiting])
    }

    /// Edges that fail or are slow, as of the minute that was judged last.
    pub fn troubled(&self) -> impl Iterator<Item = (u32, Trouble)> {
        let here = self.watches.iter().filter(|(_, watch)| watch.seen & 1 == 1);
        here.flat_map(|(&number, watch)| {
            let is_slow = watch.slow.iter().any(|minutes| *minutes >= SLOW_MINUTES);
            let troubles = [(watch.failing, Trouble::Failing), (is_slow, Trouble::Slowed)];
            troubles.into_iter().filter(|(is_in, _)| *is_in).map(move |(_, trouble)| (number, trouble))
        })
    }

    /// Edges that are watched.
    pub fn edges(&self) -> impl Iterator<Item = u32> {
        self.watches.keys().copied()
    }

    /// Edges have other numbers now; those without one are forgotten.
    pub fn renumber(&mut self, moved: &HashMap<u32, u32>) {
        self.watches = self.watches.drain().filter_map(|(n, w)| Some((*moved.get(&n)?, w))).collect();
    }
}

impl Watch {
    /// Whether a kind of trouble may be told (again) now; if so, it is.
    fn may_tell(&mut self, kind: usize, minute: i64) -> bool {
        let due = self.told[kind].is_none_or(|at| minute - at >= AGAIN_MS);
        if due {
            self.told[kind] = Some(minute);
        }
        due
    }

    /// A minute in which the edge was seen.
    fn step(
        &mut self,
        minute: i64,
        figures: &Figures,
    ) -> impl Iterator<Item = (ChangeKind, Option<f32>, Option<f32>)> + use<> {
        self.vanished = false;
        self.active = figures.active;
        let mut found = [None, None, None];
        for (n, value) in [figures.rtt_p50, figures.lifetime].into_iter().enumerate() {
            if value.is_nan() {
                continue;
            }
            let usual = self.usual[n];
            let is_slow = self.learned[n] >= LEARN && value > usual * SLOW_TIMES && value > usual + SLOW_BY[n];
            self.slow[n] = if is_slow { self.slow[n].saturating_add(1) } else { 0 };
            if self.slow[n] == SLOW_MINUTES && self.may_tell(0, minute) {
                found[n] = Some((ChangeKind::Slowed, Some(value), Some(usual)));
            }
            self.learned[n] = self.learned[n].saturating_add(1);
            // The first minutes are averaged; later ones weigh little, and slow ones very little.
            let weight = if is_slow { WEIGHT / 8.0 } else { (1.0 / f32::from(self.learned[n])).max(WEIGHT) };
            self.usual[n] += weight * (value - usual);
        }
        if figures.connects >= WAITING_MIN {
            let waiting = figures.active as f32 * 60.0 / figures.connects as f32;
            self.waited = self.waited.saturating_add(1);
            let is_slow = self.waited > LEARN && waiting > self.waiting * SLOW_TIMES;
            let weight = if is_slow { WEIGHT / 8.0 } else { (1.0 / f32::from(self.waited)).max(WEIGHT) };
            self.waiting += weight * (waiting - self.waiting);
        }
        let tried = figures.connects.max(figures.failed).max(1) as f32;
        let share = figures.failed as f32 / tried;
        self.failed = if share >= 0.2 { self.failed.saturating_add(figures.failed.min(1000) as u32) } else { 0 };
        if self.failed >= 3 && !self.failing {
            self.failing = true;
            if self.may_tell(1, minute) {
                found[2] = Some((ChangeKind::Failing, Some(share), None));
            }
        } else if share < 0.05 && figures.connects > 0 {
            self.failing = false;
        }
        found.into_iter().flatten()
    }

    /// It was there in most minutes, and is silent with nothing open.
    fn is_gone(&self) -> bool {
        let silent = self.seen.trailing_zeros() >= SILENT;
        let steady = (self.seen >> SILENT).count_ones() >= STEADY;
        silent && steady && self.active == 0 && !self.vanished
    }
}

/// Whether a vertex is outside of all nodes, by its id.
fn is_outside(vertex: &str) -> bool {
    vertex.starts_with("ext:")
}

/// The node of a vertex, by its id.
fn node_of(vertex: &str) -> Option<&str> {
    if is_outside(vertex) { None } else { vertex.split_once('/').map(|(node, _)| node) }
}

fn tell(at_ms: i64, edge: &EdgeRecord, kind: ChangeKind, observed: Option<f32>, usual: Option<f32>) -> MapChange {
    let (client, server) = (&edge.client, &edge.server);
    let ms = |s: Option<f32>| s.map_or_else(String::new, |s| format!("{:.1} ms", s * 1000.0));
    let text = match kind {
        ChangeKind::Appeared => format!("{client} talks to {server} for the first time."),
        ChangeKind::Vanished => format!("{client} no longer talks to {server}."),
        ChangeKind::Slowed => {
            format!("{client} to {server} takes {}, usual are {}.", ms(observed), ms(usual))
        }
        ChangeKind::Failing => {
            format!("{:.0} % of the connects from {client} to {server} fail.", observed.unwrap_or(1.0) * 100.0)
        }
    };
    MapChange {
        at_ms,
        edge: edge.id.clone(),
        client: client.clone(),
        server: server.clone(),
        kind,
        text,
        observed,
        usual,
    }
}

#[cfg(test)]
mod tests {
    use tacit_wire::message::Protocol;

    use super::*;

    fn record() -> EdgeRecord {
        EdgeRecord {
            id: "a/x>b/y:tcp/80".into(),
            client: "a/x".into(),
            server: "b/y".into(),
            protocol: Protocol::Tcp,
            port: 80,
            via: None,
            first_seen_ms: 0,
            last_seen_ms: 0,
        }
    }

    /// What is told over minutes, each with the figures it has, if any.
    fn told(minutes: &[Option<Figures>], is_new: bool) -> Vec<(usize, ChangeKind, String)> {
        let (mut watcher, record) = (Watcher::default(), record());
        let mut all = Vec::new();
        for (n, figures) in minutes.iter().enumerate() {
            let figures: HashMap<u32, Figures> = figures.iter().map(|f| (0, *f)).collect();
            let changes = watcher.look(n as i64 * MINUTE_MS, &figures, |_| &record, |_| is_new, |_| true);
            all.extend(changes.into_iter().map(|c| (n, c.kind, c.text)));
        }
        all
    }

    fn minute(rtt: f32, connects: u64, failed: u64) -> Option<Figures> {
        Some(Figures { rtt_p50: rtt, rtt_weight: 1.0, connects, failed, ..Figures::none(0) })
    }

    #[test]
    fn each_kind_is_told_once() {
        let mut minutes = vec![minute(0.001, 10, 0); 40];
        minutes.extend(vec![minute(0.041, 10, 0); 10]);
        minutes.extend(vec![minute(0.001, 10, 4); 5]);
        minutes.extend(vec![None; 20]);
        let told = told(&minutes, true);
        let kinds: Vec<_> = told.iter().map(|(n, kind, _)| (*n, *kind)).collect();
        let expected = [
            (0, ChangeKind::Appeared),
            (42, ChangeKind::Slowed),
            (50, ChangeKind::Failing),
            (64, ChangeKind::Vanished),
        ];
        assert_eq!(kinds, expected);
        assert_eq!(told[1].2, "a/x to b/y takes 41.0 ms, usual are 1.2 ms.");
    }

    #[test]
    fn what_is_in_trouble_goes_on_until_it_is_well() {
        let (mut watcher, record) = (Watcher::default(), record());
        let mut look = |n: i64, figures: Option<Figures>| {
            let figures: HashMap<u32, Figures> = figures.iter().map(|f| (0, *f)).collect();
            watcher.look(n * MINUTE_MS, &figures, |_| &record, |_| false, |_| true);
            (watcher.troubled().collect::<Vec<_>>(), watcher.lasts(0))
        };
        let lasting = |seconds: f32, failed: u64| {
            let figures = minute(0.001, 60, failed).unwrap();
            Some(Figures { lifetime: seconds, lifetime_weight: 1.0, active: 3, ..figures })
        };
        for n in 0..i64::from(LEARN) - 1 {
            assert_eq!(look(n, lasting(0.5, 0)), (Vec::new(), None));
        }
        assert_eq!(look(30, lasting(0.5, 0)), (Vec::new(), Some([0.5, 3.0])));
        assert_eq!(look(31, lasting(0.5, 30)).0, [(0, Trouble::Failing)]);
        assert_eq!(look(32, None).0, [], "nobody speaks of it");
        assert_eq!(look(33, lasting(9.0, 0)).0, []);
        look(34, lasting(9.0, 0));
        assert_eq!(look(35, lasting(9.0, 0)).0, [(0, Trouble::Slowed)]);
        assert_eq!(look(36, lasting(0.5, 0)).0, []);
    }

    #[test]
    fn idle_is_not_gone_and_a_single_slow_minute_is_nothing() {
        let open = Some(Figures { active: 3, ..Figures::none(0) });
        let mut minutes = vec![open; 40];
        minutes.extend(vec![None; 20]);
        minutes.extend([minute(0.001, 1, 0); 25]);
        minutes.push(minute(0.5, 1, 0));
        minutes.extend([minute(0.001, 1, 0); 5]);
        assert_eq!(told(&minutes, false), []);
    }

    #[test]
    fn an_edge_that_wavers_is_told_of_once_an_hour() {
        let mut minutes = Vec::new();
        for _ in 0..14 {
            minutes.extend([minute(0.001, 10, 4); 3]);
            minutes.extend([minute(0.001, 10, 0); 2]);
        }
        let failing: Vec<_> = told(&minutes, false).into_iter().map(|(n, kind, _)| (n, kind)).collect();
        assert_eq!(failing, [(0, ChangeKind::Failing), (60, ChangeKind::Failing)]);
    }

    #[test]
    fn many_changes_at_once_are_bounded_and_what_hurts_comes_first() {
        // 300 servers of one client, of which the last ten fail, and an edge elsewhere; somebody outside comes too.
        let edge = |client: String, server: String| EdgeRecord {
            id: format!("{client}>{server}:tcp/80"),
            client,
            server,
            ..record()
        };
        let mut edges: Vec<EdgeRecord> = (0..300).map(|n| edge("scan/x".into(), format!("n-{n}/y"))).collect();
        edges.push(edge("other/x".into(), "else/y".into()));
        edges.push(edge("ext:203.0.113.9".into(), "else/y".into()));
        let figures: HashMap<u32, Figures> = (0..edges.len() as u32)
            .map(|n| (n, minute(0.001, 10, if (290..300).contains(&n) { 10 } else { 0 }).unwrap()))
            .collect();
        let mut watcher = Watcher::default();
        let told = watcher.look(0, &figures, |n| &edges[n as usize], |_| true, |_| true);
        let of = |kind: ChangeKind| told.iter().filter(|c| c.kind == kind).count();
        assert_eq!((of(ChangeKind::Failing), of(ChangeKind::Appeared)), (10, OF_NODE_MAX - 10 + 1));
        assert!(told.iter().any(|c| c.client == "other/x") && !told.iter().any(|c| c.client.starts_with("ext:")));
        assert_eq!(watcher.left_out() as usize, 300 - (OF_NODE_MAX - 10));
    }
}
