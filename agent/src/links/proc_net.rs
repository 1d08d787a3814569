//! Without netlink: `/proc/net/tcp` and `tcp6`. It has no figures, no cookies and no events, so connections that come and go
//! between two looks are not seen at all; the level of the messages says so.
//!
//! ```text
//!   sl  local_address rem_address   st tx_queue:rx_queue tr:tm->when retrnsmt   uid  timeout inode
//!    0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 20310 …
//! ```

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::message::{Record, Transport};
use crate::source::Root;

/// All TCP sockets that are open or listen.
///
/// # Errors
/// When there is no such table either.
pub fn read(root: &Root) -> std::io::Result<Vec<Record>> {
    let text = std::fs::read_to_string(root.join("proc/net/tcp"))?;
    // Without IPv6 there is no second table.
    let six = std::fs::read_to_string(root.join("proc/net/tcp6")).unwrap_or_default();
    Ok(text.lines().chain(six.lines()).filter_map(parse).collect())
}

fn parse(line: &str) -> Option<Record> {
    let mut words = line.split_ascii_whitespace();
    let (local, local_port) = end(words.nth(1)?)?;
    let (remote, remote_port) = end(words.next()?)?;
    let state = u8::from_str_radix(words.next()?, 16).ok()?;
    let (_, waiting) = words.next()?.split_once(':')?;
    let inode: u32 = words.nth(4)?.parse().ok()?;
    // TIME_WAIT and half-open ones have no inode.
    (inode != 0).then_some(Record {
        transport: Transport::Tcp,
        state,
        local,
        local_port,
        remote,
        remote_port,
        cookie: inode.into(),
        queue: u32::from_str_radix(waiting, 16).ok()?,
        inode,
        cgroup: 0,
        info: None,
    })
}

fn end(word: &str) -> Option<(IpAddr, u16)> {
    let (address, port) = word.split_once(':')?;
    // The memory of the machine in hexadecimal, one 32-bit word at a time.
    let part = |i: usize| u32::from_str_radix(address.get(8 * i..8 * i + 8)?, 16).ok().map(u32::to_ne_bytes);
    let address = match address.len() {
        8 => IpAddr::V4(Ipv4Addr::from(part(0)?)),
        32 => {
            let words = [part(0)?, part(1)?, part(2)?, part(3)?];
            IpAddr::V6(Ipv6Addr::from(<[u8; 16]>::try_from(words.as_flattened()).ok()?)).to_canonical()
        }
        _ => return None,
    };
    Some((address, u16::from_str_radix(port, 16).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_table_is_read() {
        let line =
            "   0: 0100007F:1F90 00000000:0000 0A 00000000:00000002 00:00000000 00000000  1000        0 20310 1 x";
        let record = parse(line).expect("a listener");
        assert_eq!((record.local_port, record.state, record.queue, record.inode), (8080, 10, 2, 20_310));
        assert!(record.local.is_loopback() || cfg!(target_endian = "big"));
        for cut in 0..line.len() {
            let _ = parse(&line[..cut]);
        }
        let waiting = "1: 0100007F:1F90 0100007F:C000 06 00000000:00000000 03:00000c4a 00000000 0 0 0 3 x";
        assert_eq!(parse(waiting), None);
    }
}
