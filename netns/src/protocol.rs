//! What is said over the socket (`SOCK_SEQPACKET`, one message a packet, little-endian).
//!
//! ```text
//! request  kind u8 (1 list, 2 open), version u8, zero u16, inode u32                                  8 bytes, always
//! answer   kind u8 (1 list, 2 opened, 255 refused), version u8, detail u16, then
//!          list     detail 1: there are more than told; inodes u32 × n
//!          opened   inode u32, process u32, text of its /proc/PID/cgroup; with two descriptors: for dumps, for events
//!          refused  detail: the reason; inode u32
//! ```
//!
//! Both directions are read by total functions: whatever the bytes are, the answer is a message or nothing.

/// Version of the protocol; another one is not understood.
pub const VERSION: u8 = 1;
/// Bytes of a request.
pub const REQUEST: usize = 8;
/// Namespaces that are listed at most.
pub const MOST_SPACES: usize = 512;
/// Bytes of a control group's text at most.
pub const MOST_CGROUP: usize = 4096;
/// Bytes of an answer at most.
pub const MOST_ANSWER: usize = HEADER + 8 + MOST_CGROUP;
/// Namespaces that may be opened over one connection.
pub const MOST_OPENED: u32 = 256;
/// Groups 1 to 4 of `NETLINK_SOCK_DIAG`: destroyed sockets of TCP and UDP over both families.
pub const DESTROY: u32 = 0xf;

const HEADER: usize = 4;
const LIST: u8 = 1;
const OPEN: u8 = 2;
const REFUSED: u8 = 255;

/// What may be asked; there is nothing else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Request {
    /// Which namespaces have processes?
    List,
    /// Two sockets inside the namespace with this inode, which was listed over this connection.
    Open(u32),
}

/// What is answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// Namespaces that have processes.
    List {
        /// Their inodes.
        inodes: Vec<u32>,
        /// Whether there are more than can be told.
        more: bool,
    },
    /// The sockets come with this answer.
    Opened {
        /// The namespace.
        inode: u32,
        /// A process in it.
        process: u32,
        /// Text of that process's `/proc/PID/cgroup`, cut to [`MOST_CGROUP`].
        cgroup: String,
    },
    /// There are none.
    Refused {
        /// The namespace.
        inode: u32,
        /// Why.
        reason: Reason,
    },
}

/// Why there are no sockets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// No process is in it any more.
    Gone,
    /// It was not listed over this connection.
    Unlisted,
    /// The kernel does not let this program in, or has no such sockets.
    Kernel,
    /// Enough for one connection.
    Enough,
}

impl Reason {
    const ALL: [Self; 4] = [Self::Gone, Self::Unlisted, Self::Kernel, Self::Enough];

    fn code(self) -> u16 {
        match self {
            Self::Gone => 1,
            Self::Unlisted => 2,
            Self::Kernel => 3,
            Self::Enough => 4,
        }
    }
}

impl Request {
    /// As it is sent.
    #[must_use]
    pub fn to_bytes(self) -> [u8; REQUEST] {
        let (kind, inode) = match self {
            Self::List => (LIST, 0),
            Self::Open(inode) => (OPEN, inode),
        };
        let [a, b, c, d] = inode.to_le_bytes();
        [kind, VERSION, 0, 0, a, b, c, d]
    }

    /// Reads one; anything but exactly a request is none.
    #[must_use]
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let &[kind, VERSION, 0, 0, a, b, c, d] = bytes else { return None };
        match (kind, u32::from_le_bytes([a, b, c, d])) {
            (LIST, 0) => Some(Self::List),
            (OPEN, inode) if inode != 0 => Some(Self::Open(inode)),
            _ => None,
        }
    }
}

impl Answer {
    /// As it is sent; what is beyond the bounds is cut.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let header = |kind: u8, detail: u16| {
            let [low, high] = detail.to_le_bytes();
            vec![kind, VERSION, low, high]
        };
        match self {
            Self::List { inodes, more } => {
                let mut bytes = header(LIST, u16::from(*more || inodes.len() > MOST_SPACES));
                inodes.iter().take(MOST_SPACES).for_each(|inode| bytes.extend(inode.to_le_bytes()));
                bytes
            }
            Self::Opened { inode, process, cgroup } => {
                let mut bytes = header(OPEN, 0);
                bytes.extend(inode.to_le_bytes());
                bytes.extend(process.to_le_bytes());
                bytes.extend(cgroup.bytes().take(MOST_CGROUP));
                bytes
            }
            Self::Refused { inode, reason } => {
                let mut bytes = header(REFUSED, reason.code());
                bytes.extend(inode.to_le_bytes());
                bytes
            }
        }
    }

    /// Reads one.
    #[must_use]
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        if bytes.len() > MOST_ANSWER {
            return None;
        }
        let (&[kind, version, low, high], rest) = bytes.split_first_chunk::<HEADER>()?;
        if version != VERSION {
            return None;
        }
        match (kind, u16::from_le_bytes([low, high])) {
            (LIST, detail) => {
                let (inodes, rest) = rest.as_chunks::<4>();
                let inodes: Vec<u32> = inodes.iter().map(|bytes| u32::from_le_bytes(*bytes)).collect();
                (rest.is_empty() && inodes.len() <= MOST_SPACES).then_some(Self::List { inodes, more: detail != 0 })
            }
            (OPEN, _) => {
                let (inode, rest) = rest.split_first_chunk::<4>()?;
                let (process, cgroup) = rest.split_first_chunk::<4>()?;
                Some(Self::Opened {
                    inode: u32::from_le_bytes(*inode),
                    process: u32::from_le_bytes(*process),
                    cgroup: String::from_utf8_lossy(cgroup).into_owned(),
                })
            }
            (REFUSED, code) => {
                let inode = u32::from_le_bytes(rest.try_into().ok()?);
                let reason = Reason::ALL.into_iter().find(|r| r.code() == code)?;
                Some(Self::Refused { inode, reason })
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn answer() -> impl Strategy<Value = Answer> {
        let inodes = proptest::collection::vec(any::<u32>(), 0..=MOST_SPACES);
        prop_oneof![
            (inodes, any::<bool>()).prop_map(|(inodes, more)| Answer::List { inodes, more }),
            (any::<u32>(), any::<u32>(), "[ -~]{0,200}").prop_map(|(inode, process, cgroup)| Answer::Opened {
                inode,
                process,
                cgroup
            }),
            (any::<u32>(), 0..4_usize).prop_map(|(inode, i)| Answer::Refused { inode, reason: Reason::ALL[i] }),
        ]
    }

    proptest! {
        /// Law: what is sent is what is read.
        #[test]
        fn both_sides_understand_each_other(answer in answer(), inode in 1..u32::MAX) {
            prop_assert_eq!(Answer::parse(&answer.to_bytes()), Some(answer));
            for request in [Request::List, Request::Open(inode)] {
                prop_assert_eq!(Request::parse(&request.to_bytes()), Some(request));
            }
        }

        /// Law: whatever the bytes are, reading ends and does not panic, and a request is exactly eight bytes.
        #[test]
        fn garbage_is_no_danger(bytes in proptest::collection::vec(any::<u8>(), 0..64), kind: u8) {
            let _ = Answer::parse(&bytes);
            let headed = [&[kind, VERSION, 0, 0][..], &bytes].concat();
            let _ = Answer::parse(&headed);
            prop_assert!(bytes.len() == 4 || Request::parse(&headed).is_none());
        }
    }

    #[test]
    fn what_is_too_long_is_cut_and_said() {
        let many = Answer::List { inodes: vec![7; MOST_SPACES + 1], more: false };
        let Some(Answer::List { inodes, more: true }) = Answer::parse(&many.to_bytes()) else { panic!("cut") };
        assert_eq!(inodes.len(), MOST_SPACES);
        let long = Answer::Opened { inode: 1, process: 2, cgroup: "x".repeat(2 * MOST_CGROUP) };
        assert_eq!(long.to_bytes().len(), MOST_ANSWER);
    }
}
