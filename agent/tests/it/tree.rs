//! Recorded trees (`tests/fixtures`) that a test may change, and sources that read them.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use tacit_agent::clock::Tick;
use tacit_agent::source::{Dictionary, Root, Sample, Sampled, SeriesTable, Slot, Source, SourceError};
use tacit_wire::SeriesDef;
use tacit_wire::semconv::Metric;
use tempfile::TempDir;

pub const START: Tick = Tick { mono_ms: 1_000_000, wall_ms: 1_700_000_000_000 };
const SERIES: usize = 512;

/// A copy of a recorded tree that a test may change.
pub struct Tree(TempDir);

impl Tree {
    pub fn of(board: &str) -> Self {
        let tree = Self(tempfile::tempdir().expect("a folder"));
        copy(&fixture(board), tree.0.path());
        tree
    }

    pub fn root(&self) -> Root {
        Root::new(self.0.path())
    }

    pub fn path(&self, path: &str) -> PathBuf {
        self.0.path().join(path)
    }

    pub fn write(&self, path: &str, text: impl AsRef<[u8]>) {
        std::fs::write(self.path(path), text).expect("the folder is there");
    }

    pub fn read(&self, path: &str) -> String {
        std::fs::read_to_string(self.path(path)).expect("it is there")
    }

    /// Rewrites the lines for which `change` has another.
    pub fn edit(&self, path: &str, mut change: impl FnMut(&str) -> Option<String>) {
        let lines =
            self.read(path).lines().map(|l| change(l).unwrap_or_else(|| l.to_owned()) + "\n").collect::<String>();
        self.write(path, lines);
    }

    /// Takes the lines away that have `name` among their first three words.
    pub fn cut(&self, path: &str, name: &str) {
        let text = self.read(path);
        let stays = |line: &&str| place_of(name, line).is_none();
        self.write(path, text.lines().filter(stays).map(|l| format!("{l}\n")).collect::<String>());
    }

    /// Adds to the number that is `column` words behind `name` (among the first three words of its line).
    pub fn add(&self, path: &str, name: &str, column: usize, by: i64) {
        let mut found = 0;
        self.edit(path, |line| {
            let at = place_of(name, line)? + column;
            found += 1;
            Some(raised(line, at, by))
        });
        assert_eq!(found, 1, "{path} has one line {name}");
    }

    /// The same in files that pair a line of names with a line of numbers.
    pub fn add_field(&self, path: &str, group: &str, field: &str, by: i64) {
        let mut at = None;
        let mut found = 0;
        self.edit(path, |line| {
            let mut words = line.split_whitespace();
            if words.next() != Some(group) {
                return None;
            }
            if at.is_none() {
                at = words.position(|w| w == field).map(|i| i + 1);
                return None;
            }
            found += 1;
            Some(raised(line, at?, by))
        });
        assert_eq!(found, 1, "{path} has {group} {field}");
    }
}

/// Where `name` is among the first three words, with or without a colon.
fn place_of(name: &str, line: &str) -> Option<usize> {
    line.split_whitespace().take(3).position(|w| w.strip_suffix(':').unwrap_or(w) == name)
}

/// The line with the number of its word `at` raised; the number may follow `key=`.
fn raised(line: &str, at: usize, by: i64) -> String {
    let mut words: Vec<String> = line.split_whitespace().map(ToOwned::to_owned).collect();
    let (key, number) = words[at].rsplit_once('=').map_or(("", &*words[at]), |(k, n)| (k, n));
    let number = number.parse::<u64>().expect("a number").checked_add_signed(by).expect("it stays a counter");
    words[at] = if key.is_empty() { number.to_string() } else { format!("{key}={number}") };
    words.join(" ")
}

pub fn fixture(board: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(board)
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("a folder");
    for entry in std::fs::read_dir(from).expect("a folder").map(|e| e.expect("an entry")) {
        let to = to.join(entry.file_name());
        if entry.file_type().expect("a type").is_dir() {
            copy(&entry.path(), &to);
        } else {
            std::fs::copy(entry.path(), &to).expect("a copy");
        }
    }
}

/// A source with its table and frame.
pub struct Rig {
    source: Box<dyn Source>,
    pub table: SeriesTable,
    values: Vec<f32>,
    dictionary: Arc<Dictionary>,
    at: Tick,
}

impl Rig {
    pub fn new(source: impl Source + 'static) -> Self {
        Self::boxed(Box::new(source))
    }

    pub fn boxed(source: Box<dyn Source>) -> Self {
        let (table, values) = (SeriesTable::new(SERIES), vec![f32::NAN; SERIES]);
        Self { source, table, values, dictionary: Arc::default(), at: START }
    }

    /// One sample, two seconds after the last.
    pub fn sample(&mut self) -> Result<Sampled, SourceError> {
        self.at = self.at.plus_ms(2000);
        self.values.fill(f32::NAN);
        let sampled = self.source.sample(&mut Sample { at: self.at, table: &mut self.table, values: &mut self.values });
        if let Some(changed) = self.table.publish() {
            self.dictionary = changed;
        }
        sampled
    }

    /// A sample of a tree that is as it should be.
    pub fn good(&mut self) -> &mut Self {
        assert_eq!(self.sample().expect("a good tree"), Sampled::Data);
        self
    }

    /// Every series with its value.
    pub fn series(&self) -> impl Iterator<Item = (&SeriesDef, f32)> {
        self.dictionary.entries.iter().map(|e| (&e.def, self.values[e.slot.index()]))
    }

    fn find(&self, metric: &Metric, attributes: &[&str]) -> Option<&SeriesDef> {
        let is = |d: &SeriesDef| {
            d.name == metric.name && d.attributes.iter().map(|a| &*a.value).eq(attributes.iter().copied())
        };
        self.series().map(|(def, _)| def).find(|def| is(def))
    }

    /// The value of a series; `None` when there is no such series.
    pub fn value(&self, metric: &Metric, attributes: &[&str]) -> Option<f32> {
        self.find(metric, attributes).map(|def| self.values[usize::from(def.id.0)])
    }

    /// The slot of a series.
    pub fn slot(&self, metric: &Metric, attributes: &[&str]) -> Option<Slot> {
        let id = self.find(metric, attributes)?.id;
        self.dictionary.entries.iter().map(|e| e.slot).find(|slot| slot.id() == id)
    }

    /// Every series with its value, sorted.
    pub fn lines(&self) -> String {
        let mut lines: Vec<String> =
            self.series().map(|(def, value)| format!("{} [{}] = {value}", def.label(), def.unit)).collect();
        lines.sort();
        lines.join("\n")
    }
}
