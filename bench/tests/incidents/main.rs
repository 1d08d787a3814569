//! `tacit-bench incidents` with one fault: a service is killed in a data centre of network namespaces, and that is one incident that
//! names it; nothing is left behind. A binary of its own: it needs root and takes a minute and a half.

#![allow(clippy::unwrap_used, reason = "a test")]

use std::path::Path;
use std::process::{Command, Stdio};

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

fn bench(folder: &Path) -> Command {
    let program = Path::new(env!("CARGO_BIN_EXE_tacit-bench"));
    let agent = program.with_file_name("tacit-agent");
    assert!(agent.exists(), "{} is not there: `cargo build -p tacit-agent` in the same profile first", agent.display());
    let mut command = Command::new(program);
    // The map takes minutes to know who talks to whom, and models hours to know what is usual: here rules decide alone.
    command.args(["incidents", "--only", "service-killed", "--only-rules", "--own-servers", "--json"]);
    command.args(["--learn", "10s", "--lasts", "30s", "--folder"]).arg(folder);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
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
    let trees = ["unified", "cpu", "cpuacct", "memory"].map(|tree| format!("/sys/fs/cgroup/{tree}"));
    let folders = ["/run/netns", "/sys/fs/cgroup"].map(ToOwned::to_owned).into_iter().chain(trees);
    let entries = folders.filter_map(|f| std::fs::read_dir(f).ok()).flatten().flatten();
    let names = entries.map(|e| e.file_name().to_string_lossy().into_owned());
    let ours = [format!("tacit-map-{bench}-"), format!("tacit-incidents-{bench}.")];
    names.filter(|n| ours.iter().any(|own| n.starts_with(own))).collect()
}

#[test]
fn a_killed_service_is_one_incident_that_names_it() {
    if let Some(missing) = missing() {
        assert!(
            std::env::var_os("CI").is_none_or(|ci| ci != "true"),
            "the proof of incidents cannot run without {missing}"
        );
        eprintln!("not run: the proof of incidents needs {missing}");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().canonicalize().unwrap();
    let child = bench(&path).spawn().unwrap();
    let id = child.id();
    let output = child.wait_with_output().unwrap();
    let words = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {words}", output.status);
    assert!(processes(&path).is_empty(), "left behind: {:?}", processes(&path));
    assert!(places(id).is_empty(), "left behind: {:?}", places(id));
    assert!(std::fs::read_dir(&path).unwrap().next().is_none(), "files are left behind");

    let outcome: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((outcome["fault"].as_str(), &outcome["refused"]), (Some("service-killed"), &Value::Null), "{outcome:#}");
    assert_eq!((&outcome["incidents"], &outcome["wanted"]), (&Value::from(1), &Value::from(1)), "{outcome:#} {words}");
    assert!(outcome["events"].as_u64().unwrap() >= 1, "{outcome:#}");
    let cause = &outcome["causes"][0];
    assert_eq!(cause["culprit"], "api-2", "{outcome:#}");
    assert!(cause["rank"].as_u64().is_some_and(|rank| rank <= 3), "{outcome:#} {words}");
}
