//! Lines and errors of each unit over the last minute.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Units counted by name; the lines of others are counted together.
const UNITS: usize = 16;
/// The name under which others are counted.
const OTHER: &str = "other";
/// Length of a part of the minute.
const PART_MS: u64 = 10_000;
/// Parts of the minute.
const PARTS: usize = 6;
/// A unit that wrote nothing for this long gives its place to another.
const FORGET_MS: u64 = 60 * 60_000;
/// Errors within a minute that are worth a note …
const MANY: u32 = 10;
/// … when they are so many times what the unit usually has.
const TIMES: f32 = 4.0;
/// Share that a minute has in what is usual: about an hour of memory.
const SHARE: f32 = 1.0 / 60.0;

/// The counts, shared by the follower and the sampling thread.
#[derive(Debug, Clone, Default)]
pub struct LogCounts(Arc<Mutex<Counts>>);

/// The counts themselves.
#[derive(Debug, Default)]
pub struct Counts {
    units: Vec<Unit>,
    /// Another number when units came or went.
    pub generation: u64,
    /// Lines that were not understood.
    pub bad: u64,
    /// Whether somebody follows the journal; `None` before the first attempt.
    pub followed: Option<bool>,
    minute: u64,
}

/// One unit.
#[derive(Debug)]
pub struct Unit {
    /// Its name.
    pub name: String,
    /// Lines and errors by part, and the number of the part each belongs to.
    parts: [(u64, u32, u32); PARTS],
    heard_ms: u64,
    /// Errors of a usual minute.
    usual: f32,
}

impl LogCounts {
    /// The counts, for a moment.
    pub fn lock(&self) -> MutexGuard<'_, Counts> {
        // The counts are valid at every step, so a poisoned lock changes nothing.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Counts {
    /// Counts a line of `unit` at `now_ms` (milliseconds since boot).
    pub fn take(&mut self, unit: &str, error: bool, now_ms: u64) {
        let find = |units: &[Unit], name: &str| units.iter().position(|u| u.name == name);
        let index = find(&self.units, unit).or_else(|| self.place(unit, now_ms)).or_else(|| find(&self.units, OTHER));
        let Some(unit) = index.and_then(|i| self.units.get_mut(i)) else { return };
        unit.heard_ms = now_ms;
        let part = now_ms / PART_MS;
        let slot = &mut unit.parts[part as usize % PARTS];
        if slot.0 != part {
            *slot = (part, 0, 0);
        }
        slot.1 = slot.1.saturating_add(1);
        slot.2 = slot.2.saturating_add(u32::from(error));
    }

    /// A place for a new unit. The last one is kept for all others together.
    fn place(&mut self, unit: &str, now_ms: u64) -> Option<usize> {
        let full = self.units.len() + usize::from(!self.units.iter().any(|u| u.name == OTHER)) >= UNITS;
        let silent = |u: &Unit| u.name != OTHER && now_ms.saturating_sub(u.heard_ms) >= FORGET_MS;
        let name = if full && unit != OTHER && !self.units.iter().any(silent) { OTHER } else { unit };
        if name == OTHER && self.units.iter().any(|u| u.name == OTHER) {
            return None;
        }
        self.generation += 1;
        let fresh = Unit { name: name.to_owned(), parts: [(0, 0, 0); PARTS], heard_ms: now_ms, usual: 0.0 };
        if let Some(index) = self.units.iter().position(silent).filter(|_| full && name != OTHER) {
            self.units[index] = fresh;
            return Some(index);
        }
        self.units.push(fresh);
        Some(self.units.len() - 1)
    }

    /// The units in the order of their places.
    #[must_use]
    pub fn units(&self) -> &[Unit] {
        &self.units
    }

    /// Once a minute: the units whose errors rose far beyond what is usual for them, as name, errors and usual errors.
    pub fn risen(&mut self, now_ms: u64) -> Vec<(String, u32, f32)> {
        let minute = now_ms / 60_000;
        if minute == self.minute {
            return Vec::new();
        }
        self.minute = minute;
        let mut risen = Vec::new();
        for unit in &mut self.units {
            let (_, errors) = unit.last_minute(now_ms);
            if errors >= MANY && errors as f32 > TIMES * unit.usual {
                risen.push((unit.name.clone(), errors, unit.usual));
            }
            unit.usual += SHARE * (errors as f32 - unit.usual);
        }
        risen
    }
}

impl Unit {
    /// Lines and errors of the minute before `now_ms`.
    #[must_use]
    pub fn last_minute(&self, now_ms: u64) -> (u32, u32) {
        let oldest = (now_ms / PART_MS + 1).saturating_sub(PARTS as u64);
        let recent = self.parts.iter().filter(|(part, ..)| *part >= oldest);
        recent.fold((0, 0), |(lines, errors), (_, l, e)| (lines + l, errors + e))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: u64 = 600_000_000;

    #[test]
    fn a_minute_slides() {
        let mut counts = Counts::default();
        (0..60).for_each(|s| counts.take("a.service", s % 4 == 0, START + s * 1000));
        let at = |counts: &Counts, s: u64| counts.units()[0].last_minute(START + s * 1000);
        assert_eq!(at(&counts, 59), (60, 15));
        assert_eq!(at(&counts, 89).0, 30);
        assert_eq!(at(&counts, 125), (0, 0));
    }

    #[test]
    fn units_are_bounded_and_the_silent_make_room() {
        let mut counts = Counts::default();
        (0..100).for_each(|i| counts.take(&format!("u{i}.service"), true, START));
        assert_eq!(counts.units().len(), UNITS);
        let other = counts.units().last().expect("there are some");
        assert_eq!((other.name.as_str(), other.last_minute(START).1), (OTHER, 100 - (UNITS as u32 - 1)));
        let generation = counts.generation;
        counts.take("new.service", false, START + FORGET_MS);
        assert_eq!((counts.units()[0].name.as_str(), counts.units().len()), ("new.service", UNITS));
        assert_eq!(counts.generation, generation + 1);
    }

    #[test]
    fn only_an_unusual_rise_is_told() {
        let mut counts = Counts::default();
        let mut minute = |m: u64, errors: u64| {
            let at = START + m * 60_000;
            (0..errors).for_each(|i| counts.take("noisy.service", true, at + i * 100));
            (0..50).for_each(|_| counts.take("noisy.service", false, at));
            !counts.risen(at + 59_000).is_empty()
        };
        assert!(!minute(0, 5), "few");
        assert!(minute(1, 40), "many, and never before");
        for m in 2..400 {
            minute(m, 40);
        }
        assert!(!minute(400, 60), "it always has some");
        assert!(minute(401, 400));
    }
}
