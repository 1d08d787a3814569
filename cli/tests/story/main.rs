//! The story that must always work: a node learns for a while, something really goes wrong, and one incident says what, since
//! when and which process; the collector is killed meanwhile, and nothing is lost.
//!
//! It runs the real `tacit` binary on this machine and looks at it in a browser; it is a binary of its own so that no other
//! test makes noise beside it.

#![allow(clippy::unwrap_used, reason = "a test")]

use std::fs::File;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::Value;

mod browser;

use browser::Browser;

/// From the start of `tacit up --try` to the incident: learning, the fault, and room to spare.
const PATIENCE: Duration = Duration::from_secs(180);
/// A machine that is as busy while it learns as the fault makes it has nothing unusual to show; then it is tried again.
const ATTEMPTS: u32 = 3;

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
fn look_for<T>(up: &Up, path: &str, wanted: impl Fn(&Value) -> Option<T>) -> Option<T> {
    let end = Instant::now() + PATIENCE;
    while Instant::now() < end {
        if let Some(found) = get(up, path).as_ref().and_then(&wanted) {
            return Some(found);
        }
        sleep(Duration::from_millis(500));
    }
    None
}

fn wait_for<T>(up: &Up, path: &str, log: &Path, what: &str, wanted: impl Fn(&Value) -> Option<T>) -> T {
    look_for(up, path, wanted).unwrap_or_else(|| {
        panic!("{what} did not happen; the log:\n{}", std::fs::read_to_string(log).unwrap_or_default())
    })
}

/// Waits until what ran before has left the processors alone for a while, but not for ever.
fn wait_for_calm() {
    let busy_and_all = || {
        let text = std::fs::read_to_string("/proc/stat").unwrap();
        let line = text.lines().next().unwrap();
        let jiffies: Vec<u64> = line.split_whitespace().skip(1).map(|n| n.parse().unwrap()).collect();
        (jiffies.iter().sum::<u64>() - jiffies[3] - jiffies[4], jiffies.iter().sum::<u64>())
    };
    let end = Instant::now() + Duration::from_secs(120);
    let (mut calm, mut before) = (0, busy_and_all());
    while calm < 8 && Instant::now() < end {
        sleep(Duration::from_secs(1));
        let now = busy_and_all();
        let share = (now.0 - before.0) as f64 / (now.1 - before.1).max(1) as f64;
        calm = if share < 0.2 { calm + 1 } else { 0 };
        before = now;
    }
}

fn incidents(answer: &Value) -> Vec<Value> {
    answer["incidents"].as_array().cloned().unwrap_or_default()
}

fn injected(answer: &Value) -> Option<Value> {
    incidents(answer).into_iter().find(|i| i["injected"] == true)
}

/// `tacit up --try` until its fault has become an incident.
fn fault(folder: &Path, http: u16, mqtt: u16) -> (Up, Value) {
    for _ in 0..ATTEMPTS {
        wait_for_calm();
        let up = up(folder, http, mqtt, &["--try"]);
        if let Some(incident) = look_for(&up, "/incidents", injected) {
            return (up, incident);
        }
        drop(up);
        std::fs::remove_dir_all(folder.join("data")).unwrap();
    }
    panic!("no incident; the log:\n{}", std::fs::read_to_string(folder.join("log")).unwrap_or_default());
}

#[test]
fn a_fault_becomes_one_incident_that_survives_a_kill() {
    let folder = tempfile::tempdir().unwrap();
    let (http, mqtt) = (free_port(), free_port());
    let log = folder.path().join("log");
    let (first, incident) = fault(folder.path(), http, mqtt);
    let id = incident["id"].as_i64().unwrap();
    let detail = get(&first, &format!("/incidents/{id}")).unwrap();
    let event =
        detail["events"].as_array().unwrap().iter().find(|e| e["event"]["kind"] == "anomaly").unwrap()["event"].clone();
    assert!(!event["evidence"].as_array().unwrap().is_empty(), "it says which series: {event}");
    assert!(event["recording"]["rows"].as_array().is_some_and(|r| !r.is_empty()), "it has the flight recorder");
    let names: Vec<&str> = event["processes"].as_array().unwrap().iter().filter_map(|p| p["name"].as_str()).collect();
    assert!(names.contains(&"tacit"), "it names the process that did it: {names:?}");
    assert!(event["text"].as_str().is_some_and(|t| !t.is_empty()));
    look_and_acknowledge(&first, http, id);

    // Killed in the middle of it, and started again on the same folder: everything is there, once.
    let known = |a: &Value| -> Vec<String> {
        a["events"].as_array().unwrap().iter().map(|e| e["event"]["event"].as_str().unwrap().to_owned()).collect()
    };
    let before = known(&get(&first, "/events?limit=1000").unwrap());
    drop(first);
    let second = up(folder.path(), http, mqtt, &[]);
    let after = wait_for(&second, "/incidents", &log, "the incident after a kill", |a| {
        Some(incidents(a)).filter(|i| !i.is_empty())
    });
    assert_eq!(after.iter().filter(|i| i["injected"] == true).count(), 1, "one incident: {after:?}");
    assert_eq!(after.iter().filter(|i| i["id"] == id).count(), 1);
    let events = known(&get(&second, "/events?limit=1000").unwrap());
    assert!(!before.is_empty() && before.iter().all(|e| events.contains(e)), "{before:?} are all in {events:?}");

    // What was open when it was killed is ended by the next start: nothing stays open for ever.
    wait_for(&second, "/events?limit=1000", &log, "the end of the event that was open", |a| {
        let this = a["events"].as_array()?.iter().find(|e| e["event"]["event"] == event["event"])?;
        (this["event"]["phase"] == "close").then_some(())
    });
}

/// The same in the console: home says it, the incident's page explains it, one click acknowledges it.
fn look_and_acknowledge(up: &Up, http: u16, id: i64) {
    let Some(browser) = Browser::start() else { return };
    let console = format!("http://127.0.0.1:{http}");
    browser.open(&console);
    assert!(!browser.text("h1").contains("All quiet"), "home says that something is wrong");
    browser.click(&format!("a[href='/incidents/{id}']"));
    browser.wait_for("h1", "");
    browser.wait_for("main", "Why we think so");
    let page = browser.text("main");
    for part in ["Who was on top", "What happened", "tacit", "injected by Tacit itself"] {
        assert!(page.contains(part), "{part} is missing on the page:\n{page}");
    }
    assert!(browser.script("return document.querySelectorAll('.chart canvas').length").as_i64() > Some(0));
    browser.click("button[data-post$='/acknowledge']");
    browser.wait_for(".what .meta strong", "Acknowledged");
    let complaints = browser.complaints();
    assert!(complaints.is_empty(), "the page works without complaint: {complaints:?}");
    let state = get(up, &format!("/incidents/{id}")).unwrap();
    assert_eq!(state["incident"]["state"], "acknowledged", "{state}");
    browser.open(&format!("{console}/nodes"));
    browser.click("main a[href^='/nodes/']");
    browser.wait_for("main", "Live: every sample");
}
