//! The last rows of something, by slot.

/// A ring of rows; row 0 is the newest.
#[derive(Debug, Clone)]
pub struct Recent {
    rows: Vec<f32>,
    capacity: usize,
    depth: usize,
    newest: usize,
}

impl Recent {
    /// `depth` rows of `capacity` slots, all zero.
    #[must_use]
    pub fn new(capacity: usize, depth: usize) -> Self {
        Self { rows: vec![0.0; capacity * depth], capacity, depth, newest: 0 }
    }

    /// The row of the next point, to be written.
    pub fn push(&mut self) -> &mut [f32] {
        self.newest = (self.newest + 1) % self.depth;
        &mut self.rows[self.newest * self.capacity..(self.newest + 1) * self.capacity]
    }

    /// The row `lag` points ago.
    #[must_use]
    pub fn row(&self, lag: usize) -> &[f32] {
        let at = (self.newest + self.depth - lag % self.depth) % self.depth * self.capacity;
        &self.rows[at..at + self.capacity]
    }

    /// Sets a slot to zero in all rows.
    pub fn clear(&mut self, slot: usize) {
        self.rows.iter_mut().skip(slot).step_by(self.capacity.max(1)).for_each(|x| *x = 0.0);
    }

    /// The mean of the last `points` rows by slot.
    pub fn mean(&self, points: usize, out: &mut [f32]) {
        out.copy_from_slice(self.row(0));
        for lag in 1..points {
            out.iter_mut().zip(self.row(lag)).for_each(|(sum, x)| *sum += x);
        }
        let factor = 1.0 / points.max(1) as f32;
        out.iter_mut().for_each(|x| *x *= factor);
    }
}
