//! The kernel's log as journald keeps it, for an agent that may not open `/dev/kmsg`: as a confined service it has no devices.
//!
//! A child `journalctl --dmesg --follow` waits for the kernel's messages and is asked for their text and facility; programs that
//! write to the device have another facility than the kernel and are passed over, as they are there. The first line is the newest
//! message of all, which says that the journal has the kernel's messages at all (in a container it has none); it is no news when
//! it was logged before. A flood is not followed: after so many messages in ten seconds the child is ended, and a new one
//! started ten seconds later.

use std::ffi::OsStr;
use std::time::Duration;

use serde::Deserialize;
use tokio::io::{AsyncBufRead, AsyncBufReadExt as _, AsyncReadExt as _, BufReader};
use tokio::time::{Instant, timeout};

use super::{NAME, Reading};
use crate::clock::Tick;
use crate::context::child::Running;
use crate::context::journal::{self, Field};
use crate::context::reporter::Reporter;
use crate::source::Root;

const ARGUMENTS: [&str; 7] = [
    "--dmesg",
    "--follow",
    "--lines=1",
    "--output=json",
    "--output-fields=MESSAGE,SYSLOG_FACILITY",
    "--quiet",
    "--no-pager",
];
/// Longest line that is looked at.
const LONGEST: u64 = 16 * 1024;
/// Messages taken in one period …
const LINES: u32 = 2000;
/// … of this length.
const PERIOD: Duration = Duration::from_secs(10);
/// Wait before a child that ended is started anew.
const AGAIN: Duration = Duration::from_secs(60);
const SILENT: &str = "the journal has no messages of the kernel; containers have none";

/// Follows the kernel's messages in the journal, and again when that ends.
pub(super) async fn watch(root: Root, reporter: Reporter) {
    let mut reading = Reading::new(&reporter);
    // What was logged before the agent ran is not news.
    let mut newest_us = Tick::now().wall_ms.saturating_mul(1000);
    loop {
        let ended = match journal::present(&root) {
            Ok(()) => follow(OsStr::new("journalctl"), &ARGUMENTS, &mut reading, &mut newest_us).await,
            Err(reason) => reason,
        };
        reporter.state(NAME, Err(ended));
        tokio::time::sleep(AGAIN).await;
    }
}

/// Takes messages of a child until it ends, with pauses in a flood; says why it ended.
async fn follow(program: &OsStr, arguments: &[&str], reading: &mut Reading<'_>, newest_us: &mut i64) -> String {
    loop {
        let mut child = match Running::start(program, arguments) {
            Ok(child) => child,
            Err(error) => return error,
        };
        let mut lines = BufReader::new(&mut child.output);
        if let Err(why) = take(&mut lines, reading, newest_us).await {
            return why;
        }
        drop(child);
        tokio::time::sleep(PERIOD).await;
    }
}

/// Takes lines until there are too many at once.
///
/// # Errors
/// Why there are no more.
async fn take(
    lines: &mut (impl AsyncBufRead + Unpin),
    reading: &mut Reading<'_>,
    newest_us: &mut i64,
) -> Result<(), String> {
    let (mut period, mut taken, mut seen) = (Instant::now(), 0, false);
    let mut line = Vec::new();
    loop {
        line.clear();
        // The bound holds for memory: what is longer is taken in pieces that are no messages.
        let mut bounded = (&mut *lines).take(LONGEST);
        match timeout(PERIOD, bounded.read_until(b'\n', &mut line)).await {
            Err(_) if !seen => reading.reporter.state(NAME, Err(SILENT.to_owned())),
            // The kernel is silent, as it should be.
            Err(_) => {}
            Ok(Ok(0)) => return Err("journalctl ended".into()),
            Ok(Err(e)) => return Err(format!("cannot read from journalctl: {e}")),
            Ok(Ok(_)) => {
                taken += 1;
                match parse(&line) {
                    Some(message) => {
                        if !seen {
                            reading.reporter.state(NAME, Ok(()));
                        }
                        // A clock may be set back: only the first message of a child can be an old one.
                        let old = !std::mem::replace(&mut seen, true) && message.at_us <= *newest_us;
                        *newest_us = message.at_us;
                        if let Some(text) = message.text.filter(|_| !old) {
                            reading.look(&text, Tick::now());
                        }
                    }
                    None => reading.bad += 1,
                }
            }
        }
        if period.elapsed() >= PERIOD {
            (period, taken) = (Instant::now(), 0);
        }
        if taken >= LINES {
            return Ok(());
        }
    }
}

#[derive(Debug, Deserialize)]
struct Object {
    #[serde(rename = "MESSAGE")]
    message: Option<Field>,
    #[serde(rename = "SYSLOG_FACILITY")]
    facility: Option<Field>,
    #[serde(rename = "__REALTIME_TIMESTAMP")]
    at: Option<Field>,
}

/// A line.
#[derive(Debug, PartialEq, Eq)]
struct Message {
    /// When journald took it, in microseconds of the wall clock.
    at_us: i64,
    /// What the kernel said; none when somebody else said it, or it is no text.
    text: Option<String>,
}

fn parse(line: &[u8]) -> Option<Message> {
    let object: Object = serde_json::from_slice(line).ok()?;
    let text = |field: Option<Field>| field?.text();
    let at_us = text(object.at)?.parse().ok()?;
    // Without a facility it is the kernel's: that is what was asked for.
    let of_kernel = text(object.facility).is_none_or(|facility| facility == "0");
    Some(Message { at_us, text: text(object.message).filter(|_| of_kernel) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::context::reporter::Board;
    use proptest::prelude::*;

    /// What `script` writes, read as the journal's; notes are told by text. Messages up to 1,000 µs are old.
    fn run(script: &str) -> (String, Board, Vec<String>) {
        let board = Board::default();
        let (reporter, mut notes) = Reporter::new(board.clone());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let (mut reading, mut newest) = (Reading::new(&reporter), 1000);
        let ended = runtime.block_on(follow(OsStr::new("sh"), &["-c", script], &mut reading, &mut newest));
        (ended, board, std::iter::from_fn(|| notes.try_recv().ok()).map(|n| n.text).collect())
    }

    fn line(at_us: i64, facility: &str, message: &str) -> String {
        format!(
            "echo '{{\"__REALTIME_TIMESTAMP\":\"{at_us}\",\"SYSLOG_FACILITY\":\"{facility}\",\"MESSAGE\":\"{message}\"}}'\n"
        )
    }

    #[test]
    fn messages_become_notes() {
        let script = line(1001, "0", "e1000e 0000:00:1f.6 eth0: NIC Link is Down")
            + "echo garbage; printf '%40000s\\n' x\n"
            + &line(1002, "3", "somebody: I/O error, dev sda, sector 1")
            + &line(900, "0", "I/O error, dev sda, sector 1234 op 0x0:(READ) flags 0x0");
        let (ended, board, notes) = run(&script);
        assert_eq!((ended.as_str(), board.works(NAME)), ("journalctl ended", true));
        assert_eq!(notes.len(), 2, "{notes:?}");
        assert!(notes[0].contains("eth0 is down") && notes[1].starts_with("sda has I/O errors"), "{notes:?}");
    }

    #[test]
    fn what_was_logged_before_is_no_news_but_shows_that_there_are_messages() {
        let (_, board, notes) = run(&line(1000, "0", "I/O error, dev sda, sector 1234 op 0x0:(READ) flags 0x0"));
        assert_eq!((board.works(NAME), notes), (true, Vec::new()));
    }

    #[test]
    fn a_flood_is_left_alone() {
        let one = b"{\"__REALTIME_TIMESTAMP\":\"7\",\"MESSAGE\":\"x\"}\n";
        let endless = one.repeat(LINES as usize + 10);
        let (reporter, _notes) = Reporter::new(Board::default());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let (mut reading, mut newest) = (Reading::new(&reporter), 0);
        assert_eq!(runtime.block_on(take(&mut &endless[..], &mut reading, &mut newest)), Ok(()));
        let few = runtime.block_on(take(&mut &one[..], &mut reading, &mut newest));
        assert_eq!(few, Err("journalctl ended".into()));
    }

    #[test]
    fn recorded_lines() {
        let recorded = br#"{"__CURSOR":"s=1;i=2","__REALTIME_TIMESTAMP":"1700000000000000","_BOOT_ID":"ab","MESSAGE":"x","SYSLOG_FACILITY":"0"}"#;
        assert_eq!(parse(recorded), Some(Message { at_us: 1_700_000_000_000_000, text: Some("x".into()) }));
        let bytes = br#"{"__REALTIME_TIMESTAMP":"5","MESSAGE":[120,255],"SYSLOG_FACILITY":"0"}"#;
        assert_eq!(parse(bytes), Some(Message { at_us: 5, text: None }));
        let numbers = [r#"{"__REALTIME_TIMESTAMP":"x"}"#, r#"{"__REALTIME_TIMESTAMP":5}"#];
        for bad in ["", "[]", "{}", "-- No entries --"].into_iter().chain(numbers) {
            assert_eq!(parse(bad.as_bytes()), None, "{bad:?}");
        }
    }

    proptest! {
        /// Law: no bytes make parsing panic.
        #[test]
        fn any_line_is_a_message_or_none(bytes in any::<Vec<u8>>(), text in "\\{(\"(MESSAGE|__REALTIME_TIMESTAMP|x)\":(\"[0-9a-z]{0,5}\"|null|\\[1\\]|-?[0-9.e]{1,9}),?){0,4}\\}") {
            let _ = parse(&bytes);
            let _ = parse(text.as_bytes());
        }
    }
}
