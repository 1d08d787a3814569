//! What was learned survives a restart, and nothing damaged is believed.

use proptest::prelude::*;
use tacit_models::detector::{Detector, DetectorConfig};
use tacit_models::{StateError, Transition};

use crate::simulated::{Node, detector, gross, quiet, step};

fn config(capacity: usize, period_ms: u32) -> DetectorConfig {
    DetectorConfig { capacity, period_ms, budget_per_day: None }
}

#[test]
fn a_restart_keeps_bands_stage_and_counts_with_other_slots() {
    let mut node = Node::new(40, 1000, 31);
    let mut d = detector(40, 1000, 1.0);
    quiet(&mut node, &mut d, 400);
    let saved = d.save();
    // What recurs by day and time of day; no lag cluster has been finished yet; ties are of a block of 32 and one of 8.
    let block = |n: usize| 1 + n * 8 + n * (n + 1) / 2 * 36;
    assert_eq!(saved.len(), 134 + 8 * 144 + 40 * 132 + block(32) + block(8));
    let mut back = Detector::restore(config(48, 1000), &saved).expect("just saved");
    for slot in 0..40 {
        assert!(back.bind(slot + 5, 1000 + slot as u64));
        assert_eq!(back.band(slot + 5), d.band(slot), "slot {slot}");
    }
    let points = d.step(&[], 0, 0).points;
    assert_eq!(back.step(&[], 0, 0).points, points);
    assert!(back.refit_due(), "the model comes back as soon as the series are bound");
    back.refit().expect("loads");
    assert_eq!(back.fitted_series(), 40);
    assert_eq!(back.stage(), d.stage());
}

/// What is fitted after a restart is to the last bit what would have been fitted without it.
#[test]
fn a_restart_changes_no_fit() {
    for (period_ms, points) in [(1000, 2500), (60_000, 3000)] {
        let mut node = Node::new(70, period_ms, 35);
        let mut d = detector(70, period_ms as u32, 1.0);
        quiet(&mut node, &mut d, points);
        d.refit().expect("loads");
        let mut back = Detector::restore(config(70, period_ms as u32), &d.save()).expect("just saved");
        (0..70).for_each(|slot| assert!(back.bind(slot, 1000 + slot as u64)));
        back.refit().expect("loads");
        assert!(d.digest().is_some() && back.digest() == d.digest(), "period {period_ms}");
        // Room for more series, and still the same.
        back.grow(100);
        assert_eq!((back.capacity(), back.band(3)), (100, d.band(3)));
        back.refit().expect("loads");
        assert_eq!(back.digest(), d.digest(), "period {period_ms}, grown");
    }
}

/// 500 series in two rates stay below the 2 MB that a state may have.
#[test]
fn a_state_of_500_series_is_small() {
    let bytes: usize = [1000_u64, 60_000]
        .into_iter()
        .map(|period_ms| {
            let mut node = Node::new(500, period_ms, 36);
            let mut d = detector(500, period_ms as u32, 1.0);
            quiet(&mut node, &mut d, 1500);
            d.save().len()
        })
        .sum();
    assert!(bytes < 2_000_000, "{bytes} bytes");
}

#[test]
fn an_open_event_survives_and_is_not_learned_as_normal() {
    let mut node = Node::new(120, 1000, 32);
    let mut d = detector(120, 1000, 1.0);
    quiet(&mut node, &mut d, 600);
    (0..60).for_each(|_| _ = step(&mut node, &mut d, gross));
    let band = d.band(9);
    let mut d = Detector::restore(config(120, 1000), &d.save()).expect("just saved");
    (0..120).for_each(|slot| assert!(d.bind(slot, 1000 + slot as u64)));
    let first = (0..60).map(|_| step(&mut node, &mut d, gross)).find(|s| s.transition.is_some()).expect("told again");
    assert_eq!((first.transition, first.event, first.open), (Some(Transition::Update), 1, true));
    assert_eq!(d.band(9), band);
}

#[test]
fn another_period_or_version_is_refused() {
    let saved = detector(2, 1000, 1.0).save();
    let error = Detector::restore(config(2, 60_000), &saved).expect_err("another period");
    assert_eq!(error, StateError::Period { found: 1000, expected: 60_000 });
    let mut newer = saved;
    newer[4] = 9;
    let body = newer.len() - 4;
    let crc = crc32fast::hash(&newer[..body]);
    newer[body..].copy_from_slice(&crc.to_le_bytes());
    assert_eq!(Detector::restore(config(2, 1000), &newer).err(), Some(StateError::Version { found: 9 }));
}

#[test]
fn a_state_cut_anywhere_is_refused() {
    let mut node = Node::new(10, 1000, 33);
    let mut d = detector(10, 1000, 1.0);
    quiet(&mut node, &mut d, 100);
    let saved = d.save();
    for cut in 0..saved.len() {
        assert!(Detector::restore(config(10, 1000), &saved[..cut]).is_err(), "cut at {cut}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// For every flipped bit the state is refused, and for every string of bytes nothing panics.
    #[test]
    fn damage_is_refused(at in 0_usize..1000, bit in 0_u8..8, noise in prop::collection::vec(any::<u8>(), 0..300)) {
        let mut node = Node::new(10, 1000, 34);
        let mut d = detector(10, 1000, 1.0);
        quiet(&mut node, &mut d, 40);
        let mut saved = d.save();
        let at = at % saved.len();
        saved[at] ^= 1 << bit;
        prop_assert!(Detector::restore(config(10, 1000), &saved).is_err());
        prop_assert!(Detector::restore(config(10, 1000), &noise).is_err());
    }
}
