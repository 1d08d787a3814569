//! A Debian booted by systemd-nspawn, on a throw-away layer over a root folder: the agent and the services of the service
//! faults run in it. It shares the machine's network, so that the agent reaches the collector on loopback.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use crate::faults::process::Process;
use crate::faults::undo::run;

/// Longest wait for a booted system.
const BOOT: Duration = Duration::from_secs(120);
/// Where the bench's folder is inside.
pub const INSIDE: &str = "/tacit";
/// What the root needs.
const PACKAGES: &str = "systemd,systemd-sysv,dbus,iproute2,procps";

/// The running system.
#[derive(Debug)]
pub struct Booted {
    leader: u32,
    /// A folder that is [`INSIDE`] inside.
    pub shared: PathBuf,
    _container: Process,
}

impl Booted {
    /// Boots `root`, which is made by mmdebstrap when it is not there. `programs` appear in `/tacit/bin`.
    ///
    /// # Errors
    /// Without root, systemd-nspawn or a root folder, or when it does not boot in time.
    pub fn new(own: &Path, folder: &Path, root: &Path, programs: &[&Path]) -> Result<Self> {
        run(&["systemd-nspawn", "--version"]).context("Debian has it in systemd-container")?;
        make_root(root)?;
        let shared = folder.join("shared");
        std::fs::create_dir_all(shared.join("bin")).context("cannot make the shared folder")?;
        let mut command = Command::new(own);
        command.args(["inject", "run", "--", "systemd-nspawn", "--quiet", "--boot", "--register=no", "--keep-unit"]);
        command.args(["--volatile=overlay", "--console=pipe", "--link-journal=no", "--machine=tacit-faults"]);
        command.arg(format!("--directory={}", root.display()));
        command.arg(format!("--bind={}:{INSIDE}", shared.display()));
        for program in programs {
            let name = program.file_name().context("a program has a name")?;
            let (path, name) = (program.display(), name.to_string_lossy());
            std::fs::write(shared.join("bin").join(&*name), "").context("cannot make a mount point")?;
            command.arg(format!("--bind-ro={path}:{INSIDE}/bin/{name}"));
        }
        let mut container = Process::start(command, "systemd-nspawn", &folder.join("nspawn.log"))?;
        let leader = wait_for_boot(&mut container)?;
        Ok(Self { leader, shared, _container: container })
    }

    /// Runs a program inside and gives what it printed.
    ///
    /// # Errors
    /// When it fails.
    pub fn run(&self, words: &[&str]) -> Result<String> {
        run_in(self.leader, words)
    }

    /// The words that run a program inside.
    pub fn words(&self, words: &[&str]) -> Vec<String> {
        enter(self.leader).into_iter().chain(words.iter().map(ToString::to_string)).collect()
    }

    /// Writes a unit file, to be started by its name.
    ///
    /// # Errors
    /// When it cannot be written or linked.
    pub fn unit(&self, name: &str, text: &str) -> Result<()> {
        std::fs::write(self.shared.join(name), text).with_context(|| format!("cannot write {name}"))?;
        self.run(&["systemctl", "link", &format!("{INSIDE}/{name}")]).map(drop)
    }
}

fn enter(leader: u32) -> [String; 5] {
    ["nsenter".into(), "--all".into(), "--target".into(), leader.to_string(), "--".into()]
}

fn run_in(leader: u32, words: &[&str]) -> Result<String> {
    let enter = enter(leader);
    let enter: Vec<&str> = enter.iter().map(String::as_str).collect();
    run(&[&enter, words].concat())
}

fn wait_for_boot(container: &mut Process) -> Result<u32> {
    let end = Instant::now() + BOOT;
    let mut last = "its first process was not found".to_owned();
    while Instant::now() < end {
        if let Some(trouble) = container.trouble() {
            bail!("{trouble}");
        }
        if let Some(leader) = first_child(container.id()) {
            match run_in(leader, &["systemctl", "is-system-running"]) {
                Ok(_) => return Ok(leader),
                // A unit that fails in a container does not matter here; `running` is not asked for.
                Err(error) if error.to_string().contains("exit status: 1") && is_degraded(leader) => return Ok(leader),
                Err(error) => last = error.to_string(),
            }
        }
        sleep(Duration::from_millis(500));
    }
    bail!("it did not boot within {} s: {last}", BOOT.as_secs())
}

fn is_degraded(leader: u32) -> bool {
    let words = ["sh", "-c", "systemctl is-system-running | grep -q degraded"];
    run_in(leader, &words).is_ok()
}

/// The init of the container is nspawn's child.
fn first_child(parent: u32) -> Option<u32> {
    let text = std::fs::read_to_string(format!("/proc/{parent}/task/{parent}/children")).ok()?;
    text.split_ascii_whitespace().next()?.parse().ok()
}

fn make_root(root: &Path) -> Result<()> {
    if root.join("usr/lib/systemd/systemd").exists() || root.join("lib/systemd/systemd").exists() {
        return Ok(());
    }
    if root.exists() {
        bail!("{} is there, but holds no systemd: remove it, or name another with --root", root.display());
    }
    let parent = root.parent().context("--root needs a parent folder")?;
    std::fs::create_dir_all(parent).with_context(|| format!("cannot make {}", parent.display()))?;
    eprintln!("making a Debian in {} (once)", root.display());
    let path = root.to_string_lossy();
    run(&["mmdebstrap", "--quiet", "--variant=minbase", &format!("--include={PACKAGES}"), "bookworm", &path])
        .context("Debian has it in mmdebstrap; or name a root folder with --root")
        .inspect_err(|_| {
            // Half of a system would be taken for a whole one.
            let _ = std::fs::remove_dir_all(root);
        })
        .map(drop)
}
