//! The journal: how many lines each unit writes and which share of them are errors.
//!
//! A child `journalctl --follow` waits for new entries; it is given no past, asked for four short fields, and read within
//! bounds. No text of any log is read or leaves the machine. A flood is not followed: after so many lines in ten seconds
//! the child is ended and a new one started ten seconds later (the ratio stays true, the rate is then a lower bound).

mod counts;
mod line;

pub use counts::{Counts, LogCounts, Unit};
pub use line::{Entry, Field, parse};

use std::ffi::OsStr;
use std::time::Duration;

use tacit_wire::message::ContextKind;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader};
use tokio::time::{Instant, timeout};

use super::child::Running;
use super::reporter::Reporter;
use crate::clock::Tick;
use crate::source::Root;

/// The watcher's name.
pub const NAME: &str = "journal";
/// Longest line that is looked at; with four fields they have a few hundred bytes.
const LONGEST: u64 = 8192;
/// Lines taken in one period …
const LINES: u32 = 5000;
/// … of this length.
const PERIOD: Duration = Duration::from_secs(10);
/// Wait before a child that ended is started anew.
const AGAIN: Duration = Duration::from_secs(60);

/// Whether there is a journal that this user may read.
///
/// # Errors
/// Why not, in words that say what helps.
pub fn present(root: &Root) -> Result<(), String> {
    if !root.join("run/systemd/journal").is_dir() {
        return Err("no systemd journal is here (/run/systemd/journal is missing)".into());
    }
    let folders = ["var/log/journal", "run/log/journal"].map(|folder| root.join(folder));
    let of_machine = folders.iter().filter_map(|f| std::fs::read_dir(f).ok()).flatten().flatten().take(16);
    let files: Vec<_> =
        of_machine.map(|machine| machine.path().join("system.journal")).filter(|f| f.exists()).collect();
    if files.is_empty() {
        return Err(
            "the journal keeps no files that can be seen; the agent's user needs the group systemd-journal".into()
        );
    }
    let readable = |f: &std::path::PathBuf| rustix::fs::access(f, rustix::fs::Access::READ_OK).is_ok();
    if files.iter().any(readable) {
        Ok(())
    } else {
        Err("the journal may not be read; the agent's user needs the group systemd-journal".into())
    }
}

/// Follows the journal, and follows it again when that ends.
pub async fn watch(root: Root, reporter: Reporter, counts: LogCounts) {
    loop {
        let state = present(&root);
        let may = state.is_ok();
        reporter.state(NAME, state);
        if may {
            let arguments = ["--follow", "--lines=0", "--output=json", line::FIELDS, "--quiet", "--no-pager"];
            let ended = follow(OsStr::new("journalctl"), &arguments, &reporter, &counts).await;
            reporter.state(NAME, Err(ended));
        }
        counts.lock().followed = Some(false);
        tokio::time::sleep(AGAIN).await;
    }
}

/// Takes lines of a child until it ends, with pauses in a flood; says why it ended.
async fn follow(program: &OsStr, arguments: &[&str], reporter: &Reporter, counts: &LogCounts) -> String {
    loop {
        let mut child = match Running::start(program, arguments) {
            Ok(child) => child,
            Err(error) => return error,
        };
        counts.lock().followed = Some(true);
        let mut lines = BufReader::new(&mut child.output);
        match take(&mut lines, reporter, counts).await {
            Flow::Ended(why) => return why,
            Flow::Flood => {}
        }
        drop(child);
        tell(reporter, counts);
        tokio::time::sleep(PERIOD).await;
    }
}

/// Why lines are not taken any more.
#[derive(Debug, PartialEq)]
enum Flow {
    Ended(String),
    Flood,
}

async fn take(lines: &mut (impl tokio::io::AsyncBufRead + Unpin), reporter: &Reporter, counts: &LogCounts) -> Flow {
    let (mut period, mut taken) = (Instant::now(), 0);
    let mut line = Vec::new();
    loop {
        line.clear();
        // The bound holds for memory: what is longer is taken in pieces that are no entries.
        let mut bounded = (&mut *lines).take(LONGEST);
        match timeout(PERIOD, bounded.read_until(b'\n', &mut line)).await {
            // A silent journal; what was read of a line so far would be lost, but lines are written whole.
            Err(_) => {}
            Ok(Ok(0)) => return Flow::Ended("journalctl ended".into()),
            Ok(Err(e)) => return Flow::Ended(format!("cannot read from journalctl: {e}")),
            Ok(Ok(_)) => {
                taken += 1;
                let mut counts = counts.lock();
                match parse(&line) {
                    Some(entry) => counts.take(&entry.unit, entry.error, Tick::now().mono_ms),
                    None => counts.bad += 1,
                }
            }
        }
        if period.elapsed() >= PERIOD {
            (period, taken) = (Instant::now(), 0);
            tell(reporter, counts);
        }
        if taken >= LINES {
            return Flow::Flood;
        }
    }
}

/// Tells of units whose errors rose.
fn tell(reporter: &Reporter, counts: &LogCounts) {
    let now = Tick::now();
    let risen = counts.lock().risen(now.mono_ms);
    for (unit, errors, usual) in risen {
        let text = format!("{unit} logged {errors} errors within a minute (usual {usual:.0})");
        let of = unit.contains('.').then_some(unit);
        reporter.tell(ContextKind::LogErrors, now, &text, of);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::context::reporter::Board;

    fn run(script: &str) -> (String, LogCounts) {
        let counts = LogCounts::default();
        let (reporter, _notes) = Reporter::new(Board::default());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let ended = runtime.block_on(follow(OsStr::new("sh"), &["-c", script], &reporter, &counts));
        (ended, counts)
    }

    #[test]
    fn lines_of_a_child_are_counted() {
        let script = r#"for i in 1 2 3 4; do echo '{"PRIORITY":"6","_SYSTEMD_UNIT":"a.service"}'; done
            echo '{"PRIORITY":"3","_SYSTEMD_UNIT":"a.service"}'; echo garbage; printf '%20000s\n' x"#;
        let (ended, counts) = run(script);
        assert_eq!(ended, "journalctl ended");
        let counts = counts.lock();
        assert_eq!(counts.units().len(), 1);
        assert_eq!(counts.units()[0].last_minute(Tick::now().mono_ms), (5, 1));
        assert!(counts.bad >= 2, "garbage, and a line too long in pieces");
    }

    #[test]
    fn a_flood_is_left_alone() {
        let mut endless = b"{\"_SYSTEMD_UNIT\":\"a.service\"}\n".repeat(LINES as usize + 10);
        endless.extend_from_slice(b"x");
        let counts = LogCounts::default();
        let (reporter, _notes) = Reporter::new(Board::default());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let flow = runtime.block_on(take(&mut &endless[..], &reporter, &counts));
        assert_eq!(flow, Flow::Flood);
        assert_eq!(counts.lock().units()[0].last_minute(Tick::now().mono_ms).0, LINES);
    }

    #[test]
    fn a_machine_without_a_journal_says_so() {
        let folder = tempfile::tempdir().expect("a folder");
        let root = Root::new(folder.path());
        assert!(present(&root).expect_err("none").contains("/run/systemd/journal"));
        std::fs::create_dir_all(root.join("run/systemd/journal")).expect("made");
        assert!(present(&root).expect_err("no files").contains("group systemd-journal"));
        std::fs::create_dir_all(root.join("var/log/journal/abc")).expect("made");
        std::fs::write(root.join("var/log/journal/abc/system.journal"), "x").expect("written");
        assert_eq!(present(&root), Ok(()));
    }
}
