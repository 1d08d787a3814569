//! The story that must always work: a node learns for a while, something really goes wrong, and one incident says what, since
//! when and which process; the collector is killed meanwhile, and nothing is lost.
//!
//! It runs the real `tacit` binary on this machine, in a binary of its own so that no other test makes noise beside it.

#![allow(clippy::unwrap_used, reason = "a test")]

use std::fs::File;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::Value;

/// Learning before the fault, and the longest wait for each step.
const PATIENCE: Duration = Duration::from_secs(240);

struct Up {
    child: Child,
    base: String,
}

impl Drop for Up {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn up(folder: &Path, http: u16, mqtt: u16, arguments: &[&str]) -> Up {
    let log = File::options().create(true).append(true).open(folder.join("log")).unwrap();
    let child = Command::new(env!("CARGO_BIN_EXE_tacit"))
        .args(["up", "--log", "info", "--data"])
        .arg(folder.join("data"))
        .args(["--http", &format!("127.0.0.1:{http}"), "--mqtt", &format!("127.0.0.1:{mqtt}")])
        .args(arguments)
        .env("RUST_BACKTRACE", "0")
        .stdin(Stdio::null())
        .stdout(log.try_clone().unwrap())
        .stderr(log)
        .spawn()
        .unwrap();
    Up { child, base: format!("http://127.0.0.1:{http}/api/v1") }
}

fn get(up: &Up, path: &str) -> Option<Value> {
    let text = ureq::get(format!("{}{path}", up.base)).call().ok()?.body_mut().read_to_string().ok()?;
    serde_json::from_str(&text).ok()
}

/// Asks until `wanted` finds what it looks for.
fn wait_for<T>(up: &Up, path: &str, log: &Path, what: &str, wanted: impl Fn(&Value) -> Option<T>) -> T {
    let end = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = get(up, path).as_ref().and_then(&wanted) {
            return found;
        }
        if Instant::now() > end {
            panic!("{what} did not happen; the log:\n{}", std::fs::read_to_string(log).unwrap_or_default());
        }
        sleep(Duration::from_millis(500));
    }
}

fn incidents(answer: &Value) -> Vec<Value> {
    answer["incidents"].as_array().cloned().unwrap_or_default()
}

#[test]
fn a_fault_becomes_one_incident_that_survives_a_kill() {
    let folder = tempfile::tempdir().unwrap();
    let (http, mqtt) = (free_port(), free_port());
    let log = folder.path().join("log");
    let first = up(folder.path(), http, mqtt, &["--try"]);
    let incident = wait_for(&first, "/incidents", &log, "an incident", |a| {
        incidents(a).into_iter().find(|i| i["injected"] == true)
    });
    let id = incident["id"].as_i64().unwrap();
    let detail = get(&first, &format!("/incidents/{id}")).unwrap();
    let event =
        detail["events"].as_array().unwrap().iter().find(|e| e["event"]["kind"] == "anomaly").unwrap()["event"].clone();
    assert!(!event["evidence"].as_array().unwrap().is_empty(), "it says which series: {event}");
    assert!(event["recording"]["rows"].as_array().is_some_and(|r| !r.is_empty()), "it has the flight recorder");
    let names: Vec<&str> = event["processes"].as_array().unwrap().iter().filter_map(|p| p["name"].as_str()).collect();
    assert!(names.contains(&"tacit"), "it names the process that did it: {names:?}");
    assert!(event["text"].as_str().is_some_and(|t| !t.is_empty()));

    // Killed in the middle of it, and started again on the same folder: the incident is there, once.
    let events_before = get(&first, "/events?limit=1000").unwrap()["events"].as_array().unwrap().len();
    drop(first);
    let second = up(folder.path(), http, mqtt, &[]);
    let after = wait_for(&second, "/incidents", &log, "the incident after a kill", |a| {
        Some(incidents(a)).filter(|i| !i.is_empty())
    });
    assert_eq!(after.iter().filter(|i| i["id"] == id).count(), 1);
    let events_after = wait_for(&second, "/events?limit=1000", &log, "the events after a kill", |a| {
        a["events"].as_array().map(Vec::len).filter(|n| *n >= events_before)
    });
    assert!(events_after >= events_before);
}

#[test]
fn what_cannot_be_used_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let run = |arguments: &[&str]| {
        let output =
            Command::new(env!("CARGO_BIN_EXE_tacit")).args(arguments).env("RUST_BACKTRACE", "0").output().unwrap();
        assert!(!output.status.success(), "{arguments:?} must fail");
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    let data = folder.path().join("data");
    let data = data.to_str().unwrap();
    let address = format!("127.0.0.1:{port}");
    let said = run(&["up", "--data", data, "--http", &address, "--mqtt", "127.0.0.1:0"]);
    assert!(said.contains(&format!("cannot listen for HTTP on {address}")), "{said}");
    let said = run(&["up", "--data", data, "--http", "127.0.0.1:0", "--mqtt", &address]);
    assert!(said.contains(&format!("cannot listen for MQTT on {address}")), "{said}");
    let said = run(&["up", "--data", "/proc/nowhere", "--http", "127.0.0.1:0", "--mqtt", "127.0.0.1:0"]);
    assert!(said.contains("cannot use the data folder"), "{said}");
    let said = run(&["status", "--collector", &format!("http://{address}x")]);
    assert!(said.contains("cannot reach the collector"), "{said}");
}
