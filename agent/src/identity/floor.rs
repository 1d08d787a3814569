//! The earliest that it can be now. A board without a clock of its own starts in 1970, and then every certificate would be
//! "not yet valid": so the time by which certificates are judged is never earlier than the release of this program, nor than
//! the last time at which a certificate was verified.
//!
//! That time is kept in `last-time` in the state folder: after each verified connection, and hourly while one stands. From
//! there it goes on by the clock that never jumps, so a wall clock that leaps into the future is not followed; and a
//! clock that is far ahead when it connects finds the server's certificate expired and leaves nothing behind.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustls::pki_types::UnixTime;
use rustls::time_provider::TimeProvider;

use crate::clock::Tick;
use crate::watch::on_disk;

/// 2026-11-23, when this program had a first release: a constant, so that a build is reproducible. A build that says
/// when its sources are from (`SOURCE_DATE_EPOCH`) has a later one.
const RELEASED_S: i64 = 1_795_392_000;
/// 2100-01-01; what is later is a mistake.
const LATEST_S: i64 = 4_102_444_800;
const BUILT_MS: i64 = built_ms(option_env!("SOURCE_DATE_EPOCH"));
/// Name of the file in the state folder.
pub const FILE: &str = "last-time";
/// The file is not written more often.
const WRITE_EVERY_MS: i64 = 600_000;

const fn built_ms(epoch: Option<&str>) -> i64 {
    let Some(text) = epoch else { return RELEASED_S * 1000 };
    let digits = text.as_bytes();
    let (mut seconds, mut i) = (0, 0);
    while i < digits.len() {
        if !digits[i].is_ascii_digit() || seconds > LATEST_S {
            return RELEASED_S * 1000;
        }
        seconds = seconds * 10 + (digits[i] - b'0') as i64;
        i += 1;
    }
    if seconds > RELEASED_S && seconds < LATEST_S { seconds * 1000 } else { RELEASED_S * 1000 }
}

/// The floor under the wall clock.
#[derive(Debug)]
pub struct Floor {
    file: Option<PathBuf>,
    known: Mutex<Known>,
}

/// A time that has been, and when that was by the clock that never jumps.
#[derive(Debug, Clone, Copy)]
struct Known {
    wall_ms: i64,
    mono_ms: u64,
    written_ms: i64,
}

impl Floor {
    /// Reads the last time kept in the state folder; none, or nonsense, leaves the time of the release.
    #[must_use]
    pub fn open(data_dir: &Path, now: Tick) -> Self {
        let file = data_dir.join(FILE);
        let text = std::fs::read_to_string(&file).unwrap_or_default();
        let kept = text.trim().parse().ok().filter(|ms| (BUILT_MS..LATEST_S * 1000).contains(ms));
        let known = Known { wall_ms: kept.unwrap_or(BUILT_MS), mono_ms: now.mono_ms, written_ms: kept.unwrap_or(0) };
        Self { file: Some(file), known: Mutex::new(known) }
    }

    /// The release alone; nothing is kept.
    #[must_use]
    pub fn of_release() -> Self {
        let known = Known { wall_ms: BUILT_MS, mono_ms: Tick::now().mono_ms, written_ms: 0 };
        Self { file: None, known: Mutex::new(known) }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The time to judge by, Unix milliseconds.
    #[must_use]
    pub fn at(&self, now: Tick) -> i64 {
        let known = *self.known();
        let since = i64::try_from(now.mono_ms.saturating_sub(known.mono_ms)).unwrap_or(0);
        now.wall_ms.max(known.wall_ms.saturating_add(since)).max(BUILT_MS)
    }

    /// Whether the wall clock cannot be right.
    #[must_use]
    pub fn is_above(&self, now: Tick) -> bool {
        // Two clocks never agree to the second.
        self.at(now) > now.wall_ms.saturating_add(60_000)
    }

    /// A certificate was verified by [`Self::at`]: it is not earlier than that.
    pub fn verified(&self, now: Tick) {
        let wall_ms = self.at(now);
        let mut known = self.known();
        known.wall_ms = wall_ms;
        known.mono_ms = now.mono_ms;
        drop(known);
        self.save(now);
    }

    /// Keeps the time that has been reached since. Without `fdatasync`: an older floor is a floor too.
    pub fn save(&self, now: Tick) {
        let Some(file) = &self.file else { return };
        let mut known = self.known();
        let since = i64::try_from(now.mono_ms.saturating_sub(known.mono_ms)).unwrap_or(0);
        let reached = known.wall_ms.saturating_add(since);
        if reached >= known.written_ms.saturating_add(WRITE_EVERY_MS) {
            let _wait = on_disk();
            let fresh = file.with_extension("new");
            let written = std::fs::write(&fresh, format!("{reached}\n")).and_then(|()| std::fs::rename(&fresh, file));
            match written {
                Ok(()) => known.written_ms = reached,
                Err(error) => tracing::debug!(%error, file = %file.display(), "The last time cannot be kept."),
            }
        }
    }
}

impl TimeProvider for Floor {
    fn current_time(&self) -> Option<UnixTime> {
        let ms = u64::try_from(self.at(Tick::now())).ok()?;
        Some(UnixTime::since_unix_epoch(Duration::from_millis(ms)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY_MS: u64 = 86_400_000;

    fn tick(mono_ms: u64, wall_ms: i64) -> Tick {
        Tick { mono_ms, wall_ms }
    }

    #[test]
    fn the_release_is_not_in_the_future() {
        assert!(BUILT_MS <= Tick::now().wall_ms, "RELEASED_S or SOURCE_DATE_EPOCH is later than now");
        assert_eq!(RELEASED_S % 86_400, 0, "a day");
    }

    #[test]
    fn the_time_of_the_sources_counts_when_it_can_be_one() {
        assert_eq!(built_ms(None), RELEASED_S * 1000);
        assert_eq!(built_ms(Some("1800000000")), 1_800_000_000_000);
        for nonsense in ["", "0", "1600000000", "18e8", "-1", "99999999999", "999999999999999999999999999999"] {
            assert_eq!(built_ms(Some(nonsense)), RELEASED_S * 1000, "{nonsense}");
        }
    }

    #[test]
    fn a_clock_at_1970_is_lifted_and_a_good_one_is_left_alone() {
        let folder = tempfile::tempdir().expect("a folder");
        let floor = Floor::open(folder.path(), tick(5000, 0));
        assert_eq!(floor.at(tick(5000, 0)), BUILT_MS);
        assert_eq!(floor.at(tick(8000, 3000)), BUILT_MS + 3000, "time goes on meanwhile");
        assert!(floor.is_above(tick(8000, 3000)));
        let right = BUILT_MS + 90 * DAY_MS as i64;
        assert_eq!(floor.at(tick(9000, right)), right);
        assert!(!floor.is_above(tick(9000, right)));
    }

    #[test]
    fn what_was_verified_outlives_a_restart() {
        let folder = tempfile::tempdir().expect("a folder");
        let seen = BUILT_MS + 400 * DAY_MS as i64;
        let floor = Floor::open(folder.path(), tick(1000, seen));
        floor.verified(tick(1000, seen));
        // Two hours later, with a clock that leapt by a year: only what has passed counts.
        floor.save(tick(1000 + 7_200_000, seen + 365 * DAY_MS as i64));
        let again = Floor::open(folder.path(), tick(10, 0));
        assert_eq!(again.at(tick(10, 0)), seen + 7_200_000);
    }

    #[test]
    fn it_is_not_written_all_the_time() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join(FILE);
        let floor = Floor::open(folder.path(), tick(0, 0));
        floor.verified(tick(0, BUILT_MS));
        std::fs::remove_file(&file).expect("it was written at once");
        floor.verified(tick(60_000, BUILT_MS + 60_000));
        assert!(!file.exists());
        floor.verified(tick(601_000, BUILT_MS + 601_000));
        assert!(file.exists());
    }

    #[test]
    fn nonsense_in_the_file_is_no_floor() {
        let folder = tempfile::tempdir().expect("a folder");
        for text in ["", "soon", "-5", "17", "99999999999999999", "\u{0}\u{0}"] {
            std::fs::write(folder.path().join(FILE), text).expect("a file");
            assert_eq!(Floor::open(folder.path(), tick(0, 0)).at(tick(0, 0)), BUILT_MS, "{text:?}");
        }
        let nowhere = Floor::open(Path::new("/nowhere/at/all"), tick(0, 0));
        nowhere.verified(tick(0, BUILT_MS + 5));
        assert_eq!(nowhere.at(tick(0, 0)), BUILT_MS + 5);
    }

    #[test]
    fn certificates_are_judged_by_it() {
        let time = Floor::of_release().current_time().expect("a time");
        assert!(i64::try_from(time.as_secs()).is_ok_and(|s| s * 1000 >= BUILT_MS));
    }
}
