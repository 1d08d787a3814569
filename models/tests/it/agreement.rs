//! The recording in `cross/`: its scores are those that every machine must compute. `cross/test.sh` compares programs for other
//! machines with them; here they are kept true.

use std::fs;
use std::path::PathBuf;

use tacit_models::agreement::{Recording, Run, Scores, compare, judge};

/// How the known scores are made anew, after a change of the detector that is meant.
const ANEW: &str = "UPDATE_SCORES=1 cargo test -p tacit-models --test it agreement";

fn file(name: &str) -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../cross")).join(name)
}

fn judged() -> Scores {
    let text = fs::read_to_string(file("recording.csv")).expect("cross/recording.csv is there");
    judge(&Recording::parse(&text).expect("a recording")).expect("the built-in detector runs")
}

/// One point a line, so that a change can be read.
fn text(scores: &Scores) -> String {
    serde_json::to_string(scores).expect("plain values").replace("},{", "},\n{") + "\n"
}

#[test]
fn the_recording_has_the_scores_that_other_machines_must_compute() {
    let scores = judged();
    if std::env::var_os("UPDATE_SCORES").is_some() {
        fs::write(file("scores.json"), text(&scores)).expect("it can be written");
    }
    let known = fs::read_to_string(file("scores.json")).unwrap_or_else(|e| panic!("cross/scores.json: {e}; {ANEW}"));
    let known: Scores = serde_json::from_str(&known).unwrap_or_else(|e| panic!("cross/scores.json: {e}; {ANEW}"));
    let found = compare(&scores, &known);
    println!("{found:#?}");
    assert!(found.agrees, "{:#?}; if that was meant: {ANEW}", found.beyond);
    assert!(found.points > 300, "{} points", found.points);
}

/// A recording in which nothing happens would agree too easily.
#[test]
fn the_recording_has_a_fault_that_is_found_and_ends() {
    let scores = judged();
    let periods: Vec<u32> = scores.runs.iter().map(|run| run.period_ms).collect();
    assert_eq!(periods, [1000, 60_000]);
    let second: &Run = &scores.runs[0];
    let words: Vec<&str> = second.transitions.iter().map(|(_, word)| word.as_str()).collect();
    assert_eq!(words.first(), Some(&"open"), "{:?}", second.transitions);
    assert_eq!(words.last(), Some(&"close"), "{:?}", second.transitions);
    assert!((700..740).contains(&second.transitions[0].0), "the fault begins at 700: {:?}", second.transitions);
    // Each part has something to say somewhere.
    for (part, name) in tacit_models::agreement::VALUES.iter().enumerate() {
        let moves = |run: &Run| run.points.iter().any(|point| point.values[part] != run.points[0].values[part]);
        assert!(scores.runs.iter().any(moves), "{name} never changes");
    }
}
