//! The hosts, and how anything is started on them.

use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, bail};

use super::groups::Groups;
use super::hosts::{AGENT, HOSTS, JOB, Programs, Role, WORLD};
use crate::faults::place::scratch::Scratch;
use crate::incidents::part::Switch;
use crate::live::process::Process;
use crate::live::undo::{Janitor, Promise, Undo};
use crate::map::place::net::Net;

/// Parts end by themselves after so long, whatever happens.
pub const LIFETIME_S: u64 = 12 * 3600;
/// Longest wait for a server's port.
const LISTENS: Duration = Duration::from_secs(20);
/// Memory that the cache's unit may have.
const CACHE_BYTES: u64 = 768 << 20;

/// Everything that stands. Fields are dropped in their order: groups end all processes, the disk and the network go after them.
pub struct Ground {
    groups: Groups,
    disk: Result<Scratch, String>,
    /// Namespaces and addresses.
    pub net: Net,
    /// Debian's programs that are used.
    pub programs: Programs,
    /// The run's folder.
    pub folder: PathBuf,
    /// This program.
    pub own: PathBuf,
    /// Who undoes.
    pub janitor: Arc<Janitor>,
    /// Why hosts have all the processor time of this machine, when that is so.
    unlimited: Option<String>,
}

impl Ground {
    /// Makes the hosts.
    ///
    /// # Errors
    /// Without root, control groups of version 2, `ip`, `nft` or `nsenter`.
    pub fn new(programs: Programs, folder: &Path, janitor: &Arc<Janitor>) -> Result<Self> {
        let own = std::env::current_exe().context("cannot find this program's own path")?;
        let folder = folder.canonicalize().context("cannot find the run's folder")?;
        // Servers that are not root's have folders of their own below.
        std::fs::set_permissions(&folder, PermissionsExt::from_mode(0o711)).context("cannot open the run's folder")?;
        let mut net = Net::new(janitor)?;
        let groups = Groups::new(janitor)?;
        let mut unlimited = None;
        for host in &HOSTS {
            net.add(host.name, host.place)?;
            let unit = host.unit(&programs);
            groups.add(host.name, &[AGENT, unit, JOB])?;
            unlimited = unlimited.or(groups.limit_cpu(host.name, host.cores).err().map(|e| format!("{e:#}")));
            if host.role == Role::Cache {
                // Without the limit its share of it is not known; its memory is.
                let _ = groups.limit_memory(host.name, unit, CACHE_BYTES);
            }
        }
        net.add(WORLD.0, WORLD.1)?;
        groups.add(WORLD.0, &[WORLD.2])?;
        let disk = Scratch::new(&folder, janitor).map_err(|e| format!("{e:#}"));
        Ok(Self { groups, disk, net, programs, folder, own, janitor: Arc::clone(janitor), unlimited })
    }

    /// The control groups.
    pub fn groups(&self) -> &Groups {
        &self.groups
    }

    /// Fails when hosts have all the processor time of this machine.
    ///
    /// # Errors
    /// Why they do.
    pub fn has_limits(&self) -> Result<()> {
        self.unlimited.as_ref().map_or(Ok(()), |why| Err(anyhow!("{why}")))
    }

    /// The small disk.
    ///
    /// # Errors
    /// Why there is none.
    pub fn disk(&self) -> Result<&Scratch> {
        self.disk.as_ref().map_err(|why| anyhow!("{why}"))
    }

    /// A program in a unit of a host; it dies with the bench. `limited` says whether the host's limit holds for it.
    fn command(&self, host: &str, unit: &str, limited: bool, words: &[&str]) -> Command {
        let mut command = Command::new(&self.own);
        for (n, group) in self.groups.of(host, unit, limited).iter().enumerate() {
            if n > 0 {
                command.arg(&self.own);
            }
            command.args(["inject", "run", "--cgroup"]).arg(group).arg("--");
        }
        // Not `ip netns exec`: that one mounts another /sys, without the control groups.
        command.arg("nsenter").arg(format!("--net={}", self.net.entrance(host).display())).arg("--").args(words);
        command.current_dir(&self.folder);
        command
    }

    fn launch(&self, host: &str, unit: &str, limited: bool, words: &[&str]) -> Result<Process> {
        let stem = unit.split('.').next().unwrap_or(unit);
        let what = format!("{host}-{stem}-{:08x}", fastrand::u32(..));
        let log = self.folder.join(format!("{what}.log"));
        Process::start(self.command(host, unit, limited, words), &what, &log)
    }

    /// Starts a program that is held to the host's limit.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(&self, host: &str, unit: &str, words: &[&str]) -> Result<Process> {
        self.launch(host, unit, true, words)
    }

    /// Starts a program that the host's limit does not hold for.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start_unlimited(&self, host: &str, unit: &str, words: &[&str]) -> Result<Process> {
        self.launch(host, unit, false, words)
    }

    /// Starts this program under one of its commands (`incident-part`, `map-part`, `inject`).
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn part(&self, host: &str, unit: &str, words: &[&str]) -> Result<Process> {
        let own = self.own.to_string_lossy().into_owned();
        self.start(host, unit, &[&[own.as_str()], words].concat())
    }

    /// Waits until somebody listens; the machine itself reaches every host.
    ///
    /// # Errors
    /// When it is not in time, or the process ended.
    pub fn wait_for(&self, at: SocketAddr, process: &mut Process) -> Result<()> {
        let end = Instant::now() + LISTENS;
        while Instant::now() < end {
            if process.ended().is_some() {
                bail!(process.trouble().unwrap_or_else(|| format!("what should listen on {at} ended")));
            }
            if TcpStream::connect_timeout(&at, Duration::from_millis(500)).is_ok() {
                return Ok(());
            }
            sleep(Duration::from_millis(50));
        }
        bail!("nothing listens on {at} after {} s", LISTENS.as_secs())
    }

    /// The files that switch faults of a host's service, without their endings.
    pub fn switches(&self, host: &str) -> PathBuf {
        self.folder.join(format!("switch-{host}"))
    }

    /// Switches a fault of a host's service on, until the promise ends.
    ///
    /// # Errors
    /// When the file cannot be made.
    pub fn turn_on(&self, host: &str, switch: Switch) -> Result<Promise> {
        let file = self.switches(host).with_extension(switch.word());
        let path = file.to_string_lossy();
        let promise = self.janitor.promise(Undo::run(&["rm", "-f", &path]))?;
        std::fs::write(&file, "").with_context(|| format!("cannot make {path}"))?;
        Ok(promise)
    }

    /// Has the kernel of a host lose packets that come in, until the promise ends; `which` is in nft's words.
    ///
    /// # Errors
    /// Without `nft` or the modules it asks for.
    pub fn lose(&self, host: &str, which: &str) -> Result<Promise> {
        let enter = format!("--net={}", self.net.entrance(host).display());
        let undo = ["nsenter", enter.as_str(), "--", "nft", "delete", "table", "ip", "loss"];
        let promise = self.janitor.promise(Undo::run(&undo))?;
        let chain = format!("chain in {{ type filter hook input priority 0; policy accept; {which} drop; }};");
        if let Err(error) = self.net.nft(host, &format!("table ip loss {{ {chain} }}")) {
            promise.forget();
            return Err(error);
        }
        Ok(promise)
    }
}
