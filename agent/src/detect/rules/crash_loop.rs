//! A unit ends again and again and systemd restarts it: three times within ten minutes.

use super::Finding;
use crate::context::UnitState;

/// Restarts that make a loop …
const LOOP: u64 = 3;
/// … within this time; without any for as long it is over.
const WITHIN_MS: u64 = 10 * 60_000;
/// Moments remembered of a unit: systemd is asked every 30 seconds at most, so they reach as far as the time above.
const MOMENTS: usize = 24;

/// The rule's memory.
#[derive(Debug, Default)]
pub struct CrashLoop {
    units: Vec<Restarts>,
}

#[derive(Debug)]
struct Restarts {
    name: String,
    /// Restarts as last told; they only rise while the unit is watched.
    told: u64,
    /// When there were how many, oldest first.
    lately: heapless::Deque<(u64, u64), MOMENTS>,
    broken: bool,
}

impl CrashLoop {
    /// Looks at the units that systemd told of.
    pub fn look(&mut self, units: &[UnitState], now_ms: u64) -> Vec<Finding> {
        let mut findings = Vec::new();
        self.units.retain(|known| {
            let stays = units.iter().any(|u| u.name == known.name);
            if !stays && known.broken {
                findings.push(over(&known.name, format!("{} is not there any more", known.name)));
            }
            stays
        });
        for unit in units.iter().filter(|u| u.restarts > 0) {
            let index = self.units.iter().position(|k| k.name == unit.name).unwrap_or_else(|| {
                let (name, lately) = (unit.name.clone(), heapless::Deque::new());
                self.units.push(Restarts { name, told: 0, lately, broken: false });
                self.units.len() - 1
            });
            findings.extend(self.units[index].look(unit, now_ms));
        }
        findings
    }
}

impl Restarts {
    fn look(&mut self, unit: &UnitState, now_ms: u64) -> Option<Finding> {
        let fresh = unit.restarts.saturating_sub(std::mem::replace(&mut self.told, unit.restarts));
        if fresh > 0 {
            if self.lately.is_full() {
                self.lately.pop_front();
            }
            // There is room: one was taken out.
            let _ = self.lately.push_back((now_ms, fresh));
        }
        while self.lately.front().is_some_and(|(at, _)| now_ms.saturating_sub(*at) > WITHIN_MS) {
            self.lately.pop_front();
        }
        let count: u64 = self.lately.iter().map(|(_, n)| n).sum();
        let was = self.broken;
        self.broken = count >= LOOP || (was && count > 0);
        if self.broken {
            let last = if unit.why.is_empty() { String::new() } else { format!("; last: {}", unit.why) };
            let text = format!("{} ends again and again: {count} restarts in 10 minutes{last}", unit.name);
            // It began with the first of them.
            let first = self.lately.front().map_or(now_ms, |(at, _)| *at);
            let ago = unit.changed.mono_ms.saturating_sub(first);
            let onset = crate::clock::Tick {
                mono_ms: unit.changed.mono_ms - ago,
                wall_ms: unit.changed.wall_ms.saturating_sub_unsigned(ago),
            };
            return Some(Finding {
                rule: "crash-loop",
                subject: unit.name.clone(),
                broken: true,
                severity: 0.8,
                text,
                onset: Some(onset),
                unit: Some(unit.name.clone()),
                ..Finding::default()
            });
        }
        was.then(|| over(&unit.name, format!("{} has not been restarted for 10 minutes", unit.name)))
    }
}

fn over(unit: &str, text: String) -> Finding {
    Finding { rule: "crash-loop", subject: unit.to_owned(), text, unit: Some(unit.to_owned()), ..Finding::default() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Tick;

    fn unit(restarts: u64) -> UnitState {
        let why = "its main process was killed by SIGSEGV".to_owned();
        UnitState { name: "shop.service".into(), failed: false, why, restarts, changed: Tick::default() }
    }

    #[test]
    fn three_restarts_in_ten_minutes_are_a_loop_and_quiet_ends_it() {
        let mut rule = CrashLoop::default();
        let minute = |m: u64| m * 60_000;
        assert!(rule.look(&[unit(1)], minute(0)).is_empty());
        assert!(rule.look(&[unit(2)], minute(5)).is_empty());
        assert!(rule.look(&[unit(3)], minute(11)).is_empty(), "the first is too long ago");
        let found = rule.look(&[unit(4)], minute(14)).remove(0);
        assert!(found.broken, "{found:?}");
        assert_eq!(
            found.text,
            "shop.service ends again and again: 3 restarts in 10 minutes; last: its main process was killed by SIGSEGV"
        );
        assert!(rule.look(&[unit(4)], minute(23))[0].broken, "one of them is still near");
        assert!(!rule.look(&[unit(4)], minute(25))[0].broken);
        assert!(rule.look(&[unit(4)], minute(26)).is_empty());
    }

    #[test]
    fn many_at_once_count_and_a_unit_that_goes_ends_its_loop() {
        let mut rule = CrashLoop::default();
        assert!(rule.look(&[unit(9)], 1000)[0].broken);
        assert!(!rule.look(&[], 2000)[0].broken);
        assert!(rule.look(&[], 3000).is_empty());
    }
}
