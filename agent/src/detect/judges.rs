//! The two rates of judgement: every sample, for what happens in seconds, and every minute's means, for what happens in hours.
//! Each has half of the alarm budget.

use tacit_models::{DetectorConfig, Step};
use tacit_wire::Digest;
use tacit_wire::message::Event;

use super::model::{ModelJudge, Surroundings};
use crate::clock::Tick;
use crate::source::Dictionary;

const MINUTE_MS: u32 = 60_000;

/// Both judges.
pub struct Judges {
    fast: ModelJudge,
    slow: ModelJudge,
}

impl Judges {
    /// Judges of samples every `period_ms`, with what both learned before, if it can be used; the error says why not.
    ///
    /// # Errors
    /// When `learned` cannot be used.
    pub fn new(
        period_ms: u32,
        most_series: usize,
        budget_per_day: Option<f64>,
        learned: Option<&[u8]>,
        quiet_until: u64,
    ) -> Result<Self, String> {
        let config = |period_ms| DetectorConfig {
            capacity: most_series,
            period_ms,
            budget_per_day: budget_per_day.map(|rate| rate / 2.0),
        };
        let (fast, slow) = match learned {
            None => (None, None),
            Some(bytes) => split(bytes).map(|(fast, slow)| (Some(fast), Some(slow)))?,
        };
        Ok(Self {
            fast: ModelJudge::new(&config(period_ms), fast, false, quiet_until)?,
            slow: ModelJudge::new(&config(MINUTE_MS), slow, true, quiet_until)?,
        })
    }

    /// Binds slots to the series of a new epoch.
    pub fn rebind(&mut self, before: &Dictionary, now: &Dictionary) {
        self.fast.rebind(before, now);
        self.slow.rebind(before, now);
    }

    /// Judges a sample.
    pub fn judge(&mut self, at: Tick, values: &[f32]) -> Step {
        self.fast.judge(at, values)
    }

    /// Judges the means of a minute that is over.
    pub fn judge_minute(&mut self, at: Tick, means: &[f32]) {
        self.slow.judge(at, means);
    }

    /// Follows the events of both; the phases to send.
    pub fn follow(&mut self, at: Tick, around: &Surroundings<'_>) -> impl Iterator<Item = Event> {
        let (fast, slow) = (self.fast.follow(at, around), self.slow.follow(at, around));
        fast.into_iter().chain(slow)
    }

    /// The model in force on samples.
    #[must_use]
    pub fn digest(&self) -> Option<Digest> {
        self.fast.digest()
    }

    /// What is wrong with a model, if anything.
    #[must_use]
    pub fn error(&self) -> Option<String> {
        self.fast.error().or_else(|| self.slow.error())
    }

    /// Series that crept far from what they were some days ago, the farthest first, without ever being an event.
    #[must_use]
    pub fn crept(&self, dictionary: &Dictionary) -> Vec<String> {
        self.slow.crept(dictionary)
    }

    /// Events open that somebody was told of.
    #[must_use]
    pub fn open(&self) -> usize {
        usize::from(self.fast.is_open()) + usize::from(self.slow.is_open())
    }

    /// What was learned: the length of the first part (u32, little endian), samples, minutes.
    #[must_use]
    pub fn save(&self) -> Vec<u8> {
        let (fast, slow) = (self.fast.save(), self.slow.save());
        let length = u32::try_from(fast.len()).expect("a state is far smaller than 4 GiB");
        [&length.to_le_bytes()[..], &fast, &slow].concat()
    }
}

fn split(bytes: &[u8]) -> Result<(&[u8], &[u8]), String> {
    let short = || "it is cut short".to_owned();
    let (length, rest) = bytes.split_first_chunk::<4>().ok_or_else(short)?;
    rest.split_at_checked(u32::from_le_bytes(*length) as usize).ok_or_else(short)
}
