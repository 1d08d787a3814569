//! Endpoints that the configuration names (`[[probe]]`): whether they answer, how fast, and until when their certificate
//! is valid.
//!
//! Each probe is a task on the network thread's runtime; the sampling thread copies its newest answer. An answer is
//! believed for three intervals.

mod ask;
mod expiry;
mod held;
pub mod icmp;
mod stream;
mod target;

pub use ask::{Answer, Asker};
pub use expiry::not_after_ms;
pub use target::{FORMS, How, Target};

use std::sync::Arc;

use tacit_wire::semconv;
use tracing::{info, warn};

use super::task::{Refresher, Task};
use super::{Sample, Sampled, SeriesTable, Slot, Source, SourceError};
use crate::clock::Tick;
use crate::config::ProbeConfig;
use held::{Held, Numbers};

/// Answers are believed for so many intervals after they were given.
const STALE: u64 = 3;
const DAY_MS: f64 = 86_400_000.0;

/// The source of family `probe`.
#[derive(Debug, Default)]
pub struct Probes {
    list: Vec<Probe>,
}

#[derive(Debug)]
struct Probe {
    name: String,
    how: How,
    stale_ms: u64,
    held: Arc<Held>,
    slots: Option<Slots>,
}

#[derive(Debug, Clone, Copy)]
struct Slots {
    up: Slot,
    seconds: Slot,
    status: Slot,
    certificate: Slot,
}

/// A probe's certificate, for the rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate {
    /// Name of the probe.
    pub probe: String,
    /// What is asked.
    pub target: String,
    /// End of its validity, Unix milliseconds.
    pub not_after_ms: i64,
}

/// How a probe fares, for the rule and `doctor`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probed {
    /// Its name.
    pub name: String,
    /// What is asked.
    pub target: String,
    /// Failures in a row.
    pub failures: u32,
    /// What is wrong, in words.
    pub error: String,
}

/// The newest answers of all probes.
#[derive(Debug, Clone, Default)]
pub struct Answers(Arc<[(String, String, Arc<Held>)]>);

impl Answers {
    /// How many answers there were: another number means that something is new.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.0.iter().map(|(.., held)| held.count()).sum()
    }

    /// The certificates as last seen.
    #[must_use]
    pub fn certificates(&self) -> Vec<Certificate> {
        let certificate = |(probe, target, held): &(String, String, Arc<Held>)| {
            let not_after_ms = held.numbers()?.not_after_ms?;
            Some(Certificate { probe: probe.clone(), target: target.clone(), not_after_ms })
        };
        self.0.iter().filter_map(certificate).collect()
    }

    /// How each probe fares; those without an answer yet are left out.
    #[must_use]
    pub fn probed(&self) -> Vec<Probed> {
        let answered = self.0.iter().filter(|(.., held)| held.count() > 0);
        answered
            .map(|(name, target, held)| {
                let (failures, error) = held.failures();
                Probed { name: name.clone(), target: target.clone(), failures, error }
            })
            .collect()
    }
}

/// The source, its tasks, and what others may look at.
pub struct Started {
    /// The source.
    pub source: Probes,
    /// To be run.
    pub tasks: Vec<Task>,
    /// Each has one probe asked now.
    pub refreshers: Vec<Refresher>,
    /// The answers.
    pub answers: Answers,
}

/// Makes the probes of a configuration that was checked.
#[must_use]
pub fn start(configs: &[ProbeConfig]) -> Started {
    let mut started =
        Started { source: Probes::default(), tasks: Vec::new(), refreshers: Vec::new(), answers: Answers::default() };
    let mut shared = Vec::new();
    for config in configs {
        let target: Target = match config.target.parse() {
            Ok(target) => target,
            // The check of the configuration refuses it with line and key.
            Err(error) => {
                warn!(probe = %config.name, error, "A probe has no target and is left out.");
                continue;
            }
        };
        let held = Arc::new(Held::default());
        let (name, how) = (config.name.clone(), target.how);
        let stale_ms = STALE * config.interval.as_millis();
        started.source.list.push(Probe { name: name.clone(), how, stale_ms, held: Arc::clone(&held), slots: None });
        shared.push((name, target.to_string(), Arc::clone(&held)));
        let refresh = Arc::clone(&held);
        started.refreshers.push(Box::new(move |limit| refresh.refresh(limit)));
        started.tasks.push(Box::pin(run(config.clone(), target, held)));
    }
    started.answers = Answers(shared.into());
    started
}

/// Asks again and again.
async fn run(config: ProbeConfig, target: Target, held: Arc<Held>) {
    let shown = target.to_string();
    let mut asker = match Asker::new(target, config.status.clone(), config.timeout.std()) {
        Ok(asker) => asker,
        Err(error) => {
            held.put(Tick::now().mono_ms, Answer { seconds: f32::NAN, error, ..Answer::default() });
            return;
        }
    };
    let mut first = true;
    loop {
        let answer = asker.ask().await;
        let (up, error) = (answer.up, answer.error.clone());
        let before = held.put(Tick::now().mono_ms, answer);
        // A change is said once.
        if !up && (first || before.error != error) {
            warn!(probe = %config.name, target = %shown, error, "A probe fails.");
        } else if up && !first && !before.up {
            info!(probe = %config.name, target = %shown, "The probe works again.");
        }
        first = false;
        tokio::select! {
            () = tokio::time::sleep(config.interval.std()) => {}
            () = held.asked.notified() => {}
        }
    }
}

impl Source for Probes {
    fn name(&self) -> &'static str {
        "probe"
    }

    fn sample(&mut self, out: &mut Sample<'_>) -> Result<Sampled, SourceError> {
        if self.list.is_empty() {
            return Ok(Sampled::Absent("no [[probe]] section is configured".into()));
        }
        for probe in &mut self.list {
            let Some(numbers) = probe.held.numbers() else { continue };
            let Probe { name, how, stale_ms, slots, .. } = probe;
            let slots = *slots.get_or_insert_with(|| Slots::register(name, *how, out.table));
            if out.at.mono_ms.saturating_sub(numbers.at_ms) <= *stale_ms {
                slots.write(&numbers, out);
            }
        }
        Ok(Sampled::Data)
    }
}

impl Slots {
    fn register(name: &str, how: How, table: &mut SeriesTable) -> Self {
        let attributes = [("probe.name", name)];
        let mut register = |metric, wanted| if wanted { table.register(metric, &attributes) } else { Slot::NONE };
        Self {
            up: register(&semconv::PROBE_UP, true),
            seconds: register(&semconv::PROBE_DURATION, true),
            status: register(&semconv::PROBE_HTTP_STATUS, how.is_http()),
            certificate: register(&semconv::PROBE_CERTIFICATE, how.is_tls()),
        }
    }

    fn write(&self, numbers: &Numbers, out: &mut Sample<'_>) {
        out.set(self.up, f32::from(u8::from(numbers.up)));
        out.set(self.seconds, numbers.seconds);
        out.set(self.status, numbers.status.map_or(f32::NAN, f32::from));
        let days = numbers.not_after_ms.map(|end| end.saturating_sub(out.at.wall_ms) as f64 / DAY_MS);
        out.set(self.certificate, days.map_or(f32::NAN, |days| days as f32));
    }
}
