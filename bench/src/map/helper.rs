//! The helper for the container's network namespace: the code of `tacit-netns`, served by a thread of the bench.
//!
//! An installed helper lists the namespaces of all processes of the machine, so to it every host of the data centre is a container. This one
//! looks into a folder that has the container's first process and no other.

use std::os::fd::AsFd as _;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, bind, listen, socket_with};
use tacit_netns::{Settings, own, serve};

/// Longer than any run.
const IDLE: Duration = Duration::from_secs(24 * 3600);

/// Serves the namespace of a process to root, until the bench ends; gives the socket, which is in `folder`.
///
/// # Errors
/// When the system refuses a socket or a thread.
pub fn start(folder: &Path, process: u32) -> Result<PathBuf> {
    let (path, proc) = (folder.join("netns.sock"), folder.join("container"));
    std::fs::create_dir_all(&proc).context("cannot make a folder for the container's processes")?;
    symlink(format!("/proc/{process}"), proc.join(process.to_string())).context("cannot show the helper a process")?;
    let listener = socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
        .context("cannot make the helper's socket")?;
    let address = SocketAddrUnix::new(&path).with_context(|| format!("{} is no path for a socket", path.display()))?;
    bind(&listener, &address).with_context(|| format!("cannot bind {}", path.display()))?;
    listen(&listener, 16).with_context(|| format!("cannot listen on {}", path.display()))?;
    let own = own().context("cannot tell the machine's own network namespace")?;
    let settings = Settings { allowed: 0, idle: IDLE, proc, own };
    let serving = move || serve(listener.as_fd(), &settings);
    std::thread::Builder::new().name("helper".into()).spawn(serving).context("cannot start the helper's thread")?;
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::net::{RecvFlags, SendFlags, connect, recv, send};
    use tacit_netns::protocol::{Answer, Request};

    #[test]
    fn it_knows_one_process_only() {
        if !rustix::process::geteuid().is_root() {
            // It answers nobody else.
            return;
        }
        let folder = tempfile::tempdir().unwrap();
        // This very process: its namespace is the helper's own, which is not told, and all others are hidden.
        let path = start(folder.path(), std::process::id()).unwrap();
        let socket = socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None).unwrap();
        connect(&socket, &SocketAddrUnix::new(&path).unwrap()).unwrap();
        send(&socket, &Request::List.to_bytes(), SendFlags::NOSIGNAL).unwrap();
        let mut buffer = [0; 4096];
        let (length, _) = recv(&socket, &mut buffer[..], RecvFlags::empty()).unwrap();
        assert_eq!(Answer::parse(&buffer[..length]), Some(Answer::List { inodes: Vec::new(), more: false }));
    }
}
