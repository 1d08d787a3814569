//! `tacit-agent doctor`: what this host offers, what is absent and why.

use std::fmt::Write as _;
use std::net::{TcpStream, ToSocketAddrs as _};
use std::path::Path;
use std::time::Duration;

use serde::Serialize;
use tacit_wire::message::{Clock, NodeIdentity};

use super::print;
use super::sample::Machine;
use crate::clock::Tick;
use crate::config::Config;
use crate::context;
use crate::inventory;
use crate::links;
use crate::source::cgroup::Layout;
use crate::source::open_files::OpenFiles;
use crate::source::{Root, Sampled};

/// How long the broker may take to accept a connection.
const BROKER: Duration = Duration::from_secs(2);

#[derive(Debug, Serialize)]
struct Report {
    node: String,
    identity: NodeIdentity,
    addresses: Vec<String>,
    clock: Clock,
    config: String,
    data_dir: String,
    series: usize,
    max_series: usize,
    refused_series: u32,
    sources: Vec<SourceReport>,
    context: Vec<Finding>,
    probes: Vec<Finding>,
    access: Vec<Finding>,
    broker: Finding,
}

#[derive(Debug, Serialize)]
struct SourceReport {
    source: String,
    /// `data`, `absent`, `failed` or `disabled`.
    state: &'static str,
    series: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

/// One thing that was looked at.
#[derive(Debug, Serialize)]
struct Finding {
    what: String,
    good: bool,
    detail: String,
}

fn finding(what: &str, good: bool, detail: impl Into<String>) -> Finding {
    Finding { what: what.to_owned(), good, detail: detail.into() }
}

/// Runs the command.
pub fn run(root: &Root, config: &Config, file: Option<&Path>, json: bool) -> anyhow::Result<()> {
    let report = examine(root, config, file);
    let text = if json { serde_json::to_string_pretty(&report)? } else { readable(&report) };
    print(&(text + "\n"));
    Ok(())
}

fn examine(root: &Root, config: &Config, file: Option<&Path>) -> Report {
    let now = Tick::now();
    let mut machine = Machine::open(root, config);
    machine.refresh();
    machine.sample(now);
    std::thread::sleep(Duration::from_millis(500));
    let outcomes = machine.sample(Tick::now());
    let dictionary = machine.dictionary();
    let mut sources: Vec<SourceReport> = Vec::new();
    for (i, (name, outcome)) in outcomes.iter().enumerate() {
        let (state, reason) = match outcome {
            Ok(Sampled::Data) => ("data", None),
            Ok(Sampled::Absent(why)) => ("absent", Some(why.clone())),
            Err(error) => ("failed", Some(error.to_string())),
        };
        sources.push(SourceReport { source: (*name).to_owned(), state, series: machine.series_of(i), reason });
    }
    for name in &config.sampling.disable {
        let reason = Some("sampling.disable names it".to_owned());
        sources.push(SourceReport { source: name.clone(), state: "disabled", series: 0, reason });
    }
    let node = config.node.id.clone().unwrap_or_else(|| inventory::default_node_id(root));
    Report {
        node: node.to_string(),
        identity: inventory::identity(root),
        addresses: inventory::addresses(),
        clock: inventory::clock(root, now),
        config: file.map_or_else(|| "defaults".to_owned(), |f| f.display().to_string()),
        data_dir: config.node.data_dir.display().to_string(),
        series: dictionary.entries.len(),
        max_series: config.sampling.max_series,
        refused_series: dictionary.refused,
        sources,
        context: watchers(root, config),
        probes: probes(&machine),
        access: access(root, config),
        broker: broker(&config.publish.broker),
    }
}

/// What else can be watched here.
fn watchers(root: &Root, config: &Config) -> Vec<Finding> {
    let seen = context::examine(root, &config.context.disable).into_iter();
    seen.map(|(name, state)| match state {
        Ok(detail) => finding(name, true, detail),
        Err(why) => finding(name, false, why),
    })
    .collect()
}

/// How each probe fared.
fn probes(machine: &Machine) -> Vec<Finding> {
    let probed = machine.answers().probed().into_iter();
    probed
        .map(|p| {
            let good = p.failures == 0;
            let detail = if good { "it answers".to_owned() } else { p.error };
            finding(&format!("{} ({})", p.name, p.target), good, detail)
        })
        .collect()
}

/// What the agent may look at.
fn access(root: &Root, config: &Config) -> Vec<Finding> {
    let uid = rustix::process::getuid();
    let who = if uid.is_root() { "root".to_owned() } else { format!("user {}", uid.as_raw()) };
    let capabilities = std::fs::read_to_string(root.join("proc/self/status"))
        .ok()
        .and_then(|t| t.lines().find_map(|l| l.strip_prefix("CapEff:").map(|v| v.trim().to_owned())))
        .unwrap_or_else(|| "unknown".to_owned());
    let layout = Layout::find(root);
    vec![
        finding("runs as", true, format!("{who}, effective capabilities {capabilities}")),
        readable_file(root, "proc/1/io", "disk use of other processes", "needs root; that of units is seen without"),
        open_files(root),
        readable_file(root, "proc/1/mountinfo", "read-only mounts", "file systems that become so are seen without"),
        readable_file(root, "proc/pressure/cpu", "pressure (PSI)", "the kernel was built without PSI, or needs psi=1"),
        finding("control groups", layout != Layout::None, layout.describe()),
        connections(root, config),
        state_folder(&config.node.data_dir),
    ]
}

fn readable_file(root: &Root, path: &str, what: &str, otherwise: &str) -> Finding {
    match std::fs::read(root.join(path)) {
        Ok(_) => finding(what, true, format!("/{path} can be read")),
        Err(error) => finding(what, false, format!("/{path}: {error}; {otherwise}")),
    }
}

/// Whose sockets are named by open files; control groups name most of them without.
fn open_files(root: &Root) -> Finding {
    let what = "owners of other users' sockets";
    match OpenFiles::find(root) {
        OpenFiles::Links => finding(what, true, "/proc/PID/fd can be read"),
        OpenFiles::Info(_) => finding(what, true, "/proc/PID/fdinfo can be read"),
        OpenFiles::Own => finding(what, false, "needs CAP_SYS_PTRACE (Linux 5.14) or root; control groups name most"),
    }
}

/// Which connections would be seen, and what is missing to see more.
fn connections(root: &Root, config: &Config) -> Finding {
    let what = "connections";
    if !links::are_observed(config) {
        return finding(what, false, "not observed: links.enabled is false, or publish.profile is \"events\"");
    }
    match links::examine(root, &config.links.helper) {
        Ok(level) => finding(what, !level.starts_with("level 0"), level),
        Err(why) => finding(what, false, why),
    }
}

fn state_folder(folder: &Path) -> Finding {
    let what = "state folder";
    match folder.ancestors().find(|a| a.exists()) {
        Some(existing) if super::can_hold(existing) => {
            finding(what, true, format!("{} can be written", folder.display()))
        }
        _ => finding(what, false, format!("{} cannot be written; `run` uses ./.tacit/agent", folder.display())),
    }
}

/// Whether something accepts connections where the broker should be.
fn broker(url: &str) -> Finding {
    let address = url.rsplit("://").next().unwrap_or(url);
    let reached = address.to_socket_addrs().and_then(|addresses| {
        let mut last = std::io::Error::other("the name has no address");
        for address in addresses {
            match TcpStream::connect_timeout(&address, BROKER) {
                Ok(_) => return Ok(address),
                Err(error) => last = error,
            }
        }
        Err(last)
    });
    match reached {
        Ok(address) => finding(url, true, format!("{address} accepts connections")),
        Err(error) => finding(url, false, format!("{error}; the agent samples on and keeps what it would send")),
    }
}

fn readable(r: &Report) -> String {
    let mut out = String::new();
    // Writing to a String cannot fail.
    let mut line = |text: String| {
        let _ = writeln!(out, "{text}");
    };
    let i = &r.identity;
    line(format!("node       {} ({})", r.node, i.hostname));
    line(format!("system     {}, kernel {}, {}", i.os, i.kernel, i.arch));
    let gib = i.memory as f64 / f64::from(1 << 30);
    line(format!("machine    {}, {} processors, {gib:.1} GiB", i.board.as_deref().unwrap_or("board unknown"), i.cores));
    line(format!("processor  {}", if i.cpu.is_empty() { "unknown" } else { &i.cpu }));
    line(format!("addresses  {}", if r.addresses.is_empty() { "none".to_owned() } else { r.addresses.join(", ") }));
    let synchronised = match r.clock.synchronised {
        Some(true) => "synchronised",
        Some(false) => "not synchronised",
        None => "synchronisation unknown (no systemd-timesyncd)",
    };
    line(format!("clock      {synchronised}"));
    line(format!("config     {}", r.config));
    line(format!("series     {} of at most {}, {} refused", r.series, r.max_series, r.refused_series));
    line("\nsources".to_owned());
    for s in &r.sources {
        let reason = s.reason.as_ref().map(|why| format!("  {why}")).unwrap_or_default();
        line(format!("  {:<12} {:<8} {:>4} series{reason}", s.source, s.state, s.series));
    }
    let broker = std::slice::from_ref(&r.broker);
    for (title, findings) in
        [("context", &r.context[..]), ("probes", &r.probes[..]), ("access", &r.access[..]), ("", broker)]
    {
        if !title.is_empty() && !findings.is_empty() {
            line(format!("\n{title}"));
        }
        for f in findings {
            line(format!("  {} {}: {}", if f.good { "yes" } else { "no " }, f.what, f.detail));
        }
    }
    out.truncate(out.trim_end().len());
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broker_that_listens_is_reached_and_one_that_does_not_is_explained() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("an address");
        assert!(broker(&format!("mqtt://{address}")).good);
        drop(listener);
        let dead = broker(&format!("mqtt://{address}"));
        assert!(!dead.good && dead.detail.contains("refused"), "{dead:?}");
    }

    #[test]
    fn an_empty_machine_is_explained() {
        let folder = tempfile::tempdir().expect("a folder");
        let config = Config::parse("[sampling]\ndisable = [\"load\"]\n").expect("a good one");
        let report = examine(&Root::new(folder.path()), &config, None);
        let text = readable(&report);
        let cgroup = report.sources.iter().find(|s| s.source == "cgroup").expect("it is listed");
        assert_eq!(cgroup.state, "absent");
        assert!(text.contains("/sys/fs/cgroup has neither") && text.contains("sampling.disable names it"), "{text}");
        assert!(report.access.iter().any(|f| f.what == "pressure (PSI)" && !f.good));
        assert!(serde_json::to_string(&report).expect("plain values").contains("\"state\":\"absent\""));
    }
}
