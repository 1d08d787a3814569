//! `manifest.toml` of a model package: what the model takes, how its input is prepared, what its output means.
//!
//! An unknown key, a feature that does not exist or a shape that does not fit is refused when the package is read, with
//! the name of what is wrong.

use serde::{Deserialize, Serialize};

use crate::import::contract::{Budget, Foreign, Lacking, Layout, Missing, Origin};
use crate::runtime::{Limits, MAX_MODEL_BYTES};
use crate::whiten::WINDOW;

/// Why a manifest is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ManifestError {
    /// Not TOML, an unknown key or a value of the wrong kind; the message has the line.
    #[error("manifest.toml: {0}")]
    Syntax(String),
    /// A value that cannot be.
    #[error("manifest.toml: `{key}` is {found}, expected {expected}")]
    Value {
        /// The key, with its table.
        key: &'static str,
        /// What it is.
        found: String,
        /// What is allowed.
        expected: String,
    },
}

/// A model package.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// Name, `[a-z0-9-]{1,36}`.
    pub name: String,
    /// Version, `major.minor.patch`.
    pub version: String,
    /// Where the graph comes from.
    pub format: Format,
    /// The one input.
    pub input: Input,
    /// The one output.
    pub output: Output,
    /// How scores become verdicts.
    pub decision: Decision,
    /// What a run may cost.
    #[serde(default)]
    pub budget: Budget,
    /// How a model made elsewhere was exported; a finished package has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub foreign: Option<Foreign>,
    /// Where an imported model comes from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<Origin>,
    /// Inputs with known outputs, checked when the package is loaded.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub golden: Vec<Golden>,
}

/// Where the graph comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Format {
    /// A file `model.onnx` in the package.
    Onnx,
    /// Fitted on the node and written there as ONNX; the package has no bytes.
    FittedOnNode,
}

/// The input contract.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Input {
    /// Length of the window in points; oldest row first.
    pub rows: usize,
    /// Which series are the columns, in this order.
    pub columns: Columns,
    /// What is done to raw values.
    pub preprocessing: Preprocessing,
    /// Milliseconds between rows.
    pub period_ms: u32,
    /// Units of the named columns, in UCUM notation and their order; empty: not checked.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub units: Vec<String>,
    /// How the model that is imported wants its series.
    #[serde(default)]
    pub layout: Layout,
    /// What is fed where a value is missing.
    #[serde(default)]
    pub missing: Missing,
    /// As many columns more, 1 where the value is present and 0 where it is missing.
    #[serde(default)]
    pub mask: bool,
    /// What happens on a node that lacks a series.
    #[serde(default)]
    pub lacking: Lacking,
}

/// The columns of the input.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Columns {
    /// Every series of the node that has learned enough, by slot.
    AllSeries,
    /// These series, by name and attributes as the dictionary prints them, in this order.
    Named(Vec<String>),
}

/// What is done to raw values before the model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Preprocessing {
    /// Adaptive standardisation per series, see [`crate::standardise`].
    StandardisedWindow,
    /// None.
    RawWindow,
}

/// The output contract.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Output {
    /// What the values are.
    pub kind: OutputKind,
}

/// What the output values are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OutputKind {
    /// One score a column.
    ScorePerSeries,
    /// One score.
    HostScore,
}

/// How scores become verdicts.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Decision {
    /// How the scores of the columns become one.
    pub fusion: Fusion,
    /// Where the threshold comes from.
    pub threshold: Threshold,
}

/// How the scores of the columns become one. There is no maximum: one noisy series would speak for all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fusion {
    /// Their mean.
    Mean,
    /// Every part in units of its own 99 % point, summed ([`crate::fusion`]): for what is fitted on the node.
    SumOfParts,
}

/// Where the threshold comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Threshold {
    /// The node's own running quantile and the alarm budget.
    AlarmBudget,
}

/// An input with its known output.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Golden {
    /// `rows * columns` values, row after row.
    pub input: Vec<f32>,
    /// The output.
    pub output: Vec<f32>,
}

impl Manifest {
    /// Parses and checks a manifest.
    ///
    /// # Errors
    /// Not TOML, unknown keys, impossible values; the message names the key or line.
    pub fn parse(text: &str) -> Result<Self, ManifestError> {
        let manifest: Self = toml::from_str(text).map_err(|e| ManifestError::Syntax(e.to_string()))?;
        manifest.check()?;
        Ok(manifest)
    }

    fn check(&self) -> Result<(), ManifestError> {
        let wrong = |key, found: &dyn std::fmt::Debug, expected: &str| {
            Err(ManifestError::Value { key, found: format!("{found:?}"), expected: expected.to_owned() })
        };
        let name_byte = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        if !(1..=36).contains(&self.name.len()) || !self.name.bytes().all(name_byte) {
            return wrong("name", &self.name, "1 to 36 of a-z, 0-9 and -");
        }
        let parts: Vec<&str> = self.version.split('.').collect();
        if parts.len() != 3 || !parts.iter().all(|p| p.parse::<u32>().is_ok()) {
            return wrong("version", &self.version, "major.minor.patch");
        }
        if !(1..=512).contains(&self.input.rows) {
            return wrong("input.rows", &self.input.rows, "1 to 512");
        }
        if self.format == Format::FittedOnNode && self.input.rows != WINDOW {
            return wrong("input.rows", &self.input.rows, "16, the window that is fitted on the node");
        }
        if self.format == Format::Onnx && self.decision.fusion != Fusion::Mean {
            return wrong("decision.fusion", &self.decision.fusion, "mean");
        }
        if self.input.period_ms == 0 {
            return wrong("input.period_ms", &self.input.period_ms, "at least 1");
        }
        let Budget { p99_us, memory_bytes, load_ms } = Budget::MOST;
        if self.budget.p99_us > p99_us || self.budget.memory_bytes > memory_bytes || self.budget.load_ms > load_ms {
            return wrong("budget", &self.budget, &format!("at most {:?}", Budget::MOST));
        }
        let Columns::Named(names) = &self.input.columns else {
            if !self.input.units.is_empty() {
                return wrong("input.units", &self.input.units, "nothing: units belong to named columns");
            }
            return Ok(());
        };
        if !self.input.units.is_empty() && self.input.units.len() != names.len() {
            return wrong("input.units", &self.input.units.len(), "one unit a column");
        }
        if names.is_empty() {
            return wrong("input.columns", names, "at least one series");
        }
        if let Some(twice) = names.iter().enumerate().find(|(i, n)| names[..*i].contains(n)).map(|(_, n)| n) {
            return wrong("input.columns", twice, "every series once");
        }
        self.check_golden(names.len())
    }

    fn check_golden(&self, columns: usize) -> Result<(), ManifestError> {
        let limits = self.limits(columns);
        let (inputs, outputs) = (limits.input[0] * limits.input[1], limits.output);
        for golden in &self.golden {
            for (key, found, expected) in
                [("golden.input", golden.input.len(), inputs), ("golden.output", golden.output.len(), outputs)]
            {
                if found != expected {
                    let (found, expected) = (format!("{found} values"), format!("{expected} values"));
                    return Err(ManifestError::Value { key, found, expected });
                }
            }
        }
        Ok(())
    }

    /// What the graph must fit into on a node with so many columns.
    #[must_use]
    pub fn limits(&self, columns: usize) -> Limits {
        let output = match self.output.kind {
            OutputKind::ScorePerSeries => columns,
            OutputKind::HostScore => 1,
        };
        let width = if self.input.mask { 2 * columns } else { columns };
        Limits { max_bytes: MAX_MODEL_BYTES, input: [self.input.rows, width], output }
    }

    /// Checks the order of the columns against the series that will be fed.
    ///
    /// # Errors
    /// The first column that differs, by name.
    pub fn check_columns(&self, fed: &[String]) -> Result<(), ManifestError> {
        let Columns::Named(names) = &self.input.columns else {
            return Ok(());
        };
        let differs = names.iter().zip(fed).position(|(a, b)| a != b);
        let at = differs.or_else(|| (names.len() != fed.len()).then(|| names.len().min(fed.len())));
        at.map_or(Ok(()), |i| {
            let or_nothing = |list: &[String]| list.get(i).map_or_else(|| "nothing".to_owned(), Clone::clone);
            let (found, expected) = (or_nothing(fed), format!("{} (column {i})", or_nothing(names)));
            Err(ManifestError::Value { key: "input.columns", found, expected })
        })
    }
}

/// The manifest of the built-in detector.
pub const HOST_DETECTOR: &str = include_str!("../packages/host-detector/manifest.toml");

#[cfg(test)]
mod tests {
    use super::*;

    const NAMED: &str = r#"
        name = "two-series"
        version = "1.2.3"
        format = "onnx"
        [input]
        rows = 2
        columns = { named = ["a", "b"] }
        preprocessing = "raw-window"
        period_ms = 1000
        [output]
        kind = "host-score"
        [decision]
        fusion = "mean"
        threshold = "alarm-budget"
        [[golden]]
        input = [1.0, 2.0, 3.0, 4.0]
        output = [0.5]
    "#;

    #[test]
    fn the_shipped_manifest_parses() {
        let manifest = Manifest::parse(HOST_DETECTOR).expect("shipped");
        assert_eq!(manifest.format, Format::FittedOnNode);
        assert_eq!(manifest.limits(300), Limits::new([16, 300], 300));
    }

    #[test]
    fn columns_are_checked_by_name_and_order() {
        let manifest = Manifest::parse(NAMED).expect("valid");
        let fed = |names: &[&str]| names.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>();
        assert_eq!(manifest.check_columns(&fed(&["a", "b"])), Ok(()));
        let swapped = manifest.check_columns(&fed(&["b", "a"])).expect_err("swapped").to_string();
        assert_eq!(swapped, "manifest.toml: `input.columns` is b, expected a (column 0)");
        let short = manifest.check_columns(&fed(&["a"])).expect_err("short").to_string();
        assert_eq!(short, "manifest.toml: `input.columns` is nothing, expected b (column 1)");
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (from, to, key) in [
            ("rows = 2", "rows = 0", "input.rows"),
            ("two-series", "Two Series", "name"),
            ("1.2.3", "1.2", "version"),
            ("[0.5]", "[0.5, 0.6]", "golden.output"),
            ("\"b\"]", "\"a\"]", "input.columns"),
            ("rows = 2", "rowz = 2", "rowz"),
            ("\"mean\"", "\"max\"", "max"),
        ] {
            let error = Manifest::parse(&NAMED.replace(from, to)).expect_err(key).to_string();
            assert!(error.contains(key), "{error} does not name {key}");
        }
    }
}
