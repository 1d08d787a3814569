//! Listening services, from `/proc/net/tcp{,6}` and `udp{,6}`:
//!
//! ```text
//!   sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
//!    0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 20310 …
//! ```
//!
//! Addresses are the memory of the machine in hexadecimal, one 32-bit word at a time. The owner of a socket is found by
//! its inode among the open files of all processes that may be looked at; that is done once, at birth.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;

use tacit_wire::message::Listener;

use crate::source::Root;
use crate::source::cgroup::unit_of_process;
use crate::source::open_files::OpenFiles;

/// Open files looked at in the search for owners; beyond it the rest of the owners is unknown.
const MOST_FILES: usize = 20_000;
/// Most listeners that are told.
const MOST: usize = 1024;

const TCP_LISTEN: &str = "0A";
const UDP_UNCONNECTED: &str = "07";

/// Services that listen on TCP or UDP, without those that only this host can reach by loopback. Sorted by port.
#[must_use]
pub fn listeners(root: &Root) -> Vec<Listener> {
    let mut found = Vec::new();
    for (file, state) in
        [("tcp", TCP_LISTEN), ("tcp6", TCP_LISTEN), ("udp", UDP_UNCONNECTED), ("udp6", UDP_UNCONNECTED)]
    {
        let text = std::fs::read_to_string(root.join("proc/net").join(file)).unwrap_or_default();
        found.extend(text.lines().skip(1).filter_map(|line| parse(line, state)));
    }
    found.retain(|l| !l.address.is_loopback() && l.port > 0);
    found.sort_unstable_by_key(|l| (l.port, l.address));
    found.dedup_by_key(|l| (l.port, l.address));
    found.truncate(MOST);
    let owners = owners(root, &found);
    found
        .into_iter()
        .map(|l| Listener {
            address: if l.address.is_unspecified() { "*".to_owned() } else { l.address.to_string() },
            port: l.port,
            owner: owners.get(&l.inode).cloned(),
        })
        .fold(Vec::new(), |mut all: Vec<Listener>, l| {
            // The same service on both families, or on TCP and UDP, is one line.
            match all.iter_mut().find(|o| o.port == l.port && o.address == l.address) {
                Some(other) => other.owner = other.owner.take().or(l.owner),
                None => all.push(l),
            }
            all
        })
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Socket {
    address: IpAddr,
    port: u16,
    inode: u64,
}

fn parse(line: &str, wanted: &str) -> Option<Socket> {
    let mut words = line.split_ascii_whitespace();
    let (address, port) = words.nth(1)?.split_once(':')?;
    let remote = words.next()?;
    // A UDP socket with a peer is a client.
    let serves = words.next()? == wanted && remote.ends_with(":0000");
    let inode = words.nth(5)?.parse().ok()?;
    let port = u16::from_str_radix(port, 16).ok()?;
    serves.then_some(Socket { address: address_of(address)?, port, inode })
}

fn address_of(hex: &str) -> Option<IpAddr> {
    let word = |i: usize| u32::from_str_radix(hex.get(8 * i..8 * i + 8)?, 16).ok().map(u32::to_ne_bytes);
    match hex.len() {
        8 => Some(IpAddr::V4(Ipv4Addr::from(word(0)?))),
        32 => {
            let mut bytes = [0; 16];
            for i in 0..4 {
                bytes[4 * i..4 * i + 4].copy_from_slice(&word(i)?);
            }
            Some(IpAddr::V6(Ipv6Addr::from(bytes)).to_canonical())
        }
        _ => None,
    }
}

/// Unit, container or command by socket inode, as far as processes may be looked at.
fn owners(root: &Root, sockets: &[Socket]) -> HashMap<u64, String> {
    let mut owners = HashMap::new();
    let mut budget = MOST_FILES;
    let open_files = OpenFiles::find(root);
    let processes = std::fs::read_dir(root.join("proc")).into_iter().flatten().flatten();
    for process in processes.filter(|p| p.file_name().as_encoded_bytes().first().is_some_and(u8::is_ascii_digit)) {
        let folder = process.path();
        for inode in open_files.sockets(&folder) {
            budget = budget.saturating_sub(1);
            if budget == 0 || owners.len() == sockets.len() {
                return owners;
            }
            let Some(inode) = inode else { continue };
            if sockets.iter().any(|s| s.inode == inode) {
                owners.entry(inode).or_insert_with(|| name_of(&folder));
            }
        }
    }
    owners
}

fn name_of(process: &Path) -> String {
    let text = |file: &str| std::fs::read_to_string(process.join(file)).unwrap_or_default();
    unit_of_process(&text("cgroup")).unwrap_or_else(|| text("comm").trim().chars().take(64).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_kernels_table() {
        let tcp =
            "   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 20310 1 x";
        let socket = parse(tcp, TCP_LISTEN).expect("a listener");
        let expected = if cfg!(target_endian = "little") { [127, 0, 0, 1] } else { [1, 0, 0, 127] };
        assert_eq!(socket, Socket { address: IpAddr::from(expected), port: 8080, inode: 20_310 });
        assert_eq!(parse(&tcp.replace(" 0A ", " 01 "), TCP_LISTEN), None, "a connection is no listener");
        let six = "1: 00000000000000000000000000000000:0016 00000000000000000000000000000000:0000 0A 0:0 0:0 0 0 0 7 1";
        assert!(parse(six, TCP_LISTEN).expect("a listener").address.is_unspecified());
        for end in 0..tcp.len() {
            let _ = parse(&tcp[..end], TCP_LISTEN);
        }
        assert_eq!(parse("x: zz:zz 0:0 0A 0 0 0 0 0 x", TCP_LISTEN), None);
    }

    #[test]
    fn a_listener_of_this_process_is_found_with_its_owner() {
        let listener = std::net::TcpListener::bind("0.0.0.0:0").expect("a free port");
        let port = listener.local_addr().expect("an address").port();
        let found = listeners(&Root::live());
        let mine = found.iter().find(|l| l.port == port).expect("it listens");
        assert_eq!(mine.address, "*");
        assert!(mine.owner.as_deref().is_some_and(|o| !o.is_empty()));
    }
}
