//! A model that was made elsewhere, on a node: values of all its series in, verdicts out.
//!
//! ```text
//! values or deviations ─ binding ─ window ─ ONNX graph ─ score ─ in units of its own spread ─ verdict
//! ```
//!
//! A foreign score may have any scale and sign; only its order means something. So it is taken as deviation `t` from its own
//! adaptive mean in units of its own spread, and `√ln(1 + eᵗ)`, which is positive, rises with it and varies about as much as
//! the score of the built-in detector (0.15 in logs, smoothed), is judged like that: by the node's running quantile and the
//! alarm budget, in the same stages.

use crate::attribution::Attribution;
use crate::detector::{DetectorConfig, Step};
use crate::import::package::Package;
use crate::import::{BindError, Binding, Series};
use crate::manifest::{Manifest, OutputKind, Preprocessing};
use crate::recent::Recent;
use crate::runtime::{Model, ModelError};
use crate::standardise::{Phase, Standardiser};
use crate::state::{self, StateError};
use crate::verdict::{Moment, Verdict};

/// Hours behind the mean and spread of the score.
const HORIZON_HOURS: f64 = 24.0;

/// Scores before the first is taken in units of their spread: fewer say little of it.
const FIRST_SCORES: u32 = 120;
/// Scores more before the first judgement: a stranger's score may have any tail.
const WATCHED: u64 = 480;

/// Why a model does not judge on this node.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum ForeignError {
    /// Its series are not there.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// It cannot be loaded or run.
    #[error(transparent)]
    Model(#[from] ModelError),
}

/// A foreign model and what is usual for its score here.
#[derive(Debug)]
pub struct ForeignDetector {
    manifest: Manifest,
    graph: Vec<u8>,
    digest: String,
    config: DetectorConfig,
    bound: Option<Bound>,
    /// Slot 0 is the score; one slot a column follows, with its score or, where there is one score for all, its input.
    usual: Standardiser,
    verdict: Verdict,
    attribution: Attribution,
    error: Option<ForeignError>,
}

/// The model on the series that are there.
#[derive(Debug)]
struct Bound {
    binding: Binding,
    /// Slot and label of each series that the binding knows, in its order.
    series: Vec<(usize, String)>,
    /// By slot: the column that it feeds.
    column_of: Vec<Option<usize>>,
    model: Model,
    rows: Recent,
    filled: usize,
    values: Vec<f32>,
    outputs: Vec<f32>,
    /// The score and what tells of each column.
    told: Vec<f32>,
    z: Vec<f32>,
    present: Vec<bool>,
}

impl ForeignDetector {
    /// A detector that has learned nothing; it judges once it is bound.
    #[must_use]
    pub fn new(package: &Package, config: DetectorConfig) -> Self {
        Self {
            manifest: package.manifest.clone(),
            graph: package.model().to_vec(),
            digest: package.digest(),
            bound: None,
            usual: Standardiser::new(1, horizon(&config)),
            verdict: Verdict::new(&config),
            attribution: Attribution::new(config.capacity),
            error: None,
            config,
        }
    }

    /// One that continues where [`ForeignDetector::save`] was called on the same model.
    ///
    /// # Errors
    /// Bytes that are damaged, of another version, period or model.
    pub fn restore(package: &Package, config: DetectorConfig, bytes: &[u8]) -> Result<Self, StateError> {
        let (verdict, level) = state::decode_foreign(config.period_ms, &package.digest(), bytes)?;
        let mut detector = Self::new(package, config);
        detector.verdict = Verdict::restore(&detector.config, &verdict);
        detector.usual.reset(0, Some(level));
        Ok(detector)
    }

    /// What was learned about the score, as bytes.
    #[must_use]
    pub fn save(&self) -> Vec<u8> {
        state::encode_foreign(self.config.period_ms, &self.digest, &self.verdict.save(), &self.usual.level(0))
    }

    /// The manifest.
    #[must_use]
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Whether it wants deviations from the usual instead of values.
    #[must_use]
    pub fn wants_deviations(&self) -> bool {
        self.manifest.input.preprocessing == Preprocessing::StandardisedWindow
    }

    /// Finds its columns among the series of the node, each with its slot below `capacity`, and loads the graph for them. A
    /// model whose series did not change goes on; the window of one whose series did is filled anew.
    ///
    /// # Errors
    /// Why it cannot judge here; [`ForeignDetector::error`] keeps it.
    pub fn bind(&mut self, capacity: usize, series: &[(usize, Series<'_>)]) -> Result<(), ForeignError> {
        match self.bound_to(series) {
            Ok(None) => self.attribution.grow(capacity),
            Ok(Some(bound)) => {
                let mut usual = Standardiser::new(bound.told.len(), horizon(&self.config));
                usual.reset(0, Some(self.usual.level(0)));
                self.attribution = Attribution::new(capacity);
                (self.usual, self.bound) = (usual, Some(bound));
            }
            Err(error) => {
                self.bound = None;
                self.error = Some(error.clone());
                return Err(error);
            }
        }
        self.error = None;
        Ok(())
    }

    /// The model on these series; `None` when they are those that feed it already.
    fn bound_to(&self, series: &[(usize, Series<'_>)]) -> Result<Option<Bound>, ForeignError> {
        let (slots, list): (Vec<usize>, Vec<Series<'_>>) = series.iter().copied().unzip();
        let binding = Binding::new(&self.manifest, &list)?;
        let new = binding.columns().iter().map(|c| c.map(|i| (slots[i], list[i].label)));
        if self.bound.as_ref().is_some_and(|bound| bound.feeders().eq(new)) {
            return Ok(None);
        }
        let limits = self.manifest.limits(binding.columns().len());
        let model = Model::load(&self.graph, limits)?;
        let told = 1 + binding.columns().len();
        let mut column_of = vec![None; slots.iter().max().map_or(0, |last| last + 1)];
        for (column, index) in binding.columns().iter().enumerate() {
            if let Some(index) = index {
                column_of[slots[*index]] = Some(column);
            }
        }
        Ok(Some(Bound {
            rows: Recent::new(binding.width(), limits.input[0]),
            filled: 0,
            values: vec![f32::NAN; slots.len()],
            outputs: vec![0.0; limits.output],
            told: vec![f32::NAN; told],
            z: vec![0.0; told],
            present: vec![false; told],
            binding,
            series: slots.into_iter().zip(list.into_iter().map(|s| s.label.to_owned())).collect(),
            column_of,
            model,
        }))
    }

    /// While held, as in maintenance, it judges but learns nothing and raises nothing.
    pub fn hold(&mut self, held: bool) {
        self.verdict.hold(held);
    }

    /// Another number of events a day that it may raise; `None` is one. What was learned stays.
    pub fn set_budget(&mut self, budget_per_day: Option<f64>) {
        self.config.budget_per_day = budget_per_day;
        self.verdict.set_budget(budget_per_day);
    }

    /// One point at a monotonic and a wall time; `value` gives the value, or deviation, of a slot's series, NaN where there is none.
    pub fn step(&mut self, value: impl Fn(usize) -> f32, at_mono_ms: u64, wall_ms: i64) -> Step {
        let learn = self.verdict.may_learn();
        let stage = self.verdict.stage(self.bound.is_some());
        let step = Step::before(&self.verdict, stage);
        let Some(bound) = &mut self.bound else { return step };
        let score = match bound.score(value, self.manifest.output.kind) {
            Ok(Some(score)) => score,
            Ok(None) => return step,
            Err(error) => {
                if self.error.is_none() {
                    tracing::warn!(%error, model = self.manifest.name, "A model fails; its verdict is missing.");
                }
                self.error = Some(error.into());
                return step;
            }
        };
        self.error = None;
        let before = self.usual.level(0);
        self.usual.step(&bound.told, learn, &mut bound.z, &mut bound.present);
        let young = self.verdict.learned() == 0 && before.points < FIRST_SCORES;
        if before.phase == Phase::Starting || young {
            return step;
        }
        let scale = if before.phase == Phase::Live { before.scale(0.0) } else { f64::INFINITY };
        let t = (f64::from(score) - before.mean) / scale;
        // ln(1 + eᵗ) without overflow.
        let judged = (t.max(0.0) + (-t.abs()).exp().ln_1p()).sqrt() as f32;
        if learn {
            self.verdict.learned_point();
        }
        if self.verdict.learned() < WATCHED {
            self.verdict.watch(judged, at_mono_ms);
            return step;
        }
        let at = Moment { mono_ms: at_mono_ms, wall_ms };
        let judgement = self.verdict.judge(judged, judged, stage, at);
        if judgement.accept_level {
            self.usual.accept_level(0);
        }
        let excess = |column: &Option<usize>| column.map_or(0.0, |c| (bound.z[c + 1].abs() - 1.0).max(0.0));
        self.attribution.follow(bound.column_of.iter().map(excess), &self.verdict, at_mono_ms);
        step.after(&self.verdict, &judgement, judged, bound.column_of.iter().flatten().count() as u32)
    }

    /// Attribution since the onset by slot, summing to at most 1.
    #[must_use]
    pub fn onset_shares(&self) -> &[f32] {
        self.attribution.since_onset()
    }

    /// When the score first exceeded the threshold, monotonic; `None` while all is quiet.
    #[must_use]
    pub fn onset_ms(&self) -> Option<u64> {
        self.attribution.onset_ms()
    }

    /// Why it does not judge, if it does not.
    #[must_use]
    pub fn error(&self) -> Option<&ForeignError> {
        self.error.as_ref()
    }
}

fn horizon(config: &DetectorConfig) -> f64 {
    HORIZON_HOURS * 3_600_000.0 / f64::from(config.period_ms.max(1))
}

impl Bound {
    /// Slot and label of what feeds each column.
    fn feeders(&self) -> impl Iterator<Item = Option<(usize, &str)>> {
        self.binding.columns().iter().map(|c| c.map(|i| (self.series[i].0, self.series[i].1.as_str())))
    }

    /// The host's score of the newest point; `None` while the window is not full, or when the model should not judge.
    fn score(&mut self, value: impl Fn(usize) -> f32, kind: OutputKind) -> Result<Option<f32>, ModelError> {
        for (held, (slot, _)) in self.values.iter_mut().zip(&self.series) {
            *held = value(*slot);
        }
        let judge = self.binding.fill(&self.values, self.rows.push());
        let [rows, width] = self.model.input_shape();
        self.filled = (self.filled + 1).min(rows);
        if !judge || self.filled < rows {
            return Ok(None);
        }
        let recent = &self.rows;
        let fill = |input: &mut [f32]| {
            for (row, out) in input.chunks_exact_mut(width).enumerate() {
                out.copy_from_slice(recent.row(rows - 1 - row));
            }
        };
        self.model.run_with(fill, &mut self.outputs)?;
        let score = self.outputs.iter().sum::<f32>() / self.outputs.len().max(1) as f32;
        self.told[0] = score;
        let columns = self.told.len() - 1;
        self.told[1..].copy_from_slice(match kind {
            OutputKind::ScorePerSeries => &self.outputs[..columns],
            OutputKind::HostScore => &recent.row(0)[..columns],
        });
        Ok(Some(score))
    }
}
