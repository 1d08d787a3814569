//! Whether this processor computes what others do: the whole detector, from raw values to verdicts, over a recording whose scores
//! are known.
//!
//! Machines may differ in the order in which the runtime's kernels sum (AVX, NEON, VFP, plain Rust), in whether they multiply and add
//! in one step, and in the last digit of `exp` and `ln`. None of that grows with the recording. What forgets (standardisation,
//! smoothing) makes a difference smaller, a largest value hands it on as it is, and a running quantile moves by steps that do not
//! depend on how far a score is from it. So the tolerance of a single run of a model serves for all of it. Only where a step goes the
//! other way, because a score lies within the difference of the quantile, is it exceeded, and then a hundredfold: nobody can
//! take that for rounding.

use serde::{Deserialize, Serialize};

use crate::detector::{Detector, DetectorConfig, Step, Transition};
use crate::fusion::Parts;
use crate::runtime::ModelError;

/// What is compared of each point, in this order.
pub const VALUES: [&str; COMPARED] = [
    "score",
    "windows",
    "state",
    "state, smoother",
    "season",
    "clusters",
    "drift",
    "level",
    "far",
    "flat",
    "alarm",
    "excess",
];
const COMPARED: usize = 12;
/// From here on they are logarithms of scores.
const LOGARITHMS: usize = 10;

/// How far values may be apart: so much, or so much of the value.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Tolerance {
    /// In its unit.
    pub absolute: f64,
    /// As a share of the known value.
    pub relative: f64,
}

/// Of scores.
pub const SCORES: Tolerance = Tolerance { absolute: 2e-6, relative: 1e-5 };
/// Of their logarithms: a relative difference of a score is an absolute one of its logarithm.
pub const LOGS: Tolerance = Tolerance { absolute: 1e-5, relative: 1e-5 };

/// How a recording is judged.
struct Rate {
    period_ms: u32,
    /// So often one after the other.
    rounds: usize,
    /// Values are kept of every so many points; transitions are kept of each.
    every: u64,
}

/// Both rates of a node. Lag clusters, the season and the first week begin only after days of minutes.
const RATES: [Rate; 2] =
    [Rate { period_ms: 1000, rounds: 1, every: 4 }, Rate { period_ms: 60_000, rounds: 8, every: 29 }];
/// Most series of a recording.
const MOST_SERIES: usize = 1024;
/// A recording begins on the first of January 2026, at midnight.
const BEGIN_MS: i64 = 1_767_225_600_000;
/// Most differences that are told one by one.
const MOST_TOLD: usize = 10;

/// Why there is nothing to compare.
#[derive(Debug, thiserror::Error)]
pub enum AgreementError {
    /// It has no header, or one of too many series.
    #[error("the first line of a recording names its series, separated by commas, at most {most}; this has {found}", most = MOST_SERIES)]
    Header {
        /// How many there are.
        found: usize,
    },
    /// A line that is no point.
    #[error("line {line}: {found} numbers for {expected} series; a missing value is an empty cell")]
    Cells {
        /// Counted from 1.
        line: usize,
        /// How many there are.
        found: usize,
        /// How many there should be.
        expected: usize,
    },
    /// A cell that is no number.
    #[error("line {line}: {cell:?} is no number")]
    Number {
        /// Counted from 1.
        line: usize,
        /// What stands there.
        cell: String,
    },
    /// The detector computed something that is no number.
    #[error("point {at}: {name} is {value}, which is no finite number")]
    NotFinite {
        /// The point.
        at: u64,
        /// One of [`VALUES`].
        name: &'static str,
        /// What it is.
        value: f32,
    },
    /// The model failed.
    #[error(transparent)]
    Model(#[from] ModelError),
}

/// Raw values, one row a point.
#[derive(Debug, Clone, PartialEq)]
pub struct Recording {
    /// Names of the series.
    pub series: Vec<String>,
    /// A value a series, NaN where it is missing.
    pub rows: Vec<Vec<f32>>,
}

impl Recording {
    /// Reads comma-separated values: a line of names, then a line a point. An empty cell is a missing value; lines that begin with `#`
    /// are left out.
    ///
    /// # Errors
    /// The first line that is wrong.
    pub fn parse(text: &str) -> Result<Self, AgreementError> {
        let mut lines = (1..).zip(text.lines()).filter(|(_, line)| !line.is_empty() && !line.starts_with('#'));
        let series: Vec<String> =
            lines.next().map(|(_, line)| line.split(',').map(str::to_owned).collect()).unwrap_or_default();
        if series.is_empty() || series.len() > MOST_SERIES {
            return Err(AgreementError::Header { found: series.len() });
        }
        let mut rows = Vec::new();
        for (line, text) in lines {
            let cell = |cell: &str| match cell.trim() {
                "" => Ok(f32::NAN),
                number => number.parse().map_err(|_| AgreementError::Number { line, cell: cell.to_owned() }),
            };
            let row: Vec<f32> = text.split(',').map(cell).collect::<Result<_, _>>()?;
            if row.len() != series.len() {
                return Err(AgreementError::Cells { line, found: row.len(), expected: series.len() });
            }
            rows.push(row);
        }
        Ok(Self { series, rows })
    }
}

/// What a recording is judged to be.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scores {
    /// One a rate.
    pub runs: Vec<Run>,
}

/// By one detector.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Run {
    /// Milliseconds between points.
    pub period_ms: u32,
    /// Number of the point and what became of the event there: `open`, `update` or `close`.
    pub transitions: Vec<(u64, String)>,
    /// Judged points, some of them.
    pub points: Vec<Point>,
}

/// One point.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Point {
    /// Its number.
    pub at: u64,
    /// Series that took part.
    pub series: u32,
    /// As [`VALUES`] names them.
    pub values: [f32; COMPARED],
}

/// Judges a recording at both rates.
///
/// # Errors
/// When the model fails, or a score is no number.
pub fn judge(recording: &Recording) -> Result<Scores, AgreementError> {
    let runs = RATES.iter().map(|rate| run(recording, rate)).collect::<Result<_, _>>()?;
    Ok(Scores { runs })
}

fn run(recording: &Recording, rate: &Rate) -> Result<Run, AgreementError> {
    let (capacity, period_ms) = (recording.series.len(), rate.period_ms);
    let mut detector = Detector::new(DetectorConfig { capacity, period_ms, budget_per_day: None });
    for slot in 0..capacity {
        detector.bind(slot, slot as u64 + 1);
    }
    let mut run = Run { period_ms, transitions: Vec::new(), points: Vec::new() };
    let rows = std::iter::repeat_n(&recording.rows, rate.rounds).flatten();
    for (at, row) in (0_u64..).zip(rows) {
        let ms = at * u64::from(period_ms);
        let step = detector.step(row, ms, BEGIN_MS.saturating_add_unsigned(ms));
        if let Some(error) = detector.model_error() {
            return Err(error.clone().into());
        }
        if let Some(transition) = step.transition {
            run.transitions.push((at, word(transition).to_owned()));
        }
        if step.judged && at.is_multiple_of(rate.every) {
            run.points.push(point(at, &step, detector.parts())?);
        }
        if detector.refit_due() {
            detector.refit()?;
        }
    }
    Ok(run)
}

fn word(transition: Transition) -> &'static str {
    match transition {
        Transition::Open => "open",
        Transition::Update => "update",
        Transition::Close => "close",
    }
}

fn point(at: u64, step: &Step, parts: &Parts) -> Result<Point, AgreementError> {
    let values = [
        step.score,
        parts.windows_rms,
        parts.state,
        parts.state_smoother,
        parts.season,
        parts.clusters,
        parts.drift,
        parts.level,
        parts.far,
        parts.flat,
        step.alarm,
        step.excess,
    ];
    match VALUES.into_iter().zip(values).find(|(_, value)| !value.is_finite()) {
        Some((name, value)) => Err(AgreementError::NotFinite { at, name, value }),
        None => Ok(Point { at, series: step.series, values }),
    }
}

/// What came of a comparison.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Comparison {
    /// Whether all is within the tolerance.
    pub agrees: bool,
    /// Points that were compared.
    pub points: usize,
    /// Transitions that were compared; they have to be the same.
    pub transitions: usize,
    /// The largest differences of each value.
    pub largest: Vec<Largest>,
    /// What is beyond the tolerance, the first few.
    pub beyond: Vec<String>,
}

/// The largest differences of one value.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Largest {
    /// One of [`VALUES`].
    pub name: &'static str,
    /// In its unit.
    pub absolute: f64,
    /// As a share of the known value, where the absolute tolerance does not do.
    pub relative: f64,
}

/// Compares with scores that are known.
#[must_use]
pub fn compare(scores: &Scores, known: &Scores) -> Comparison {
    let largest = VALUES.map(|name| Largest { name, absolute: 0.0, relative: 0.0 }).to_vec();
    let mut found = Comparison { agrees: true, points: 0, transitions: 0, largest, beyond: Vec::new() };
    if scores.runs.len() != known.runs.len() {
        found.tell(format!("{} runs instead of {}", scores.runs.len(), known.runs.len()));
    }
    for (run, known) in scores.runs.iter().zip(&known.runs) {
        found.run(run, known);
    }
    found
}

impl Comparison {
    fn tell(&mut self, what: String) {
        self.agrees = false;
        if self.beyond.len() < MOST_TOLD {
            self.beyond.push(what);
        }
    }

    fn run(&mut self, run: &Run, known: &Run) {
        let rate = format!("a point every {} ms", known.period_ms);
        let shape = |run: &Run| (run.period_ms, run.points.len());
        if shape(run) != shape(known) {
            self.tell(format!("{rate}: {} points instead of {}", run.points.len(), known.points.len()));
        }
        if run.transitions != known.transitions {
            self.tell(format!("{rate}: transitions {:?} instead of {:?}", run.transitions, known.transitions));
        }
        self.transitions += known.transitions.len();
        for (point, known) in run.points.iter().zip(&known.points) {
            self.points += 1;
            if (point.at, point.series) != (known.at, known.series) {
                self.tell(format!(
                    "{rate}: point {} of {} series instead of point {} of {}",
                    point.at, point.series, known.at, known.series
                ));
            }
            for (index, (value, known)) in point.values.iter().zip(&known.values).enumerate() {
                if let Some(apart) = self.value(index, f64::from(*value), f64::from(*known)) {
                    self.tell(format!("{rate}: point {}: {} {apart}", point.at, VALUES[index]));
                }
            }
        }
    }

    /// Takes one value in; in words when it is too far from what is known.
    fn value(&mut self, index: usize, value: f64, known: f64) -> Option<String> {
        let tolerance = if index < LOGARITHMS { SCORES } else { LOGS };
        let absolute = (value - known).abs();
        let largest = &mut self.largest[index];
        largest.absolute = largest.absolute.max(absolute);
        if absolute <= tolerance.absolute {
            return None;
        }
        let relative = absolute / known.abs().max(f64::from(f32::MIN_POSITIVE));
        largest.relative = largest.relative.max(relative);
        let words = || format!("is {value} instead of {known} ({absolute:.1e}, {relative:.1e})");
        (relative > tolerance.relative).then(words)
    }
}

/// Whether a panic is caught here. A program built without what unwinding needs would end with the first panic of a model.
#[must_use]
pub fn unwinds() -> bool {
    let fails: fn() = || panic!("on purpose");
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| ()));
    let caught = std::panic::catch_unwind(fails).is_err();
    std::panic::set_hook(hook);
    caught
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scores() -> Scores {
        let point = |at: u64| Point { at, series: 3, values: [at as f32 * 0.25 + 0.5; COMPARED] };
        let transitions = vec![(7, "open".to_owned()), (40, "close".to_owned())];
        Scores { runs: vec![Run { period_ms: 1000, transitions, points: (60..80).map(point).collect() }] }
    }

    #[test]
    fn what_is_within_the_tolerance_agrees_and_what_is_beyond_is_told() {
        let known = scores();
        let (mut near, mut far) = (known.clone(), known.clone());
        near.runs[0].points[3].values[1] *= 1.0 + 8e-6;
        let found = compare(&near, &known);
        assert!(found.agrees && found.points == 20 && found.transitions == 2, "{found:?}");
        assert!(found.largest[1].relative > 5e-6 && found.largest[0].absolute == 0.0, "{found:?}");
        far.runs[0].points[3].values[1] *= 1.0 + 2e-5;
        let found = compare(&far, &known);
        assert!(!found.agrees && found.beyond[0].contains("point 63: windows is "), "{found:?}");
    }

    #[test]
    fn what_has_another_form_does_not_agree() {
        let known = scores();
        let other = |change: fn(&mut Run)| {
            let mut scores = known.clone();
            change(&mut scores.runs[0]);
            compare(&scores, &known).beyond.concat()
        };
        assert!(other(|run| run.transitions[0].0 = 8).contains("transitions"));
        assert!(other(|run| run.points.truncate(4)).contains("4 points instead of 20"));
        assert!(other(|run| run.points[0].series = 2).contains("of 2 series"));
        assert!(compare(&Scores { runs: vec![] }, &known).beyond.concat().contains("0 runs instead of 1"));
    }

    #[test]
    fn a_recording_that_is_none_is_refused_with_its_line() {
        let refused = |text: &str| Recording::parse(text).expect_err("it is wrong").to_string();
        assert!(refused("# nothing\n").contains("this has 0"));
        assert!(refused("a,b\n1,2\n\n3\n").contains("line 4: 1 numbers for 2 series"));
        assert!(refused("a,b\n1,two\n").contains("line 2: \"two\" is no number"));
        let good = Recording::parse("# made\na,b\n1.5,\n").expect("a point with a missing value");
        assert!(good.rows[0][0] == 1.5 && good.rows[0][1].is_nan());
    }
}
