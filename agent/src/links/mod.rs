//! Which service talks to which: every TCP connection (and UDP sockets with a peer), without eBPF and without privileges.
//!
//! ```text
//! socket   dumps of open sockets, events of closed ones   (request, message; proc_net where there is no netlink)
//!    ↓
//! tracker  joined by cookie; direction by listeners; owners from `owner`
//!    ↓
//! edges    figures of one minute, by edge
//!    ↓
//! publish  ends announced in a dictionary, edges that moved → `links` message
//! ```
//!
//! A thread of its own reads events every 100 or 250 ms, as the receive buffer allows, dumps every few seconds, and searches
//! open files for owners when a dump has unknown ones (docs/decisions/005-threads.md). One [`Observer`] looks at one network
//! namespace; those of containers need sockets that somebody opened inside ([`socket::Sockets::from_descriptors`]).

pub mod edges;
pub mod message;
mod observer;
mod owner;
mod proc_net;
mod publish;
pub mod request;
pub mod socket;
mod tracker;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

pub use observer::{Level, Observer};
pub use owner::{Owner, OwnerId, Owners};
pub use publish::{Dictionary, Observed, STEP_MS};
pub use tracker::Tracker;

use tokio::sync::mpsc;

use crate::clock::Tick;
use crate::config::LinksConfig;
use crate::context::Board;
use crate::detect::event::Sender;
use crate::outgoing::Outgoing;
use crate::source::Root;

/// The name on the board.
pub const NAME: &str = "links";
/// A dump waits at least so many times what the last one took: 5,000 sockets cost 0.4 % of a core at most.
const REST: u32 = 250;

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
}

impl Watch {
    /// Looks until told to stop.
    pub fn run(self, stop: &Arc<AtomicBool>) {
        let mut observer = match Observer::open(&self.root, socket::WANTED) {
            Ok(observer) => observer,
            Err(reason) => return self.board.set(NAME, Err(reason)),
        };
        let mut dictionary = Dictionary::default();
        let mut minute = Tick::now().wall_ms.div_euclid(STEP_MS);
        let mut next_dump = Instant::now();
        while !stop.load(Ordering::Relaxed) {
            let lost = observer.hear();
            let now = Tick::now();
            let this_minute = now.wall_ms.div_euclid(STEP_MS);
            if lost || this_minute != minute || Instant::now() >= next_dump {
                let began = Instant::now();
                self.board.set(NAME, observer.look(now.mono_ms));
                next_dump = Instant::now() + self.config.interval.std().max(began.elapsed() * REST);
            }
            if this_minute != minute {
                let start_ms = std::mem::replace(&mut minute, this_minute) * STEP_MS;
                let (edges, observed) = observer.take(start_ms);
                let message = dictionary.message(edges, observer.owners(), observed, &self.sender, now);
                // Nobody takes messages any more when the agent ends.
                if message.is_some_and(|m| self.out.blocking_send(Outgoing::Links(Box::new(m))).is_err()) {
                    return;
                }
            }
            std::thread::sleep(observer.pause());
        }
    }
}

/// What would be seen on the machine below `root`, and what is missing for more; for `doctor`.
///
/// # Errors
/// Why nothing would be seen.
pub fn examine(root: &Root) -> Result<String, String> {
    Ok(Observer::open(root, socket::WANTED)?.describe())
}
