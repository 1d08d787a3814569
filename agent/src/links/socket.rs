//! The two netlink sockets of one network namespace: one asks for dumps, one hears of closed sockets.
//!
//! Both work without any capability. A socket belongs to the namespace it was opened in, so a helper may open them inside
//! a container and pass the descriptors ([`Sockets::from_descriptors`]).

use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt as _;
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::netlink::{self, SocketAddrNetlink};
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, bind, recv, send, socket_with, sockopt,
};

use super::message::{Message, Record, Transport, messages};
use super::request;

/// With 8 KiB the kernel drops part of a dump without a word.
const BUFFER: usize = 64 * 1024;
/// Receive buffer that is asked for: some 3,000 events.
pub const WANTED: usize = 4 << 20;
/// Groups 1 to 4: destroyed sockets of TCP and UDP over both families.
const DESTROY: u32 = 0xf;
/// The kernel answers a dump while it is asked; this much silence means it never will.
const PATIENCE: Duration = Duration::from_secs(1);
/// Events taken in with one call.
const MOST_AT_ONCE: usize = 16_384;

/// Why a namespace cannot be looked at.
#[derive(Debug, thiserror::Error)]
pub enum SocketError {
    /// No such sockets here.
    #[error("netlink sock_diag is not available ({0})")]
    Unavailable(Errno),
    /// A system call failed.
    #[error("netlink failed ({0})")]
    Failed(#[from] Errno),
    /// The kernel refused the question.
    #[error("the kernel refuses a dump of sockets (error {0})")]
    Refused(i32),
    /// Silence.
    #[error("the kernel does not finish a dump of sockets")]
    Silent,
}

/// The sockets of one namespace.
#[derive(Debug)]
pub struct Sockets {
    asking: OwnedFd,
    hearing: OwnedFd,
    sequence: u32,
    buffer: Vec<u8>,
    /// Drops of the hearing socket that were counted already.
    drops: u64,
    /// Bytes of the hearing socket's receive buffer, as the kernel counts.
    pub room: usize,
}

impl Sockets {
    /// Opens both in this thread's namespace; `wanted` bytes of receive buffer are asked for.
    ///
    /// # Errors
    /// Where netlink or its diagnosis of sockets is missing.
    pub fn open(wanted: usize) -> Result<Self, SocketError> {
        let asking = opened(0)?;
        let hearing = opened(DESTROY)?;
        // Beyond rmem_max only with CAP_NET_ADMIN; the plain call is cut to it in silence.
        if sockopt::set_socket_recv_buffer_size_force(&hearing, wanted).is_err() {
            sockopt::set_socket_recv_buffer_size(&hearing, wanted)?;
        }
        Self::from_descriptors(asking, hearing)
    }

    /// Takes over sockets that were opened elsewhere: the first for dumps, the second bound to the destroy groups.
    ///
    /// # Errors
    /// When they are no sockets.
    pub fn from_descriptors(asking: OwnedFd, hearing: OwnedFd) -> Result<Self, SocketError> {
        sockopt::set_socket_timeout(&asking, sockopt::Timeout::Recv, Some(PATIENCE))?;
        let room = sockopt::socket_recv_buffer_size(&hearing)?;
        Ok(Self { asking, hearing, sequence: 0, buffer: vec![0; BUFFER], drops: 0, room })
    }

    /// All sockets there are, but those that only wait for their time.
    ///
    /// # Errors
    /// When the kernel refuses or does not finish. UDP alone may be missing.
    pub fn dump(&mut self, mut each: impl FnMut(&Record)) -> Result<(), SocketError> {
        for (family, transport) in request::QUESTIONS {
            match self.ask(family, transport, &mut each) {
                // udp_diag is a module of its own, and so is IPv6.
                Err(SocketError::Refused(_)) if transport == Transport::Udp || family != 2 => {}
                other => other?,
            }
        }
        Ok(())
    }

    fn ask(&mut self, family: u8, transport: Transport, each: &mut impl FnMut(&Record)) -> Result<(), SocketError> {
        self.sequence = self.sequence.wrapping_add(1);
        send(&self.asking, &request::dump(family, transport, self.sequence), SendFlags::empty())?;
        loop {
            let length = match recv(&self.asking, &mut self.buffer[..], RecvFlags::empty()) {
                Ok((length, _)) => length,
                Err(Errno::AGAIN) => return Err(SocketError::Silent),
                Err(Errno::INTR) => continue,
                Err(error) => return Err(error.into()),
            };
            // A late answer to an earlier question is not this one's.
            let bytes = &self.buffer[..length];
            if bytes.get(8..12) != Some(&self.sequence.to_ne_bytes()[..]) {
                continue;
            }
            for message in messages(bytes) {
                match message {
                    Message::Socket(mut record) => {
                        record.transport = transport;
                        each(&record);
                    }
                    Message::Done => return Ok(()),
                    Message::Refused(error) => return Err(SocketError::Refused(error)),
                    Message::Other => {}
                }
            }
        }
    }

    /// Those of these connections, each told by its near and its far end, that are there, whatever their state. The kernel looks up
    /// each by its ends, which costs some microseconds however many others there are.
    ///
    /// # Errors
    /// When the socket fails.
    pub fn find(
        &mut self,
        connections: impl Iterator<Item = (SocketAddr, SocketAddr)>,
        mut each: impl FnMut(&Record),
    ) -> Result<(), SocketError> {
        let before = self.sequence;
        let mut questions = Vec::with_capacity(8 * request::LENGTH);
        for (own, other) in connections {
            self.sequence = self.sequence.wrapping_add(1);
            questions.extend(request::connection(own, other, self.sequence));
        }
        let asked = self.sequence.wrapping_sub(before);
        if asked == 0 {
            return Ok(());
        }
        send(&self.asking, &questions, SendFlags::empty())?;
        let mut waiting = asked;
        while waiting > 0 {
            // The kernel answers while it is asked: what is not there by now will not come.
            let length = match recv(&self.asking, &mut self.buffer[..], RecvFlags::DONTWAIT) {
                Ok((length, _)) => length,
                Err(Errno::AGAIN) => break,
                Err(Errno::INTR) => continue,
                Err(error) => return Err(error.into()),
            };
            let bytes = &self.buffer[..length];
            let number = bytes.get(8..12).and_then(|b| b.try_into().ok()).map_or(before, u32::from_ne_bytes);
            // A late answer to an earlier question is none of these.
            if !(1..=asked).contains(&number.wrapping_sub(before)) {
                continue;
            }
            waiting -= 1;
            for message in messages(bytes) {
                if let Message::Socket(record) = message {
                    each(&record);
                }
            }
        }
        Ok(())
    }

    /// Closed sockets that wait to be heard of. Returns how many were lost since the last call.
    ///
    /// # Errors
    /// When the socket fails for another reason than a full buffer.
    pub fn closed(&mut self, mut each: impl FnMut(&Record)) -> Result<u64, SocketError> {
        let mut lost = 0;
        // More than any buffer holds: who closes sockets faster than they are read does not keep the reader for ever.
        for _ in 0..MOST_AT_ONCE {
            match recv(&self.hearing, &mut self.buffer[..], RecvFlags::DONTWAIT) {
                Ok((length, _)) => {
                    for message in messages(&self.buffer[..length]) {
                        if let Message::Socket(record) = message {
                            each(&record);
                        }
                    }
                }
                Err(Errno::AGAIN) => return Ok(lost),
                Err(Errno::INTR) => {}
                Err(Errno::NOBUFS) => lost += self.newly_dropped(),
                Err(error) => return Err(error.into()),
            }
        }
        Ok(lost)
    }

    /// How many events the kernel dropped since it was asked last; at least one, as it says that some were.
    fn newly_dropped(&mut self) -> u64 {
        let Some(drops) = self.kernels_count() else { return 1 };
        let new = drops.saturating_sub(self.drops);
        self.drops = drops;
        new.max(1)
    }

    fn kernels_count(&self) -> Option<u64> {
        let inode = std::fs::File::from(self.hearing.try_clone().ok()?).metadata().ok()?.ino();
        dropped(&std::fs::read_to_string("/proc/thread-self/net/netlink").ok()?, inode)
    }
}

/// The column `Drops` of the socket with this inode in `/proc/net/netlink`.
fn dropped(table: &str, inode: u64) -> Option<u64> {
    let of = |line: &str| {
        let mut words = line.split_ascii_whitespace().rev();
        (words.next()?.parse::<u64>().ok()? == inode).then(|| words.next()?.parse().ok())?
    };
    table.lines().find_map(of)
}

fn opened(groups: u32) -> Result<OwnedFd, SocketError> {
    let flags = SocketFlags::CLOEXEC;
    let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, Some(netlink::SOCK_DIAG))
        .map_err(SocketError::Unavailable)?;
    bind(&socket, &SocketAddrNetlink::new(0, groups)).map_err(SocketError::Unavailable)?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{TcpListener, TcpStream};

    #[test]
    fn the_kernels_count_of_drops_is_read() {
        let table = "sk               Eth Pid        Groups   Rmem     Wmem     Dump  Locks    Drops    Inode\n\
                     0000000000000000 4   0          0000000f 0        0        0     2        17       4242\n";
        assert_eq!((dropped(table, 4242), dropped(table, 1), dropped("", 1)), (Some(17), None, None));
    }

    #[test]
    fn a_connection_is_dumped_while_open_and_heard_of_when_closed() {
        let mut sockets = Sockets::open(WANTED).expect("netlink is here");
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let server = listener.local_addr().expect("an address").port();
        let stream = TcpStream::connect(("127.0.0.1", server)).expect("it listens");
        let client = stream.local_addr().expect("an address").port();
        let mut cookie = None;
        let mine = |r: &Record| r.local_port == client && r.remote_port == server;
        sockets.dump(|r| cookie = cookie.or(mine(r).then_some(r.cookie))).expect("it answers");
        assert!(cookie.is_some());
        drop((stream, listener.accept().expect("it was connected")));
        let mut ended = None;
        for _ in 0..200 {
            sockets.closed(|r| ended = ended.or(mine(r).then_some(r.cookie))).expect("it works");
            if ended.is_some() {
                break;
            }
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        assert_eq!(ended, cookie);
    }
    #[test]
    fn a_connection_is_found_by_its_ends_while_it_is_there() {
        let mut sockets = Sockets::open(WANTED).expect("netlink is here");
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let server = listener.local_addr().expect("an address");
        let stream = TcpStream::connect(server).expect("it listens");
        let client = stream.local_addr().expect("an address");
        let find = |sockets: &mut Sockets| {
            let (mut found, none) = (Vec::new(), SocketAddr::from(([127, 0, 0, 1], 1)));
            let ends = [(none, server), (client, server), (none, none)];
            sockets
                .find(ends.into_iter(), |r| found.push((r.local_port, r.remote_port, r.cookie)))
                .expect("it answers");
            found
        };
        let [found] = find(&mut sockets)[..] else { panic!("one of three") };
        assert_eq!((found.0, found.1), (client.port(), server.port()));
        assert_eq!(find(&mut sockets), [found], "each time");
        sockets.find(std::iter::empty(), |_| panic!("nothing was asked")).expect("nothing to do");
        let mut dumped = None;
        let mine = |r: &Record| r.local_port == client.port() && r.remote_port == server.port();
        sockets.dump(|r| dumped = dumped.or(mine(r).then_some(r.cookie))).expect("it answers");
        assert_eq!(dumped, Some(found.2), "no answer is left over for a dump");
        drop(stream);
    }
}
