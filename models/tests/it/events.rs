//! Faults are found, told once, and end.

use tacit_models::Transition;

use crate::simulated::{Node, Random, detector, gross, quiet, step};

/// Points until the fault opens an event, of at most `limit`.
fn found_after(node: &mut Node, d: &mut tacit_models::Detector, limit: usize) -> Option<usize> {
    (1..=limit).find(|_| step(node, d, gross).transition == Some(Transition::Open))
}

#[test]
fn a_gross_fault_is_found_within_seconds() {
    for (seed, learned, within) in [(1, 75, 15), (2, 130, 15), (3, 600, 15)] {
        let mut node = Node::new(200, 1000, seed);
        let mut d = detector(200, 1000, 1.0);
        assert_eq!(quiet(&mut node, &mut d, learned), 0);
        let points = found_after(&mut node, &mut d, within);
        assert!(points.is_some(), "not found within {within} points after {learned} points of learning");
        let shares = d.onset_shares();
        let guilty: f32 = shares.iter().step_by(9).sum();
        assert!(guilty > 0.5, "the series at fault have only {guilty} of the attribution");
        assert!(shares.iter().sum::<f32>() < 1.001);
    }
}

/// A leak of files moves one series of two hundred.
#[test]
fn one_series_far_from_all_it_has_shown_is_found_on_the_first_day() {
    let found = |seed: u64| {
        let mut node = Node::new(200, 1000, seed);
        let mut d = detector(200, 1000, 1.0);
        quiet(&mut node, &mut d, 1200);
        let slot = 10 * (seed as usize % 20) + 1;
        (0..30).any(|_| step(&mut node, &mut d, |values| values[slot] *= 4.0).transition == Some(Transition::Open))
    };
    let found = (40..60).filter(|seed| found(*seed)).count();
    assert!(found >= 14, "{found} of 20");
}

#[test]
fn nothing_is_learned_inside_an_event_and_it_closes_when_the_fault_ends() {
    let mut node = Node::new(120, 1000, 5);
    let mut d = detector(120, 1000, 1.0);
    quiet(&mut node, &mut d, 600);
    found_after(&mut node, &mut d, 20).expect("found");
    let (before, points) = (d.band(9), step(&mut node, &mut d, gross).points);
    let renewed = (0..240).filter(|_| step(&mut node, &mut d, gross).transition == Some(Transition::Update)).count();
    assert!((3..=12).contains(&renewed), "{renewed} updates in four minutes");
    assert_eq!((d.band(9), step(&mut node, &mut d, gross).points), (before, points));
    let closed = (1..=90).find(|_| step(&mut node, &mut d, |_| ()).transition == Some(Transition::Close));
    assert!(closed.is_some_and(|after| after > 20), "closed {closed:?}");
    assert_eq!(quiet(&mut node, &mut d, 300), 0);
}

#[test]
fn a_held_detector_learns_nothing_and_raises_nothing() {
    let mut node = Node::new(120, 1000, 8);
    let mut d = detector(120, 1000, 1.0);
    quiet(&mut node, &mut d, 700);
    let (band, points) = (d.band(9), step(&mut node, &mut d, |_| ()).points);
    d.hold(true);
    assert!((0..120).all(|_| step(&mut node, &mut d, gross).transition.is_none()));
    assert_eq!((d.band(9), step(&mut node, &mut d, gross).points), (band, points));
    d.hold(false);
    found_after(&mut node, &mut d, 20).expect("what is still wrong after the work is found");
    // An event that was open when the work began stays open meanwhile, and the work is no part of its pause of learning.
    d.hold(true);
    let mut ten_minutes = || {
        assert!((0..600).all(|_| step(&mut node, &mut d, gross).open));
        d.save()
    };
    // In the first of them what was before the work is put to the account of its time of day.
    let saved = ten_minutes();
    assert!(ten_minutes() == saved, "nothing of it is learned, not even as a habit of this time of day");
    d.hold(false);
    assert!(!step(&mut node, &mut d, gross).persisting);
}

#[test]
fn what_comes_back_within_ten_minutes_is_the_same_event() {
    let mut node = Node::new(120, 1000, 6);
    let mut d = detector(120, 1000, 1.0);
    quiet(&mut node, &mut d, 600);
    found_after(&mut node, &mut d, 20).expect("found");
    (0..30).for_each(|_| _ = step(&mut node, &mut d, gross));
    (0..120).find(|_| step(&mut node, &mut d, |_| ()).transition == Some(Transition::Close)).expect("closes");
    let again = (0..20).map(|_| step(&mut node, &mut d, gross)).find(|s| s.transition.is_some()).expect("seen again");
    assert_eq!((again.transition, again.reopened, again.event), (Some(Transition::Update), true, 1));
}

/// A level that lasts becomes normal by itself: learning pauses for as long as was learned before, an hour at most.
fn a_lasting_level_becomes_normal(learned: u64, paused: std::ops::Range<u64>) {
    let mut node = Node::new(40, 1000, 17);
    let mut d = detector(40, 1000, 1.0);
    quiet(&mut node, &mut d, learned as usize);
    found_after(&mut node, &mut d, 20).expect("found");
    let (mut persisting, mut closed) = (None, None);
    for second in 0..4200 {
        let s = step(&mut node, &mut d, gross);
        if s.persisting && persisting.is_none() {
            persisting = Some(second);
        }
        if s.transition == Some(Transition::Close) {
            closed = Some(second);
            break;
        }
    }
    assert!(persisting.is_some_and(|s| paused.contains(&s)), "persisting at {persisting:?}");
    assert!(closed.is_some(), "still open ten minutes after learning went on");
    let opened = (0..600).filter(|_| step(&mut node, &mut d, gross).transition == Some(Transition::Open)).count();
    assert_eq!(opened, 0, "the new level is normal now");
}

#[test]
fn on_a_young_node_a_lasting_level_becomes_normal_soon() {
    a_lasting_level_becomes_normal(600, 590..625);
}

#[test]
fn a_lasting_level_becomes_normal_after_an_hour_and_the_event_closes_by_itself() {
    a_lasting_level_becomes_normal(4000, 3590..3610);
}

#[test]
fn a_constant_that_changes_once_raises_nothing() {
    let mut node = Node::new(40, 1000, 8);
    let mut d = detector(40, 1000, 1.0);
    quiet(&mut node, &mut d, 600);
    for second in 0..300 {
        let s = step(&mut node, &mut d, |values| values[8] = 12.0);
        assert_eq!(s.transition, None, "second {second}");
    }
    assert_eq!(d.z(8), 0.0);
    assert!(d.band(8).is_some_and(|b| (b.center - 12.0).abs() < 1e-3));
}

#[test]
fn series_that_come_and_go_raise_nothing_and_learn_alone() {
    let mut node = Node::new(60, 1000, 9);
    let mut d = detector(60, 1000, 1.0);
    (30..60).for_each(|slot| d.unbind(slot));
    assert_eq!(quiet(&mut node, &mut d, 600), 0);
    assert_eq!(d.fitted_series(), 30);
    (30..60).for_each(|slot| assert!(d.bind(slot, 7_000 + slot as u64)));
    let learned = d.band(40);
    assert_eq!(quiet(&mut node, &mut d, 20), 0);
    assert_eq!((learned, step(&mut node, &mut d, |_| ()).series), (None, 30), "newcomers take no part yet");
    assert_eq!(quiet(&mut node, &mut d, 700), 0);
    assert_eq!(step(&mut node, &mut d, |_| ()).series, 60);
    let band = d.band(40).expect("learned");
    d.unbind(40);
    assert_eq!(quiet(&mut node, &mut d, 100), 0);
    assert_eq!(d.band(40), None);
    assert!(d.bind(41, 7_040), "into another slot");
    assert_eq!(d.band(41), Some(band));
    assert!(!d.bind(60, 1), "there is no slot 60");
}

/// For every garbage in place of values, scores stay finite and no event opens on it alone.
#[test]
fn garbage_never_reaches_a_score() {
    let mut node = Node::new(40, 1000, 10);
    let mut d = detector(40, 1000, 1.0);
    quiet(&mut node, &mut d, 300);
    let mut random = Random::new(3);
    let garbage = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, f32::MAX, f32::MIN, -f32::NAN, 1e30];
    for _ in 0..400 {
        let s = step(&mut node, &mut d, |values| {
            for x in values {
                if random.uniform() < 0.05 {
                    *x = garbage[(random.uniform() * 7.0) as usize];
                }
            }
        });
        assert!(s.score.is_finite() && s.alarm.is_finite() && (0.0..=1.0).contains(&s.severity), "{s:?}");
        assert!(d.scores().iter().chain(d.shares()).all(|x| x.is_finite()));
        assert_ne!(s.transition, Some(Transition::Open));
    }
    let nothing = step(&mut node, &mut d, |values| values.fill(f32::NAN));
    assert!(!nothing.judged && nothing.series == 0);
    assert!(!d.step(&[], node.now_ms() + 1000, 0).judged, "no values at all");
}

/// What dies away after a fault does not hide the next one.
#[test]
fn a_fault_that_returns_is_found_each_time() {
    let mut node = Node::new(200, 1000, 41);
    let mut d = detector(200, 1000, 1.0);
    quiet(&mut node, &mut d, 640);
    for round in 1..=3 {
        let found = (1..=15).find(|_| step(&mut node, &mut d, gross).transition.is_some());
        assert!(found.is_some(), "round {round}: not found within fifteen points");
        (0..45).for_each(|_| _ = step(&mut node, &mut d, gross));
        (0..300).for_each(|_| _ = step(&mut node, &mut d, |_| ()));
    }
}
