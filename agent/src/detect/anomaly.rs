//! From a judge's verdicts to the event it opens, renews and closes: which series, what was seen and what is usual, who was
//! on top, and the flight recorder.

use tacit_models::{Detector, Step, Transition};
use tacit_wire::message::{Direction, Event, EventKind, Evidence, Phase, ProcessNote};
use tacit_wire::{Digest, EventId, Num, SeriesDef, semconv};

use super::event::{Sender, direction, new_id};
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

/// The event of one judge.
pub struct Anomaly {
    /// Where the judge's points are remembered, and how far apart they are.
    span: Span,
    period_ms: u64,
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
    /// When it last began: an event that came back has a new beginning.
    since: Tick,
    score: f32,
    severity: f32,
    p_value: f32,
    /// A phase that waits for the process scan, until this time.
    due: Option<(Phase, u64)>,
    /// Somebody was told of it.
    told: bool,
    injected: bool,
}

/// What a judge says of its verdict.
#[derive(Clone, Copy)]
pub struct Blame<'a> {
    /// When the score first exceeded the threshold.
    pub onset_ms: Option<u64>,
    /// Share of each slot in the excess since then.
    pub shares: &'a [f32],
    /// Who knows what is usual for each series.
    pub usual: &'a Detector,
    /// The model that judged.
    pub model: Option<Digest>,
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

impl Anomaly {
    /// Of a judge whose points are so far apart and remembered in `span`.
    #[must_use]
    pub fn new(span: Span, period_ms: u32, quiet_until: u64) -> Self {
        Self { span, period_ms: u64::from(period_ms), event: None, quiet_until, last: None, fresh: false }
    }

    /// Forgets the event, as somebody else has told its end; what goes on is a new one.
    pub fn forget(&mut self) {
        self.event = None;
    }

    /// Takes a verdict.
    pub fn judged(&mut self, step: Step) {
        (self.last, self.fresh) = (Some(step), true);
    }

    /// Follows the event through the last verdict; gives the phase to send, if any. To be called at every tick, whether or
    /// not there is a new verdict.
    pub fn follow(&mut self, at: Tick, blame: &Blame<'_>, around: &Surroundings<'_>) -> Option<Event> {
        let step = &self.last?;
        match step.transition.filter(|_| std::mem::take(&mut self.fresh)) {
            Some(Transition::Open) => self.open(at, step, blame, around),
            Some(Transition::Update) if self.event.as_ref().is_none_or(|e| e.number != step.event) => {
                self.open(at, step, blame, around);
            }
            Some(Transition::Update) => {
                if let Some(event) = &mut self.event {
                    if step.reopened {
                        event.since = began(at, blame);
                    }
                    event.due = event.due.or(Some((if event.told { Phase::Update } else { Phase::Open }, at.mono_ms)));
                }
            }
            Some(Transition::Close) => return self.close(at, step, blame, around),
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
        Some(self.build(phase, at, step, blame, around))
    }

    fn open(&mut self, at: Tick, step: &Step, blame: &Blame<'_>, around: &Surroundings<'_>) {
        (around.request_scan)();
        let onset = began(at, blame);
        // One tick for the scan to finish, longer while statistics settle.
        let due = (at.mono_ms + 1).max(self.quiet_until);
        self.event = Some(Open {
            number: step.event,
            id: new_id(),
            onset,
            since: onset,
            score: step.alarm,
            severity: step.severity,
            p_value: step.p_value,
            due: Some((Phase::Open, due)),
            told: false,
            injected: around.injected,
        });
    }

    fn close(&mut self, at: Tick, step: &Step, blame: &Blame<'_>, around: &Surroundings<'_>) -> Option<Event> {
        let event = self.event.as_mut()?;
        event.due = None;
        // It came and went while events were held back: nobody hears of it.
        if !event.told {
            self.event = None;
            return None;
        }
        Some(self.build(Phase::Close, at, step, blame, around))
    }

    fn build(&self, phase: Phase, at: Tick, step: &Step, blame: &Blame<'_>, around: &Surroundings<'_>) -> Event {
        let open = self.event.as_ref().expect("the caller holds an event");
        let evidence = self.evidence(open.since.mono_ms, at.mono_ms, blame, around);
        let processes = if phase == Phase::Close { Vec::new() } else { (around.processes)() };
        let mut event = around.sender.event(open.id, EventKind::Anomaly, phase, at, open.onset);
        event.severity = Num::quantised(open.severity);
        event.score = Num::quantised(open.score);
        event.p_value = Num::quantised(open.p_value);
        let list: Vec<Evidence> = evidence.iter().map(|(_, e)| e.clone()).collect();
        let shares = blame.shares.iter().enumerate();
        let shares = shares.filter_map(|(slot, share)| Some((&around.dictionary.get(slot)?.def, *share)));
        let kind = explain::kind(shares);
        (event.fault, event.confidence) =
            (kind.map(|(kind, _)| kind), kind.map_or(Num(0.0), |(_, sure)| Num::quantised(sure)));
        event.text = words::anomaly(&list, &processes, event.fault, open.since.wall_ms);
        let named: Vec<(usize, &SeriesDef)> =
            evidence.iter().filter_map(|(slot, _)| Some((*slot, &around.dictionary.get(*slot)?.def))).collect();
        if phase != Phase::Update {
            let from = open.since.mono_ms.saturating_sub(BEFORE * self.period_ms);
            event.recording = around.history.recording(self.span, &named, from..=at.mono_ms, POINTS);
        }
        event.evidence = list;
        event.processes = processes;
        event.context = around.notes.near(open.since.wall_ms);
        event.model = blame.model;
        event.stage = Some(step.stage);
        event.persisting = step.persisting;
        event.injected = open.injected;
        event
    }

    /// The series that weigh most since the onset, with what was seen of them and what is usual.
    fn evidence(&self, onset: u64, now: u64, blame: &Blame<'_>, around: &Surroundings<'_>) -> Vec<(usize, Evidence)> {
        let mut ranked: Vec<(usize, f32)> =
            blame.shares.iter().copied().enumerate().filter(|(_, s)| s.is_finite() && *s > 0.0).collect();
        ranked.sort_by(|a, b| b.1.total_cmp(&a.1));
        let mut list: Vec<(usize, Evidence)> = ranked
            .into_iter()
            .take(NAMED)
            .filter_map(|(slot, share)| {
                let def = &around.dictionary.get(slot)?.def;
                let band = blame.usual.band(slot);
                let (low, center, high) =
                    band.map_or((f32::NAN, f32::NAN, f32::NAN), |b| (b.low as f32, b.center as f32, b.high as f32));
                let flat = blame.usual.is_flat(slot);
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

    /// The last verdict.
    #[must_use]
    pub fn last(&self) -> Option<&Step> {
        self.last.as_ref()
    }

    /// Whether an event is open that somebody was told of.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.event.as_ref().is_some_and(|e| e.told) && self.last.is_some_and(|s| s.open)
    }
}

/// When the excess of a judge began.
fn began(at: Tick, blame: &Blame<'_>) -> Tick {
    let mono_ms = blame.onset_ms.unwrap_or(at.mono_ms).min(at.mono_ms);
    let ago = i64::try_from(at.mono_ms - mono_ms).unwrap_or(0);
    Tick { mono_ms, wall_ms: at.wall_ms - ago }
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
