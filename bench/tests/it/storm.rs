//! `storm` in its smaller form: a hall behind one switch and a stranger are two incidents, and no event is lost.

#![allow(clippy::unwrap_used, reason = "a test")]

use std::process::Command;

use serde_json::Value;

#[test]
fn a_failing_switch_and_a_stranger_are_two_incidents_and_no_event_is_lost() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tacit-bench"));
    command.args(["storm", "--nodes", "60", "--elsewhere", "24", "--events", "1200", "--minute", "10s"]);
    let output = command.args(["--wait", "0s", "--json"]).output().unwrap();
    let words = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {words}", output.status);
    let measured: Value = serde_json::from_slice(&output.stdout).unwrap();
    let count = |key: &str| measured[key].as_u64().unwrap_or_else(|| panic!("{key} in {measured:#}"));
    assert_eq!(count("events"), 1200 + 2 + 3);
    assert_eq!((count("lost"), count("in_incidents") + count("in_digest")), (0, count("events")), "{measured:#}");
    assert_eq!(count("incidents"), 2, "{measured:#}");
    assert_eq!(measured["stranger_apart"], true, "{measured:#}");
}
