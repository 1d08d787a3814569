//! The kernel's log, from its own device: OOM kills by name, I/O errors, links that go down, hung tasks, low voltage.
//!
//! `/dev/kmsg` gives one record a `read`, wakes its readers, and costs nothing while the kernel is silent. Reading begins
//! at the end: what was logged before the agent ran is not news. Needs `CAP_SYSLOG` where `kernel.dmesg_restrict` is 1, and a
//! device: where either is missing the journal is asked for the same messages ([`relay`]).

mod classify;
mod record;
mod relay;

pub use classify::{Sight, Victim, classify};
pub use record::{Record, parse};

use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{Mode, OFlags, SeekFrom};
use rustix::io::Errno;
use tokio::io::unix::AsyncFd;
use tracing::debug;

use super::journal;
use super::repeats::Repeats;
use super::reporter::Reporter;
use crate::clock::Tick;
use crate::source::Root;

/// The watcher's name.
pub const NAME: &str = "kernel-log";
/// The longest record the kernel gives (`PRINTK_MESSAGE_MAX` was 8 KiB in older kernels).
const RECORD: usize = 8192;
/// Records taken in one go, so that a flood leaves the thread to others.
const AT_ONCE: usize = 64;

/// Opens the log.
///
/// # Errors
/// Why it cannot be read, in words that say what helps.
pub fn open(root: &Root) -> Result<OwnedFd, String> {
    let path = root.join("dev/kmsg");
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    rustix::fs::open(&path, flags, Mode::empty()).map_err(|error| explain(&path, error))
}

fn explain(path: &Path, error: Errno) -> String {
    let what = match error {
        Errno::PERM | Errno::ACCESS => "; the agent needs CAP_SYSLOG, or kernel.dmesg_restrict=0",
        Errno::NOENT => "; confined services and containers have none",
        _ => "",
    };
    format!("cannot open {}: {error}{what}", path.display())
}

/// How the log can be read on the machine below `root`, or why it cannot.
///
/// # Errors
/// What is missing, in words that say what helps.
pub fn examine(root: &Root) -> Result<String, String> {
    let Err(reason) = open(root) else { return Ok("/dev/kmsg can be read".to_owned()) };
    match journal::present(root) {
        Ok(()) => Ok(format!("through the journal ({reason})")),
        Err(why) => Err(format!("{reason}; {why}")),
    }
}

/// Follows the log until it ends, which the kernel's never does.
pub async fn watch(root: Root, reporter: Reporter) {
    let opened = open(&root).and_then(|log| {
        rustix::fs::seek(&log, SeekFrom::End(0)).map_err(|e| format!("cannot go to the end of /dev/kmsg: {e}"))?;
        Ok(log)
    });
    let ended = match opened {
        Ok(log) => {
            reporter.state(NAME, Ok(()));
            follow(log, &reporter).await
        }
        Err(reason) => match journal::present(&root) {
            Ok(()) => return relay::watch(root, reporter).await,
            Err(why) => format!("{reason}; {why}"),
        },
    };
    reporter.state(NAME, Err(ended));
}

/// Takes records from a descriptor that gives one a read; returns why it ended.
async fn follow(log: OwnedFd, reporter: &Reporter) -> String {
    #[expect(
        deprecated,
        reason = "its hazard is a type that changes its descriptor, which OwnedFd does not; the successor is unsafe"
    )]
    let registered = AsyncFd::new(log);
    let log = match registered {
        Ok(log) => log,
        Err(e) => return format!("cannot wait for /dev/kmsg: {e}"),
    };
    let mut reading = Reading::new(reporter);
    let mut buffer = vec![0; RECORD];
    loop {
        let mut ready = match log.readable().await {
            Ok(ready) => ready,
            Err(e) => return format!("cannot wait for /dev/kmsg: {e}"),
        };
        for _ in 0..AT_ONCE {
            match ready.try_io(|fd| Ok(rustix::io::read(fd.get_ref(), &mut buffer[..])?)) {
                Ok(Ok(0)) => return "the kernel's log ended".into(),
                Ok(Ok(length)) => reading.take(&buffer[..length], Tick::now()),
                // Records were overwritten before they were read: the next read gives the oldest that is left.
                Ok(Err(e)) if e.raw_os_error() == Some(Errno::PIPE.raw_os_error()) => reading.lost += 1,
                Ok(Err(e)) if e.kind() == std::io::ErrorKind::Interrupted => {}
                Ok(Err(e)) => return format!("cannot read /dev/kmsg: {e}"),
                Err(_not_ready) => break,
            }
        }
        tokio::task::yield_now().await;
    }
}

/// What is kept from record to record.
struct Reading<'a> {
    reporter: &'a Reporter,
    repeats: Repeats,
    victim: Victim,
    /// Records that were not understood.
    bad: u64,
    /// Times records were overwritten before they were read.
    lost: u64,
}

impl<'a> Reading<'a> {
    fn new(reporter: &'a Reporter) -> Self {
        Self { reporter, repeats: Repeats::default(), victim: Victim::default(), bad: 0, lost: 0 }
    }

    fn take(&mut self, bytes: &[u8], at: Tick) {
        let record = match parse(bytes) {
            Ok(record) => record,
            Err(error) => {
                self.bad += 1;
                debug!(?error, bad = self.bad, lost = self.lost, "A record of the kernel's log is not understood.");
                return;
            }
        };
        // Programs may write there too (facility above 0): they speak for themselves, not for the kernel.
        if record.facility != 0 {
            return;
        }
        self.look(record.text, at);
    }

    /// Tells what a message of the kernel means, if it means something.
    fn look(&mut self, text: &str, at: Tick) {
        let Some(sight) = classify(text, &mut self.victim) else { return };
        let Some(held_back) = self.repeats.pass(sight.class, &sight.subject, at.mono_ms) else { return };
        let times = if held_back > 0 { format!(" ({held_back} more since the last note)") } else { String::new() };
        self.reporter.tell(sight.kind, at, &format!("{}{times}", sight.text), sight.unit);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::context::reporter::Board;
    use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};

    /// A socket that keeps message boundaries reads as the device does: one record a read.
    #[test]
    fn records_become_notes_and_garbage_does_not() {
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let (kernel, log) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None).expect("sockets");
        let say = |record: &str| {
            rustix::io::write(&kernel, record.as_bytes()).expect("there is room");
        };
        say("4,1,5,-;e1000e 0000:00:1f.6 eth0: NIC Link is Down\n");
        say("4,2,6,-;e1000e 0000:00:1f.6 eth0: NIC Link is Down\n");
        say("garbage");
        say("12,3,7,-;somebody: I/O error, dev sda, sector 1\n");
        say("3,4,8,-;I/O error, dev sda, sector 1234 op 0x0:(READ) flags 0x0 phys_seg 1 prio class 2\n");
        drop(kernel);
        let (reporter, mut notes) = Reporter::new(Board::default());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        assert_eq!(runtime.block_on(follow(log, &reporter)), "the kernel's log ended");
        let texts: Vec<String> = std::iter::from_fn(|| notes.try_recv().ok()).map(|n| n.text).collect();
        assert_eq!(texts.len(), 2, "{texts:?}");
        assert!(texts[0].contains("eth0 is down") && texts[1].starts_with("sda has I/O errors"), "{texts:?}");
    }

    #[test]
    fn a_machine_without_the_device_says_so() {
        let folder = tempfile::tempdir().expect("a folder");
        let reason = open(&Root::new(folder.path())).expect_err("there is none");
        assert!(reason.contains("dev/kmsg") && reason.contains("containers have none"), "{reason}");
        assert!(explain(Path::new("/dev/kmsg"), Errno::PERM).contains("CAP_SYSLOG"));
    }
}
