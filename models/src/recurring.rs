//! What recurs at a time of day: the nightly backup that is as unusual as a fault, every night.
//!
//! For each ten minutes of the day the highest sustained excess over the running quantile is kept for a week. What four of the
//! last seven days reached within ten minutes of the same time is usual then: the bar stands above it. One fault raises nothing, one
//! that came at the same time on four days is a habit of that machine.
//!
//! Time of day is that of the wall clock in UTC. A host that is off for a while keeps what it had.

/// Ten-minute slots of a day.
pub const SLOTS: usize = 144;
/// Days kept, with the one that is on.
pub const DAYS: usize = 8;
/// So many of the earlier days must have reached a value.
const RANK: usize = 4;
/// The bar stands so far above what recurs, in log score: a job takes a little more some days.
const ABOVE: f32 = 0.3;
/// Steps of a log score as kept: a byte for what lies between -8 and 8.
const STEP: f32 = 1.0 / 16.0;
/// Nothing was seen.
pub const NOTHING: i8 = i8::MIN;

const SLOT_MS: i64 = 86_400_000 / SLOTS as i64;

/// The highest excesses by day and time of day.
#[derive(Debug, Clone, PartialEq)]
pub struct Recurring {
    days: Box<[[i8; SLOTS]; DAYS]>,
    /// The slot that is on, counted from the beginning of Unix time.
    slot: Option<i64>,
    highest: f32,
    usual: Option<f32>,
}

impl Default for Recurring {
    fn default() -> Self {
        Self { days: Box::new([[NOTHING; SLOTS]; DAYS]), slot: None, highest: f32::NEG_INFINITY, usual: None }
    }
}

impl Recurring {
    /// Takes the sustained excess of a point into account, where there is one. Allocates nothing.
    pub fn learn(&mut self, excess: f32, wall_ms: i64) {
        self.turn(wall_ms);
        if excess.is_finite() {
            self.highest = self.highest.max(excess);
        }
    }

    /// Where the bar stands at least now, above the running quantile; `None` while nothing recurs here.
    pub fn bar(&mut self, wall_ms: i64) -> Option<f32> {
        self.turn(wall_ms);
        self.usual.map(|usual| usual + ABOVE)
    }

    /// Begins the slot of this time.
    fn turn(&mut self, wall_ms: i64) {
        let now = wall_ms.div_euclid(SLOT_MS);
        let Some(before) = self.slot.filter(|slot| *slot != now) else {
            if self.slot.is_none() {
                (self.slot, self.usual) = (Some(now), self.of(now));
            }
            return;
        };
        let (day, slot) = place(before);
        if self.highest.is_finite() {
            self.days[day][slot] = self.days[day][slot].max(kept(self.highest));
        }
        let day = |slot: i64| slot.div_euclid(SLOTS as i64);
        if day(now) != day(before) {
            self.days[place(now).0] = [NOTHING; SLOTS];
        }
        (self.slot, self.highest) = (Some(now), f32::NEG_INFINITY);
        self.usual = self.of(now);
    }

    /// What [`RANK`] of the earlier days reached within ten minutes of this time of day.
    fn of(&self, now: i64) -> Option<f32> {
        let (today, slot) = place(now);
        let around = [(slot + SLOTS - 1) % SLOTS, slot, (slot + 1) % SLOTS];
        let mut list: [i8; DAYS] = std::array::from_fn(|day| {
            if day == today { NOTHING } else { around.map(|s| self.days[day][s]).into_iter().max().unwrap_or(NOTHING) }
        });
        list.sort_unstable();
        let reached = list[DAYS - RANK];
        (reached != NOTHING).then(|| f32::from(reached) * STEP)
    }

    /// For keeping, day by day.
    #[must_use]
    pub fn save(&self) -> Vec<i8> {
        self.days.iter().flatten().copied().collect()
    }

    /// Continues from what [`Recurring::save`] gave; other lengths are ignored.
    pub fn resume(&mut self, saved: &[i8]) {
        if saved.len() == DAYS * SLOTS {
            for (day, kept) in self.days.iter_mut().zip(saved.chunks_exact(SLOTS)) {
                day.copy_from_slice(kept);
            }
        }
    }
}

/// Day and time of day of a slot.
fn place(slot: i64) -> (usize, usize) {
    let slots = SLOTS as i64;
    (slot.div_euclid(slots).rem_euclid(DAYS as i64) as usize, slot.rem_euclid(slots) as usize)
}

fn kept(excess: f32) -> i8 {
    (excess / STEP).round().clamp(-127.0, 127.0) as i8
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: i64 = 60_000;
    const DAY: i64 = 1440 * MINUTE;

    /// A day of minutes with an excess of 1.5 for half an hour from `at` on, and -0.5 else.
    fn day(r: &mut Recurring, day: i64, at: Option<i64>) {
        for minute in 0..1440 {
            let on = at.is_some_and(|at| (at..at + 30).contains(&minute));
            r.learn(if on { 1.5 } else { -0.5 }, day * DAY + minute * MINUTE);
        }
    }

    #[test]
    fn what_came_on_four_days_is_usual_at_that_time_and_at_no_other() {
        let mut r = Recurring::default();
        let bar =
            |r: &mut Recurring, day, minute| r.bar(day * DAY + minute * MINUTE).map(|b| (b * 100.0).round() / 100.0);
        assert_eq!(r.bar(0), None);
        (0..3).for_each(|d| day(&mut r, d, Some(120 + 3 * d)));
        assert_eq!(bar(&mut r, 3, 125), None, "three days are too few for any habit");
        day(&mut r, 3, Some(129));
        assert_eq!(bar(&mut r, 4, 60), Some(-0.2));
        assert_eq!(bar(&mut r, 4, 112), Some(1.8));
        assert_eq!(bar(&mut r, 4, 145), Some(1.8));
        assert_eq!(bar(&mut r, 4, 175), Some(-0.2));
        // Three nights in a week are no habit any more.
        (4..8).for_each(|d| day(&mut r, d, None));
        assert_eq!(bar(&mut r, 8, 130), Some(-0.2));
    }

    #[test]
    fn one_fault_makes_nothing_usual() {
        let mut r = Recurring::default();
        for d in 0..7 {
            day(&mut r, d, (d == 3).then_some(600));
        }
        assert_eq!(r.bar(7 * DAY + 610 * MINUTE), Some(ABOVE - 0.5));
    }

    #[test]
    fn it_outlives_a_restart_and_a_clock_that_jumps() {
        let mut r = Recurring::default();
        (0..5).for_each(|d| day(&mut r, d, Some(60)));
        let mut after = Recurring::default();
        after.resume(&r.save());
        after.resume(&[1, 2, 3]);
        after.learn(f32::NAN, 5 * DAY);
        assert_eq!(after.bar(5 * DAY + 70 * MINUTE), Some(1.8));
        for at in [i64::MAX, i64::MIN, -1, 0] {
            after.learn(9.0, at);
            after.bar(at);
        }
    }
}
