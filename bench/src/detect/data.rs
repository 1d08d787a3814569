//! A folder of labelled series: `index.csv`, and per series `SOURCE/NAME.X.npy.zst` (values, `[D, T]` 32-bit floats) and
//! `SOURCE/NAME.y.npy.zst` (labels, `[T]` bytes, 1 is anomalous).

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail, ensure};

use super::npy;

/// Most values of a series; a mistyped index shall not fill the memory.
const VALUES_MAX: usize = 1 << 28;

/// A line of `index.csv`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The data set it comes from.
    pub source: String,
    /// Its name there.
    pub name: String,
    /// Number of points, `T`.
    pub points: usize,
    /// Number of metrics, `D`.
    pub metrics: usize,
    /// Points before it are for learning; only what follows is scored.
    pub train_end: usize,
    /// Seconds between points.
    pub period_s: u32,
    /// Largest buffer width of the volume under the surface.
    pub vus_window: usize,
}

/// What a detector may see of a series.
#[derive(Debug, Clone, PartialEq)]
pub struct Series {
    values: Vec<f32>,
    /// Number of points.
    pub points: usize,
    /// Number of metrics.
    pub metrics: usize,
    /// Seconds between points.
    pub period_s: u32,
    /// Where the part for learning ends: reference detectors are fitted before it.
    pub train_end: usize,
    /// Points in the most regular repetition of the first metric; one reference detector sets its window by it.
    pub cycle: usize,
}

impl Series {
    /// Values metric by metric, `[D, T]`.
    ///
    /// # Errors
    /// When there are not `metrics` of one length, or none.
    pub fn new(values: Vec<f32>, metrics: usize, period_s: u32, train_end: usize, cycle: usize) -> Result<Self> {
        ensure!(metrics > 0 && !values.is_empty() && values.len().is_multiple_of(metrics), "metrics of unequal length");
        let points = values.len() / metrics;
        ensure!((1..=points).contains(&train_end), "train_end {train_end} is not inside {points} points");
        Ok(Self { points, values, metrics, period_s, train_end, cycle })
    }

    /// All points of one metric.
    #[must_use]
    pub fn metric(&self, metric: usize) -> &[f32] {
        &self.values[metric * self.points..(metric + 1) * self.points]
    }

    /// All metrics at one point, into `row`.
    pub fn row(&self, at: usize, row: &mut [f32]) {
        for (value, metric) in row.iter_mut().zip(self.values.chunks_exact(self.points)) {
            *value = metric[at];
        }
    }
}

/// A data folder.
#[derive(Debug, Clone)]
pub struct Folder {
    root: PathBuf,
    /// Its series in the order of the index.
    pub entries: Vec<Entry>,
}

impl Folder {
    /// Reads the index; only these sources when any are named.
    ///
    /// # Errors
    /// An index that cannot be read or has a bad line; a source that is not there.
    pub fn open(root: &Path, sources: &[String]) -> Result<Self> {
        let path = root.join("index.csv");
        let table = Table::read(&path).context("--data names a folder with index.csv, see bench/README.md")?;
        let mut entries = Vec::with_capacity(table.rows.len());
        for row in &table.rows {
            entries.push(entry(&table, row)?);
        }
        let mut known: Vec<&str> = entries.iter().map(|e: &Entry| e.source.as_str()).collect();
        known.dedup();
        for source in sources {
            ensure!(
                known.contains(&source.as_str()),
                "--source {source}: {} has only {}",
                path.display(),
                known.join(", ")
            );
        }
        entries.retain(|e| sources.is_empty() || sources.contains(&e.source));
        ensure!(!entries.is_empty(), "{} lists no series", path.display());
        Ok(Self { root: root.to_owned(), entries })
    }

    /// Where a file of a source would be.
    #[must_use]
    pub fn path(&self, source: &str, file: &str) -> PathBuf {
        self.root.join(source).join(file)
    }

    /// The values of a series.
    ///
    /// # Errors
    /// A file that is missing, damaged or of another shape, or a value that is not a number.
    pub fn series(&self, entry: &Entry) -> Result<Series> {
        self.values_of(&entry.source, entry)
            .and_then(|values| Series::new(values, entry.metrics, entry.period_s, entry.train_end, entry.vus_window))
    }

    /// Values of the shape of `entry` from the file of its name in another source.
    ///
    /// # Errors
    /// As [`Folder::series`].
    pub fn values_of(&self, source: &str, entry: &Entry) -> Result<Vec<f32>> {
        let path = self.path(source, &format!("{}.X.npy.zst", entry.name));
        let values = npy::floats(&path, &[entry.metrics, entry.points])?;
        if let Some(at) = values.iter().position(|v| !v.is_finite()) {
            let (metric, point) = (at / entry.points, at % entry.points);
            bail!("{}: metric {metric} is {} at point {point}; fill gaps first", path.display(), values[at]);
        }
        Ok(values)
    }

    /// The labels of a series.
    ///
    /// # Errors
    /// As [`Folder::series`].
    pub fn labels(&self, entry: &Entry) -> Result<Vec<bool>> {
        let path = self.path(&entry.source, &format!("{}.y.npy.zst", entry.name));
        let labels = npy::bytes(&path, &[entry.points])?;
        if let Some(at) = labels.iter().position(|y| *y > 1) {
            bail!("{}: the label of point {at} is {}, neither 0 nor 1", path.display(), labels[at]);
        }
        Ok(labels.into_iter().map(|y| y == 1).collect())
    }
}

fn entry(table: &Table, row: &Row) -> Result<Entry> {
    let read = || -> Result<Entry> {
        Ok(Entry {
            source: plain_name(table.text(row, "source")?)?,
            name: plain_name(table.text(row, "name")?)?,
            points: table.number(row, "T")?,
            metrics: table.number(row, "D")?,
            train_end: table.number(row, "train_end")?,
            period_s: table.number(row, "period_s")?.try_into().context("period_s is too long")?,
            vus_window: table.number(row, "vus_window")?,
        })
    };
    let check = |e: Entry| -> Result<Entry> {
        let values = e.points.checked_mul(e.metrics).filter(|n| *n <= VALUES_MAX);
        ensure!(values.is_some_and(|n| n > 0), "{} points of {} metrics are none, or too many", e.points, e.metrics);
        ensure!((1..e.points).contains(&e.train_end), "train_end {} is not inside {} points", e.train_end, e.points);
        ensure!((1..=86_400).contains(&e.period_s), "period_s {} is not from 1 to 86400", e.period_s);
        ensure!(e.vus_window < e.points, "vus_window {} is longer than the series", e.vus_window);
        Ok(e)
    };
    read().and_then(check).with_context(|| format!("{}:{}", table.path.display(), row.line))
}

/// A name that stays inside its folder.
fn plain_name(text: &str) -> Result<String> {
    let plain = !text.is_empty() && !text.starts_with('.') && !text.contains(['/', '\\', '\0']);
    ensure!(plain, "{text:?} is no file name");
    Ok(text.to_owned())
}

/// A file of comma-separated values with a line of names first; no field may be quoted.
#[derive(Debug)]
pub struct Table {
    /// Where it was read.
    pub path: PathBuf,
    columns: Vec<String>,
    /// Its lines.
    pub rows: Vec<Row>,
}

/// A line of a table.
#[derive(Debug)]
pub struct Row {
    /// Its number in the file, from 1.
    pub line: usize,
    fields: Vec<String>,
}

impl Table {
    /// Reads a table.
    ///
    /// # Errors
    /// A file that cannot be read, is no text, or has a line with another number of fields than the first.
    pub fn read(path: &Path) -> Result<Self> {
        let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        let mut lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
        let (_, names) = lines.next().with_context(|| format!("{} is empty", path.display()))?;
        let split = |line: &str| line.split(',').map(|field| field.trim().to_owned()).collect::<Vec<String>>();
        let columns = split(names);
        let mut rows = Vec::new();
        for (at, line) in lines {
            let row = Row { line: at + 1, fields: split(line) };
            let place = format!("{}:{}", path.display(), row.line);
            ensure!(!line.contains('"'), "{place}: quoted fields are not supported");
            let (found, wanted) = (row.fields.len(), columns.len());
            ensure!(found == wanted, "{place}: {found} fields where the first line names {wanted}");
            rows.push(row);
        }
        Ok(Self { path: path.to_owned(), columns, rows })
    }

    /// A field by its column's name.
    ///
    /// # Errors
    /// When there is no such column.
    pub fn text<'a>(&self, row: &'a Row, column: &str) -> Result<&'a str> {
        let at = self.columns.iter().position(|c| c == column);
        let field = at.and_then(|at| row.fields.get(at));
        field.map(String::as_str).with_context(|| format!("{} has no column {column}", self.path.display()))
    }

    /// A whole number by its column's name.
    ///
    /// # Errors
    /// When there is no such column, or it holds something else.
    pub fn number(&self, row: &Row, column: &str) -> Result<usize> {
        let text = self.text(row, column)?;
        text.parse().with_context(|| format!("{column} is {text:?}, not a whole number"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: &str = "source,name,T,D,train_end,period_s,vus_window,test_events";

    fn open(lines: &[&str], sources: &[&str]) -> Result<Folder> {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("index.csv"), format!("{HEADER}\n{}\n", lines.join("\n"))).unwrap();
        Folder::open(folder.path(), &sources.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn the_index_is_read_by_its_column_names() {
        let folder = open(&["A,one,100,3,40,60,10,2", "B,two,50,1,20,300,5,0"], &["B"]).unwrap();
        let wanted = Entry {
            source: "B".into(),
            name: "two".into(),
            points: 50,
            metrics: 1,
            train_end: 20,
            period_s: 300,
            vus_window: 5,
        };
        assert_eq!(folder.entries, [wanted]);
    }

    #[test]
    fn every_bad_index_is_refused_with_its_line() {
        for (line, reason) in [
            ("A,one,100,3,40,60,10", "index.csv:2: 7 fields"),
            ("A,../one,100,3,40,60,10,2", "is no file name"),
            (".,one,100,3,40,60,10,2", "is no file name"),
            ("A,one,many,3,40,60,10,2", "T is \"many\""),
            ("A,one,-5,3,40,60,10,2", "T is \"-5\""),
            ("A,one,99999999999,99999999,40,60,10,2", "too many"),
            ("A,one,100,0,40,60,10,2", "are none"),
            ("A,one,100,3,100,60,10,2", "train_end 100"),
            ("A,one,100,3,40,0,10,2", "period_s 0"),
            ("A,one,100,3,40,60,100,2", "vus_window 100"),
            ("A,\"one\",100,3,40,60,10,2", "quoted"),
        ] {
            let error = format!("{:#}", open(&[line], &[]).unwrap_err());
            assert!(error.contains(reason), "{error:?} does not say {reason:?}");
        }
        let error = format!("{:#}", open(&["A,one,100,3,40,60,10,2"], &["C"]).unwrap_err());
        assert!(error.contains("--source C") && error.contains("has only A"), "{error}");
        let error = format!("{:#}", Folder::open(Path::new("/nowhere"), &[]).unwrap_err());
        assert!(error.contains("--data") && error.contains("/nowhere/index.csv"), "{error}");
    }

    #[test]
    fn rows_are_cut_across_the_metrics() {
        let series = Series::new(vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0], 2, 60, 1, 1).unwrap();
        let mut row = [0.0; 2];
        series.row(1, &mut row);
        assert_eq!((row, series.metric(1)), ([2.0, 5.0], [4.0, 5.0, 6.0].as_slice()));
        assert!(Series::new(vec![1.0; 5], 2, 60, 1, 1).is_err());
    }
}
