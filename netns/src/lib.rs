//! Opens netlink sockets inside the network namespaces of containers and passes them to the agent.
//!
//! Entering a namespace needs `CAP_SYS_ADMIN`, which the agent never has. So this program, started by systemd when somebody
//! connects, does that one thing: it lists the network namespaces that have processes and opens two sockets of
//! `NETLINK_SOCK_DIAG` in one of them. What such a socket tells needs no capability by itself, and as this program has no
//! `CAP_NET_ADMIN`, nobody can close connections through it either (the kernel asks for the opener's rights as well).
//!
//! ```text
//! agent                              tacit-netns (CAP_SYS_ADMIN, CAP_SYS_PTRACE)
//!   connect ───────────────────────▶ the socket's owner or root? else closed
//!   list    ───────────────────────▶ walks /proc/*/ns/net
//!           ◀─────────────────────── inodes
//!   open 4026532290 ───────────────▶ a thread enters, opens two sockets and ends
//!           ◀─────────────────────── process, control group, two descriptors
//! ```
//!
//! [`protocol`] is what both sides share; the agent links no more than that.

pub mod protocol;
mod server;
mod spaces;

pub use server::{IDLE, ServeError, Settings, serve};
pub use spaces::{inode_of, own};
