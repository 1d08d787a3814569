//! The other side of the socket, and the helper behind it.

use std::io::IoSliceMut;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendFlags, SocketAddrUnix, SocketFlags,
    SocketType, bind, connect, listen, recvmsg, send, socket_with,
};
use tacit_netns::inode_of;
use tacit_netns::protocol::{Answer, MOST_ANSWER, Request};

/// The program under test.
pub const PROGRAM: &str = env!("CARGO_BIN_EXE_tacit-netns");

/// The namespace of a process.
pub fn namespace_of(process: u32) -> Option<u32> {
    inode_of(&std::fs::read_link(format!("/proc/{process}/ns/net")).ok()?)
}

/// A listening socket, as systemd makes it.
pub fn listener(path: &Path) -> OwnedFd {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None).expect("a socket");
    bind(&socket, &SocketAddrUnix::new(path).expect("a short path")).expect("a free path");
    listen(&socket, 16).expect("it listens");
    socket
}

/// The running program.
pub struct Helper {
    pub folder: tempfile::TempDir,
    child: Child,
}

impl Helper {
    pub fn start() -> Self {
        Self::start_for(None)
    }

    /// With the socket's file belonging to somebody else.
    pub fn start_for(user: Option<u32>) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("netns.sock");
        let socket = listener(&path);
        if user.is_some() {
            std::os::unix::fs::chown(&path, user, None).expect("root may");
        }
        let child = Command::new(PROGRAM).stdin(Stdio::from(socket)).spawn().expect("it starts");
        Self { folder, child }
    }

    pub fn path(&self) -> PathBuf {
        self.folder.path().join("netns.sock")
    }

    pub fn client(&self) -> Client {
        Client::connect(&self.path())
    }
}

impl Drop for Helper {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What came back.
#[derive(Debug)]
pub enum Heard {
    Answer(Answer, Vec<OwnedFd>),
    Closed,
}

pub struct Client {
    pub socket: OwnedFd,
}

impl Client {
    pub fn connect(path: &Path) -> Self {
        let flags = SocketFlags::CLOEXEC;
        let socket = socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None).expect("a socket");
        connect(&socket, &SocketAddrUnix::new(path).expect("a short path")).expect("it listens");
        Self { socket }
    }

    pub fn ask(&self, request: Request) -> Heard {
        self.send(&request.to_bytes())
    }

    pub fn send(&self, bytes: &[u8]) -> Heard {
        // Where it was closed already, reading says so.
        let _ = send(&self.socket, bytes, SendFlags::NOSIGNAL);
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(2))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let mut buffer = [0; MOST_ANSWER];
        let mut parts = [IoSliceMut::new(&mut buffer)];
        let Ok(got) = recvmsg(&self.socket, &mut parts, &mut control, RecvFlags::CMSG_CLOEXEC) else {
            return Heard::Closed;
        };
        if got.bytes == 0 {
            return Heard::Closed;
        }
        let mut descriptors = Vec::new();
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(rights) = message {
                descriptors.extend(rights);
            }
        }
        Heard::Answer(Answer::parse(&buffer[..got.bytes]).expect("an answer"), descriptors)
    }
}
