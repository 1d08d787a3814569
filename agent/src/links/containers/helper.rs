//! The agent's side of `tacit-netns`: a round of questions, on a thread of its own as the helper may have to be started first.

use std::io::IoSliceMut;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::sockopt::{self, Timeout};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendFlags, SocketAddrUnix,
    SocketFlags, SocketType, connect, recvmsg, send, socket_with,
};
use tacit_netns::protocol::{Answer, MOST_ANSWER, Request};

/// A helper that does not answer in this time is not waited for; systemd starts it in less.
const PATIENCE: Duration = Duration::from_secs(3);

/// Why nothing is known of containers.
#[derive(Debug, thiserror::Error)]
pub enum HelperError {
    /// Nobody is there.
    #[error("tacit-netns does not answer at {path} ({errno})")]
    Absent {
        /// The socket.
        path: PathBuf,
        /// The system's reason.
        errno: Errno,
    },
    /// A system call failed in the middle.
    #[error("tacit-netns stopped answering ({0})")]
    Failed(#[from] Errno),
    /// It closed the connection, as it does with those whom its socket does not belong to.
    #[error("tacit-netns refuses this user; SocketUser= of tacit-netns.socket must be the agent's")]
    Closed,
    /// It speaks another protocol.
    #[error("tacit-netns speaks another protocol; agent and helper must be of one version")]
    Nonsense,
}

/// Sockets in a namespace.
#[derive(Debug)]
pub struct Passed {
    /// The namespace.
    pub inode: u32,
    /// A process in it.
    pub process: u32,
    /// That process's `/proc/PID/cgroup`.
    pub cgroup: String,
    /// For dumps, and for events.
    pub sockets: [OwnedFd; 2],
}

/// What a round brought.
#[derive(Debug, Default)]
pub struct Round {
    /// All namespaces that have processes, but the agent's own.
    pub listed: Vec<u32>,
    /// Whether there are more than were told.
    pub more: bool,
    /// Those that were opened.
    pub opened: Vec<Passed>,
    /// How many could not be.
    pub refused: usize,
}

/// What a round is about.
#[derive(Debug, Clone, Default)]
pub struct Question {
    /// Namespaces that are open already.
    pub held: Vec<u32>,
    /// Those that are left alone for a while.
    pub barred: Vec<u32>,
    /// How many may be open.
    pub most: usize,
}

/// Asks which namespaces there are and opens those that are neither open nor barred.
pub fn round(path: &Path, question: &Question) -> Result<Round, HelperError> {
    let session = Session::connect(path)?;
    let (mut listed, more) = session.list()?;
    let own = tacit_netns::own();
    listed.retain(|inode| Some(*inode) != own);
    let held = listed.iter().filter(|inode| question.held.contains(inode)).count();
    let mut round = Round { more, ..Round::default() };
    let new = listed.iter().filter(|inode| !question.held.contains(inode) && !question.barred.contains(inode));
    for &inode in new.take(question.most.saturating_sub(held)) {
        match session.open(inode)? {
            Some(passed) => round.opened.push(passed),
            None => round.refused += 1,
        }
    }
    round.listed = listed;
    Ok(round)
}

struct Session(OwnedFd);

impl Session {
    fn connect(path: &Path) -> Result<Self, HelperError> {
        let absent = |errno| HelperError::Absent { path: path.to_owned(), errno };
        let socket = socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
        for side in [Timeout::Recv, Timeout::Send] {
            sockopt::set_socket_timeout(&socket, side, Some(PATIENCE))?;
        }
        connect(&socket, &SocketAddrUnix::new(path).map_err(absent)?).map_err(absent)?;
        Ok(Self(socket))
    }

    fn list(&self) -> Result<(Vec<u32>, bool), HelperError> {
        match self.ask(Request::List)? {
            (Answer::List { inodes, more }, _) => Ok((inodes, more)),
            _ => Err(HelperError::Nonsense),
        }
    }

    /// None when it cannot be opened (any more).
    fn open(&self, inode: u32) -> Result<Option<Passed>, HelperError> {
        match self.ask(Request::Open(inode))? {
            (Answer::Opened { inode: which, process, cgroup }, descriptors) if which == inode => {
                let sockets: [OwnedFd; 2] = descriptors.try_into().map_err(|_| HelperError::Nonsense)?;
                let fit = |s: &OwnedFd| sockopt::socket_domain(s).is_ok_and(|domain| domain == AddressFamily::NETLINK);
                if !sockets.iter().all(fit) {
                    return Err(HelperError::Nonsense);
                }
                Ok(Some(Passed { inode, process, cgroup, sockets }))
            }
            (Answer::Refused { .. }, _) => Ok(None),
            _ => Err(HelperError::Nonsense),
        }
    }

    fn ask(&self, request: Request) -> Result<(Answer, Vec<OwnedFd>), HelperError> {
        match send(&self.0, &request.to_bytes(), SendFlags::NOSIGNAL) {
            Ok(_) => {}
            Err(Errno::PIPE | Errno::CONNRESET) => return Err(HelperError::Closed),
            Err(other) => return Err(other.into()),
        }
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(2))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let mut buffer = [0; MOST_ANSWER];
        let mut parts = [IoSliceMut::new(&mut buffer)];
        let received = loop {
            match recvmsg(&self.0, &mut parts, &mut control, RecvFlags::CMSG_CLOEXEC) {
                Ok(received) if received.bytes > 0 => break received,
                Ok(_) | Err(Errno::CONNRESET) => return Err(HelperError::Closed),
                Err(Errno::INTR) => {}
                Err(other) => return Err(other.into()),
            }
        };
        let mut descriptors = Vec::new();
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(rights) = message {
                descriptors.extend(rights);
            }
        }
        if received.flags.intersects(ReturnFlags::TRUNC | ReturnFlags::CTRUNC) {
            return Err(HelperError::Nonsense);
        }
        let answer = Answer::parse(&buffer[..received.bytes]).ok_or(HelperError::Nonsense)?;
        Ok((answer, descriptors))
    }
}

/// The thread that asks. It ends when this is dropped.
#[derive(Debug)]
pub struct Asker {
    questions: SyncSender<Question>,
    news: Receiver<Result<Round, HelperError>>,
    waiting: bool,
}

impl Asker {
    /// Starts it.
    ///
    /// # Errors
    /// When the system refuses another thread.
    pub fn start(path: PathBuf) -> std::io::Result<Self> {
        // One question and one answer are under way at most.
        let (questions, asked) = sync_channel::<Question>(1);
        let (told, news) = sync_channel(1);
        let ask = move || {
            for question in asked {
                if told.send(round(&path, &question)).is_err() {
                    return;
                }
            }
        };
        std::thread::Builder::new().name("tacit-slow-netn".to_owned()).stack_size(128 * 1024).spawn(ask)?;
        Ok(Self { questions, news, waiting: false })
    }

    /// Asks, unless an answer is still awaited.
    pub fn ask(&mut self, question: Question) {
        if !self.waiting {
            self.waiting = self.questions.try_send(question).is_ok();
        }
    }

    /// The answer, when it has come.
    pub fn news(&mut self) -> Option<Result<Round, HelperError>> {
        let news = self.news.try_recv().ok()?;
        self.waiting = false;
        Some(news)
    }

    /// Whether an answer is awaited.
    #[cfg(test)]
    pub fn is_waiting(&self) -> bool {
        self.waiting
    }
}
