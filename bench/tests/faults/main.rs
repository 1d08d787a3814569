//! `tacit-bench faults` end to end: a real agent, real faults, and nothing left behind. A binary of its own, so that no other
//! test makes noise while the agent learns.

#![allow(clippy::unwrap_used, reason = "a test")]

use std::path::Path;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::Value;

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

fn report(folder: &Path) -> Value {
    let arguments = ["--only", "fd-leak,fork-storm", "--learn", "75s", "--json"];
    let output = bench(folder, &arguments).output().unwrap();
    assert!(output.status.success(), "{}", output.status);
    serde_json::from_slice(&output.stdout).unwrap()
}

/// What is found depends on the machine, and is what the bench measures; that faults run, are reported and undone does not.
#[test]
fn faults_run_are_reported_and_leave_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().canonicalize().unwrap();
    killed(&path);
    let report = report(&path);
    assert!(processes(&path).is_empty(), "left behind: {:?}", processes(&path));
    let faults = report["report"]["faults"].as_array().unwrap();
    let names: Vec<&str> = faults.iter().filter_map(|f| f["fault"].as_str()).collect();
    assert_eq!(names, ["fd-leak", "fork-storm"]);
    for delay in faults.iter().filter_map(|f| f["delay_s"].as_f64()) {
        assert!((0.0..=26.0).contains(&delay), "{report:#}");
    }
}
