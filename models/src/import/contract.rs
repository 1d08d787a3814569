//! The input contract of models that were made elsewhere: which series are the columns, what is fed where a value is
//! missing, what happens on a node that lacks a series.
//!
//! Whatever shape a model was exported with, a package's graph takes one tensor `window [rows, columns]`, oldest row
//! first, series in the last axis; with `mask` the columns double: values on the left, and on the right 1 where the value
//! is present and 0 where it is missing. [`Binding`] fills it.

use serde::{Deserialize, Serialize};

use crate::manifest::{Columns, Manifest};

/// How the model that is imported wants its series.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Layout {
    /// One vector a node: all series together are one example.
    #[default]
    NodeVector,
    /// One row a series: each series is an example of its own, all of them one batch.
    RowPerSeries,
}

/// What is fed where a value is missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Missing {
    /// The last value that was there; zero before the first.
    #[default]
    Hold,
    /// Zero, which for standardised values is the usual.
    Zero,
    /// Nothing: the model does not judge a point in which a bound series has no value.
    Skip,
}

/// What happens on a node that lacks a series of the manifest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Lacking {
    /// The model is not activated there; the reason names the series.
    #[default]
    Refuse,
    /// The column is zero for ever, and missing in the mask.
    Fill,
}

/// What the output of a model that is imported means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Meaning {
    /// Scores.
    #[default]
    Score,
    /// The input as the model would have it: the score is the root mean square of the difference.
    Reconstruction,
}

/// How the model was exported. Only import reads it: a package's graph has one input and one output in the package's
/// own form, and its manifest has no such table.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Foreign {
    /// Name of the graph's output, when it has several.
    pub output: Option<String>,
    /// What it means.
    pub meaning: Meaning,
    /// The model's score falls when things get worse, as scikit-learn's do: it is negated.
    pub lower_is_worse: bool,
    /// Name of the graph's second input, when the mask is an input of its own.
    pub mask_input: Option<String>,
}

/// What a run of the model may cost, measured in the trial.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Budget {
    /// Longest run, 99 of 100, in microseconds of processor time.
    pub p99_us: u32,
    /// Memory beside that of the program, in bytes, loading included.
    pub memory_bytes: u64,
    /// Processor time to load it, in milliseconds.
    pub load_ms: u32,
}

impl Default for Budget {
    fn default() -> Self {
        Self { p99_us: 5_000, memory_bytes: 48 << 20, load_ms: 4_000 }
    }
}

impl Budget {
    /// The most that a manifest may ask for.
    pub const MOST: Self = Self { p99_us: 100_000, memory_bytes: 256 << 20, load_ms: 20_000 };
}

/// Where an imported model comes from; import writes it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Origin {
    /// SHA-256 of the file that was imported.
    pub sha256: String,
    /// What the file says made it.
    pub producer: String,
    /// What was rewritten.
    pub rewritten: Vec<String>,
    /// The runtime that computed the golden outputs.
    pub runtime: String,
}

/// A series that a node has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Series<'a> {
    /// Name and attributes as the dictionary prints them: `system.disk.io{system.device=sda}`.
    pub label: &'a str,
    /// Unit in UCUM notation.
    pub unit: &'a str,
}

/// Why a model cannot be used on a node.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BindError {
    /// The node has no such series.
    #[error("this node lacks {} of the model's series, first `{}`; `lacking = \"fill\"` would feed zeros", .missing, .first)]
    Lacking {
        /// How many.
        missing: usize,
        /// The first of them.
        first: String,
    },
    /// The node measures it in another unit.
    #[error("series `{label}` is measured in `{found}` here, the model was trained on `{expected}`")]
    Unit {
        /// The series.
        label: String,
        /// The node's unit.
        found: String,
        /// The model's unit.
        expected: String,
    },
    /// Nothing to feed.
    #[error("this node has none of the model's series")]
    Nothing,
}

/// Which series of a node feeds which column of a model.
#[derive(Debug, Clone, PartialEq)]
pub struct Binding {
    columns: Vec<Option<usize>>,
    held: Vec<f32>,
    missing: Missing,
    mask: bool,
}

impl Binding {
    /// Finds the columns of a model among the series of a node.
    ///
    /// # Errors
    /// A series that is not there or has another unit, as the manifest asks.
    pub fn new(manifest: &Manifest, series: &[Series<'_>]) -> Result<Self, BindError> {
        let input = &manifest.input;
        let columns: Vec<Option<usize>> = match &input.columns {
            Columns::AllSeries => (0..series.len()).map(Some).collect(),
            Columns::Named(names) => names.iter().map(|n| series.iter().position(|s| s.label == n)).collect(),
        };
        if let Columns::Named(names) = &input.columns {
            let lacking: Vec<&String> =
                names.iter().zip(&columns).filter(|(_, c)| c.is_none()).map(|(n, _)| n).collect();
            if let (Lacking::Refuse, Some(first)) = (input.lacking, lacking.first()) {
                return Err(BindError::Lacking { missing: lacking.len(), first: (*first).clone() });
            }
            for ((expected, column), label) in input.units.iter().zip(&columns).zip(names) {
                if let Some(found) = column.map(|i| series[i].unit).filter(|found| found != expected) {
                    let (label, found, expected) = (label.clone(), found.to_owned(), expected.clone());
                    return Err(BindError::Unit { label, found, expected });
                }
            }
        }
        if columns.iter().all(Option::is_none) {
            return Err(BindError::Nothing);
        }
        Ok(Self { held: vec![0.0; columns.len()], columns, missing: input.missing, mask: input.mask })
    }

    /// For each column which of the bound series feeds it.
    #[must_use]
    pub fn columns(&self) -> &[Option<usize>] {
        &self.columns
    }

    /// Columns of the graph's input: the series, twice with a mask.
    #[must_use]
    pub fn width(&self) -> usize {
        self.columns.len() * if self.mask { 2 } else { 1 }
    }

    /// Makes one row of the input from the values of all series of the node, in the order they were bound; a value that
    /// is not finite is missing. Answers whether the model should judge this point. Nothing is allocated.
    ///
    /// # Panics
    /// When `row` is not [`Binding::width`] long.
    pub fn fill(&mut self, values: &[f32], row: &mut [f32]) -> bool {
        assert_eq!(row.len(), self.width(), "a row has one value a column");
        let (left, right) = row.split_at_mut(self.columns.len());
        let mut judge = true;
        for (i, column) in self.columns.iter().enumerate() {
            let value = column.and_then(|c| values.get(c).copied()).filter(|v| v.is_finite());
            if let Some(value) = value {
                self.held[i] = value;
            }
            left[i] = match (value, self.missing) {
                (Some(value), _) => value,
                (None, Missing::Hold | Missing::Skip) => self.held[i],
                (None, Missing::Zero) => 0.0,
            };
            judge &= value.is_some() || column.is_none() || self.missing != Missing::Skip;
            if self.mask {
                right[i] = f32::from(value.is_some());
            }
        }
        judge
    }
}
