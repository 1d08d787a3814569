//! Which metrics caused each event, where a data set says so.
//!
//! - `SOURCE/NAME.dims.txt`: lines `start-end:metric,metric,…`, metrics from 1, points from 0 at `train_end`. In SMD the end is
//!   the first point after the event, in ASD its last; other sources are read as ASD.
//! - `SOURCE/injections.csv`: faults injected into the series of another source. It names the metrics in words that the
//!   arrays do not have, so they are found by comparing the two: only injected ones differ.

use std::fs;
use std::ops::Range;

use anyhow::{Context as _, Result, ensure};

use super::data::{Entry, Folder, Table};

/// Sources with injected faults, and where the same series are without them.
const INJECTED: [(&str, &str); 1] = [("EXI", "EXQ")];

/// Sources whose `dims.txt` ends are the first point after the event.
const END_EXCLUDED: [&str; 1] = ["SMD"];

/// An event and the metrics behind it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cause {
    /// Points of the event, counted from `train_end`.
    pub points: Range<usize>,
    /// The metrics, from 0, in order, at least one.
    pub metrics: Vec<usize>,
}

/// Whether causes are known for a series. Only looks for files, and reads none.
#[must_use]
pub fn are_known(folder: &Folder, entry: &Entry) -> bool {
    entry.metrics > 1 && (dims_path(folder, entry).exists() || twin(folder, entry).is_some())
}

/// The causes of a series, in the order of the events.
///
/// # Errors
/// A file that cannot be read or has a bad line.
pub fn read(folder: &Folder, entry: &Entry) -> Result<Vec<Cause>> {
    if let Some(twin) = twin(folder, entry) {
        return injected(folder, entry, twin);
    }
    let path = dims_path(folder, entry);
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let end_excluded = END_EXCLUDED.contains(&entry.source.as_str());
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    lines
        .map(|(at, line)| {
            let place = || format!("{}:{}: {line:?}", path.display(), at + 1);
            dims_line(line, end_excluded, entry).with_context(place)
        })
        .collect()
}

fn dims_path(folder: &Folder, entry: &Entry) -> std::path::PathBuf {
    folder.path(&entry.source, &format!("{}.dims.txt", entry.name))
}

/// The source that has the same series undisturbed.
fn twin(folder: &Folder, entry: &Entry) -> Option<&'static str> {
    let (_, twin) = INJECTED.into_iter().find(|(source, _)| *source == entry.source)?;
    let there = folder.path(twin, &format!("{}.X.npy.zst", entry.name)).exists();
    (there && folder.path(&entry.source, "injections.csv").exists()).then_some(twin)
}

fn dims_line(line: &str, end_excluded: bool, entry: &Entry) -> Result<Cause> {
    let (range, metrics) = line.trim().split_once(':').context("there is no ':' before the metrics")?;
    let (start, end) = range.split_once('-').context("there is no '-' in the range")?;
    let (start, end): (usize, usize) = (start.parse()?, end.parse()?);
    let points = start..if end_excluded { end } else { end.saturating_add(1) };
    let test = entry.points - entry.train_end;
    ensure!(!points.is_empty() && points.end <= test, "the range is not inside the {test} points after train_end");
    let number = |text: &str| -> Result<usize> {
        let metric: usize = text.trim().parse()?;
        ensure!((1..=entry.metrics).contains(&metric), "metric {metric} is not from 1 to {}", entry.metrics);
        Ok(metric - 1)
    };
    let mut metrics = metrics.split(',').map(number).collect::<Result<Vec<_>>>()?;
    metrics.sort_unstable();
    metrics.dedup();
    Ok(Cause { points, metrics })
}

fn injected(folder: &Folder, entry: &Entry, twin: &str) -> Result<Vec<Cause>> {
    let table = Table::read(&folder.path(&entry.source, "injections.csv"))?;
    let (faulty, clean) = (folder.values_of(&entry.source, entry)?, folder.values_of(twin, entry)?);
    let mut causes = Vec::new();
    for row in &table.rows {
        if table.text(row, "name")? != entry.name {
            continue;
        }
        let place = || format!("{}:{}", table.path.display(), row.line);
        let (start, end) =
            (table.number(row, "start").with_context(place)?, table.number(row, "end").with_context(place)?);
        ensure!(start < end && end <= entry.points, "{}: {start}..{end} is not inside the series", place());
        if start < entry.train_end {
            continue;
        }
        let differs = |metric: &usize| {
            let at = metric * entry.points + start..metric * entry.points + end;
            faulty[at.clone()] != clean[at]
        };
        let metrics: Vec<usize> = (0..entry.metrics).filter(differs).collect();
        // A metric that was flat anyway does not change when it gets stuck; if none did, there is nothing to name.
        if !metrics.is_empty() {
            causes.push(Cause { points: start - entry.train_end..end - entry.train_end, metrics });
        }
    }
    Ok(causes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry() -> Entry {
        Entry {
            source: "ASD".into(),
            name: "one".into(),
            points: 100,
            metrics: 4,
            train_end: 40,
            period_s: 60,
            vus_window: 5,
        }
    }

    #[test]
    fn a_line_is_a_range_and_its_metrics() {
        let wanted = |points| Cause { points, metrics: vec![0, 2] };
        assert_eq!(dims_line("7-9:3,1,3", false, &entry()).unwrap(), wanted(7..10));
        assert_eq!(dims_line("7-9:3,1", true, &entry()).unwrap(), wanted(7..9));
        assert_eq!(dims_line("59-59:1,3", false, &entry()).unwrap(), wanted(59..60));
    }

    #[test]
    fn every_bad_line_is_refused() {
        for line in [
            "",
            "7-9",
            "7:1",
            "9-7:1",
            "7-60:1",
            "7-9:0",
            "7-9:5",
            "7-9:",
            "x-9:1",
            "-1-9:1",
            "7-18446744073709551615:1",
        ] {
            assert!(dims_line(line, false, &entry()).is_err(), "{line:?} was read");
        }
        assert!(dims_line("7-7:1", true, &entry()).is_err(), "an empty range was read");
    }
}
