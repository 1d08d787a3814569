//! What was done to the machine is undone, whatever becomes of the bench.
//!
//! Each change has a [`Promise`] that undoes it when it is dropped. The same promises are known to the *janitor*, a process
//! of its own that does nothing but wait: when the bench dies without having kept them (even by SIGKILL), the janitor's
//! standard input ends, and it keeps them, newest first.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use serde::{Deserialize, Serialize};

/// A folder cannot go before the last process that is in it, or writes to it, has.
const FOLDER_PATIENCE: Duration = Duration::from_secs(3);

/// One step back.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Undo {
    /// Runs a program.
    Run(Vec<String>),
    /// Removes an empty folder.
    RemoveFolder(PathBuf),
    /// Writes a file of the kernel.
    Write {
        /// The file.
        path: PathBuf,
        /// What it shall hold.
        text: String,
    },
    /// Removes a folder of ours with all that is in it.
    Clear(PathBuf),
    /// Ends the processes of a control group of version 2 and of those below it, and removes them all.
    Groups(PathBuf),
}

impl Undo {
    /// A program with arguments.
    pub fn run(words: &[&str]) -> Self {
        Self::Run(words.iter().map(ToString::to_string).collect())
    }

    /// Does it.
    ///
    /// # Errors
    /// When the machine refuses.
    pub fn carry_out(&self) -> Result<()> {
        match self {
            Self::Run(words) => {
                let words: Vec<&str> = words.iter().map(String::as_str).collect();
                run(&words).map(drop)
            }
            Self::Write { path, text } => {
                std::fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
            }
            Self::RemoveFolder(path) => patiently(path, |path| std::fs::remove_dir(path)),
            Self::Clear(path) => patiently(path, |path| std::fs::remove_dir_all(path)),
            Self::Groups(path) => {
                // Kernels before 5.14 have no such file; there, processes of ours end with their parent.
                let _ = std::fs::write(path.join("cgroup.kill"), "1");
                patiently(path, remove_groups)
            }
        }
    }
}

/// Removes a folder, as soon as those who are in it have ended.
fn patiently(path: &Path, remove: impl Fn(&Path) -> std::io::Result<()>) -> Result<()> {
    let end = Instant::now() + FOLDER_PATIENCE;
    loop {
        match remove(path) {
            Ok(()) => return Ok(()),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            Err(e) if Instant::now() > end => {
                return Err(e).with_context(|| format!("cannot remove {}", path.display()));
            }
            Err(_) => sleep(Duration::from_millis(50)),
        }
    }
}

/// The files of a control group go with its folder; groups below it have to go before.
fn remove_groups(path: &Path) -> std::io::Result<()> {
    for entry in std::fs::read_dir(path)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            remove_groups(&entry.path())?;
        }
    }
    std::fs::remove_dir(path)
}

/// Runs a program to its end and gives what it printed; the error has what it complained about.
///
/// # Errors
/// When it cannot be started or fails.
pub fn run(words: &[&str]) -> Result<String> {
    let (program, arguments) = words.split_first().context("a program has a name")?;
    let output = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("cannot start {program}: is its package installed?"))?;
    if !output.status.success() {
        bail!("`{}`: {}: {}", words.join(" "), output.status, String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// A line of what the janitor reads.
#[derive(Debug, Serialize, Deserialize)]
struct Line {
    id: u64,
    /// What to do; absent when it was done.
    undo: Option<Undo>,
}

/// The bench's side of the janitor.
#[derive(Debug)]
pub struct Janitor {
    child: Child,
    pipe: Option<Mutex<ChildStdin>>,
    next: AtomicU64,
}

impl Janitor {
    /// Starts it; `own` is this program.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(own: &Path) -> Result<Arc<Self>> {
        let mut command = Command::new(own);
        command.args(["inject", "janitor"]).stdin(Stdio::piped()).stdout(Stdio::null());
        let mut child = command.spawn().context("cannot start the process that cleans up")?;
        let pipe = child.stdin.take().map(Mutex::new);
        Ok(Arc::new(Self { child, pipe, next: AtomicU64::new(0) }))
    }

    /// Promises to undo something that is about to be done.
    ///
    /// # Errors
    /// When the janitor is gone: then nothing may be changed.
    pub fn promise(self: &Arc<Self>, undo: Undo) -> Result<Promise> {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        self.tell(&Line { id, undo: Some(undo.clone()) })?;
        Ok(Promise { id, undo: Some(undo), janitor: Arc::clone(self) })
    }

    /// Runs a program, and promises first to run another that undoes what it does.
    ///
    /// # Errors
    /// When it fails: then there is nothing to undo.
    pub fn make(self: &Arc<Self>, words: &[&str], undo: &[&str]) -> Result<Promise> {
        let promise = self.promise(Undo::run(undo))?;
        match run(words) {
            Ok(_) => Ok(promise),
            Err(error) => {
                promise.forget();
                Err(error)
            }
        }
    }

    fn tell(&self, line: &Line) -> Result<()> {
        let mut text = serde_json::to_string(line).context("a promise is plain text")?;
        text.push('\n');
        let pipe = self.pipe.as_ref().context("the process that cleans up has no pipe")?;
        let mut pipe = pipe.lock().unwrap_or_else(PoisonError::into_inner);
        pipe.write_all(text.as_bytes()).context("the process that cleans up is gone; nothing is changed without it")
    }
}

impl Drop for Janitor {
    fn drop(&mut self) {
        self.pipe = None;
        // It ends with its pipe.
        let _ = self.child.wait();
    }
}

/// Something that will be undone.
#[derive(Debug)]
pub struct Promise {
    id: u64,
    undo: Option<Undo>,
    janitor: Arc<Janitor>,
}

impl Promise {
    /// It was never done: there is nothing to undo.
    pub fn forget(mut self) {
        self.undo = None;
    }
}

impl Drop for Promise {
    fn drop(&mut self) {
        if let Some(undo) = self.undo.take()
            && let Err(error) = undo.carry_out()
        {
            eprintln!("not undone: {error:#}");
        }
        // A janitor that is gone knows nothing that could be forgotten.
        let _ = self.janitor.tell(&Line { id: self.id, undo: None });
    }
}

/// The janitor's own program: waits for the end of the bench and keeps what was promised and not kept.
pub fn janitor(input: impl std::io::Read) {
    let mut promised = BTreeMap::new();
    for line in BufReader::new(input).lines().map_while(Result::ok) {
        match serde_json::from_str::<Line>(&line) {
            Ok(Line { id, undo: Some(undo) }) => drop(promised.insert(id, undo)),
            Ok(Line { id, undo: None }) => drop(promised.remove(&id)),
            Err(error) => eprintln!("a promise that cannot be read: {error}"),
        }
    }
    for undo in promised.values().rev() {
        if let Err(error) = undo.carry_out() {
            eprintln!("not undone: {error:#}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(lines: &[Line]) -> Vec<u8> {
        lines.iter().flat_map(|l| format!("{}\n", serde_json::to_string(l).unwrap()).into_bytes()).collect()
    }

    #[test]
    fn the_janitor_keeps_what_the_bench_did_not_newest_first() {
        let folder = tempfile::tempdir().unwrap();
        let (kept, inner) = (folder.path().join("kept"), folder.path().join("outer/inner"));
        std::fs::create_dir(&kept).unwrap();
        std::fs::create_dir_all(&inner).unwrap();
        let remove = |path: &Path| Some(Undo::RemoveFolder(path.to_owned()));
        let input = lines(&[
            Line { id: 0, undo: remove(&kept) },
            Line { id: 1, undo: remove(&folder.path().join("outer")) },
            Line { id: 2, undo: remove(&inner) },
            Line { id: 0, undo: None },
        ]);
        janitor(&input[..]);
        assert!(kept.exists(), "the bench itself had dealt with it");
        assert!(!folder.path().join("outer").exists(), "a folder goes after what is in it");
    }

    #[test]
    fn groups_go_from_the_inside_and_one_that_is_gone_is_no_failure() {
        let folder = tempfile::tempdir().unwrap();
        let top = folder.path().join("top.slice");
        std::fs::create_dir_all(top.join("a.slice/b.service")).unwrap();
        // A plain folder takes the order to end for a file, which a control group's folder does not keep.
        std::fs::create_dir_all(top.join("cgroup.kill")).unwrap();
        Undo::Groups(top.clone()).carry_out().unwrap();
        assert!(!top.exists());
        Undo::Groups(top).carry_out().unwrap();
    }

    #[test]
    fn a_program_that_fails_says_why() {
        let error = run(&["sh", "-c", "echo no room >&2; exit 3"]).unwrap_err().to_string();
        assert!(error.contains("no room") && error.contains('3'), "{error}");
        assert!(format!("{:#}", run(&["tacit-no-such-program"]).unwrap_err()).contains("package"));
    }
}
