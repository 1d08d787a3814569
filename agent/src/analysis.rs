//! The analysis thread: each frame is remembered, judged, explained and summed up.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use tacit_models::Step;
use tacit_wire::message::{
    Context, ContextKind, Event, EventKind, ModelInForce, Phase, ProcessNote, Promise, ResultBody, Stage,
};
use tacit_wire::{BootId, Digest, Num, SeriesId};
use tokio::sync::mpsc;
use tracing::{info, warn};

use crate::clock::Tick;
use crate::config::Config;
use crate::context::{Board, Notes, kernel_log};
use crate::detect::anomaly::Surroundings;
use crate::detect::event::{Sender, new_id};
use crate::detect::foreign::Tried;
use crate::detect::judges::{Judges, Setup};
use crate::detect::open::OpenEvents;
use crate::detect::promise::Raised;
use crate::detect::rulebook::{RuleBook, Watched};
use crate::detect::state::{self, StateFile};
use crate::fleet::Pull;
use crate::fleet::maintenance::{Mark, MarkFile};
use crate::outgoing::Outgoing;
use crate::ring::History;
use crate::source::processes::ProcessScan;
use crate::source::{Dictionary, Frame};
use crate::summary::Summariser;

/// Messages that wait here while the network thread is behind; the oldest that is not an event goes first.
const BACKLOG: usize = 256;
/// Events are held back for so long after the agent's start …
const SETTLE_MS: u64 = 30_000;
/// … and for so long after a boot: what was learned is of a machine that had been up for a while.
const SETTLE_BOOT_MS: u64 = 5 * 60_000;
/// Distance of looks at the mark of maintenance.
const LOOK_MS: u64 = 5_000;
/// Top processes an event names.
const PROCESSES: usize = 8;

/// The dictionary as the sampling thread last published it.
pub type SharedDictionary = Arc<Mutex<Arc<Dictionary>>>;

/// What the analysis is given.
pub struct Inputs {
    /// Who sends.
    pub sender: Sender,
    /// All settings.
    pub config: Config,
    /// The series table.
    pub dictionary: SharedDictionary,
    /// What rules look at beside the samples.
    pub watched: Watched,
    /// What watchers tell.
    pub happened: mpsc::Receiver<Context>,
    /// What they can see.
    pub board: Board,
    /// Foreign models that passed their trial, and why others did not.
    pub models: mpsc::Receiver<Result<Tried, String>>,
    /// How the machine went down before this boot, in words.
    pub booted: Option<String>,
    /// The process scan.
    pub processes: Option<ProcessScan>,
    /// The way out.
    pub out: mpsc::Sender<Outgoing>,
    /// Live frames, while `watch` lasts.
    pub live: mpsc::Sender<ResultBody>,
    /// Until when live frames are wanted, milliseconds since boot.
    pub watch: Arc<AtomicU64>,
    /// A fault of our own is at work.
    pub injected: Arc<AtomicBool>,
}

/// What the analysis shows to the others.
#[derive(Debug, Clone, Default)]
pub struct AnalysisStatus {
    /// Stage of learning.
    pub stage: Stage,
    /// Points learned from.
    pub points: u64,
    /// Series that take part in the verdict.
    pub judged: u32,
    /// The model in force.
    pub model: Option<Digest>,
    /// Alarm value of the last sample; above 0 is an alarm.
    pub alarm: f32,
    /// The mark of maintenance that stands.
    pub maintenance: Option<Mark>,
    /// Alarms promised and raised.
    pub promise: Promise,
    /// What is wrong with the model.
    pub model_error: Option<String>,
    /// Series that crept away from what they were some days ago, without an event.
    pub crept: Vec<String>,
    /// Foreign models in force.
    pub foreign: Vec<ModelInForce>,
    /// What is wrong with foreign models.
    pub foreign_errors: Vec<String>,
    /// Events open now.
    pub open_events: usize,
    /// Samples missed since the start.
    pub missed: u64,
    /// Samples analysed since the start.
    pub samples: u64,
    /// Mean seconds of a verdict.
    pub inference: f32,
}

/// The analysis.
pub struct Analysis {
    inputs: Inputs,
    known: Arc<Dictionary>,
    history: History,
    summariser: Summariser,
    judges: Judges,
    /// Why foreign models are not used.
    refused: Vec<String>,
    model_on: bool,
    rules: RuleBook,
    notes: Notes,
    raised: Raised,
    open: OpenEvents,
    file: StateFile,
    marks: MarkFile,
    mark: Option<Mark>,
    looked_mono_ms: u64,
    saved_mono_ms: u64,
    backlog: VecDeque<Outgoing>,
    status: Arc<Mutex<AnalysisStatus>>,
    error_told: bool,
    began: bool,
    new_boot: bool,
}

impl Analysis {
    /// Begins with what was learned before, from the state folder.
    #[must_use]
    pub fn new(inputs: Inputs, state_dir: &Path, now: Tick) -> Self {
        let config = &inputs.config;
        let capacity = config.sampling.max_series;
        let budget = config.detect.alarm_budget.rate_per_day();
        let period_ms = u32::try_from(config.sampling.interval.as_millis()).unwrap_or(1000);
        let file = StateFile::new(state_dir);
        let (notes, learned) = file.load().map_or_else(|| (state::Notes::default(), None), |(n, d)| (n, Some(d)));
        let new_boot = notes.boot != inputs.sender.boot;
        let settle = if new_boot && notes.boot != BootId::default() { SETTLE_BOOT_MS } else { SETTLE_MS };
        let quiet_until = now.mono_ms + settle;
        let setup = Setup {
            period_ms,
            most_series: capacity,
            budget_per_day: budget,
            foreign: config.model.len(),
            quiet_until,
        };
        let judges = |learned: Option<&[u8]>| Judges::new(setup.clone(), learned);
        let judges = judges(learned.as_deref()).unwrap_or_else(|why| {
            file.set_aside(&why);
            judges(None).expect("nothing learned can always be used")
        });
        let name_all = config.publish.encoding == tacit_wire::Encoding::Json;
        let bytes = config.publish.bytes_per_month.map(crate::config::Size::bytes);
        Self {
            known: Arc::default(),
            // It takes its memory when series come.
            history: History::new(0),
            summariser: Summariser::new(config.publish.profile.into(), capacity, name_all, bytes),
            judges,
            refused: Vec::new(),
            model_on: budget.is_some(),
            rules: RuleBook::new(config.detect.disk_full_within.std().as_secs_f64(), inputs.watched.clone()),
            notes: Notes::default(),
            raised: notes.raised,
            open: OpenEvents::load(state_dir),
            file,
            marks: MarkFile::new(state_dir),
            mark: None,
            looked_mono_ms: 0,
            saved_mono_ms: now.mono_ms,
            backlog: VecDeque::with_capacity(BACKLOG),
            status: Arc::default(),
            error_told: false,
            began: false,
            new_boot,
            inputs,
        }
    }

    /// The status, shared.
    #[must_use]
    pub fn status(&self) -> Arc<Mutex<AnalysisStatus>> {
        Arc::clone(&self.status)
    }

    /// Takes over another configuration: the budget of alarms, the rule of disks, snapshots, and what summaries say. What was
    /// learned stays.
    pub fn configure(&mut self, config: Config, at: Tick) {
        let budget = config.detect.alarm_budget.rate_per_day();
        self.judges.set_budget(budget);
        if self.model_on && budget.is_none() {
            for event in self.open.anomaly_endings(&self.inputs.sender, at) {
                self.send(Outgoing::Event(Box::new(event)));
            }
            self.judges.forget();
        }
        self.model_on = budget.is_some();
        self.rules.set_disk_full_within(config.detect.disk_full_within.std().as_secs_f64());
        let name_all = config.publish.encoding == tacit_wire::Encoding::Json;
        let bytes = config.publish.bytes_per_month.map(crate::config::Size::bytes);
        self.summariser.configure(config.publish.profile.into(), name_all, bytes);
        self.inputs.config = config;
    }

    /// Takes one frame through all steps.
    pub fn step(&mut self, frame: &Frame) {
        if !self.began {
            self.began = true;
            self.say_start(frame.at);
        }
        if frame.epoch != self.known.epoch {
            self.rebind();
        }
        while let Ok(tried) = self.inputs.models.try_recv() {
            match tried {
                Ok(tried) => self.judges.add(&tried, &self.known),
                Err(why) => {
                    warn!("{why}");
                    self.refused.push(why);
                }
            }
        }
        // What happened comes first: the events of this moment may need it as context.
        while let Ok(note) = self.inputs.happened.try_recv() {
            self.context(note, frame.at);
        }
        self.maintenance(frame.at);
        self.history.push(frame.at, &frame.values);
        let clock = Instant::now();
        let step = self.judges.judge(frame.at, &frame.values);
        let inference = clock.elapsed().as_secs_f32();
        let alarm = if step.judged { step.alarm } else { f32::NAN };
        if let Some((at, means)) = self.summariser.add(frame, alarm) {
            self.history.push_minute(at, means);
            self.judges.judge_minute(frame.at, means);
        }
        self.events(frame);
        let head = self.inputs.sender.head(frame.at);
        if let Some(summary) = self.summariser.take(head, &self.known) {
            self.send(Outgoing::Summary(Box::new(summary)));
        }
        self.live(frame);
        self.flush();
        self.snapshot(frame.at);
        self.show(frame, &step, inference);
    }

    fn say_start(&mut self, at: Tick) {
        if self.new_boot {
            let booted = at.wall_ms - i64::try_from(at.mono_ms).unwrap_or(0);
            let text = self.inputs.booted.take().unwrap_or_else(|| "the machine booted".to_owned());
            self.context(Context { kind: ContextKind::Boot, at_ms: booted, text, unit: None }, at);
        }
        for event in self.open.endings(&self.inputs.sender, at) {
            self.send(Outgoing::Event(Box::new(event)));
        }
        let text = concat!("the agent started, version ", env!("CARGO_PKG_VERSION")).to_owned();
        self.context(Context { kind: ContextKind::AgentStart, at_ms: at.wall_ms, text, unit: None }, at);
    }

    /// Notes something and sends it as an event of its own, which is over when it is told.
    fn context(&mut self, note: Context, at: Tick) {
        self.notes.add(note.clone());
        if !self.notes.may_tell(at.mono_ms) {
            return;
        }
        let ago = u64::try_from(at.wall_ms - note.at_ms).unwrap_or(0);
        let onset = Tick { mono_ms: at.mono_ms.saturating_sub(ago), wall_ms: note.at_ms };
        let mut event = self.inputs.sender.event(new_id(), EventKind::Context, Phase::Close, at, onset);
        event.text.clone_from(&note.text);
        event.context = vec![note];
        self.send(Outgoing::Event(Box::new(event)));
    }

    /// Looks whether somebody marked maintenance, or ended it.
    fn maintenance(&mut self, at: Tick) {
        if at.mono_ms.saturating_sub(self.looked_mono_ms) < LOOK_MS {
            return;
        }
        self.looked_mono_ms = at.mono_ms;
        let mark = self.marks.read(at.wall_ms);
        // Models may have come meanwhile.
        self.judges.hold(mark.is_some());
        if mark == self.mark {
            return;
        }
        let text = match &mark {
            Some(mark) => format!("{}: nothing is learned, no model raises an alarm", mark.words()),
            None => "the maintenance is over".to_owned(),
        };
        self.status.lock().unwrap_or_else(PoisonError::into_inner).maintenance.clone_from(&mark);
        self.mark = mark;
        self.context(Context { kind: ContextKind::Maintenance, at_ms: at.wall_ms, text, unit: None }, at);
    }

    fn rebind(&mut self) {
        let now = Arc::clone(&self.inputs.dictionary.lock().unwrap_or_else(PoisonError::into_inner));
        let slots = now.entries.last().map_or(0, |e| e.slot.index() + 1);
        self.history.grow(slots.next_multiple_of(32).min(self.inputs.config.sampling.max_series));
        for entry in &now.entries {
            let slot = entry.slot.index();
            if self.known.get(slot).is_none_or(|e| e.key != entry.key) {
                self.history.clear(slot);
                self.summariser.clear(slot);
            }
        }
        self.judges.rebind(&self.known, &now);
        self.rules.rebind(&now);
        self.known = now;
    }

    fn events(&mut self, frame: &Frame) {
        for event in self.rules.look(frame.at, &frame.values, &self.inputs.sender) {
            self.rule_event(event);
        }
        if !self.model_on {
            return;
        }
        let scan = self.inputs.processes.as_ref();
        let processes = || top_processes(scan);
        let request_scan = || {
            if let Some(scan) = scan {
                scan.request();
            }
        };
        let around = Surroundings {
            dictionary: &self.known,
            history: &self.history,
            notes: &self.notes,
            processes: &processes,
            request_scan: &request_scan,
            injected: self.inputs.injected.load(Ordering::Relaxed),
            sender: &self.inputs.sender,
        };
        let phases: Vec<Event> = self.judges.follow(frame.at, &around).collect();
        for event in phases {
            if event.phase == Phase::Open {
                self.raised.model(frame.at.wall_ms);
            }
            self.send(Outgoing::Event(Box::new(event)));
        }
    }

    fn rule_event(&mut self, mut event: Event) {
        // The rule's own note comes last; the one kept of an earlier phase is not told twice.
        let own = std::mem::replace(&mut event.context, self.notes.near(event.onset_ms));
        event.context.retain(|note| own.iter().all(|o| o.text != note.text));
        event.context.extend_from_slice(&own);
        if event.phase == Phase::Open {
            self.raised.rule(event.head.wall_ms);
            let kind = match event.rule.as_deref() {
                // The kernel's log names the victim, where it can be read.
                Some("oom-kill") if !self.inputs.board.works(kernel_log::NAME) => Some(ContextKind::OomKill),
                Some("clock-jump") => Some(ContextKind::ClockJump),
                _ => None,
            };
            let note = |kind| Context { kind, at_ms: event.onset_ms, text: event.text.clone(), unit: None };
            kind.map(note).into_iter().chain(own).for_each(|note| self.notes.add(note));
            event.processes = top_processes(self.inputs.processes.as_ref());
        }
        event.injected = self.inputs.injected.load(Ordering::Relaxed);
        self.send(Outgoing::Event(Box::new(event)));
    }

    fn send(&mut self, message: Outgoing) {
        if let Outgoing::Event(e) = &message {
            info!(kind = %e.kind, phase = %e.phase, severity = e.severity.0, "Event: {}", e.text);
            self.open.follow(e);
        }
        if self.backlog.len() == BACKLOG {
            let drop = self.backlog.iter().position(|m| !matches!(m, Outgoing::Event(_))).unwrap_or(0);
            self.backlog.remove(drop);
            warn!("A message was dropped: the network thread does not take any.");
        }
        self.backlog.push_back(message);
    }

    /// Hands over what the network thread takes now; it never waits.
    fn flush(&mut self) {
        while let Some(message) = self.backlog.pop_front() {
            match self.inputs.out.try_send(message) {
                Ok(()) => {}
                Err(mpsc::error::TrySendError::Full(message)) => {
                    self.backlog.push_front(message);
                    return;
                }
                Err(mpsc::error::TrySendError::Closed(_)) => return,
            }
        }
    }

    fn live(&mut self, frame: &Frame) {
        if self.inputs.watch.load(Ordering::Relaxed) <= frame.at.mono_ms || self.inputs.live.capacity() == 0 {
            return;
        }
        let ids: Vec<SeriesId> = self.known.entries.iter().map(|e| e.slot.id()).collect();
        let values = ids.iter().map(|id| Num::quantised(frame.values[usize::from(id.0)])).collect();
        let step_ms = u32::try_from(self.inputs.config.sampling.interval.as_millis()).unwrap_or(1000);
        let body = ResultBody::Frames {
            epoch: self.known.epoch,
            start_ms: frame.at.wall_ms,
            step_ms,
            ids,
            frames: vec![values],
        };
        // A slow connection loses live frames, nothing else.
        let _ = self.inputs.live.try_send(body);
    }

    /// Answers a request for history.
    pub fn pull(&self, pull: Pull) {
        let wanted = |id: SeriesId| pull.series.as_ref().is_none_or(|list| list.contains(&id));
        let ids: Vec<SeriesId> = self.known.entries.iter().map(|e| e.slot.id()).filter(|id| wanted(*id)).collect();
        let held: Vec<(Tick, &[f32])> = self
            .history
            .between(0, u64::MAX)
            .filter(|(at, _)| (pull.from_ms..=pull.to_ms).contains(&at.wall_ms))
            .collect();
        let answer = match held.first() {
            None => ResultBody::Refused {
                reason: "nothing is held of that time: full rate is kept for five minutes".into(),
            },
            Some((first, _)) => ResultBody::Frames {
                epoch: self.known.epoch,
                start_ms: first.wall_ms,
                step_ms: u32::try_from(self.inputs.config.sampling.interval.as_millis()).unwrap_or(1000),
                frames: held
                    .iter()
                    .map(|(_, v)| ids.iter().map(|id| Num::quantised(v[usize::from(id.0)])).collect())
                    .collect(),
                ids,
            },
        };
        // Who asked may have gone.
        let _ = pull.answer.send(vec![answer]);
    }

    fn snapshot(&mut self, at: Tick) {
        if at.mono_ms.saturating_sub(self.saved_mono_ms) >= self.inputs.config.detect.snapshot_interval.as_millis() {
            self.saved_mono_ms = at.mono_ms;
            self.save();
            self.open.tidy();
        }
    }

    /// Writes what was learned to disk.
    pub fn save(&self) {
        let notes = state::Notes { boot: self.inputs.sender.boot, raised: self.raised.clone() };
        if let Err(e) = self.file.save(&notes, &self.judges.save()) {
            warn!(error = %e, "Cannot save what was learned; it is kept in memory and saved later.");
        }
    }

    /// Saves, and hands over what is left.
    pub fn finish(&mut self) {
        self.save();
        self.open.tidy();
        self.flush();
    }

    fn show(&mut self, frame: &Frame, step: &Step, inference: f32) {
        let error = self.judges.error();
        if let (Some(error), false) = (&error, self.error_told) {
            warn!(error, "The model fails; sampling and rules go on.");
        }
        self.error_told = error.is_some();
        let promise = self.raised.promise(self.inputs.config.detect.alarm_budget.rate_per_day(), frame.at.wall_ms);
        let mut status = self.status.lock().unwrap_or_else(PoisonError::into_inner);
        let before = status.inference;
        // Once a minute is often enough for what changes over days, and it allocates.
        if status.samples.is_multiple_of(60) {
            status.crept = self.judges.crept(&self.known);
            status.foreign = self.judges.foreign();
            status.foreign_errors = self.refused.iter().cloned().chain(self.judges.foreign_errors()).collect();
        }
        *status = AnalysisStatus {
            stage: step.stage,
            points: step.points,
            judged: step.series,
            model: self.judges.digest(),
            alarm: step.alarm,
            promise,
            model_error: error,
            open_events: self.rules.open() + self.judges.open(),
            missed: status.missed + u64::from(frame.missed),
            samples: status.samples + 1,
            inference: if before == 0.0 { inference } else { before + 0.02 * (inference - before) },
            ..std::mem::take(&mut *status)
        };
    }
}

fn top_processes(scan: Option<&ProcessScan>) -> Vec<ProcessNote> {
    let newest = scan.and_then(ProcessScan::newest);
    let Some(Ok(snapshot)) = newest.as_deref() else { return Vec::new() };
    let mut notes = snapshot.notes();
    notes.truncate(PROCESSES);
    notes
}
