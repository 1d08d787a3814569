//! Models made elsewhere, as they judge on a node.

use std::path::Path;

use tacit_models::import::golden::{Case, GoldenSet};
use tacit_models::import::{BindError, Package, Series, prepare};
use tacit_models::manifest::Columns;
use tacit_models::{DetectorConfig, ForeignDetector, ForeignError, Manifest, StateError, Step, Transition};

use crate::simulated::Random;

fn example(name: &str) -> Package {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
    let text = std::fs::read_to_string(folder.join(format!("{name}.toml"))).expect("an example");
    let manifest = Manifest::parse(&text).expect("its manifest");
    let bytes = std::fs::read(folder.join(format!("{name}.onnx"))).expect("its model");
    let prepared = prepare(&bytes, &manifest).expect("it is accepted");
    let manifest = Manifest { golden: Vec::new(), ..prepared.manifest };
    // Trials are tested elsewhere; a package has at least one golden case.
    let case = Case { name: "zeros".into(), input: vec![0.0; 8], output: vec![0.0] };
    Package::new(&manifest, prepared.model, &GoldenSet::new(1, 8, vec![case])).expect("a package")
}

fn config() -> DetectorConfig {
    DetectorConfig { capacity: 0, period_ms: 1000, budget_per_day: Some(1.0) }
}

/// The series a model wants, every second slot, and one more that it does not know.
fn series(package: &Package) -> Vec<(String, String)> {
    let input = &package.manifest.input;
    let names = match &input.columns {
        Columns::Named(names) => names.clone(),
        Columns::AllSeries => (0..5).map(|i| format!("any{i}")).collect(),
    };
    let unit = |i: usize| input.units.get(i).cloned().unwrap_or_else(|| "1".to_owned());
    let mut list: Vec<_> = names.into_iter().enumerate().map(|(i, n)| (n, unit(i))).collect();
    list.insert(1, ("system.other".to_owned(), "1".to_owned()));
    list
}

fn bind(detector: &mut ForeignDetector, series: &[(String, String)]) -> Result<(), ForeignError> {
    let list: Vec<_> = series.iter().enumerate().map(|(i, (label, unit))| (2 * i, Series { label, unit })).collect();
    detector.bind(2 * series.len(), &list)
}

/// Runs through `points` of deviations; every second slot is empty.
fn run(detector: &mut ForeignDetector, noise: &mut Random, at: &mut u64, points: u64, fault: f32) -> Vec<Step> {
    (0..points)
        .map(|_| {
            let row: Vec<f32> = (0..20).map(|_| noise.normal() + fault).collect();
            *at += 1000;
            detector.step(|slot| if slot % 2 == 0 { row[slot / 2] } else { f32::NAN }, *at, *at as i64)
        })
        .collect()
}

fn opened(steps: &[Step]) -> Option<usize> {
    steps.iter().position(|s| s.transition == Some(Transition::Open))
}

#[test]
fn each_example_is_quiet_on_noise_and_finds_a_gross_fault() {
    for name in ["isolation-forest", "autoencoder", "gru", "pca"] {
        let package = example(name);
        let mut detector = ForeignDetector::new(&package, config());
        bind(&mut detector, &series(&package)).expect("all series are there");
        let (mut noise, mut at) = (Random::new(7), 0);
        let quiet = run(&mut detector, &mut noise, &mut at, 1800, 0.0);
        let silent: Vec<usize> = (640..1800).filter(|i| !quiet[*i].judged).collect();
        assert!(silent.is_empty(), "{name} says nothing at {silent:?}: {:?}", detector.error());
        assert_eq!(opened(&quiet), None, "{name} is quiet");
        // Some take a lasting level for usual once it fills their window: what they say is looked at as they open.
        let opens = |_: &i32| opened(&run(&mut detector, &mut noise, &mut at, 1, 6.0)).is_some();
        let found = (0..20).find(opens).unwrap_or_else(|| panic!("{name} does not see the fault in 20 points"));
        assert!(detector.onset_ms().is_some_and(|onset| onset > 1_800_000), "{name} after {found} points");
        let shares = detector.onset_shares();
        assert!(shares.iter().sum::<f32>() > 0.5, "{name}: {shares:?}");
        let all = package.manifest.input.columns == Columns::AllSeries;
        assert!(all || shares[2] == 0.0, "{name} does not look at that series: {shares:?}");
        assert!(shares.iter().skip(1).step_by(2).all(|s| *s == 0.0), "empty slots have no share");
    }
}

#[test]
fn what_the_node_lacks_or_measures_otherwise_is_told() {
    let package = example("isolation-forest");
    let mut detector = ForeignDetector::new(&package, config());
    let all = series(&package);
    let lacking = bind(&mut detector, &all[3..]).expect_err("two are missing");
    assert!(matches!(&lacking, ForeignError::Bind(BindError::Lacking { missing: 2, .. })), "{lacking}");
    assert_eq!(detector.error(), Some(&lacking));
    let step = detector.step(|_| 0.0, 1000, 1000);
    assert!(!step.judged && step.transition.is_none(), "it does not judge");

    let mut other = all.clone();
    other[0].1 = "By".to_owned();
    let unit = bind(&mut detector, &other).expect_err("another unit");
    assert!(unit.to_string().contains("`By`"), "{unit}");

    bind(&mut detector, &all).expect("now they are there");
    assert_eq!(detector.error(), None);
}

#[test]
fn no_number_is_too_odd() {
    let package = example("autoencoder");
    let mut detector = ForeignDetector::new(&package, config());
    bind(&mut detector, &series(&package)).expect("all series are there");
    let (mut noise, mut at) = (Random::new(3), 0);
    run(&mut detector, &mut noise, &mut at, 800, 0.0);
    for value in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, f32::MAX, f32::MIN_POSITIVE] {
        for _ in 0..20 {
            at += 1000;
            let step = detector.step(|_| value, at, at as i64);
            assert!(step.score.is_finite() && step.alarm.is_finite() && step.severity.is_finite(), "{value}: {step:?}");
        }
    }
    let after = run(&mut detector, &mut noise, &mut at, 10, 0.0);
    assert!(after.iter().any(|s| s.judged) && detector.error().is_none(), "it goes on");
}

#[test]
fn what_was_learned_comes_back_for_the_same_model_only() {
    let (package, other) = (example("isolation-forest"), example("autoencoder"));
    let mut detector = ForeignDetector::new(&package, config());
    bind(&mut detector, &series(&package)).expect("all series are there");
    let (mut noise, mut at) = (Random::new(11), 0);
    run(&mut detector, &mut noise, &mut at, 900, 0.0);
    let bytes = detector.save();
    let mut back = ForeignDetector::restore(&package, config(), &bytes).expect("what was saved");
    assert_eq!(back.save(), bytes);
    bind(&mut back, &series(&package)).expect("all series are there");
    let first = run(&mut back, &mut noise, &mut at, 1, 0.0)[0];
    assert!(first.judged && first.points > 600, "{first:?}");

    assert!(matches!(ForeignDetector::restore(&other, config(), &bytes), Err(StateError::Damaged(_))));
    let slow = DetectorConfig { period_ms: 60_000, ..config() };
    assert!(matches!(ForeignDetector::restore(&package, slow, &bytes), Err(StateError::Period { .. })));
    for cut in 0..bytes.len() {
        assert!(ForeignDetector::restore(&package, config(), &bytes[..cut]).is_err(), "cut at {cut}");
    }
}
