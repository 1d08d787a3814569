//! `tacit-bench map` end to end, in its smaller form: real agents in network namespaces, known traffic, a map without a false edge, and
//! nothing left behind. A binary of its own: it needs root and takes a minute and a half.

#![allow(clippy::unwrap_used, reason = "a test")]

use std::path::Path;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::Value;

/// What is missing for network namespaces with agents in them; nothing when all is there.
fn missing() -> Option<String> {
    let there = |path: &str| Path::new(path).exists();
    let groups = ["/sys/fs/cgroup/cgroup.controllers", "/sys/fs/cgroup/unified/cgroup.controllers"];
    if !rustix::process::geteuid().is_root() {
        return Some("root".into());
    }
    if !groups.iter().any(|path| there(path)) {
        return Some("control groups of version 2".into());
    }
    let found = |name: &str| ["/usr/sbin", "/usr/bin", "/sbin", "/bin"].iter().any(|f| there(&format!("{f}/{name}")));
    ["ip", "nft", "nsenter", "unshare"].iter().find(|name| !found(name)).map(ToString::to_string)
}

fn bench(folder: &Path, arguments: &[&str]) -> Command {
    let program = Path::new(env!("CARGO_BIN_EXE_tacit-bench"));
    let agent = program.with_file_name("tacit-agent");
    assert!(agent.exists(), "{} is not there: `cargo build -p tacit-agent` in the same profile first", agent.display());
    let mut command = Command::new(program);
    command.args(["map", "--hosts", "front,app1,app2,cache,world,box", "--baseline", "0s", "--no-change", "--folder"]);
    command.arg(folder).args(arguments).stdin(Stdio::null());
    let debian = ["/usr/sbin/nginx", "/usr/bin/redis-server"].iter().all(|path| Path::new(path).exists());
    if !debian {
        command.arg("--own-servers");
    }
    command
}

/// Names of the processes whose working folder is below `folder`: all that the bench starts.
fn processes(folder: &Path) -> Vec<String> {
    let below = |pid: &Path| std::fs::read_link(pid.join("cwd")).is_ok_and(|cwd| cwd.starts_with(folder));
    let pids = std::fs::read_dir("/proc").unwrap().flatten().map(|e| e.path());
    pids.filter(|pid| below(pid)).filter_map(|pid| std::fs::read_to_string(pid.join("comm")).ok()).collect()
}

/// Namespaces and control groups of a bench.
fn places(bench: u32) -> Vec<String> {
    let folders = ["/run/netns", "/sys/fs/cgroup", "/sys/fs/cgroup/unified"];
    let entries = folders.iter().filter_map(|f| std::fs::read_dir(f).ok()).flatten().flatten();
    let names = entries.map(|e| e.file_name().to_string_lossy().into_owned());
    names.filter(|n| n.starts_with(&format!("tacit-map-{bench}"))).collect()
}

fn wait_for(what: &str, mut wanted: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(60);
    while !wanted() {
        assert!(Instant::now() < end, "{what} did not happen within a minute");
        sleep(Duration::from_millis(100));
    }
}

/// A bench that is killed takes all it made with it.
fn killed(folder: &Path) {
    let mut child = bench(folder, &[]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    wait_for("the first agent", || processes(folder).iter().any(|name| name.trim() == "tacit-agent"));
    assert!(places(child.id()).len() > 5, "{:?}", places(child.id()));
    child.kill().unwrap();
    child.wait().unwrap();
    wait_for("the end of all it started", || processes(folder).is_empty());
    wait_for("the end of its hosts", || places(child.id()).is_empty());
    wait_for("the end of its files", || std::fs::read_dir(folder).unwrap().next().is_none());
}

/// Every figure here is a count: what is true was counted by those who did it.
fn judge(report: &Value) {
    let totals = &report["totals"];
    let number = |value: &Value| value.as_f64().unwrap_or_else(|| panic!("{value} in {report:#}"));
    assert!(number(&totals["short"]) >= 500.0, "{totals:#}");
    assert!(number(&totals["short_percent"]) >= 99.0, "{report:#}");
    assert_eq!(totals["false_edges"], 0, "{:#}", report["report"]["judged"]["false_edges"]);
    assert_eq!(totals["found"], totals["must"], "{report:#}");
    assert_eq!(totals["ends"][2], 0, "a wrong owner: {report:#}");
    // Whether a look meets a short client in this short time is chance; that servers and what stays open are named is not.
    assert!(number(&totals["both_percent"]) >= 50.0, "owned on both ends: {report:#}");
    assert_eq!(totals["failed_elsewhere"], 0, "{report:#}");
    assert!(number(&totals["failed"]) > 0.0 && totals["failed"] == totals["failed_told"], "{report:#}");
    let nodes = report["report"]["nodes"].as_array().unwrap();
    let sum = |key: &str| nodes.iter().filter_map(|n| n[key].as_f64()).sum::<f64>();
    let (kernel, told) = (sum("kernel_retransmits"), sum("told_retransmits"));
    assert!(kernel > 0.0 && (kernel - told).abs() <= (kernel * 0.05).max(2.0), "{kernel} sent again, {told} told");
    assert_eq!(sum("overflows"), 0.0, "{nodes:#?}");
}

#[test]
fn the_map_of_a_small_data_centre_is_true_and_leaves_nothing() {
    if let Some(missing) = missing() {
        assert!(std::env::var_os("CI").is_none_or(|ci| ci != "true"), "the map's proof cannot run without {missing}");
        eprintln!("not run: the map's proof needs {missing}");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().canonicalize().unwrap();
    killed(&path);
    let arguments = ["--short", "500", "--rate", "100", "--seconds", "0", "--settle", "5s", "--json"];
    let child = bench(&path, &arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let id = child.id();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}: {}", output.status, String::from_utf8_lossy(&output.stderr));
    assert!(processes(&path).is_empty(), "left behind: {:?}", processes(&path));
    assert!(places(id).is_empty(), "left behind: {:?}", places(id));
    judge(&serde_json::from_slice(&output.stdout).unwrap());
}
