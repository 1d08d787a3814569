//! Endpoints that the configuration names (`[[probe]]`): whether they answer, how fast, and until when their certificate
//! is valid.
//!
//! Each probe is a task on the network thread's runtime; the sampling thread copies its newest answer. An answer is
//! believed for three intervals. Probes come and go with the configuration ([`Handle`]); those that stay are not disturbed.

mod ask;
pub(crate) mod expiry;
mod held;
pub mod icmp;
pub(crate) mod stream;
mod target;

pub use ask::{Answer, Asker};
pub use expiry::not_after_ms;
pub use target::{FORMS, How, Target};

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tacit_wire::semconv;
use tracing::{info, warn};

use super::task::{Refresher, Task};
use super::{Edits, Sample, Sampled, SeriesTable, Slot, Source, SourceError};
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
    edits: Edits<Edit>,
}

/// Probes that end, by name, and new ones.
#[derive(Debug)]
struct Edit {
    gone: Vec<String>,
    new: Vec<Probe>,
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
pub struct Answers(Arc<Mutex<Vec<Asked>>>);

/// Name and target of a probe, and its newest answer.
type Asked = (String, String, Arc<Held>);

impl Answers {
    fn lock(&self) -> MutexGuard<'_, Vec<Asked>> {
        // The list is valid at every step, so a poisoned lock changes nothing.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many answers there were: another number means that something is new.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.lock().iter().map(|(.., held)| held.count()).sum()
    }

    /// Whether there is a probe of this name.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.lock().iter().any(|(known, ..)| known == name)
    }

    /// The certificates as last seen.
    #[must_use]
    pub fn certificates(&self) -> Vec<Certificate> {
        let certificate = |(probe, target, held): &Asked| {
            let not_after_ms = held.numbers()?.not_after_ms?;
            Some(Certificate { probe: probe.clone(), target: target.clone(), not_after_ms })
        };
        self.lock().iter().filter_map(certificate).collect()
    }

    /// How each probe fares; those without an answer yet are left out.
    #[must_use]
    pub fn probed(&self) -> Vec<Probed> {
        let all = self.lock();
        let answered = all.iter().filter(|(.., held)| held.count() > 0);
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
    /// Changes them while they run.
    pub handle: Handle,
}

/// Changes the probes while they run.
#[derive(Debug, Clone)]
pub struct Handle {
    edits: Edits<Edit>,
    answers: Answers,
}

impl Handle {
    /// From the probes of one configuration to those of another: those that are the same go on. Gives the tasks of the new ones,
    /// to be run.
    #[must_use]
    pub fn change(&self, before: &[ProbeConfig], after: &[ProbeConfig]) -> Vec<Task> {
        let gone: Vec<String> = before.iter().filter(|p| !after.contains(p)).map(|p| p.name.clone()).collect();
        let new: Vec<ProbeConfig> = after.iter().filter(|p| !before.contains(p)).cloned().collect();
        self.answers.lock().retain(|(name, _, held)| {
            let ends = gone.contains(name);
            if ends {
                held.end();
            }
            !ends
        });
        let (list, tasks) = make(&new, &self.answers);
        self.edits.put(Edit { gone, new: list });
        tasks
    }
}

/// Makes the probes of a configuration that was checked.
#[must_use]
pub fn start(configs: &[ProbeConfig]) -> Started {
    started_with(configs, Answers::default())
}

/// The same, with a list of answers that others know already.
#[must_use]
pub fn started_with(configs: &[ProbeConfig], answers: Answers) -> Started {
    let (list, tasks) = make(configs, &answers);
    let refresher = |(.., held): &Asked| -> Refresher {
        let held = Arc::clone(held);
        Box::new(move |limit| held.refresh(limit))
    };
    let refreshers = answers.lock().iter().map(refresher).collect();
    let edits = Edits::default();
    let handle = Handle { edits: edits.clone(), answers: answers.clone() };
    Started { source: Probes { list, edits }, tasks, refreshers, answers, handle }
}

/// The probes and their tasks; their answers are put into the list.
fn make(configs: &[ProbeConfig], answers: &Answers) -> (Vec<Probe>, Vec<Task>) {
    let (mut list, mut tasks): (Vec<Probe>, Vec<Task>) = (Vec::new(), Vec::new());
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
        list.push(Probe { name: name.clone(), how, stale_ms, held: Arc::clone(&held), slots: None });
        answers.lock().push((name, target.to_string(), Arc::clone(&held)));
        tasks.push(Box::pin(run(config.clone(), target, held)));
    }
    (list, tasks)
}

/// Asks again and again, until nobody wants answers any more.
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
        if held.is_over() {
            return;
        }
    }
}

impl Probes {
    /// What is not asked any more gives its slots back.
    fn edit(&mut self, table: &mut SeriesTable) {
        for Edit { gone, new } in self.edits.take() {
            for probe in self.list.extract_if(.., |probe| gone.contains(&probe.name)) {
                if let Some(Slots { up, seconds, status, certificate }) = probe.slots {
                    [up, seconds, status, certificate].into_iter().for_each(|slot| table.retire(slot));
                }
            }
            self.list.extend(new);
        }
    }
}

impl Source for Probes {
    fn name(&self) -> &'static str {
        "probe"
    }

    fn sample(&mut self, out: &mut Sample<'_>) -> Result<Sampled, SourceError> {
        self.edit(out.table);
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
