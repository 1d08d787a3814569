//! The program itself: output for people and scripts, and exit codes.

use std::process::{Command, Output};

use serde_json::Value;

fn agent(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_tacit-agent"))
        .args(arguments)
        .env_remove("TACIT_LOG")
        .output()
        .expect("the program can be started")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("it is text")
}

#[test]
fn sample_prints_the_promised_json() {
    let output = agent(&["sample", "--once", "--json"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let series: Vec<Value> = serde_json::from_slice(&output.stdout).expect("an array");
    assert!(!series.is_empty());
    for one in &series {
        assert!(one["name"].is_string() && one["attributes"].is_object() && one["unit"].is_string(), "{one}");
        assert!(one["value"].is_number() || one["value"].is_null(), "{one}");
    }
    let sleeping =
        series.iter().find(|s| s["attributes"]["process.state"] == "sleeping").expect("processes are counted");
    assert!(sleeping["value"].as_f64().is_some_and(|v| v >= 1.0));
}

#[test]
fn doctor_speaks_to_people_and_to_scripts() {
    let output = agent(&["doctor"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let spoken = text(&output.stdout);
    for word in ["kernel", "processes", "control groups", "mqtt://"] {
        assert!(spoken.contains(word), "{word} is missing:\n{spoken}");
    }
    let report: Value = serde_json::from_slice(&agent(&["doctor", "--json"]).stdout).expect("an object");
    assert!(report["identity"]["cores"].as_u64().is_some_and(|n| n > 0));
    assert!(report["sources"].as_array().is_some_and(|s| s.iter().any(|s| s["source"] == "processes")));
}

#[test]
fn wrong_input_ends_with_2_and_says_why() {
    let bad = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/bad-configs/typo-key.toml");
    for arguments in [&["check-config", bad][..], &["sample", "--config", bad], &["doctor", "--config", bad]] {
        let output = agent(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(text(&output.stderr).contains("typo-key.toml: line 2"), "{}", text(&output.stderr));
    }
    for arguments in [&["sample", "--bogus"][..], &["nothing"], &[], &["sample", "--once", "--watch"]] {
        assert_eq!(agent(arguments).status.code(), Some(2), "{arguments:?}");
    }
    let good = concat!(env!("CARGO_MANIFEST_DIR"), "/../packaging/agent.toml");
    let output = agent(&["check-config", good]);
    assert_eq!((output.status.code(), text(&output.stdout).trim().ends_with(": good")), (Some(0), true));
}

#[test]
fn completions_exist_for_each_shell() {
    for shell in ["bash", "zsh", "fish"] {
        let output = agent(&["completions", shell]);
        assert!(output.status.success() && text(&output.stdout).contains("check-config"), "{shell}");
    }
}
