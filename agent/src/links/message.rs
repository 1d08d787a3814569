//! What the kernel says of a socket: `struct inet_diag_msg` with attributes, in dumps and in destroy events.
//!
//! ```text
//! nlmsghdr      length u32, type u16, flags u16, sequence u32, port u32
//! inet_diag_msg family, state, timer, retrans; ports (big-endian); two addresses of 16 bytes; interface; cookie;
//!               expires, rqueue, wqueue, uid, inode                                     (72 bytes)
//! attributes    length u16, type u16, value; padded to four
//! ```
//!
//! All functions here are total: whatever the bytes are, the answer is records or nothing.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Bytes of `nlmsghdr` and of `inet_diag_msg`.
const HEADER: usize = 16;
const FIXED: usize = 72;
const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
/// Type of both requests and answers.
pub const SOCK_DIAG_BY_FAMILY: u16 = 20;
const INET_DIAG_INFO: u16 = 2;
const INET_DIAG_PROTOCOL: u16 = 10;
const INET_DIAG_CGROUP_ID: u16 = 21;
/// `TCP_LISTEN`.
pub const LISTEN: u8 = 10;

/// Transport, as the kernel numbers it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Transport {
    /// 6.
    Tcp,
    /// 17.
    Udp,
}

/// One socket.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Record {
    /// Transport.
    pub transport: Transport,
    /// TCP's state; always 7 (closed) in destroy events.
    pub state: u8,
    /// This end.
    pub local: IpAddr,
    /// Its port.
    pub local_port: u16,
    /// The other end; unspecified when there is none.
    pub remote: IpAddr,
    /// Its port.
    pub remote_port: u16,
    /// The kernel's name of the socket, never used twice while the host is up.
    pub cookie: u64,
    /// Of a listener: connections that wait to be accepted.
    pub queue: u32,
    /// Inode; 0 in destroy events.
    pub inode: u32,
    /// Id of the control group at creation; 0 when not told.
    pub cgroup: u64,
    /// TCP's own figures.
    pub info: Option<Info>,
}

/// The part of `tcp_info` that is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Info {
    /// Smoothed round trip in microseconds; 0 before the first.
    pub rtt_us: u32,
    /// Least round trip in microseconds; `u32::MAX` before the first.
    pub min_rtt_us: u32,
    /// Segments sent again, since the start.
    pub retransmits: u32,
    /// Bytes acknowledged by the peer; SYN and FIN count one each.
    pub acked: u64,
    /// Bytes received; FIN counts one.
    pub received: u64,
}

impl Info {
    /// Whether there never was a connection.
    #[must_use]
    pub fn never_connected(&self) -> bool {
        self.rtt_us == 0 && self.min_rtt_us == u32::MAX && self.acked == 0 && self.received == 0
    }
}

/// One netlink message.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Message {
    /// A socket.
    Socket(Record),
    /// The dump is complete.
    Done,
    /// The kernel refuses, with its error number.
    Refused(i32),
    /// Something else, or a socket of another family.
    Other,
}

/// The messages of one datagram. A damaged one ends the list.
pub fn messages(bytes: &[u8]) -> impl Iterator<Item = Message> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        let length = usize::try_from(u32_at(rest, 0)?).ok().filter(|l| *l >= HEADER)?;
        let kind = u16_at(rest, 4)?;
        let body = rest.get(HEADER..length)?;
        rest = rest.get(padded(length)..).unwrap_or_default();
        Some(match kind {
            SOCK_DIAG_BY_FAMILY => record(body).map_or(Message::Other, Message::Socket),
            NLMSG_DONE => Message::Done,
            NLMSG_ERROR => match u32_at(body, 0).map(u32::cast_signed) {
                None | Some(0) => Message::Done,
                Some(error) => Message::Refused(error.saturating_neg()),
            },
            _ => Message::Other,
        })
    })
}

/// One `inet_diag_msg` with its attributes.
#[must_use]
pub fn record(body: &[u8]) -> Option<Record> {
    let family = *body.first()?;
    let port = |at: usize| Some(u16::from_be_bytes(array(body, at)?));
    let mut record = Record {
        transport: Transport::Tcp,
        state: *body.get(1)?,
        local: address(family, array(body, 8)?)?,
        local_port: port(4)?,
        remote: address(family, array(body, 24)?)?,
        remote_port: port(6)?,
        cookie: u64::from(u32_at(body, 44)?) | u64::from(u32_at(body, 48)?) << 32,
        queue: u32_at(body, 56)?,
        inode: u32_at(body, 68)?,
        cgroup: 0,
        info: None,
    };
    for (kind, value) in attributes(body.get(FIXED..)?) {
        match kind {
            INET_DIAG_INFO => record.info = info(value),
            INET_DIAG_CGROUP_ID => record.cgroup = array(value, 0).map(u64::from_ne_bytes).unwrap_or_default(),
            INET_DIAG_PROTOCOL if value.first() == Some(&17) => record.transport = Transport::Udp,
            _ => {}
        }
    }
    Some(record)
}

fn attributes(bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        let length = usize::from(u16_at(rest, 0)?);
        let kind = u16_at(rest, 2)?;
        let value = rest.get(4..length)?;
        rest = rest.get(padded(length)..).unwrap_or_default();
        Some((kind, value))
    })
}

/// Older kernels have a shorter structure; what is missing there is zero.
fn info(value: &[u8]) -> Option<Info> {
    let long = |at: usize| array(value, at).map(u64::from_ne_bytes).unwrap_or_default();
    Some(Info {
        rtt_us: u32_at(value, 68)?,
        retransmits: u32_at(value, 100)?,
        acked: long(120),
        received: long(128),
        min_rtt_us: u32_at(value, 148).unwrap_or(u32::MAX),
    })
}

fn address(family: u8, bytes: [u8; 16]) -> Option<IpAddr> {
    match family {
        AF_INET => Some(IpAddr::V4(Ipv4Addr::new(bytes[0], bytes[1], bytes[2], bytes[3]))),
        AF_INET6 => Some(IpAddr::V6(Ipv6Addr::from(bytes)).to_canonical()),
        _ => None,
    }
}

fn padded(length: usize) -> usize {
    length.saturating_add(3) & !3
}

fn array<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at.checked_add(N)?)?.try_into().ok()
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    array(bytes, at).map(u16::from_ne_bytes)
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    array(bytes, at).map(u32::from_ne_bytes)
}

#[cfg(test)]
pub mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A destroy event as this kernel writes it: a closed connection 10.0.0.1:40000 → 10.0.0.2:80.
    #[must_use]
    pub fn event() -> Vec<u8> {
        let mut body = vec![AF_INET, 7, 0, 0];
        body.extend(40_000_u16.to_be_bytes());
        body.extend(80_u16.to_be_bytes());
        for last in [1, 2] {
            body.extend([10, 0, 0, last]);
            body.extend([0; 12]);
        }
        body.extend([0; 4]);
        body.extend(77_u64.to_ne_bytes());
        body.extend([0; 20]);
        body.extend([5, 0, 10, 0, 6, 0, 0, 0]);
        let mut info = [0_u8; 280];
        info[68..72].copy_from_slice(&250_u32.to_ne_bytes());
        info[100..104].copy_from_slice(&3_u32.to_ne_bytes());
        info[120..128].copy_from_slice(&1002_u64.to_ne_bytes());
        info[128..136].copy_from_slice(&501_u64.to_ne_bytes());
        info[148..152].copy_from_slice(&200_u32.to_ne_bytes());
        body.extend(284_u16.to_ne_bytes());
        body.extend(INET_DIAG_INFO.to_ne_bytes());
        body.extend(info);
        let mut message = u32::try_from(HEADER + body.len()).expect("small").to_ne_bytes().to_vec();
        message.extend(SOCK_DIAG_BY_FAMILY.to_ne_bytes());
        message.extend([0; 10]);
        message.extend(body);
        message
    }

    #[test]
    fn an_event_is_read() {
        let bytes = event();
        assert_eq!(bytes.len(), 380);
        let found: Vec<Message> = messages(&bytes).collect();
        let [Message::Socket(record)] = found[..] else { panic!("{found:?}") };
        assert_eq!(
            (record.local.to_string().as_str(), record.local_port, record.remote_port),
            ("10.0.0.1", 40_000, 80)
        );
        assert_eq!((record.cookie, record.state, record.transport), (77, 7, Transport::Tcp));
        let info = Info { rtt_us: 250, min_rtt_us: 200, retransmits: 3, acked: 1002, received: 501 };
        assert_eq!(record.info, Some(info));
    }

    #[test]
    fn the_end_and_a_refusal_are_told_apart() {
        let message = |kind: u16, value: i32| {
            [&20_u32.to_ne_bytes()[..], &kind.to_ne_bytes(), &[0; 10], &value.to_ne_bytes()].concat()
        };
        let all = [message(3, 0), message(2, -93), message(2, 0), message(99, 0)].concat();
        let found: Vec<Message> = messages(&all).collect();
        assert_eq!(found, [Message::Done, Message::Refused(93), Message::Done, Message::Other]);
    }

    proptest! {
        /// Law: whatever the bytes are, reading ends and does not panic.
        #[test]
        fn garbage_is_no_danger(bytes in proptest::collection::vec(any::<u8>(), 0..600), cut in 0..380_usize, at in 0..380_usize, with: u8) {
            prop_assert!(messages(&bytes).count() <= bytes.len());
            let mut event = event();
            event[at] = with;
            prop_assert!(messages(&event[..cut]).count() <= cut);
        }
    }
}
