//! Helpers run as processes of their own, each bounded: it ends after its time, and with its parent, whatever happens to the
//! bench.

use std::ffi::CString;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use rustix::process::{Pid, Signal, getppid, set_parent_process_death_signal};

/// Longest any helper runs.
const SECONDS_MAX: u64 = 24 * 3600;

/// Until when a helper runs.
#[derive(Debug)]
pub struct Limit {
    end: Instant,
    parent: Option<Pid>,
}

impl Limit {
    /// From now on, for at most so many seconds, and no longer than the parent; the process gets a name.
    pub fn new(own_name: &str, seconds: u64) -> Self {
        name(own_name);
        die_with_parent();
        Self { end: Instant::now() + Duration::from_secs(seconds.min(SECONDS_MAX)), parent: getppid() }
    }

    /// Whether it goes on.
    pub fn goes_on(&self) -> bool {
        Instant::now() < self.end && getppid() == self.parent
    }

    /// Waits a little, but not beyond the end.
    pub fn rest(&self, time: Duration) {
        sleep(time.min(self.end.saturating_duration_since(Instant::now())));
    }

    /// Waits for the end.
    pub fn hold(&self) {
        while self.goes_on() {
            self.rest(Duration::from_millis(200));
        }
    }

    /// Calls `one` at a rate, in portions twenty times a second, until the end, until it was called `most` times, or until
    /// it says no.
    pub fn at_rate(&self, per_s: u64, most: u64, mut one: impl FnMut(u64) -> bool) {
        let began = Instant::now();
        let mut done = 0;
        while self.goes_on() && done < most {
            let due = (began.elapsed().as_secs_f64() * per_s as f64) as u64;
            while done < due.min(most) && self.goes_on() {
                if !one(done) {
                    return;
                }
                done += 1;
            }
            self.rest(Duration::from_millis(50));
        }
    }
}

/// Names this process, as `ps` shows it.
pub fn name(text: &str) {
    // A name with a zero byte there is none, and a kernel that refuses it only makes reports harder to read.
    let _ = CString::new(text).map(|text| rustix::thread::set_name(&text));
}

/// Ends this process with its parent.
pub fn die_with_parent() {
    // Without it the time limit still holds.
    let _ = set_parent_process_death_signal(Some(Signal::KILL));
}

/// Raises the limit on open files as far as allowed and says how many may be open.
///
/// # Errors
/// When the system refuses.
pub fn raise_open_files() -> Result<u64> {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let most = limit.maximum.unwrap_or(1 << 20);
    setrlimit(Resource::Nofile, Rlimit { current: Some(most), maximum: limit.maximum })
        .context("cannot raise the limit on open files")?;
    Ok(most)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limit(ms: u64) -> Limit {
        Limit { end: Instant::now() + Duration::from_millis(ms), parent: getppid() }
    }

    #[test]
    fn a_helper_is_bounded_in_number_and_time() {
        let mut calls = 0;
        limit(60_000).at_rate(1_000_000, 500, |_| {
            calls += 1;
            true
        });
        assert_eq!(calls, 500);
        limit(60_000).at_rate(1000, u64::MAX, |n| n < 3);
        let over = limit(0);
        over.at_rate(1000, u64::MAX, |_| panic!("its time is over"));
        over.hold();
        assert!(!over.goes_on());
    }
}
