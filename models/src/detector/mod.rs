//! The detector of one node at one period: raw values in, verdicts out.
//!
//! ```text
//! values ┬ standardise ┬ windows of 16 ─────────────┐
//!        │             ├ state: level, means 20, 5 ─┤                            ┌ severity (ranks)
//!        │             ├ season: windows of the rest┼→ one ONNX graph → parts → sum
//!        ├ lag clusters ────────────────────────────┘        ↑                   └ alarm (decides) → verdict
//!        └ flat lines, slow mean ────────────────────────────┘
//! ```
//!
//! Parts see different things: windows unusual movement of a series, the state unusual levels and broken ties between
//! series, clusters movements never seen, the season what is odd at this time of day. Each is divided by its own 99 % point
//! and they are summed ([`crate::fusion`]), never the maximum over series. Fits come after 60, 120, 300, 600, 1800 and 3600
//! points, then hourly.
//!
//! Series live in slots. A series that is new learns alone and takes part in the host score once it has statistics of
//! its own and was fitted; one that goes keeps what it learned under its key, so that it may come back.

mod fit;
mod keeping;
mod learning;

use tacit_wire::message::Stage;

use fit::FitJob;

use keeping::Dormant;
use learning::Learning;

use crate::attribution::Attribution;
use crate::fusion::{Fusion, Parts};
use crate::runtime::{Model, ModelError};
use crate::verdict::{Judgement, Moment, Verdict};
use crate::whiten::WINDOW;

/// Points before the first fit.
pub const FIRST_FIT: u64 = 60;

/// Weight of the newest deviation in the smoothed one.
const LEVEL_SMOOTHING: f32 = 0.3;
/// Most that the window of one series adds to its share of the blame: what its level may add at most.
const ODD_MOST: f32 = 9.0;

/// Weights of the newest squared length of the state in the two smoothed ones.
const STATE_SMOOTHING: [f32; 2] = [0.3, 0.1];

/// Whether a detector of this period is one of the slow ones, which know the time of day.
pub(crate) fn is_slow(period_ms: u32) -> bool {
    period_ms >= 10_000
}

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
    /// Whether a model judged this point. If not, `score`, `excess`, `alarm` and `severity` are 0.
    pub judged: bool,
    /// Severity of the node's state, for ranking: every part in units of its own 99 % point, weighed and summed.
    pub score: f32,
    /// Log ratio of the score that decides to its own running 99 % point.
    pub excess: f32,
    /// Chance of such a score in one point while all is well, for people; at most 0.01.
    pub p_value: f32,
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

impl Step {
    /// Nothing is known of the point yet.
    pub(crate) fn before(verdict: &Verdict, stage: Stage) -> Self {
        Self {
            judged: false,
            score: 0.0,
            excess: 0.0,
            p_value: 1.0,
            alarm: 0.0,
            severity: 0.0,
            stage,
            points: verdict.learned(),
            series: 0,
            transition: None,
            open: verdict.is_open(),
            reopened: false,
            persisting: verdict.persisting(),
            event: verdict.event(),
        }
    }

    /// The point was judged.
    pub(crate) fn after(self, verdict: &Verdict, judgement: &Judgement, score: f32, series: u32) -> Self {
        Self {
            judged: true,
            score,
            excess: judgement.excess,
            p_value: judgement.p_value,
            alarm: judgement.alarm,
            severity: judgement.severity,
            transition: judgement.transition,
            reopened: judgement.reopened,
            series,
            open: verdict.is_open(),
            persisting: verdict.persisting(),
            event: verdict.event(),
            ..self
        }
    }
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
    learning: Learning,
    fusion: Fusion,
    verdict: Verdict,
    model: Option<Model>,
    /// Slot of each column of the model.
    columns: Vec<u32>,
    /// Whether the slot's column in the model is about the series now bound there.
    fitted: Vec<bool>,
    outputs: Vec<f32>,
    /// Smoothed squared lengths of the state.
    state: Option<[f32; 2]>,
    parts: Parts,
    scores: Vec<f32>,
    /// Smoothed deviation per slot.
    levels: Vec<f32>,
    attribution: Attribution,
    model_error: Option<ModelError>,
    next_fit: u64,
    newcomer_fit: u64,
    job: Option<FitJob>,
    dormant: Dormant,
}

impl Detector {
    /// A detector that has learned nothing.
    #[must_use]
    pub fn new(config: DetectorConfig) -> Self {
        let n = config.capacity;
        Self {
            keys: vec![None; n],
            learning: Learning::new(n, config.period_ms),
            fusion: Fusion::new(config.period_ms),
            verdict: Verdict::new(&config),
            model: None,
            columns: Vec::new(),
            fitted: vec![false; n],
            outputs: Vec::new(),
            state: None,
            parts: Parts::default(),
            scores: vec![0.0; n],
            levels: vec![0.0; n],
            attribution: Attribution::new(n),
            model_error: None,
            next_fit: FIRST_FIT,
            newcomer_fit: 0,
            job: None,
            dormant: Dormant::default(),
            config,
        }
    }

    /// Number of slots.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.config.capacity
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
        self.wake_up(slot, key);
        self.keys[slot] = Some(key);
        true
    }

    /// Sets the smallest change of a slot's series that matters on any machine, in its unit (0: not known). Smaller ones
    /// are no news, however calm the series was before.
    pub fn set_floor(&mut self, slot: usize, floor: f32) {
        if slot < self.config.capacity {
            let floor = if floor.is_finite() { floor.max(0.0) } else { 0.0 };
            self.learning.standardiser.set_floor(slot, floor);
            self.learning.clusters.set_floor(slot, floor);
        }
    }

    /// Takes a series out of its slot; what it learned is kept for as many series as there are slots.
    pub fn unbind(&mut self, slot: usize) {
        if slot >= self.config.capacity || self.keys[slot].is_none() {
            return;
        }
        self.lay_down(slot);
        self.keys[slot] = None;
        self.learning.standardiser.release(slot);
        self.learning.clear(slot);
        self.fitted[slot] = false;
        self.scores[slot] = 0.0;
        self.levels[slot] = 0.0;
        self.attribution.clear(slot);
    }

    /// While held, as in maintenance, it judges but learns nothing and raises nothing.
    pub fn hold(&mut self, held: bool) {
        self.verdict.hold(held);
    }

    /// Another number of events a day that the node may raise; `None` is one. What was learned stays.
    pub fn set_budget(&mut self, budget_per_day: Option<f64>) {
        self.config.budget_per_day = budget_per_day;
        self.verdict.set_budget(budget_per_day);
    }

    /// One point: `values` by slot (NaN where there is none), at a monotonic and a wall time.
    pub fn step(&mut self, values: &[f32], at_mono_ms: u64, wall_ms: i64) -> Step {
        let learn = self.verdict.may_learn();
        self.learning.observe(values, learn, wall_ms);
        for (level, z) in self.levels.iter_mut().zip(self.learning.rows.row(0)) {
            *level += LEVEL_SMOOTHING * (z - *level);
        }
        if learn {
            self.verdict.learned_point();
        }
        let stage = self.verdict.stage(self.model.is_some());
        let step = Step::before(&self.verdict, stage);
        let Some(series) = self.infer() else { return step };
        let (score, alarm) = self.fusion.fuse(&self.parts);
        let at = Moment { mono_ms: at_mono_ms, wall_ms };
        let judgement = self.verdict.judge(Fusion::young(&self.parts), alarm, stage, at);
        if judgement.learn {
            self.fusion.learn(&self.parts);
        }
        if judgement.usual {
            self.learning.reach.learn(&self.levels, &self.learning.present);
        } else {
            self.learning.reach.forget_pending();
        }
        if judgement.accept_level {
            self.accept_levels();
        }
        self.attribute(at_mono_ms);
        step.after(&self.verdict, &judgement, score, series)
    }

    /// What each slot adds beyond the usual 1 by its score and its level, and the more by what it has not shown yet. A window may be odd
    /// without bound where next to nothing happens; no series is to blame for that alone.
    fn attribute(&mut self, at_ms: u64) {
        let Learning { flat, reach, .. } = &self.learning;
        let parts = self.scores.iter().zip(&self.levels).zip(flat.scores()).enumerate();
        let excesses = parts.map(|(slot, ((score, level), flat))| {
            let odd = (score - 1.0).clamp(0.0, ODD_MOST) + (level.abs() - 1.0).max(0.0) + 2.0 * reach.far(slot, *level);
            if *score > 0.0 { odd + flat } else { 0.0 }
        });
        self.attribution.follow(excesses, &self.verdict, at_ms);
    }

    /// Attribution of the last judged point by slot: shares of the excess over usual, summing to 1 or all 0.
    #[must_use]
    pub fn shares(&self) -> &[f32] {
        self.attribution.now()
    }

    /// Attribution smoothed since the onset of the event (or of the excess that may become one), summing to at most 1.
    #[must_use]
    pub fn onset_shares(&self) -> &[f32] {
        self.attribution.since_onset()
    }

    /// When the score first exceeded the threshold, monotonic; `None` while all is quiet.
    #[must_use]
    pub fn onset_ms(&self) -> Option<u64> {
        self.attribution.onset_ms()
    }

    /// The newest deviation of a slot as a foreign model wants it: NaN where the series says nothing.
    #[must_use]
    pub fn deviation(&self, slot: usize) -> f32 {
        if self.learning.present.get(slot) == Some(&true) { self.learning.rows.row(0)[slot] } else { f32::NAN }
    }

    /// Runs the model and takes the parts of the score; the number of series behind them.
    fn infer(&mut self) -> Option<u32> {
        let model = self.model.as_mut()?;
        let (learning, columns) = (&self.learning, &self.columns);
        if let Err(error) = model.run_with(|input| learning.fill(columns, input), &mut self.outputs) {
            if self.model_error.is_none() {
                tracing::warn!(%error, "The model failed; its verdict is missing until it is fitted anew.");
            }
            self.model_error = Some(error);
            return None;
        }
        let n = columns.len();
        let (windows, rest) = self.outputs.split_at(n);
        let (clusters, rest) = rest.split_at(n);
        let (season, blocks) = rest.split_at(if learning.season.is_some() { n } else { 0 });
        self.scores.fill(0.0);
        let (mut sums, mut known) = (Parts::default(), 0.0);
        for (column, slot) in columns.iter().enumerate() {
            let slot = *slot as usize;
            // A few missing points count as usual ones; more, and the series says nothing.
            if self.fitted[slot] && learning.present[slot] && (learning.seen[slot] as u16).count_ones() >= 12 {
                self.scores[slot] = windows[column];
                sums.windows_rms += windows[column] * windows[column];
                sums.clusters += if learning.knows_movements(slot) { clusters[column] } else { 0.0 };
                sums.season += season.get(column).copied().unwrap_or(0.0);
                sums.drift += learning.drift.scores()[slot];
                let weight = learning.reach.known(slot);
                known += weight;
                sums.level += weight * self.levels[slot] * self.levels[slot];
                sums.far += learning.reach.far(slot, self.levels[slot]).powi(3);
                sums.flat += learning.flat.scores()[slot];
                sums.series += 1;
            }
        }
        let square: f32 = blocks.iter().sum();
        let mut smoothed = self.state.unwrap_or([square; 2]);
        smoothed.iter_mut().zip(STATE_SMOOTHING).for_each(|(s, weight)| *s += weight * (square - *s));
        self.state = Some(smoothed);
        let share = 1.0 / sums.series.max(1) as f32;
        self.parts = Parts {
            windows_rms: (sums.windows_rms * share).sqrt(),
            state: smoothed[0].sqrt(),
            state_smoother: smoothed[1].sqrt(),
            season: sums.season * share,
            clusters: sums.clusters * share,
            drift: sums.drift * share,
            level: (sums.level / known.max(1e-6)).sqrt(),
            far: (sums.far * share).cbrt(),
            flat: sums.flat,
            series: sums.series,
        };
        (sums.series > 0).then_some(sums.series)
    }

    /// The series that moved keep their new level as normal from now on.
    fn accept_levels(&mut self) {
        for slot in 0..self.config.capacity {
            let mean = (0..WINDOW).map(|lag| self.learning.rows.row(lag)[slot].abs()).sum::<f32>() / WINDOW as f32;
            if mean > 2.0 {
                self.learning.standardiser.accept_level(slot);
                // It was told: from here on is a new beginning.
                if let Some(creep) = &mut self.learning.creep {
                    creep.reset(slot, None);
                }
            }
        }
    }

    /// How many times its spread of some days ago a slot's level has crept away without an event, if far. Slow detectors only.
    #[must_use]
    pub fn crept(&self, slot: usize) -> Option<f32> {
        let creep = self.learning.creep.as_ref().filter(|_| slot < self.config.capacity)?;
        creep.crept(slot, &self.learning.standardiser.level(slot))
    }

    /// The parts of the last score.
    #[must_use]
    pub fn parts(&self) -> &Parts {
        &self.parts
    }

    /// Scores by slot of the last judged point in training rms; 0 where a series took no part.
    #[must_use]
    pub fn scores(&self) -> &[f32] {
        &self.scores
    }

    /// What is usual for a slot's series; `None` before it has started.
    #[must_use]
    pub fn band(&self, slot: usize) -> Option<Band> {
        (slot < self.config.capacity).then(|| self.learning.standardiser.band(slot))?.map(|(low, center, high)| Band {
            low,
            center,
            high,
        })
    }

    /// The newest deviation of a slot, -10 to 10; its sign is the direction.
    #[must_use]
    pub fn z(&self, slot: usize) -> f32 {
        self.learning.rows.row(0).get(slot).copied().unwrap_or(0.0)
    }

    /// Whether a slot's series stands still although it always moved.
    #[must_use]
    pub fn is_flat(&self, slot: usize) -> bool {
        self.learning.flat.scores().get(slot).is_some_and(|score| *score > 0.0)
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
}
