//! One echo request, by the kernel's unprivileged ICMP sockets (`SOCK_DGRAM` with `IPPROTO_ICMP`, icmp(7)).
//!
//! They are open to the groups in `net.ipv4.ping_group_range`; the agent asks for no capability instead. The kernel puts
//! in identifier and checksum and gives back only answers to this socket.

use std::io;
use std::net::SocketAddr;

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, ipproto, socket_with};
use tokio::net::UdpSocket;

/// Header (RFC 792, RFC 4443) and what makes the answer ours.
pub const LENGTH: usize = 16;

/// Opens a socket; outside of a runtime this says whether the kernel lets us.
///
/// # Errors
/// Why not, in words that say what helps.
pub fn open(v6: bool) -> Result<std::net::UdpSocket, String> {
    let (family, protocol) =
        if v6 { (AddressFamily::INET6, ipproto::ICMPV6) } else { (AddressFamily::INET, ipproto::ICMP) };
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let socket = socket_with(family, SocketType::DGRAM, flags, Some(protocol)).map_err(|error| match error {
        Errno::ACCESS | Errno::PERM => {
            "the kernel does not let this user ping: set net.ipv4.ping_group_range so that it \
            holds the agent's group (as in \"0 2147483647\")"
                .to_owned()
        }
        other => format!("cannot open an ICMP socket: {other}"),
    })?;
    Ok(socket.into())
}

/// An echo request.
#[must_use]
pub fn request(v6: bool, sequence: u16, token: u64) -> [u8; LENGTH] {
    let mut packet = [0; LENGTH];
    packet[0] = if v6 { 128 } else { 8 };
    packet[6..8].copy_from_slice(&sequence.to_be_bytes());
    packet[8..].copy_from_slice(&token.to_be_bytes());
    packet
}

/// Whether a packet answers that request.
#[must_use]
pub fn answers(v6: bool, packet: &[u8], sequence: u16, token: u64) -> bool {
    let reply = if v6 { 129 } else { 0 };
    packet.len() >= LENGTH
        && packet[..2] == [reply, 0]
        && packet[6..8] == sequence.to_be_bytes()
        && packet[8..LENGTH] == token.to_be_bytes()
}

/// Sends a request and waits for its answer, as long as it takes.
///
/// # Errors
/// When it cannot be sent, or the network says that it cannot arrive.
pub async fn ping(address: SocketAddr, sequence: u16) -> Result<(), String> {
    let v6 = address.is_ipv6();
    let words = |e: io::Error| e.to_string();
    let socket = UdpSocket::from_std(open(v6)?).map_err(words)?;
    socket.connect(address).await.map_err(words)?;
    let token = fastrand::u64(..);
    socket.send(&request(v6, sequence, token)).await.map_err(words)?;
    let mut packet = [0; 128];
    loop {
        let n = socket.recv(&mut packet).await.map_err(words)?;
        if answers(v6, &packet[..n], sequence, token) {
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn only_the_answer_to_the_question_counts() {
        for (v6, reply) in [(false, 0), (true, 129)] {
            let mut packet = request(v6, 7, 42);
            assert!(!answers(v6, &packet, 7, 42), "the request itself is no answer");
            packet[0] = reply;
            assert!(answers(v6, &packet, 7, 42));
            assert!(!answers(v6, &packet, 8, 42) && !answers(v6, &packet, 7, 43) && !answers(v6, &packet[..15], 7, 42));
        }
    }

    proptest! {
        /// Law: no packet makes it panic.
        #[test]
        fn any_packet_is_looked_at(packet in any::<Vec<u8>>(), v6 in any::<bool>()) {
            let _ = answers(v6, &packet, 1, 2);
        }
    }
}
