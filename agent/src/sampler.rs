//! The sampling thread: all sources, on a fixed grid.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tacit_wire::Num;
use tacit_wire::message::{Absent, SourceCost};
use tracing::{info, warn};

use crate::analysis::SharedDictionary;
use crate::clock::Tick;
use crate::ring::FrameSender;
use crate::source::{Edits, Frame, Sample, Sampled, SeriesTable, Source};
use crate::watch::Pulse;

/// State of one source, for reports.
#[derive(Debug, Clone, Default)]
struct State {
    absent: Option<String>,
    failing: Option<String>,
    errors: u32,
    samples: u32,
    spent: Duration,
}

/// What the sampling thread shows to the others.
#[derive(Debug, Clone, Default)]
pub struct SamplerStatus {
    /// Series sampled.
    pub series: usize,
    /// Series refused because the table is full.
    pub refused: u32,
    /// What this node does not have.
    pub absent: Vec<Absent>,
    /// Cost and errors by source, the dearest first.
    pub sources: Vec<SourceCost>,
    /// Sources that fail now, in words.
    pub failing: Vec<String>,
}

/// The sources and their table.
pub struct Sampler {
    sources: Vec<(Box<dyn Source>, State)>,
    table: SeriesTable,
    dictionary: SharedDictionary,
    status: Arc<Mutex<SamplerStatus>>,
    tick: u32,
    changed: bool,
    /// Sources that come while it runs.
    newcomers: Edits<Box<dyn Source>>,
}

/// Ticks between renewals of the status when nothing changed.
const SHOW_EVERY: u32 = 60;

impl Sampler {
    /// Samples `sources` into a table of at most `max_series`.
    #[must_use]
    pub fn new(sources: Vec<Box<dyn Source>>, max_series: usize, dictionary: SharedDictionary) -> Self {
        Self {
            sources: sources.into_iter().map(|s| (s, State::default())).collect(),
            table: SeriesTable::new(max_series),
            dictionary,
            status: Arc::default(),
            tick: 0,
            changed: true,
            newcomers: Edits::default(),
        }
    }

    /// Where sources are put that are to be sampled too.
    #[must_use]
    pub fn newcomers(&self) -> Edits<Box<dyn Source>> {
        self.newcomers.clone()
    }

    /// The status, shared.
    #[must_use]
    pub fn status(&self) -> Arc<Mutex<SamplerStatus>> {
        Arc::clone(&self.status)
    }

    /// Takes one sample of everything. In steady state it allocates nothing.
    pub fn sample(&mut self, frame: &mut Frame) {
        for source in self.newcomers.take() {
            self.sources.push((source, State::default()));
            self.changed = true;
        }
        for (source, state) in &mut self.sources {
            if !self.tick.is_multiple_of(source.every().max(1)) {
                continue;
            }
            let mut out = Sample { at: frame.at, table: &mut self.table, values: &mut frame.values };
            let began = Instant::now();
            let sampled = source.sample(&mut out);
            state.spent += began.elapsed();
            state.samples += 1;
            self.changed |= note(source.name(), state, sampled);
        }
        self.tick = self.tick.wrapping_add(1);
        frame.epoch = self.table.epoch();
        if let Some(dictionary) = self.table.publish() {
            self.changed = true;
            *self.dictionary.lock().unwrap_or_else(PoisonError::into_inner) = dictionary;
        }
        if self.changed || self.tick.is_multiple_of(SHOW_EVERY) {
            self.changed = false;
            self.show();
        }
    }

    fn show(&self) {
        let mut status =
            SamplerStatus { series: self.table.len(), refused: self.table.refused(), ..SamplerStatus::default() };
        for (source, state) in &self.sources {
            let name = source.name().to_owned();
            if let Some(reason) = &state.absent {
                status.absent.push(Absent { source: name.clone(), reason: reason.clone() });
            }
            if let Some(error) = &state.failing {
                status.failing.push(format!("source {name}: {error}"));
            }
            status.sources.push(SourceCost {
                name,
                seconds: Num::quantised(state.spent.as_secs_f32() / state.samples.max(1) as f32),
                errors: state.errors,
                last_error: state.failing.clone(),
            });
        }
        status.sources.sort_by(|a, b| b.seconds.0.total_cmp(&a.seconds.0));
        *self.status.lock().unwrap_or_else(PoisonError::into_inner) = status;
    }

    /// Samples on the grid until `stop` says so, with a beat of `pulse` after each sample. A late wake-up skips to the next grid
    /// point; what was passed over is marked.
    pub fn run(mut self, interval: Duration, mut frames: FrameSender, pulse: &Pulse, stop: impl Fn() -> bool) {
        let start = Instant::now();
        let mut point = 0_u32;
        while !stop() {
            if let Some(mut frame) = frames.next_frame(Tick::now()) {
                self.sample(&mut frame);
                frames.send(frame);
            }
            pulse.beat();
            point += 1;
            let passed = passed_points(start, interval, point);
            if passed > 0 {
                frames.miss(passed);
                point += passed;
            }
            std::thread::sleep((start + interval * point).saturating_duration_since(Instant::now()));
        }
    }
}

/// Whole intervals by which now is beyond grid point `point`.
fn passed_points(start: Instant, interval: Duration, point: u32) -> u32 {
    let beyond = start.elapsed().saturating_sub(interval * point);
    (beyond.as_secs_f64() / interval.as_secs_f64()).floor() as u32
}

/// Takes note of a source's result and says whether its state changed; a change is logged once.
fn note(name: &'static str, state: &mut State, sampled: Result<Sampled, crate::source::SourceError>) -> bool {
    match sampled {
        Ok(Sampled::Data) => {
            let came = state.absent.take().is_some();
            let works = state.failing.take().is_some();
            if works {
                info!(source = name, "The source works again.");
            }
            came || works
        }
        Ok(Sampled::Absent(reason)) => {
            let new = state.absent.as_ref() != Some(&reason);
            if new && state.absent.is_none() {
                info!(source = name, reason, "Not on this machine.");
            }
            state.absent = Some(reason);
            state.failing = None;
            new
        }
        Err(error) => {
            state.errors = state.errors.saturating_add(1);
            let new = state.failing.is_none();
            if new {
                warn!(source = name, %error, "The source fails; the others go on.");
                state.failing = Some(error.to_string());
            }
            new
        }
    }
}
