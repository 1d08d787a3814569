//! A machine that has nothing wrong, second by second: a web service with a daily and weekly course, jobs each minute, five
//! minutes, hour and night, deploys, package upgrades and reboots. Not a recording, and no easier than one: noise is heavy
//! tailed, series are quantised, mostly idle, or move together. The same seed gives the same machine.

use fastrand::Rng;

/// Seconds of a day.
pub const DAY: u64 = 86_400;

/// What the machine is doing beside its usual work, for the report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Doing {
    /// Nothing special.
    Usual,
    /// The backup of the night.
    Nightly,
    /// The first hour after a deploy.
    Deploy,
    /// A package upgrade and the quarter of an hour after it.
    Upgrade,
    /// The first half hour after a boot.
    Boot,
}

impl Doing {
    /// In a word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Usual => "usual work",
            Self::Nightly => "nightly job",
            Self::Deploy => "after a deploy",
            Self::Upgrade => "package upgrade",
            Self::Boot => "after a boot",
        }
    }
}

/// Hidden activities that series are made of.
const HIDDEN: usize = 8;

/// How a series shows the hidden activities.
#[derive(Debug)]
struct Series {
    base: f32,
    weights: [f32; HIDDEN],
    /// Deviation of its own noise, as a share of its value.
    noise: f32,
    /// Chance a second of a spike of its own.
    spikes: f32,
    /// Its own slow wandering.
    wander: f32,
    /// Smallest step of its values; 0 is none.
    quantum: f32,
    /// Weight of the newest activity: levels such as memory follow slowly.
    follow: f32,
    smooth: f32,
}

/// The machine.
#[derive(Debug)]
pub struct Machine {
    random: Rng,
    series: Vec<Series>,
    values: Vec<f32>,
    second: u64,
    /// Slow noise of the request rate.
    demand: f32,
    /// Cost of a request: changes with a deploy.
    cost: f32,
    /// Memory held: grows slowly, falls at a deploy.
    held: f32,
    deployed: u64,
    upgraded: u64,
    booted: u64,
    next_deploy: u64,
    next_upgrade: u64,
    next_boot: u64,
}

impl Machine {
    /// A machine of so many series.
    pub fn new(series: usize, seed: u64) -> Self {
        let mut random = Rng::with_seed(seed);
        let list = (0..series).map(|i| one_series(i, &mut random)).collect();
        let mut machine = Self {
            series: list,
            values: vec![0.0; series],
            second: 0,
            demand: 0.0,
            cost: 1.0,
            held: 0.0,
            deployed: 0,
            upgraded: 0,
            booted: 0,
            next_deploy: 0,
            next_upgrade: 0,
            next_boot: 0,
            random,
        };
        machine.next_deploy = machine.later(0, 1.5);
        machine.next_upgrade = machine.later(0, 5.0);
        machine.next_boot = machine.later(0, 12.0);
        machine
    }

    /// A moment about so many days from now, in working hours.
    fn later(&mut self, now: u64, days: f32) -> u64 {
        let day = now / DAY + (days * (0.5 + self.random.f32())).max(1.0) as u64;
        day * DAY + 9 * 3600 + (self.random.f32() * 8.0 * 3600.0) as u64
    }

    /// What it is doing now.
    pub fn doing(&self) -> Doing {
        let since = |at: u64| if at == 0 { u64::MAX } else { self.second.saturating_sub(at) };
        match self.second % DAY {
            _ if since(self.booted) < 1800 => Doing::Boot,
            _ if since(self.upgraded) < 1200 => Doing::Upgrade,
            _ if since(self.deployed) < 3600 => Doing::Deploy,
            t if (2 * 3600..2 * 3600 + 2400).contains(&t) => Doing::Nightly,
            _ => Doing::Usual,
        }
    }

    /// The values of the next second.
    pub fn next(&mut self) -> &[f32] {
        self.second += 1;
        self.events();
        let hidden = self.hidden();
        let young = self.second.saturating_sub(self.booted) < 20 && self.booted > 0;
        for (s, value) in self.series.iter_mut().zip(&mut self.values) {
            let active: f32 = s.weights.iter().zip(&hidden).map(|(w, h)| w * h).sum();
            s.wander = 0.999 * s.wander + 0.045 * normal(&mut self.random);
            s.smooth += s.follow * (active - s.smooth);
            let own = 1.0 + s.noise * (normal(&mut self.random) + 0.3 * s.wander);
            let spike = if self.random.f32() < s.spikes { exponential(&mut self.random) * 3.0 } else { 0.0 };
            let mut x = s.base * ((1.0 + s.smooth) * own.max(0.0) + spike * s.noise.max(0.05));
            if young && s.follow > 0.5 {
                x *= 0.3;
            }
            if s.quantum > 0.0 {
                x = (x / s.quantum).round() * s.quantum;
            }
            *value = x;
        }
        &self.values
    }

    fn events(&mut self) {
        let now = self.second;
        if now == self.next_deploy {
            self.deployed = now;
            self.cost = (self.cost * (0.85 + 0.3 * self.random.f32())).clamp(0.5, 2.0);
            self.held = 0.0;
            self.next_deploy = self.later(now, 2.0);
        }
        if now == self.next_upgrade {
            self.upgraded = now;
            self.next_upgrade = self.later(now, 7.0);
        }
        if now == self.next_boot {
            self.booted = now;
            self.held = 0.0;
            self.series.iter_mut().for_each(|s| s.smooth = 0.0);
            self.next_boot = self.later(now, 14.0);
        }
    }

    /// The hidden activities: requests, their cost, memory held, jobs of a minute, of five, of an hour, of the night, upgrades.
    fn hidden(&mut self) -> [f32; HIDDEN] {
        let t = self.second % DAY;
        let day = (t as f32 / DAY as f32 - 0.6) * std::f32::consts::TAU;
        let weekend = if self.second / DAY % 7 >= 5 { 0.6 } else { 1.0 };
        self.demand = 0.995 * self.demand + 0.1 * normal(&mut self.random) * 0.3;
        let crowd = if self.random.f32() < 0.001 { exponential(&mut self.random) } else { 0.0 };
        let requests = (weekend * (1.0 + 0.7 * day.cos()) + 0.15 * self.demand + 0.3 * crowd).max(0.05);
        self.held = (self.held + 0.000_004 * requests).min(1.5);
        let job = |period: u64, at: u64, length: u64| f32::from(u8::from((t + period - at) % period < length));
        let since = |at: u64| if at == 0 { u64::MAX } else { self.second.saturating_sub(at) };
        let restart = if since(self.deployed) < 25 { 3.0 } else { 0.0 };
        let upgrade = if since(self.upgraded) < 240 { 1.0 } else { 0.0 };
        let boot = if since(self.booted) < 60 { 2.0 } else { 0.0 };
        let nightly = if (2 * 3600..2 * 3600 + 1500).contains(&t) { 0.8 + 0.2 * self.random.f32() } else { 0.0 };
        [
            requests,
            requests * self.cost + restart + boot,
            self.held,
            job(60, 1, 2),
            job(300, 7, 4),
            job(3600, 60, 25),
            nightly,
            upgrade + boot,
        ]
    }
}

/// About normal, deviation 1.
fn normal(random: &mut Rng) -> f32 {
    (0..4).map(|_| random.f32() - 0.5).sum::<f32>() * 1.732
}

/// Exponential, mean 1.
fn exponential(random: &mut Rng) -> f32 {
    -random.f32().max(1e-7).ln()
}

fn one_series(i: usize, random: &mut Rng) -> Series {
    let mut weights = [0.0; HIDDEN];
    let some = |random: &mut Rng, most: f32| random.f32() * most;
    // Processor, network and the like; memory; disks; rare things; constants.
    let (follow, noise) = match i % 10 {
        0..=3 => {
            weights[0] = some(random, 2.0);
            weights[1] = some(random, 2.0);
            weights[3] = some(random, 0.4);
            weights[5] = some(random, 0.8);
            weights[7] = some(random, 1.0);
            (1.0, 0.03 + some(random, 0.25))
        }
        4 | 5 => {
            weights[2] = some(random, 0.5);
            weights[0] = some(random, 0.1);
            weights[6] = some(random, 0.2);
            weights[7] = some(random, 0.2);
            (0.01, 0.001 + some(random, 0.01))
        }
        6 | 7 => {
            weights[0] = some(random, 0.5);
            weights[4] = some(random, 2.0);
            weights[5] = some(random, 2.0);
            weights[6] = some(random, 6.0);
            weights[7] = some(random, 5.0);
            (1.0, 0.1 + some(random, 0.6))
        }
        8 => {
            weights[3] = some(random, 1.0);
            weights[4] = some(random, 1.0);
            (1.0, 0.0)
        }
        _ => (1.0, 0.0),
    };
    let base = 10.0_f32.powf(random.f32() * 6.0 - 1.0);
    let quantum = if i.is_multiple_of(3) { base * 0.05 } else { 0.0 };
    let spikes = if i % 10 < 8 && i % 4 == 1 { 0.002 * random.f32() } else { 0.0 };
    Series { base, weights, noise, spikes, wander: 0.0, quantum, follow, smooth: 0.0 }
}
