//! One container's network namespace.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::path::Path;

use rustix::net::sockopt;

use super::helper::Passed;
use crate::links::edges::{Figures, Key};
use crate::links::message::{LISTEN, Record};
use crate::links::owner::{Owners, Place, UNATTRIBUTED};
use crate::links::socket::{SocketError, Sockets};
use crate::links::tracker::Tracker;

/// Receive buffer asked for; the kernel doubles it to 1 MiB, some 800 events. Less than for the agent's own namespace, as there
/// may be many.
const ROOM: usize = 512 * 1024;
/// Connections followed in one namespace; those beyond it are counted when they end.
const FOLLOWED: usize = 4096;
/// Sockets taken out of one dump, so that a namespace with a million of them costs others no memory.
const LISTENERS: usize = 1024;
const CONNECTIONS: usize = 16_384;

/// A namespace that is looked at.
#[derive(Debug)]
pub struct Space {
    /// Its inode, and whose it is.
    pub place: Place,
    /// Whether it has a name.
    named: bool,
    /// The process that it was entered by; none once that is gone, or where processes are hidden.
    process: Option<u32>,
    sockets: Sockets,
    tracker: Tracker,
    /// When it may be looked at again.
    pub next_look_ms: u64,
    /// When it was looked at last, and until when it rests for what that took.
    pub looked_ms: u64,
    pub rest_until_ms: u64,
}

impl Space {
    /// Takes over what the helper opened.
    ///
    /// # Errors
    /// When these are no sockets.
    pub fn new(passed: Passed, owners: &mut Owners) -> Result<Self, SocketError> {
        let [asking, hearing] = passed.sockets;
        // The helper may not go beyond rmem_max (it has no CAP_NET_ADMIN, on purpose); an agent of level 2 may.
        if sockopt::set_socket_recv_buffer_size_force(&hearing, ROOM).is_err() {
            sockopt::set_socket_recv_buffer_size(&hearing, ROOM)?;
        }
        let owner = owners.of_namespace(passed.inode, &passed.cgroup);
        Ok(Self {
            place: Place { scope: passed.inode, owner },
            named: !owners.get(owner).name.is_empty(),
            process: Some(passed.process).filter(|process| exists(*process)),
            sockets: Sockets::from_descriptors(asking, hearing)?,
            tracker: Tracker::with_room(FOLLOWED),
            next_look_ms: 0,
            looked_ms: 0,
            rest_until_ms: 0,
        })
    }

    /// Whether the process that it was entered by has just ended; said once.
    pub fn has_lost_its_process(&mut self) -> bool {
        let gone = self.process.is_some_and(|process| !exists(process));
        if gone {
            self.process = None;
        }
        gone
    }

    /// Whether the process that it was entered by is still there.
    #[must_use]
    pub fn has_its_process(&self) -> bool {
        self.process.is_some()
    }

    /// Bytes of its receive buffer.
    #[must_use]
    pub fn room(&self) -> usize {
        self.sockets.room
    }

    /// Hears of closed sockets. Returns how many events were lost; then its next look is due.
    pub fn hear(&mut self, owners: &Owners) -> u64 {
        owners.enter(self.place);
        let tracker = &mut self.tracker;
        tracker.batch();
        // Another failure than a full buffer shows at the next look as well.
        let lost = self.sockets.closed(|record| tracker.closed(record, owners)).unwrap_or(0);
        if lost > 0 {
            self.next_look_ms = self.next_look_ms.min(self.rest_until_ms);
        }
        lost
    }

    /// Dumps its sockets.
    ///
    /// # Errors
    /// When the kernel does not answer.
    pub fn look(&mut self, owners: &mut Owners, records: &mut Vec<Record>, now_ms: u64) -> Result<(), SocketError> {
        owners.enter(self.place);
        records.clear();
        let (mut listeners, mut connections) = (LISTENERS, CONNECTIONS);
        self.sockets.dump(|record| {
            let left = if record.state == LISTEN { &mut listeners } else { &mut connections };
            if *left > 0 {
                *left -= 1;
                records.push(*record);
            }
        })?;
        self.tracker.dumped(records, owners, true, now_ms);
        Ok(())
    }

    /// Its edges since the last call.
    pub fn take(&mut self, owners: &Owners) -> HashMap<Key, Figures> {
        owners.enter(self.place);
        let mut edges = HashMap::new();
        for (mut key, mut figures) in self.tracker.take(owners) {
            if key.owner == UNATTRIBUTED {
                key.owner = self.place.owner;
                figures.judged_anew(if self.named { 1.0 } else { 0.0 });
            }
            add(&mut edges, key, figures);
        }
        edges
    }

    /// The last edges of a namespace whose processes have ended, and so all connections.
    pub fn end(mut self, owners: &mut Owners, now_ms: u64) -> HashMap<Key, Figures> {
        self.hear(owners);
        self.tracker.dumped(&[], owners, false, now_ms);
        let edges = self.take(owners);
        owners.forget(self.place.scope);
        edges
    }

    /// Adds the connections that are open now.
    pub fn active(&self, owners: &Owners, all: &mut HashMap<Key, u32>) {
        owners.enter(self.place);
        for (mut key, active) in self.tracker.active(owners) {
            if key.owner == UNATTRIBUTED {
                key.owner = self.place.owner;
            }
            *all.entry(key).or_default() += active;
        }
    }

    /// What its connections add up to.
    #[must_use]
    pub fn tracker(&self) -> &Tracker {
        &self.tracker
    }
}

/// Adds figures to those of the same edge.
pub fn add(edges: &mut HashMap<Key, Figures>, key: Key, figures: Figures) {
    match edges.entry(key) {
        Entry::Occupied(mut known) => known.get_mut().merge(figures),
        Entry::Vacant(new) => {
            new.insert(figures);
        }
    }
}

fn exists(process: u32) -> bool {
    Path::new("/proc").join(process.to_string()).exists()
}
