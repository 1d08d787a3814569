//! The one place that reads clocks. Everything else gets a [`Tick`], so tests decide what time it is.

use rustix::time::{ClockId, clock_gettime};

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
            wall_ms: wall.tv_sec * 1000 + wall.tv_nsec / 1_000_000,
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

/// Microseconds of `CLOCK_MONOTONIC`, in which systemd counts: since boot, without suspend.
#[must_use]
pub fn monotonic_us() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    u64::try_from(now.tv_sec).unwrap_or(0) * 1_000_000 + u64::try_from(now.tv_nsec).unwrap_or(0) / 1000
}
