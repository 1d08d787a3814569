//! What is asked of the kernel: `struct inet_diag_req_v2` behind a netlink header, a dump of one family and transport.

use super::message::{SOCK_DIAG_BY_FAMILY, Transport};

/// All TCP states but `TIME_WAIT` (6), which has neither owner nor figures and may outnumber all others.
const TCP_STATES: u32 = 0xfbf;
/// A UDP socket with a peer counts as established.
const UDP_STATES: u32 = 1 << 1;
const REQUEST_AND_DUMP: u16 = 0x1 | 0x300;
/// `1 << (INET_DIAG_INFO - 1)`.
const WITH_INFO: u8 = 2;
const LENGTH: usize = 72;

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
    let mut request = [0; LENGTH];
    request[0..4].copy_from_slice(&(LENGTH as u32).to_ne_bytes());
    request[4..6].copy_from_slice(&SOCK_DIAG_BY_FAMILY.to_ne_bytes());
    request[6..8].copy_from_slice(&REQUEST_AND_DUMP.to_ne_bytes());
    request[8..12].copy_from_slice(&sequence.to_ne_bytes());
    request[16..19].copy_from_slice(&[family, protocol, WITH_INFO]);
    request[20..24].copy_from_slice(&states.to_ne_bytes());
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
}
