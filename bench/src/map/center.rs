//! The data centre: hosts, and what is started in them.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use super::helper;
use super::part::{Counts, Shots};
use super::place::groups::Groups;
use super::place::net::{Net, ROUTER};
use crate::live::process::Process;
use crate::live::undo::Janitor;

/// Parts end by themselves after so long, whatever happens.
const LIFETIME_S: u64 = 3600;
/// Longest wait for a part that was told to end; its connections have their own patience.
const END: Duration = Duration::from_secs(20);
/// Longest wait for a server's port.
const LISTENS: Duration = Duration::from_secs(20);

/// A host with an agent, and its place in the network.
pub const HOSTS: [(&str, u8); 6] = [("front", 1), ("app1", 2), ("app2", 3), ("db", 4), ("cache", 5), ("old", 7)];
/// The outside: no agent.
pub const WORLD: (&str, u8) = ("world", 6);
/// A container on [`BOX_HOST`], and the name that its control group gives it.
pub const BOX: &str = "box";
/// Who has the container.
pub const BOX_HOST: &str = "app2";
/// The host that comes later with the address of `old`.
pub const NEW: &str = "new";

/// Units of hosts. Their groups are there before the agents, as on a machine that has been up for a while.
const UNITS: [(&str, &[&str]); 8] = [
    (ROUTER, &[AGENT]),
    ("front", &[AGENT, "nginx.service", "shop-web.service", "shop-probe.service", "shop-idle.service"]),
    (
        "app1",
        &[
            AGENT,
            "shop-app.service",
            "shop-cart.service",
            "shop-slow.service",
            "shop-probe.service",
            "shop-stock.service",
        ],
    ),
    ("app2", &[AGENT, "shop-app.service", "shop-cart.service", "shop-sync.service", "shop-watch.service", BOX_GROUP]),
    ("db", &[AGENT, "postgresql.service", "shop-backup.service"]),
    ("cache", &[AGENT, "redis-server.service", "delay-proxy.service"]),
    ("old", &[AGENT, "shop-archive.service"]),
    (NEW, &[AGENT, "shop-archive.service"]),
];
/// The agent's unit.
pub const AGENT: &str = "tacit-agent.service";
/// As LXC names the control group of a container `box`.
pub const BOX_GROUP: &str = "lxc.payload.box";

/// A server or client of ours at work.
#[derive(Debug)]
pub struct Worker {
    process: Process,
    report: PathBuf,
    what: String,
}

impl Worker {
    /// Tells it to end, waits for that, and gives what it counted.
    ///
    /// # Errors
    /// When it failed or does not end.
    pub fn end(mut self) -> Result<Counts> {
        std::fs::write(self.report.with_extension("stop"), "").context("cannot tell a part to end")?;
        let end = Instant::now() + END;
        while self.process.ended().is_none() && Instant::now() < end {
            sleep(Duration::from_millis(20));
        }
        if let Some(trouble) = self.process.trouble() {
            bail!(trouble);
        }
        let text = std::fs::read_to_string(&self.report).with_context(|| format!("{} did not end", self.what))?;
        serde_json::from_str(&text).with_context(|| format!("{} wrote no counts", self.what))
    }

    /// Whether it has ended by itself.
    pub fn ended(&mut self) -> bool {
        self.process.ended().is_some()
    }

    /// Why it ended, when it failed.
    pub fn trouble(&mut self) -> Option<String> {
        self.process.trouble()
    }
}

/// The data centre. Groups end all processes; the network goes after them.
pub struct Center {
    /// The container's first process, and the socket of the helper that looks into its namespace.
    container: Option<(Process, PathBuf)>,
    groups: Groups,
    /// Namespaces and addresses.
    pub net: Net,
    hosts: BTreeSet<String>,
    folder: PathBuf,
    own: PathBuf,
}

impl Center {
    /// Makes the hosts; with `only`, just these and the router.
    ///
    /// # Errors
    /// Without root, control groups of version 2, `ip`, `nft` or `nsenter`.
    pub fn new(only: &[String], folder: &Path, janitor: &Arc<Janitor>) -> Result<Self> {
        let known: Vec<&str> = HOSTS.iter().map(|(h, _)| *h).chain([WORLD.0, BOX]).collect();
        if let Some(wrong) = only.iter().find(|h| !known.contains(&h.as_str())) {
            bail!("--hosts {wrong}: there are {}", known.join(", "));
        }
        let wanted = |host: &str| only.is_empty() || only.iter().any(|h| h == host);
        // Servers that are not root's have folders of their own below.
        std::fs::set_permissions(folder, PermissionsExt::from_mode(0o711)).context("cannot open the run's folder")?;
        std::fs::create_dir_all(folder.join("bin")).context("cannot make a folder for programs")?;
        let mut net = Net::new(janitor)?;
        let groups = Groups::new(janitor)?;
        let mut hosts = BTreeSet::from([ROUTER.to_owned()]);
        for (host, place) in HOSTS.into_iter().chain([WORLD]).filter(|(h, _)| wanted(h)) {
            net.add(host, place)?;
            hosts.insert(host.to_owned());
        }
        if wanted(BOX) && hosts.contains(BOX_HOST) {
            net.add_inside(BOX, BOX_HOST)?;
            hosts.insert(BOX.to_owned());
        }
        for (host, units) in UNITS {
            for unit in units {
                groups.make(host, unit)?;
            }
        }
        groups.make(WORLD.0, "")?;
        let own = std::env::current_exe().context("cannot find this program's own path")?;
        let mut center = Self { container: None, groups, net, hosts, folder: folder.to_owned(), own };
        if center.has(&[BOX]) {
            let first = center.start(BOX, BOX_GROUP, &["sleep", &LIFETIME_S.to_string()])?;
            let socket = helper::start(folder, first.id())?;
            center.container = Some((first, socket));
        }
        Ok(center)
    }

    /// Where the agent of a host finds the helper for the namespaces of its containers, if it has any.
    pub fn helper(&self, host: &str) -> Option<&Path> {
        self.container.as_ref().filter(|_| host == BOX_HOST).map(|(_, socket)| socket.as_path())
    }

    /// Whether all of these hosts are there.
    pub fn has(&self, hosts: &[&str]) -> bool {
        hosts.iter().all(|h| self.hosts.contains(*h))
    }

    /// Hosts with an agent.
    pub fn watched(&self) -> Vec<String> {
        self.hosts.iter().filter(|h| *h != WORLD.0 && *h != BOX).cloned().collect()
    }

    /// The run's folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Takes a host away.
    pub fn remove(&mut self, host: &str) {
        self.hosts.remove(host);
        self.net.remove(host);
    }

    /// Adds a host at the place of one that is gone.
    ///
    /// # Errors
    /// Without root or `ip`.
    pub fn add(&mut self, host: &str, place: u8) -> Result<()> {
        self.net.add(host, place)?;
        self.hosts.insert(host.to_owned());
        Ok(())
    }

    /// A program in a unit of a host. It dies with the bench.
    pub fn command(&self, host: &str, unit: &str, words: &[&str]) -> Command {
        // The container's processes are in a group of the host that has it.
        let of = if host == BOX { BOX_HOST } else { host };
        let mut command = Command::new(&self.own);
        command.args(["inject", "run", "--cgroup"]).arg(self.groups.path(of, unit)).args(["--", "nsenter"]);
        // Not `ip netns exec`: that one mounts another /sys, without the control groups.
        command.arg(format!("--net={}", self.net.entrance(host).display())).arg("--").args(words);
        command.current_dir(&self.folder);
        command
    }

    /// Starts a program that is not ours.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(&self, host: &str, unit: &str, words: &[&str]) -> Result<Process> {
        let name = if unit.is_empty() { "program" } else { unit };
        let what = format!("{host}-{}-{}", stem(name), fastrand::u32(..));
        Process::start(self.command(host, unit, words), &what, &self.folder.join(format!("{what}.log")))
    }

    /// Starts one of our parts under a name of its own.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn part(&self, host: &str, unit: &str, name: &str, words: &[&str]) -> Result<Worker> {
        let program = self.program(name)?;
        let what = format!("{host}-{name}-{:08x}", fastrand::u32(..));
        let report = self.folder.join(format!("{what}.json"));
        let (program, to) = (program.to_string_lossy().into_owned(), report.to_string_lossy().into_owned());
        let lifetime = LIFETIME_S.to_string();
        let common = ["--name", name, "--report", &to, "--seconds", &lifetime];
        let words = [&[program.as_str(), "map-part"][..], words, &common].concat();
        let process =
            Process::start(self.command(host, unit, &words), &what, &self.folder.join(format!("{what}.log")))?;
        Ok(Worker { process, report, what })
    }

    /// Starts short connections.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn short(&self, host: &str, unit: &str, name: &str, shots: &Shots) -> Result<Worker> {
        let [to, per_s, most, patience] =
            [shots.to.to_string(), shots.per_s.to_string(), shots.most.to_string(), shots.patience_ms.to_string()];
        let mut words = vec!["short", "--to", &to, "--talk", shots.talk.word(), "--per-s", &per_s, "--most", &most];
        words.extend(["--patience-ms", &patience]);
        if shots.blocking {
            words.push("--blocking");
        }
        self.part(host, unit, name, &words)
    }

    /// Starts a server of ours and waits until it listens.
    ///
    /// # Errors
    /// When it does not.
    pub fn serve(&self, host: &str, unit: &str, name: &str, port: u16) -> Result<Worker> {
        let listen = self.net.socket(host, port)?;
        let mut worker = self.part(host, unit, name, &["serve", "--listen", &listen.to_string()])?;
        self.wait_for(host, listen, &mut worker.process)?;
        Ok(worker)
    }

    /// Starts a proxy of ours and waits until it listens.
    ///
    /// # Errors
    /// When it does not.
    pub fn proxy(
        &self,
        host: &str,
        unit: &str,
        name: &str,
        port: u16,
        to: SocketAddr,
        delay_ms: u64,
    ) -> Result<Worker> {
        let listen = self.net.socket(host, port)?;
        let [at, to, delay] = [listen.to_string(), to.to_string(), delay_ms.to_string()];
        let words = ["proxy", "--listen", &at, "--to", &to, "--delay-ms", &delay];
        let mut worker = self.part(host, unit, name, &words)?;
        self.wait_for(host, listen, &mut worker.process)?;
        Ok(worker)
    }

    /// Waits until a port of a host is listened on, by its tables: a connection would be counted.
    ///
    /// # Errors
    /// When it is not in time, or the process ended.
    pub fn wait_for(&self, host: &str, at: SocketAddr, process: &mut Process) -> Result<()> {
        let end = Instant::now() + LISTENS;
        while Instant::now() < end {
            if process.ended().is_some() {
                bail!(process.trouble().unwrap_or_else(|| format!("what should listen on {at} ended")));
            }
            let table = std::fs::read_to_string(format!("/proc/{}/net/tcp", process.id())).unwrap_or_default();
            if listens(&table, at) {
                return Ok(());
            }
            sleep(Duration::from_millis(20));
        }
        bail!("nothing listens on {at} of {host} after {} s", LISTENS.as_secs())
    }

    /// This program under another name: the name of an executable is an owner too.
    fn program(&self, name: &str) -> Result<PathBuf> {
        let path = self.folder.join("bin").join(name);
        if !path.exists() && std::fs::hard_link(&self.own, &path).is_err() {
            std::fs::copy(&self.own, &path).with_context(|| format!("cannot make {}", path.display()))?;
        }
        Ok(path)
    }
}

fn stem(unit: &str) -> &str {
    unit.split('.').next().unwrap_or(unit)
}

/// Whether a table of `/proc/net/tcp` has a listener (state 0A) on this very address: the machine's own tables, which the process
/// sees before it is in its namespace, have others.
fn listens(table: &str, at: SocketAddr) -> bool {
    let SocketAddr::V4(at) = at else { return false };
    let wanted = format!("{:08X}:{:04X}", u32::from_ne_bytes(at.ip().octets()), at.port());
    table.lines().any(|line| {
        let mut words = line.split_ascii_whitespace().skip(1);
        words.next() == Some(wanted.as_str()) && words.nth(1) == Some("0A")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listener_is_found_in_the_tables() {
        let table = "  sl  local_address rem_address   st tx_queue\n   0: 0204A8C0:1F90 00000000:0000 0A 00000000:00000000\n   \
                     1: 0204A8C0:0050 0104A8C0:1F91 01 00000000:00000000\n";
        let at = |text: &str| listens(table, text.parse().unwrap());
        assert!(at("192.168.4.2:8080") && !at("192.168.4.2:80") && !at("192.168.4.1:8080"));
    }
}
