//! Which service talks to which: every TCP connection (and UDP sockets with a peer), without eBPF and without privileges.
//!
//! ```text
//! socket   dumps of open sockets, events of closed ones   (request, message; proc_net where there is no netlink)
//!    ↓
//! tracker  joined by cookie; direction by listeners; owners from `owner`
//!    ↓
//! edges    figures of one minute, by edge ─→ services   rates of each service, as series of the node
//!    ↓
//! batch    what is told now, what waits, what goes on as it was told
//!    ↓
//! publish  ends announced in a dictionary → `links` messages
//! ```
//!
//! A thread of its own reads events every 100 or 250 ms, as the receive buffer allows, dumps every few seconds, asks for single sockets in between
//! where a client has no name ([`pace`]), and searches open files for owners when a dump has unknown ones (docs/decisions/005-threads.md). An [`Observer`] looks at its own network
//! namespace; those of containers need sockets that somebody opened inside ([`containers`]).

mod batch;
pub mod containers;
pub mod edges;
pub mod message;
mod observer;
mod owner;
mod pace;
mod proc_net;
mod publish;
pub mod request;
pub mod services;
pub mod socket;
mod tracker;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

pub use batch::Batch;
pub use observer::{Level, Observer};
pub use owner::{Owner, OwnerId, Owners};
pub use publish::{Observed, STEP_MS};
pub use services::ServiceFigures;
pub use tracker::Tracker;

use tokio::sync::mpsc;

use crate::clock::Tick;
use crate::config::{Config, LinksConfig, ProfileName};
use crate::context::Board;
use crate::detect::event::Sender;
use crate::outgoing::Outgoing;
use crate::source::Root;
use crate::watch::{Pulse, on_others};

/// The name on the board.
pub const NAME: &str = "links";

/// What the thread is given.
pub struct Watch {
    /// The machine.
    pub root: Root,
    /// `[links]`.
    pub config: LinksConfig,
    /// Who sends.
    pub sender: Sender,
    /// Where messages go.
    pub out: mpsc::Sender<Outgoing>,
    /// Where it is said what cannot be seen.
    pub board: Board,
    /// Where connections of services are shown.
    pub services: ServiceFigures,
    /// Set when the collector wants all ends announced again.
    pub announce: Arc<AtomicBool>,
}

/// Whether connections are observed; the profile `events` has no use for them.
#[must_use]
pub fn are_observed(config: &Config) -> bool {
    config.links.enabled && config.publish.profile != ProfileName::Events
}

impl Watch {
    /// Looks until told to stop, with a beat of `pulse` each time.
    pub fn run(self, stop: &Arc<AtomicBool>, pulse: &Pulse) {
        let mut observer = match Observer::open(&self.root, socket::WANTED) {
            Ok(observer) => observer.with_containers(&self.config.helper),
            Err(reason) => return self.board.set(NAME, Err(reason)),
        };
        let mut batch = Batch::new(i64::try_from(self.config.report.as_millis()).unwrap_or(STEP_MS));
        let mut services = services::Services::new(self.services);
        let mut minute = Tick::now().wall_ms.div_euclid(STEP_MS);
        let mut pace = pace::Pace::new(self.config.interval.std(), Instant::now());
        while !stop.load(Ordering::Relaxed) {
            pulse.beat();
            let lost = observer.hear();
            let now = Tick::now();
            let this_minute = now.wall_ms.div_euclid(STEP_MS);
            if lost || this_minute != minute || pace.is_due(Instant::now()) {
                let began = Instant::now();
                self.board.set(NAME, observer.look(now.mono_ms));
                let took = began.elapsed().saturating_sub(observer.took_inside());
                let regular = pace.looked(Instant::now(), took, observer.has_unnamed_clients());
                if regular || this_minute != minute {
                    services.looked(&observer.services(), observer.owners(), now.mono_ms);
                }
            }
            if this_minute != minute {
                let start_ms = std::mem::replace(&mut minute, this_minute) * STEP_MS;
                let (edges, observed) = observer.take(start_ms);
                services.interval_began();
                if self.announce.swap(false, Ordering::Relaxed) {
                    batch.tell_all();
                }
                let messages = batch.minute(edges, &observer.active(), observed, observer.owners(), &self.sender, now);
                for message in messages {
                    // While the network thread waits for its disk, this one waits for the network thread.
                    let _wait = on_others();
                    // Nobody takes messages any more when the agent ends.
                    if self.out.blocking_send(Outgoing::Links(Box::new(message))).is_err() {
                        return;
                    }
                }
            }
            rest(&mut observer, &mut pace);
        }
    }
}

/// Sleeps until there is something to do, and asks for single sockets meanwhile where that may name a client.
fn rest(observer: &mut Observer, pace: &mut pace::Pace) {
    let end = Instant::now() + pace.sleep(Instant::now(), observer.pause());
    loop {
        let now = Instant::now();
        let left = end.saturating_duration_since(now);
        let wait = if observer.has_guesses() { pace.until_question(now) } else { None };
        let Some(wait) = wait.filter(|wait| *wait < left) else { return std::thread::sleep(left) };
        std::thread::sleep(wait);
        let began = Instant::now();
        observer.ask();
        pace.asked(Instant::now(), began.elapsed());
    }
}

/// What would be seen on the machine below `root` with the helper at `helper`, and what is missing for more; for `doctor`.
///
/// # Errors
/// Why nothing would be seen.
pub fn examine(root: &Root, helper: &Path) -> Result<String, String> {
    let observer = Observer::open(root, socket::WANTED)?;
    Ok(if root.is_live() { observer.describe_with(&containers::examine(helper)) } else { observer.describe() })
}
