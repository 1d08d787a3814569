//! The two rates of judgement: every sample, for what happens in seconds, and every minute's means, for what happens in hours;
//! beside them the models that were made elsewhere. All have equal shares of the alarm budget.

use tacit_models::{DetectorConfig, Step};
use tacit_wire::Digest;
use tacit_wire::message::{Event, ModelInForce};

use super::anomaly::Surroundings;
use super::foreign::{ForeignJudge, MINUTE_MS, Tried};
use super::model::ModelJudge;
use crate::clock::Tick;
use crate::source::Dictionary;

/// How judges are set up.
#[derive(Debug, Clone, PartialEq)]
pub struct Setup {
    /// Milliseconds between samples.
    pub period_ms: u32,
    /// Most series.
    pub most_series: usize,
    /// Events a day all of them may raise.
    pub budget_per_day: Option<f64>,
    /// Foreign models that may come.
    pub foreign: usize,
    /// Events are held back until this time, milliseconds since boot.
    pub quiet_until: u64,
}

impl Setup {
    /// The share of one judge in the budget.
    fn share(&self) -> Option<f64> {
        self.budget_per_day.map(|rate| rate / (2 + self.foreign) as f64)
    }
}

/// All judges.
pub struct Judges {
    setup: Setup,
    fast: ModelJudge,
    slow: ModelJudge,
    foreign: Vec<ForeignJudge>,
    /// What foreign models had learned that did not come yet.
    waiting: Vec<Vec<u8>>,
}

impl Judges {
    /// With what they learned before, if it can be used; the error says why not.
    ///
    /// # Errors
    /// When `learned` cannot be used.
    pub fn new(setup: Setup, learned: Option<&[u8]>) -> Result<Self, String> {
        let parts = learned.map_or_else(|| Ok(Vec::new()), split)?;
        let part = |i: usize| parts.get(i).map(Vec::as_slice);
        let judge = |period_ms, slow, learned| {
            let (capacity, budget_per_day) = (setup.most_series, setup.share());
            let config = DetectorConfig { capacity, period_ms, budget_per_day };
            ModelJudge::new(&config, learned, slow, setup.quiet_until)
        };
        let (fast, slow) = (judge(setup.period_ms, false, part(0))?, judge(MINUTE_MS, true, part(1))?);
        Ok(Self { fast, slow, foreign: Vec::new(), waiting: parts.into_iter().skip(2).collect(), setup })
    }

    /// Takes in a foreign model, on the series that are there.
    pub fn add(&mut self, tried: &Tried, now: &Dictionary) {
        let mut judge = ForeignJudge::new(tried, self.setup.share(), &mut self.waiting, self.setup.quiet_until);
        judge.rebind(now);
        self.foreign.push(judge);
    }

    /// Binds slots to the series of a new epoch.
    pub fn rebind(&mut self, before: &Dictionary, now: &Dictionary) {
        self.fast.rebind(before, now);
        self.slow.rebind(before, now);
        self.foreign.iter_mut().for_each(|judge| judge.rebind(now));
    }

    /// While held, as in maintenance, none learns or raises anything.
    pub fn hold(&mut self, held: bool) {
        self.fast.hold(held);
        self.slow.hold(held);
        self.foreign.iter_mut().for_each(|judge| judge.hold(held));
    }

    /// Another number of events a day that all of them may raise, also those that come later. What was learned stays.
    pub fn set_budget(&mut self, per_day: Option<f64>) {
        self.setup.budget_per_day = per_day;
        let share = self.setup.share();
        self.fast.set_budget(share);
        self.slow.set_budget(share);
        self.foreign.iter_mut().for_each(|judge| judge.set_budget(share));
    }

    /// Forgets all events: somebody else has told their ends.
    pub fn forget(&mut self) {
        self.fast.forget();
        self.slow.forget();
        self.foreign.iter_mut().for_each(ForeignJudge::forget);
    }

    /// Judges a sample.
    pub fn judge(&mut self, at: Tick, values: &[f32]) -> Step {
        let step = self.fast.judge(at, values);
        self.foreign.iter_mut().filter(|j| !j.is_slow()).for_each(|judge| judge.judge(at, values, &self.fast));
        step
    }

    /// Judges the means of a minute that is over.
    pub fn judge_minute(&mut self, at: Tick, means: &[f32]) {
        self.slow.judge(at, means);
        self.foreign.iter_mut().filter(|j| j.is_slow()).for_each(|judge| judge.judge(at, means, &self.slow));
    }

    /// Follows the events of all; the phases to send.
    pub fn follow(&mut self, at: Tick, around: &Surroundings<'_>) -> impl Iterator<Item = Event> {
        let (fast, slow) = (self.fast.follow(at, around), self.slow.follow(at, around));
        let usual = |slow: bool| if slow { &self.slow } else { &self.fast };
        let foreign = self.foreign.iter_mut().filter_map(move |judge| judge.follow(at, usual(judge.is_slow()), around));
        fast.into_iter().chain(slow).chain(foreign)
    }

    /// The model in force on samples.
    #[must_use]
    pub fn digest(&self) -> Option<Digest> {
        self.fast.digest()
    }

    /// What is wrong with the built-in detector, if anything.
    #[must_use]
    pub fn error(&self) -> Option<String> {
        self.fast.error().or_else(|| self.slow.error())
    }

    /// The foreign models.
    #[must_use]
    pub fn foreign(&self) -> Vec<ModelInForce> {
        self.foreign.iter().map(ForeignJudge::in_force).collect()
    }

    /// What is wrong with them.
    #[must_use]
    pub fn foreign_errors(&self) -> Vec<String> {
        self.foreign.iter().filter_map(ForeignJudge::error).collect()
    }

    /// Series that crept far from what they were some days ago, the farthest first, without ever being an event.
    #[must_use]
    pub fn crept(&self, dictionary: &Dictionary) -> Vec<String> {
        self.slow.crept(dictionary)
    }

    /// Events open that somebody was told of.
    #[must_use]
    pub fn open(&self) -> usize {
        let foreign = self.foreign.iter().filter(|j| j.is_open()).count();
        usize::from(self.fast.is_open()) + usize::from(self.slow.is_open()) + foreign
    }

    /// What was learned: on samples, on minutes, and by each foreign model, each with its length before it (u32, little
    /// endian).
    #[must_use]
    pub fn save(&self) -> Vec<u8> {
        let own = [self.fast.save(), self.slow.save()];
        // A model that did not come this time may come the next.
        let waiting = if self.foreign.len() < self.setup.foreign { &self.waiting[..] } else { &[] };
        let parts = own.into_iter().chain(self.foreign.iter().map(ForeignJudge::save)).chain(waiting.iter().cloned());
        let mut bytes = Vec::new();
        for part in parts {
            let length = u32::try_from(part.len()).expect("a state is far smaller than 4 GiB");
            bytes.extend_from_slice(&length.to_le_bytes());
            bytes.extend_from_slice(&part);
        }
        bytes
    }
}

fn split(mut bytes: &[u8]) -> Result<Vec<Vec<u8>>, String> {
    let mut parts = Vec::new();
    while let Some((length, rest)) = bytes.split_first_chunk::<4>() {
        let part = rest.split_at_checked(u32::from_le_bytes(*length) as usize);
        let (part, rest) = part.ok_or_else(|| "it is cut short".to_owned())?;
        parts.push(part.to_vec());
        bytes = rest;
    }
    if parts.len() < 2 || !bytes.is_empty() { Err("it is cut short".to_owned()) } else { Ok(parts) }
}
