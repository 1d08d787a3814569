//! When the model is fitted anew, and the fit itself: at once or spread over ticks.

use super::{Detector, FIRST_FIT};
use crate::graph::Fitted;
use crate::runtime::{Limits, Model, ModelError};

/// Fits while the node is young, in points.
const EARLY_FITS: [u64; 6] = [FIRST_FIT, 120, 300, 600, 1800, 3600];

#[derive(Debug)]
pub(super) struct FitJob {
    slots: Vec<u32>,
    fitted: Fitted,
}

impl Detector {
    /// Whether a fit should be done (or gone on with) now. Never inside an event whose data must not be learned.
    #[must_use]
    pub fn refit_due(&self) -> bool {
        if self.job.is_some() {
            return true;
        }
        let learned = self.verdict.learned();
        // After a restart inside an event there is no model yet; what it is fitted from was learned before the event.
        let paused = self.verdict.is_open() && !self.verdict.persisting() && self.model.is_some();
        !paused && (learned >= self.next_fit || (learned >= self.newcomer_fit && self.newcomers_ready()))
    }

    /// Series with statistics of their own that are not in the model yet. Cheap: asked once a minute of points.
    fn newcomers_ready(&self) -> bool {
        self.model.is_some()
            && self.verdict.learned().is_multiple_of(60)
            && (0..self.config.capacity).any(|slot| self.can_fit(slot) && !self.fitted[slot])
    }

    fn can_fit(&self, slot: usize) -> bool {
        self.keys[slot].is_some() && self.learning.can_fit(slot)
    }

    /// Fits everything at once. See [`Detector::refit_some`].
    ///
    /// # Errors
    /// As [`Detector::refit_some`].
    pub fn refit(&mut self) -> Result<(), ModelError> {
        while !self.refit_some(usize::MAX)? {}
        Ok(())
    }

    /// Fits up to `series` series; the call that finds none left emits and loads the graph and answers `true`.
    ///
    /// # Errors
    /// The graph could not be loaded: the model before stays in force, and the next fit is tried when it is due.
    pub fn refit_some(&mut self, series: usize) -> Result<bool, ModelError> {
        let job = match self.job.take() {
            Some(job) => job,
            None => {
                let slots: Vec<u32> =
                    (0..self.config.capacity).filter(|s| self.can_fit(*s)).map(|s| s as u32).collect();
                FitJob { fitted: Fitted::default(), slots }
            }
        };
        let mut job = self.fit_slice(job, series);
        if job.fitted.series() < job.slots.len() {
            self.job = Some(job);
            return Ok(false);
        }
        self.plan_next_fit();
        if job.slots.is_empty() {
            return Ok(true);
        }
        job.fitted.blocks = self.learning.fit_blocks(&job.slots);
        match load_graph(&job.fitted) {
            Ok(model) => {
                self.put_in_force(model, job.slots, job.fitted.outputs());
                Ok(true)
            }
            Err(error) => {
                self.model_error = Some(error.clone());
                Err(error)
            }
        }
    }

    fn fit_slice(&self, mut job: FitJob, series: usize) -> FitJob {
        let from = job.fitted.series();
        let to = from.saturating_add(series.max(1)).min(job.slots.len());
        for slot in &job.slots[from..to] {
            self.learning.fit_series(*slot as usize, &mut job.fitted);
        }
        job
    }

    fn put_in_force(&mut self, model: Model, slots: Vec<u32>, outputs: usize) {
        self.fitted.fill(false);
        for slot in &slots {
            // A series that left or was replaced while the fit was spread over ticks has no statistics any more.
            self.fitted[*slot as usize] = self.can_fit(*slot as usize);
        }
        self.outputs.clear();
        self.outputs.resize(outputs, 0.0);
        self.columns = slots;
        self.model = Some(model);
        self.model_error = None;
    }

    fn plan_next_fit(&mut self) {
        let learned = self.verdict.learned();
        // Hourly at 1 Hz; at slower periods an hour brings too little news.
        let hour = (3_600_000 / u64::from(self.config.period_ms.max(1))).max(360);
        self.next_fit = EARLY_FITS.into_iter().find(|at| *at > learned).unwrap_or(learned + hour);
        self.newcomer_fit = learned + 300.min(hour);
    }
}

/// Emits and loads; the bytes are gone when it returns.
fn load_graph(fitted: &Fitted) -> Result<Model, ModelError> {
    Model::load(&fitted.graph(), Limits::new([fitted.rows(), fitted.series()], fitted.outputs()))
}
