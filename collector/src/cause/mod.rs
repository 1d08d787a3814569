//! What is behind an incident: candidates ranked by evidence, with the lines that a person can check.
//!
//! ```text
//! evidence ─ suspicion   metrics, edges, logs, changes → one number a candidate
//!          └ graph       who depends on whom
//!               └ walk   from callers towards causes, under a symptom
//!                    └ ranking → margin, unsure, lines
//! ```
//!
//! Pure: no clock, no store, no names that mean something. Whatever fills an [`Evidence`] gets the same ranking, the live
//! collector and the bench on public data alike. The method, its sources and what was tried are in `docs/INCIDENTS.md`.

pub mod constants;
pub mod evidence;
pub mod gather;
pub mod graph;
pub mod line;
pub mod statistic;
pub mod suspicion;
pub mod walk;

use std::collections::HashSet;

use serde::{Deserialize, Serialize};

pub use evidence::{Change, Edge, EdgeKind, EdgeMetric, Entity, EntityKind, Evidence, Metric, MetricKind};
pub use evidence::{Point, Series, Symptom};
pub use line::{Line, What};

use constants::{
    CHANGE_WEIGHT, EXPLAINED, LEAF_WEIGHT, LINE_UNITS, LINES_MAX, MOVED_UNITS, REACHED_WEIGHT, UNSURE_MARGIN,
};
use statistic::Deviation;
use suspicion::{Candidates, Found, Suspicion};

/// Who may be behind an incident.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Ranking {
    /// All candidates, the likeliest first.
    pub causes: Vec<Cause>,
    /// By what part of its score the first leads, 0 to 1.
    pub margin: f64,
    /// Whether that is too little to believe the order, or nothing speaks against anybody.
    pub unsure: bool,
}

/// A candidate with its place.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Cause {
    /// Its name.
    pub entity: String,
    /// What it is.
    pub kind: EntityKind,
    /// How much speaks against it; comparable within one ranking only.
    pub score: f64,
    /// Its last change before the incident.
    pub change: Option<Change>,
    /// What speaks against it, strongest first. Only the first [`constants::EXPLAINED`] causes have lines.
    pub evidence: Vec<Line>,
}

/// Ranks everybody who may be behind an incident.
///
/// The order of entities, edges, series and changes makes no difference; equals are in the order of their names.
#[must_use]
pub fn rank(evidence: &Evidence) -> Ranking {
    let candidates = Candidates::new(evidence);
    let suspicions = suspicion::of_all(&candidates, evidence);
    let scores = scores(&candidates, &suspicions, evidence);
    let mut order: Vec<usize> = (0..scores.len()).collect();
    // Numbers are in the order of names.
    order.sort_by(|a, b| scores[*b].total_cmp(&scores[*a]).then(a.cmp(b)));
    let cause = |(place, i): (usize, &usize)| {
        let (name, suspicion) = (candidates.names[*i], &suspicions[*i]);
        Cause {
            entity: name.to_owned(),
            kind: candidates.entities[*i].first().map_or_else(EntityKind::default, |e| e.kind),
            score: scores[*i],
            change: last_change(suspicion).cloned(),
            evidence: if place < EXPLAINED { lines(name, suspicion) } else { Vec::new() },
        }
    };
    let causes: Vec<Cause> = order.iter().enumerate().map(cause).collect();
    let margin = margin(&order, &scores, &candidates);
    let anything = order.first().is_some_and(|i| suspicions[*i].is_any());
    Ranking { unsure: margin < UNSURE_MARGIN || !anything, margin, causes }
}

/// By what part of its score the first leads the next that is somewhere else: a service and the machine it runs on are one place to look.
fn margin(order: &[usize], scores: &[f64], candidates: &Candidates<'_>) -> f64 {
    let Some((first, rest)) = order.split_first().filter(|(first, _)| scores[**first] > 0.0) else { return 0.0 };
    let is_one_place = |i: usize| candidates.host(i) == Some(*first) || candidates.host(*first) == Some(i);
    let next = rest.iter().find(|i| !is_one_place(**i)).map_or(0.0, |i| scores[*i]);
    ((scores[*first] - next) / scores[*first]).clamp(0.0, 1.0)
}

/// A score for each candidate. Nothing that is missing counts.
///
/// ```text
/// metrics · (1 + 0.2·change) + (edge + logs) / 4
/// ```
fn scores(candidates: &Candidates<'_>, suspicions: &[Suspicion<'_>], evidence: &Evidence) -> Vec<f64> {
    let metrics = match evidence.symptom.as_ref().filter(|s| s.kind.is_felt()) {
        Some(symptom) => metrics_under(symptom, candidates, suspicions, &evidence.edges),
        None => metrics_alone(suspicions),
    };
    let score = |(metrics, s): (f64, &Suspicion<'_>)| metrics * (1.0 + CHANGE_WEIGHT * s.change) + s.beside_metrics();
    metrics.into_iter().zip(suspicions).map(score).collect()
}

/// The part of the metrics where no symptom is known, below 1: `metric / (1 + largest metric)`.
fn metrics_alone(suspicions: &[Suspicion<'_>]) -> Vec<f64> {
    let most = suspicions.iter().map(|s| s.metric).fold(0.0, f64::max);
    suspicions.iter().map(|s| s.metric / (1.0 + most)).collect()
}

/// The part of the metrics under a symptom, at most 1: where the walk ends, who is reached from the symptom, and who is last there.
///
/// ```text
/// (walk / largest walk + REACHED·reached + LEAF·leaf) / (1 + REACHED + LEAF)
/// ```
fn metrics_under(
    symptom: &Symptom,
    candidates: &Candidates<'_>,
    suspicions: &[Suspicion<'_>],
    edges: &[Edge],
) -> Vec<f64> {
    let graph = candidates.graph(edges);
    let strengths: Vec<f64> = suspicions.iter().map(|s| s.metric).collect();
    let shares = walk::shares(&graph, &strengths);
    let largest = shares.iter().copied().fold(0.0, f64::max);
    let moved = |i: usize| strengths[i] > MOVED_UNITS.ln_1p();
    let reached = candidates.number(&symptom.entity).map_or_else(HashSet::new, |start| graph.reach(start, moved));
    let part = |(i, share): (usize, &f64)| {
        if strengths[i] <= 0.0 {
            // The walk comes by everywhere; whoever did not move is not suspicious for that.
            return 0.0;
        }
        let leaf = !graph.callees(i).iter().any(|c| moved(*c as usize));
        let place = match (reached.contains(&i), leaf) {
            (true, true) => REACHED_WEIGHT + LEAF_WEIGHT,
            (true, false) => REACHED_WEIGHT,
            (false, _) => 0.0,
        };
        (share / largest + place) / (1.0 + REACHED_WEIGHT + LEAF_WEIGHT)
    };
    shares.iter().enumerate().map(part).collect()
}

fn last_change<'a>(suspicion: &Suspicion<'a>) -> Option<&'a Change> {
    let changes = suspicion.found.iter().filter_map(|found| match found {
        Found::Change(change, _) => Some(*change),
        _ => None,
    });
    changes.max_by(|a, b| a.at_ms.cmp(&b.at_ms).then_with(|| a.what.cmp(&b.what)))
}

/// The strongest lines, and changes.
fn lines(name: &str, suspicion: &Suspicion<'_>) -> Vec<Line> {
    let mut lines: Vec<Line> = suspicion.found.iter().map(|found| one_line(name, found)).collect();
    lines.retain(|l| l.strength > 0.0);
    lines.sort_by(|a, b| {
        b.strength.total_cmp(&a.strength).then_with(|| a.subject.cmp(&b.subject)).then(a.since_ms.cmp(&b.since_ms))
    });
    let least = LINE_UNITS.ln_1p();
    let (mut kept, mut first) = (0, true);
    lines.retain(|l| {
        let worth = first || l.strength >= least || l.what == What::Change;
        first = false;
        kept += usize::from(worth);
        worth && kept <= LINES_MAX
    });
    lines
}

fn one_line(name: &str, found: &Found<'_>) -> Line {
    let moved = |what: What, subject: String, unit: &str, d: &Deviation| Line {
        what,
        subject,
        unit: unit.to_owned(),
        from: Some(d.from),
        to: Some(d.to),
        since_ms: d.since_ms,
        credited_to: name.to_owned(),
        strength: d.strength(),
    };
    match found {
        Found::Metric(m, d) => moved(What::Metric(m.kind), m.name.clone(), &m.unit, d),
        Found::Edge(edge, kind, d) => {
            let unit = if matches!(kind, EdgeKind::RoundTrip | EdgeKind::Slowness) { "s" } else { "" };
            moved(What::Edge(*kind), format!("{} → {}", edge.caller, edge.callee), unit, d)
        }
        Found::Logs(entity, d) => moved(What::LogErrors, entity.name.clone(), "", d),
        Found::Change(change, recent) => Line {
            what: What::Change,
            subject: change.what.clone(),
            unit: String::new(),
            from: None,
            to: None,
            since_ms: change.at_ms,
            credited_to: name.to_owned(),
            strength: *recent,
        },
    }
}

#[cfg(test)]
mod tests;
