//! Models that were made elsewhere, on the series of this node: from the packages named in the configuration to verdicts.
//!
//! A package is read, linted and run in a child process first ([`try_package`]); what passes is bound to the node's series
//! at the next sample. It judges samples or the means of minutes, as its manifest says.

use std::path::Path;

use tacit_models::import::{self, Package, Program, TrialLimits};
use tacit_models::{DetectorConfig, ForeignDetector};
use tacit_wire::Digest;
use tacit_wire::message::{Event, ModelInForce};
use tracing::{info, warn};

use super::anomaly::{Anomaly, Blame, Surroundings};
use super::model::{ModelJudge, is_judged};
use crate::clock::Tick;
use crate::ring::Span;
use crate::source::Dictionary;

/// Period of minute means.
pub const MINUTE_MS: u32 = 60_000;

/// A package that passed its trial.
#[derive(Debug)]
pub struct Tried {
    package: Package,
    digest: Digest,
}

/// Reads a package and runs its golden inputs in a child process.
///
/// # Errors
/// Why it is not used, in words.
pub fn try_package(path: &Path, program: &Program, period_ms: u32) -> Result<Tried, String> {
    let told = |e: String| format!("the model {} is not used: {e}", path.display());
    let package = Package::read(path).map_err(|e| told(e.to_string()))?;
    let wanted = package.manifest.input.period_ms;
    if ![period_ms, MINUTE_MS].contains(&wanted) {
        return Err(told(format!(
            "it wants a point every {wanted} ms; this node has samples every {period_ms} ms and means of {MINUTE_MS} ms"
        )));
    }
    let limits = TrialLimits::new(package.manifest.budget.memory_bytes);
    let tested = import::test(&package, program, limits).map_err(|e| told(e.to_string()))?;
    if let Some(first) = tested.findings.first() {
        return Err(told(first.to_string()));
    }
    let digest = tested.digest.parse::<Digest>().map_err(|e| told(e.to_string()))?;
    info!(model = package.manifest.name, run_us = tested.measured.p50_us, "A model passed its trial.");
    Ok(Tried { package, digest })
}

/// A foreign model and its event.
pub struct ForeignJudge {
    detector: ForeignDetector,
    digest: Digest,
    slow: bool,
    anomaly: Anomaly,
}

impl ForeignJudge {
    /// With what was learned about its score before, if that is there; it is taken out of `learned`.
    #[must_use]
    pub fn new(tried: &Tried, budget_per_day: Option<f64>, learned: &mut Vec<Vec<u8>>, quiet_until: u64) -> Self {
        let period_ms = tried.package.manifest.input.period_ms;
        let slow = period_ms == MINUTE_MS;
        let config = || DetectorConfig { capacity: 0, period_ms, budget_per_day };
        let restored = |bytes: &Vec<u8>| ForeignDetector::restore(&tried.package, config(), bytes).ok();
        let found = learned.iter().enumerate().find_map(|(at, bytes)| Some((at, restored(bytes)?)));
        let detector = match found {
            Some((at, detector)) => {
                learned.remove(at);
                detector
            }
            None => ForeignDetector::new(&tried.package, config()),
        };
        let span = if slow { Span::Minutes } else { Span::Samples };
        Self { detector, digest: tried.digest, slow, anomaly: Anomaly::new(span, period_ms, quiet_until) }
    }

    /// While held it learns nothing and raises nothing.
    pub fn hold(&mut self, held: bool) {
        self.detector.hold(held);
    }

    /// Another number of events a day that it may raise.
    pub fn set_budget(&mut self, per_day: Option<f64>) {
        self.detector.set_budget(per_day);
    }

    /// Forgets its event: somebody else has told its end.
    pub fn forget(&mut self) {
        self.anomaly.forget();
    }

    /// Whether it judges the means of minutes.
    #[must_use]
    pub fn is_slow(&self) -> bool {
        self.slow
    }

    /// Finds its columns among the series of a new epoch.
    pub fn rebind(&mut self, now: &Dictionary) {
        let slots = now.entries.last().map_or(0, |e| e.slot.index() + 1);
        let judged = || now.entries.iter().filter(|e| is_judged(&e.def));
        let labels: Vec<String> = judged().map(|e| e.def.label()).collect();
        let series: Vec<_> = judged()
            .zip(&labels)
            .map(|(e, label)| (e.slot.index(), import::Series { label, unit: &e.def.unit }))
            .collect();
        if let Err(error) = self.detector.bind(slots, &series) {
            warn!(%error, model = self.detector.manifest().name, "A model does not judge on this node.");
        }
    }

    /// Judges a point; `usual` has seen it already.
    pub fn judge(&mut self, at: Tick, values: &[f32], usual: &ModelJudge) {
        let value = |slot: usize| values.get(slot).copied().unwrap_or(f32::NAN);
        let step = if self.detector.wants_deviations() {
            self.detector.step(|slot| usual.detector().deviation(slot), at.mono_ms, at.wall_ms)
        } else {
            self.detector.step(value, at.mono_ms, at.wall_ms)
        };
        self.anomaly.judged(step);
    }

    /// Follows its event; gives the phase to send, if any.
    pub fn follow(&mut self, at: Tick, usual: &ModelJudge, around: &Surroundings<'_>) -> Option<Event> {
        let blame = Blame {
            onset_ms: self.detector.onset_ms(),
            shares: self.detector.onset_shares(),
            usual: usual.detector(),
            model: Some(self.digest),
        };
        self.anomaly.follow(at, &blame, around)
    }

    /// How it stands.
    #[must_use]
    pub fn in_force(&self) -> ModelInForce {
        let manifest = self.detector.manifest();
        let last = self.anomaly.last();
        ModelInForce {
            name: manifest.name.clone(),
            version: manifest.version.clone(),
            digest: self.digest,
            stage: last.map_or_else(Default::default, |s| s.stage),
            points: last.map_or(0, |s| s.points),
        }
    }

    /// Why it does not judge, if it does not.
    #[must_use]
    pub fn error(&self) -> Option<String> {
        Some(format!("{}: {}", self.detector.manifest().name, self.detector.error()?))
    }

    /// Whether an event is open that somebody was told of.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.anomaly.is_open()
    }

    /// What was learned about its score.
    #[must_use]
    pub fn save(&self) -> Vec<u8> {
        self.detector.save()
    }
}
