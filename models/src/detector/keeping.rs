//! What survives a restart, a series that goes and comes back, and how it returns to a slot.

use super::{Detector, DetectorConfig};
use crate::standardise::Phase;
use crate::state::{self, SavedBlock, SavedSeason, SavedSeries, SavedState, StateError};
use crate::subspace::BLOCK;
use crate::verdict::Verdict;

/// What was learned of series that are not bound.
#[derive(Debug, Default)]
pub(super) struct Dormant {
    /// Oldest first.
    series: Vec<SavedSeries>,
    /// Ties, as they were when the state was saved.
    blocks: Vec<SavedBlock>,
    /// Per block of slots: the saved block whose ties came back there.
    home: Vec<Option<usize>>,
}

impl Detector {
    /// What a slot's series has learned.
    fn saved(&self, slot: usize) -> Option<SavedSeries> {
        let key = (*self.keys.get(slot)?)?;
        let learning = &self.learning;
        let season = learning.season.as_ref().map(|s| {
            let (profile, deviation, points) = s.season.slot(slot);
            Box::new(SavedSeason { profile, deviation, points, windows: s.autocovariance.slot(slot) })
        });
        Some(SavedSeries {
            key,
            level: learning.standardiser.level(slot),
            windows: learning.autocovariance.slot(slot),
            state: learning.subspace.mean(slot),
            flat: learning.flat.slot(slot),
            clusters: learning.clusters.models(slot).to_vec(),
            reach: learning.reach.slot(slot),
            season,
            anchor: learning.creep.as_ref().and_then(|c| c.anchor(slot)),
        })
    }

    /// Keeps what a slot's series learned, for as many series as there are slots.
    pub(super) fn lay_down(&mut self, slot: usize) {
        let Some(mut series) = self.saved(slot).filter(|s| s.level.phase != Phase::Starting) else { return };
        // Its ties go on changing without it.
        series.state.1 = 0;
        if self.dormant.series.len() >= self.config.capacity {
            self.dormant.series.remove(0);
        }
        self.dormant.series.push(series);
    }

    /// Gives a slot what a series of this key had learned, if anything.
    pub(super) fn wake_up(&mut self, slot: usize, key: u64) {
        let at = self.dormant.series.iter().position(|s| s.key == key);
        let Some(series) = at.map(|at| self.dormant.series.remove(at)) else {
            self.learning.standardiser.reset(slot, None);
            return;
        };
        let learning = &mut self.learning;
        learning.standardiser.reset(slot, Some(series.level));
        learning.autocovariance.reset(slot, Some(series.windows));
        learning.flat.set_slot(slot, series.flat);
        learning.clusters.set_models(slot, &series.clusters);
        learning.reach.reset(slot, Some(series.reach));
        if let Some(creep) = &mut learning.creep {
            creep.reset(slot, series.anchor);
        }
        if let (Some(seasonal), Some(saved)) = (&mut learning.season, &series.season) {
            seasonal.season.set_slot(slot, &saved.profile, saved.deviation, saved.points);
            seasonal.autocovariance.reset(slot, Some(saved.windows));
        }
        if series.state.1 > 0 {
            self.restore_ties(slot, &series);
        }
    }

    /// Ties come back where the block of slots holds series of one saved block only; else they are learned anew.
    fn restore_ties(&mut self, slot: usize, series: &SavedSeries) {
        let place = |keys: &[u64], key: u64| keys.iter().position(|k| *k == key);
        let found =
            self.dormant.blocks.iter().enumerate().find_map(|(b, block)| Some((b, place(&block.keys, series.key)?)));
        let Some((number, a)) = found else { return };
        self.dormant.home.resize(self.config.capacity.div_ceil(BLOCK), None);
        let home = self.dormant.home[slot / BLOCK].get_or_insert(number);
        if *home != number {
            return;
        }
        let block = &self.dormant.blocks[number];
        let subspace = &mut self.learning.subspace;
        subspace.set_mean(slot, series.state);
        let first = slot / BLOCK * BLOCK;
        for other in first..(first + BLOCK).min(self.config.capacity) {
            let key = if other == slot { Some(series.key) } else { self.keys[other] };
            let Some(b) = key.and_then(|key| place(&block.keys, key)) else { continue };
            if subspace.points(other) == 0 {
                continue;
            }
            let pair = *if a >= b { block.pair(a, b) } else { block.pair(b, a) };
            let (x, y) = if a >= b { (slot, other) } else { (other, slot) };
            subspace.set_pair(x, y, &pair);
        }
        let home = |key: &u64| *key == series.key || self.keys.contains(&Some(*key));
        if block.keys.iter().all(home) {
            // Nobody will ask for it again; its number stays.
            self.dormant.blocks[number] = SavedBlock { keys: Vec::new(), pairs: Vec::new() };
        }
    }

    fn saved_blocks(&self) -> Vec<SavedBlock> {
        let subspace = &self.learning.subspace;
        let block = |first: usize| {
            let slots: Vec<(usize, u64)> = (first..(first + BLOCK).min(self.config.capacity))
                .filter(|slot| subspace.points(*slot) > 0)
                .filter_map(|slot| Some((slot, self.keys[slot]?)))
                .collect();
            let pairs = (0..slots.len()).flat_map(|a| (0..=a).map(move |b| (a, b)));
            let pairs = pairs.map(|(a, b)| subspace.pair(slots[a].0, slots[b].0)).collect();
            SavedBlock { keys: slots.into_iter().map(|(_, key)| key).collect(), pairs }
        };
        (0..self.config.capacity).step_by(BLOCK).map(block).filter(|b| !b.keys.is_empty()).collect()
    }

    /// Makes room for more slots. All is kept but the last sixteen points; the model comes back with the next fit.
    pub fn grow(&mut self, capacity: usize) {
        let mut larger =
            Self::new(DetectorConfig { capacity: capacity.max(self.config.capacity), ..self.config.clone() });
        larger.verdict = self.verdict.clone();
        larger.fusion = self.fusion.clone();
        let state = self.state();
        larger.dormant = Dormant { series: state.series, blocks: state.blocks, home: Vec::new() };
        for (slot, key) in self.keys.iter().enumerate() {
            if let Some(key) = key {
                larger.bind(slot, *key);
                larger.set_floor(slot, self.learning.standardiser.floor(slot));
            }
        }
        *self = larger;
    }

    fn state(&self) -> SavedState {
        let bound = (0..self.config.capacity).filter_map(|slot| self.saved(slot));
        let started = bound.filter(|s| s.level.phase != Phase::Starting);
        let series = self.dormant.series.iter().cloned().chain(started).collect();
        // Ties of series that have not come back yet are kept too.
        let home = &self.dormant.home;
        let waiting = self.dormant.blocks.iter().enumerate().filter(|(b, _)| !home.contains(&Some(*b)));
        let blocks = self.saved_blocks().into_iter().chain(waiting.map(|(_, block)| block.clone())).collect();
        SavedState { verdict: self.verdict.save(), fusion: self.fusion.save(), series, blocks }
    }

    /// Everything learned, as bytes.
    #[must_use]
    pub fn save(&self) -> Vec<u8> {
        state::encode(self.config.period_ms, &self.state())
    }

    /// A detector that continues where [`Detector::save`] was called. Series come back as they are bound, in whatever
    /// slots; the model is fitted from what they learned as soon as they are.
    ///
    /// # Errors
    /// Bytes that are damaged, of another version or of another period.
    pub fn restore(config: DetectorConfig, bytes: &[u8]) -> Result<Self, StateError> {
        let saved = state::decode(config.period_ms, bytes)?;
        let mut detector = Self::new(config);
        detector.verdict = Verdict::restore(&detector.config, &saved.verdict);
        detector.fusion.resume(&saved.fusion);
        detector.dormant = Dormant { series: saved.series, blocks: saved.blocks, home: Vec::new() };
        Ok(detector)
    }
}
