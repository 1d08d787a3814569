//! The wall clock jumped: its distance from the clock that never jumps changed by more than two seconds at once.

use super::Finding;
use crate::clock::Tick;

/// A smaller step is a correction.
const JUMP_MS: i64 = 2000;
/// The rule is broken for this long after a jump.
const LASTS_MS: u64 = 60_000;

/// The rule's memory.
#[derive(Debug, Default)]
pub struct ClockJump {
    offset_ms: Option<i64>,
    jump: Option<(u64, i64)>,
}

impl ClockJump {
    /// Looks at a moment; `None` while there is nothing to say.
    pub fn look(&mut self, now: Tick) -> Option<Finding> {
        let offset = now.wall_ms - i64::try_from(now.mono_ms).unwrap_or(i64::MAX);
        let step = self.offset_ms.replace(offset).map_or(0, |before| offset - before);
        if step.abs() > JUMP_MS {
            let total = self.jump.map_or(step, |(_, before)| before + step);
            self.jump = Some((now.mono_ms, total));
        }
        let (at, total) = self.jump?;
        let broken = now.mono_ms.saturating_sub(at) < LASTS_MS;
        if !broken {
            self.jump = None;
        }
        let direction = if total < 0 { "back" } else { "ahead" };
        let text = format!("the clock jumped {direction} by {:.1} s", total.abs() as f64 / 1000.0);
        Some(Finding { rule: "clock-jump", subject: String::new(), broken, severity: 0.6, text, ..Finding::default() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_is_told_and_drift_is_not() {
        let mut rule = ClockJump::default();
        let tick = |mono_ms: u64, wall_ms: i64| Tick { mono_ms, wall_ms };
        assert_eq!(rule.look(tick(1000, 1_000_000)), None);
        assert_eq!(rule.look(tick(2000, 1_001_400)), None);
        let jump = rule.look(tick(3000, 4_602_400)).expect("an hour ahead");
        assert!(jump.broken && jump.text.contains("ahead by 3600.0 s"), "{}", jump.text);
        assert!(rule.look(tick(4000, 4_603_400)).is_some_and(|f| f.broken));
        assert!(rule.look(tick(70_000, 4_669_400)).is_some_and(|f| !f.broken));
        assert_eq!(rule.look(tick(71_000, 4_670_400)), None);
    }
}
