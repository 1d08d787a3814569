//! Which end of a connection serves, as far as a single socket tells.

use std::net::IpAddr;

use crate::links::edges::Key;
use crate::links::message::{LISTEN, Record, Transport};
use crate::links::owner::OwnerId;

/// Where clients' ports begin when nothing else is said (`ip_local_port_range`).
const EPHEMERAL: u16 = 32_768;
/// `TCP_SYN_RECV`: a peer that may not be there.
const SYN_RECV: u8 = 3;

/// What was found out about a connection's ends.
pub struct Placed {
    /// Its edge.
    pub key: Key,
    /// How sure its owner is.
    pub confidence: f32,
    /// The port that the client has.
    pub client_port: u16,
}

/// Whether it waits for connections.
pub fn is_listener(record: &Record) -> bool {
    record.transport == Transport::Tcp && record.state == LISTEN
}

/// Whether it has a peer and is followed.
pub fn is_open(record: &Record) -> bool {
    record.state != LISTEN && record.state != SYN_RECV && record.cookie != 0 && !record.remote.is_unspecified()
}

/// Whether what listens on one address takes connections to another.
pub fn listens_on(listening: IpAddr, local: IpAddr) -> bool {
    // `[::]` takes IPv4 too, unless a socket asked for the opposite.
    listening == local || (listening.is_unspecified() && (listening.is_ipv6() || local.is_ipv4()))
}

/// Without a known listener (it came and went between two dumps) only numbers tell: a low port talks to a high one.
pub fn guessed_server(record: &Record) -> bool {
    record.local_port != 0 && record.local_port < EPHEMERAL && record.remote_port >= EPHEMERAL
}

/// The edge of a socket.
pub fn key_of(record: &Record, server: bool, owner: OwnerId) -> Key {
    Key {
        transport: record.transport,
        server,
        local: (!record.local.is_unspecified()).then_some(record.local),
        port: if server { record.local_port } else { 0 },
        owner,
        peer: Some(record.remote),
        peer_port: if server { 0 } else { record.remote_port },
    }
}

/// A socket with its edge.
pub fn placed(record: &Record, server: bool, owner: OwnerId, confidence: f32) -> Placed {
    let client_port = if server { record.remote_port } else { record.local_port };
    Placed { key: key_of(record, server, owner), confidence, client_port }
}
