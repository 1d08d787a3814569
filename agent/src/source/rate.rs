//! Counters become rates.

use crate::clock::Tick;

/// How wide a counter is in the kernel: decides what a step back means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Width {
    /// 32 bits: a step back may be a wrap.
    Bits32,
    /// 64 bits: a step back is a reset.
    Bits64,
}

/// One counter's last value. The first reading, and the one after a reset, give no rate (NaN).
#[derive(Debug, Clone, Copy, Default)]
pub struct Rate {
    last: Option<(u64, Tick)>,
}

impl Rate {
    /// The rate per second since the last reading.
    pub fn per_second(&mut self, value: u64, at: Tick, width: Width) -> f32 {
        let last = self.last.replace((value, at));
        let Some((before, then)) = last else { return f32::NAN };
        let seconds = at.seconds_since(then);
        if seconds <= 0.0 {
            return f32::NAN;
        }
        match increase(before, value, width) {
            Some(delta) => (delta as f64 / seconds) as f32,
            None => f32::NAN,
        }
    }

    /// Whether `value` says that the counter began anew.
    #[must_use]
    pub fn is_reset(&self, value: u64, width: Width) -> bool {
        self.last.is_some_and(|(before, _)| increase(before, value, width).is_none())
    }

    /// Forgets the last reading.
    pub fn clear(&mut self) {
        self.last = None;
    }
}

/// How much a counter rose, or `None` after a reset. A 32-bit counter that falls from close below 2³² to close above 0
/// has wrapped; every other fall is a reset (a device that went and came back, a namespace made anew). Close is a quarter
/// of the range: 1 GiB between two samples, which no link with counters so narrow carries in eight seconds.
#[must_use]
pub fn increase(before: u64, now: u64, width: Width) -> Option<u64> {
    const WRAP: u64 = 1 << 32;
    match width {
        _ if now >= before => Some(now - before),
        Width::Bits32 if before < WRAP => Some(WRAP - before + now).filter(|rise| *rise <= WRAP / 4),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wraps_and_resets() {
        assert_eq!(increase(10, 25, Width::Bits64), Some(15));
        assert_eq!(increase(u64::from(u32::MAX), 4, Width::Bits32), Some(5));
        assert_eq!(increase(u64::from(u32::MAX), 4, Width::Bits64), None);
        assert_eq!(increase(1000, 4, Width::Bits32), None);
        assert_eq!(increase(3_000_000_000, 4, Width::Bits32), None, "too far below 2³² for a wrap");
        assert_eq!(increase((1 << 32) + 1, 4, Width::Bits32), None, "beyond 32 bits");
    }

    #[test]
    fn the_first_reading_gives_no_rate() {
        let start = Tick { mono_ms: 1000, wall_ms: 0 };
        let mut rate = Rate::default();
        assert!(rate.per_second(100, start, Width::Bits64).is_nan());
        assert_eq!(rate.per_second(150, start.plus_ms(500), Width::Bits64), 100.0);
        assert!(rate.per_second(3, start.plus_ms(1500), Width::Bits64).is_nan());
        assert_eq!(rate.per_second(4, start.plus_ms(2500), Width::Bits64), 1.0);
    }
}
