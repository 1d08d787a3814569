//! What is asked of the kernel: `struct inet_diag_req_v2` behind a netlink header, a dump of one family and transport, or one connection.

use std::net::{IpAddr, SocketAddr};

use super::message::{SOCK_DIAG_BY_FAMILY, Transport};

/// All TCP states but `TIME_WAIT` (6), which has neither owner nor figures and may outnumber all others.
const TCP_STATES: u32 = 0xfbf;
/// A UDP socket with a peer counts as established.
const UDP_STATES: u32 = 1 << 1;
const REQUEST: u16 = 0x1;
const REQUEST_AND_DUMP: u16 = REQUEST | 0x300;
/// `1 << (INET_DIAG_INFO - 1)`.
const WITH_INFO: u8 = 2;
/// Length of a request.
pub const LENGTH: usize = 72;

/// The questions of one look at a namespace.
pub const QUESTIONS: [(u8, Transport); 4] =
    [(2, Transport::Tcp), (10, Transport::Tcp), (2, Transport::Udp), (10, Transport::Udp)];

/// A dump request.
#[must_use]
pub fn dump(family: u8, transport: Transport, sequence: u32) -> [u8; LENGTH] {
    let (protocol, states) = match transport {
        Transport::Tcp => (6, TCP_STATES),
        Transport::Udp => (17, UDP_STATES),
    };
    let mut request = begun(REQUEST_AND_DUMP, sequence);
    request[16..19].copy_from_slice(&[family, protocol, WITH_INFO]);
    request[20..24].copy_from_slice(&states.to_ne_bytes());
    request
}

/// A request for the TCP connection between two ends, `own` being the near one. One of IPv4 is found on a socket of IPv6 too.
#[must_use]
pub fn connection(own: SocketAddr, other: SocketAddr, sequence: u32) -> [u8; LENGTH] {
    let mut request = begun(REQUEST, sequence);
    request[16..18].copy_from_slice(&[if other.is_ipv4() { 2 } else { 10 }, 6]);
    request[20..24].copy_from_slice(&TCP_STATES.to_ne_bytes());
    request[24..26].copy_from_slice(&own.port().to_be_bytes());
    request[26..28].copy_from_slice(&other.port().to_be_bytes());
    for (at, address) in [(28, own.ip()), (44, other.ip())] {
        match address {
            IpAddr::V4(four) => request[at..at + 4].copy_from_slice(&four.octets()),
            IpAddr::V6(six) => request[at..at + 16].copy_from_slice(&six.octets()),
        }
    }
    // Whatever its cookie is.
    request[64..72].fill(0xff);
    request
}

fn begun(flags: u16, sequence: u32) -> [u8; LENGTH] {
    let mut request = [0; LENGTH];
    request[0..4].copy_from_slice(&(LENGTH as u32).to_ne_bytes());
    request[4..6].copy_from_slice(&SOCK_DIAG_BY_FAMILY.to_ne_bytes());
    request[6..8].copy_from_slice(&flags.to_ne_bytes());
    request[8..12].copy_from_slice(&sequence.to_ne_bytes());
    request
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_wait_is_left_out() {
        let request = dump(2, Transport::Tcp, 7);
        assert_eq!(u32::from_ne_bytes(request[20..24].try_into().expect("four bytes")) & 1 << 6, 0);
        assert_eq!((request[16], request[17], request[18]), (2, 6, 2));
    }
    #[test]
    fn one_connection_is_asked_for_by_both_ends() {
        let end = |last: u8, port: u16| SocketAddr::from(([10, 0, 0, last], port));
        let request = connection(end(1, 40_000), end(2, 80), 7);
        assert_eq!((request[16], request[17], request[6..8].to_vec()), (2, 6, 1_u16.to_ne_bytes().to_vec()));
        assert_eq!(request[24..32], [0x9c, 0x40, 0, 80, 10, 0, 0, 1]);
        assert_eq!((&request[44..48], &request[64..72]), (&[10, 0, 0, 2][..], &[0xff; 8][..]));
    }
}
