//! The model's verdict on each sample, and the event it opens.
//!
//! The detector itself is `tacit-models`; here its slots are bound to series, and an open event collects its evidence:
//! which series, what was seen and what is usual, who was on top, and the flight recorder.

use tacit_models::{Detector, DetectorConfig, Step, Transition};
use tacit_wire::message::{Direction, Event, EventKind, Evidence, Phase, ProcessNote, Stage};
use tacit_wire::{Digest, EventId, Num, SeriesDef, semconv};

use super::event::{Sender, direction, new_id};
use super::floors::floor;
use super::{explain, words};
use crate::clock::Tick;
use crate::context::Notes;
use crate::ring::{History, Span};
use crate::source::Dictionary;

/// Series an event names.
const NAMED: usize = 8;
/// The recorder begins so many points before the onset.
const BEFORE: u64 = 60;
/// Points of a recording.
const POINTS: usize = 240;
/// Series a fit looks at in one tick.
const FIT_A_TICK: usize = 32;
/// Memory grows by so many series.
const GROWTH: usize = 32;

/// The detector and its open event.
pub struct ModelJudge {
    detector: Detector,
    /// Where its points are remembered, and how far apart they are.
    span: Span,
    period_ms: u64,
    most_series: usize,
    event: Option<Open>,
    /// Events are held back until this time: statistics settle after a start.
    quiet_until: u64,
    last: Option<Step>,
    /// The last verdict was not followed yet.
    fresh: bool,
}

/// The event that is open, or closed lately and may come back.
struct Open {
    number: u32,
    id: EventId,
    onset: Tick,
    score: f32,
    severity: f32,
    p_value: f32,
    /// A phase that waits for the process scan, until this time.
    due: Option<(Phase, u64)>,
    /// Somebody was told of it.
    told: bool,
    injected: bool,
}

/// What surrounds a verdict.
pub struct Surroundings<'a> {
    /// The series table.
    pub dictionary: &'a Dictionary,
    /// What was.
    pub history: &'a History,
    /// What else happened.
    pub notes: &'a Notes,
    /// Top processes as last scanned.
    pub processes: &'a dyn Fn() -> Vec<ProcessNote>,
    /// Asks for a fresh scan.
    pub request_scan: &'a dyn Fn(),
    /// A fault of our own is at work.
    pub injected: bool,
    /// Who sends.
    pub sender: &'a Sender,
}

impl ModelJudge {
    /// With what was learned before, if it can be used; the error says why not. A slow judge takes minute means.
    ///
    /// # Errors
    /// When `learned` cannot be used.
    pub fn new(config: &DetectorConfig, learned: Option<&[u8]>, slow: bool, quiet_until: u64) -> Result<Self, String> {
        let (span, period_ms) = (if slow { Span::Minutes } else { Span::Samples }, u64::from(config.period_ms));
        // Memory is taken when series are bound.
        let (most_series, config) = (config.capacity, DetectorConfig { capacity: 0, ..config.clone() });
        let detector = match learned {
            None => Detector::new(config),
            Some(bytes) => Detector::restore(config, bytes).map_err(|e| e.to_string())?,
        };
        Ok(Self { detector, span, period_ms, most_series, event: None, fresh: false, quiet_until, last: None })
    }

    /// Binds slots to the series of a new epoch.
    pub fn rebind(&mut self, before: &Dictionary, now: &Dictionary) {
        let slots = now.entries.last().map_or(0, |e| e.slot.index() + 1).min(self.most_series);
        if slots > self.detector.capacity() {
            // A quarter more, so that it does not grow with every series.
            self.detector.grow((slots + slots / 4).next_multiple_of(GROWTH).min(self.most_series));
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

    /// Judges a sample. Allocates nothing of its own; the model's runtime does.
    pub fn judge(&mut self, at: Tick, values: &[f32]) -> Step {
        let step = self.detector.step(values, at.mono_ms, at.wall_ms);
        (self.last, self.fresh) = (Some(step), true);
        if self.detector.refit_due() {
            // A failed fit is kept by the detector as its model error, and shown as health.
            let _ = self.detector.refit_some(FIT_A_TICK);
        }
        step
    }

    /// Follows the event through the last verdict; gives the phase to send, if any. To be called at every tick, whether or
    /// not there is a new verdict.
    pub fn follow(&mut self, at: Tick, around: &Surroundings<'_>) -> Option<Event> {
        let step = &self.last?;
        match step.transition.filter(|_| std::mem::take(&mut self.fresh)) {
            Some(Transition::Open) => self.open(at, step, around),
            Some(Transition::Update) if self.event.as_ref().is_none_or(|e| e.number != step.event) => {
                self.open(at, step, around);
            }
            Some(Transition::Update) => {
                if let Some(event) = &mut self.event {
                    event.due = event.due.or(Some((if event.told { Phase::Update } else { Phase::Open }, at.mono_ms)));
                }
            }
            Some(Transition::Close) => return self.close(at, step, around),
            None => {}
        }
        let event = self.event.as_mut()?;
        if step.open {
            event.score = event.score.max(step.alarm);
            event.severity = event.severity.max(step.severity);
            event.p_value = event.p_value.min(step.p_value);
        }
        let (phase, _) = event.due.filter(|(_, due)| at.mono_ms >= *due)?;
        event.due = None;
        event.told = true;
        Some(self.build(phase, at, step, around))
    }

    fn open(&mut self, at: Tick, step: &Step, around: &Surroundings<'_>) {
        (around.request_scan)();
        let began = self.detector.onset_ms().unwrap_or(at.mono_ms).min(at.mono_ms);
        let ago = i64::try_from(at.mono_ms - began).unwrap_or(0);
        // One tick for the scan to finish, longer while statistics settle.
        let due = (at.mono_ms + 1).max(self.quiet_until);
        self.event = Some(Open {
            number: step.event,
            id: new_id(),
            onset: Tick { mono_ms: began, wall_ms: at.wall_ms - ago },
            score: step.alarm,
            severity: step.severity,
            p_value: step.p_value,
            due: Some((Phase::Open, due)),
            told: false,
            injected: around.injected,
        });
    }

    fn close(&mut self, at: Tick, step: &Step, around: &Surroundings<'_>) -> Option<Event> {
        let event = self.event.as_mut()?;
        event.due = None;
        // It came and went while events were held back: nobody hears of it.
        if !event.told {
            self.event = None;
            return None;
        }
        Some(self.build(Phase::Close, at, step, around))
    }

    fn build(&self, phase: Phase, at: Tick, step: &Step, around: &Surroundings<'_>) -> Event {
        let open = self.event.as_ref().expect("the caller holds an event");
        let evidence = self.evidence(open.onset.mono_ms, at.mono_ms, around);
        let processes = if phase == Phase::Close { Vec::new() } else { (around.processes)() };
        let mut event = around.sender.event(open.id, EventKind::Anomaly, phase, at, open.onset);
        event.severity = Num::quantised(open.severity);
        event.score = Num::quantised(open.score);
        event.p_value = Num::quantised(open.p_value);
        let list: Vec<Evidence> = evidence.iter().map(|(_, e)| e.clone()).collect();
        let shares = self.detector.onset_shares().iter().enumerate();
        let shares = shares.filter_map(|(slot, share)| Some((&around.dictionary.get(slot)?.def, *share)));
        let kind = explain::kind(shares);
        (event.fault, event.confidence) =
            (kind.map(|(kind, _)| kind), kind.map_or(Num(0.0), |(_, sure)| Num::quantised(sure)));
        event.text = words::anomaly(&list, &processes, event.fault, open.onset.wall_ms);
        let named: Vec<(usize, &SeriesDef)> =
            evidence.iter().filter_map(|(slot, _)| Some((*slot, &around.dictionary.get(*slot)?.def))).collect();
        if phase != Phase::Update {
            let from = open.onset.mono_ms.saturating_sub(BEFORE * self.period_ms);
            event.recording = around.history.recording(self.span, &named, from..=at.mono_ms, POINTS);
        }
        event.evidence = list;
        event.processes = processes;
        event.context = around.notes.near(open.onset.wall_ms);
        event.model = self.detector.digest().map(Digest);
        event.stage = Some(step.stage);
        event.persisting = step.persisting;
        event.injected = open.injected;
        event
    }

    /// The series that weigh most since the onset, with what was seen of them and what is usual.
    fn evidence(&self, onset: u64, now: u64, around: &Surroundings<'_>) -> Vec<(usize, Evidence)> {
        let shares = self.detector.onset_shares();
        let mut ranked: Vec<(usize, f32)> =
            shares.iter().copied().enumerate().filter(|(_, s)| s.is_finite() && *s > 0.0).collect();
        ranked.sort_by(|a, b| b.1.total_cmp(&a.1));
        let mut list: Vec<(usize, Evidence)> = ranked
            .into_iter()
            .take(NAMED)
            .filter_map(|(slot, share)| {
                let def = &around.dictionary.get(slot)?.def;
                let band = self.detector.band(slot);
                let (low, center, high) =
                    band.map_or((f32::NAN, f32::NAN, f32::NAN), |b| (b.low as f32, b.center as f32, b.high as f32));
                let flat = self.detector.is_flat(slot);
                let observed = around.history.farthest(self.span, slot, onset..=now, center)?;
                let evidence = Evidence {
                    name: def.name.clone(),
                    attributes: def.attributes.clone(),
                    unit: def.unit.clone(),
                    share: Num::quantised(share),
                    observed: Num::quantised(observed),
                    low: Num::quantised(reachable(low, def)),
                    high: Num::quantised(reachable(high, def)),
                    direction: if flat { Direction::Flat } else { direction(observed, low, high) },
                };
                Some((slot, evidence))
            })
            .collect();
        list.sort_by(|a, b| b.1.share.0.total_cmp(&a.1.share.0));
        list
    }

    /// Stage of learning.
    #[must_use]
    pub fn stage(&self) -> Stage {
        self.detector.stage()
    }

    /// The last verdict.
    #[must_use]
    pub fn last(&self) -> Option<&Step> {
        self.last.as_ref()
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
        self.event.as_ref().is_some_and(|e| e.told) && self.last.is_some_and(|s| s.open)
    }

    /// What was learned.
    #[must_use]
    pub fn save(&self) -> Vec<u8> {
        self.detector.save()
    }
}

/// A status is a name, not a quantity, and the days of a certificate only fall: rules look at them, a model learns nothing.
fn is_judged(def: &SeriesDef) -> bool {
    ![semconv::PROBE_HTTP_STATUS.name, semconv::PROBE_CERTIFICATE.name].contains(&def.name.as_str())
}

/// An end of a band as far as the series can reach: by arithmetic a band goes below nothing and above the whole. Series
/// from outside may mean anything.
fn reachable(end: f32, def: &SeriesDef) -> f32 {
    let own = semconv::ALL.iter().any(|m| m.name == def.name);
    match def.unit.as_str() {
        unit if !own || unit == "Cel" => end,
        "1" => end.clamp(0.0, 1.0),
        _ => end.max(0.0),
    }
}
