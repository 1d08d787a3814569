//! What a node gets that has nothing wrong.

use tacit_models::{Detector, Transition};
use tacit_wire::message::Stage;

use crate::simulated::{Node, Random, detector, quiet, step};

#[test]
fn a_quiet_node_stays_quiet_from_its_first_minute() {
    for seed in [11, 12] {
        let mut node = Node::new(150, 1000, seed);
        let mut d = detector(150, 1000, 1.0);
        assert_eq!(quiet(&mut node, &mut d, 960), 0, "seed {seed}");
        assert_eq!(d.stage(), Stage::FirstDay);
    }
}

/// One-minute points of a node on which something passing happens several times a day, of very different strength.
fn restless_days(node: &mut Node, d: &mut Detector, random: &mut Random, days: usize) -> usize {
    let (mut left, mut strength, mut opened) = (0, 0.0, 0);
    for _ in 0..days * 1440 {
        if left == 0 && random.uniform() < 0.002 {
            left = 8 + (random.uniform() * 30.0) as u32;
            strength = -random.uniform().max(1e-6).ln() * 0.12;
        }
        left = u32::saturating_sub(left, 1);
        let factor = if left > 0 { 1.0 + strength } else { 1.0 };
        let s = step(node, d, |values| values.iter_mut().step_by(3).for_each(|x| *x *= factor));
        opened += usize::from(s.transition == Some(Transition::Open));
    }
    opened
}

#[test]
fn the_alarm_budget_is_kept_on_a_restless_node() {
    let mut node = Node::new(16, 60_000, 21);
    let mut d = detector(16, 60_000, 1.0);
    let mut random = Random::new(22);
    restless_days(&mut node, &mut d, &mut random, 6);
    assert_eq!(d.stage(), Stage::FirstWeek);
    restless_days(&mut node, &mut d, &mut random, 2);
    assert_eq!(d.stage(), Stage::Full);
    let days = 12;
    let opened = restless_days(&mut node, &mut d, &mut random, days);
    let per_day = opened as f64 / days as f64;
    println!("asked 1 a day, got {per_day}");
    assert!((0.3..=1.6).contains(&per_day), "asked 1 a day, got {per_day}");
}
