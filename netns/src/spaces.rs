//! Network namespaces: which there are, and how sockets are opened inside one.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read as _;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use rustix::fs::{Mode, OFlags, open as open_file, openat};
use rustix::io::Errno;
use rustix::net::netlink::{self, SocketAddrNetlink};
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, socket_with};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::protocol::{DESTROY, MOST_CGROUP, MOST_SPACES, Reason};

/// Namespaces by inode, each with a process in it.
pub type Found = BTreeMap<u32, u32>;

/// What was opened inside a namespace.
#[derive(Debug)]
pub struct Opened {
    /// The process that it was entered by.
    pub process: u32,
    /// Its `/proc/PID/cgroup`.
    pub cgroup: String,
    /// A socket for dumps and one that hears of closed sockets.
    pub sockets: [OwnedFd; 2],
}

/// The inode out of a link like `net:[4026531840]`.
#[must_use]
pub fn inode_of(link: &Path) -> Option<u32> {
    link.to_str()?.strip_prefix("net:[")?.strip_suffix(']')?.parse().ok()
}

/// The inode of this process's own namespace; looking at oneself needs no capability.
#[must_use]
pub fn own() -> Option<u32> {
    inode_of(&std::fs::read_link("/proc/self/ns/net").ok()?)
}

/// All namespaces below `proc` but `own`, and whether there are more than are told.
///
/// Costs one `readlink` a process. Namespaces that only a mount or a descriptor keeps have no process and are not found.
pub fn walk(proc: &Path, own: u32) -> (Found, bool) {
    let mut found = Found::new();
    for entry in std::fs::read_dir(proc).into_iter().flatten().flatten() {
        let Some(process) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
        // Processes end at any moment.
        let Ok(link) = std::fs::read_link(entry.path().join("ns/net")) else { continue };
        let Some(inode) = inode_of(&link).filter(|inode| *inode != own) else { continue };
        if found.len() >= MOST_SPACES && !found.contains_key(&inode) {
            return (found, true);
        }
        // The process that is listed first, which mostly is the oldest, stands for the namespace.
        found.entry(inode).or_insert(process);
    }
    (found, false)
}

/// Opens the sockets in the namespace `inode`, by way of `process`.
pub fn open(proc: &Path, inode: u32, process: u32) -> Result<Opened, Reason> {
    // The folder stays that of this very process, also when its number is given to another one meanwhile.
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let folder = open_file(proc.join(process.to_string()), flags, Mode::empty()).map_err(|_| Reason::Gone)?;
    let namespace = file_in(folder.as_fd(), "ns/net").ok_or(Reason::Gone)?;
    if namespace.metadata().map_err(|_| Reason::Gone)?.ino() != u64::from(inode) {
        return Err(Reason::Gone);
    }
    let mut cgroup = Vec::new();
    let file = file_in(folder.as_fd(), "cgroup").ok_or(Reason::Gone)?;
    file.take(MOST_CGROUP as u64).read_to_end(&mut cgroup).map_err(|_| Reason::Gone)?;
    let sockets = enter(namespace.as_fd()).map_err(|_| Reason::Kernel)?;
    Ok(Opened { process, cgroup: String::from_utf8_lossy(&cgroup).into_owned(), sockets })
}

fn file_in(folder: BorrowedFd<'_>, name: &str) -> Option<File> {
    openat(folder, name, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).ok().map(File::from)
}

/// A thread enters, opens and ends: whatever happens, this program's other thread never leaves its own namespace.
fn enter(namespace: BorrowedFd<'_>) -> Result<[OwnedFd; 2], Errno> {
    std::thread::scope(|scope| {
        let inside = || -> Result<[OwnedFd; 2], Errno> {
            move_into_link_name_space(namespace, Some(LinkNameSpaceType::Network))?;
            Ok([socket(0)?, socket(DESTROY)?])
        };
        let thread = std::thread::Builder::new().name("inside".to_owned()).spawn_scoped(scope, inside);
        thread.map_err(|_| Errno::AGAIN)?.join().map_err(|_| Errno::CANCELED)?
    })
}

fn socket(groups: u32) -> Result<OwnedFd, Errno> {
    let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, Some(netlink::SOCK_DIAG))?;
    bind(&socket, &SocketAddrNetlink::new(0, groups))?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn namespaces_are_told_once_and_ones_own_is_not() {
        let folder = tempfile::tempdir().expect("a folder");
        for (process, link) in
            [("1", "net:[100]"), ("20", "net:[200]"), ("3", "net:[200]"), ("self", "net:[300]"), ("4", "net:[x]")]
        {
            std::fs::create_dir_all(folder.path().join(process).join("ns")).expect("made");
            symlink(link, folder.path().join(process).join("ns/net")).expect("linked");
        }
        std::fs::create_dir_all(folder.path().join("5")).expect("made");
        let (found, more) = walk(folder.path(), 100);
        assert_eq!((found.keys().copied().collect::<Vec<_>>(), more), (vec![200], false));
        assert!(matches!(found[&200], 20 | 3));
    }

    #[test]
    fn there_is_an_end_to_namespaces() {
        let folder = tempfile::tempdir().expect("a folder");
        for i in 0..MOST_SPACES + 3 {
            std::fs::create_dir_all(folder.path().join(format!("{i}/ns"))).expect("made");
            symlink(format!("net:[{}]", 1000 + i), folder.path().join(format!("{i}/ns/net"))).expect("linked");
        }
        let (found, more) = walk(folder.path(), 1);
        assert_eq!((found.len(), more), (MOST_SPACES, true));
    }

    #[test]
    fn who_is_not_there_or_elsewhere_by_now_is_gone() {
        let proc = Path::new("/proc");
        assert_eq!(open(proc, 7, u32::MAX).map(|_| ()), Err(Reason::Gone));
        assert_eq!(open(proc, 7, std::process::id()).map(|_| ()), Err(Reason::Gone));
        for link in ["net:[]", "net:[1", "mnt:[1]", "net:[4294967296]", "net:[-1]", ""] {
            assert_eq!(inode_of(Path::new(link)), None, "{link}");
        }
        assert_eq!(inode_of(Path::new("net:[4026531840]")), Some(4_026_531_840));
    }
}
