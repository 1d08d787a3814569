//! How far each series has been from its usual level so far: on its first day a node cannot know what is rare, but it knows what it has
//! not seen yet.
//!
//! Deviations have tails of their own: a disk that is written in bursts is often at eight deviations, a count of open files never was at
//! two. What goes well beyond a series' own reach is *far*; the rest, however large, is not. A fault that moves one series of three
//! hundred is lost in a mean over all of them, and shows here.

/// A series is far when it is this many times beyond its reach, and a quarter as many again when it is only just known …
const TIMES: f32 = 2.0;

/// … which is taken to be at least this many deviations.
const LEAST: f32 = 2.0;

/// Points a series must have shown before its reach means anything: ten minutes at 1 Hz.
const SHOWN: u32 = 600;

/// A deviation becomes part of the reach after one to two times so many points: a fault on its way up must not raise it before itself.
const BUCKET: u32 = 30;

/// The reach of up to `capacity` series, in deviations.
#[derive(Debug, Clone)]
pub struct Reach {
    /// Share of the reach that is left after a bucket.
    kept: f32,
    reach: Vec<f32>,
    points: Vec<u32>,
    /// Largest deviations of the present bucket and of the one before.
    pending: [Vec<f32>; 2],
    in_bucket: u32,
}

impl Reach {
    /// What was shown `horizon_points` ago counts for a third.
    #[must_use]
    pub fn new(capacity: usize, horizon_points: f64) -> Self {
        Self {
            kept: (-f64::from(BUCKET) / horizon_points.max(f64::from(BUCKET))).exp() as f32,
            reach: vec![0.0; capacity],
            points: vec![0; capacity],
            pending: [vec![0.0; capacity], vec![0.0; capacity]],
            in_bucket: 0,
        }
    }

    /// What a slot has shown and in how many points.
    #[must_use]
    pub fn slot(&self, slot: usize) -> (f32, u32) {
        (self.reach[slot], self.points[slot])
    }

    /// Forgets a slot, or continues from what [`Reach::slot`] gave.
    pub fn reset(&mut self, slot: usize, saved: Option<(f32, u32)>) {
        (self.reach[slot], self.points[slot]) = saved.unwrap_or((0.0, 0));
        self.pending.iter_mut().for_each(|bucket| bucket[slot] = 0.0);
    }

    /// How well a slot's series is known, up to 1: what a newcomer says of its level counts the less.
    #[must_use]
    pub fn known(&self, slot: usize) -> f32 {
        (self.points[slot] + 1).min(SHOWN) as f32 / SHOWN as f32
    }

    /// By how many deviations a level is beyond all that the slot's series has shown; 0 where it is not, or too little was seen.
    #[must_use]
    pub fn far(&self, slot: usize, level: f32) -> f32 {
        if self.points[slot] < SHOWN {
            return 0.0;
        }
        let times = TIMES * (1.0 + 0.25 * SHOWN as f32 / self.points[slot] as f32);
        (level.abs() - times * self.reach[slot].max(LEAST)).max(0.0)
    }

    /// Learns levels of an ordinary point.
    pub fn learn(&mut self, levels: &[f32], present: &[bool]) {
        for (slot, (level, present)) in levels.iter().zip(present).enumerate() {
            if *present {
                self.pending[0][slot] = self.pending[0][slot].max(level.abs());
                self.points[slot] = self.points[slot].saturating_add(1);
            }
        }
        self.in_bucket += 1;
        if self.in_bucket >= BUCKET {
            let [newest, before] = &mut self.pending;
            for ((reach, newest), before) in self.reach.iter_mut().zip(newest).zip(before) {
                *reach = (*reach * self.kept).max(*before);
                *before = std::mem::take(newest);
            }
            self.in_bucket = 0;
        }
    }

    /// Something is going on: what led up to it is no measure of what is usual.
    pub fn forget_pending(&mut self) {
        self.pending.iter_mut().for_each(|bucket| bucket.fill(0.0));
        self.in_bucket = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(reach: &mut Reach, levels: &[f32], points: usize) {
        (0..points).for_each(|_| reach.learn(levels, &[true, true]));
    }

    #[test]
    fn each_series_is_measured_by_its_own_reach() {
        let mut reach = Reach::new(2, 21_600.0);
        shown(&mut reach, &[0.5, 3.0], SHOWN as usize - 1);
        assert_eq!([reach.far(0, 9.0), reach.far(1, 9.0)], [0.0, 0.0], "too little was seen");
        assert!(reach.known(0) > 0.9);
        shown(&mut reach, &[0.5, 3.0], 61);
        let early = reach.far(0, -9.0);
        shown(&mut reach, &[0.5, 3.0], 9 * SHOWN as usize);
        assert!((reach.far(0, -9.0) - 4.9).abs() < 0.1, "some more than twice two deviations are nothing new");
        assert!(early > 3.8 && early < 4.3, "less so at first: {early}");
        assert!((reach.far(1, 9.0) - 2.85).abs() < 0.15 && reach.far(1, 6.0) == 0.0);
        reach.reset(1, None);
        assert!(
            reach.far(1, 9.0) == 0.0 && reach.known(1) < 0.01 && reach.far(0, 9.0) > 4.0,
            "another series in the slot begins anew"
        );
    }

    #[test]
    fn what_leads_up_to_an_event_is_not_learned() {
        let mut reach = Reach::new(2, 21_600.0);
        shown(&mut reach, &[0.5, 0.5], 2000);
        shown(&mut reach, &[8.0, 0.5], 25);
        reach.forget_pending();
        shown(&mut reach, &[0.5, 0.5], 100);
        assert!(reach.far(0, 8.0) > 3.0, "{:?}", reach.slot(0));
        // What lasts without an event becomes usual.
        shown(&mut reach, &[8.0, 0.5], 90);
        assert!(reach.far(0, 9.0) == 0.0 && reach.slot(0).0 >= 8.0);
        shown(&mut reach, &[0.5, 0.5], 21_600);
        assert!(reach.slot(0).0 < 3.1, "and is forgotten in time: {:?}", reach.slot(0));
    }
}
