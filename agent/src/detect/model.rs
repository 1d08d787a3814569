//! The built-in detector on the series of this node, at one of its two rates.

use tacit_models::{Detector, DetectorConfig, Step};
use tacit_wire::message::{Event, Stage};
use tacit_wire::{Digest, SeriesDef, semconv};

use super::anomaly::{Anomaly, Blame, Surroundings};
use super::floors::floor;
use crate::clock::Tick;
use crate::ring::Span;
use crate::source::Dictionary;

/// Series a fit looks at in one tick.
const FIT_A_TICK: usize = 32;
/// Memory grows by so many series.
const GROWTH: usize = 32;

/// The detector and its event.
pub struct ModelJudge {
    detector: Detector,
    most_series: usize,
    anomaly: Anomaly,
}

impl ModelJudge {
    /// With what was learned before, if it can be used; the error says why not. A slow judge takes minute means.
    ///
    /// # Errors
    /// When `learned` cannot be used.
    pub fn new(config: &DetectorConfig, learned: Option<&[u8]>, slow: bool, quiet_until: u64) -> Result<Self, String> {
        let span = if slow { Span::Minutes } else { Span::Samples };
        let anomaly = Anomaly::new(span, config.period_ms, quiet_until);
        // Memory is taken when series are bound.
        let (most_series, config) = (config.capacity, DetectorConfig { capacity: 0, ..config.clone() });
        let detector = match learned {
            None => Detector::new(config),
            Some(bytes) => Detector::restore(config, bytes).map_err(|e| e.to_string())?,
        };
        Ok(Self { detector, most_series, anomaly })
    }

    /// Binds slots to the series of a new epoch.
    pub fn rebind(&mut self, before: &Dictionary, now: &Dictionary) {
        let slots = now.entries.last().map_or(0, |e| e.slot.index() + 1).min(self.most_series);
        if slots > self.detector.capacity() {
            // Some more, so that it does not grow with every series.
            self.detector.grow((slots + slots / 16).next_multiple_of(GROWTH).min(self.most_series));
        }
        let moved = |slot: usize, key: u64, other: &Dictionary| other.get(slot).is_none_or(|e| e.key != key);
        for entry in before.entries.iter().filter(|e| is_judged(&e.def)) {
            if moved(entry.slot.index(), entry.key, now) {
                self.detector.unbind(entry.slot.index());
            }
        }
        for entry in now.entries.iter().filter(|e| is_judged(&e.def)) {
            if moved(entry.slot.index(), entry.key, before) {
                self.detector.bind(entry.slot.index(), entry.key);
                self.detector.set_floor(entry.slot.index(), floor(&entry.def));
            }
        }
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

    /// Judges a sample. Allocates nothing of its own; the model's runtime does.
    pub fn judge(&mut self, at: Tick, values: &[f32]) -> Step {
        let step = self.detector.step(values, at.mono_ms, at.wall_ms);
        self.anomaly.judged(step);
        if self.detector.refit_due() {
            // A failed fit is kept by the detector as its model error, and shown as health.
            if self.detector.refit_some(FIT_A_TICK).unwrap_or(true) {
                crate::heap::purge();
            }
        }
        step
    }

    /// Follows the event through the last verdict; gives the phase to send, if any. To be called at every tick, whether or
    /// not there is a new verdict.
    pub fn follow(&mut self, at: Tick, around: &Surroundings<'_>) -> Option<Event> {
        let blame = Blame {
            onset_ms: self.detector.onset_ms(),
            shares: self.detector.onset_shares(),
            usual: &self.detector,
            model: self.digest(),
        };
        self.anomaly.follow(at, &blame, around)
    }

    /// Stage of learning.
    #[must_use]
    pub fn stage(&self) -> Stage {
        self.detector.stage()
    }

    /// The last verdict.
    #[must_use]
    pub fn last(&self) -> Option<&Step> {
        self.anomaly.last()
    }

    /// The detector, which knows what is usual.
    #[must_use]
    pub fn detector(&self) -> &Detector {
        &self.detector
    }

    /// The model in force.
    #[must_use]
    pub fn digest(&self) -> Option<Digest> {
        self.detector.digest().map(Digest)
    }

    /// What is wrong with the model, if anything.
    #[must_use]
    pub fn error(&self) -> Option<String> {
        self.detector.model_error().map(ToString::to_string)
    }

    /// Series that crept far from their anchor, the farthest first, in words.
    #[must_use]
    pub fn crept(&self, dictionary: &Dictionary) -> Vec<String> {
        let far = |e: &crate::source::Entry| Some((self.detector.crept(e.slot.index())?, e.def.label()));
        let mut list: Vec<(f32, String)> = dictionary.entries.iter().filter_map(far).collect();
        list.sort_by(|a, b| b.0.total_cmp(&a.0));
        list.into_iter().map(|(_, label)| label).collect()
    }

    /// Whether an event is open that somebody was told of.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.anomaly.is_open()
    }

    /// What was learned.
    #[must_use]
    pub fn save(&self) -> Vec<u8> {
        self.detector.save()
    }
}

/// Whether a model looks at a series. A status is a name, not a quantity, and the days of a certificate only fall: rules look
/// at them, a model learns nothing.
#[must_use]
pub fn is_judged(def: &SeriesDef) -> bool {
    ![semconv::PROBE_HTTP_STATUS.name, semconv::PROBE_CERTIFICATE.name].contains(&def.name.as_str())
}
