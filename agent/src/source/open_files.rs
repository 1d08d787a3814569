//! Which sockets a process has open.
//!
//! `/proc/PID/fd` has a link `socket:[INODE]` for each, but that folder is closed to other users (`dr-x------`), and
//! `CAP_SYS_PTRACE` alone does not open it. `/proc/PID/fdinfo` asks for nothing more than that capability since Linux 5.14, which
//! also writes the inode of each file there:
//!
//! ```text
//! pos:    0
//! flags:  02000002
//! mnt_id: 10
//! ino:    70859
//! ```
//!
//! All sockets lie on one mount of the kernel's own, whose number shows at a socket of this process.

use std::os::fd::AsRawFd as _;
use std::os::unix::net::UnixDatagram;
use std::path::Path;

use super::Root;
use super::keyed::{number, words};

/// How open files of other processes are read on this machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OpenFiles {
    /// Their links can be read.
    Links,
    /// What is written about them can be read; sockets are on this mount.
    Info(u64),
    /// Only those of this user's own processes can be read.
    Own,
}

impl OpenFiles {
    /// Finds out what may be read below `root`: the first process belongs to root.
    #[must_use]
    pub fn find(root: &Root) -> Self {
        if std::fs::read_dir(root.join("proc/1/fd")).is_ok() {
            return Self::Links;
        }
        let told = std::fs::read_dir(root.join("proc/1/fdinfo")).is_ok();
        own_mount().filter(|_| told).map_or(Self::Own, Self::Info)
    }

    /// Whether those of other users are seen.
    #[must_use]
    pub fn of_others(self) -> bool {
        self != Self::Own
    }

    /// The inodes of the sockets that the process of this folder has open, and `None` for each of its other files.
    pub fn sockets(self, process: &Path) -> impl Iterator<Item = Option<u64>> + use<> {
        let links = std::fs::read_dir(process.join("fd"));
        let told = match self {
            Self::Info(mount) if links.is_err() => std::fs::read_dir(process.join("fdinfo")).ok().map(|d| (d, mount)),
            Self::Info(_) | Self::Links | Self::Own => None,
        };
        let linked = links.into_iter().flatten().flatten();
        let linked = linked.map(|file| linked_socket(&std::fs::read_link(file.path()).ok()?));
        let told = told.into_iter().flat_map(|(files, mount)| files.flatten().map(move |file| (file, mount)));
        linked.chain(told.map(|(file, mount)| told_socket(&std::fs::read(file.path()).ok()?, mount)))
    }
}

/// `socket:[70859]`
fn linked_socket(link: &Path) -> Option<u64> {
    link.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()
}

/// The inode, if the file is on this mount.
fn told_socket(text: &[u8], mount: u64) -> Option<u64> {
    if field(text, b"mnt_id:") == Some(mount) { field(text, b"ino:") } else { None }
}

fn field(text: &[u8], name: &[u8]) -> Option<u64> {
    let line = text.split(|b| *b == b'\n').find(|line| line.starts_with(name))?;
    number(words(line).nth(1)?)
}

/// The mount that sockets are on; none before Linux 5.14, where no inode is told.
fn own_mount() -> Option<u64> {
    let socket = UnixDatagram::unbound().ok()?;
    let text = std::fs::read(format!("/proc/self/fdinfo/{}", socket.as_raw_fd())).ok()?;
    field(&text, b"ino:").and(field(&text, b"mnt_id:"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    const TOLD: &[u8] = b"pos:\t0\nflags:\t02000002\nmnt_id:\t10\nino:\t70859\nscm_fds: 0\n";

    #[test]
    fn a_socket_is_known_by_its_mount() {
        assert_eq!(told_socket(TOLD, 10), Some(70859));
        assert_eq!(told_socket(TOLD, 16), None, "a pipe, or a file that happens to have the same number");
        for bad in [&b""[..], b"mnt_id:\n", b"mnt_id:\t10\n", b"mnt_id:\tx\nino:\t1\n", b"ino:\t1\n"] {
            assert_eq!(told_socket(bad, 10), None, "{bad:?}");
        }
        assert_eq!(linked_socket(Path::new("socket:[7]")), Some(7));
        assert_eq!(linked_socket(Path::new("pipe:[7]")), None);
    }

    #[test]
    fn what_is_closed_is_read_elsewhere() {
        let folder = tempfile::tempdir().expect("a folder");
        let make = |p: &str| std::fs::create_dir_all(folder.path().join(p)).expect("made");
        let root = Root::new(folder.path());
        assert_eq!(OpenFiles::find(&root), OpenFiles::Own);
        make("proc/1/fdinfo");
        let kernel = own_mount();
        assert_eq!(OpenFiles::find(&root), kernel.map_or(OpenFiles::Own, OpenFiles::Info));
        make("proc/7/fdinfo");
        std::fs::write(folder.path().join("proc/7/fdinfo/3"), TOLD).expect("written");
        std::fs::write(folder.path().join("proc/7/fdinfo/4"), "pos:\t0\nmnt_id:\t24\nino:\t3\n").expect("written");
        let process = folder.path().join("proc/7");
        let sockets = |how: OpenFiles| how.sockets(&process).flatten().collect::<Vec<_>>();
        assert_eq!((sockets(OpenFiles::Info(10)), OpenFiles::Info(10).sockets(&process).count()), (vec![70859], 2));
        assert_eq!(sockets(OpenFiles::Own), Vec::<u64>::new());

        make("proc/1/fd");
        assert_eq!(OpenFiles::find(&root), OpenFiles::Links);
        make("proc/7/fd");
        symlink("socket:[99]", folder.path().join("proc/7/fd/3")).expect("linked");
        assert_eq!((sockets(OpenFiles::Links), sockets(OpenFiles::Info(10))), (vec![99], vec![99]), "links are enough");
    }

    #[test]
    fn both_ways_agree_on_this_machine() {
        let Some(mount) = own_mount() else {
            eprintln!("This kernel is older than 5.14: nothing was tested.");
            return;
        };
        let socket = UnixDatagram::unbound().expect("a socket");
        let of_this = |folder: &str| format!("/proc/self/{folder}/{}", socket.as_raw_fd());
        let link = std::fs::read_link(of_this("fd")).expect("it is ours");
        let told = std::fs::read(of_this("fdinfo")).expect("it is ours");
        assert_eq!((told_socket(&told, mount), linked_socket(&link).is_some()), (linked_socket(&link), true));
        let file = std::fs::File::open("/proc/self/stat").expect("it is there");
        let told = std::fs::read(format!("/proc/self/fdinfo/{}", file.as_raw_fd())).expect("it is ours");
        assert_eq!(told_socket(&told, mount), None);
    }
}
