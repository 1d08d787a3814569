//! What stands around the map: what depends on a service, how one reaches another, what changed, how much is known.

use super::asked::Asked;
use super::details::level;
use super::rows::{End, Known, end};
use crate::console::format::time;
use crate::map::coverage::Coverage;
use crate::map::diff::MapDiff;
use crate::map::graph::{Blast, Route};

/// Lines of a list; the drawing and the API have the rest.
const LIST_MAX: usize = 200;

/// What breaks with a service.
pub(super) struct BlastSection {
    pub service: String,
    pub affected: Vec<Affected>,
    pub affected_count: usize,
    pub unaffected: Vec<String>,
    pub unaffected_count: usize,
    pub close: String,
}

/// Somebody who depends on it.
pub(super) struct Affected {
    pub end: End,
    pub steps: u32,
    pub through: String,
}

pub(super) fn blast(b: &Blast, known: &Known<'_>, asked: &Asked) -> BlastSection {
    let affected = b.affected.iter().take(LIST_MAX).map(|d| Affected {
        end: end(&d.id, known, asked),
        steps: d.steps,
        through: known.name(&d.through),
    });
    BlastSection {
        service: b.service.clone(),
        affected: affected.collect(),
        affected_count: b.affected.len(),
        unaffected: b.unaffected.iter().take(LIST_MAX).map(|id| known.name(id)).collect(),
        unaffected_count: b.unaffected.len(),
        close: asked.link(&[("blast", "")]),
    }
}

/// A way from one to another.
pub(super) struct PathSection {
    pub found: bool,
    pub from: String,
    pub to: String,
    pub steps: Vec<End>,
    pub close: String,
}

pub(super) fn path(route: &Route, known: &Known<'_>, asked: &Asked) -> PathSection {
    let name = |key| asked.text(key).unwrap_or_default().to_owned();
    PathSection {
        found: route.found,
        from: name("path_from"),
        to: name("path_to"),
        steps: route.vertices.iter().map(|id| end(id, known, asked)).collect(),
        close: asked.link(&[("path_from", ""), ("path_to", "")]),
    }
}

/// What differs between two times.
pub(super) struct DiffSection {
    pub from: String,
    pub to: String,
    /// How many edges, the class of their mark, and what they did.
    pub counts: Vec<(usize, &'static str, &'static str)>,
    pub unchanged: u64,
    pub close: String,
}

pub(super) fn diff(d: &MapDiff, asked: &Asked) -> DiffSection {
    let how = |word: &str| d.changed.iter().filter(|c| c.how.iter().any(|h| h == word)).count();
    DiffSection {
        from: time(d.from_ms),
        to: time(d.to_ms),
        counts: vec![
            (d.appeared.len(), "new", "appeared"),
            (d.vanished.len(), "gone", "vanished"),
            (how("slower"), "slow", "slower"),
            (how("failing"), "fail", "failing"),
            (how("faster"), "other", "faster"),
            (how("recovered"), "other", "recovered"),
            (how("busier"), "other", "busier"),
            (how("quieter"), "other", "quieter"),
        ],
        unchanged: d.unchanged,
        close: asked.link(&[("diff", "")]),
    }
}

/// How much of the map is known.
pub(super) struct CoverageSection {
    pub sentence: String,
    pub nodes: Vec<NodeLine>,
    pub node_count: usize,
    pub conflicts: Vec<String>,
}

/// How well a node sees.
pub(super) struct NodeLine {
    pub node: String,
    pub level: &'static str,
    pub seen: String,
    pub lost: u64,
    pub beyond: u64,
    pub unusable: u64,
    pub absurd: u64,
}

pub(super) fn coverage(c: &Coverage) -> CoverageSection {
    let percent = |share: Option<f32>| share.map_or("–".into(), |s| format!("{:.1} %", s * 100.0));
    let sentence = format!(
        "{} of {} edges between nodes ({}) and {} of their bytes have a known owner on both ends. {} edges lead outside, where there is no agent.",
        c.edges_owned,
        c.edges,
        percent(c.edges_share),
        percent(c.bytes_share),
        c.outside
    );
    let nodes = c.nodes.iter().take(LIST_MAX).map(|n| NodeLine {
        node: n.node.to_string(),
        level: level(n),
        seen: time(n.last_ms),
        lost: n.overflows,
        beyond: n.beyond,
        unusable: n.unusable,
        absurd: n.absurd,
    });
    CoverageSection {
        sentence,
        nodes: nodes.collect(),
        node_count: c.nodes.len(),
        conflicts: c.conflicts.iter().map(|c| c.text.clone()).collect(),
    }
}
