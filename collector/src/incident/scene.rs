//! Numbers for names, and who is related to whom, as the map and the inventory have it now.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::net::IpAddr;

use super::about::node_of;
use super::group::{EntityNo, FamilyNo, Numbers, Relations, TagNo, Topology};
use crate::map::book::Pair;
use crate::store::{AddressClaim, NodeTags, tag_words};

/// Lengths of networks that hosts of one rack, and of one hall, are believed to share, by version of the protocol.
const SUBNET_BITS: [[u32; 2]; 2] = [[24, 16], [64, 48]];

/// Entities of one node that are kept apart; strangers can send any number of names. What is beyond is the node itself.
const NAMES_OF_NODE: usize = 1000;
/// Entities on no node that are kept apart.
const NAMES_OF_NONE: usize = 100_000;
/// What the others of those are.
const OTHERS: &str = "others:";

/// Who is related to whom.
#[derive(Debug, Default)]
pub struct Scene {
    entities: Numbers,
    tags: Numbers,
    topology: Topology,
    /// What the topology was made of, so that it is made anew only when that changed.
    made_of: u64,
    version: u64,
    /// Callees of each vertex, by name, for who asks who depends on whom.
    callees: HashMap<String, BTreeSet<String>>,
    /// Entities that events were about; they belong to their nodes whether the map knows them or not.
    named: BTreeSet<String>,
    /// How many of them are on each node.
    named_on: HashMap<String, usize>,
}

impl Scene {
    /// The number of an entity. One that is new belongs to the node that it names.
    pub fn entity(&mut self, name: &str) -> EntityNo {
        let name = if self.has_room(name) { name } else { node_of(name).unwrap_or(OTHERS) };
        let number = EntityNo(self.entities.number(name));
        if self.named.insert(name.to_owned()) && !self.has_place(number) {
            // The topology has to learn where it is.
            self.made_of = 0;
        }
        number
    }

    /// Whether the topology knows an entity already, from the map or the inventory: its host, whom it talks to, or its networks.
    fn has_place(&self, entity: EntityNo) -> bool {
        let known = &self.topology;
        known.host(entity) != entity || !known.neighbours(entity).is_empty() || !known.tags(entity).is_empty()
    }

    /// Whether a name is known, or may be kept apart from the others of its node.
    fn has_room(&mut self, name: &str) -> bool {
        if self.named.contains(name) {
            return true;
        }
        let (node, most) = node_of(name).map_or((OTHERS, NAMES_OF_NONE), |node| (node, NAMES_OF_NODE));
        let count = self.named_on.entry(node.to_owned()).or_default();
        *count = count.saturating_add(1);
        *count <= most
    }

    /// The number of a family. There may be any number of them, and nobody asks for their names.
    #[must_use]
    pub fn family(name: &str) -> FamilyNo {
        let mut hasher = DefaultHasher::new();
        name.hash(&mut hasher);
        FamilyNo(hasher.finish() as u32)
    }

    /// The name of an entity.
    #[must_use]
    pub fn name(&self, entity: EntityNo) -> Option<&str> {
        self.entities.name(entity.0)
    }

    /// Whether the topology does not know all that was named since it was made.
    #[must_use]
    pub fn is_stale(&self) -> bool {
        self.made_of == 0
    }

    /// Takes over what the map and the inventory say now.
    pub fn renew(&mut self, pairs: &[Pair], claims: &[AddressClaim], said: &NodeTags) {
        let made_of = digest(pairs, claims, said, self.named.len());
        if made_of == self.made_of {
            return;
        }
        self.made_of = made_of;
        self.version = self.version.wrapping_add(1);
        let mut callees: HashMap<String, BTreeSet<String>> = HashMap::new();
        let mut hosts = BTreeSet::new();
        let mut edges = BTreeSet::new();
        for pair in pairs {
            let (client, server) = (self.number(&pair.client), self.number(&pair.server));
            let nodes = [(client, &pair.client_node), (server, &pair.server_node)];
            for (entity, node) in nodes {
                if let Some(node) = node {
                    hosts.insert((entity, self.number(node.as_str())));
                }
            }
            if pair.infrastructure || client == server {
                continue;
            }
            edges.insert((client, server));
            callees.entry(pair.client.clone()).or_default().insert(pair.server.clone());
        }
        for name in std::mem::take(&mut self.named) {
            if let Some(node) = node_of(&name).filter(|node| *node != name) {
                hosts.insert((self.number(&name), self.number(node)));
            }
            self.named.insert(name);
        }
        let mut tags = BTreeSet::new();
        for claim in claims.iter().filter(|c| c.until.is_none()) {
            let host = self.number(claim.node.as_str());
            tags.insert((host, TagNo(self.tags.number(&format!("site {}", claim.site)))));
            for subnet in subnets(&claim.address) {
                tags.insert((host, TagNo(self.tags.number(&format!("net {subnet} {}", claim.site)))));
            }
        }
        for (node, said) in said {
            let host = self.number(node.as_str());
            let words = said.iter().map(|(key, value)| format!("tag {}", tag_words(key, value)));
            tags.extend(words.map(|words| (host, TagNo(self.tags.number(&words)))));
        }
        let list = |set: BTreeSet<(EntityNo, EntityNo)>| set.into_iter().collect::<Vec<_>>();
        let tags: Vec<(EntityNo, TagNo)> = self.telling(tags);
        self.topology = Topology::new(&list(hosts), &list(edges), &tags, self.version);
        self.callees = callees;
    }

    /// Tags that tell hosts apart: one that all hosts have says nothing.
    fn telling(&self, tags: BTreeSet<(EntityNo, TagNo)>) -> Vec<(EntityNo, TagNo)> {
        let hosts: BTreeSet<EntityNo> = tags.iter().map(|(host, _)| *host).collect();
        let mut of_tag: BTreeMap<TagNo, usize> = BTreeMap::new();
        for (_, tag) in &tags {
            *of_tag.entry(*tag).or_default() += 1;
        }
        tags.into_iter().filter(|(_, tag)| of_tag.get(tag).is_some_and(|n| *n < hosts.len())).collect()
    }

    fn number(&mut self, name: &str) -> EntityNo {
        EntityNo(self.entities.number(name))
    }

    /// Who is related to whom.
    #[must_use]
    pub fn relations(&self) -> &dyn Relations {
        &self.topology
    }

    /// Whom a vertex calls.
    pub fn callees(&self, vertex: &str) -> impl Iterator<Item = &str> {
        self.callees.get(vertex).into_iter().flatten().map(String::as_str)
    }

    /// Whether `vertex` depends on `on` (a vertex, or everything on a node) through at most so many calls.
    #[must_use]
    pub fn depends(&self, vertex: &str, on: &str, steps: usize) -> bool {
        let is_meant = |name: &str| name == on || node_of(name).is_some_and(|node| node == on);
        let mut layer: BTreeSet<&str> = BTreeSet::from([vertex]);
        for _ in 0..steps {
            layer = layer.into_iter().flat_map(|v| self.callees(v)).collect();
            if layer.iter().any(|v| is_meant(v)) {
                return true;
            }
        }
        false
    }
}

fn digest(pairs: &[Pair], claims: &[AddressClaim], said: &NodeTags, named: usize) -> u64 {
    let mut hasher = DefaultHasher::new();
    pairs.hash(&mut hasher);
    for claim in claims.iter().filter(|c| c.until.is_none()) {
        (claim.site.as_str(), claim.node.as_str(), &claim.address).hash(&mut hasher);
    }
    for (node, tags) in said {
        (node.as_str(), tags).hash(&mut hasher);
    }
    named.hash(&mut hasher);
    hasher.finish().max(1)
}

/// The networks that an address is in, the narrowest first.
fn subnets(address: &str) -> Vec<String> {
    match address.parse::<IpAddr>() {
        Ok(ip) if ip.is_loopback() || ip.is_unspecified() => Vec::new(),
        Ok(IpAddr::V4(ip)) => {
            let net = |bits: u32| std::net::Ipv4Addr::from(u32::from(ip) & (u32::MAX << (32 - bits)));
            SUBNET_BITS[0].iter().map(|bits| format!("{}/{bits}", net(*bits))).collect()
        }
        Ok(IpAddr::V6(ip)) => {
            let net = |bits: u32| std::net::Ipv6Addr::from(u128::from(ip) & (u128::MAX << (128 - bits)));
            SUBNET_BITS[1].iter().map(|bits| format!("{}/{bits}", net(*bits))).collect()
        }
        Err(_) => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    pub fn pair(client: &str, server: &str) -> Pair {
        let node = |vertex: &str| node_of(vertex).and_then(|n| n.parse().ok());
        Pair {
            client: client.into(),
            server: server.into(),
            client_node: node(client),
            server_node: node(server),
            infrastructure: false,
        }
    }

    fn claim(node: &str, address: &str) -> AddressClaim {
        AddressClaim {
            site: "lab".parse().unwrap(),
            address: address.into(),
            node: node.parse().unwrap(),
            since: 0,
            until: None,
        }
    }

    #[test]
    fn services_are_on_nodes_and_nodes_in_networks() {
        let mut scene = Scene::default();
        let unit = scene.entity("db-1/postgresql.service");
        assert!(scene.is_stale());
        let claims = [claim("db-1", "10.0.1.4"), claim("web-1", "10.0.2.4"), claim("web-2", "10.0.2.5")];
        scene.renew(&[pair("web-1/api", "db-1/postgresql.service")], &claims, &NodeTags::new());
        let host = scene.relations().host(unit);
        assert_eq!(scene.name(host), Some("db-1"));
        let (one, two) = (scene.entity("web-1"), scene.entity("web-2"));
        scene.renew(&[pair("web-1/api", "db-1/postgresql.service")], &claims, &NodeTags::new());
        let tags = |e| scene.relations().tags(e);
        // All are in one site, which says nothing; two of them are in one network.
        assert_eq!((tags(one).len(), tags(one)), (1, tags(two)));
        assert_ne!(tags(one), tags(host));
        assert!(scene.relations().neighbours(host).contains(&one), "an edge of services is one of their nodes");
    }

    #[test]
    fn what_the_map_knows_makes_nothing_stale() {
        let mut scene = Scene::default();
        let claims = [claim("app-1", "10.0.2.4"), claim("app-2", "10.1.2.4")];
        scene.renew(&[pair("web-1/api", "db-1/x")], &claims, &NodeTags::new());
        for known in ["web-1/api", "db-1/x", "db-1", "app-1"] {
            scene.entity(known);
            assert!(!scene.is_stale(), "{known}");
        }
        scene.entity("web-1/cron");
        assert!(scene.is_stale(), "the map does not know it");
    }

    #[test]
    fn tags_relate_the_nodes_that_share_them() {
        let mut scene = Scene::default();
        let nodes = ["db-1", "db-2", "web-1"].map(|node| (node, scene.entity(node)));
        let tag = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        let said: NodeTags = nodes
            .iter()
            .map(|(node, _)| (node.parse().unwrap(), [tag("env", "live"), tag("role", &node[..node.len() - 2])].into()))
            .collect();
        scene.renew(&[], &[], &said);
        let tags = |n: usize| scene.relations().tags(nodes[n].1);
        // All are `env=live`, which says nothing.
        assert_eq!((tags(0).len(), tags(0)), (1, tags(1)));
        assert_ne!(tags(0), tags(2));
        let version = scene.relations().version();
        scene.renew(&[], &[], &said);
        assert_eq!(scene.relations().version(), version);
        scene.renew(&[], &[], &NodeTags::new());
        assert_ne!(scene.relations().version(), version);
    }

    #[test]
    fn what_is_too_much_of_one_node_is_that_node() {
        let mut scene = Scene::default();
        let first = scene.entity("a/0");
        for n in 0..2 * NAMES_OF_NODE {
            scene.entity(&format!("a/{n}"));
        }
        assert_eq!((scene.entity("a/0"), scene.entity("a/x")), (first, scene.entity("a")));
        assert_ne!(scene.entity("b/x"), scene.entity("b"), "others have room");
        assert_ne!(Scene::family("cpu"), Scene::family("memory"));
    }

    #[test]
    fn nothing_is_made_anew_while_nothing_changes() {
        let mut scene = Scene::default();
        let pairs = [pair("a/x", "b/y"), pair("b/y", "c/z")];
        scene.renew(&pairs, &[], &NodeTags::new());
        let version = scene.relations().version();
        scene.renew(&pairs, &[], &NodeTags::new());
        assert_eq!(scene.relations().version(), version);
        scene.renew(&pairs[..1], &[], &NodeTags::new());
        assert_ne!(scene.relations().version(), version);
    }

    #[test]
    fn callers_depend_on_callees_through_steps() {
        let mut scene = Scene::default();
        scene.renew(&[pair("a/x", "b/y"), pair("b/y", "c/z")], &[], &NodeTags::new());
        assert!(scene.depends("a/x", "b/y", 1) && scene.depends("a/x", "c/z", 2) && scene.depends("a/x", "c", 2));
        assert!(!scene.depends("a/x", "c/z", 1) && !scene.depends("c/z", "a/x", 3));
    }

    #[test]
    fn networks_of_both_versions() {
        assert_eq!(subnets("10.1.2.3"), ["10.1.2.0/24", "10.1.0.0/16"]);
        assert_eq!(subnets("2001:db8:1:2:3::4"), ["2001:db8:1:2::/64", "2001:db8:1::/48"]);
        assert!(subnets("127.0.0.1").is_empty() && subnets("x").is_empty());
    }
}
