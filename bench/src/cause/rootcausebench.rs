//! RootCauseBench: made-up incidents with an alert, deploys, metrics in long form, logs and traces.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use serde::Deserialize;
use tacit_collector::cause::{Change, Edge, Entity, Evidence, Metric, Series, Symptom};

use super::case::{self, Case, Each, cut, kind_of};
use super::table::{self, Table};

/// What the table calls it.
pub const SYSTEM: &str = "RootCauseBench";
/// Its folder.
pub const FOLDER: &str = "rootcausebench";

/// The reference is this share of the time from the first sample to the alert.
const REFERENCE_SHARE: f64 = 0.4;
/// Seconds after the alert that still belong to the incident.
const AFTER_S: i64 = 60;
/// Where the metrics of a scenario are.
const METRICS: &str = ".metrics.csv.zst";

#[derive(Debug, Deserialize)]
struct Scenario {
    alert: Alert,
    deploys: Vec<Deploy>,
}

#[derive(Debug, Deserialize)]
struct Alert {
    service: String,
    metric: String,
    fired_at: String,
}

#[derive(Debug, Deserialize)]
struct Deploy {
    timestamp: String,
    service: String,
    version: String,
}

#[derive(Debug, Deserialize)]
struct LogLine {
    timestamp: String,
    service: String,
    severity_text: String,
}

#[derive(Debug, Deserialize)]
struct Span {
    span_id: String,
    parent_id: Option<String>,
    service: String,
}

/// The id of a scenario.
#[must_use]
pub fn id(name: &str) -> String {
    format!("rcb-{name}")
}

/// The scenarios of a folder, by name.
///
/// # Errors
/// A folder that cannot be read.
pub fn names(folder: &Path) -> Result<BTreeSet<String>> {
    let mut names = BTreeSet::new();
    for entry in fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))? {
        let file = entry?.file_name();
        names.extend(file.to_str().and_then(|f| f.strip_suffix(METRICS)).map(str::to_owned));
    }
    Ok(names)
}

/// Gives every incident to `each`.
///
/// # Errors
/// Data that is incomplete or damaged; what `each` fails with.
pub fn cases(root: &Path, each: &mut Each<'_>) -> Result<()> {
    let folder = root.join(FOLDER);
    for name in names(&folder)? {
        let evidence = evidence(&folder, &name).with_context(|| name.clone())?;
        each(Case { system: SYSTEM.to_owned(), id: id(&name), evidence })?;
    }
    Ok(())
}

fn evidence(folder: &Path, name: &str) -> Result<Evidence> {
    let scenario: Scenario = case::json(&folder.join(format!("{name}.json.zst")))?;
    let fired = seconds(&scenario.alert.fired_at)?;
    let (mut entities, first) = metrics(&folder.join(format!("{name}{METRICS}")), fired)?;
    for (service, lines) in logs(&folder.join(format!("{name}.logs.ndjson.zst")))? {
        if let Some(entity) = entities.get_mut(&service) {
            let (times, shares): (Vec<i64>, Vec<f64>) = lines.into_iter().unzip();
            entity.log_errors = Some(around(&times, &shares, first, fired));
        }
    }
    let change = |deploy: Deploy| -> Result<Change> {
        let at_ms = seconds(&deploy.timestamp)?.saturating_mul(1000);
        Ok(Change { at_ms, entity: deploy.service, what: format!("deploy {}", deploy.version) })
    };
    Ok(Evidence {
        entities: entities.into_values().collect(),
        edges: edges(&folder.join(format!("{name}.traces.json.zst")))?,
        changes: scenario.deploys.into_iter().map(change).collect::<Result<_>>()?,
        symptom: Some(Symptom { kind: kind_of(&scenario.alert.metric), entity: scenario.alert.service }),
        onset_ms: fired.saturating_mul(1000),
        ..Evidence::default()
    })
}

/// Cuts a series: the reference is the first part of the time from the first sample to the alert.
fn around(times: &[i64], values: &[f64], first: i64, fired: i64) -> Series {
    let border = first as f64 + REFERENCE_SHARE * (fired - first) as f64;
    let before = |i: usize| times[i] as f64 <= border;
    cut(times, values, before, |i| !before(i) && times[i] <= fired + AFTER_S)
}

/// The services with their metrics, and when the first sample was taken.
fn metrics(path: &Path, fired: i64) -> Result<(BTreeMap<String, Entity>, i64)> {
    let table = Table::read(path)?;
    let (at, service, metric) = (table.column("timestamp")?, table.column("service")?, table.column("metric")?);
    let values = table.numbers(table.column("value")?)?;
    type Timed = (Vec<i64>, Vec<f64>);
    let mut series: BTreeMap<(&str, &str), Timed> = BTreeMap::new();
    for (row, value) in table.rows.iter().zip(values) {
        let of_metric = series.entry((row[service].as_str(), row[metric].as_str())).or_default();
        of_metric.0.push(seconds(&row[at])?);
        of_metric.1.push(value);
    }
    let first = series.values().flat_map(|(times, _)| times).copied().min().unwrap_or(fired);
    let mut entities: BTreeMap<String, Entity> = BTreeMap::new();
    for ((service, metric), (times, values)) in series {
        let entity = entities
            .entry(service.to_owned())
            .or_insert_with(|| Entity { name: service.to_owned(), ..Entity::default() });
        entity.metrics.push(Metric {
            name: metric.to_owned(),
            kind: kind_of(metric),
            unit: String::new(),
            series: around(&times, &values, first, fired),
        });
    }
    Ok((entities, first))
}

/// Share of lines that are errors, by service and minute.
fn logs(path: &Path) -> Result<BTreeMap<String, Vec<(i64, f64)>>> {
    let mut minutes: BTreeMap<String, BTreeMap<i64, (f64, f64)>> = BTreeMap::new();
    for (at, line) in table::text(path)?.lines().enumerate().filter(|(_, line)| !line.is_empty()) {
        let line: LogLine = serde_json::from_str(line).with_context(|| format!("{}:{}", path.display(), at + 1))?;
        let minute = seconds(&line.timestamp)?.div_euclid(60) * 60;
        let of_minute = minutes.entry(line.service).or_default().entry(minute).or_default();
        of_minute.0 += 1.0;
        if matches!(line.severity_text.as_str(), "ERROR" | "FATAL") {
            of_minute.1 += 1.0;
        }
    }
    let shares = |of_service: BTreeMap<i64, (f64, f64)>| -> Vec<(i64, f64)> {
        of_service.into_iter().map(|(at, (lines, errors))| (at, errors / lines)).collect()
    };
    Ok(minutes.into_iter().map(|(service, of_service)| (service, shares(of_service))).collect())
}

/// Who calls whom, by the traces.
fn edges(path: &Path) -> Result<Vec<Edge>> {
    let spans: Vec<Span> = case::json(path)?;
    let of_span: HashMap<&str, &str> = spans.iter().map(|s| (s.span_id.as_str(), s.service.as_str())).collect();
    let mut pairs: BTreeSet<(&str, &str)> = BTreeSet::new();
    for span in &spans {
        let parent = span.parent_id.as_deref().and_then(|p| of_span.get(p));
        pairs.extend(parent.map(|caller| (*caller, span.service.as_str())));
    }
    let edge = |(caller, callee): (&str, &str)| Edge {
        caller: caller.to_owned(),
        callee: callee.to_owned(),
        ..Edge::default()
    };
    Ok(pairs.into_iter().map(edge).collect())
}

/// Unix seconds of a time such as `2026-06-18T15:06:00Z`.
fn seconds(text: &str) -> Result<i64> {
    let time: jiff::Timestamp = text.parse().with_context(|| format!("{text:?} is not a time"))?;
    let seconds = time.as_second();
    ensure!((0..=i64::from(u32::MAX)).contains(&seconds), "{text:?} is not a time of our days");
    Ok(seconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read() {
        assert_eq!(seconds("2026-06-18T15:06:00Z").unwrap(), 1_781_795_160);
        assert!(seconds("yesterday").is_err());
    }

    #[test]
    fn the_reference_ends_before_the_alert_nears() {
        let series = around(&[0, 40, 41, 100, 160, 161], &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0], 0, 100);
        assert_eq!(series.reference(), [1.0, 2.0]);
        assert_eq!(series.window().iter().map(|p| p.value).collect::<Vec<_>>(), [3.0, 4.0, 5.0]);
    }
}
