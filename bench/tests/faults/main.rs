//! `tacit-bench faults` end to end: a real agent, real faults, and nothing left behind. A binary of its own, so that no other
//! test makes noise while the agent learns.

#![allow(clippy::unwrap_used, reason = "a test")]

use std::path::Path;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::Value;

/// A machine that is as busy while the agent learns as the faults make it has nothing unusual to show; then it is tried again.
const ATTEMPTS: u32 = 2;
/// A machine that is busier than this with the bench and everything else shows nothing about what is found.
const CALM: f64 = 0.4;

fn bench(folder: &Path, arguments: &[&str]) -> Command {
    let program = Path::new(env!("CARGO_BIN_EXE_tacit-bench"));
    let agent = program.with_file_name("tacit-agent");
    assert!(agent.exists(), "{} is not there: `cargo build -p tacit-agent` in the same profile first", agent.display());
    let mut command = Command::new(program);
    command.args([
        "faults",
        "--keep",
        "--quiet",
        "0s",
        "--pause",
        "5s",
        "--calm",
        "60s",
        "--at-most",
        "25s",
        "--folder",
    ]);
    command.arg(folder).args(arguments).stdin(Stdio::null()).stderr(Stdio::null());
    command
}

/// Names of the processes whose working folder is below `folder`: all that the bench starts.
fn processes(folder: &Path) -> Vec<String> {
    let below = |pid: &Path| std::fs::read_link(pid.join("cwd")).is_ok_and(|cwd| cwd.starts_with(folder));
    let pids = std::fs::read_dir("/proc").unwrap().flatten().map(|e| e.path());
    pids.filter(|pid| below(pid)).filter_map(|pid| std::fs::read_to_string(pid.join("comm")).ok()).collect()
}

fn wait_for(what: &str, mut wanted: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(60);
    while !wanted() {
        assert!(Instant::now() < end, "{what} did not happen within a minute");
        sleep(Duration::from_millis(100));
    }
}

/// A bench that is killed takes all it started with it.
fn killed(folder: &Path) {
    let mut child = bench(folder, &["--only", "fd-leak", "--learn", "1s"]).stdout(Stdio::null()).spawn().unwrap();
    wait_for("the fault", || processes(folder).iter().any(|name| name.trim() == "fault-files"));
    assert!(processes(folder).iter().any(|name| name.trim() == "tacit-agent"), "{:?}", processes(folder));
    child.kill().unwrap();
    child.wait().unwrap();
    wait_for("the end of all it started", || processes(folder).is_empty());
    wait_for("the end of its files", || std::fs::read_dir(folder).unwrap().next().is_none());
}

/// Jiffies in which the processors worked, and all of them.
fn busy_and_all() -> (u64, u64) {
    let text = std::fs::read_to_string("/proc/stat").unwrap();
    let jiffies: Vec<u64> =
        text.lines().next().unwrap().split_whitespace().skip(1).map(|n| n.parse().unwrap()).collect();
    let all: u64 = jiffies.iter().sum();
    (all - jiffies[3] - jiffies[4], all)
}

fn report(folder: &Path) -> Value {
    let arguments = ["--only", "fd-leak,fork-storm", "--learn", "75s", "--json"];
    let output = bench(folder, &arguments).output().unwrap();
    assert!(output.status.success(), "{}", output.status);
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn faults_run_are_found_and_leave_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().canonicalize().unwrap();
    killed(&path);
    let (mut last, mut calm) = (Value::Null, false);
    for _ in 0..ATTEMPTS {
        let before = busy_and_all();
        last = report(&path);
        let after = busy_and_all();
        calm |= (after.0 - before.0) as f64 / ((after.1 - before.1).max(1) as f64) < CALM;
        assert!(processes(&path).is_empty(), "left behind: {:?}", processes(&path));
        let faults = last["report"]["faults"].as_array().unwrap();
        let names: Vec<&str> = faults.iter().filter_map(|f| f["fault"].as_str()).collect();
        assert_eq!(names, ["fd-leak", "fork-storm"]);
        // One that does not run, as something else keeps the machine from calm, is no failure of ours: it is tried again.
        if let Some(delay) = faults.iter().find_map(|f| f["delay_s"].as_f64()) {
            assert!((0.0..=26.0).contains(&delay), "{last:#}");
            assert!(last["totals"]["found"].as_u64() >= Some(1), "{last:#}");
            return;
        }
    }
    assert!(!calm, "neither fault was found on a calm machine: {last:#}");
    eprintln!("the machine was too busy with other things to judge what is found");
}
