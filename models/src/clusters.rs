//! Lag clusters: which short movements of the raw value are known, by several models of different age that must agree.
//!
//! Netdata's method (its documentation, "ml configuration"), learned without keeping any samples: six numbers a point (the
//! last six means of three differences), two cluster centres a model, distance to both scaled to the range it had in
//! training. A model learns over a window of points and is then frozen; a new one begins every half window; the newest
//! [`MODELS`] count, and the score is their minimum. Centres move by sequential k-means (MacQueen 1967).

/// Numbers that describe a movement.
pub const LAGS: usize = 6;

/// Models kept a series.
pub const MODELS: usize = 8;

/// Largest score.
pub const LIMIT: f32 = 10.0;

/// Numbers of a model: two centres, the least distance, and one over the range of distances.
pub const NUMBERS: usize = 2 * LAGS + 2;

/// Models being trained at a time.
const TRAINEES: usize = 2;

/// Points that must have counted for the range before a model is made of a window.
const SETTLED: u32 = 20;

/// Points of a window before its distances count for the range: the centres have to settle first.
const BURN_IN: u32 = 30;

/// Lag clusters of up to `capacity` series.
#[derive(Debug, Clone)]
pub struct Clusters {
    capacity: usize,
    /// Half a window in points.
    step: u32,
    /// The last value of each slot, and the last two differences, the newest first.
    last: Vec<f32>,
    differences: [Vec<f32>; 2],
    /// `[lag][slot]`, oldest lag first: what a graph takes.
    features: Vec<f32>,
    floors: Vec<f32>,
    /// Points without a gap before the newest, up to 255.
    fresh: Vec<u8>,
    trainees: Vec<Trainee>,
    /// `[slot][model]`.
    models: Vec<[f32; NUMBERS]>,
    /// Models a slot has had.
    made: Vec<u32>,
}

#[derive(Debug, Clone, Copy)]
struct Trainee {
    centres: [[f32; LAGS]; 2],
    counts: [u32; 2],
    low: f32,
    high: f32,
    points: u32,
    /// Points it learns from.
    window: u32,
}

impl Trainee {
    fn new(window: u32) -> Self {
        let centres = [[0.0; LAGS]; 2];
        Self { centres, counts: [0; 2], low: f32::INFINITY, high: 0.0, points: 0, window }
    }

    fn learn(&mut self, x: &[f32; LAGS]) {
        self.points += 1;
        let [a, b] = [distance(&self.centres[0], x), distance(&self.centres[1], x)];
        let nearest = match self.counts {
            [0, _] => 0,
            // The second centre starts at the first movement that differs.
            [_, 0] if a > 0.0 => 1,
            [_, 0] => 0,
            _ => usize::from(b < a),
        };
        let count = &mut self.counts[nearest];
        *count = count.saturating_add(1);
        let rate = 1.0 / *count as f32;
        for (c, x) in self.centres[nearest].iter_mut().zip(x) {
            *c += rate * (x - *c);
        }
        if self.points > BURN_IN {
            let mean = 0.5 * (distance(&self.centres[0], x) + distance(&self.centres[1], x));
            self.low = self.low.min(mean);
            self.high = self.high.max(mean);
        }
    }

    /// The frozen model; `None` when there was nothing to tell apart. Distances below `floor` are all alike.
    fn model(&self, floor: f32) -> Option<[f32; NUMBERS]> {
        if self.points < BURN_IN + SETTLED || self.high <= self.low {
            return None;
        }
        let mut numbers = [0.0; NUMBERS];
        numbers[..LAGS].copy_from_slice(&self.centres[0]);
        numbers[LAGS..2 * LAGS].copy_from_slice(&self.centres[1]);
        numbers[2 * LAGS] = self.low;
        numbers[2 * LAGS + 1] = (1.0 / (self.high - self.low).max(floor)).min(1e12);
        numbers.iter().all(|x| x.is_finite()).then_some(numbers)
    }
}

fn distance(a: &[f32; LAGS], b: &[f32; LAGS]) -> f32 {
    a.iter().zip(b).map(|(x, y)| (x - y) * (x - y)).sum::<f32>().sqrt()
}

/// What a model that does not exist says: nothing is near it, so that the others decide.
const NO_MODEL: [f32; NUMBERS] = [0.0; NUMBERS];

impl Clusters {
    /// For `capacity` slots; a new model every `step_points`.
    #[must_use]
    pub fn new(capacity: usize, step_points: u32) -> Self {
        let step = step_points.max(100);
        Self {
            capacity,
            step,
            last: vec![0.0; capacity],
            differences: [vec![0.0; capacity], vec![0.0; capacity]],
            features: vec![0.0; LAGS * capacity],
            floors: vec![0.0; capacity],
            fresh: vec![0; capacity],
            trainees: (0..capacity).flat_map(|_| [Trainee::new(first_window(step)); TRAINEES]).collect(),
            models: vec![NO_MODEL; capacity * MODELS],
            made: vec![0; capacity],
        }
    }

    /// Forgets a slot.
    pub fn reset(&mut self, slot: usize) {
        self.fresh[slot] = 0;
        self.made[slot] = 0;
        self.models[slot * MODELS..(slot + 1) * MODELS].fill(NO_MODEL);
        self.trainees[slot * TRAINEES..(slot + 1) * TRAINEES].fill(Trainee::new(first_window(self.step)));
    }

    /// Sets the smallest change of a slot's series that matters on any machine.
    pub fn set_floor(&mut self, slot: usize, floor: f32) {
        self.floors[slot] = floor;
    }

    /// One point of every slot: movements, and with `learn` the models of tomorrow. `present(slot)`: the value is real.
    pub fn step(&mut self, values: &[f32], learn: bool, present: impl Fn(usize) -> bool) {
        let n = self.capacity;
        self.features.copy_within(n.., 0);
        for slot in 0..n {
            let newest = &mut self.features[(LAGS - 1) * n + slot];
            if !present(slot) {
                // After a gap a difference says nothing.
                (self.fresh[slot], *newest) = (0, 0.0);
                continue;
            }
            let x = values.get(slot).copied().unwrap_or(0.0);
            let difference = if self.fresh[slot] == 0 { 0.0 } else { x - self.last[slot] };
            let (one, two) = (self.differences[0][slot], self.differences[1][slot]);
            *newest = if self.fresh[slot] < 3 { 0.0 } else { (difference + one + two) / 3.0 };
            (self.last[slot], self.differences[0][slot], self.differences[1][slot]) = (x, difference, one);
            self.fresh[slot] = self.fresh[slot].saturating_add(1);
            if learn && self.is_whole(slot) {
                self.learn(slot);
            }
        }
    }

    /// Whether the six numbers of a slot are all real.
    #[must_use]
    pub fn is_whole(&self, slot: usize) -> bool {
        usize::from(self.fresh[slot]) > LAGS + 3
    }

    fn learn(&mut self, slot: usize) {
        let n = self.capacity;
        let x: [f32; LAGS] = std::array::from_fn(|lag| self.features[lag * n + slot]);
        for t in slot * TRAINEES..(slot + 1) * TRAINEES {
            let trainee = &mut self.trainees[t];
            // The second trainee begins half a window after the first.
            if t % TRAINEES == 1 && self.made[slot] == 0 {
                continue;
            }
            trainee.learn(&x);
            if trainee.points < trainee.window {
                continue;
            }
            let model = trainee.model(self.floors[slot]);
            // Windows grow from young to full.
            *trainee = Trainee::new((trainee.window * 2).min(2 * self.step));
            if let Some(model) = model {
                let oldest = self.made[slot] as usize % MODELS;
                self.models[slot * MODELS + oldest] = model;
                self.made[slot] += 1;
            } else if self.made[slot] == 0 {
                self.trainees[slot * TRAINEES].window = first_window(self.step);
            }
        }
    }

    /// Rows of six numbers by slot, oldest lag first: row `lag` at `lag * capacity`.
    #[must_use]
    pub fn features(&self) -> &[f32] {
        &self.features
    }

    /// The models of a slot; fewer than [`MODELS`] in its youth.
    #[must_use]
    pub fn models(&self, slot: usize) -> &[[f32; NUMBERS]] {
        let made = (self.made[slot] as usize).min(MODELS);
        &self.models[slot * MODELS..slot * MODELS + made]
    }

    /// Puts back models that were kept.
    pub fn set_models(&mut self, slot: usize, models: &[[f32; NUMBERS]]) {
        self.reset(slot);
        let kept = models.len().min(MODELS);
        self.models[slot * MODELS..slot * MODELS + kept].copy_from_slice(&models[models.len() - kept..]);
        self.made[slot] = kept as u32;
        if kept > 0 {
            self.trainees[slot * TRAINEES..(slot + 1) * TRAINEES].fill(Trainee::new(2 * self.step));
            // Half a window apart again.
            self.trainees[slot * TRAINEES].points = self.step;
        }
    }
}

fn first_window(step: u32) -> u32 {
    (2 * step).min(450)
}

/// Score of a movement by these models: the least scaled distance, 0 to [`LIMIT`]; 0 without a model.
#[must_use]
pub fn score(models: &[[f32; NUMBERS]], x: &[f32; LAGS]) -> f32 {
    let by = |m: &[f32; NUMBERS]| {
        let centre = |from: usize| -> [f32; LAGS] { std::array::from_fn(|i| m[from + i]) };
        let mean = 0.5 * (distance(&centre(0), x) + distance(&centre(LAGS), x));
        (mean - m[2 * LAGS]) * m[2 * LAGS + 1]
    };
    let least = models.iter().map(by).fold(f32::INFINITY, f32::min);
    if least.is_finite() { least.clamp(0.0, LIMIT) } else { 0.0 }
}
