//! The daily course: what a series' deviation usually is at this time of day, and how far it is from that.
//!
//! A profile of [`PHASES`] ten-minute means a series, updated when its ten minutes are over (weight 0.3, the first visit
//! whole) and read by linear interpolation between the middles of phases. What is left is scaled by its own mean absolute
//! deviation. Only slow detectors have a season: at 1 Hz the statistics of six hours follow the day by themselves.

use half::f16;

/// Phases of a day.
pub const PHASES: usize = 144;

const DAY_MS: i64 = 86_400_000;
const PHASE_MS: i64 = DAY_MS / PHASES as i64;

/// Weight of the newest visit of a phase.
const VISIT: f32 = 0.3;

/// Daily profiles of up to `capacity` series.
#[derive(Debug, Clone)]
pub struct Season {
    rate: f32,
    /// `[phase][slot]`; NaN where a series was never seen.
    profile: Vec<f16>,
    /// Sum and count of the phase that is now.
    sums: Vec<f32>,
    counts: Vec<u16>,
    deviation: Vec<f32>,
    points: Vec<u32>,
    now: Option<usize>,
    capacity: usize,
}

impl Season {
    /// `horizon_points` is the memory of the deviation.
    #[must_use]
    pub fn new(capacity: usize, horizon_points: f64) -> Self {
        Self {
            rate: (1.0 / horizon_points) as f32,
            profile: vec![f16::NAN; capacity * PHASES],
            sums: vec![0.0; capacity],
            counts: vec![0; capacity],
            deviation: vec![1.0; capacity],
            points: vec![0; capacity],
            now: None,
            capacity,
        }
    }

    /// Forgets a slot.
    pub fn reset(&mut self, slot: usize) {
        self.profile.iter_mut().skip(slot).step_by(self.capacity).for_each(|p| *p = f16::NAN);
        (self.sums[slot], self.counts[slot], self.deviation[slot], self.points[slot]) = (0.0, 0, 1.0, 0);
    }

    /// One point of every slot's deviations at a wall time; `out` gets what the time of day does not explain, -10 to 10.
    pub fn step(&mut self, z: &[f32], present: &[bool], learn: bool, wall_ms: i64, out: &mut [f32]) {
        let into_day = wall_ms.rem_euclid(DAY_MS);
        let phase = (into_day / PHASE_MS) as usize % PHASES;
        if self.now != Some(phase) {
            self.finish_phase();
            self.now = Some(phase);
        }
        let within = (into_day % PHASE_MS) as f32 / PHASE_MS as f32 - 0.5;
        let other = if within < 0.0 { (phase + PHASES - 1) % PHASES } else { (phase + 1) % PHASES };
        for (slot, x) in out.iter_mut().enumerate() {
            if !present[slot] {
                *x = 0.0;
                continue;
            }
            let usual = self.usual(slot, phase, other, within.abs());
            let rest = z[slot] - usual.unwrap_or(0.0);
            let deviation = &mut self.deviation[slot];
            *x = (rest / (*deviation + 0.05)).clamp(-10.0, 10.0);
            if !learn {
                continue;
            }
            self.sums[slot] += z[slot];
            self.counts[slot] += 1;
            if usual.is_some() {
                self.points[slot] = self.points[slot].saturating_add(1);
                let rate = (1.0 / (20.0 + self.points[slot] as f32)).max(self.rate);
                *deviation = (*deviation + rate * (rest.abs().min(3.0 * *deviation) - *deviation)).max(0.05);
            }
        }
    }

    fn usual(&self, slot: usize, phase: usize, other: usize, weight: f32) -> Option<f32> {
        let here = self.profile[phase * self.capacity + slot].to_f32();
        let there = self.profile[other * self.capacity + slot].to_f32();
        match (here.is_nan(), there.is_nan()) {
            (true, _) => None,
            (false, true) => Some(here),
            (false, false) => Some(here + weight * (there - here)),
        }
    }

    fn finish_phase(&mut self) {
        let Some(phase) = self.now else { return };
        let row = &mut self.profile[phase * self.capacity..(phase + 1) * self.capacity];
        for ((p, sum), count) in row.iter_mut().zip(&mut self.sums).zip(&mut self.counts) {
            if *count > 0 {
                let mean = *sum / f32::from(*count);
                let before = p.to_f32();
                *p = f16::from_f32(if before.is_nan() { mean } else { before + VISIT * (mean - before) });
            }
            (*sum, *count) = (0.0, 0);
        }
    }

    /// Profile and deviation of a slot, for keeping.
    #[must_use]
    pub fn slot(&self, slot: usize) -> ([f16; PHASES], f32, u32) {
        let profile = std::array::from_fn(|phase| self.profile[phase * self.capacity + slot]);
        (profile, self.deviation[slot], self.points[slot])
    }

    /// Puts back what [`Season::slot`] gave.
    pub fn set_slot(&mut self, slot: usize, profile: &[f16; PHASES], deviation: f32, points: u32) {
        self.reset(slot);
        for (phase, p) in profile.iter().enumerate() {
            self.profile[phase * self.capacity + slot] = *p;
        }
        (self.deviation[slot], self.points[slot]) = (deviation, points);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_daily_course_is_expected_from_the_second_day_on() {
        let mut season = Season::new(1, 1440.0);
        let (mut out, mut largest) = ([0.0], [0.0_f32; 4]);
        for minute in 0..4 * 1440_i64 {
            let z = 3.0 * (minute as f32 / 1440.0 * std::f32::consts::TAU).sin();
            season.step(&[z], &[true], true, minute * 60_000, &mut out);
            // In raw units: what is left times what it was scaled by.
            let day = &mut largest[(minute / 1440) as usize];
            *day = day.max(out[0].abs() * (season.slot(0).1 + 0.05));
        }
        assert!(largest[0] > 2.5 && largest[2] < 0.3 && largest[3] < 0.3, "{largest:?}");
        season.step(&[3.0], &[true], false, 4 * DAY_MS, &mut out);
        assert!(out[0] > 9.0, "at midnight 3 is far off: {}", out[0]);
    }

    #[test]
    fn what_was_kept_comes_back() {
        let mut a = Season::new(2, 1440.0);
        let mut out = [0.0; 2];
        for minute in 0..3000_i64 {
            a.step(&[1.0, (minute % 60) as f32 / 20.0], &[true, true], true, minute * 60_000, &mut out);
        }
        let mut b = Season::new(2, 1440.0);
        let (profile, deviation, points) = a.slot(1);
        b.set_slot(1, &profile, deviation, points);
        let mut other = [0.0; 2];
        a.step(&[1.0, 2.0], &[true, true], false, 3_000 * 60_000, &mut out);
        b.step(&[1.0, 2.0], &[true, true], false, 3_000 * 60_000, &mut other);
        assert!((out[1] - other[1]).abs() < 1e-6);
    }
}
