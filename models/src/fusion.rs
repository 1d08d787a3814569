//! From parts to the two numbers of a node: *severity* ranks, *alarm* decides.
//!
//! Each part is divided by its own 99 % point and the parts are weighed and summed: parts of different nature add up, none is taken for
//! the largest. The 99 % points run along slowly, so that a fault is not soon its own measure.
//!
//! ```text
//! severity = 0.25 windows rms + 1.4 state + 0.25 state, smoother + 0.3 clusters + flat
//! alarm    = 0.5 windows rms + 0.7 state + 0.5 state, smoother + 1.3 clusters + flat + 2 drift + 2 season / sqrt(series)
//! ```
//! One set of weights for all, chosen on labelled series (`docs/decisions/012-two-fusions.md`; what each source gets from the weights that
//! the others choose is in `bench/README.md`). The season helps where there is little else: on a wide node the other series tell the time
//! of day.

use crate::calibrate::RunningQuantile;

/// The parts of a score, each usually about 1 (or 0 for [`Parts::flat`]).
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Parts {
    /// Whitened windows, root mean square over series: a few that are far off weigh more than many that are a little.
    pub windows_rms: f32,
    /// State of the host.
    pub state: f32,
    /// State of the host, smoothed for longer: for what lasts.
    pub state_smoother: f32,
    /// The same windows on what the time of day does not explain; 0 where there is no season.
    pub season: f32,
    /// Lag clusters, mean over series.
    pub clusters: f32,
    /// Distance from the slow mean, mean over series.
    pub drift: f32,
    /// Smoothed deviations, root mean square over series: what a gross fault moves at once.
    pub level: f32,
    /// How far smoothed deviations are beyond all that their series have shown so far, cubic mean over series: one of hundreds counts.
    pub far: f32,
    /// Flat lines, summed over series.
    pub flat: f32,
    /// Number of series.
    pub series: u32,
}

impl Parts {
    /// Those that are measured by their own 99 % points.
    fn measured(&self) -> [f32; MEASURED] {
        [self.windows_rms, self.state, self.state_smoother, self.season, self.clusters, self.drift]
    }
}

/// Parts that have a 99 % point.
pub const MEASURED: usize = 6;

/// Running 99 % points and the sums.
#[derive(Debug, Clone)]
pub struct Fusion {
    tails: [RunningQuantile; MEASURED],
}

/// Added to the score of a young node.
const CALM: f32 = 0.3;

/// Where the 99 % points start, in the order of [`Parts::measured`]: what quiet machines had.
const START: [f32; MEASURED] = [1.0, 1.4, 1.4, 1.0, 0.4, 0.8];

impl Fusion {
    /// For a point every `period_ms`.
    #[must_use]
    pub fn new(period_ms: u32) -> Self {
        let tails = START.map(|start| {
            let mut tail = RunningQuantile::new(period_ms);
            tail.resume((0.001 + start).ln(), 100);
            tail
        });
        Self { tails }
    }

    /// Severity and alarm of a point.
    #[must_use]
    pub fn fuse(&self, parts: &Parts) -> (f32, f32) {
        let list = parts.measured();
        let [windows, state, smoother, season, clusters, drift]: [f32; MEASURED] =
            std::array::from_fn(|i| list[i] / self.tails[i].value.exp().max(1e-3));
        // A flat line that lasts twice as long as it may counts like the 99 % point of another part.
        let severity = 0.25 * windows + 1.4 * state + 0.25 * smoother + 0.3 * clusters + parts.flat;
        let season = season / (parts.series.max(1) as f32).sqrt();
        let alarm = 0.5 * windows + 0.7 * state + 0.5 * smoother + 1.3 * clusters + parts.flat;
        (severity, alarm + 2.0 * drift + 2.0 * season)
    }

    /// What a node of less than a day is judged by: levels, which need no long acquaintance, and the more what no series has shown yet.
    #[must_use]
    pub fn young(parts: &Parts) -> f32 {
        // What is there on the calmest machine: a ratio to next to nothing says nothing.
        CALM + parts.level + 2.0 * parts.far
    }

    /// Learns one point.
    pub fn learn(&mut self, parts: &Parts) {
        for (tail, part) in self.tails.iter_mut().zip(parts.measured()) {
            tail.learn((0.001 + part).ln());
        }
    }

    /// The 99 % points in log and the points behind them, for keeping.
    #[must_use]
    pub fn save(&self) -> [(f32, u32); MEASURED] {
        std::array::from_fn(|i| (self.tails[i].value, self.tails[i].points))
    }

    /// Continues from what [`Fusion::save`] gave.
    pub fn resume(&mut self, saved: &[(f32, u32); MEASURED]) {
        for (tail, (value, points)) in self.tails.iter_mut().zip(saved) {
            tail.resume(*value, *points);
        }
    }
}
