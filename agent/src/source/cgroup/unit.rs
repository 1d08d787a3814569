//! One unit or container: its held files, counters and series.

use std::path::{Path, PathBuf};

use tacit_wire::semconv::{self, Metric};

use super::discover::{Found, Layout};
use super::parse;
use crate::source::{ProcFile, Rate, Sample, SeriesTable, Slot, SourceError, Width};

/// A unit or container that is sampled.
#[derive(Debug)]
pub struct Unit {
    /// Its name.
    pub name: String,
    /// Its path below the top of the tree.
    pub path: String,
    files: Vec<Held>,
    /// Memory limit and the series of the share used of it.
    limit: Option<(u64, Slot)>,
}

/// A held file, and what becomes of it.
#[derive(Debug)]
struct Held {
    file: ProcFile,
    kind: Kind,
    slots: [Slot; 2],
    rates: [Rate; 2],
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// v2 `cpu.stat`: use and, with a quota, throttling, both in µs.
    CpuStat,
    /// v1 `cpuacct.usage` in ns.
    CpuUsage,
    /// v1 `cpu.stat`: throttling in ns; there is one only with a quota.
    Throttled,
    Memory,
    IoStat,
    Blkio,
    Tasks,
    Pressure,
}

/// The unit's files, by layout: path, expected length, kind, and the series it feeds.
type Plan<'a> = Vec<(PathBuf, usize, Kind, Vec<(&'a Metric, Option<(&'a str, &'a str)>)>)>;

impl Unit {
    /// Opens the files that exist and registers their series.
    pub fn open(layout: &Layout, found: &Found, table: &mut SeriesTable) -> Self {
        let plan = match layout {
            Layout::V2(top) => v2(&top.join(&found.path)),
            Layout::V1(v1) => v1_plan(v1, &found.path),
            Layout::None => Vec::new(),
        };
        let mut files = Vec::with_capacity(plan.len());
        for (path, expected, kind, series) in plan {
            let mut file = ProcFile::new(path, expected);
            // A pressure file that is turned off is there and cannot be read.
            if file.read().is_err() {
                continue;
            }
            let mut slots = [Slot::NONE; 2];
            for (slot, (metric, extra)) in slots.iter_mut().zip(series) {
                let name = ("cgroup.name", found.name.as_str());
                *slot = match extra {
                    Some(extra) => table.register(metric, &[name, extra]),
                    None => table.register(metric, &[name]),
                };
            }
            files.push(Held { file, kind, slots, rates: [Rate::default(); 2] });
        }
        let mut unit = Self { name: found.name.clone(), path: found.path.clone(), files, limit: None };
        unit.set_limit(found.limit, table);
        unit
    }

    /// Whether there is nothing to sample.
    pub fn is_empty(&self) -> bool {
        self.files.is_empty()
    }

    /// Takes a memory limit that was set or removed meanwhile.
    pub fn set_limit(&mut self, limit: Option<u64>, table: &mut SeriesTable) {
        self.limit = match (limit, self.limit) {
            (Some(bytes), Some((_, slot))) => Some((bytes, slot)),
            (Some(bytes), None) if self.files.iter().any(|f| f.kind == Kind::Memory) => {
                let name = [("cgroup.name", self.name.as_str())];
                Some((bytes, table.register(&semconv::CGROUP_MEMORY_UTILIZATION, &name)))
            }
            (None, Some((_, slot))) => {
                table.retire(slot);
                None
            }
            (_, None) => None,
        };
    }

    /// Reads all files; a file that ended is an error: the unit is gone.
    pub fn sample(&mut self, out: &mut Sample<'_>) -> Result<(), SourceError> {
        for held in &mut self.files {
            let text = held.file.read()?;
            let values = values(held.kind, text, &mut held.rates, out);
            for (slot, value) in held.slots.into_iter().zip(values) {
                out.set(slot, value);
            }
            if held.kind == Kind::Memory
                && let Some((limit, slot)) = self.limit
            {
                out.set(slot, values[0] / limit as f32);
            }
        }
        Ok(())
    }

    /// Gives the slots back.
    pub fn retire(self, table: &mut SeriesTable) {
        let limit = self.limit.map(|(_, slot)| slot);
        for slot in self.files.iter().flat_map(|f| f.slots).chain(limit).filter(|s| *s != Slot::NONE) {
            table.retire(slot);
        }
    }
}

/// What a file's text says; a text of another form gives no value.
fn values(kind: Kind, text: &[u8], rates: &mut [Rate; 2], out: &Sample<'_>) -> [f32; 2] {
    let at = out.at;
    let gauge = |value: Option<u64>| [value.map_or(f32::NAN, |v| v as f32), f32::NAN];
    let mut share = |i: usize, value: Option<u64>, of: f32| {
        let rate: &mut Rate = &mut rates[i];
        value.map_or(f32::NAN, |v| rate.per_second(v, at, Width::Bits64) / of)
    };
    match kind {
        Kind::CpuStat => {
            [share(0, parse::keyed(text, b"usage_usec"), 1e6), share(1, parse::keyed(text, b"throttled_usec"), 1e6)]
        }
        Kind::CpuUsage => [share(0, parse::single(text), 1e9), f32::NAN],
        Kind::Throttled => [share(0, parse::keyed(text, b"throttled_time"), 1e9), f32::NAN],
        Kind::Pressure => [share(0, parse::pressure(text), 1e6), f32::NAN],
        Kind::Memory | Kind::Tasks => gauge(parse::single(text)),
        Kind::IoStat | Kind::Blkio => {
            let sums = if kind == Kind::IoStat { parse::io_stat(text) } else { parse::blkio(text) };
            [share(0, sums.map(|s| s[0]), 1.0), share(1, sums.map(|s| s[1]), 1.0)]
        }
    }
}

fn io_series<'a>() -> Vec<(&'a Metric, Option<(&'a str, &'a str)>)> {
    ["read", "write"].map(|way| (&semconv::CGROUP_IO, Some(("disk.io.direction", way)))).to_vec()
}

fn pressures(folder: &Path, plan: &mut Plan<'_>) {
    for resource in ["cpu", "memory", "io"] {
        let series = vec![(&semconv::CGROUP_PRESSURE, Some(("cgroup.resource", resource)))];
        plan.push((folder.join(format!("{resource}.pressure")), 256, Kind::Pressure, series));
    }
}

fn first_line(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_default().lines().next().unwrap_or_default().to_owned()
}

fn v2<'a>(folder: &Path) -> Plan<'a> {
    let mut cpu = vec![(&semconv::CGROUP_CPU, None)];
    let quota = first_line(&folder.join("cpu.max"));
    if !quota.is_empty() && !quota.starts_with("max") {
        cpu.push((&semconv::CGROUP_CPU_THROTTLED, None));
    }
    let mut plan: Plan<'a> = vec![
        (folder.join("cpu.stat"), 512, Kind::CpuStat, cpu),
        (folder.join("memory.current"), 64, Kind::Memory, vec![(&semconv::CGROUP_MEMORY, None)]),
        (folder.join("io.stat"), 512, Kind::IoStat, io_series()),
        (folder.join("pids.current"), 64, Kind::Tasks, vec![(&semconv::CGROUP_TASKS, None)]),
    ];
    pressures(folder, &mut plan);
    plan
}

fn v1_plan<'a>(v1: &super::discover::V1, path: &str) -> Plan<'a> {
    let mut plan: Plan<'a> = Vec::new();
    let mut add = |tree: &Option<PathBuf>, file: &str, expected, kind, series| {
        if let Some(tree) = tree {
            plan.push((tree.join(path).join(file), expected, kind, series));
        }
    };
    add(&v1.cpuacct, "cpuacct.usage", 64, Kind::CpuUsage, vec![(&semconv::CGROUP_CPU, None)]);
    let quota = v1.cpu.as_ref().map(|cpu| first_line(&cpu.join(path).join("cpu.cfs_quota_us"))).unwrap_or_default();
    if !quota.is_empty() && !quota.starts_with('-') {
        add(&v1.cpu, "cpu.stat", 256, Kind::Throttled, vec![(&semconv::CGROUP_CPU_THROTTLED, None)]);
    }
    add(&v1.memory, "memory.usage_in_bytes", 64, Kind::Memory, vec![(&semconv::CGROUP_MEMORY, None)]);
    add(&v1.blkio, "blkio.throttle.io_service_bytes", 1024, Kind::Blkio, io_series());
    add(&v1.pids, "pids.current", 64, Kind::Tasks, vec![(&semconv::CGROUP_TASKS, None)]);
    if let Some(unified) = &v1.unified {
        pressures(&unified.join(path), &mut plan);
    }
    plan
}
