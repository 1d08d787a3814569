//! Which scores are rare on this node, and which threshold keeps the alarm budget.
//!
//! Everything works on `ls = ln(0.001 + host score)`. A running quantile `Q` follows the node's own 99 % point
//! ([`RunningQuantile`]); a margin above it is steered so that the number of blocks of ten minutes in which the alarm
//! would sound meets the budget ([`Margin`]). In the first day neither can be known; then the bar is everything seen so
//! far plus a distance that shrinks with the points seen ([`SeenSoFar`]).

/// Share of points above the running quantile.
pub const TAIL: f32 = 0.01;

/// Least step of the running quantile in log score for a point a minute. One that follows in hours takes the fault for usual; this
/// one follows a lasting shift in weeks to months, and meanwhile the margin keeps the budget.
const STEP_PER_MINUTE: f32 = 1e-4;

/// Memory of what an event adds to the bar of the first day, in points.
const EXTRA_POINTS: f32 = 7200.0;

/// Length of a block, which is also the time during which a node is not alarmed anew.
pub const BLOCK_MS: u64 = 600_000;

/// The node's running 99 % point of the log score.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RunningQuantile {
    /// The estimate; meaningful from the first point on.
    pub value: f32,
    /// Points learned from.
    pub points: u32,
    step: f32,
}

impl RunningQuantile {
    /// For a point every `period_ms`.
    #[must_use]
    pub fn new(period_ms: u32) -> Self {
        Self { value: 0.0, points: 0, step: STEP_PER_MINUTE * period_ms as f32 / 60_000.0 }
    }

    /// Continues from saved numbers.
    pub fn resume(&mut self, value: f32, points: u32) {
        (self.value, self.points) = (value, points);
    }

    /// Learns one log score. In youth the step is `5 / points` (the ideal gain for the 99 % point of a log score that
    /// varies by about 0.15), so that the first minutes are not lost.
    pub fn learn(&mut self, ls: f32) {
        if self.points == 0 {
            self.value = ls;
        }
        self.points = self.points.saturating_add(1);
        let step = (5.0 / self.points as f32).min(0.02).max(self.step);
        self.value += if ls > self.value { step * (1.0 - TAIL) } else { -step * TAIL };
    }
}

/// How rare an excess over the running quantile is: a generalised Pareto tail fitted by moments to the excesses so far (mean
/// `m`, variance `v`: shape `½ (1 - m²/v)` between 0 and 0.5, scale `m (1 - shape)`). It is for people; the decision is the
/// margin's.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Tail {
    /// Running mean of excesses.
    pub mean: f32,
    /// Running mean of their squares.
    pub square: f32,
    /// Excesses learned from.
    pub points: u32,
}

impl Default for Tail {
    /// An exponential tail of a tenth, worth ten excesses.
    fn default() -> Self {
        Self { mean: 0.1, square: 0.02, points: 10 }
    }
}

impl Tail {
    /// Excesses remembered.
    const MEMORY: f32 = 1000.0;

    /// Learns an excess; what is not above the quantile teaches nothing.
    pub fn learn(&mut self, excess: f32) {
        if excess > 0.0 {
            self.points = self.points.saturating_add(1);
            let rate = (1.0 / self.points as f32).max(1.0 / Self::MEMORY);
            self.mean += rate * (excess - self.mean);
            self.square += rate * (excess * excess - self.square);
        }
    }

    /// Chance of a larger excess in one point while all is well; [`TAIL`] for what is not above the quantile.
    #[must_use]
    pub fn p_value(&self, excess: f32) -> f32 {
        if excess <= 0.0 {
            return TAIL;
        }
        let mean = self.mean.max(1e-6);
        let variance = (self.square - mean * mean).max(1e-12);
        let shape = (0.5 * (1.0 - mean * mean / variance)).clamp(0.0, 0.5);
        let y = excess / (mean * (1.0 - shape));
        let beyond = if shape < 1e-3 { (-y).exp() } else { (1.0 + shape * y).powf(-1.0 / shape) };
        (TAIL * beyond).max(1e-30)
    }
}

/// The value that at least `k` of the last `n` alarm values reach: an alarm at threshold `T` means it is above `T`.
#[derive(Debug, Clone)]
pub struct Sustained {
    k: usize,
    recent: [f32; Self::MAX],
    n: usize,
    at: usize,
    filled: usize,
}

impl Sustained {
    const MAX: usize = 16;

    /// `k` of `n`, `1 <= k <= n <= 16`.
    #[must_use]
    pub fn new(k: usize, n: usize) -> Self {
        let n = n.clamp(1, Self::MAX);
        Self { k: k.clamp(1, n), recent: [f32::NEG_INFINITY; Self::MAX], n, at: 0, filled: 0 }
    }

    /// Forgets the last values.
    pub fn clear(&mut self) {
        *self = Self::new(self.k, self.n);
    }

    /// Takes a value and answers the k-th largest of the last n; minus infinity before there are k.
    pub fn push(&mut self, value: f32) -> f32 {
        self.recent[self.at] = value;
        self.at = (self.at + 1) % self.n;
        self.filled = (self.filled + 1).min(self.n);
        if self.filled < self.k {
            return f32::NEG_INFINITY;
        }
        let mut sorted = self.recent;
        let window = &mut sorted[..self.n];
        window.sort_unstable_by(|a, b| b.total_cmp(a));
        window[self.k - 1]
    }
}

/// A threshold above the running quantile that keeps a rate: every block of ten minutes either exceeded it (it rises by
/// [`Margin::STEP`]) or not (it falls by so much that the two balance at the asked rate). Whatever the distribution
/// of scores, the long-run rate of exceeding blocks is the asked one, as long as the margin is off its floor.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Margin {
    /// The margin in log score.
    pub value: f32,
    rate_per_block: f32,
    block_started_ms: Option<u64>,
    block_max: f32,
}

impl Margin {
    /// Rise for a block that exceeded the margin.
    pub const STEP: f32 = 0.25;

    /// The lowest margin: below the quantile itself sustained values are no news on any node.
    pub const FLOOR: f32 = -0.2;

    /// The highest: about a hundredfold score.
    pub const CEILING: f32 = 4.6;

    /// With a budget of `per_day` events.
    #[must_use]
    pub fn new(start: f32, per_day: f64) -> Self {
        let rate_per_block = Self::rate(per_day);
        Self { value: start, rate_per_block, block_started_ms: None, block_max: f32::NEG_INFINITY }
    }

    fn rate(per_day: f64) -> f32 {
        let blocks = 86_400_000.0 / BLOCK_MS as f64;
        (per_day / blocks).clamp(1e-4, 0.5) as f32
    }

    /// With another budget from now on. The margin stays and moves towards the new rate.
    pub fn set_budget(&mut self, per_day: f64) {
        self.rate_per_block = Self::rate(per_day);
    }

    /// Learns one sustained value above the running quantile. `at_ms` is monotonic; a block counts when it is over.
    pub fn learn(&mut self, sustained: f32, at_ms: u64) {
        let started = *self.block_started_ms.get_or_insert(at_ms);
        self.block_max = self.block_max.max(sustained);
        if at_ms.saturating_sub(started) >= BLOCK_MS {
            let up = self.block_max > self.value;
            self.move_by(if up { Self::STEP } else { -Self::STEP * self.rate_per_block / (1.0 - self.rate_per_block) });
            self.forget_block();
            // Without a gap: blocks of ten minutes also where a point is five.
            self.block_started_ms = Some(at_ms);
        }
    }

    /// An event was opened: it counts as one exceeding block.
    pub fn spent(&mut self) {
        self.move_by(Self::STEP);
        self.forget_block();
    }

    /// Starts a new block with the next point.
    pub fn forget_block(&mut self) {
        self.block_started_ms = None;
        self.block_max = f32::NEG_INFINITY;
    }

    fn move_by(&mut self, step: f32) {
        self.value = (self.value + step).clamp(Self::FLOOR, Self::CEILING);
    }
}

/// The bar of the first day: the largest sustained log score so far (at least the running quantile) plus a distance that
/// shrinks with experience.
///
/// New values count only after half a minute to a minute: a fault on its way up must not raise the bar before itself.
/// What was seen is forgotten in the time it took to see it, so that the noise of the first, roughly fitted minutes does
/// not blunt the day.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SeenSoFar {
    /// The largest sustained log score.
    pub largest: f32,
    /// Points behind it.
    pub points: u32,
    /// Raised by every event, so that a job that recurs cannot alarm all day; forgotten over some hours.
    pub extra: f32,
    buckets: [f32; 2],
    in_bucket: u32,
}

impl SeenSoFar {
    /// Points in a bucket; a value counts after one to two of them.
    const BUCKET: u32 = 30;

    /// Continues from saved numbers.
    #[must_use]
    pub fn new(largest: f32, points: u32, extra: f32) -> Self {
        Self { largest, points, extra, buckets: [f32::NEG_INFINITY; 2], in_bucket: 0 }
    }

    /// Nothing seen in the points of the first fit: the smallest log score there is.
    pub const NONE: f32 = -6.9;

    /// Learns one sustained log score; `usual` is where the largest falls back to.
    pub fn learn(&mut self, sustained: f32, usual: f32) {
        self.points = self.points.saturating_add(1);
        self.buckets[0] = self.buckets[0].max(sustained);
        self.in_bucket += 1;
        self.largest -= (self.largest - usual).max(0.0) / self.points.max(600) as f32;
        self.extra -= self.extra / EXTRA_POINTS;
        if self.in_bucket >= Self::BUCKET {
            self.largest = self.largest.max(self.buckets[1]);
            self.buckets = [f32::NEG_INFINITY, self.buckets[0]];
            self.in_bucket = 0;
        }
    }

    /// An event was opened: what led up to it is not usual.
    pub fn spent(&mut self) {
        self.extra = (self.extra + 0.05).min(0.5);
        self.buckets = [f32::NEG_INFINITY; 2];
        self.in_bucket = 0;
    }

    /// The bar in log score above what is `usual`: the distance is 0.37 after a minute, 0.27 after ten, 0.22 in the end.
    #[must_use]
    pub fn bar(&self, usual: f32) -> f32 {
        let distance = 0.22 + 0.15 * (60.0 / self.points.max(60) as f32).sqrt();
        self.largest.max(usual) + distance + self.extra
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Noise(u64);

    impl Noise {
        /// A long tail: minus the logarithm of a uniform number.
        fn next(&mut self) -> f32 {
            self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            -(((self.0 >> 40) as f32 + 1.0) / (1_u64 << 24) as f32).ln() * 0.15
        }
    }

    #[test]
    fn the_running_quantile_finds_the_tail_and_follows_a_shift() {
        let (mut q, mut noise) = (RunningQuantile::new(60_000), Noise(3));
        let mut above = 0;
        for i in 0..240_000 {
            let ls = noise.next() + if i > 20_000 { 1.0 } else { 0.0 };
            above += u32::from(i > 230_000 && ls > q.value);
            q.learn(ls);
        }
        assert!((60..160).contains(&above), "{above} of 10,000 above the 99 % point");
    }

    #[test]
    fn p_values_are_the_shares_they_claim() {
        let (mut q, mut tail, mut noise) = (RunningQuantile::new(60_000), Tail::default(), Noise(5));
        let mut below = [0_u32; 2];
        for i in 0..400_000 {
            let ls = noise.next();
            let p = tail.p_value(ls - q.value);
            if i > 100_000 {
                below[0] += u32::from(p < 1e-3);
                below[1] += u32::from(p < 1e-4);
            }
            tail.learn(ls - q.value);
            q.learn(ls);
        }
        assert!((150..600).contains(&below[0]) && (10..80).contains(&below[1]), "{below:?} of 300 and 30");
    }

    #[test]
    fn another_budget_changes_the_rate_and_keeps_the_margin() {
        let mut margin = Margin::new(0.7, 1.0);
        margin.set_budget(2.0);
        assert_eq!(margin, Margin::new(0.7, 2.0));
    }

    #[test]
    fn the_margin_spends_the_asked_budget_whatever_the_tail() {
        for scale in [0.3, 3.0] {
            let (mut margin, mut noise) = (Margin::new(0.5, 2.0), Noise(9));
            let mut events = 0;
            let days = 200;
            for minute in 0..days * 1440_u64 {
                let value = noise.next() * scale;
                events += u32::from(value > margin.value && margin.block_max <= margin.value);
                margin.learn(value, minute * 60_000);
            }
            let per_day = f64::from(events) / days as f64;
            assert!((1.5..2.6).contains(&per_day), "asked 2 a day, got {per_day} at scale {scale}");
        }
    }

    #[test]
    fn sustained_ignores_a_short_burst() {
        let mut s = Sustained::new(5, 8);
        let values = [0.0, 0.0, 9.0, 9.0, 9.0, 9.0, 0.0, 0.0, 0.0];
        assert!(values.into_iter().all(|v| s.push(v) < 1.0));
        (0..8).for_each(|_| _ = s.push(0.0));
        let last: Vec<f32> = (0..5).map(|_| s.push(7.0)).collect();
        assert!(last[4] > 6.0 && last[1] < 1.0, "{last:?}");
    }

    #[test]
    fn the_first_bar_shrinks_with_experience_and_is_not_raised_by_what_it_should_catch() {
        let usual = -0.3;
        let mut seen = SeenSoFar::new(SeenSoFar::NONE, 60, 0.0);
        let early = seen.bar(usual);
        assert!((early - usual - 0.37).abs() < 1e-3);
        (0..6000).for_each(|_| seen.learn(-0.2, usual));
        let late = seen.bar(usual);
        assert!(late < early && late > -0.2 + 0.22, "{early} {late}");
        (0..25).for_each(|_| seen.learn(2.0, usual));
        assert!(seen.bar(usual) <= late, "a fault of 25 points raised the bar before it could be caught");
        seen.spent();
        (0..200).for_each(|_| seen.learn(-0.2, usual));
        assert!(seen.bar(usual) < late + 0.15);
    }
}
