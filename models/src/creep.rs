//! Against the boiling frog: what adapts can be led anywhere, slowly enough. Each series has an anchor, its level and spread of
//! some days ago; a level that has crept far from its anchor without an event is told as health.

use crate::standardise::{Level, Phase};

/// Spreads of the anchor that count as far.
const FAR: f32 = 6.0;

/// Level and spread of a series at one time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Anchor {
    /// Mean.
    pub mean: f32,
    /// Mean absolute deviation and floor.
    pub scale: f32,
    /// Points the series had learned from.
    pub points: u32,
}

/// Anchors of up to `capacity` series.
#[derive(Debug, Clone)]
pub struct Creep {
    /// Points of youth before the first anchor.
    first: u32,
    /// Points an anchor holds.
    hold: u32,
    anchors: Vec<Option<Anchor>>,
}

impl Creep {
    /// The first anchor is cast after `day` points and holds for seven times as many.
    #[must_use]
    pub fn new(capacity: usize, day: f64) -> Self {
        let day = day.max(1.0) as u32;
        Self { first: day, hold: day.saturating_mul(7), anchors: vec![None; capacity] }
    }

    /// Forgets a slot, or gives it an anchor that was kept.
    pub fn reset(&mut self, slot: usize, anchor: Option<Anchor>) {
        self.anchors[slot] = anchor;
    }

    /// The anchor of a slot.
    #[must_use]
    pub fn anchor(&self, slot: usize) -> Option<Anchor> {
        self.anchors[slot]
    }

    /// Casts the anchor of a slot when it is time. To be called now and then.
    pub fn look(&mut self, slot: usize, level: &Level, floor: f32) {
        let due = self.anchors[slot].map_or(self.first, |a| a.points.saturating_add(self.hold));
        if level.phase == Phase::Live && level.points >= due {
            self.anchors[slot] =
                Some(Anchor { mean: level.mean as f32, scale: level.deviation + floor, points: level.points });
        }
    }

    /// How many times its spread a slot's level is from its anchor, if that is far.
    #[must_use]
    pub fn crept(&self, slot: usize, level: &Level) -> Option<f32> {
        let anchor = self.anchors[slot].filter(|_| level.phase == Phase::Live)?;
        let far = (level.mean as f32 - anchor.mean).abs() / anchor.scale.max(1e-4 * anchor.mean.abs()).max(1e-30);
        (far > FAR).then_some(far)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn level(mean: f64, points: u32) -> Level {
        Level { phase: Phase::Live, mean, deviation: 1.0, deviation0: 1.0, points }
    }

    #[test]
    fn a_slow_rise_is_seen_against_the_anchor_until_the_next_one() {
        let mut creep = Creep::new(1, 100.0);
        creep.look(0, &level(50.0, 99), 0.0);
        assert_eq!(creep.anchor(0), None, "a young series has none");
        creep.look(0, &level(50.0, 100), 0.0);
        creep.look(0, &level(55.0, 300), 0.0);
        assert_eq!(creep.crept(0, &level(55.0, 300)), None);
        assert_eq!(creep.crept(0, &level(60.0, 500)), Some(10.0));
        creep.look(0, &level(60.0, 801), 0.0);
        assert_eq!(creep.crept(0, &level(60.0, 801)), None, "after a week it is what is usual");
    }
}
