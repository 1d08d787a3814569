//! The detector of one node at one period: raw values in, verdicts out.
//!
//! ```text
//! values → standardise ┬→ ring of 16 rows ┬→ ONNX graph → per-series scores → mean ┬→ + = host score → verdict
//!                      │                  └→ autocovariances → refit               │
//!                      └→ smoothed deviations → root mean square over series ──────┘
//! ```
//!
//! The window score sees unusual movement, the smoothed deviations see levels (a step of a slow series is one unusual
//! direction of sixteen to its window). They are summed, and neither is a maximum over series. Fits come after 60, 120,
//! 300, 600, 1800 and 3600 points, then hourly.
//!
//! Series live in slots. A series that is new learns alone and takes part in the host score once it has statistics of
//! its own and was fitted; one that goes keeps what it learned under its key, so that it may come back.

mod attribution;
mod fit;

use tacit_wire::message::Stage;

use attribution::Onset;
use fit::FitJob;

use crate::runtime::{Model, ModelError};
use crate::standardise::{Phase, Standardiser};
use crate::state::{self, SavedSeries, StateError};
use crate::verdict::Verdict;
use crate::whiten::{Autocovariance, WINDOW};

/// Points before the first fit.
pub const FIRST_FIT: u64 = 60;

/// Weight of the newest deviation in the smoothed one.
const LEVEL_SMOOTHING: f32 = 0.3;

/// How a detector is set up.
#[derive(Debug, Clone, PartialEq)]
pub struct DetectorConfig {
    /// Number of slots.
    pub capacity: usize,
    /// Milliseconds between points.
    pub period_ms: u32,
    /// Events a day that the node may raise; `None` is one.
    pub budget_per_day: Option<f64>,
}

/// What happens to the event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transition {
    /// A new event.
    Open,
    /// The event goes on: renewed at most once a minute or when it becomes more severe. With [`Step::reopened`] it is
    /// the event that closed less than ten minutes ago; after a restart it may be one that was open before.
    Update,
    /// The event ended.
    Close,
}

/// The verdict on one point.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Step {
    /// Whether a model judged this point. If not, `score`, `alarm` and `severity` are 0.
    pub judged: bool,
    /// Smoothed host score: 1 to 2 is usual, whatever the node.
    pub score: f32,
    /// Log ratio of the score to the threshold; above 0 the threshold is exceeded.
    pub alarm: f32,
    /// 0 to 1, from the alarm value of this point.
    pub severity: f32,
    /// Stage of learning.
    pub stage: Stage,
    /// Points learned from so far.
    pub points: u64,
    /// Series that took part.
    pub series: u32,
    /// Change of the event, if any.
    pub transition: Option<Transition>,
    /// Whether an event is open after this point.
    pub open: bool,
    /// The transition takes up an event that had closed.
    pub reopened: bool,
    /// The event outlasted the pause of learning: its level is being learned as normal.
    pub persisting: bool,
    /// Number of the newest event; an update or close is about this one.
    pub event: u32,
}

/// What is usual for a series, in raw units.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Band {
    /// Lower end.
    pub low: f64,
    /// Centre.
    pub center: f64,
    /// Upper end.
    pub high: f64,
}

/// See the module.
#[derive(Debug)]
pub struct Detector {
    config: DetectorConfig,
    keys: Vec<Option<u64>>,
    standardiser: Standardiser,
    autocovariance: Autocovariance,
    verdict: Verdict,
    /// Deviations, `[row][slot]`; row `newest` is the last.
    rows: Vec<f32>,
    newest: usize,
    present: Vec<bool>,
    /// Per slot, bit `k`: the value `k` points ago was there.
    seen: Vec<u16>,
    model: Option<Model>,
    /// Slot of each column of the model.
    columns: Vec<u32>,
    /// Whether the slot's column in the model is about the series now bound there.
    fitted: Vec<bool>,
    column_scores: Vec<f32>,
    scores: Vec<f32>,
    /// Smoothed deviation per slot.
    levels: Vec<f32>,
    shares: Vec<f32>,
    onset_shares: Vec<f32>,
    onset: Option<Onset>,
    model_error: Option<ModelError>,
    next_fit: u64,
    newcomer_fit: u64,
    job: Option<FitJob>,
    /// Series that are gone, oldest first.
    dormant: Vec<SavedSeries>,
}

/// Memory of the statistics in points. At 1 Hz six hours: labelled server data measured best at a day, but those are
/// one-minute points; here a shorter memory follows the daily course. Slower periods use the day.
fn horizon(period_ms: u32) -> f64 {
    let hours = if period_ms < 10_000 { 6.0 } else { 24.0 };
    hours * 3_600_000.0 / f64::from(period_ms.max(1))
}

impl Detector {
    /// A detector that has learned nothing.
    #[must_use]
    pub fn new(config: DetectorConfig) -> Self {
        let (n, horizon) = (config.capacity, horizon(config.period_ms));
        let mut standardiser = Standardiser::new(n, horizon);
        (0..n).for_each(|slot| standardiser.release(slot));
        Self {
            keys: vec![None; n],
            standardiser,
            autocovariance: Autocovariance::new(n, horizon),
            verdict: Verdict::new(&config),
            rows: vec![0.0; n * WINDOW],
            newest: 0,
            present: vec![false; n],
            seen: vec![0; n],
            model: None,
            columns: Vec::new(),
            fitted: vec![false; n],
            column_scores: Vec::new(),
            scores: vec![0.0; n],
            levels: vec![0.0; n],
            shares: vec![0.0; n],
            onset_shares: vec![0.0; n],
            onset: None,
            model_error: None,
            next_fit: FIRST_FIT,
            newcomer_fit: 0,
            job: None,
            dormant: Vec::new(),
            config,
        }
    }

    /// Puts a series into a slot; `key` names it across restarts. What it learned before comes back with it.
    /// Answers whether the slot exists.
    pub fn bind(&mut self, slot: usize, key: u64) -> bool {
        if slot >= self.config.capacity {
            return false;
        }
        if self.keys[slot] == Some(key) {
            return true;
        }
        self.unbind(slot);
        let known = self.dormant.iter().position(|s| s.key == key).map(|at| self.dormant.remove(at));
        self.keys[slot] = Some(key);
        self.standardiser.reset(slot, known.map(|s| s.level));
        self.autocovariance.reset(slot, known.map(|s| (s.lags, s.window_points)));
        true
    }

    /// Takes a series out of its slot; what it learned is kept for as many series as there are slots.
    pub fn unbind(&mut self, slot: usize) {
        let Some(series) = self.saved(slot) else { return };
        self.keys[slot] = None;
        if series.level.phase != Phase::Starting {
            if self.dormant.len() >= self.config.capacity {
                self.dormant.remove(0);
            }
            self.dormant.push(series);
        }
        self.standardiser.release(slot);
        self.autocovariance.reset(slot, None);
        self.seen[slot] = 0;
        self.fitted[slot] = false;
        self.scores[slot] = 0.0;
        self.levels[slot] = 0.0;
        self.shares[slot] = 0.0;
        self.onset_shares[slot] = 0.0;
        for row in 0..WINDOW {
            self.rows[row * self.config.capacity + slot] = 0.0;
        }
    }

    /// One point: `values` by slot (NaN where there is none), at a monotonic time.
    pub fn step(&mut self, values: &[f32], at_mono_ms: u64) -> Step {
        let learn = self.verdict.may_learn();
        self.standardise(values, learn);
        if learn {
            self.learn();
        }
        let stage = self.verdict.stage(self.model.is_some());
        let mut step = Step {
            judged: false,
            score: 0.0,
            alarm: 0.0,
            severity: 0.0,
            stage,
            points: self.verdict.learned(),
            series: 0,
            transition: None,
            open: self.verdict.is_open(),
            reopened: false,
            persisting: self.verdict.persisting(),
            event: self.verdict.event(),
        };
        let Some((host, series)) = self.infer() else { return step };
        let judgement = self.verdict.judge(host, stage, at_mono_ms);
        if judgement.accept_level {
            self.accept_levels();
        }
        self.attribute(at_mono_ms);
        step.judged = true;
        (step.score, step.alarm, step.severity) = (judgement.score, judgement.alarm, judgement.severity);
        (step.transition, step.reopened, step.series) = (judgement.transition, judgement.reopened, series);
        (step.open, step.persisting) = (self.verdict.is_open(), self.verdict.persisting());
        step.event = self.verdict.event();
        step
    }

    fn standardise(&mut self, values: &[f32], learn: bool) {
        let n = self.config.capacity;
        self.newest = (self.newest + 1) % WINDOW;
        let row = &mut self.rows[self.newest * n..(self.newest + 1) * n];
        self.standardiser.step(values, learn, row, &mut self.present);
        for (slot, seen) in self.seen.iter_mut().enumerate() {
            let started = self.standardiser.level(slot).phase != Phase::Starting;
            self.present[slot] &= started && self.keys[slot].is_some();
            *seen = (*seen << 1) | u16::from(self.present[slot]);
            self.levels[slot] += LEVEL_SMOOTHING * (row[slot] - self.levels[slot]);
        }
    }

    fn learn(&mut self) {
        self.verdict.learned_point();
        let (n, newest, rows, seen) = (self.config.capacity, self.newest, &self.rows, &self.seen);
        let row = |lag: usize| {
            let at = (newest + WINDOW - lag) % WINDOW * n;
            &rows[at..at + n]
        };
        self.autocovariance.learn(row, |slot| seen[slot] == u16::MAX);
    }

    /// Host score and the number of series behind it.
    fn infer(&mut self) -> Option<(f32, u32)> {
        let model = self.model.as_mut()?;
        let (n, newest, rows, columns) = (self.config.capacity, self.newest, &self.rows, &self.columns);
        let fill = |input: &mut [f32]| gather(rows, n, newest, columns, input);
        if let Err(error) = model.run_with(fill, &mut self.column_scores) {
            if self.model_error.is_none() {
                tracing::warn!(%error, "The model failed; its verdict is missing until it is fitted anew.");
            }
            self.model_error = Some(error);
            return None;
        }
        self.scores.fill(0.0);
        let (mut sum, mut squares, mut count) = (0.0_f64, 0.0_f64, 0_u32);
        for (score, slot) in self.column_scores.iter().zip(&self.columns) {
            let slot = *slot as usize;
            // A few missing points count as usual ones; more, and the series says nothing.
            if self.fitted[slot] && self.present[slot] && self.seen[slot].count_ones() >= 12 {
                self.scores[slot] = *score;
                sum += f64::from(*score);
                squares += f64::from(self.levels[slot]).powi(2);
                count += 1;
            }
        }
        let n = f64::from(count);
        (count > 0).then(|| ((sum / n + (squares / n).sqrt()) as f32, count))
    }

    /// The series that moved keep their new level as normal from now on.
    fn accept_levels(&mut self) {
        let n = self.config.capacity;
        for slot in 0..n {
            let mean = (0..WINDOW).map(|row| self.rows[row * n + slot].abs()).sum::<f32>() / WINDOW as f32;
            if mean > 2.0 {
                self.standardiser.accept_level(slot);
            }
        }
    }

    /// Scores by slot of the last judged point in training rms; 0 where a series took no part.
    #[must_use]
    pub fn scores(&self) -> &[f32] {
        &self.scores
    }

    /// What is usual for a slot's series; `None` before it has started.
    #[must_use]
    pub fn band(&self, slot: usize) -> Option<Band> {
        (slot < self.config.capacity).then(|| self.standardiser.band(slot))?.map(|(low, center, high)| Band {
            low,
            center,
            high,
        })
    }

    /// The newest deviation of a slot, -10 to 10; its sign is the direction.
    #[must_use]
    pub fn z(&self, slot: usize) -> f32 {
        if slot < self.config.capacity { self.rows[self.newest * self.config.capacity + slot] } else { 0.0 }
    }

    /// SHA-256 of the model in force.
    #[must_use]
    pub fn digest(&self) -> Option<[u8; 32]> {
        self.model.as_ref().map(Model::digest)
    }

    /// Number of series in the model in force.
    #[must_use]
    pub fn fitted_series(&self) -> usize {
        self.columns.len()
    }

    /// The last failure of the model, until a new one is in force.
    #[must_use]
    pub fn model_error(&self) -> Option<&ModelError> {
        self.model_error.as_ref()
    }

    /// Stage of learning.
    #[must_use]
    pub fn stage(&self) -> Stage {
        self.verdict.stage(self.model.is_some())
    }

    fn saved(&self, slot: usize) -> Option<SavedSeries> {
        let key = (*self.keys.get(slot)?)?;
        let (lags, window_points) = self.autocovariance.slot(slot);
        Some(SavedSeries { key, level: self.standardiser.level(slot), lags, window_points })
    }

    /// Everything learned, as bytes: 97 a series and 62 more.
    #[must_use]
    pub fn save(&self) -> Vec<u8> {
        let bound = (0..self.config.capacity).filter_map(|slot| self.saved(slot));
        let series: Vec<SavedSeries> =
            self.dormant.iter().copied().chain(bound.filter(|s| s.level.phase != Phase::Starting)).collect();
        state::encode(self.config.period_ms, &self.verdict.save(), &series)
    }

    /// A detector that continues where [`Detector::save`] was called. Series come back as they are bound, in whatever
    /// slots; the model is fitted from what they learned as soon as they are.
    ///
    /// # Errors
    /// Bytes that are damaged, of another version or of another period.
    pub fn restore(config: DetectorConfig, bytes: &[u8]) -> Result<Self, StateError> {
        let (saved, series) = state::decode(config.period_ms, bytes)?;
        let mut detector = Self::new(config);
        detector.verdict = Verdict::restore(&detector.config, &saved);
        detector.dormant = series;
        Ok(detector)
    }
}

/// The last 16 rows of these slots, oldest first.
fn gather(rows: &[f32], capacity: usize, newest: usize, columns: &[u32], input: &mut [f32]) {
    for (row, out) in input.chunks_exact_mut(columns.len().max(1)).enumerate() {
        let at = (newest + 1 + row) % WINDOW * capacity;
        let from = &rows[at..at + capacity];
        for (x, slot) in out.iter_mut().zip(columns) {
            *x = from[*slot as usize];
        }
    }
}
