//! When open connections are looked at: at each `links.interval`, and more often for a while when clients connect too shortly to be met.
//!
//! A close event does not say whose a connection was; that shows only while it is open. Of a client that connects 200 times a second for a
//! millisecond each a look meets one in five times, and one is enough: its peer is remembered. Of one that connects three times a second a look meets
//! one in three hundred times: for those it is asked for the few sockets that may be their next ([`super::tracker`]), 50 times a second.
//! Both are paid from accounts, so that a client that can never be met costs little for ever.

use std::time::{Duration, Instant};

/// A regular look waits at least so many times what the last one took.
const REST: u32 = 250;
/// One beyond them waits twice as long, and so does a question for single sockets: however many there are, each takes 0.2 % of a core at most.
const LONG_REST: u32 = 500;
/// Least distance of looks, and of questions.
const LOOKS: Duration = Duration::from_millis(50);
const QUESTIONS: Duration = Duration::from_millis(20);

/// What may be done in a row, and how much of it is earned in a second.
#[derive(Debug)]
struct Account {
    holds: f32,
    most: f32,
    earns: f32,
    at: Instant,
}

impl Account {
    /// A full one.
    fn new(most: f32, earns: f32, now: Instant) -> Self {
        Self { holds: most, most, earns, at: now }
    }

    fn earn(&mut self, now: Instant) {
        let earned = self.earns * now.saturating_duration_since(self.at).as_secs_f32();
        (self.holds, self.at) = ((self.holds + earned).min(self.most), now);
    }

    fn has_one(&self) -> bool {
        self.holds >= 1.0
    }
}

/// The time of the next look, and of the next question.
#[derive(Debug)]
pub struct Pace {
    interval: Duration,
    next: Instant,
    regular: Instant,
    question: Instant,
    looks: Account,
    questions: Account,
}

impl Pace {
    /// A look now, and one each `interval`.
    #[must_use]
    pub fn new(interval: Duration, now: Instant) -> Self {
        let looks = Account::new(1200.0, 0.5, now);
        let questions = Account::new(6000.0, 2.0, now);
        Self { interval, next: now, regular: now, question: now, looks, questions }
    }

    /// Whether it is time for a look.
    #[must_use]
    pub fn is_due(&self, now: Instant) -> bool {
        now >= self.next
    }

    /// A look was made, which took so long; `unnamed` says whether more of them would name somebody. Returns whether it was a regular one.
    pub fn looked(&mut self, now: Instant, took: Duration, unnamed: bool) -> bool {
        let is_regular = now >= self.regular;
        self.looks.earn(now);
        if is_regular {
            self.regular = now + self.interval;
        } else {
            self.looks.holds -= 1.0;
        }
        let until_regular = self.regular.saturating_duration_since(now).max(took * REST);
        let soon = LOOKS.max(took * LONG_REST);
        let distance = if unnamed && self.looks.has_one() { soon.min(until_regular) } else { until_regular };
        self.next = now + distance;
        is_regular
    }

    /// How long it is until single sockets may be asked for; none when that was done for too long.
    pub fn until_question(&mut self, now: Instant) -> Option<Duration> {
        self.questions.earn(now);
        self.questions.has_one().then(|| self.question.saturating_duration_since(now))
    }

    /// Single sockets were asked for, which took so long.
    pub fn asked(&mut self, now: Instant, took: Duration) {
        self.questions.holds -= 1.0;
        self.question = now + QUESTIONS.max(took * LONG_REST);
    }

    /// How long to sleep when events have to be read after `longest`.
    #[must_use]
    pub fn sleep(&self, now: Instant, longest: Duration) -> Duration {
        self.next.saturating_duration_since(now).clamp(LOOKS.min(longest), longest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Looks of ten minutes, each of which takes `took`.
    fn looks(took: Duration, unnamed: bool) -> (usize, usize) {
        let start = Instant::now();
        let mut pace = Pace::new(Duration::from_secs(2), start);
        let (mut all, mut regular, mut now) = (0, 0, start);
        while now < start + Duration::from_secs(600) {
            if pace.is_due(now) {
                all += 1;
                regular += usize::from(pace.looked(now, took, unnamed));
            }
            now += pace.sleep(now, Duration::from_millis(250));
        }
        (all, regular)
    }

    #[test]
    fn looks_for_the_unnamed_are_bounded_in_number_and_cost() {
        let (all, regular) = looks(Duration::from_micros(100), false);
        assert_eq!((all, regular), (300, 300));
        let (all, regular) = looks(Duration::from_micros(100), true);
        assert!((280..=300).contains(&regular) && (1600..=1810).contains(&all), "{all} {regular}");
        // 10 ms a look: one each 2.5 s, whoever is unnamed.
        let (all, _) = looks(Duration::from_millis(10), true);
        assert!((225..=241).contains(&all), "{all}");
        // 2 ms: one each second beyond the regular ones, 0.2 % of a core.
        let (all, _) = looks(Duration::from_millis(2), true);
        assert!((540..=610).contains(&all), "{all}");
    }

    /// Questions of ten minutes, each of which takes `took`.
    fn questions(took: Duration) -> usize {
        let start = Instant::now();
        let mut pace = Pace::new(Duration::from_secs(2), start);
        let (mut all, mut now) = (0, start);
        while now < start + Duration::from_secs(600) {
            if pace.until_question(now).is_some_and(|wait| wait.is_zero()) {
                all += 1;
                pace.asked(now, took);
            }
            now += Duration::from_millis(5);
        }
        all
    }

    #[test]
    fn questions_are_bounded_in_number_and_cost() {
        let all = questions(Duration::from_micros(10));
        assert!((7150..=7210).contains(&all), "two minutes of 50 a second, then two: {all}");
        let all = questions(Duration::from_millis(1));
        assert!((1195..=1200).contains(&all), "half a second apart: {all}");
    }
}
