//! `tacit model` with the real program: the examples from end to end, and what is refused or stopped in the child.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;
use tacit_models::graph::GraphBuilder;
use tacit_models::import::Package;
use tacit_models::import::golden::GoldenSet;

const EXAMPLES: [&str; 4] = ["autoencoder", "gru", "isolation-forest", "pca"];

/// Processor time is a property of the machine: budgets are tested apart, and here are out of the way.
const GENEROUS: &str = "\n[budget]\np99_us = 100000\nload_ms = 20000\nmemory_bytes = 100000000\n";

fn tacit(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_tacit")).arg("model").args(arguments).env("RUST_BACKTRACE", "0").output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn works(arguments: &[&str]) -> String {
    let output = tacit(arguments);
    assert!(output.status.success(), "{arguments:?}: {}", text(&output.stderr));
    text(&output.stdout)
}

fn works_json(arguments: &[&str]) -> Value {
    serde_json::from_str(&works(&[arguments, &["--json"][..]].concat())).unwrap()
}

fn fails(arguments: &[&str]) -> String {
    let output = tacit(arguments);
    assert_eq!(output.status.code(), Some(1), "{arguments:?} must fail: {}", text(&output.stdout));
    text(&output.stderr)
}

fn path(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// An example's model, and its manifest with a generous budget in `folder`.
fn example(name: &str, folder: &Path) -> (PathBuf, PathBuf) {
    let examples = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../models/examples");
    let manifest = std::fs::read_to_string(examples.join(format!("{name}.toml"))).unwrap();
    let own = folder.join(format!("{name}.toml"));
    std::fs::write(&own, manifest + GENEROUS).unwrap();
    (examples.join(format!("{name}.onnx")), own)
}

#[test]
fn every_example_is_imported_tested_packed_and_inspected() {
    let folder = tempfile::tempdir().unwrap();
    for name in EXAMPLES {
        let (model, manifest) = example(name, folder.path());
        let out = folder.path().join(name);
        let done = works_json(&["import", path(&model), "--manifest", path(&manifest), "--out", path(&out)]);
        println!("{name}: {}", done["imported"]);
        let imported = &done["imported"];
        assert_eq!(imported["given"], 2, "{name}");
        assert!(imported["golden"].as_u64().unwrap() >= 14, "{name}");
        assert!(imported["measured"]["work"].as_u64().unwrap() > 0, "{name}");
        let tested = works_json(&["test", path(&out)]);
        assert_eq!(tested["findings"], Value::Array(vec![]), "{name}");
        assert_eq!(tested["digest"], imported["digest"], "{name}");
        let packed = folder.path().join(format!("{name}.tacitmodel"));
        works(&["pack", path(&out), "-o", path(&packed)]);
        let inspected = works_json(&["inspect", path(&packed)]);
        assert_eq!(inspected["digest"], imported["digest"], "{name}");
        assert_eq!(inspected["graph"]["findings"], Value::Array(vec![]), "{name}");
        assert!(inspected["graph"]["inputs"][0].as_str().unwrap().starts_with("window FLOAT ["), "{name}");
        assert!(works(&["test", path(&packed)]).contains("nothing is wrong with it"), "{name}");
    }
    let forest = works(&["inspect", path(&folder.path().join("isolation-forest"))]);
    assert!(forest.contains("TreeEnsembleRegressor) and 13 more written as core operators"), "{forest}");
    let operators = forest.lines().find(|l| l.starts_with("operators:")).unwrap();
    assert!(!operators.contains("ai.onnx.ml"), "no such operator is left: {forest}");
}

/// Writes a model of one row of three columns and its manifest; answers the arguments of an import.
fn made(folder: &Path, columns: usize, more: &str, build: impl FnOnce(&mut GraphBuilder) -> String) -> Vec<String> {
    let mut g = GraphBuilder::default();
    let out = build(&mut g);
    let model = folder.join("made.onnx");
    std::fs::write(&model, g.finish("made", ("x", [1, columns]), (&out, [1, 1]))).unwrap();
    let names: Vec<String> = (0..columns).map(|i| format!("s{i}")).collect();
    let manifest = folder.join("made.toml");
    let text = format!(
        "name = \"made\"\nversion = \"1.0.0\"\nformat = \"onnx\"\n\
         [input]\nrows = 1\ncolumns = {{ named = {names:?} }}\npreprocessing = \"standardised-window\"\nperiod_ms = 1000\n\
         [output]\nkind = \"host-score\"\n[decision]\nfusion = \"mean\"\nthreshold = \"alarm-budget\"\n{more}"
    );
    std::fs::write(&manifest, text).unwrap();
    let out = folder.join("package");
    ["import", path(&model), "--manifest", path(&manifest), "--out", path(&out)].map(str::to_owned).to_vec()
}

/// A good one: the sum of the columns.
fn sum(g: &mut GraphBuilder) -> String {
    let factor = g.constant(&[3, 1], &[1.0; 3]);
    g.node("MatMul", &["x", &factor], vec![])
}

/// Imports what `build` makes, which must be refused, and says why it was.
fn why(columns: usize, more: &str, seconds: &str, build: impl FnOnce(&mut GraphBuilder) -> String) -> String {
    let folder = tempfile::tempdir().unwrap();
    let arguments = made(folder.path(), columns, more, build);
    let mut arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    arguments.extend(["--seconds", seconds]);
    let said = fails(&arguments);
    assert!(!folder.path().join("package").exists(), "nothing is written for a model that is refused");
    said
}

#[test]
fn a_hostile_model_is_refused_with_its_reason() {
    let huge = why(3, GENEROUS, "10", |g| {
        let dims = g.integers(&[1000, 1000, 800]);
        let ones = g.node("ConstantOfShape", &[&dims], vec![]);
        let all = g.node("ReduceMax", &[&ones], vec![]);
        g.node("Add", &["x", &all], vec![])
    });
    assert!(huge.contains("too-many-constants: node `n0` (ConstantOfShape): 800000000 of"), "{huge}");
    let logs = why(3, GENEROUS, "10", |g| {
        let sum = sum(g);
        g.node("Log", &[&sum], vec![])
    });
    assert!(logs.contains("run: golden input 0: output 0 is not a finite number"), "{logs}");
    let work = why(3, GENEROUS, "10", |g| {
        let square = g.constant(&[400, 400], &[1.0 / 400.0; 160_000]);
        let all = sum(g);
        let mut y = g.node("Add", &[&square, &all], vec![]);
        for _ in 0..4 {
            y = g.node("MatMul", &[&y, &square], vec![]);
        }
        g.node("ReduceMean", &[&y], vec![])
    });
    assert!(work.contains("too-much-work: the graph: 256"), "{work}");
    let shapes = why(3, GENEROUS, "10", |g| {
        let factor = g.constant(&[4, 1], &[1.0; 4]);
        g.node("MatMul", &["x", &factor], vec![])
    });
    assert!(shapes.contains("load: the runtime:"), "{shapes}");
    let wide = why(3, GENEROUS, "10", |g| g.node("Relu", &["x"], vec![]));
    assert!(wide.contains("output: output:") && wide.contains("1 values of f32"), "{wide}");
}

#[test]
fn a_model_that_takes_too_much_is_stopped_in_the_child() {
    // Its shape is computed, so the linter cannot see that it asks for 3 GB.
    let memory = why(3, GENEROUS, "10", |g| {
        let (a, b) = (g.integers(&[1000, 1000, 800]), g.integers(&[1, 1, 1]));
        let dims = g.node("Mul", &[&a, &b], vec![]);
        let ones = g.node("ConstantOfShape", &[&dims], vec![]);
        let all = g.node("ReduceMax", &[&ones], vec![]);
        let sum = sum(g);
        g.node("Add", &[&sum, &all], vec![])
    });
    // The allocator's refusal aborts the child or makes the runtime panic in it; either way only the child.
    let aborted = memory.contains("stopped: the trial, while its shapes were analysed: more than");
    assert!(aborted || memory.contains("load: the runtime: it panicked"), "{memory}");
    // A thousand products of constants: the runtime computes them while it loads.
    let time = why(3, GENEROUS, "1", |g| {
        let square = g.constant(&[512, 512], &[1.0 / 512.0; 512 * 512]);
        let mut y = square.clone();
        for _ in 0..1000 {
            y = g.node("MatMul", &[&y, &square], vec![]);
        }
        let all = g.node("ReduceMax", &[&y], vec![]);
        let sum = sum(g);
        g.node("Add", &[&sum, &all], vec![])
    });
    assert!(time.contains("not done after 1 s of processor time") || time.contains("of real time"), "{time}");
}

#[test]
fn a_budget_that_is_exceeded_refuses_the_model() {
    let slow = why(3, "\n[budget]\np99_us = 0\n", "10", sum);
    assert!(slow.contains("too-slow: 99 of 100 runs"), "{slow}");
    let wrong = why(3, "\n[budget]\nmemory_bytes = 10000000000\n", "10", sum);
    assert!(wrong.contains("`budget` is"), "{wrong}");
    let golden = format!("{GENEROUS}\n[[golden]]\ninput = [1.0, 1.0, 1.0]\noutput = [4.0]\n");
    let differs = why(3, &golden, "10", sum);
    assert!(differs.contains("golden: your golden 0: output 0 is 3; allowed: 4"), "{differs}");
}

#[test]
fn a_package_that_was_changed_or_answers_otherwise_fails_its_test() {
    let folder = tempfile::tempdir().unwrap();
    let arguments = made(folder.path(), 3, GENEROUS, sum);
    works(&arguments.iter().map(String::as_str).collect::<Vec<_>>());
    let place = folder.path().join("package");
    let package = Package::read(&place).unwrap();
    let mut cases = package.golden.cases.clone();
    cases[1].output[0] += 0.01;
    let changed = Package::new(&package.manifest, package.model().to_vec(), &GoldenSet::new(1, 3, cases)).unwrap();
    changed.write_folder(&place).unwrap();
    let output = tacit(&["test", path(&place), "--json"]);
    assert_eq!(output.status.code(), Some(1));
    let said: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(said["findings"][0]["code"], "golden", "{said}");
    std::fs::write(place.join("manifest.toml"), "name = \"other\"").unwrap();
    assert!(fails(&["test", path(&place)]).contains("manifest.toml was changed"));
    assert!(fails(&["inspect", path(&place)]).contains("manifest.toml was changed"));
}

#[test]
fn a_refusal_is_json_when_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let arguments = made(folder.path(), 3, GENEROUS, |g| g.node("NonZero", &["x"], vec![]));
    let mut arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    arguments.push("--json");
    let output = tacit(&arguments);
    assert_eq!(output.status.code(), Some(1));
    let said: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(said["refused"][0]["code"], "operator", "{said}");
    let nothing = fails(&["inspect", "/nowhere.onnx"]);
    assert!(nothing.contains("cannot open /nowhere.onnx"), "{nothing}");
}
