//! An agent on a host, as a real process, and what it and its kernel count.

use std::time::Instant;

use anyhow::{Context as _, Result, bail};

use super::center::{AGENT, Center};
use super::desk::Desk;
use crate::footprint::process as cost;
use crate::live::process::Process;

/// The thread that observes connections.
const OBSERVER: &str = "tacit-slow-link";
/// Gives a process the /sys of its own network namespace, and the machine's control groups in it. An installed helper for container
/// namespaces is hidden: to it, all hosts of the data centre would be containers of each. The host with a container has one of its own.
const OWN_SYS: &str = "set -e; mkdir -p \"$1\"; mount --rbind /sys/fs/cgroup \"$1\"; mount -t sysfs sysfs /sys; \
     mount --rbind \"$1\" /sys/fs/cgroup; [ ! -d /run/tacit ] || mount -t tmpfs tmpfs /run/tacit; shift; exec \"$@\"";

/// A running agent.
pub struct Node {
    /// Its host, and its name.
    pub host: String,
    process: Process,
    began: Mark,
}

/// Readings at one moment.
#[derive(Debug, Clone, Copy)]
struct Mark {
    at: Instant,
    all_s: f64,
    observer_s: f64,
}

/// What an agent used in a time, in percent of a core.
#[derive(Debug, Clone, Copy, Default, PartialEq, serde::Serialize)]
pub struct Cpu {
    /// All of it.
    pub all: f64,
    /// The thread that observes connections.
    pub observer: f64,
}

impl Node {
    /// Starts an agent; `program` is its binary.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(center: &Center, desk: &Desk, host: &str, program: &str) -> Result<Self> {
        let folder = center.folder().join(format!("agent-{host}"));
        std::fs::create_dir_all(&folder).context("cannot make a folder for an agent")?;
        let file = folder.join("agent.toml");
        let mut text = format!(
            "[node]\nid = \"{host}\"\n[publish]\nbroker = \"mqtt://{}\"\n[links]\nenabled = true\nreport = \"1min\"\n",
            desk.broker
        );
        if let Some(socket) = center.helper(host) {
            text.push_str(&format!("helper = \"{}\"\n", socket.display()));
        }
        std::fs::write(&file, text).context("cannot write an agent's configuration")?;
        let [keep, file, data] = ["keep", "agent.toml", "state"].map(|n| folder.join(n).to_string_lossy().into_owned());
        let words = ["unshare", "--mount", "sh", "-c", OWN_SYS, "sh", &keep, program, "run", "--config", &file];
        let process = center.start(host, AGENT, &[&words[..], &["--data", &data]].concat())?;
        let began = Mark { at: Instant::now(), all_s: 0.0, observer_s: 0.0 };
        Ok(Self { host: host.to_owned(), process, began })
    }

    /// Fails when it has ended.
    ///
    /// # Errors
    /// Why it ended.
    pub fn check(&mut self) -> Result<()> {
        if self.process.ended().is_some() {
            let host = &self.host;
            bail!(self.process.trouble().unwrap_or_else(|| format!("the agent of {host} stopped")));
        }
        Ok(())
    }

    /// Begins to measure.
    pub fn begin(&mut self) {
        self.began = self.mark();
    }

    /// What it used since [`Self::begin`].
    pub fn used(&self) -> Cpu {
        let (now, then) = (self.mark(), self.began);
        let percent = |s: f64| s / now.at.duration_since(then.at).as_secs_f64().max(1e-3) * 100.0;
        Cpu { all: percent(now.all_s - then.all_s), observer: percent(now.observer_s - then.observer_s) }
    }

    fn mark(&self) -> Mark {
        // By thread: the count of the whole process has steps of 10 ms.
        let threads = cost::threads(self.process.id());
        let observer_s = threads.get(OBSERVER).copied().unwrap_or(0.0);
        Mark { at: Instant::now(), all_s: threads.values().sum(), observer_s }
    }

    /// Segments that the kernel sent again in this host's namespace.
    ///
    /// # Errors
    /// When the agent is gone, or the kernel does not say.
    pub fn retransmits(&self) -> Result<u64> {
        let path = format!("/proc/{}/net/snmp", self.process.id());
        let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
        counter(&text, "Tcp:", "RetransSegs").with_context(|| format!("{path} has no RetransSegs"))
    }
}

/// A counter out of a table whose first line of a kind has the names and whose second has the values.
fn counter(table: &str, kind: &str, name: &str) -> Option<u64> {
    let mut lines = table.lines().filter(|line| line.starts_with(kind));
    let (names, values) = (lines.next()?, lines.next()?);
    let at = names.split_ascii_whitespace().position(|n| n == name)?;
    values.split_ascii_whitespace().nth(at)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_found_by_name() {
        let table = "Ip: Forwarding\nIp: 1\nTcp: RtoMin OutSegs RetransSegs\nTcp: 200 1000 23\n";
        assert_eq!(counter(table, "Tcp:", "RetransSegs"), Some(23));
        assert_eq!(counter(table, "Tcp:", "InErrs"), None);
        assert_eq!(counter("Tcp: x\n", "Tcp:", "x"), None);
    }
}
