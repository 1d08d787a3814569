//! What speaks against each candidate by itself: metrics, edges, logs, changes, and what edges have in common.

use std::collections::{BTreeMap, BTreeSet};

use super::constants::{
    CHANGE_MS, CHANGE_SLACK_MS, EVIDENCE_WEIGHT, LOG_FLOOR, METRIC_UNITS_MAX, MOVED_UNITS, SHARED_GAIN, SHARED_MIN,
    SHARED_SHARE, edge_floor,
};
use super::evidence::{Edge, EdgeKind, EdgeMetric, Entity, Evidence, Metric, MetricKind};
use super::graph::Graph;
use super::statistic::{Deviation, Direction, Scale, of_metric};

/// The candidates in the order of their names, and what belongs to them.
#[derive(Debug)]
pub struct Candidates<'a> {
    /// Names, ascending.
    pub names: Vec<&'a str>,
    /// The entities of each name, in the order in which they came.
    pub entities: Vec<Vec<&'a Entity>>,
    numbers: BTreeMap<&'a str, usize>,
}

impl<'a> Candidates<'a> {
    /// All entities of the evidence, each name once.
    #[must_use]
    pub fn new(evidence: &'a Evidence) -> Self {
        let mut by_name: BTreeMap<&str, Vec<&Entity>> = BTreeMap::new();
        for entity in &evidence.entities {
            by_name.entry(&entity.name).or_default().push(entity);
        }
        let names: Vec<&str> = by_name.keys().copied().collect();
        let numbers = names.iter().enumerate().map(|(i, name)| (*name, i)).collect();
        Self { names, entities: by_name.into_values().collect(), numbers }
    }

    /// The number of a name.
    #[must_use]
    pub fn number(&self, name: &str) -> Option<usize> {
        self.numbers.get(name).copied()
    }

    /// The host of a candidate, when it is a candidate too.
    #[must_use]
    pub fn host(&self, i: usize) -> Option<usize> {
        let host = self.entities[i].iter().find_map(|e| e.host.as_deref())?;
        self.number(host).filter(|h| *h != i)
    }

    /// Who depends on whom: callers on callees and on the links that they cross, services on their hosts.
    #[must_use]
    pub fn graph(&self, edges: &[Edge]) -> Graph {
        let mut pairs = Vec::with_capacity(edges.len());
        let mut depends = |from: Option<usize>, on: Option<usize>| {
            if let (Some(Ok(from)), Some(Ok(on))) = (from.map(u32::try_from), on.map(u32::try_from)) {
                pairs.push((from, on));
            }
        };
        for edge in edges {
            let caller = self.number(&edge.caller);
            depends(caller, self.number(&edge.callee));
            depends(caller, edge.link.as_deref().and_then(|l| self.number(l)));
        }
        for i in 0..self.names.len() {
            depends(Some(i), self.host(i));
        }
        Graph::new(self.names.len(), pairs)
    }
}

/// What speaks against a candidate. Strengths are `ln(1 + units)`; what is missing is 0.
#[derive(Debug, Clone, Default)]
pub struct Suspicion<'a> {
    /// Of the metrics that count.
    pub metric: f64,
    /// Of edges, credited to it.
    pub edge: f64,
    /// Of its log.
    pub logs: f64,
    /// How recent its last change is, 0 to 1.
    pub change: f64,
    /// What was found, in no order.
    pub found: Vec<Found<'a>>,
}

/// A thing that moved, or was done.
#[derive(Debug, Clone, Copy)]
pub enum Found<'a> {
    /// A metric of an entity.
    Metric(&'a Metric, Deviation),
    /// A series of an edge.
    Edge(&'a Edge, EdgeKind, Deviation),
    /// Errors in the log of an entity.
    Logs(&'a Entity, Deviation),
    /// A change, and how recent it is.
    Change(&'a super::evidence::Change, f64),
}

impl Suspicion<'_> {
    /// What speaks against it beside the metrics, as a part of the score:
    ///
    /// ```text
    /// (edge + logs) / 4
    /// ```
    #[must_use]
    pub fn beside_metrics(&self) -> f64 {
        EVIDENCE_WEIGHT * (self.edge + self.logs)
    }

    /// Whether anything at all moved.
    #[must_use]
    pub fn is_any(&self) -> bool {
        self.metric.max(self.edge).max(self.logs) > 0.0
    }
}

/// What speaks against every candidate, by number.
#[must_use]
pub fn of_all<'a>(candidates: &Candidates<'a>, evidence: &'a Evidence) -> Vec<Suspicion<'a>> {
    let mut all: Vec<Suspicion<'a>> = vec![Suspicion::default(); candidates.names.len()];
    let symptom = evidence.symptom.as_ref().map(|s| s.kind);
    let mut scratch = Vec::new();
    for (suspicion, entities) in all.iter_mut().zip(&candidates.entities) {
        for entity in entities {
            add_own(suspicion, entity, symptom, evidence.clean_reference, &mut scratch);
        }
    }
    let edges = add_edges(&mut all, candidates, &evidence.edges, &mut scratch);
    add_shared(&mut all, candidates, &edges);
    for change in &evidence.changes {
        let recent = recency(change.at_ms, evidence.onset_ms);
        if let Some(i) = candidates.number(&change.entity).filter(|_| recent > 0.0) {
            all[i].change = all[i].change.max(recent);
            all[i].found.push(Found::Change(change, recent));
        }
    }
    all
}

fn add_own<'a>(
    suspicion: &mut Suspicion<'a>,
    entity: &'a Entity,
    symptom: Option<MetricKind>,
    clean: bool,
    scratch: &mut Vec<f64>,
) {
    for metric in entity.metrics.iter().filter(|m| m.kind.counts_for(symptom)) {
        if let Some(deviation) = of_metric(&metric.series, clean, scratch) {
            suspicion.metric = suspicion.metric.max(deviation.units.min(METRIC_UNITS_MAX).ln_1p());
            suspicion.found.push(Found::Metric(metric, deviation));
        }
    }
    if let Some(logs) = &entity.log_errors {
        let scale = Scale::deviations(logs.reference(), LOG_FLOOR, scratch);
        if let Some(deviation) = scale.and_then(|s| s.furthest(logs.window(), Direction::Up)) {
            suspicion.logs = suspicion.logs.max(deviation.strength());
            suspicion.found.push(Found::Logs(entity, deviation));
        }
    }
}

/// The furthest series of an edge.
#[derive(Debug, Clone, Copy)]
struct Furthest<'a> {
    edge: &'a Edge,
    kind: EdgeKind,
    caller: usize,
    callee: usize,
    deviation: Deviation,
}

/// Credits edges to their callees, for the caller only waits; gives back the furthest series of each.
fn add_edges<'a>(
    all: &mut [Suspicion<'a>],
    candidates: &Candidates<'a>,
    edges: &'a [Edge],
    scratch: &mut Vec<f64>,
) -> Vec<Furthest<'a>> {
    let mut of_edges = Vec::new();
    for edge in edges {
        let (Some(caller), Some(callee)) = (candidates.number(&edge.caller), candidates.number(&edge.callee)) else {
            continue;
        };
        if caller == callee {
            continue;
        }
        let mut furthest: Option<Furthest<'a>> = None;
        for EdgeMetric { kind, series } in &edge.metrics {
            let scale = Scale::deviations(series.reference(), edge_floor(*kind), scratch);
            let Some(deviation) = scale.and_then(|s| s.furthest(series.window(), Direction::Up)) else { continue };
            all[callee].edge = all[callee].edge.max(deviation.strength());
            all[callee].found.push(Found::Edge(edge, *kind, deviation));
            if furthest.is_none_or(|f| deviation.units > f.deviation.units) {
                furthest = Some(Furthest { edge, kind: *kind, caller, callee, deviation });
            }
        }
        of_edges.extend(furthest);
    }
    of_edges
}

/// What happens on most edges of one caller, to one host, or over one link is the caller's, the host's, or the link's.
fn add_shared<'a>(all: &mut [Suspicion<'a>], candidates: &Candidates<'a>, edges: &[Furthest<'a>]) {
    let mut by_shared: BTreeMap<usize, Vec<&Furthest<'a>>> = BTreeMap::new();
    for of_edge in edges {
        let link = of_edge.edge.link.as_deref().and_then(|l| candidates.number(l));
        let shared = BTreeSet::from_iter([Some(of_edge.caller), candidates.host(of_edge.callee), link]);
        for shared in shared.into_iter().flatten() {
            by_shared.entry(shared).or_default().push(of_edge);
        }
    }
    for (shared, edges) in by_shared {
        let known: BTreeSet<usize> = edges.iter().map(|e| e.callee).collect();
        let moved = || edges.iter().filter(|e| e.deviation.units >= MOVED_UNITS);
        let mut strongest: BTreeMap<usize, f64> = BTreeMap::new();
        for of_edge in moved() {
            let best = strongest.entry(of_edge.callee).or_default();
            *best = best.max(of_edge.deviation.strength());
        }
        let count = strongest.len();
        if count < SHARED_MIN || (count as f64) < SHARED_SHARE * known.len() as f64 {
            continue;
        }
        let mean = strongest.values().sum::<f64>() / count as f64;
        all[shared].edge = all[shared].edge.max(SHARED_GAIN * mean);
        all[shared].found.extend(moved().map(|e| Found::Edge(e.edge, e.kind, e.deviation)));
    }
}

/// 1 for a change at the last moment, down to 0 for one that is too long ago or came after.
fn recency(at_ms: i64, onset_ms: i64) -> f64 {
    let before = onset_ms.saturating_sub(at_ms);
    if !(-CHANGE_SLACK_MS..=CHANGE_MS).contains(&before) {
        return 0.0;
    }
    1.0 - before.max(0) as f64 / CHANGE_MS as f64
}
