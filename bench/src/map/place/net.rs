//! A small network: every host is a namespace with one link to the router `lb`, which is one too and rewrites the virtual
//! address. One more link leads to the machine itself, where the collector is. A container hangs behind its host, which hides
//! its address.
//!
//! ```text
//!   front  app1  app2  db  cache  world  old/new       198.19.N.4k+2
//!      \     |     |    |    |     /      /
//!       ── lb ──────────────────────────── machine      198.19.N.2
//!                  |
//!             app2 ── box                              172.30.N.2, masqueraded
//! ```

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context as _, Result};

use crate::live::undo::{Janitor, Promise, run};

/// The router's name.
pub const ROUTER: &str = "lb";
/// The link's name inside each host.
const INNER: &str = "eth0";

/// A namespace.
#[derive(Debug)]
struct Space {
    address: Ipv4Addr,
    _made: Promise,
}

/// The network.
#[derive(Debug)]
pub struct Net {
    /// Fields are dropped in their order: the link goes before the namespace that holds its other end.
    _link: Promise,
    spaces: BTreeMap<String, Space>,
    janitor: Arc<Janitor>,
    run: u32,
}

impl Net {
    /// Makes the router and its link to the machine.
    ///
    /// # Errors
    /// Without root, `ip`, or network namespaces.
    pub fn new(janitor: &Arc<Janitor>) -> Result<Self> {
        let run_id = std::process::id();
        let name = space_name(run_id, ROUTER);
        let made = janitor.make(&["ip", "netns", "add", &name], &["ip", "netns", "delete", &name])?;
        // Names of links have at most 15 characters.
        let link = format!("tm{run_id}");
        let add = ["ip", "link", "add", &link, "type", "veth", "peer", "name", "to-machine", "netns", &name];
        let link_made = janitor.make(&add, &["ip", "link", "delete", &link])?;
        let router = Space { address: subnet(run_id, 0, 1), _made: made };
        let net = Self {
            spaces: BTreeMap::from([(ROUTER.to_owned(), router)]),
            janitor: Arc::clone(janitor),
            run: run_id,
            _link: link_made,
        };
        let (here, there) = (subnet(run_id, 0, 2), subnet(run_id, 0, 1));
        net.ip(ROUTER, &["link", "set", "lo", "up"])?;
        net.ip(ROUTER, &["address", "add", &format!("{there}/30"), "dev", "to-machine"])?;
        net.ip(ROUTER, &["link", "set", "to-machine", "up"])?;
        net.inside(ROUTER, &["sh", "-c", "echo 1 > /proc/sys/net/ipv4/ip_forward"])?;
        run(&["ip", "address", "add", &format!("{here}/30"), "dev", &link])?;
        run(&["ip", "link", "set", &link, "up"])?;
        let all = format!("{}/24", subnet(run_id, 0, 0));
        run(&["ip", "route", "add", &all, "via", &there.to_string(), "dev", &link])?;
        Ok(net)
    }

    /// The machine's own address in it.
    pub fn machine(&self) -> Ipv4Addr {
        subnet(self.run, 0, 2)
    }

    /// The virtual address: nobody has it, the router rewrites it.
    pub fn virtual_address(&self) -> Ipv4Addr {
        subnet(self.run, 50, 0)
    }

    /// Adds a host at place `number`, 1 to 49. A place may be used again when its host is gone.
    ///
    /// # Errors
    /// Without root or `ip`.
    pub fn add(&mut self, host: &str, number: u8) -> Result<()> {
        let (gate, own) = (subnet(self.run, number, 1), subnet(self.run, number, 2));
        self.space(host, own)?;
        self.connect(ROUTER, &format!("to-{host}"), gate, host, own)
    }

    /// Adds a container behind `outer`, which puts its own address in place of the container's.
    ///
    /// # Errors
    /// Without root, `ip` or `nft`.
    pub fn add_inside(&mut self, host: &str, outer: &str) -> Result<()> {
        let place = (self.run % 250) as u8;
        let [gate, own] = [1, 2].map(|n| Ipv4Addr::new(172, 30, place, n));
        self.space(host, own)?;
        self.connect(outer, &format!("to-{host}"), gate, host, own)?;
        self.inside(outer, &["sh", "-c", "echo 1 > /proc/sys/net/ipv4/ip_forward"])?;
        let hide = format!("ip saddr {own} oifname \"{INNER}\" masquerade");
        self.nft(
            outer,
            &format!(
                "table ip hide {{ chain post {{ type nat hook postrouting priority 100; policy accept; {hide}; }}; }}"
            ),
        )
    }

    /// Takes a host away; who was in it has to have ended.
    pub fn remove(&mut self, host: &str) {
        // The kernel takes its time with a namespace and all in it; the link's place may be wanted at once.
        let _ = self.ip(ROUTER, &["link", "delete", &format!("to-{host}")]);
        self.spaces.remove(host);
    }

    /// A host's address.
    ///
    /// # Errors
    /// When there is no such host.
    pub fn address(&self, host: &str) -> Result<Ipv4Addr> {
        self.spaces.get(host).map(|s| s.address).with_context(|| format!("no host {host}"))
    }

    /// A host's address with a port.
    ///
    /// # Errors
    /// When there is no such host.
    pub fn socket(&self, host: &str, port: u16) -> Result<SocketAddr> {
        Ok(SocketAddr::from((self.address(host)?, port)))
    }

    /// Where `nsenter` finds a host's namespace.
    pub fn entrance(&self, host: &str) -> PathBuf {
        PathBuf::from("/run/netns").join(space_name(self.run, host))
    }

    /// Gives the kernel's packet filter of a host a command.
    ///
    /// # Errors
    /// Without `nft` or the modules it asks for.
    pub fn nft(&self, host: &str, command: &str) -> Result<()> {
        self.inside(host, &["nft", command])
    }

    fn space(&mut self, host: &str, address: Ipv4Addr) -> Result<()> {
        let name = space_name(self.run, host);
        let made = self.janitor.make(&["ip", "netns", "add", &name], &["ip", "netns", "delete", &name])?;
        self.spaces.insert(host.to_owned(), Space { address, _made: made });
        self.ip(host, &["link", "set", "lo", "up"])
    }

    /// A link between two namespaces goes with either.
    fn connect(&self, outer: &str, link: &str, gate: Ipv4Addr, host: &str, own: Ipv4Addr) -> Result<()> {
        let name = space_name(self.run, host);
        self.ip(outer, &["link", "add", link, "type", "veth", "peer", "name", INNER, "netns", &name])?;
        self.ip(outer, &["address", "add", &format!("{gate}/30"), "dev", link])?;
        self.ip(outer, &["link", "set", link, "up"])?;
        self.ip(host, &["address", "add", &format!("{own}/30"), "dev", INNER])?;
        self.ip(host, &["link", "set", INNER, "up"])?;
        self.ip(host, &["route", "add", "default", "via", &gate.to_string()])
    }

    fn ip(&self, host: &str, words: &[&str]) -> Result<()> {
        let name = space_name(self.run, host);
        run(&[&["ip", "-n", name.as_str()][..], words].concat()).map(drop)
    }

    fn inside(&self, host: &str, words: &[&str]) -> Result<()> {
        let enter = format!("--net={}", self.entrance(host).display());
        run(&[&["nsenter", enter.as_str(), "--"][..], words].concat()).map(drop)
    }
}

fn space_name(run_id: u32, host: &str) -> String {
    format!("tacit-map-{run_id}-{host}")
}

/// Address `n` of the four of a place, in the block that is kept for benchmarks (RFC 2544); each run has a part of its own.
fn subnet(run_id: u32, place: u8, n: u8) -> Ipv4Addr {
    Ipv4Addr::new(198, 19, (run_id % 250) as u8, place * 4 + n)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_do_not_touch() {
        assert_eq!(subnet(777, 0, 2), Ipv4Addr::new(198, 19, 27, 2));
        assert_eq!(subnet(777, 1, 1), Ipv4Addr::new(198, 19, 27, 5));
        assert_eq!(subnet(250, 50, 0), Ipv4Addr::new(198, 19, 0, 200));
    }
}
