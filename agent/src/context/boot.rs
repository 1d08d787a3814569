//! How the machine went down before it booted: a marker in the state folder, and what firmware and kernel kept.
//!
//! ```text
//! STATE/boot-marker:  "tacit-boot-1 <boot id> running|stopped|shutdown <Unix ms>\n"
//! ```
//!
//! It is written when the agent starts (`running`) and when it is told to stop: `shutdown` while systemd takes the machine
//! down, else `stopped`. A boot that finds `running` was not expected by anybody: power cut, crash or reset.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use tacit_wire::BootId;
use tracing::warn;

use crate::clock::Tick;
use crate::replace::replace;
use crate::source::Root;

const MAGIC: &str = "tacit-boot-1";
/// Longer than any marker.
const LONGEST: usize = 256;
/// How long systemd may take to say whether it is going down.
const PATIENCE: Duration = Duration::from_secs(1);
/// The watchdog device's flag for "it reset the machine" (`WDIOF_CARDRESET` in the kernel's watchdog API).
const CARD_RESET: u64 = 0x20;

/// How the agent was stopped last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum How {
    /// It was not.
    Running,
    /// Alone; the machine went on.
    Stopped,
    /// With the machine.
    Shutdown,
}

impl How {
    const ALL: [(Self, &'static str); 3] =
        [(Self::Running, "running"), (Self::Stopped, "stopped"), (Self::Shutdown, "shutdown")];

    fn word(self) -> &'static str {
        Self::ALL.iter().find(|(how, _)| *how == self).map_or("running", |(_, word)| word)
    }
}

/// The marker of a state folder.
#[derive(Debug, Clone)]
pub struct Marker {
    path: PathBuf,
    boot: BootId,
}

impl Marker {
    /// The marker in `folder`, for this boot.
    #[must_use]
    pub fn new(folder: &Path, boot: BootId) -> Self {
        Self { path: folder.join("boot-marker"), boot }
    }

    /// Says in words how the machine went down if it booted since the marker was written, and marks this boot as running.
    /// A marker that cannot be written is said: the next boot will be explained wrongly or not at all.
    #[must_use]
    pub fn begin(&self, root: &Root, now: Tick) -> Option<String> {
        let last = fs::read(&self.path).ok().and_then(|bytes| parse(&bytes));
        let words = last.filter(|(boot, ..)| *boot != self.boot).map(|(_, how, at_ms)| {
            let mut text = sentence(how, now.wall_ms.saturating_sub(at_ms));
            text.push_str(&hints(root));
            text
        });
        self.keep(How::Running, now);
        words
    }

    /// Marks that the agent was told to stop, and whether the machine goes down with it.
    pub fn end(&self, going_down: bool, now: Tick) {
        self.keep(if going_down { How::Shutdown } else { How::Stopped }, now);
    }

    fn keep(&self, how: How, now: Tick) {
        if let Err(error) = self.write(how, now) {
            warn!(file = %self.path.display(), %error, "Cannot write the boot marker; the next boot will not be explained.");
        }
    }

    fn write(&self, how: How, now: Tick) -> io::Result<()> {
        let line = format!("{MAGIC} {} {} {}\n", self.boot, how.word(), now.wall_ms);
        replace(&self.path, &[line.as_bytes()])
    }
}

/// Boot, how, and Unix milliseconds; `None` for anything that is no marker.
fn parse(bytes: &[u8]) -> Option<(BootId, How, i64)> {
    let text = std::str::from_utf8(bytes.get(..bytes.len().min(LONGEST))?).ok()?;
    let mut words = text.strip_suffix('\n')?.split(' ');
    if words.next() != Some(MAGIC) {
        return None;
    }
    let boot = words.next()?.parse().ok()?;
    let word = words.next()?;
    let how = How::ALL.iter().find(|(_, known)| *known == word)?.0;
    let at_ms = words.next()?.parse().ok()?;
    words.next().is_none().then_some((boot, how, at_ms))
}

fn sentence(how: How, ago_ms: i64) -> String {
    match how {
        How::Running => "the machine booted after it went down without warning (power cut, crash or reset): \
             nobody had stopped the agent"
            .to_owned(),
        How::Shutdown => format!("the machine booted after an orderly shutdown {} before", duration(ago_ms)),
        How::Stopped => {
            "the machine booted; how it went down is not known: the agent had been stopped before".to_owned()
        }
    }
}

/// What the hardware watchdog and the kernel's crash store say of the last boot.
fn hints(root: &Root) -> String {
    let mut text = String::new();
    let status = fs::read_to_string(root.join("sys/class/watchdog/watchdog0/bootstatus")).unwrap_or_default();
    if status.trim().parse::<u64>().is_ok_and(|flags| flags & CARD_RESET != 0) {
        text.push_str("; the hardware watchdog had reset it");
    }
    let dumps = fs::read_dir(root.join("sys/fs/pstore")).into_iter().flatten().flatten();
    if dumps.take(LONGEST).any(|entry| entry.file_name().to_string_lossy().starts_with("dmesg-")) {
        text.push_str("; the kernel left a crash dump in /sys/fs/pstore");
    }
    text
}

/// A length of time as people say it.
#[must_use]
pub fn duration(ms: i64) -> String {
    let seconds = ms.max(0) / 1000;
    let (n, unit) = match seconds {
        s if s < 120 => (s, "seconds"),
        s if s < 7200 => (s / 60, "minutes"),
        s if s < 172_800 => (s / 3600, "hours"),
        s => (s / 86_400, "days"),
    };
    format!("{n} {unit}")
}

/// Whether systemd is taking the machine down now; `false` where it cannot be asked. Waits at most a second.
#[must_use]
pub fn going_down(root: &Root) -> bool {
    if !root.join("run/systemd/system").is_dir() {
        return false;
    }
    let mut ask = Command::new("systemctl");
    ask.arg("is-system-running").stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let Ok(mut child) = ask.spawn() else { return false };
    let began = Instant::now();
    while began.elapsed() < PATIENCE {
        match child.try_wait() {
            // The answer is one word and fits the pipe, so nothing waits for a reader.
            Ok(Some(_)) => {
                let mut word = [0; 16];
                let read = child.stdout.take().map_or(0, |mut out| io::Read::read(&mut out, &mut word).unwrap_or(0));
                return word[..read].starts_with(b"stopping");
            }
            Ok(None) => std::thread::sleep(Duration::from_millis(20)),
            Err(_) => return false,
        }
    }
    // It may have ended at this very moment; then there is nothing to kill.
    let _ = child.kill();
    let _ = child.wait();
    false
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const FIRST: BootId = BootId([1; 16]);
    const SECOND: BootId = BootId([2; 16]);

    fn tick(minutes: u64) -> Tick {
        Tick::default().plus_ms(minutes * 60_000)
    }

    fn begin(folder: &Path, boot: BootId, minutes: u64) -> Option<String> {
        Marker::new(folder, boot).begin(&Root::new(folder), tick(minutes))
    }

    #[test]
    fn a_power_cut_differs_from_a_shutdown() {
        let folder = tempfile::tempdir().expect("a folder");
        assert_eq!(begin(folder.path(), FIRST, 0), None, "nothing is known of the time before");
        assert_eq!(begin(folder.path(), FIRST, 1), None, "the agent was restarted, the machine was not");
        let cut = begin(folder.path(), SECOND, 2).expect("it booted");
        assert!(cut.contains("without warning"), "{cut}");
        Marker::new(folder.path(), SECOND).end(true, tick(3));
        let down = begin(folder.path(), FIRST, 48).expect("it booted");
        assert!(down.contains("orderly shutdown 45 minutes before"), "{down}");
        Marker::new(folder.path(), FIRST).end(false, tick(50));
        let stopped = begin(folder.path(), SECOND, 60).expect("it booted");
        assert!(stopped.contains("not known"), "{stopped}");
    }

    #[test]
    fn watchdog_and_crash_dump_are_told() {
        let folder = tempfile::tempdir().expect("a folder");
        begin(folder.path(), FIRST, 0);
        for (path, text) in [("sys/class/watchdog/watchdog0/bootstatus", "32\n"), ("sys/fs/pstore/dmesg-ramoops-0", "")]
        {
            let path = folder.path().join(path);
            fs::create_dir_all(path.parent().expect("a folder")).expect("made");
            fs::write(path, text).expect("written");
        }
        let text = begin(folder.path(), SECOND, 1).expect("it booted");
        assert!(text.contains("hardware watchdog") && text.contains("crash dump"), "{text}");
    }

    proptest! {
        /// Law: no bytes make reading the marker panic, and what was written reads back.
        #[test]
        fn any_bytes_are_a_marker_or_none(bytes in any::<Vec<u8>>(), at in any::<i64>(), how in 0..3_usize) {
            let _ = parse(&bytes);
            let (how, word) = How::ALL[how];
            let line = format!("{MAGIC} {FIRST} {word} {at}\n");
            prop_assert_eq!(parse(line.as_bytes()), Some((FIRST, how, at)));
        }
    }
}
