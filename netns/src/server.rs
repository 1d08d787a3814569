//! Who may ask, and how long: one client at a time, each within bounds of time and number.

use std::fmt;
use std::io::{IoSlice, Write as _};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd as _, BorrowedFd};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use rustix::io::{Errno, ioctl_fionbio};
use rustix::net::sockopt::{self, Timeout};
use rustix::net::{
    AddressFamily, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketFlags, SocketType,
    accept_with, recv, sendmsg,
};

use crate::protocol::{Answer, MOST_OPENED, REQUEST, Reason, Request};
use crate::spaces::{self, Found};

/// Without a client for so long the program ends; the next one starts it again.
pub const IDLE: Duration = Duration::from_secs(60);
/// A client that is silent or does not read for so long is left.
const PATIENCE: Duration = Duration::from_secs(2);
/// And so is one that keeps asking.
const TOGETHER: Duration = Duration::from_secs(10);

/// How it is served.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Who may ask, beside root.
    pub allowed: u32,
    /// Time without a client after which serving ends.
    pub idle: Duration,
    /// Where processes are found, `/proc`.
    pub proc: PathBuf,
    /// The namespace that is not told: one's own.
    pub own: u32,
}

/// Why it cannot be served.
#[derive(Debug)]
pub enum ServeError {
    /// Standard input is something else.
    NoListener,
    /// A system call failed.
    System(Errno),
}

impl fmt::Display for ServeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoListener => f.write_str(
                "standard input is no listening unix socket of type SOCK_SEQPACKET; systemd gives one (tacit-netns.socket)",
            ),
            Self::System(errno) => write!(f, "the listening socket fails: {errno}"),
        }
    }
}

impl std::error::Error for ServeError {}

impl From<Errno> for ServeError {
    fn from(errno: Errno) -> Self {
        Self::System(errno)
    }
}

/// Serves clients one after the other until nobody comes for a while.
///
/// # Errors
/// When `listener` is no such socket, or fails. Whatever a client does ends that client's connection only.
pub fn serve(listener: BorrowedFd<'_>, settings: &Settings) -> Result<(), ServeError> {
    let fits = sockopt::socket_domain(listener).is_ok_and(|d| d == AddressFamily::UNIX)
        && sockopt::socket_type(listener).is_ok_and(|t| t == SocketType::SEQPACKET)
        && sockopt::socket_acceptconn(listener).unwrap_or(false);
    if !fits {
        return Err(ServeError::NoListener);
    }
    // systemd makes its sockets without waiting; here waiting is what ends an idle program.
    ioctl_fionbio(listener, false)?;
    sockopt::set_socket_timeout(listener, Timeout::Recv, Some(settings.idle))?;
    loop {
        match accept_with(listener, SocketFlags::CLOEXEC) {
            Ok(client) => {
                if let Err(why) = converse(client.as_fd(), settings) {
                    // Nobody may listen to what is said here; that is no reason to stop.
                    let _ = writeln!(std::io::stderr(), "tacit-netns: a client was left: {why}");
                }
            }
            Err(Errno::AGAIN) => return Ok(()),
            Err(Errno::INTR | Errno::CONNABORTED) => {}
            Err(other) => return Err(other.into()),
        }
    }
}

/// Answers one client until it closes, does something else than asking, or has had its time.
fn converse(client: BorrowedFd<'_>, settings: &Settings) -> Result<(), String> {
    let failed = |what: &'static str| move |errno: Errno| format!("{what}: {errno}");
    // Told as of the client's connect, and never changing. Its process has a number here, as this program runs in the first
    // namespace of processes.
    let peer = sockopt::socket_peercred(client).map_err(failed("its credentials are not told"))?;
    let user = peer.uid.as_raw();
    if user != 0 && user != settings.allowed {
        return Err(format!("user {user} is neither root nor user {}, whose socket this is", settings.allowed));
    }
    for side in [Timeout::Recv, Timeout::Send] {
        sockopt::set_socket_timeout(client, side, Some(PATIENCE)).map_err(failed("no limit of time"))?;
    }
    let began = Instant::now();
    let mut found: Option<Found> = None;
    let mut opened = 0;
    loop {
        // One byte more than a request, so that a longer one is not taken for one.
        let mut bytes = [0; REQUEST + 1];
        let length = match recv(client, &mut bytes[..], RecvFlags::empty()) {
            Ok((0, _)) => return Ok(()),
            Ok((length, _)) => length,
            Err(Errno::INTR) => continue,
            Err(errno) => return Err(format!("it says nothing: {errno}")),
        };
        if began.elapsed() > TOGETHER {
            return Err("it asks for too long".to_owned());
        }
        match Request::parse(&bytes[..length]).ok_or("it does not speak this protocol")? {
            // A walk is the dear part; once is enough for what a connection is for.
            Request::List if found.is_some() => return Err("it asks for the same list again".to_owned()),
            Request::List => {
                let (spaces, more) = spaces::walk(&settings.proc, settings.own);
                let answer = Answer::List { inodes: spaces.keys().copied().collect(), more };
                found = Some(spaces);
                send(client, &answer, &[]).map_err(failed("it does not read"))?;
            }
            Request::Open(inode) => {
                opened += 1;
                let process = found.as_ref().and_then(|f| f.get(&inode)).copied();
                let result = match process {
                    _ if opened > MOST_OPENED => Err(Reason::Enough),
                    None => Err(Reason::Unlisted),
                    Some(process) => spaces::open(&settings.proc, inode, process),
                };
                let sent = match &result {
                    Ok(o) => {
                        let answer = Answer::Opened { inode, process: o.process, cgroup: o.cgroup.clone() };
                        send(client, &answer, &[o.sockets[0].as_fd(), o.sockets[1].as_fd()])
                    }
                    Err(reason) => send(client, &Answer::Refused { inode, reason: *reason }, &[]),
                };
                sent.map_err(failed("it does not read"))?;
            }
        }
    }
}

fn send(client: BorrowedFd<'_>, answer: &Answer, descriptors: &[BorrowedFd<'_>]) -> Result<(), Errno> {
    let bytes = answer.to_bytes();
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(2))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !descriptors.is_empty() && !control.push(SendAncillaryMessage::ScmRights(descriptors)) {
        return Err(Errno::NOBUFS);
    }
    sendmsg(client, &[IoSlice::new(&bytes)], &mut control, SendFlags::NOSIGNAL).map(|_| ())
}
