//! Nezha: four days of two benchmark systems with faults injected one after another, a point a minute.
//!
//! An incident is compared with the day's other minutes, faults of others among them: that is what a running collector has. Only minutes
//! around faults were traced, so edges and logs are compared with the other traced minutes.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use serde::Deserialize;
use tacit_collector::cause::{Edge, EdgeKind, EdgeMetric, Entity, Evidence, Metric, Series};

use super::case::{self, Case, Each, cut, kind_of};
use super::petshop::graph;
use super::table::Table;

/// Its folder.
pub const FOLDER: &str = "nezha";

/// Seconds of an incident at most.
const WINDOW_S: i64 = 300;
/// The minute that a fault begins in belongs to it when it began at most so many seconds before.
const BEFORE_S: i64 = 20;
/// Traced minutes from so many seconds before a fault are its own.
const TRACED_BEFORE_S: i64 = 60;
/// An incident ends so many seconds before the next begins.
const GAP_S: i64 = 30;
/// From `TRACED_BEFORE_S` before to so long after a fault, a minute is no reference for it.
const OWN_S: i64 = 480;
/// The segment that is left out of the reference: a collector that runs does not know when all is well.
const QUIET: &str = "quiet";

#[derive(Debug, Deserialize)]
struct Incident {
    id: String,
    system: String,
    day: String,
    segment: String,
    inject_time: i64,
    next_inject_time: Option<i64>,
}

/// Gives every incident to `each`, day by day.
///
/// # Errors
/// Data that is incomplete or damaged; what `each` fails with.
pub fn cases(root: &Path, each: &mut Each<'_>) -> Result<()> {
    let root = root.join(FOLDER);
    let incidents: Vec<Incident> = case::json(&root.join("incidents.json"))?;
    for incident in &incidents {
        let at = incident.inject_time;
        ensure!((0..=i64::from(u32::MAX)).contains(&at), "{}: inject_time {at} is not a time of our days", incident.id);
    }
    let days: BTreeSet<&str> = incidents.iter().map(|i| i.day.as_str()).collect();
    for day in days {
        let read = Day::read(&root, day).with_context(|| format!("the day {day}"))?;
        for incident in incidents.iter().filter(|i| i.day == day) {
            // A fault in a hole of the recording is no incident that anybody could see.
            if let Some(evidence) = read.evidence(incident) {
                each(Case { system: incident.system.clone(), id: incident.id.clone(), evidence })?;
            }
        }
    }
    Ok(())
}

/// All of a day.
struct Day {
    times: Vec<i64>,
    segments: Vec<String>,
    columns: Vec<Column>,
    graph: Vec<Edge>,
    gaps: BTreeMap<(String, String), Vec<f64>>,
    traced: BTreeMap<(String, String), Calls>,
    logs: BTreeMap<String, Errors>,
}

/// A metric of a service over the day.
struct Column {
    service: String,
    metric: String,
    values: Vec<f64>,
}

/// What was traced of an edge.
#[derive(Default)]
struct Calls {
    times: Vec<i64>,
    /// Client span less server span, in seconds.
    gap_s: Vec<f64>,
}

/// Share of error lines of a service.
#[derive(Default)]
struct Errors {
    times: Vec<i64>,
    share: Vec<f64>,
}

impl Day {
    fn read(root: &Path, day: &str) -> Result<Self> {
        let table = Table::read(&root.join(format!("{day}-metrics.csv.zst")))?;
        let segment = table.column("segment")?;
        let mut columns = Vec::new();
        for (i, name) in table.columns.iter().enumerate() {
            let Some((service, metric)) = name.rsplit_once('|') else { continue };
            if service == "_entry" || service.starts_with("edge:") || metric.starts_with("node_") {
                continue;
            }
            let (service, metric) = (service.to_owned(), metric.to_owned());
            columns.push(Column { service, metric, values: table.numbers(i)? });
        }
        Ok(Self {
            times: table.whole(table.column("time")?)?,
            segments: table.rows.iter().map(|row| row[segment].clone()).collect(),
            columns,
            gaps: gaps(&table)?,
            graph: graph(&root.join(format!("{day}-graph.csv")))?,
            traced: traced(&Table::read(&root.join(format!("{day}-edges.csv.zst")))?)?,
            logs: logs(&Table::read(&root.join(format!("{day}-logcounts.csv.zst")))?)?,
        })
    }

    fn evidence(&self, incident: &Incident) -> Option<Evidence> {
        let begin = incident.inject_time;
        let limit = incident.next_inject_time.map_or(i64::MAX, |next| next.saturating_sub(GAP_S));
        let end = limit.min(begin.saturating_add(WINDOW_S));
        let window =
            |i: usize| (begin - BEFORE_S..=end).contains(&self.times[i]) && self.segments[i] == incident.segment;
        let own = |i: usize| (begin - TRACED_BEFORE_S..=begin + OWN_S).contains(&self.times[i]);
        let reference = |i: usize| self.segments[i] != QUIET && !own(i);
        if !(0..self.times.len()).any(window) {
            return None;
        }
        let mut entities: BTreeMap<&str, Entity> = BTreeMap::new();
        for column in &self.columns {
            let entity = entities
                .entry(&column.service)
                .or_insert_with(|| Entity { name: column.service.clone(), ..Entity::default() });
            entity.metrics.push(Metric {
                name: column.metric.clone(),
                kind: kind_of(&column.metric),
                unit: if column.metric.ends_with("_s") { "s".to_owned() } else { String::new() },
                series: cut(&self.times, &column.values, reference, window),
            });
        }
        let traced = |times: &[i64], values: &[f64]| {
            let inside = |i: usize| (begin - TRACED_BEFORE_S..=end).contains(&times[i]);
            cut(times, values, |i| !inside(i), inside)
        };
        for (service, errors) in &self.logs {
            if let Some(entity) = entities.get_mut(service.as_str()) {
                entity.log_errors = Some(traced(&errors.times, &errors.share));
            }
        }
        let mut edges = self.graph.clone();
        edges.extend(self.gaps.iter().map(|(ends, gap_s)| late(ends, cut(&self.times, gap_s, reference, window))));
        edges.extend(self.traced.iter().map(|(ends, calls)| late(ends, traced(&calls.times, &calls.gap_s))));
        Some(Evidence {
            entities: entities.into_values().collect(),
            edges,
            onset_ms: begin.saturating_mul(1000),
            ..Evidence::default()
        })
    }
}

/// An edge with the time that its calls spend on the way.
fn late((caller, callee): &(String, String), series: Series) -> Edge {
    let metrics = vec![EdgeMetric { kind: EdgeKind::RoundTrip, series }];
    Edge { caller: caller.clone(), callee: callee.clone(), link: None, metrics }
}

/// Median latency as the caller sees it less as the callee sees it, in seconds; only some days have it.
fn gaps(table: &Table) -> Result<BTreeMap<(String, String), Vec<f64>>> {
    let mut gaps = BTreeMap::new();
    for (i, name) in table.columns.iter().enumerate() {
        let ends = name.strip_prefix("edge:").and_then(|rest| rest.strip_suffix("|src_p50"));
        let Some((caller, callee)) = ends.and_then(|ends| ends.split_once('>')) else { continue };
        let Ok(other) = table.column(&format!("edge:{caller}>{callee}|dst_p50")) else { continue };
        let (by_caller, by_callee) = (table.numbers(i)?, table.numbers(other)?);
        let gap = by_caller.iter().zip(&by_callee).map(|(a, b)| a - b).collect();
        gaps.insert((caller.to_owned(), callee.to_owned()), gap);
    }
    Ok(gaps)
}

fn traced(table: &Table) -> Result<BTreeMap<(String, String), Calls>> {
    let times = table.whole(table.column("time")?)?;
    let gaps = table.numbers(table.column("gap_ms_mean")?)?;
    let (caller, callee) = (table.column("src")?, table.column("dst")?);
    let mut edges: BTreeMap<(String, String), Calls> = BTreeMap::new();
    for (i, row) in table.rows.iter().enumerate() {
        let edge = edges.entry((row[caller].clone(), row[callee].clone())).or_default();
        edge.times.push(times[i]);
        edge.gap_s.push(gaps[i] / 1000.0);
    }
    Ok(edges)
}

fn logs(table: &Table) -> Result<BTreeMap<String, Errors>> {
    let times = table.whole(table.column("time")?)?;
    let lines = table.numbers(table.column("lines")?)?;
    let errors = table.numbers(table.column("error_lines")?)?;
    let service = table.column("service")?;
    let mut by_service: BTreeMap<String, Errors> = BTreeMap::new();
    for (i, row) in table.rows.iter().enumerate() {
        let of_service = by_service.entry(row[service].clone()).or_default();
        of_service.times.push(times[i]);
        of_service.share.push(errors[i] / lines[i].max(1.0));
    }
    Ok(by_service)
}
