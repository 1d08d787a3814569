//! The kernel killed a process for want of memory: the rate of its counter is above zero.

use super::Finding;

/// The rule is broken for this long after a kill.
const LASTS_MS: u64 = 120_000;

/// The rule's memory.
#[derive(Debug, Default)]
pub struct OomKill {
    last_mono_ms: Option<u64>,
    kills: u32,
}

impl OomKill {
    /// Looks at the rate of kills; `None` while there is nothing to say. A kill is told for two minutes after the last.
    pub fn look(&mut self, kills_per_second: f32, seconds: f32, now_mono_ms: u64) -> Option<Finding> {
        let killed = (kills_per_second * seconds).round();
        if killed >= 1.0 {
            self.kills += killed as u32;
            self.last_mono_ms = Some(now_mono_ms);
        }
        let broken = now_mono_ms.saturating_sub(self.last_mono_ms?) < LASTS_MS;
        let kills = self.kills;
        if !broken {
            *self = Self::default();
        }
        let text = match kills {
            1 => "the kernel killed a process for want of memory".to_owned(),
            n => format!("the kernel killed {n} processes for want of memory"),
        };
        Some(Finding { rule: "oom-kill", subject: String::new(), broken, severity: 0.9, text, ..Finding::default() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kills_are_counted_and_end() {
        let mut rule = OomKill::default();
        assert_eq!(rule.look(0.0, 1.0, 1000), None);
        assert_eq!(rule.look(f32::NAN, 1.0, 2000), None);
        assert!(rule.look(1.0, 1.0, 3000).is_some_and(|f| f.broken));
        let second = rule.look(2.0, 1.0, 4000).expect("a finding");
        assert!(second.text.contains("3 processes"));
        assert!(rule.look(0.0, 1.0, 4000 + LASTS_MS).is_some_and(|f| !f.broken));
        assert_eq!(rule.look(0.0, 1.0, 5000 + LASTS_MS), None);
    }
}
