//! systemd's units: which failed, which are restarted, by whom, and why.
//!
//! Changes are seen without systemd's help, in the links of [`links`], every five seconds; only about units that changed
//! `systemctl` is asked, at most every 30 seconds ([`book`]; docs/decisions/009-units.md says why so).

mod book;
mod links;
mod systemctl;

pub use book::{Book, Happening, Question, UnitState};
pub use systemctl::{Listed, Shown};

use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::child;
use super::repeats::Repeats;
use super::reporter::Reporter;
use crate::clock::{self, Tick};
use crate::source::Root;

/// The watcher's name.
pub const NAME: &str = "units";
/// Distance of looks at the links.
const EVERY: Duration = Duration::from_secs(5);
/// How long systemd may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// Most bytes of an answer.
const ANSWER: usize = 512 * 1024;

/// The units that rules look at, as last seen, and how often they changed.
#[derive(Debug, Clone, Default)]
pub struct Units(Arc<Mutex<(u64, Arc<[UnitState]>)>>);

impl Units {
    /// The newest states, with a number that changes with them.
    #[must_use]
    pub fn newest(&self) -> (u64, Arc<[UnitState]>) {
        let held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        (held.0, Arc::clone(&held.1))
    }

    /// Replaces the states.
    pub fn publish(&self, states: Vec<UnitState>) {
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if *held.1 != *states {
            *held = (held.0 + 1, states.into());
        }
    }
}

/// Whether systemd runs this machine.
///
/// # Errors
/// That it does not.
pub fn present(root: &Root) -> Result<(), String> {
    // sd_booted(3): the folder is there when systemd is process 1.
    if root.join("run/systemd/system").is_dir() {
        Ok(())
    } else {
        Err("systemd does not run this machine (/run/systemd/system is missing)".into())
    }
}

/// Where to look and whom to ask.
#[derive(Debug, Clone)]
pub struct Watch {
    /// Folder of the links.
    pub links: PathBuf,
    /// The program to ask.
    pub systemctl: OsString,
}

impl Watch {
    /// On the machine below `root`.
    #[must_use]
    pub fn new(root: &Root) -> Self {
        Self { links: root.join("run/systemd/units"), systemctl: "systemctl".into() }
    }

    /// One look, and one question if one is due.
    ///
    /// # Errors
    /// When systemd gives no answer.
    pub async fn look(&self, book: &mut Book, now: Tick) -> Result<Vec<Happening>, String> {
        book.see(&links::read(&self.links));
        let mut happened = Vec::new();
        // A list may bring a question of its own at once.
        for _ in 0..2 {
            let Some(question) = book.question(now.mono_ms) else { break };
            match self.ask(&question).await {
                Ok(text) if question == Question::List => book.list(&systemctl::list(&text)),
                Ok(text) => happened = book.answer(&systemctl::show(&text), now, clock::monotonic_us()),
                Err(error) => {
                    book.unanswered(question);
                    return Err(error);
                }
            }
        }
        Ok(happened)
    }

    async fn ask(&self, question: &Question) -> Result<String, String> {
        let arguments: Vec<&str> = match question {
            Question::List => vec![
                "list-units",
                "--all",
                "--plain",
                "--no-legend",
                "--no-pager",
                "--full",
                "--type=service,mount,socket,swap,timer",
                "--state=running,failed",
            ],
            Question::Show(names) => {
                let fixed = ["show", "--no-pager", systemctl::PROPERTIES, "--"];
                fixed.into_iter().chain(names.iter().map(String::as_str)).collect()
            }
        };
        let bytes = child::output(&self.systemctl, &arguments, PATIENCE, ANSWER).await?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }
}

/// Watches again and again.
pub async fn watch(root: Root, reporter: Reporter, units: Units) {
    if let Err(reason) = present(&root) {
        return reporter.state(NAME, Err(reason));
    }
    let (watch, mut book, mut repeats) = (Watch::new(&root), Book::default(), Repeats::default());
    loop {
        let now = Tick::now();
        match watch.look(&mut book, now).await {
            Ok(happened) => {
                reporter.state(NAME, Ok(()));
                for note in happened {
                    if repeats.pass("unit", &note.text, now.mono_ms).is_some() {
                        reporter.tell(note.kind, note.at, &note.text, Some(note.unit));
                    }
                }
            }
            Err(error) => reporter.state(NAME, Err(error)),
        }
        units.publish(book.states());
        tokio::time::sleep(EVERY).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    /// A `systemctl` that answers from files, and a folder of links.
    fn stage(folder: &std::path::Path) -> Watch {
        let write = |name: &str, text: &str| std::fs::write(folder.join(name), text).expect("written");
        let script = format!("#!/bin/sh\necho \"$@\" >> {0}/asked\ncat {0}/$1\n", folder.display());
        write("systemctl", &script);
        let executable = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(folder.join("systemctl"), executable).expect("set");
        write("list-units", "web.service loaded active running Web\nold.service loaded failed failed Old\n");
        write("show", "Id=old.service\nLoadState=loaded\nActiveState=failed\nSubState=failed\nResult=oom-kill\n");
        std::fs::create_dir(folder.join("units")).expect("made");
        symlink("1", folder.join("units/invocation:web.service")).expect("made");
        Watch { links: folder.join("units"), systemctl: folder.join("systemctl").into() }
    }

    #[test]
    fn a_failed_unit_is_found_and_a_dead_systemctl_is_an_error() {
        let folder = tempfile::tempdir().expect("a folder");
        let watch = stage(folder.path());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let at = |seconds: u64| Tick::default().plus_ms(seconds * 1000);
        let mut book = Book::default();
        assert_eq!(runtime.block_on(watch.look(&mut book, at(100))), Ok(Vec::new()));
        let states = book.states();
        assert_eq!((states.len(), states[0].name.as_str(), states[0].failed), (1, "old.service", true));
        assert!(states[0].why.contains("want of memory"));
        let asked = std::fs::read_to_string(folder.path().join("asked")).expect("it was asked");
        assert!(asked.contains("show --no-pager --property=Id,") && asked.ends_with("-- old.service\n"), "{asked}");

        assert_eq!(runtime.block_on(watch.look(&mut book, at(105))), Ok(Vec::new()), "nobody is asked");
        std::fs::remove_file(folder.path().join("systemctl")).expect("it was there");
        std::fs::remove_file(folder.path().join("units/invocation:web.service")).expect("it was there");
        let error = runtime.block_on(watch.look(&mut book, at(140))).expect_err("no program");
        assert!(error.starts_with("cannot run"), "{error}");
    }

    #[test]
    fn states_are_numbered() {
        let units = Units::default();
        units.publish(Vec::new());
        assert_eq!(units.newest().0, 0);
        units.publish(vec![UnitState { name: "a".into(), ..UnitState::default() }]);
        units.publish(vec![UnitState { name: "a".into(), ..UnitState::default() }]);
        assert_eq!((units.newest().0, units.newest().1.len()), (1, 1));
    }

    #[test]
    fn a_machine_without_systemd_says_so() {
        let folder = tempfile::tempdir().expect("a folder");
        assert!(present(&Root::new(folder.path())).expect_err("none").contains("/run/systemd/system"));
    }
}
