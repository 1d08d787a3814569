//! Which node or service somebody means who does not name them as the map does.
//!
//! Alerts carry labels such as `instance="10.0.0.5:9100"` or `nodename="web-1.example.org"`. Node ids, host names and addresses
//! of births are known, and so are the vertices of the map; a label that fits none of them, or more than one node, is not guessed
//! at.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use tacit_wire::NodeId;
use tokio::sync::Mutex;

use crate::map::Map;
use crate::store::{NodeRecord, Store, StoreError};

/// Labels that may name a node, the surest first.
const HOST_KEYS: [&str; 6] = ["node", "instance", "host", "hostname", "nodename", "kubernetes_node"];
/// Labels that may name a service, the surest first. One counts only when the map has such a service.
const SERVICE_KEYS: [&str; 5] = ["unit", "container", "name", "service", "job"];
/// How long what is known is used before it is read again.
const FRESH_MS: i64 = 300_000;
/// And when somebody was named whom nobody knows.
const MISSING_MS: i64 = 60_000;
/// Nodes read at once.
const PAGE: usize = 500;

/// Where something is, as the map names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The node, when it is on one.
    pub node: Option<NodeId>,
    /// The entity: a node, or a vertex of the map.
    pub entity: String,
}

impl Place {
    /// A node.
    #[must_use]
    pub fn node(node: &NodeId) -> Self {
        Self { node: Some(node.clone()), entity: node.to_string() }
    }

    /// A service on a node.
    #[must_use]
    pub fn service(node: &NodeId, owner: &str) -> Self {
        Self { node: Some(node.clone()), entity: format!("{node}/{owner}") }
    }
}

/// Everybody who can be meant.
#[derive(Debug, Default)]
pub struct Directory {
    ids: HashMap<String, NodeId>,
    /// Host names, addresses, and host names up to their first dot; nobody where several have one.
    hosts: HashMap<String, Option<NodeId>>,
    addresses: HashMap<String, Option<NodeId>>,
    short: HashMap<String, Option<NodeId>>,
    services: HashMap<NodeId, HashSet<String>>,
    owners: HashMap<String, Vec<NodeId>>,
    outside: HashSet<String>,
}

fn claim(names: &mut HashMap<String, Option<NodeId>>, name: String, node: &NodeId) {
    if !name.is_empty() && name != "localhost" {
        let holder = names.entry(name).or_insert_with(|| Some(node.clone()));
        if holder.as_ref() != Some(node) {
            *holder = None;
        }
    }
}

impl Directory {
    /// Takes in a node of the inventory.
    pub fn add_node(&mut self, record: &NodeRecord) {
        let node = &record.node;
        self.ids.insert(node.to_string(), node.clone());
        let host = tidy(&record.birth.identity.hostname);
        if let Some((first, _)) = host.split_once('.') {
            claim(&mut self.short, first.to_owned(), node);
        }
        claim(&mut self.hosts, host, node);
        for address in &record.birth.addresses {
            claim(&mut self.addresses, tidy(address), node);
        }
        for owner in record.birth.listeners.iter().filter_map(|l| l.owner.as_deref()) {
            self.add_service(node, owner.trim());
        }
    }

    fn add_service(&mut self, node: &NodeId, owner: &str) {
        if owner.is_empty() || owner.starts_with(':') || owner == "unattributed" {
            return;
        }
        if self.services.entry(node.clone()).or_default().insert(owner.to_owned()) {
            self.owners.entry(owner.to_owned()).or_default().push(node.clone());
        }
    }

    /// Takes in a vertex of the map by its id; nodes come first.
    pub fn add_vertex(&mut self, id: &str) {
        if id.starts_with("ext:") {
            self.outside.insert(id.to_owned());
        } else if let Some((node, owner)) = id.split_once('/')
            && let Some(node) = self.ids.get(node).cloned()
        {
            self.add_service(&node, owner);
        }
    }

    /// The node of an id, a host name or an address, in any case of letters.
    #[must_use]
    pub fn node(&self, said: &str) -> Option<&NodeId> {
        let name = tidy(host_of(said));
        if let Some(node) = self.ids.get(&name) {
            return Some(node);
        }
        for names in [&self.hosts, &self.addresses, &self.short] {
            if let Some(holder) = names.get(&name) {
                return holder.as_ref();
            }
        }
        let (first, _) = name.split_once('.').filter(|_| name.parse::<IpAddr>().is_err())?;
        self.ids.get(first).or_else(|| self.hosts.get(first)?.as_ref())
    }

    /// A service of a node by its name, with or without `.service`.
    #[must_use]
    pub fn service(&self, node: &NodeId, name: &str) -> Option<&str> {
        let known = self.services.get(node)?;
        let unit = format!("{name}.service");
        known.get(name).or_else(|| known.get(&unit)).map(String::as_str)
    }

    /// Nodes on which a service of this name is, with its full name.
    #[must_use]
    pub fn nodes_of(&self, name: &str) -> Vec<(&NodeId, String)> {
        let unit = format!("{name}.service");
        let of = |owner: &str| {
            let nodes = self.owners.get(owner).map(Vec::as_slice).unwrap_or_default();
            nodes.iter().map(|node| (node, owner.to_owned())).collect::<Vec<_>>()
        };
        let found = of(name);
        if found.is_empty() { of(&unit) } else { found }
    }

    /// The place that labels name; none when nobody known is named.
    #[must_use]
    pub fn place(&self, labels: &BTreeMap<String, String>) -> Option<Place> {
        let node = HOST_KEYS.iter().filter_map(|key| labels.get(*key)).find_map(|said| self.node(said));
        let mut services = SERVICE_KEYS.iter().filter_map(|key| labels.get(*key));
        if let Some(node) = node {
            let service = services.find_map(|name| self.service(node, name));
            return Some(service.map_or_else(|| Place::node(node), |owner| Place::service(node, owner)));
        }
        let outside = labels.get("instance").and_then(|said| self.outside_of(said));
        if let Some(entity) = outside {
            return Some(Place { node: None, entity });
        }
        // A service that is on one node only is meant, wherever that is.
        services.find_map(|name| match self.nodes_of(name).as_slice() {
            [(node, owner)] => Some(Place::service(node, owner)),
            _ => None,
        })
    }

    /// An address with a port that is on the map as somebody outside.
    fn outside_of(&self, said: &str) -> Option<String> {
        let address: SocketAddr = said.trim().parse().ok()?;
        let id = format!("ext:{}", SocketAddr::new(address.ip().to_canonical(), address.port()));
        self.outside.contains(&id).then_some(id)
    }

    /// Whether labels name a host and nobody knows it.
    #[must_use]
    pub fn misses(&self, labels: &BTreeMap<String, String>) -> bool {
        let mut said = HOST_KEYS.iter().filter_map(|key| labels.get(*key)).peekable();
        said.peek().is_some() && said.all(|host| self.node(host).is_none())
    }
}

/// A name in the form in which names are compared; addresses have many.
fn tidy(name: &str) -> String {
    let name = name.trim().trim_end_matches('.').to_lowercase();
    name.parse::<IpAddr>().map_or(name, |ip| ip.to_canonical().to_string())
}

/// The host of `host:port`, `[address]:port`, or a URL.
fn host_of(said: &str) -> &str {
    let said = said.trim();
    let said = said.split_once("://").map_or(said, |(_, rest)| rest.split(['/', '?', '#']).next().unwrap_or(rest));
    if said.parse::<IpAddr>().is_ok() {
        return said;
    }
    if let Some((address, _)) = said.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        return address;
    }
    match said.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|b| b.is_ascii_digit()) => host,
        _ => said,
    }
}

/// The directory, read when it is wanted and kept for a while.
#[derive(Debug)]
pub struct Places {
    store: Arc<dyn Store>,
    map: Arc<Map>,
    /// When it was read, and what was.
    latest: Mutex<Option<(i64, Arc<Directory>)>>,
}

impl Places {
    /// Places of the nodes in `store` and the services on `map`.
    #[must_use]
    pub fn new(store: Arc<dyn Store>, map: Arc<Map>) -> Self {
        Self { store, map, latest: Mutex::default() }
    }

    /// Everybody who can be meant now; when somebody `is_missing`, newer than otherwise.
    ///
    /// # Errors
    /// When the store cannot be asked.
    pub async fn now(
        &self,
        is_missing: impl Fn(&Directory) -> bool,
        now_ms: i64,
    ) -> Result<Arc<Directory>, StoreError> {
        let mut latest = self.latest.lock().await;
        if let Some((read_ms, known)) = latest.as_ref() {
            let age = now_ms.saturating_sub(*read_ms);
            let is_fresh = (0..MISSING_MS).contains(&age) || ((0..FRESH_MS).contains(&age) && !is_missing(known));
            if is_fresh {
                return Ok(Arc::clone(known));
            }
        }
        let directory = Arc::new(self.read().await?);
        *latest = Some((now_ms, Arc::clone(&directory)));
        Ok(directory)
    }

    async fn read(&self) -> Result<Directory, StoreError> {
        let mut directory = Directory::default();
        let mut after: Option<NodeId> = None;
        loop {
            let page = self.store.nodes(after.as_ref(), PAGE).await?;
            page.iter().for_each(|record| directory.add_node(record));
            match page.last() {
                Some(last) if page.len() == PAGE => after = Some(last.node.clone()),
                _ => break,
            }
        }
        for id in self.map.vertex_ids().await? {
            directory.add_vertex(&id);
        }
        Ok(directory)
    }
}

#[cfg(test)]
mod tests {
    use tacit_wire::message::{Listener, NodeIdentity};

    use super::*;
    use crate::fixtures::birth;
    use crate::store::Presence;

    fn record(node: &str, hostname: &str, addresses: &[&str]) -> NodeRecord {
        let mut birth = birth(node, 1);
        birth.identity = NodeIdentity { hostname: hostname.into(), ..NodeIdentity::default() };
        birth.addresses = addresses.iter().map(|a| (*a).to_owned()).collect();
        birth.listeners = vec![Listener { address: "*".into(), port: 22, owner: Some("ssh.service".into()) }];
        NodeRecord {
            node: node.parse().unwrap(),
            site: "lab".parse().unwrap(),
            presence: Presence::Online,
            reason: None,
            first_seen_ms: 0,
            last_seen_ms: 0,
            clock_offset_ms: 0,
            birth,
            report: None,
            open_incidents: 0,
        }
    }

    fn directory() -> Directory {
        let mut directory = Directory::default();
        directory.add_node(&record("web-1", "Web-1.Shop.Example", &["10.0.0.1", "fd00::1"]));
        directory.add_node(&record("db-1", "postgres", &["10.0.0.2"]));
        // The same address twice: nobody is meant.
        directory.add_node(&record("evil", "localhost", &["10.0.0.9"]));
        directory.add_node(&record("other", "localhost", &["10.0.0.9"]));
        for vertex in ["web-1/nginx.service", "db-1/shop-db-1", "web-1/:80", "gone/x.service", "ext:203.0.113.9:443"] {
            directory.add_vertex(vertex);
        }
        directory
    }

    fn place(labels: &[(&str, &str)]) -> Option<String> {
        let labels = labels.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        directory().place(&labels).map(|p| {
            assert_eq!(p.node.is_some(), !p.entity.starts_with("ext:"));
            p.entity
        })
    }

    #[test]
    fn nodes_are_meant_by_id_host_name_or_address() {
        for (said, node) in [
            ("web-1", Some("web-1")),
            ("WEB-1", Some("web-1")),
            ("web-1:9100", Some("web-1")),
            ("web-1.shop.example.:9100", Some("web-1")),
            ("10.0.0.1:9100", Some("web-1")),
            ("::ffff:10.0.0.1", Some("web-1")),
            ("[FD00::1]:9100", Some("web-1")),
            ("fd00:0::1", Some("web-1")),
            ("http://10.0.0.2:80/health?x=1", Some("db-1")),
            ("postgres", Some("db-1")),
            ("db-1.elsewhere.example", Some("db-1")),
            ("10.0.0.9:9100", None),
            ("localhost:9090", None),
            ("10", None),
            ("", None),
            ("[", None),
            (":::", None),
        ] {
            assert_eq!(directory().node(said).map(NodeId::as_str), node, "{said}");
        }
    }

    #[test]
    fn services_are_meant_when_the_map_has_them() {
        let host = ("instance", "10.0.0.1:9113");
        assert_eq!(place(&[host, ("job", "nginx")]).as_deref(), Some("web-1/nginx.service"));
        assert_eq!(place(&[host, ("unit", "ssh.service"), ("job", "nginx")]).as_deref(), Some("web-1/ssh.service"));
        assert_eq!(place(&[host, ("job", "node")]).as_deref(), Some("web-1"));
        assert_eq!(place(&[("name", "shop-db-1")]).as_deref(), Some("db-1/shop-db-1"));
        // On every node, or on none: nobody is meant.
        assert_eq!(place(&[("service", "ssh")]), None);
        assert_eq!(place(&[("service", "checkout"), ("instance", "10.9.9.9:80")]), None);
        assert_eq!(place(&[("instance", "203.0.113.9:443")]).as_deref(), Some("ext:203.0.113.9:443"));
        assert_eq!(place(&[]), None);
    }

    #[test]
    fn who_is_named_and_not_known_is_missed() {
        let misses = |key: &str, value: &str| directory().misses(&BTreeMap::from([(key.to_owned(), value.to_owned())]));
        assert!(misses("instance", "new-1:9100") && !misses("instance", "web-1:9100") && !misses("job", "node"));
    }
}
