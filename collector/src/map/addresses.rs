//! Whose an address is: addresses belong to nodes for intervals of time, and to one site.
//!
//! Births say which addresses a node has. Private ranges overlap between sites, so they are looked up in the asker's own
//! site only; networks of containers repeat on every node, so an address in them is the asker's own before it is the site's.
//! Where two nodes that are both there claim an address, the one that named it first keeps it and the conflict is shown: a
//! node cannot take another's edges by naming its address.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::half::NodeNo;
use super::names::{ContainerNetworks, Names};
use super::nodes::Nodes;
use crate::store::AddressClaim;

/// How long before its first birth a node may have had its address: the minute in which it came is its own too.
const BEFORE_MS: i64 = 15 * 60_000;
/// Conflicts of each kind that are listed.
const CONFLICTS_MAX: usize = 100;
/// Addresses of its own that a node's halves may add to those of its births (containers have theirs).
const OWN_MAX: usize = 1024;
/// How long an address that a node's halves named stays its own, and a dispute is shown, without being named again.
const NAMED_MS: i64 = 6 * 3_600_000;

#[derive(Debug, Clone, Copy)]
struct Claim {
    node: NodeNo,
    since: i64,
    until: i64,
}

impl Claim {
    fn holds(&self, minute: i64) -> bool {
        self.since < minute + 60_000 && self.until > minute
    }

    fn begins_soon(&self, minute: i64) -> bool {
        self.since >= minute && self.since - minute <= BEFORE_MS
    }
}

/// How nodes contradict each other, or themselves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum ConflictKind {
    /// Births of several nodes name an address.
    #[default]
    Address,
    /// A node speaks of connections from an address that another node has.
    Links,
    /// A node counts what no machine reaches.
    Absurd,
}

/// What does not fit together; the map shows what is believed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Conflict {
    /// What kind.
    #[serde(default)]
    pub kind: ConflictKind,
    /// Site.
    pub site: String,
    /// The address; empty when none is concerned.
    pub address: String,
    /// Who is concerned; the first is believed about the address.
    pub nodes: Vec<String>,
    /// In words.
    #[serde(default)]
    pub text: String,
}

/// Who had which address when.
#[derive(Debug, Default)]
pub struct Addresses {
    /// Of addresses that mean something in one site.
    claims: HashMap<(u32, IpAddr), Vec<Claim>>,
    /// Of addresses that are unique in the world, whatever the site.
    global: HashMap<IpAddr, Vec<Claim>>,
    /// Each node's own, as births say.
    own: HashMap<(NodeNo, IpAddr), Vec<Claim>>,
    /// What halves say of their own end, and when last.
    named: HashMap<(NodeNo, IpAddr), i64>,
    named_by: HashMap<NodeNo, usize>,
    /// Who named an address in halves that another has, and when last.
    disputed: BTreeMap<(NodeNo, IpAddr), (NodeNo, i64)>,
    containers: ContainerNetworks,
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

/// Whether an address can be one machine's among others.
#[must_use]
pub fn is_claimable(ip: IpAddr) -> bool {
    let link_local = match ip {
        IpAddr::V4(v4) => v4.is_link_local() || v4.is_broadcast(),
        IpAddr::V6(v6) => v6.segments()[0] & 0xffc0 == 0xfe80,
    };
    !(ip.is_loopback() || ip.is_unspecified() || ip.is_multicast() || link_local)
}

impl Addresses {
    /// Takes over what the claims say; of each address they come in the order in which it was first named.
    pub fn renew(&mut self, claims: &[AddressClaim], nodes: &mut Nodes, names: &Names) {
        self.containers = names.containers.clone();
        self.claims.clear();
        self.global.clear();
        self.own.clear();
        for claim in claims {
            let Ok(ip) = claim.address.parse::<IpAddr>().map(|ip| ip.to_canonical()) else { continue };
            if !is_claimable(ip) {
                continue;
            }
            let node = nodes.number(&claim.node, &claim.site);
            let one = Claim { node, since: claim.since, until: claim.until.unwrap_or(i64::MAX) };
            self.own.entry((node, ip)).or_default().push(one);
            // Every node that runs containers has it: it says nothing about where others mean to go.
            if self.containers.is_bridge(ip) {
                continue;
            }
            if is_global(ip) {
                self.global.entry(ip).or_default().push(one);
            } else {
                self.claims.entry((nodes.site_of(node), ip)).or_default().push(one);
            }
        }
    }

    fn holders(&self, site: u32, ip: IpAddr) -> &[Claim] {
        let claims = if is_global(ip) { self.global.get(&ip) } else { self.claims.get(&(site, ip)) };
        claims.map(Vec::as_slice).unwrap_or_default()
    }

    fn holder(&self, site: u32, ip: IpAddr, minute: i64) -> Option<NodeNo> {
        let claims = self.holders(site, ip);
        let there = claims.iter().find(|c| c.holds(minute));
        let soon = || claims.iter().find(|c| c.begins_soon(minute));
        there.or_else(soon).map(|c| c.node)
    }

    /// A node says that an address is its own, as one end of an edge. That counts for what it says itself, never for
    /// what others say; and an address that another node has stays that one's.
    pub fn observe(&mut self, node: NodeNo, site: u32, ip: IpAddr, minute: i64) {
        if !is_claimable(ip) || self.has_by_birth(node, ip, minute) {
            return;
        }
        if let Some(holder) = self.holder(site, ip, minute).filter(|h| *h != node) {
            if self.disputed.len() < CONFLICTS_MAX || self.disputed.contains_key(&(node, ip)) {
                self.disputed.insert((node, ip), (holder, minute));
            }
            return;
        }
        if let Some(at) = self.named.get_mut(&(node, ip)) {
            *at = minute.max(*at);
            return;
        }
        let count = self.named_by.entry(node).or_default();
        if *count < OWN_MAX {
            *count += 1;
            self.named.insert((node, ip), minute);
        }
    }

    /// Forgets what halves named and named no more.
    pub fn forget(&mut self, now: i64) {
        let counts = &mut self.named_by;
        self.named.retain(|(node, _), at| {
            let fresh = now - *at < NAMED_MS;
            if !fresh && let Some(count) = counts.get_mut(node) {
                *count = count.saturating_sub(1);
            }
            fresh
        });
        counts.retain(|_, count| *count > 0);
        self.disputed.retain(|_, (_, at)| now - *at < NAMED_MS);
    }

    fn has_by_birth(&self, node: NodeNo, ip: IpAddr, minute: i64) -> bool {
        let claims = self.own.get(&(node, ip)).map(Vec::as_slice).unwrap_or_default();
        claims.iter().any(|c| c.holds(minute) || c.begins_soon(minute))
    }

    /// Whether an address is one of a node itself, not of a container on it.
    #[must_use]
    pub fn is_host(&self, node: NodeNo, ip: IpAddr, minute: i64) -> bool {
        ip.is_loopback() || self.has_by_birth(node, ip, minute)
    }

    /// Whether a node itself says that it has an address.
    fn is_own(&self, node: NodeNo, ip: IpAddr, minute: i64) -> bool {
        ip.is_loopback() || self.has_by_birth(node, ip, minute) || self.named.contains_key(&(node, ip))
    }

    /// Whose an address was in a minute, as somebody at `asker` means it.
    #[must_use]
    pub fn owner(&self, asker: NodeNo, site: u32, ip: IpAddr, minute: i64) -> Option<NodeNo> {
        if self.is_own(asker, ip, minute) {
            return Some(asker);
        }
        // In a container network that is no site's network too, it can only be a container beside the asker.
        self.holder(site, ip, minute).or_else(|| self.containers.holds(ip).then_some(asker))
    }

    /// What does not fit together, by site and address.
    #[must_use]
    pub fn conflicts(&self, nodes: &Nodes) -> Vec<Conflict> {
        let local = self.claims.iter().map(|((_, ip), claims)| (*ip, claims));
        let mut all: Vec<Conflict> = local
            .chain(self.global.iter().map(|(ip, claims)| (*ip, claims)))
            .filter_map(|(ip, claims)| contested(ip, claims, nodes))
            .take(CONFLICTS_MAX)
            .collect();
        all.extend(self.disputed.iter().map(|((node, ip), (holder, _))| {
            let (node, holder, site) =
                (nodes.name(*node), nodes.name(*holder), nodes.site_name(nodes.site_of(*holder)));
            Conflict {
                kind: ConflictKind::Links,
                site: site.to_string(),
                address: ip.to_string(),
                nodes: vec![holder.to_string(), node.to_string()],
                text: format!("{node} speaks of connections of {ip}, which {holder} has"),
            }
        }));
        all.sort_by(|a, b| (&a.site, &a.address, a.kind).cmp(&(&b.site, &b.address, b.kind)));
        all
    }
}

fn contested(ip: IpAddr, claims: &[Claim], nodes: &Nodes) -> Option<Conflict> {
    let mut open: Vec<NodeNo> = Vec::new();
    for claim in claims.iter().filter(|c| c.until == i64::MAX) {
        if !open.contains(&claim.node) {
            open.push(claim.node);
        }
    }
    let first = *open.first().filter(|_| open.len() > 1)?;
    let site = nodes.site_name(nodes.site_of(first)).to_string();
    let nodes: Vec<String> = open.iter().map(|n| nodes.name(*n).to_string()).collect();
    let text = format!("{ip} in {site} is claimed by {}; {} is believed", nodes.join(" and "), nodes[0]);
    Some(Conflict { kind: ConflictKind::Address, site, address: ip.to_string(), nodes, text })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::map::names::MapConfig;

    const HOUR: i64 = 3_600_000;

    fn claim(site: &str, address: &str, node: &str, since: i64, until: Option<i64>) -> AddressClaim {
        let (site, node) = (site.parse().unwrap(), node.parse().unwrap());
        AddressClaim { site, address: address.into(), node, since, until }
    }

    struct World {
        nodes: Nodes,
        addresses: Addresses,
    }

    impl World {
        fn new(claims: &[AddressClaim]) -> Self {
            let (mut nodes, mut addresses) = (Nodes::default(), Addresses::default());
            addresses.renew(claims, &mut nodes, &Names::new(&MapConfig::default(), None).unwrap());
            Self { nodes, addresses }
        }

        fn node(&mut self, node: &str, site: &str) -> NodeNo {
            self.nodes.number(&node.parse().unwrap(), &site.parse().unwrap())
        }

        fn owner(&mut self, (node, site): (&str, &str), ip: &str, at: i64) -> Option<String> {
            let asker = self.node(node, site);
            let found = self.addresses.owner(asker, self.nodes.site_of(asker), ip.parse().unwrap(), at);
            found.map(|n| self.nodes.name(n).to_string())
        }
    }

    #[test]
    fn an_address_is_reused_and_private_ranges_overlap() {
        let mut world = World::new(&[
            claim("a", "10.0.0.5", "old", 0, Some(HOUR)),
            claim("b", "10.0.0.5", "other", 0, None),
            claim("b", "192.0.2.1", "public", 0, None),
            claim("a", "10.0.0.5", "new", 2 * HOUR, None),
            claim("a", "127.0.0.1", "new", 0, None),
        ]);
        let (asker, elsewhere) = (("asker", "a"), ("elsewhere", "b"));
        assert_eq!(world.owner(asker, "10.0.0.5", HOUR / 2).as_deref(), Some("old"));
        assert_eq!(world.owner(asker, "10.0.0.5", HOUR + HOUR / 2), None);
        assert_eq!(world.owner(asker, "10.0.0.5", 2 * HOUR - 60_000).as_deref(), Some("new"), "its first minute");
        assert_eq!(world.owner(("old", "a"), "10.0.0.5", 3 * HOUR).as_deref(), Some("new"), "it was its own once");
        assert_eq!(world.owner(elsewhere, "10.0.0.5", 3 * HOUR).as_deref(), Some("other"));
        assert_eq!(world.owner(asker, "192.0.2.1", HOUR).as_deref(), Some("public"));
        assert_eq!(world.owner(asker, "127.0.0.1", HOUR).as_deref(), Some("asker"));
        assert!(world.addresses.conflicts(&world.nodes).is_empty());
    }

    #[test]
    fn the_first_keeps_an_address_and_the_conflict_is_shown() {
        let mut world = World::new(&[
            claim("a", "10.0.0.5", "db-1", 0, None),
            // In another site, which does not matter to an address that is unique in the world.
            claim("a", "192.0.2.5", "db-1", 0, None),
            claim("a", "10.0.0.5", "evil", 5, None),
            claim("b", "192.0.2.5", "evil-2", 5, None),
        ]);
        assert_eq!(world.owner(("asker", "a"), "10.0.0.5", HOUR).as_deref(), Some("db-1"));
        assert_eq!(world.owner(("asker", "b"), "192.0.2.5", HOUR).as_deref(), Some("db-1"));
        let conflicts = world.addresses.conflicts(&world.nodes);
        let told: Vec<_> = conflicts.iter().map(|c| (c.address.as_str(), c.nodes.join(" "))).collect();
        assert_eq!(told, [("10.0.0.5", "db-1 evil".to_owned()), ("192.0.2.5", "db-1 evil-2".to_owned())]);
        assert_eq!(conflicts[0].text, "10.0.0.5 in a is claimed by db-1 and evil; db-1 is believed");
    }

    #[test]
    fn what_halves_name_is_their_nodes_unless_another_has_it() {
        let mut world = World::new(&[claim("a", "10.0.0.5", "db-1", 0, None), claim("a", "10.0.0.6", "evil", 0, None)]);
        let (evil, db) = (world.node("evil", "a"), world.node("db-1", "a"));
        let site = world.nodes.site_of(evil);
        for ip in ["10.0.0.5", "172.18.0.7", "224.0.0.1", "127.0.0.1"] {
            world.addresses.observe(evil, site, ip.parse().unwrap(), HOUR);
        }
        assert_eq!(world.owner(("evil", "a"), "10.0.0.5", HOUR).as_deref(), Some("db-1"));
        assert_eq!(world.owner(("evil", "a"), "172.18.0.7", HOUR).as_deref(), Some("evil"));
        assert_eq!(world.owner(("asker", "a"), "172.18.0.7", HOUR), None, "others mean one of their own");
        let conflicts = world.addresses.conflicts(&world.nodes);
        assert_eq!(
            (conflicts.len(), conflicts[0].kind, conflicts[0].nodes.join(" ")),
            (1, ConflictKind::Links, "db-1 evil".into())
        );
        world.addresses.observe(db, site, "10.0.0.5".parse().unwrap(), HOUR);
        for n in 0..=u16::MAX {
            let [high, low] = n.to_be_bytes();
            world.addresses.observe(evil, site, [10, 9, high, low].into(), HOUR);
        }
        assert_eq!(world.addresses.named.len(), OWN_MAX, "bounded by node");
        world.addresses.forget(2 * HOUR + NAMED_MS);
        assert!(world.addresses.named.is_empty() && world.addresses.named_by.is_empty());
        assert!(world.addresses.conflicts(&world.nodes).is_empty());
    }

    #[test]
    fn container_networks_are_of_the_node_itself() {
        let mut world = World::new(&[
            claim("a", "172.17.0.1", "one", 0, None),
            claim("a", "172.17.0.1", "two", 0, None),
            claim("a", "172.20.0.1", "one", 0, None),
            claim("a", "172.20.0.1", "two", 0, None),
            // A site that uses such a range for its machines.
            claim("a", "172.17.8.9", "host", 0, None),
        ]);
        for node in ["one", "two"] {
            for ip in ["172.17.0.1", "172.17.0.2", "172.20.0.1"] {
                assert_eq!(world.owner((node, "a"), ip, HOUR).as_deref(), Some(node), "{ip}");
            }
            assert_eq!(world.owner((node, "a"), "172.17.8.9", HOUR).as_deref(), Some("host"));
        }
        assert!(world.addresses.conflicts(&world.nodes).is_empty());
    }
}
