//! The one place that reads clocks. Everything else gets a [`Tick`], so tests decide what time it is.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::sync::OnceLock;

use rustix::time::{ClockId, clock_gettime};

/// Names a file that holds how many milliseconds the wall clock is ahead, while it is there: no namespace keeps a wall clock of its
/// own, and a test of clock steps must not set the machine's.
pub const AHEAD: &str = "TACIT_CLOCK_AHEAD_FILE";

/// One moment by three clocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tick {
    /// Milliseconds since boot, suspend included (`CLOCK_BOOTTIME`). Never jumps.
    pub mono_ms: u64,
    /// Unix milliseconds (`CLOCK_REALTIME`). May jump.
    pub wall_ms: i64,
}

impl Tick {
    /// Now.
    #[must_use]
    pub fn now() -> Self {
        let boot = clock_gettime(ClockId::Boottime);
        let wall = clock_gettime(ClockId::Realtime);
        Self {
            mono_ms: u64::try_from(boot.tv_sec).unwrap_or(0) * 1000
                + u64::try_from(boot.tv_nsec).unwrap_or(0) / 1_000_000,
            wall_ms: wall.tv_sec * 1000 + wall.tv_nsec / 1_000_000 + ahead_ms(),
        }
    }

    /// Seconds from `earlier` to this tick, by the clock that never jumps.
    #[must_use]
    pub fn seconds_since(self, earlier: Self) -> f64 {
        self.mono_ms.saturating_sub(earlier.mono_ms) as f64 / 1000.0
    }

    /// A tick `ms` milliseconds after this one, by both clocks; for tests and replays.
    #[must_use]
    pub fn plus_ms(self, ms: u64) -> Self {
        Self { mono_ms: self.mono_ms + ms, wall_ms: self.wall_ms + i64::try_from(ms).unwrap_or(i64::MAX) }
    }
}

/// Zero but in tests; see [`AHEAD`].
fn ahead_ms() -> i64 {
    static FILE: OnceLock<Option<File>> = OnceLock::new();
    let file = FILE.get_or_init(|| std::env::var_os(AHEAD).and_then(|path| File::open(path).ok()));
    file.as_ref().map_or(0, read_ms)
}

/// A whole number in the first bytes of a file; zero when there is none.
fn read_ms(file: &File) -> i64 {
    let mut text = [0; 16];
    let length = file.read_at(&mut text, 0).unwrap_or(0);
    std::str::from_utf8(&text[..length]).ok().and_then(|text| text.trim().parse().ok()).unwrap_or(0)
}

/// Microseconds of `CLOCK_MONOTONIC`, in which systemd counts: since boot, without suspend.
#[must_use]
pub fn monotonic_us() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    u64::try_from(now.tv_sec).unwrap_or(0) * 1_000_000 + u64::try_from(now.tv_nsec).unwrap_or(0) / 1000
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_tells_how_far_the_wall_clock_is_ahead() {
        let path = tempfile::NamedTempFile::new().unwrap();
        for (text, ms) in [("30000\n", 30_000), ("-5", -5), ("", 0), ("soon", 0)] {
            std::fs::write(path.path(), text).unwrap();
            assert_eq!(read_ms(path.as_file()), ms, "{text:?}");
        }
    }
}
