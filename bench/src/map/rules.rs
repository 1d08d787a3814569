//! What the packet filters of the data centre do, and the ports they are about.

use std::net::Ipv4Addr;

use anyhow::Result;

use super::center::Center;
use super::place::net::ROUTER;

/// The pages of the apps.
pub const APP: u16 = 8080;
/// What the container asks, and what it is asked for.
pub const STOCK: u16 = 8090;
pub const INNER: u16 = 8070;
/// The service that moves.
pub const CART: u16 = 7100;
/// The service that goes down.
pub const PROBE: u16 = 7200;
/// The service whose address is used again.
pub const ARCHIVE: u16 = 7400;
/// The proxy that delays.
pub const DELAY: u16 = 6400;
/// A service outside.
pub const OUTSIDE: u16 = 443;
/// Refuses.
pub const CLOSED: u16 = 6390;
/// Refuses, outside.
pub const BACKUP: u16 = 873;
/// Does not answer.
pub const SILENT: u16 = 5999;

/// The virtual address: pages go to both apps in turn, the cart to one of them.
///
/// # Errors
/// Without the kernel's modules for it.
pub fn rewrite(center: &Center) -> Result<()> {
    let apps: Vec<Ipv4Addr> = ["app1", "app2"].iter().filter_map(|app| center.net.address(app).ok()).collect();
    let to = match apps.as_slice() {
        [] => return Ok(()),
        [only] => only.to_string(),
        [one, two, ..] => format!("numgen inc mod 2 map {{ 0 : {one}, 1 : {two} }}"),
    };
    let at = center.net.virtual_address();
    let pages = format!("ip daddr {at} tcp dport {APP} dnat to {to}");
    let hook = "type nat hook prerouting priority -100; policy accept";
    center
        .net
        .nft(ROUTER, &format!("table ip lb {{ chain cart {{ }}; chain pre {{ {hook}; {pages}; jump cart; }}; }}"))?;
    send_cart(center, apps[0])
}

/// From now on the cart is on another host.
///
/// # Errors
/// When the kernel refuses.
pub fn send_cart(center: &Center, to: Ipv4Addr) -> Result<()> {
    let at = center.net.virtual_address();
    center.net.nft(
        ROUTER,
        &format!("flush chain ip lb cart; add rule ip lb cart ip daddr {at} tcp dport {CART} dnat to {to}"),
    )
}

/// Packets that never arrive: one in ten from app2 to the cache, and all to a silent port of the database's host.
///
/// # Errors
/// Without the kernel's modules for it.
pub fn lose(center: &Center) -> Result<()> {
    let table = |rule: &str| {
        format!("table ip lose {{ chain in {{ type filter hook input priority 0; policy accept; {rule} drop; }}; }}")
    };
    if center.has(&["app2", "cache"]) {
        let from = center.net.address("app2")?;
        let one_in_ten = format!("ip saddr {from} tcp dport 6379 numgen random mod 10 0");
        center.net.nft("cache", &table(&one_in_ten))?;
    }
    if center.has(&["db"]) {
        center.net.nft("db", &table(&format!("tcp dport {SILENT}")))?;
    }
    Ok(())
}
