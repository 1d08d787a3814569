//! What earlier minutes taught: where a destination really ends, and whose a client address is.
//!
//! A half alone cannot name the other end's owner. When both were seen once, the next lone half goes to the same edge
//! instead of making a nameless one beside it.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use tacit_wire::message::{OwnerKind, Protocol};

use super::half::NodeNo;

/// How long a lesson lasts without being renewed.
const KEPT_MS: i64 = 26 * 3_600_000;
/// Ends that one key remembers.
const ENDS_MAX: usize = 16;
/// Lessons of each kind; beyond it nothing new is learned until old ones end.
const LESSONS_MAX: usize = 500_000;

/// A client's destination as it sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Destination {
    /// Node of the client.
    pub node: NodeNo,
    /// Transport.
    pub protocol: Protocol,
    /// Address it connects to.
    pub ip: IpAddr,
    /// Port it connects to.
    pub port: u16,
    /// Namespace of a destination on loopback; see [`Half::loop_scope`](super::half::Half::loop_scope).
    pub scope: u32,
}

/// A server's client as it sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Source {
    /// Node of the server.
    pub node: NodeNo,
    /// Transport.
    pub protocol: Protocol,
    /// Its own port.
    pub port: u16,
    /// Address of the client.
    pub ip: IpAddr,
    /// Namespace of a client on loopback.
    pub scope: u32,
}

/// One end, as far as it is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct End {
    /// Its node.
    pub node: NodeNo,
    /// Its owner.
    pub owner: Option<Arc<str>>,
    /// How the owner was found.
    pub kind: OwnerKind,
    /// Its port, of a server.
    pub port: u16,
    /// Whether the client's address for it is not its own.
    pub via: Option<(IpAddr, u16)>,
}

#[derive(Debug, Clone)]
struct Lesson {
    end: End,
    at: i64,
}

/// The lessons.
#[derive(Debug, Default)]
pub struct Pairs {
    servers: HashMap<Destination, Vec<Lesson>>,
    clients: HashMap<Source, Vec<Lesson>>,
    listeners: HashMap<(NodeNo, Protocol, u16), Lesson>,
}

fn renew(lessons: &mut Vec<Lesson>, end: End, at: i64) {
    if let Some(known) = lessons.iter_mut().find(|l| l.end == end) {
        known.at = known.at.max(at);
    } else if lessons.len() < ENDS_MAX {
        lessons.push(Lesson { end, at });
    }
}

impl Pairs {
    /// Both halves of an edge were seen.
    pub fn learn(&mut self, destination: Destination, server: End, source: Source, client: End, at: i64) {
        if self.servers.len() < LESSONS_MAX || self.servers.contains_key(&destination) {
            renew(self.servers.entry(destination).or_default(), server, at);
        }
        if self.clients.len() < LESSONS_MAX || self.clients.contains_key(&source) {
            renew(self.clients.entry(source).or_default(), client, at);
        }
    }

    /// Somebody listens on a port.
    pub fn listens(&mut self, protocol: Protocol, end: End, at: i64) {
        let key = (end.node, protocol, end.port);
        if self.listeners.len() < LESSONS_MAX || self.listeners.contains_key(&key) {
            let known = self.listeners.entry(key).or_insert_with(|| Lesson { end: end.clone(), at });
            if at >= known.at {
                *known = Lesson { end, at };
            }
        }
    }

    /// Where a destination ended in the minutes before, newest first.
    #[must_use]
    pub fn servers(&self, destination: &Destination) -> Vec<End> {
        recent(self.servers.get(destination))
    }

    /// Whose a client address was in the minutes before, newest first.
    #[must_use]
    pub fn clients(&self, source: &Source) -> Vec<End> {
        recent(self.clients.get(source))
    }

    /// Who listens on a port of a node.
    #[must_use]
    pub fn listener(&self, node: NodeNo, protocol: Protocol, port: u16) -> Option<&End> {
        self.listeners.get(&(node, protocol, port)).map(|l| &l.end)
    }

    /// Forgets what was not renewed for long.
    pub fn forget(&mut self, now: i64) {
        let fresh = |l: &Lesson| now - l.at < KEPT_MS;
        for lessons in [&mut self.servers.values_mut().collect::<Vec<_>>(), &mut self.clients.values_mut().collect()] {
            for list in lessons.iter_mut() {
                list.retain(fresh);
            }
        }
        self.servers.retain(|_, l| !l.is_empty());
        self.clients.retain(|_, l| !l.is_empty());
        self.listeners.retain(|_, l| fresh(l));
    }
}

fn recent(lessons: Option<&Vec<Lesson>>) -> Vec<End> {
    let mut found: Vec<&Lesson> = lessons.into_iter().flatten().collect();
    found.sort_by_key(|l| std::cmp::Reverse(l.at));
    let newest = found.first().map_or(0, |l| l.at);
    // What was last seen together is together; older ones have moved away.
    found.into_iter().filter(|l| newest - l.at <= 180_000).map(|l| l.end.clone()).collect()
}
