//! From host scores to events: open, update, close, with hysteresis, a refractory time and a bounded pause of learning.

use tacit_wire::message::Stage;

use crate::calibrate::{BLOCK_MS, Margin, RunningQuantile, SeenSoFar, Sustained, Tail};
use crate::detector::{DetectorConfig, Transition, is_slow};
use crate::recurring::Recurring;

/// Weight of the newest host score in the smoothed one.
const SMOOTHING: f32 = 0.3;

/// Learning pauses at most so long for one event …
pub(crate) const FREEZE_MS: u64 = 3_600_000;
/// … and at least so long.
const FREEZE_MIN_MS: u64 = 180_000;

/// An open event is renewed at most so often, unless it becomes more severe.
const UPDATE_MS: u64 = 60_000;

/// A rise of severity that is worth an update at once.
const SEVERITY_RISE: f32 = 0.1;

/// An event closes when the alarm value stays below this.
const CLOSE_BELOW: f32 = -0.1;

/// Points after an event, or after a start, that say nothing about what is usual.
const AFTERMATH_POINTS: u64 = 180;

/// Points after which the first day looks again at what is usual: series that have only just started make the first scores, and
/// a quantile that began too high falls slowly.
const LOOK_AGAIN: u32 = 120;

/// Points of the running quantile before a distance from it means anything.
const SETTLED: u32 = 600;

/// Distance added in the first week, when only severe things count.
const SEVERE: f32 = 0.25;

/// An open event.
#[derive(Debug, Clone, Copy)]
struct Open {
    learning_paused_ms: u64,
    last_seen_ms: u64,
    last_update_ms: u64,
    told_severity: f32,
    below: u32,
    /// When levels were last accepted as the new normal.
    accepted_ms: Option<u64>,
    /// It was open when the state was saved; the first judgement tells of it again.
    resumed: bool,
}

/// When a point was taken: by the clock that never jumps, and by that of the day.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Moment {
    pub mono_ms: u64,
    pub wall_ms: i64,
}

/// What one judgement found.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Judgement {
    /// Log ratio to the running quantile, less what recurs at this time of day.
    pub excess: f32,
    /// Chance of such an excess in one point while all is well.
    pub p_value: f32,
    /// Log ratio to the threshold.
    pub alarm: f32,
    pub severity: f32,
    pub transition: Option<Transition>,
    pub reopened: bool,
    /// What is rare here was learned from this point.
    pub learn: bool,
    /// Nothing is going on, and nothing dies away: the point tells what is usual.
    pub usual: bool,
    /// The lasting level should now be taken for normal.
    pub accept_level: bool,
}

/// What of it survives a restart.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Saved {
    pub learned: u64,
    pub young: (f32, u32),
    pub quantile: (f32, u32),
    /// Mean and mean square of excesses, and how many.
    pub tail: (f32, f32, u32),
    pub margin: f32,
    pub seen: (f32, u32, f32),
    pub events: u32,
    /// How long learning had paused in an event that was open.
    pub open_paused_ms: Option<u64>,
    /// What recurs at a time of day.
    pub recurring: Vec<i8>,
}

/// The state machine of one detector.
#[derive(Debug, Clone)]
pub(crate) struct Verdict {
    period_ms: u32,
    close_points: u32,
    /// The score of a young node, smoothed, and its running quantile.
    young_smoothed: Option<f32>,
    young: RunningQuantile,
    /// The score of a node that is known, smoothed, and its running quantile.
    smoothed: Option<f32>,
    quantile: RunningQuantile,
    tail: Tail,
    margin: Margin,
    recurring: Recurring,
    seen: SeenSoFar,
    in_a_row: Sustained,
    most_of: Sustained,
    open: Option<Open>,
    closed_ms: Option<u64>,
    /// When scores were last disturbed: an event ended, or the agent was started again with what it knew.
    disturbed_ms: Option<u64>,
    restarted: bool,
    events: u32,
    /// Points learned from since the node was first seen.
    learned: u64,
    above: bool,
    /// Neither learn nor raise anything.
    held: bool,
}

impl Verdict {
    pub fn new(config: &DetectorConfig) -> Self {
        Self {
            period_ms: config.period_ms,
            close_points: (30_000 / config.period_ms.max(1)).max(5),
            young_smoothed: None,
            young: RunningQuantile::new(config.period_ms),
            smoothed: None,
            quantile: RunningQuantile::new(config.period_ms),
            tail: Tail::default(),
            margin: Margin::new(0.5, per_day(config.budget_per_day)),
            recurring: Recurring::default(),
            seen: SeenSoFar::new(SeenSoFar::NONE, 60, 0.0),
            in_a_row: Sustained::new(5, 5),
            most_of: if is_slow(config.period_ms) { Sustained::new(1, 1) } else { Sustained::new(5, 8) },
            open: None,
            closed_ms: None,
            disturbed_ms: None,
            restarted: false,
            events: 0,
            learned: 0,
            above: false,
            held: false,
        }
    }

    pub fn save(&self) -> Saved {
        Saved {
            learned: self.learned,
            young: (self.young.value, self.young.points),
            quantile: (self.quantile.value, self.quantile.points),
            tail: (self.tail.mean, self.tail.square, self.tail.points),
            margin: self.margin.value,
            seen: (self.seen.largest, self.seen.points, self.seen.extra),
            events: self.events,
            open_paused_ms: self.open.map(|o| o.learning_paused_ms),
            recurring: self.recurring.save(),
        }
    }

    pub fn restore(config: &DetectorConfig, saved: &Saved) -> Self {
        let mut verdict = Self::new(config);
        verdict.learned = saved.learned;
        verdict.young.resume(saved.young.0, saved.young.1);
        verdict.quantile.resume(saved.quantile.0, saved.quantile.1);
        let (mean, square, points) = saved.tail;
        verdict.tail = Tail { mean, square, points };
        verdict.margin.value = saved.margin.clamp(Margin::FLOOR, Margin::CEILING);
        verdict.seen = SeenSoFar::new(saved.seen.0, saved.seen.1, saved.seen.2);
        verdict.events = saved.events;
        verdict.restarted = true;
        verdict.recurring.resume(&saved.recurring);
        verdict.open = saved.open_paused_ms.map(|paused| Open {
            learning_paused_ms: paused,
            last_seen_ms: 0,
            last_update_ms: 0,
            told_severity: 0.0,
            below: 0,
            accepted_ms: None,
            resumed: true,
        });
        verdict
    }

    /// With another budget of events a day from now on; what was learned stays.
    pub fn set_budget(&mut self, budget: Option<f64>) {
        self.margin.set_budget(per_day(budget));
    }

    /// While held it learns nothing and raises nothing; what is open stays open.
    pub fn hold(&mut self, held: bool) {
        self.held = held;
    }

    /// Whether statistics may learn from the next point: not inside an event (for its first hour), not above the bar.
    pub fn may_learn(&self) -> bool {
        match &self.open {
            _ if self.held => false,
            Some(open) => open.learning_paused_ms >= self.freeze_ms(),
            None => !self.above,
        }
    }

    /// Counts a point that was learned from.
    pub fn learned_point(&mut self) {
        self.learned += 1;
    }

    pub fn learned(&self) -> u64 {
        self.learned
    }

    pub fn is_open(&self) -> bool {
        self.open.is_some()
    }

    pub fn above(&self) -> bool {
        self.above
    }

    /// How long learning pauses for an event: as long as was learned before. What was learned in a few minutes, perhaps in a
    /// busy hour, shall not be held against the hours after it.
    fn freeze_ms(&self) -> u64 {
        (self.learned * u64::from(self.period_ms)).clamp(FREEZE_MIN_MS, FREEZE_MS)
    }

    pub fn persisting(&self) -> bool {
        self.open.is_some_and(|o| o.learning_paused_ms >= self.freeze_ms())
    }

    pub fn event(&self) -> u32 {
        self.events
    }

    pub fn stage(&self, has_model: bool) -> Stage {
        const DAY_MS: u64 = 86_400_000;
        let learned_ms = self.learned * u64::from(self.period_ms);
        match learned_ms {
            _ if !has_model => Stage::Learning,
            0..DAY_MS => Stage::FirstDay,
            t if t < 7 * DAY_MS => Stage::FirstWeek,
            _ => Stage::Full,
        }
    }

    /// The bar in log score.
    fn bar(&self, stage: Stage, lift: f32) -> f32 {
        match stage {
            Stage::FirstWeek => self.quantile.value + self.margin.value + SEVERE + lift,
            Stage::Full => self.quantile.value + self.margin.value + lift,
            _ => self.seen.bar(self.young.value),
        }
    }

    /// Judges one point at a monotonic time: by the score of a young node in the first day, by that of a known one later.
    pub fn judge(&mut self, young: f32, known: f32, stage: Stage, at: Moment) -> Judgement {
        let at_ms = at.mono_ms;
        let (young, known) = self.logs(young, known);
        let is_known = matches!(stage, Stage::FirstWeek | Stage::Full);
        let ls = if is_known { known } else { young };
        // So much higher stands the bar at this time of day.
        let lift = self.recurring.bar(at.wall_ms).map_or(0.0, |usual| (usual - self.margin.value).max(0.0));
        let bar = if self.quantile.points == 0 { ls } else { self.bar(stage, lift) };
        let alarm = ls - bar;
        self.above = alarm > 0.0;
        let in_a_row = self.in_a_row.push(young);
        let most_of = self.most_of.push(known);
        if self.quantile.points > SETTLED && !self.held {
            self.recurring.learn(most_of - self.quantile.value, at.wall_ms);
        }
        let severity = 1.0 - (-alarm.max(0.0)).exp();
        let excess = if self.quantile.points == 0 { 0.0 } else { known - self.quantile.value - lift };
        let p_value = self.tail.p_value(excess);
        let mut judgement = Judgement { excess, p_value, alarm, severity, ..Judgement::default() };
        if self.held {
            if let Some(open) = &mut self.open {
                open.last_seen_ms = at_ms;
            }
            return judgement;
        }
        if self.open.is_some() {
            self.inside(&mut judgement, at_ms);
        } else if (if is_known { most_of } else { in_a_row }) > bar {
            self.opens(&mut judgement, at_ms);
        }
        if self.open.is_none() || self.persisting() {
            judgement.learn = !self.above || self.persisting();
            judgement.usual = self.learn(young, known - lift, in_a_row, most_of - lift, at_ms);
        }
        judgement
    }

    /// Learns what scores are usual from one that shall not raise anything yet.
    pub fn watch(&mut self, score: f32, at_ms: u64) {
        let (young, known) = self.logs(score, score);
        let (in_a_row, most_of) = (self.in_a_row.push(young), self.most_of.push(known));
        if self.held {
            return;
        }
        self.learn(young, known, in_a_row, most_of, at_ms);
    }

    /// Logarithms of the two scores, smoothed. A minute of a slow detector is a mean already.
    fn logs(&mut self, young: f32, known: f32) -> (f32, f32) {
        let weight = if is_slow(self.period_ms) { 1.0 } else { SMOOTHING };
        (log_smoothed(&mut self.young_smoothed, young, SMOOTHING), log_smoothed(&mut self.smoothed, known, weight))
    }

    /// `known` and `most_of` are what remains of them after what recurs at this time of day. Answers whether the point tells what
    /// is usual.
    fn learn(&mut self, young: f32, known: f32, in_a_row: f32, most_of: f32, at_ms: u64) -> bool {
        if self.above && self.open.is_none() && self.quantile.points > 0 {
            return false;
        }
        // A quantile of a few points is no measure of its own tail.
        if self.quantile.points > 300 {
            self.tail.learn(known - self.quantile.value);
        }
        self.young.learn(young);
        if self.young.points == LOOK_AGAIN {
            self.young.value = self.young.value.min(young);
        }
        self.quantile.learn(known);
        // What is seen inside an event is no measure of what is usual, even when its level is being learned, nor is what dies
        // away after it, also when the agent was started again meanwhile, nor what windows say that fill anew.
        if std::mem::take(&mut self.restarted) {
            self.disturbed_ms = Some(at_ms);
        }
        let aftermath = AFTERMATH_POINTS * u64::from(self.period_ms);
        let over = self.disturbed_ms.is_none_or(|at| at_ms.saturating_sub(at) > aftermath);
        let usual = self.open.is_none() && over;
        if usual {
            self.seen.learn(in_a_row, self.young.value);
        }
        // The quantile needs some minutes before a distance from it means anything; an event was counted when it opened.
        if self.open.is_none() && self.quantile.points > SETTLED && most_of.is_finite() {
            self.margin.learn(most_of - self.quantile.value, at_ms);
        }
        usual
    }

    fn opens(&mut self, judgement: &mut Judgement, at_ms: u64) {
        let again = self.closed_ms.is_some_and(|closed| at_ms.saturating_sub(closed) < BLOCK_MS);
        judgement.transition = Some(if again { Transition::Update } else { Transition::Open });
        judgement.reopened = again;
        if again {
            self.margin.forget_block();
        } else {
            self.events = self.events.wrapping_add(1);
            self.margin.spent();
            self.seen.spent();
        }
        self.open = Some(Open {
            learning_paused_ms: 0,
            last_seen_ms: at_ms,
            last_update_ms: at_ms,
            told_severity: judgement.severity,
            below: 0,
            accepted_ms: None,
            resumed: false,
        });
    }

    fn inside(&mut self, judgement: &mut Judgement, at_ms: u64) {
        let freeze_ms = self.freeze_ms();
        let Some(open) = &mut self.open else { return };
        if open.resumed {
            (open.resumed, open.last_seen_ms, open.last_update_ms) = (false, at_ms, at_ms);
            judgement.transition = Some(Transition::Update);
        }
        open.learning_paused_ms += at_ms.saturating_sub(open.last_seen_ms);
        open.last_seen_ms = at_ms;
        open.below = if judgement.alarm < CLOSE_BELOW { open.below + 1 } else { 0 };
        if open.below >= self.close_points {
            judgement.transition = Some(Transition::Close);
            self.open = None;
            (self.closed_ms, self.disturbed_ms) = (Some(at_ms), Some(at_ms));
            self.margin.forget_block();
            return;
        }
        let due = at_ms.saturating_sub(open.last_update_ms) >= UPDATE_MS;
        let worse = judgement.severity > open.told_severity + SEVERITY_RISE;
        if due || worse {
            judgement.transition = Some(Transition::Update);
            open.last_update_ms = at_ms;
            open.told_severity = open.told_severity.max(judgement.severity);
        }
        let accepted = open.accepted_ms.is_some_and(|at| at_ms.saturating_sub(at) < BLOCK_MS);
        // A slow detector remembers a day: it grows used to a lasting level by itself, and still ranks it as odd till then.
        if open.learning_paused_ms >= freeze_ms && !accepted && !is_slow(self.period_ms) {
            open.accepted_ms = Some(at_ms);
            judgement.accept_level = true;
        }
    }
}

/// Events a day; one when nobody says.
fn per_day(budget: Option<f64>) -> f64 {
    budget.unwrap_or(1.0)
}

/// Logarithm of the smoothed score.
fn log_smoothed(smoothed: &mut Option<f32>, score: f32, weight: f32) -> f32 {
    let now = smoothed.map_or(score, |s| s + weight * (score - s));
    *smoothed = Some(now);
    (0.001 + now).ln()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Where all scores are high at first, as of series that have just started, the first day is not deaf for what comes later.
    #[test]
    fn a_disturbed_start_does_not_blunt_the_day() {
        let config = DetectorConfig { capacity: 1, period_ms: 1000, budget_per_day: None };
        let mut verdict = Verdict::new(&config);
        let mut judged = |score: f32, second: u64| {
            let at = Moment { mono_ms: second * 1000, wall_ms: 0 };
            verdict.judge(score, score, Stage::FirstDay, at).transition
        };
        let raised = (0..900).filter(|second| judged(if *second < 60 { 3.0 } else { 1.0 }, *second).is_some()).count();
        assert_eq!(raised, 0);
        assert!((900..930).any(|second| judged(2.2, second).is_some()), "what is less than the first scores is found");
    }

    #[test]
    fn another_budget_forgets_nothing() {
        let config = |budget_per_day| DetectorConfig { capacity: 1, period_ms: 1000, budget_per_day };
        let mut verdict = Verdict::new(&config(None));
        (0..2000).for_each(|second| verdict.watch(1.0, second * 1000));
        let before = verdict.save();
        verdict.set_budget(Some(4.0));
        assert_eq!(verdict.save(), before);
        verdict.margin.forget_block();
        assert_eq!(verdict.margin, Verdict::restore(&config(Some(4.0)), &before).margin);
    }

    /// A node that was started again right after an event: what dies away then must not raise the bar of the first day.
    #[test]
    fn what_dies_away_after_a_restart_is_not_taken_for_usual() {
        let config = DetectorConfig { capacity: 1, period_ms: 1000, budget_per_day: None };
        let judged = |verdict: &mut Verdict, score: f32, second: u64| {
            let at = Moment { mono_ms: second * 1000, wall_ms: 0 };
            verdict.judge(score, score, Stage::FirstDay, at)
        };
        let mut verdict = Verdict::new(&config);
        (0..1200).for_each(|second| verdict.watch(1.0, second * 1000));
        let before = verdict.save().seen.0;
        let mut again = Verdict::restore(&config, &verdict.save());
        (0..100).for_each(|second| again.watch(3.0, 2_000_000 + second * 1000));
        assert!((again.save().seen.0 - before).abs() < 0.01, "{before} {}", again.save().seen.0);
        (100..400).for_each(|second| again.watch(1.0, 2_000_000 + second * 1000));
        let found = (400..440).any(|second| judged(&mut again, 2.0, 2000 + second).transition.is_some());
        assert!(found, "twice the usual score is found");
        // It is learned in time: the state is not a way to be deaf for ever.
        (0..100).for_each(|second| verdict.watch(3.0, 2_000_000 + second * 1000));
        assert!(verdict.save().seen.0 > before + 0.5, "without a restart that was the node itself");
    }
}
