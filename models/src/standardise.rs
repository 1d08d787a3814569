//! Raw values to deviations from what is usual here, per series, without a batch and without a pass over history.
//!
//! A series starts robustly from its first [`START_POINTS`] values (median and interquartile scale), then keeps an
//! exponentially weighted mean `m` and mean absolute deviation `v`:
//!
//! ```text
//! e = x - m;   z = clamp(e / (v + 0.05 v0 + floor), -10, 10)     the output, with the old m and v
//! e = clamp(e, -3v, 3v);   m += a e;   v += a (|e| - v)          an outlier moves the state by at most 3 deviations
//! v = max(v, 0.1 v0)                                             a quiet hour does not make a series over-sensitive
//! ```
//!
//! `a` is `1/(20 + points)` in youth and `1/horizon` later. At 1 Hz the horizon is six hours: long against a fault that
//! is to be seen (minutes), short against the daily course, which would otherwise count as an anomaly twice a day; on
//! one-minute data a whole day measured best. A series that never moved has no deviation to divide by and is kept
//! apart: it gives 0 until it moves, a fixed step while it differs, and starts again once it has settled.

/// Points from which a series' mean and deviation are started.
pub const START_POINTS: usize = 30;

/// Largest absolute output.
pub const LIMIT: f32 = 10.0;

/// Output while a series that was constant in its start differs from that constant.
pub const CONSTANT_STEP: f32 = 5.0;

/// Deviations below this share of the level are rounding, not news.
const RELATIVE_FLOOR: f64 = 1e-4;

/// Half width of the expected band in mean absolute deviations: three standard deviations of a normal distribution.
const BAND: f64 = 3.0 * 1.253_314;

/// Where a series is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Collecting its first points.
    Starting,
    /// Did not move so far.
    Constant,
    /// Has a mean and a deviation.
    Live,
}

/// What a series has learned; what survives a restart.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Level {
    /// Phase.
    pub phase: Phase,
    /// Mean, or the constant.
    pub mean: f64,
    /// Mean absolute deviation.
    pub deviation: f32,
    /// Deviation at the last milestone; floors are relative to it.
    pub deviation0: f32,
    /// Points learned from.
    pub points: u32,
}

impl Level {
    const NEW: Self = Self { phase: Phase::Starting, mean: 0.0, deviation: 0.0, deviation0: 0.0, points: 0 };

    /// `floor` is the smallest change of the series that matters anywhere, 0 if nothing is known of that.
    pub(crate) fn scale(&self, floor: f32) -> f64 {
        let own = f64::from(self.deviation) + 0.05 * f64::from(self.deviation0);
        own + RELATIVE_FLOOR * self.mean.abs() + f64::from(floor) + 1e-30
    }
}

/// Adaptive standardisation of up to `capacity` series, one slot each.
#[derive(Debug, Clone)]
pub struct Standardiser {
    horizon: f64,
    levels: Vec<Level>,
    floors: Vec<f32>,
    active: Vec<bool>,
    recent: Vec<f32>,
    cursor: Vec<u8>,
    /// Points in `recent`, up to `START_POINTS`.
    filled: Vec<u8>,
    /// Points without a pause of learning before the newest one, up to `START_POINTS`.
    fresh: Vec<u8>,
    /// Constant series only: points that differed from the constant.
    moved: Vec<u8>,
}

impl Standardiser {
    /// `horizon_points` is the memory of mean and deviation in points.
    #[must_use]
    pub fn new(capacity: usize, horizon_points: f64) -> Self {
        Self {
            horizon: horizon_points.max(40.0),
            levels: vec![Level::NEW; capacity],
            floors: vec![0.0; capacity],
            active: vec![true; capacity],
            recent: vec![0.0; capacity * START_POINTS],
            cursor: vec![0; capacity],
            filled: vec![0; capacity],
            fresh: vec![0; capacity],
            moved: vec![0; capacity],
        }
    }

    /// Forgets a slot and ignores what is fed to it until the next [`Standardiser::reset`].
    pub fn release(&mut self, slot: usize) {
        self.reset(slot, None);
        self.active[slot] = false;
    }

    /// Forgets a slot, or gives it what a series had learned before.
    pub fn reset(&mut self, slot: usize, level: Option<Level>) {
        self.levels[slot] = level.unwrap_or(Level::NEW);
        self.active[slot] = true;
        self.cursor[slot] = 0;
        self.filled[slot] = 0;
        self.fresh[slot] = 0;
        self.moved[slot] = 0;
    }

    /// Sets the smallest change of a slot's series that matters on any machine, in its unit: what it varies by less says
    /// nothing, however calm it was.
    pub fn set_floor(&mut self, slot: usize, floor: f32) {
        self.floors[slot] = floor;
    }

    /// What [`Standardiser::set_floor`] set.
    #[must_use]
    pub fn floor(&self, slot: usize) -> f32 {
        self.floors[slot]
    }

    /// What a slot has learned.
    #[must_use]
    pub fn level(&self, slot: usize) -> Level {
        self.levels[slot]
    }

    /// Lower end, centre and upper end of what is usual, in raw units; `None` before the series has started.
    #[must_use]
    pub fn band(&self, slot: usize) -> Option<(f64, f64, f64)> {
        let level = &self.levels[slot];
        let half = match level.phase {
            Phase::Starting => return None,
            Phase::Constant => 0.0,
            Phase::Live => BAND * level.scale(self.floors[slot]),
        };
        Some((level.mean - half, level.mean, level.mean + half))
    }

    /// One point of every slot. `z` gets the deviations (0 where nothing can be said), `present` whether the value was
    /// a usable number. With `learn` false nothing is learned, but the outputs are the same.
    pub fn step(&mut self, values: &[f32], learn: bool, z: &mut [f32], present: &mut [bool]) {
        for (slot, out) in z.iter_mut().enumerate() {
            let x = values.get(slot).copied().unwrap_or(f32::NAN);
            // f32 arithmetic on anything larger overflows in the square.
            present[slot] = self.active[slot] && x.is_finite() && x.abs() < 1e18;
            *out = if present[slot] { self.point(slot, x, learn) } else { 0.0 };
        }
    }

    fn point(&mut self, slot: usize, x: f32, learn: bool) -> f32 {
        let cursor = usize::from(self.cursor[slot]) % START_POINTS;
        self.recent[slot * START_POINTS + cursor] = x;
        self.cursor[slot] = u8::try_from((cursor + 1) % START_POINTS).expect("START_POINTS fits in a byte");
        self.filled[slot] = (self.filled[slot] + 1).min(START_POINTS as u8);
        self.fresh[slot] = if learn { (self.fresh[slot] + 1).min(START_POINTS as u8) } else { 0 };
        match self.levels[slot].phase {
            Phase::Starting => {
                if usize::from(self.fresh[slot]) == START_POINTS {
                    self.restart(slot);
                }
                0.0
            }
            Phase::Constant => self.constant(slot, x, learn),
            Phase::Live => live(&mut self.levels[slot], self.floors[slot], x, learn, self.horizon),
        }
    }

    fn constant(&mut self, slot: usize, x: f32, learn: bool) -> f32 {
        let level = &mut self.levels[slot];
        let e = f64::from(x) - level.mean;
        if e.abs() <= 1e-6 * level.mean.abs() {
            self.moved[slot] = self.moved[slot].saturating_sub(1);
            level.points = level.points.saturating_add(u32::from(learn));
            return 0.0;
        }
        if learn {
            self.moved[slot] += 1;
            if usize::from(self.moved[slot]) >= START_POINTS {
                self.restart(slot);
                return 0.0;
            }
        }
        let floor = 3.0 * self.floors[slot];
        let weight = if floor > 0.0 { (e.abs() as f32 / floor).min(1.0) } else { 1.0 };
        (CONSTANT_STEP * weight).copysign(e as f32)
    }

    fn restart(&mut self, slot: usize) {
        let mut sorted = [0.0_f32; START_POINTS];
        sorted.copy_from_slice(&self.recent[slot * START_POINTS..(slot + 1) * START_POINTS]);
        sorted.sort_unstable_by(f32::total_cmp);
        self.levels[slot] = robust_start(&sorted);
        self.moved[slot] = 0;
    }

    /// Takes the last [`START_POINTS`] values of a started slot for its new usual level. Half a minute cannot show how
    /// much a series varies, so its deviation falls by half at most.
    pub fn accept_level(&mut self, slot: usize) {
        let old = self.levels[slot];
        if old.phase == Phase::Starting || usize::from(self.filled[slot]) < START_POINTS {
            return;
        }
        self.restart(slot);
        let level = &mut self.levels[slot];
        if old.phase == Phase::Live {
            level.phase = Phase::Live;
            level.deviation = level.deviation.max(0.5 * old.deviation);
            level.deviation0 = level.deviation;
        }
    }
}

/// A series that has mean and deviation.
fn live(level: &mut Level, floor: f32, x: f32, learn: bool, horizon: f64) -> f32 {
    let e = f64::from(x) - level.mean;
    let z = (e / level.scale(floor)) as f32;
    if learn {
        level.points = level.points.saturating_add(1);
        let a = (1.0 / (20.0 + f64::from(level.points))).max(1.0 / horizon);
        let v = f64::from(level.deviation).max(RELATIVE_FLOOR * level.mean.abs() * 0.1);
        let e = e.clamp(-3.0 * v, 3.0 * v);
        level.mean += a * e;
        level.deviation = ((v + a * (e.abs() - v)) as f32).max(0.1 * level.deviation0);
        if matches!(level.points, 120 | 300 | 600 | 1800 | 3600) {
            level.deviation0 = level.deviation;
        }
    }
    z.clamp(-LIMIT, LIMIT)
}

/// Median and interquartile scale, then mean and mean absolute deviation of what lies within 30 of those scales.
fn robust_start(sorted: &[f32; START_POINTS]) -> Level {
    let n = START_POINTS as f64;
    let (low, high) = (f64::from(sorted[0]), f64::from(sorted[START_POINTS - 1]));
    let largest = low.abs().max(high.abs());
    let points = START_POINTS as u32;
    if high - low <= 1e-6 * largest {
        let mean = quantile(sorted, 0.5);
        return Level { phase: Phase::Constant, mean, deviation: 0.0, deviation0: 0.0, points };
    }
    let median = quantile(sorted, 0.5);
    let mean = sorted.iter().map(|x| f64::from(*x)).sum::<f64>() / n;
    let variance = sorted.iter().map(|x| (f64::from(*x) - mean).powi(2)).sum::<f64>() / n;
    let iqr = (quantile(sorted, 0.75) - quantile(sorted, 0.25)) / 1.349;
    let s = iqr.max(0.25 * variance.sqrt()).max(1e-4 * largest.max(1e-9));
    let scaled = |x: &f32| ((f64::from(*x) - median) / s).clamp(-30.0, 30.0);
    let m = sorted.iter().map(scaled).sum::<f64>() / n;
    let v = sorted.iter().map(|x| (scaled(x) - m).abs()).sum::<f64>() / n;
    let deviation = (v * s) as f32;
    Level { phase: Phase::Live, mean: median + s * m, deviation, deviation0: deviation, points }
}

/// Linearly interpolated quantile of sorted values.
fn quantile(sorted: &[f32; START_POINTS], q: f64) -> f64 {
    let at = q * (START_POINTS - 1) as f64;
    let below = at.floor() as usize;
    let above = (below + 1).min(START_POINTS - 1);
    let (a, b) = (f64::from(sorted[below]), f64::from(sorted[above]));
    a + (b - a) * (at - at.floor())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Feeds one series and returns its outputs.
    fn feed(s: &mut Standardiser, values: impl IntoIterator<Item = f32>) -> Vec<f32> {
        let (mut z, mut present) = ([0.0], [false]);
        let mut out = Vec::new();
        for x in values {
            s.step(&[x], true, &mut z, &mut present);
            out.push(z[0]);
        }
        out
    }

    fn wave(i: usize) -> f32 {
        ((i * 37) % 17) as f32 - 8.0
    }

    #[test]
    fn a_jump_stands_out_and_the_wave_does_not() {
        let mut s = Standardiser::new(1, 21_600.0);
        let quiet = feed(&mut s, (0..600).map(|i| 100.0 + wave(i)));
        assert!(quiet.iter().all(|z| z.abs() < 4.0));
        let jump = feed(&mut s, [200.0]);
        assert!((jump[0] - LIMIT).abs() < f32::EPSILON);
    }

    #[test]
    fn scale_and_level_do_not_matter() {
        let mut a = Standardiser::new(1, 500.0);
        let mut b = Standardiser::new(1, 500.0);
        let plain = feed(&mut a, (0..400).map(wave));
        let large = feed(&mut b, (0..400).map(|i| 1024.0 * wave(i)));
        for (x, y) in plain.iter().zip(&large) {
            assert!((x - y).abs() < 2e-3, "{x} and {y}");
        }
    }

    #[test]
    fn garbage_gives_zero_and_teaches_nothing() {
        let mut s = Standardiser::new(1, 500.0);
        feed(&mut s, (0..100).map(wave));
        let before = s.level(0);
        let (mut z, mut present) = ([1.0], [true]);
        for x in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, f32::MAX] {
            s.step(&[x], true, &mut z, &mut present);
            assert_eq!((z[0], present[0], s.level(0)), (0.0, false, before));
        }
    }

    #[test]
    fn frozen_outputs_are_the_same_and_teach_nothing() {
        let mut s = Standardiser::new(1, 500.0);
        feed(&mut s, (0..100).map(wave));
        let before = s.level(0);
        let (mut z, mut present) = ([0.0], [false]);
        s.step(&[50.0], false, &mut z, &mut present);
        assert_eq!(s.level(0), before);
        assert!((z[0] - LIMIT).abs() < f32::EPSILON);
    }

    #[test]
    fn a_constant_that_changes_once_is_quiet_again_after_it_settled() {
        let mut s = Standardiser::new(1, 500.0);
        assert!(feed(&mut s, std::iter::repeat_n(7.0, 100)).iter().all(|z| *z == 0.0));
        let moved = feed(&mut s, std::iter::repeat_n(3.0, 100));
        assert!((moved[0] + CONSTANT_STEP).abs() < f32::EPSILON);
        assert!(moved[START_POINTS..].iter().all(|z| *z == 0.0), "{moved:?}");
        assert!((s.band(0).expect("started").1 - 3.0).abs() < 1e-6);
    }

    #[test]
    fn large_levels_with_small_changes_are_followed() {
        let mut s = Standardiser::new(1, 1_000.0);
        let level = 1.6e10_f32;
        feed(&mut s, (0..20_000).map(|i| level + i as f32 * 4096.0 + wave(i) * 1e6));
        let mean = s.level(0).mean;
        assert!((mean - 1.608e10).abs() < 1.2e7, "the mean stuck at {mean}");
    }
}
