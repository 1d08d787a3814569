//! All nodes on one clock: first their past, as fast as it can be computed, then second by second as somebody's clock says.

use std::path::Path;

use anyhow::Result;

use super::node::{Node, Schedule};
use super::post::Letter;
use super::shop::{MACHINES, WEB};

/// Seconds of quiet past from which the nodes learn what is usual.
pub const PAST_S: u64 = 3 * 3600;
/// Seconds of the past whose connections are told. A collector takes an address for a node's own from a quarter of an hour before
/// it heard of the node.
const LINKS_S: u64 = 12 * 60;
/// A package is upgraded on the second web server so long before the past ends: about five minutes before the failure.
const UPGRADED_S: u64 = 280;

/// The nodes of the shop.
pub struct Player {
    nodes: Vec<Node>,
    start_ms: i64,
    second: u64,
}

impl Player {
    /// Nodes whose past ends at `past_ends_ms` (Unix milliseconds). What they learn is kept below `folder`.
    ///
    /// # Errors
    /// When the folder cannot be used.
    pub fn new(folder: &Path, past_ends_ms: i64) -> Result<Self> {
        let start_ms = past_ends_ms - PAST_S as i64 * 1000;
        let node = |machine: usize| {
            let upgraded_at = (machine == WEB[1]).then_some(PAST_S - UPGRADED_S);
            Node::new(machine, folder, start_ms, Schedule { links_from: PAST_S - LINKS_S, upgraded_at })
        };
        let nodes = (0..MACHINES.len()).map(node).collect::<Result<_>>()?;
        Ok(Self { nodes, start_ms, second: 0 })
    }

    /// Lives through the past, each node on a thread of its own, while `go_on` says so. Gives for each node what there is to send of
    /// it; that is to follow what [`Player::introduce`] gives.
    ///
    /// # Errors
    /// When a message is beyond a bound of the protocol.
    pub fn learn(&mut self, go_on: &(dyn Fn() -> bool + Sync)) -> Result<Vec<Vec<Letter>>> {
        let learned = std::thread::scope(|scope| {
            let learn = |node| scope.spawn(move || Node::learn(node, PAST_S, go_on));
            let threads: Vec<_> = self.nodes.iter_mut().map(learn).collect();
            let letters = threads.into_iter().map(|thread| match thread.join() {
                Ok(letters) => letters,
                Err(panic) => std::panic::resume_unwind(panic),
            });
            letters.collect::<Result<Vec<_>, _>>()
        });
        self.second = PAST_S;
        Ok(learned?)
    }

    /// Births and dictionaries, as of `now_ms`.
    ///
    /// # Errors
    /// When a message is beyond a bound of the protocol.
    pub fn introduce(&self, now_ms: i64) -> Result<Vec<Letter>> {
        let mut letters = Vec::new();
        for node in &self.nodes {
            letters.extend(node.introduce(now_ms)?);
        }
        Ok(letters)
    }

    /// The second that comes next, from the beginning of the past.
    #[must_use]
    pub fn second(&self) -> u64 {
        self.second
    }

    /// When that is, Unix milliseconds.
    #[must_use]
    pub fn now_ms(&self) -> i64 {
        self.start_ms + self.second as i64 * 1000
    }

    /// Series of all nodes.
    #[must_use]
    pub fn series(&self) -> usize {
        self.nodes.iter().map(Node::series).sum()
    }

    /// The disk of the database begins to fail in this second.
    pub fn fail_at(&mut self, second: u64) {
        self.nodes.iter_mut().for_each(|node| node.fail_at(second));
    }

    /// The next second; what there is to send of it.
    ///
    /// # Errors
    /// When a message is beyond a bound of the protocol.
    pub fn step(&mut self) -> Result<Vec<Letter>> {
        let mut letters = Vec::new();
        for node in &mut self.nodes {
            node.step(&mut letters)?;
        }
        self.second += 1;
        Ok(letters)
    }
}
