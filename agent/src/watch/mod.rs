//! Watches the agent's own threads, and tells the service manager how it goes.
//!
//! ```text
//! sample ┐
//! analyse├─ a pulse each (one relaxed store) → the main thread looks → READY, STATUS, WATCHDOG … → systemd
//! net    │                                  → health of the node, in words
//! links  ┘
//! ```
//!
//! A sign of life is sent only while every thread is within its own deadline, so that systemd starts an agent anew of which one
//! part is stuck. A thread that waits for a disk says so and has ten minutes: a slow SD card is no reason to begin again
//! (docs/decisions/019-watchdog-and-reload.md). Without a service manager a stuck thread is health in words.

mod notify;
mod pulse;

pub use notify::{Notifier, status_line};
pub use pulse::{Pulse, Pulses, Stuck, Wait, now_ms, on_disk, on_others};

use std::sync::Arc;
use std::time::Duration;

use tracing::{error, info};

use crate::clock::monotonic_us;

/// Longest distance of looks; [`Pulses::look`] counts on it.
const LOOK: Duration = Duration::from_secs(10);
/// Distance of looks until the first sample is taken, when somebody waits for it.
const SOON: Duration = Duration::from_millis(100);

/// What the main thread does beside waiting for signals.
#[derive(Debug)]
pub struct Watch {
    pulses: Arc<Pulses>,
    notifier: Option<Notifier>,
    ready: bool,
    stuck: Vec<Stuck>,
    /// What was last stated.
    status: String,
    alive_ms: Option<u64>,
}

impl Watch {
    /// Over these threads; whoever wants to hear is told.
    #[must_use]
    pub fn new(pulses: Arc<Pulses>, notifier: Option<Notifier>) -> Self {
        Self { pulses, notifier, ready: false, stuck: Vec::new(), status: String::new(), alive_ms: None }
    }

    /// Time until the next look.
    #[must_use]
    pub fn rhythm(&self) -> Duration {
        match &self.notifier {
            Some(notifier) if self.ready => notifier.every().unwrap_or(LOOK).min(LOOK),
            Some(_) if self.stuck.is_empty() && !self.pulses.sample.has_begun() => SOON,
            _ => LOOK,
        }
    }

    /// Looks at all threads; says what changed, and that the agent lives if it does. `status` is how it goes, in words.
    pub fn look(&mut self, now_ms: u64, status: impl FnOnce() -> String) {
        self.note(self.pulses.look(now_ms));
        let Some(notifier) = &self.notifier else { return };
        let mut lines = Vec::new();
        let ready = !self.ready && self.pulses.sample.has_begun();
        if ready {
            lines.push("READY=1".to_owned());
        }
        // A look that comes a little early counts.
        let due = notifier.every().is_some_and(|every| {
            let early = u64::try_from((self.rhythm().min(every) / 2).as_millis()).unwrap_or(0);
            let every = u64::try_from(every.as_millis()).unwrap_or(u64::MAX);
            self.alive_ms.is_none_or(|last| now_ms.saturating_sub(last) + early >= every)
        });
        let alive = (self.ready || ready) && due && self.stuck.is_empty();
        if alive {
            lines.push("WATCHDOG=1".to_owned());
        }
        let status = self.stuck.first().map_or_else(status, ToString::to_string);
        let changed = (self.ready || ready) && status != self.status;
        if changed {
            lines.push(status_line(&status));
        }
        if self.say(&lines) {
            self.ready |= ready;
            if alive {
                self.alive_ms = Some(now_ms);
            }
            if changed {
                self.status = status;
            }
        }
    }

    /// Logs who got stuck and who came back.
    fn note(&mut self, stuck: Vec<Stuck>) {
        let before = std::mem::replace(&mut self.stuck, stuck);
        for thread in self.stuck.iter().filter(|s| before.iter().all(|b| b.name != s.name)) {
            let then = if self.notifier.is_some() { "; no sign of life is given until it moves" } else { "" };
            error!("{thread}{then}.");
        }
        for thread in before.iter().filter(|b| self.stuck.iter().all(|s| s.name != b.name)) {
            info!(thread = thread.name, "The thread moves again.");
        }
    }

    /// The configuration is being read again.
    pub fn reloading(&mut self) {
        self.say(&["RELOADING=1".to_owned(), format!("MONOTONIC_USEC={}", monotonic_us())]);
    }

    /// That is done, and this is how it goes. Nothing is ready that was not ready before.
    pub fn reloaded(&mut self, status: String) {
        let ready = if self.ready { "READY=1" } else { "" };
        let lines = [ready.to_owned(), status_line(&status)];
        self.say(&lines[usize::from(ready.is_empty())..]);
        self.status = status;
    }

    /// The agent ends.
    pub fn stopping(&mut self) {
        self.say(&["STOPPING=1".to_owned(), status_line("saving what was learned, sending what can be sent")]);
    }

    /// Whether it was sent.
    fn say(&mut self, lines: &[String]) -> bool {
        !lines.is_empty() && self.notifier.as_mut().is_some_and(|notifier| notifier.say(lines))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixDatagram;

    /// A service manager that wants a sign of life every three seconds, and the watch that tells it.
    struct Rig {
        _folder: tempfile::TempDir,
        manager: UnixDatagram,
        pulses: Arc<Pulses>,
        watch: Watch,
    }

    impl Rig {
        fn new() -> Self {
            let folder = tempfile::tempdir().expect("a folder");
            let path = folder.path().join("notify");
            let manager = UnixDatagram::bind(&path).expect("bound");
            manager.set_nonblocking(true).expect("it can be set");
            let notifier = Notifier::new(path.as_os_str(), Some(Duration::from_secs(9))).expect("a socket");
            let pulses = Arc::new(Pulses::new(Duration::from_secs(1)));
            let watch = Watch::new(Arc::clone(&pulses), Some(notifier));
            Self { _folder: folder, manager, pulses, watch }
        }

        /// What the manager has heard, a message an element.
        fn heard(&self) -> Vec<String> {
            let mut buffer = [0; 2048];
            let receive = || {
                let length = self.manager.recv(&mut buffer).ok()?;
                Some(String::from_utf8_lossy(&buffer[..length]).into_owned())
            };
            std::iter::from_fn(receive).collect()
        }

        fn look(&mut self, now_ms: u64) -> Vec<String> {
            self.watch.look(now_ms, || "12 series".to_owned());
            self.heard()
        }
    }

    #[test]
    fn it_is_ready_after_the_first_sample_and_alive_while_all_move() {
        let mut rig = Rig::new();
        rig.pulses.sample.adopt();
        let start = now_ms();
        assert_eq!(rig.watch.rhythm(), SOON);
        assert!(rig.look(start).is_empty(), "nothing was sampled yet");
        rig.pulses.sample.beat();
        assert_eq!(rig.look(start + 1), ["READY=1\nWATCHDOG=1\nSTATUS=12 series"]);
        assert_eq!(rig.watch.rhythm(), Duration::from_secs(3));
        assert!(rig.look(start + 1_000).is_empty(), "it is not due, and nothing is new");
        assert_eq!(rig.look(start + 3_000), ["WATCHDOG=1"], "a little early counts");

        // The sampling thread does not move any more: no sign of life, but words.
        let stuck = rig.look(start + 18_100);
        assert_eq!(stuck.len(), 1);
        assert!(stuck[0].starts_with("STATUS=the thread tacit-sample (reads the machine)"), "{stuck:?}");
        assert!(rig.look(start + 21_100).iter().all(|m| !m.contains("WATCHDOG")));
        rig.pulses.sample.end();
        assert_eq!(rig.look(start + 24_100), ["WATCHDOG=1\nSTATUS=12 series"], "it goes on at once");
    }

    #[test]
    fn a_reload_and_an_end_are_told() {
        let mut rig = Rig::new();
        rig.pulses.sample.beat();
        rig.look(1);
        rig.watch.reloading();
        rig.watch.reloaded("configuration refused".into());
        rig.watch.stopping();
        let heard = rig.heard();
        assert!(heard[0].starts_with("RELOADING=1\nMONOTONIC_USEC="), "{heard:?}");
        assert_eq!(heard[1], "READY=1\nSTATUS=configuration refused");
        assert!(heard[2].starts_with("STOPPING=1\n"), "{heard:?}");
    }

    #[test]
    fn without_a_manager_it_only_looks() {
        let mut watch = Watch::new(Arc::new(Pulses::new(Duration::from_secs(1))), None);
        watch.look(1, || unreachable!("nobody asks"));
        watch.reloading();
        watch.stopping();
        assert_eq!(watch.rhythm(), LOOK);
    }
}
