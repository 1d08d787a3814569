//! The sketch of client ports by which the two halves of an edge find each other.
//!
//! Both ends of a connection see its client's port, whatever was rewritten on the way. Of all ports of an interval those with the
//! least hash are kept, so both ends send the same few, however many connections there were.

/// Most ports in a sketch.
pub const SKETCH: usize = 4;

const fn port_hash(port: u16) -> u16 {
    ((port as u32).wrapping_mul(0x9E37_79B1) >> 16) as u16
}

/// The order in which ports are kept: by hash, ties by port.
const fn rank(port: u16) -> (u16, u16) {
    (port_hash(port), port)
}

/// The client ports with the least hashes, in that order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Sketch {
    ports: [u16; SKETCH],
    length: u8,
}

impl Sketch {
    /// The sketch of these ports.
    #[must_use]
    pub fn of(ports: &[u16]) -> Self {
        let mut sketch = Self::default();
        ports.iter().for_each(|port| sketch.insert(*port));
        sketch
    }

    /// The ports, least hash first.
    #[must_use]
    pub fn ports(&self) -> &[u16] {
        &self.ports[..usize::from(self.length)]
    }

    /// Adds a port when it is among those to be kept.
    pub fn insert(&mut self, port: u16) {
        let at = self.ports().partition_point(|p| rank(*p) < rank(port));
        if at == SKETCH || self.ports().get(at) == Some(&port) {
            return;
        }
        let kept = usize::from(self.length).min(SKETCH - 1);
        self.ports.copy_within(at..kept, at + 1);
        self.ports[at] = port;
        self.length = kept as u8 + 1;
    }

    /// Adds those of another.
    pub fn merge(&mut self, other: &Self) {
        other.ports().iter().for_each(|port| self.insert(*port));
    }

    /// How many ports are in both.
    #[must_use]
    pub fn overlap(&self, other: &Self) -> usize {
        self.ports().iter().filter(|p| other.ports().contains(p)).count()
    }

    /// Whether `part` can be the sketch of some of the connections that this is the sketch of: no port of it that would have
    /// been kept is missing here.
    #[must_use]
    pub fn covers(&self, part: &Self) -> bool {
        let last = (self.ports().len() == SKETCH).then(|| rank(self.ports[SKETCH - 1]));
        part.ports().iter().all(|p| self.ports().contains(p) || last.is_some_and(|last| rank(*p) > last))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Both ends and the collector have to agree on these for ever.
    #[test]
    fn the_order_of_a_sketch_is_fixed() {
        let hashes = [0, 1, 1024, 40_000, 65_535].map(port_hash);
        assert_eq!(hashes, [0, 0x9e37, 0xdde6, 0x5c06, 0xdb79], "{hashes:x?}");
    }

    #[test]
    fn a_sketch_keeps_the_four_smallest_and_knows_its_parts() {
        let all: Vec<u16> = (32_768..33_768).collect();
        let whole = Sketch::of(&all);
        let mut ranked = all.clone();
        ranked.sort_by_key(|p| rank(*p));
        assert_eq!(whole.ports(), &ranked[..4]);
        let (even, odd): (Vec<u16>, Vec<u16>) = all.iter().partition(|p| *p % 2 == 0);
        let (even, odd) = (Sketch::of(&even), Sketch::of(&odd));
        assert!(whole.covers(&even) && whole.covers(&odd));
        assert_eq!(whole.overlap(&even) + whole.overlap(&odd), 4);
        let mut both = even;
        both.merge(&odd);
        assert_eq!(both, whole);
        // Of a few connections every port is known: one that is not among them is of others.
        assert!(Sketch::of(&[1, 2]).covers(&Sketch::of(&[2])) && !Sketch::of(&[1, 2]).covers(&Sketch::of(&[2, 3])));
    }

    proptest! {
        /// Law: the sketch holds the ports with the least hashes, in whatever order they come.
        #[test]
        fn a_sketch_depends_on_the_set_alone(mut ports in proptest::collection::vec(any::<u16>(), 0..40)) {
            let sketch = Sketch::of(&ports);
            ports.sort_unstable_by_key(|p| rank(*p));
            ports.dedup();
            ports.truncate(SKETCH);
            prop_assert_eq!(sketch.ports(), ports);
        }
    }
}
