//! One tick of all series.

use crate::clock::Tick;

/// The values of one tick: dense, one `f32` a slot, NaN where there is none. Allocated once and passed around in a ring.
#[derive(Debug, Clone)]
pub struct Frame {
    /// When.
    pub at: Tick,
    /// Epoch of the series table the slots belong to.
    pub epoch: u32,
    /// Ticks that were missed just before this one (late wake-up, full queue).
    pub missed: u32,
    /// One value a slot, `max_series` long.
    pub values: Box<[f32]>,
}

impl Frame {
    /// An empty frame with room for `capacity` series.
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        Self { at: Tick::default(), epoch: 0, missed: 0, values: vec![f32::NAN; capacity].into_boxed_slice() }
    }

    /// Makes it empty for the tick `at`.
    pub fn reset(&mut self, at: Tick) {
        self.at = at;
        self.missed = 0;
        self.values.fill(f32::NAN);
    }
}
