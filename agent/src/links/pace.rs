//! When open connections are looked at: at each `links.interval`, and more often for a while when clients connect too shortly to be met.
//!
//! A close event does not say whose a connection was; that shows only while it is open. Of a client that connects 200 times a second for a
//! millisecond each a look meets one in five times, and one is enough: its peer is remembered. Looks beyond the regular ones are paid from an account, so that a client
//! that can never be met costs little for ever.

use std::time::{Duration, Instant};

/// A look waits at least so many times what the last one took: 5,000 sockets cost 0.4 % of a core at most.
const REST: u32 = 250;
/// Least distance of looks.
const LEAST: Duration = Duration::from_millis(50);
/// Looks that may be made beyond the regular ones in a row, and how many are earned in a second.
const ACCOUNT: f32 = 1200.0;
const EARNED: f32 = 0.5;

/// The time of the next look.
#[derive(Debug)]
pub struct Pace {
    interval: Duration,
    next: Instant,
    regular: Instant,
    account: f32,
    paid: Instant,
}

impl Pace {
    /// A look now, and one each `interval`.
    #[must_use]
    pub fn new(interval: Duration, now: Instant) -> Self {
        Self { interval, next: now, regular: now, account: ACCOUNT, paid: now }
    }

    /// Whether it is time for a look.
    #[must_use]
    pub fn is_due(&self, now: Instant) -> bool {
        now >= self.next
    }

    /// A look was made, which took so long; `unnamed` says whether more of them would name somebody. Returns whether it was a regular one.
    pub fn looked(&mut self, now: Instant, took: Duration, unnamed: bool) -> bool {
        let is_regular = now >= self.regular;
        self.account += EARNED * now.saturating_duration_since(self.paid).as_secs_f32();
        self.account = self.account.min(ACCOUNT);
        self.paid = now;
        if is_regular {
            self.regular = now + self.interval;
        } else {
            self.account -= 1.0;
        }
        let soon = unnamed && self.account >= 1.0;
        let distance = if soon { LEAST } else { self.regular.saturating_duration_since(now) };
        self.next = now + distance.max(took * REST);
        is_regular
    }

    /// How long to sleep when events have to be read after `longest`.
    #[must_use]
    pub fn sleep(&self, now: Instant, longest: Duration) -> Duration {
        self.next.saturating_duration_since(now).clamp(LEAST.min(longest), longest)
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
    }
}
