//! A real agent on each host, which sees that host and not the whole machine, as far as a kernel that all of them share lets it.

use std::path::Path;

use anyhow::{Context as _, Result, bail};

use super::part::METRICS;
use super::place::ground::Ground;
use super::place::hosts::{AGENT, Host, Role};
use crate::live::process::Process;

/// What is the same on all hosts, because they have one kernel, one processor and one disk; an agent that looked at it would see every
/// fault of its neighbours.
const SHARED: [&str; 8] = ["cpu", "load", "memory", "vm", "disk", "files", "processes", "hardware"];
/// Watchers that look at the machine.
const WATCHERS: &str = "\"kernel-log\", \"units\", \"journal\", \"packages\"";

/// Gives a process its own host's control groups as the machine's, its pressure, and the /sys of its own network namespace. In the folder
/// `$1` there is a link `from/TREE` to each group that is this host, and an empty folder of each name. An installed helper for container
/// namespaces is hidden: to it, all hosts would be containers of each.
const OWN_VIEW: &str = r#"set -e
cd "$1"
for from in from/*; do mount --bind "$from" "${from#from/}"; done
top="$1"; [ ! -e whole ] || top="$1/whole"
groups="$top"; [ ! -e unified ] || groups="$1/unified"
for what in cpu memory io; do
  [ ! -e "$groups/$what.pressure" ] || mount --bind "$groups/$what.pressure" "/proc/pressure/$what"
done
mount -t sysfs sysfs /sys
mount --rbind "$top" /sys/fs/cgroup
[ ! -d /run/tacit ] || mount -t tmpfs tmpfs /run/tacit
shift
exec "$@""#;

/// A running agent.
#[derive(Debug)]
pub struct Agent {
    host: &'static Host,
    process: Process,
}

/// How agents are set up.
#[derive(Debug, Clone, Copy)]
pub struct Setup<'a> {
    /// The agent's program.
    pub program: &'a str,
    /// Where it publishes.
    pub broker: std::net::SocketAddr,
    /// Whether its models raise anomalies.
    pub models: bool,
    /// Where it keeps its state.
    pub state: &'a Path,
}

impl Agent {
    /// Starts the agent of a host.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(ground: &Ground, host: &'static Host, setup: &Setup<'_>) -> Result<Self> {
        let folder = ground.folder.join(format!("agent-{}", host.name));
        let file = folder.join("agent.toml");
        let trees = folder.join("trees");
        view(ground, host.name, &trees)?;
        std::fs::write(&file, config(ground, host, setup)?).context("cannot write an agent's configuration")?;
        let state = setup.state.join(host.name);
        let [trees, file, state] = [&trees, &file, &state].map(|path| path.to_string_lossy().into_owned());
        let words = ["unshare", "--mount", "sh", "-c", OWN_VIEW, "sh", &trees, setup.program, "run", "--config", &file];
        // What an agent costs is measured elsewhere; here it shall not stop with its host.
        let process = ground.start_unlimited(host.name, AGENT, &[&words[..], &["--data", &state]].concat())?;
        Ok(Self { host, process })
    }

    /// Fails when it has ended.
    ///
    /// # Errors
    /// Why it ended.
    pub fn check(&mut self) -> Result<()> {
        if self.process.ended().is_some() {
            let name = self.host.name;
            bail!(self.process.trouble().unwrap_or_else(|| format!("the agent of {name} stopped")));
        }
        Ok(())
    }

    /// Its node.
    pub fn name(&self) -> &'static str {
        self.host.name
    }
}

/// Makes the folder from which an agent's view is put together.
fn view(ground: &Ground, host: &str, trees: &Path) -> Result<()> {
    let from = trees.join("from");
    std::fs::create_dir_all(&from).context("cannot make a folder for an agent")?;
    for (name, group) in ground.groups().views(host) {
        std::fs::create_dir_all(trees.join(name)).context("cannot make a mount point")?;
        let link = from.join(name);
        if !link.exists() {
            std::os::unix::fs::symlink(&group, &link).context("cannot make a link")?;
        }
    }
    Ok(())
}

/// As one would set it up for such a host: a probe and the figures of its service, links each minute.
fn config(ground: &Ground, host: &Host, setup: &Setup<'_>) -> Result<String> {
    let mut disabled: Vec<&str> = SHARED.to_vec();
    if !ground.groups().has_pressure(host.name) {
        disabled.push("pressure");
    }
    let has_disk = host.role == Role::Cache && ground.disk().is_ok();
    if !has_disk {
        disabled.push("filesystem");
    }
    let mounts = match ground.disk() {
        Ok(disk) if has_disk => others(&std::fs::read_to_string("/proc/self/mountinfo")?, &disk.mount),
        _ => Vec::new(),
    };
    let listen = ground.net.socket(host.name, host.port())?;
    let scheme = if host.speaks_http(&ground.programs) { "http" } else { "tcp" };
    let budget = if setup.models { "1/day" } else { "off" };
    let mut text = format!(
        "[node]\nid = {:?}\n[publish]\nbroker = \"mqtt://{}\"\n[links]\nenabled = true\nreport = \"1min\"\n\
         [detect]\nalarm_budget = \"{budget}\"\n\
         [sampling]\ndisable = {disabled:?}\nignore_mounts = {mounts:?}\n[context]\ndisable = [{WATCHERS}]\n\
         [[probe]]\nname = {:?}\ntarget = \"{scheme}://{listen}\"\ninterval = \"5s\"\ntimeout = \"500ms\"\n",
        host.name, setup.broker, host.name
    );
    if host.is_ours(&ground.programs) {
        let unit = host.unit(&ground.programs);
        let job = unit.split('.').next().unwrap_or(unit);
        text.push_str(&format!(
            "[[scrape]]\njob = {job:?}\nurl = \"http://127.0.0.1:{METRICS}/metrics\"\ninterval = \"2s\"\ntimeout = \"1s\"\n"
        ));
    }
    Ok(text)
}

/// Mount points of a table of mounts with which `mount` does not begin: an agent leaves out what begins with one.
fn others(table: &str, mount: &Path) -> Vec<String> {
    let mount = mount.to_string_lossy();
    let points = table.lines().filter_map(|line| line.split(' ').nth(4));
    let others = points.filter(|point| !point.contains('\\') && !mount.starts_with(*point));
    let mut others: Vec<String> = others.map(ToOwned::to_owned).collect();
    others.sort_unstable();
    others.dedup();
    others
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_mounts_beside_the_disk_are_left_out() {
        let line = |point: &str| format!("27 1 8:1 / {point} rw,relatime - ext4 /dev/vda rw\n");
        let table: String =
            ["/", "/tmp", "/tmp/x/scratch", "/home", "/tmp/x/other", "/a\\040b", "/home"].map(line).concat();
        assert_eq!(others(&table, Path::new("/tmp/x/scratch")), ["/home", "/tmp/x/other"]);
    }
}
