//! Whose an address is: addresses belong to nodes for intervals of time, and to one site.
//!
//! Births say which addresses a node has. Private ranges overlap between sites, so they are looked up in the asker's own
//! site only. Where two nodes that are both there claim an address, the first keeps it and the conflict is shown: a node
//! cannot take another's edges by naming its address.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::half::NodeNo;
use super::nodes::Nodes;
use crate::store::AddressClaim;

/// How long before its first birth a node may have had its address: the minute in which it came is its own too.
const BEFORE_MS: i64 = 10 * 60_000;
/// Conflicts that are listed.
const CONFLICTS_MAX: usize = 100;
/// Addresses of its own that a node's halves may add to those of its births (containers have theirs).
const OWN_MAX: usize = 1024;

#[derive(Debug, Clone, Copy)]
struct Claim {
    node: NodeNo,
    since: i64,
    until: i64,
}

/// An address that more than one node says it has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Conflict {
    /// Site.
    pub site: String,
    /// The address.
    pub address: String,
    /// Who claims it; the first is believed.
    pub nodes: Vec<String>,
}

/// Who had which address when.
#[derive(Debug, Default)]
pub struct Addresses {
    claims: HashMap<(u32, IpAddr), Vec<Claim>>,
    /// Addresses that are unique in the world, whatever the site.
    global: HashMap<IpAddr, Vec<Claim>>,
    own: HashSet<(NodeNo, IpAddr)>,
    added: HashMap<NodeNo, usize>,
    conflicts: Vec<Conflict>,
}

/// Whether an address means the same in every site.
#[must_use]
pub fn is_global(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(v4) => {
            let shared = v4.octets()[0] == 100 && (64..128).contains(&v4.octets()[1]);
            !(v4.is_private() || v4.is_loopback() || v4.is_link_local() || v4.is_unspecified() || shared)
        }
        IpAddr::V6(v6) => {
            let first = v6.segments()[0];
            !(v6.is_loopback() || v6.is_unspecified() || first & 0xfe00 == 0xfc00 || first & 0xffc0 == 0xfe80)
        }
    }
}

fn is_claimable(ip: IpAddr) -> bool {
    let link_local = match ip {
        IpAddr::V4(v4) => v4.is_link_local(),
        IpAddr::V6(v6) => v6.segments()[0] & 0xffc0 == 0xfe80,
    };
    !(ip.is_loopback() || ip.is_unspecified() || ip.is_multicast() || link_local)
}

impl Addresses {
    /// What the claims say; they come in the order in which they began.
    #[must_use]
    pub fn new(claims: &[AddressClaim], nodes: &mut Nodes) -> Self {
        let mut all = Self::default();
        for claim in claims {
            let Ok(ip) = claim.address.parse::<IpAddr>().map(|ip| ip.to_canonical()) else { continue };
            if !is_claimable(ip) {
                continue;
            }
            let node = nodes.number(&claim.node, &claim.site);
            let one = Claim { node, since: claim.since, until: claim.until.unwrap_or(i64::MAX) };
            all.own.insert((node, ip));
            all.claims.entry((nodes.site_of(node), ip)).or_default().push(one);
            if is_global(ip) {
                all.global.entry(ip).or_default().push(one);
            }
        }
        all.find_conflicts(nodes);
        all
    }

    fn find_conflicts(&mut self, nodes: &Nodes) {
        for ((site, ip), claims) in &self.claims {
            let open: Vec<_> = claims.iter().filter(|c| c.until == i64::MAX).collect();
            if open.len() > 1 && self.conflicts.len() < CONFLICTS_MAX {
                self.conflicts.push(Conflict {
                    site: nodes.site_name(*site).to_string(),
                    address: ip.to_string(),
                    nodes: open.iter().map(|c| nodes.name(c.node).to_string()).collect(),
                });
            }
        }
        self.conflicts.sort_by(|a, b| (&a.site, &a.address).cmp(&(&b.site, &b.address)));
    }

    /// A node says that an address is its own, as one end of an edge. That counts for what it says itself, never for
    /// what others say.
    pub fn observe(&mut self, node: NodeNo, ip: IpAddr) {
        if self.own.contains(&(node, ip)) || !is_claimable(ip) {
            return;
        }
        let added = self.added.entry(node).or_default();
        if *added < OWN_MAX {
            *added += 1;
            self.own.insert((node, ip));
        }
    }

    /// Whether a node has, or had, an address.
    #[must_use]
    pub fn is_own(&self, node: NodeNo, ip: IpAddr) -> bool {
        ip.is_loopback() || self.own.contains(&(node, ip))
    }

    /// Whose an address was in a minute, as somebody at `asker` means it.
    #[must_use]
    pub fn owner(&self, asker: NodeNo, site: u32, ip: IpAddr, minute: i64) -> Option<NodeNo> {
        if self.is_own(asker, ip) {
            return Some(asker);
        }
        let claims = self.claims.get(&(site, ip)).or_else(|| self.global.get(&ip).filter(|_| is_global(ip)))?;
        let there = claims.iter().find(|c| c.since < minute + 60_000 && c.until > minute);
        let soon = || claims.iter().find(|c| c.since >= minute && c.since - minute <= BEFORE_MS);
        there.or_else(soon).map(|c| c.node)
    }

    /// Addresses that several nodes claim.
    #[must_use]
    pub fn conflicts(&self) -> &[Conflict] {
        &self.conflicts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claim(site: &str, address: &str, node: &str, since: i64, until: Option<i64>) -> AddressClaim {
        let (site, node) = (site.parse().unwrap(), node.parse().unwrap());
        AddressClaim { site, address: address.into(), node, since, until }
    }

    const HOUR: i64 = 3_600_000;

    #[test]
    fn an_address_is_reused_and_private_ranges_overlap() {
        let mut nodes = Nodes::default();
        let claims = [
            claim("a", "10.0.0.5", "old", 0, Some(HOUR)),
            claim("b", "10.0.0.5", "other", 0, None),
            claim("b", "192.0.2.1", "public", 0, None),
            claim("a", "10.0.0.5", "new", 2 * HOUR, None),
            claim("a", "127.0.0.1", "new", 0, None),
        ];
        let addresses = Addresses::new(&claims, &mut nodes);
        let asker = nodes.number(&"asker".parse().unwrap(), &"a".parse().unwrap());
        let elsewhere = nodes.number(&"elsewhere".parse().unwrap(), &"b".parse().unwrap());
        let owner = |who: NodeNo, ip: &str, at: i64| {
            let found = addresses.owner(who, nodes.site_of(who), ip.parse().unwrap(), at);
            found.map(|n| nodes.name(n).to_string())
        };
        assert_eq!(owner(asker, "10.0.0.5", HOUR / 2).as_deref(), Some("old"));
        assert_eq!(owner(asker, "10.0.0.5", HOUR + HOUR / 2), None);
        assert_eq!(owner(asker, "10.0.0.5", 2 * HOUR - 60_000).as_deref(), Some("new"), "its first minute");
        assert_eq!(owner(elsewhere, "10.0.0.5", 3 * HOUR).as_deref(), Some("other"));
        assert_eq!(owner(asker, "192.0.2.1", HOUR).as_deref(), Some("public"));
        assert_eq!(owner(asker, "127.0.0.1", HOUR).as_deref(), Some("asker"));
        assert!(addresses.conflicts().is_empty());
    }

    #[test]
    fn the_first_keeps_an_address_and_the_conflict_is_shown() {
        let mut nodes = Nodes::default();
        let claims = [claim("a", "10.0.0.5", "db-1", 0, None), claim("a", "10.0.0.5", "evil", 5, None)];
        let addresses = Addresses::new(&claims, &mut nodes);
        let asker = nodes.number(&"asker".parse().unwrap(), &"a".parse().unwrap());
        let owner = addresses.owner(asker, nodes.site_of(asker), "10.0.0.5".parse().unwrap(), HOUR);
        assert_eq!(owner.map(|n| nodes.name(n).as_str()), Some("db-1"));
        assert_eq!(addresses.conflicts()[0].nodes, ["db-1", "evil"]);
    }
}
