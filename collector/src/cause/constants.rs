//! Every number of the ranking, in one place. `docs/INCIDENTS.md` says where each comes from and what was tried beside it.

use super::evidence::EdgeKind;

/// Fewest reference values by which a metric is judged.
pub const REFERENCE_MIN: usize = 5;
/// Fewest reference values by which a series of an edge or of logs is judged; they are rare.
pub const DEVIATION_REFERENCE_MIN: usize = 3;
/// A series has begun to move when it is this many units away.
pub const ONSET_UNITS: f64 = 5.0;

/// A metric counts no further than this many units: where the reference hardly moves at all, the unit is arbitrary and a thousand of it is no
/// more telling than a hundred. Edges and logs have units that mean something, and no such end.
pub const METRIC_UNITS_MAX: f64 = 100.0;
/// What is as far away as this has moved: it leads a symptom on to the next callee, and it counts for what is shared.
pub const MOVED_UNITS: f64 = 10.0;

/// What a unit of strength of edges and logs weighs beside the metrics, which together are below 1.
pub const EVIDENCE_WEIGHT: f64 = 0.25;
/// Least unit of an error ratio in logs.
pub const LOG_FLOOR: f64 = 0.02;

/// Least unit of a series of an edge: what is less is no news to anybody.
#[must_use]
pub fn edge_floor(kind: EdgeKind) -> f64 {
    match kind {
        EdgeKind::RoundTrip => 0.000_2,
        EdgeKind::Slowness => 0.001,
        EdgeKind::Retransmits => 0.01,
        EdgeKind::FailedConnects => 0.02,
    }
}

/// Edges from one caller, to one host, or over one link are the caller's, the host's or the link's when edges to so many callees moved …
pub const SHARED_MIN: usize = 2;
/// … and these are this share of all callees that are known there.
pub const SHARED_SHARE: f64 = 0.75;
/// The one thing that explains all is better than each of them.
pub const SHARED_GAIN: f64 = 1.2;

/// Changes this long before the incident count, Unix milliseconds.
pub const CHANGE_MS: i64 = 30 * 60_000;
/// Clocks differ: a change this long after the incident began may still be before it.
pub const CHANGE_SLACK_MS: i64 = 60_000;
/// What a change at the last moment adds, as a share of the metrics' part: a change of what does not move is innocent.
pub const CHANGE_WEIGHT: f64 = 0.2;

/// Share of the walk that starts again at each step.
pub const WALK_RESTART: f64 = 0.15;
/// Going back to a caller, against going on to a callee.
pub const WALK_BACK: f64 = 0.2;
/// Least suspicion, so that the walk reaches everybody.
pub const WALK_FLOOR: f64 = 1e-3;
/// Steps of the walk at most.
pub const WALK_ROUNDS: usize = 100;
/// The walk has settled when shares together move less than this.
pub const WALK_SETTLED: f64 = 1e-9;
/// What it is worth to be reached from the symptom through callees that moved, beside the first place of the walk, which is worth 1.
pub const REACHED_WEIGHT: f64 = 1.0;
/// What it is worth, when reached, that no callee moved.
pub const LEAF_WEIGHT: f64 = 0.25;

/// The first is not sure when it leads by less than this part of its score.
pub const UNSURE_MARGIN: f64 = 0.1;
/// So many causes are explained.
pub const EXPLAINED: usize = 5;
/// So many lines of evidence a cause at most.
pub const LINES_MAX: usize = 8;
/// A line is worth reading from this many units on; the strongest line of a cause always is.
pub const LINE_UNITS: f64 = 3.0;
