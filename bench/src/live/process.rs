//! Processes the bench starts: each in a group of its own, ended with it, and with words when it failed.

use std::fs::File;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use rustix::process::{Pid, Signal, kill_process_group};

/// How long a process may take to end before it is killed.
const GRACE: Duration = Duration::from_secs(5);

/// A running process with all its children.
#[derive(Debug)]
pub struct Process {
    child: Child,
    what: String,
    log: PathBuf,
    ended: Option<ExitStatus>,
}

impl Process {
    /// Starts it; what it prints goes to `log`.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(mut command: Command, what: &str, log: &Path) -> Result<Self> {
        let file = File::create(log).with_context(|| format!("cannot make {}", log.display()))?;
        let copy = file.try_clone().context("cannot share a log file")?;
        command.stdin(Stdio::null()).stdout(file).stderr(copy).env("RUST_BACKTRACE", "0").process_group(0);
        let child = command.spawn().with_context(|| format!("cannot start {what}"))?;
        Ok(Self { child, what: what.to_owned(), log: log.to_owned(), ended: None })
    }

    /// Its id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Its end, when it has ended.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.ended = self.ended.or_else(|| self.child.try_wait().ok().flatten());
        self.ended
    }

    /// Why it ended too early, if it did: what it printed last.
    pub fn trouble(&mut self) -> Option<String> {
        let status = self.ended().filter(|s| !s.success())?;
        let text = std::fs::read_to_string(&self.log).unwrap_or_default();
        let mut last: Vec<&str> = text.lines().rev().filter(|l| !l.trim().is_empty()).take(3).collect();
        last.reverse();
        Some(format!("{} ended by itself ({status}): {}", self.what, last.join(" / ")))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let Some(group) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw) else { return };
        if self.ended().is_none() {
            // It may end between the question and the signal.
            let _ = kill_process_group(group, Signal::TERM);
            let end = Instant::now() + GRACE;
            while self.ended().is_none() && Instant::now() < end {
                sleep(Duration::from_millis(20));
            }
        }
        // Children that outlived their parent are in its group.
        let _ = kill_process_group(group, Signal::KILL);
        let _ = self.child.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_that_fails_says_why_and_one_that_runs_is_ended() {
        let folder = tempfile::tempdir().unwrap();
        let mut shell = Command::new("sh");
        shell.args(["-c", "echo first; echo no such device >&2; exit 2"]);
        let mut failing = Process::start(shell, "the shell", &folder.path().join("log")).unwrap();
        let end = Instant::now() + Duration::from_secs(20);
        while failing.ended().is_none() && Instant::now() < end {
            sleep(Duration::from_millis(10));
        }
        let words = failing.trouble().unwrap();
        assert!(words.contains("the shell") && words.contains("no such device"), "{words}");

        let mut sleeper = Command::new("sh");
        sleeper.args(["-c", "sleep 600 & sleep 600"]);
        let sleeper = Process::start(sleeper, "sleep", &folder.path().join("log2")).unwrap();
        let group = Pid::from_raw(i32::try_from(sleeper.id()).unwrap()).unwrap();
        drop(sleeper);
        let gone = || rustix::process::test_kill_process_group(group).is_err();
        while !gone() && Instant::now() < end {
            sleep(Duration::from_millis(10));
        }
        assert!(gone(), "the child of the shell is still there");
    }
}
