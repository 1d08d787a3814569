//! Which layout of control groups this machine has, and which units and containers are in it.
//!
//! | layout | mounted at `/sys/fs/cgroup` |
//! |---|---|
//! | v2 | one tree; `cgroup.controllers` lies at its top |
//! | v1 | one tree a controller: `memory`, `cpu`, `cpuacct` (or `cpu,cpuacct`), `blkio`, `pids` |
//! | hybrid | as v1, and an extra v2 tree without controllers at `unified`; it has the pressure files |

use std::path::{Path, PathBuf};

use super::name::{Kind, classify};
use crate::source::Root;

/// Folders looked at in one walk, and how deep. Beyond it the rest is left out: nothing may walk for ever.
const MOST: usize = 8192;
const DEPTH: usize = 8;

/// The layout of this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Layout {
    /// Version 2 at this folder.
    V2(PathBuf),
    /// Version 1.
    V1(V1),
    /// No control groups.
    None,
}

/// The trees of version 1 that this machine has.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct V1 {
    /// `cpuacct`.
    pub cpuacct: Option<PathBuf>,
    /// `cpu`.
    pub cpu: Option<PathBuf>,
    /// `memory`.
    pub memory: Option<PathBuf>,
    /// `blkio`.
    pub blkio: Option<PathBuf>,
    /// `pids`.
    pub pids: Option<PathBuf>,
    /// The extra version 2 tree of the hybrid layout.
    pub unified: Option<PathBuf>,
}

impl Layout {
    /// Looks below `root`.
    #[must_use]
    pub fn find(root: &Root) -> Self {
        let base = root.join("sys/fs/cgroup");
        if base.join("cgroup.controllers").exists() {
            return Self::V2(base);
        }
        let tree = |names: [&str; 2]| names.iter().map(|n| base.join(n)).find(|p| p.is_dir());
        let v1 = V1 {
            cpuacct: tree(["cpuacct", "cpu,cpuacct"]),
            cpu: tree(["cpu", "cpu,cpuacct"]),
            memory: tree(["memory", "memory"]),
            blkio: tree(["blkio", "blkio"]),
            pids: tree(["pids", "pids"]),
            unified: Some(base.join("unified")).filter(|p| p.join("cgroup.controllers").exists()),
        };
        if v1.controllers().next().is_some() { Self::V1(v1) } else { Self::None }
    }

    /// For people: `v2`, `v1`, `hybrid (…)`, `none`.
    #[must_use]
    pub fn describe(&self) -> &'static str {
        match self {
            Self::V2(_) => "v2",
            Self::V1(v1) if v1.unified.is_some() => "hybrid (controllers on v1, pressure on v2)",
            Self::V1(_) => "v1",
            Self::None => "none",
        }
    }
}

impl V1 {
    fn controllers(&self) -> impl Iterator<Item = &Path> {
        [&self.memory, &self.cpuacct, &self.pids, &self.blkio].into_iter().flatten().map(PathBuf::as_path)
    }
}

/// A unit or container found in a walk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Its name, unique in a walk.
    pub name: String,
    /// Its path below the top of the tree.
    pub path: String,
    /// Its memory in bytes; 0 when unknown.
    pub memory: u64,
    /// Its memory limit in bytes, when it has one.
    pub limit: Option<u64>,
}

/// Walks the trees; the units come in the order of their names.
#[must_use]
pub fn walk(layout: &Layout) -> Vec<Found> {
    let mut found = Vec::new();
    let mut budget = MOST;
    match layout {
        Layout::V2(top) => descend(top, "", DEPTH, &mut budget, &mut found),
        Layout::V1(v1) => v1.controllers().for_each(|top| descend(top, "", DEPTH, &mut budget, &mut found)),
        Layout::None => {}
    }
    found.sort();
    found.dedup_by(|a, b| a.0 == b.0);
    found
        .into_iter()
        .map(|(name, path)| {
            let (memory, limit) = memory(layout, &path);
            Found { name, path, memory, limit }
        })
        .collect()
}

fn descend(top: &Path, path: &str, depth: usize, budget: &mut usize, found: &mut Vec<(String, String)>) {
    let Ok(entries) = std::fs::read_dir(top.join(path)) else { return };
    for entry in entries.flatten() {
        if !entry.file_type().is_ok_and(|t| t.is_dir()) {
            continue;
        }
        let Some(name) = entry.file_name().to_str().map(str::to_owned) else { continue };
        *budget = budget.saturating_sub(1);
        if *budget == 0 {
            return;
        }
        let below = if path.is_empty() { name } else { format!("{path}/{name}") };
        match classify(&below) {
            // Mounts, swaps and sockets hold no processes worth a series.
            Kind::Unit(name) if [".mount", ".swap", ".socket"].iter().any(|s| name.ends_with(s)) => {}
            Kind::Unit(name) => found.push((name, below)),
            Kind::Group if depth > 0 => descend(top, &below, depth - 1, budget, found),
            Kind::Group => {}
        }
    }
}

fn memory(layout: &Layout, path: &str) -> (u64, Option<u64>) {
    // Version 1 writes "no limit" as the largest page-aligned number.
    const UNLIMITED: u64 = 1 << 60;
    let (top, now, limit) = match layout {
        Layout::V2(top) => (top, "memory.current", "memory.max"),
        Layout::V1(V1 { memory: Some(top), .. }) => (top, "memory.usage_in_bytes", "memory.limit_in_bytes"),
        _ => return (0, None),
    };
    let number =
        |file: &str| -> Option<u64> { std::fs::read_to_string(top.join(path).join(file)).ok()?.trim().parse().ok() };
    (number(now).unwrap_or(0), number(limit).filter(|limit| (1..UNLIMITED).contains(limit)))
}
