//! What is learned about the series, slot by slot, and what a fitted graph takes of the newest point.

use super::is_slow;
use crate::clusters::{Clusters, LAGS};
use crate::creep::Creep;
use crate::drift::Drift;
use crate::flat::Flat;
use crate::graph::{Fitted, LAG_ROW, SEASON_ROW};
use crate::reach::Reach;
use crate::recent::Recent;
use crate::season::Season;
use crate::standardise::{Phase, Standardiser};
use crate::subspace::{BlockFit, Subspace};
use crate::whiten::{Autocovariance, WINDOW, Whitening, feature_variances};

/// Points behind the slower of the two means of the state.
const SLOW_MEAN: usize = 20;
/// Points behind the quicker one.
const QUICK_MEAN: usize = 5;

/// Whole windows a series must have learned from before it is fitted.
const WINDOWS_TO_FIT: u32 = 10;

/// Lag-cluster models a series must have before they count: one or two know too little.
const MODELS_TO_COUNT: usize = 3;

const HOUR_MS: f64 = 3_600_000.0;

/// Points that pass in these hours.
fn points(hours: f64, period_ms: u32) -> f64 {
    hours * HOUR_MS / f64::from(period_ms.max(1))
}

/// Statistics of all series.
#[derive(Debug)]
pub(super) struct Learning {
    pub standardiser: Standardiser,
    pub autocovariance: Autocovariance,
    pub subspace: Subspace,
    pub clusters: Clusters,
    pub flat: Flat,
    pub drift: Drift,
    pub reach: Reach,
    pub season: Option<Seasonal>,
    /// Slow detectors only: days pass in it.
    pub creep: Option<Creep>,
    /// Deviations.
    pub rows: Recent,
    /// Whether the newest value of a slot is there and the series has started.
    pub present: Vec<bool>,
    /// Per slot, bit `k`: the value `k` points ago was there.
    pub seen: Vec<u32>,
    slow: Vec<f32>,
    quick: Vec<f32>,
}

/// The part that knows the time of day.
#[derive(Debug)]
pub(super) struct Seasonal {
    pub season: Season,
    pub autocovariance: Autocovariance,
    pub rows: Recent,
}

impl Learning {
    pub fn new(capacity: usize, period_ms: u32) -> Self {
        let slow = is_slow(period_ms);
        // Level and spread: at 1 Hz six hours, which follow the daily course; labelled one-minute data measured best at a day.
        let level = points(if slow { 24.0 } else { 6.0 }, period_ms);
        // How series hang together changes more slowly.
        let ties = points(if slow { 30.0 * 24.0 } else { 24.0 }, period_ms);
        // A day of points, but enough of them for two clusters, and three hours at 1 Hz.
        let half_window = points(24.0, period_ms).clamp(450.0, 10_800.0) as u32;
        let mut standardiser = Standardiser::new(capacity, level);
        (0..capacity).for_each(|slot| standardiser.release(slot));
        let seasonal = || Seasonal {
            season: Season::new(capacity, level),
            autocovariance: Autocovariance::new(capacity, ties),
            rows: Recent::new(capacity, WINDOW),
        };
        Self {
            standardiser,
            autocovariance: Autocovariance::new(capacity, ties),
            subspace: Subspace::new(capacity, ties),
            clusters: Clusters::new(capacity, half_window),
            flat: Flat::new(capacity, ties),
            drift: Drift::new(capacity),
            reach: Reach::new(capacity, level),
            season: slow.then(seasonal),
            creep: slow.then(|| Creep::new(capacity, level)),
            rows: Recent::new(capacity, SLOW_MEAN),
            present: vec![false; capacity],
            seen: vec![0; capacity],
            slow: vec![0.0; capacity],
            quick: vec![0.0; capacity],
        }
    }

    /// Forgets all of a slot but its standardisation.
    pub fn clear(&mut self, slot: usize) {
        self.autocovariance.reset(slot, None);
        self.subspace.reset(slot);
        self.clusters.reset(slot);
        self.flat.reset(slot);
        self.drift.reset(slot);
        self.reach.reset(slot, None);
        if let Some(seasonal) = &mut self.season {
            seasonal.season.reset(slot);
            seasonal.autocovariance.reset(slot, None);
            seasonal.rows.clear(slot);
        }
        if let Some(creep) = &mut self.creep {
            creep.reset(slot, None);
        }
        self.rows.clear(slot);
        self.seen[slot] = 0;
    }

    /// Takes in one point; with `learn` it becomes part of what is usual.
    pub fn observe(&mut self, values: &[f32], learn: bool, wall_ms: i64) {
        let row = self.rows.push();
        self.standardiser.step(values, learn, row, &mut self.present);
        for (slot, (present, seen)) in self.present.iter_mut().zip(&mut self.seen).enumerate() {
            *present &= self.standardiser.level(slot).phase != Phase::Starting;
            *seen = (*seen << 1) | u32::from(*present);
        }
        let present = &self.present;
        self.clusters.step(values, learn, |slot| present[slot]);
        self.flat.step(values, present, learn);
        self.drift.step(self.rows.row(0), present);
        self.rows.mean(SLOW_MEAN, &mut self.slow);
        self.rows.mean(QUICK_MEAN, &mut self.quick);
        self.quick.iter_mut().zip(self.rows.row(0)).for_each(|(mean, z)| *mean = z - *mean);
        if let Some(seasonal) = &mut self.season {
            seasonal.season.step(self.rows.row(0), present, learn, wall_ms, seasonal.rows.push());
        }
        if learn {
            self.learn();
        }
    }

    fn learn(&mut self) {
        if let Some(creep) = &mut self.creep {
            for slot in 0..self.present.len() {
                creep.look(slot, &self.standardiser.level(slot), self.standardiser.floor(slot));
            }
        }
        let seen = &self.seen;
        let whole = |slot: usize| seen[slot] as u16 == u16::MAX;
        self.autocovariance.learn(|lag| self.rows.row(lag), whole);
        self.subspace.learn([self.rows.row(0), &self.slow, &self.quick], whole);
        if let Some(seasonal) = &mut self.season {
            let rows = &seasonal.rows;
            seasonal.autocovariance.learn(|lag| rows.row(lag), whole);
        }
    }

    /// Whether a slot has learned enough to be fitted.
    pub fn can_fit(&self, slot: usize) -> bool {
        self.autocovariance.points(slot) >= WINDOWS_TO_FIT
    }

    /// Whether the lag clusters of a slot have something to say of the newest point.
    pub fn knows_movements(&self, slot: usize) -> bool {
        self.clusters.is_whole(slot) && self.clusters.models(slot).len() >= MODELS_TO_COUNT
    }

    /// Fits one more series.
    pub fn fit_series(&self, slot: usize, fitted: &mut Fitted) {
        let (lags, points) = self.autocovariance.slot(slot);
        fitted.windows.push(Whitening::fit(&lags, points));
        fitted.clusters.push(self.clusters.models(slot).to_vec());
        if let Some(seasonal) = &self.season {
            let (lags, points) = seasonal.autocovariance.slot(slot);
            fitted.season.push(Whitening::fit(&lags, points));
        }
    }

    /// Fits how these series hang together.
    pub fn fit_blocks(&self, slots: &[u32]) -> Vec<BlockFit> {
        let prior = |slot: &u32| {
            let (lags, points) = self.autocovariance.slot(*slot as usize);
            feature_variances(&lags, points)
        };
        let priors: Vec<_> = slots.iter().map(prior).collect();
        self.subspace.fit(slots, &priors)
    }

    /// The input of a graph with these columns, as [`crate::graph`] describes it.
    pub fn fill(&self, columns: &[u32], input: &mut [f32]) {
        for (row, out) in input.chunks_exact_mut(columns.len().max(1)).enumerate() {
            let from = match row {
                0..WINDOW => self.rows.row(WINDOW - 1 - row),
                WINDOW => &self.slow,
                _ if row < LAG_ROW => &self.quick,
                _ if row < SEASON_ROW => {
                    let (lag, n) = (row - LAG_ROW, self.slow.len());
                    debug_assert!(lag < LAGS, "six lag features");
                    &self.clusters.features()[lag * n..(lag + 1) * n]
                }
                _ => match &self.season {
                    Some(seasonal) => seasonal.rows.row(WINDOW - 1 - (row - SEASON_ROW)),
                    None => &self.slow,
                },
            };
            for (x, slot) in out.iter_mut().zip(columns) {
                *x = from[*slot as usize];
            }
        }
    }
}
