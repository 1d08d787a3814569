//! A node made of random numbers: slow and fast noise, rare bursts, long tails, a daily course, and much that never moves.

use tacit_models::detector::{Detector, DetectorConfig, Step, Transition};

/// A small generator; the same seed gives the same node.
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// Uniform in 0..1.
    pub fn uniform(&mut self) -> f32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 40) as f32 / (1_u64 << 24) as f32
    }

    /// About normal, deviation 1.
    pub fn normal(&mut self) -> f32 {
        (0..4).map(|_| self.uniform() - 0.5).sum::<f32>() * 1.732
    }
}

struct Series {
    kind: u8,
    rho: f32,
    level: f32,
    scale: f32,
    state: f32,
}

/// The node.
pub struct Node {
    series: Vec<Series>,
    random: Random,
    values: Vec<f32>,
    period_ms: u64,
    now_ms: u64,
    /// Points for which a passing activity goes on.
    activity: u32,
}

impl Node {
    pub fn new(series: usize, period_ms: u64, seed: u64) -> Self {
        let mut random = Random::new(seed);
        let make = |i: usize| Series {
            kind: (i % 10) as u8,
            rho: [0.0, 0.3, 0.7, 0.9, 0.97][i / 10 % 5],
            level: 10.0_f32.powf(random.uniform() * 8.0),
            scale: 0.0,
            state: 0.0,
        };
        let mut all: Vec<Series> = (0..series).map(make).collect();
        for s in &mut all {
            s.scale = s.level * (0.01 + 0.2 * random.uniform());
        }
        Self { series: all, random, values: vec![0.0; series], period_ms, now_ms: 0, activity: 0 }
    }

    pub fn now_ms(&self) -> u64 {
        self.now_ms
    }

    /// The next point. Every tenth kind: four slow noises, two long tails, one rare burst, one daily course, two constant.
    pub fn next(&mut self) -> &mut [f32] {
        self.now_ms += self.period_ms;
        let day = (self.now_ms % 86_400_000) as f32 / 86_400_000.0 * std::f32::consts::TAU;
        if self.random.uniform() < 0.000_5 {
            self.activity = 3 + (self.random.uniform() * 8.0) as u32;
        }
        self.activity = self.activity.saturating_sub(1);
        let common = self.random.normal() * 0.4;
        for (i, (s, out)) in self.series.iter_mut().zip(&mut self.values).enumerate() {
            let fresh = self.random.normal() + common;
            s.state = s.rho * s.state + (1.0 - s.rho * s.rho).sqrt() * fresh;
            let busy = if self.activity > 0 && i % 7 == 0 { 3.0 } else { 0.0 };
            let moving = match s.kind {
                0..=3 => s.state + busy,
                4 | 5 => s.state * s.state * s.state.abs() * 0.5 + busy,
                6 if self.random.uniform() < 0.02 => 10.0 * self.random.uniform(),
                7 => s.state + 4.0 * day.sin(),
                _ => 0.0,
            };
            *out = s.level + s.scale * moving;
        }
        &mut self.values
    }
}

/// A detector with every slot bound.
pub fn detector(capacity: usize, period_ms: u32, budget_per_day: f64) -> Detector {
    let mut d = Detector::new(DetectorConfig { capacity, period_ms, budget_per_day: Some(budget_per_day) });
    for slot in 0..capacity {
        assert!(d.bind(slot, 1000 + slot as u64));
    }
    d
}

/// One point through node and detector, with fits when they are due; `change` may alter the values.
pub fn step(node: &mut Node, d: &mut Detector, change: impl FnOnce(&mut [f32])) -> Step {
    let now = node.now_ms() + node.period_ms;
    let values = node.next();
    change(values);
    let step = d.step(values, now, now as i64);
    if d.refit_due() {
        d.refit().expect("the built-in graph loads");
    }
    step
}

/// `points` undisturbed points; the number of events opened.
pub fn quiet(node: &mut Node, d: &mut Detector, points: usize) -> usize {
    (0..points).filter(|_| step(node, d, |_| ()).transition == Some(Transition::Open)).count()
}

/// All cores busy and memory filling: every ninth series far off its level.
pub fn gross(values: &mut [f32]) {
    for x in values.iter_mut().step_by(9) {
        *x *= 4.0;
    }
}
