//! Names for addresses and ports: what the user says, labels of networks, well-known ports, and which edges are
//! infrastructure that may be folded away.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::path::Path;

use serde::{Deserialize, Serialize};
use tacit_wire::message::Protocol;

/// `[map]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MapConfig {
    /// Ports (`53`, `udp/123`) and services (`*/chronyd.service`) whose edges are infrastructure.
    pub infrastructure: Vec<String>,
    /// Whether the resolver of this machine is asked what outside addresses are called.
    pub reverse_dns: bool,
    /// Networks that repeat on every node that runs containers: their addresses mean something on the node itself only.
    pub container_networks: Vec<String>,
    /// Names of addresses (`192.0.2.10`) and labels of networks (`198.51.100.0/24`).
    pub names: BTreeMap<String, String>,
}

impl Default for MapConfig {
    fn default() -> Self {
        // DNS, NTP, node_exporter, Prometheus, the embedded broker.
        let infrastructure = ["53", "udp/123", "tcp/9100", "tcp/9090", "tcp/1883"].map(Into::into).to_vec();
        // Docker, Podman, LXC, libvirt.
        let container_networks = ["172.17.0.0/16", "10.88.0.0/16", "10.0.3.0/24", "192.168.122.0/24"].map(Into::into);
        Self {
            infrastructure,
            reverse_dns: true,
            container_networks: container_networks.to_vec(),
            names: BTreeMap::new(),
        }
    }
}

/// Ports that people know by name; `/etc/services` has more, and wins.
const WELL_KNOWN: &[(u16, &str)] = &[
    (22, "ssh"),
    (25, "smtp"),
    (53, "domain"),
    (80, "http"),
    (123, "ntp"),
    (389, "ldap"),
    (443, "https"),
    (514, "syslog"),
    (636, "ldaps"),
    (1883, "mqtt"),
    (2049, "nfs"),
    (2379, "etcd"),
    (3306, "mysql"),
    (5432, "postgresql"),
    (5672, "amqp"),
    (6379, "redis"),
    (6443, "kubernetes"),
    (8080, "http-alt"),
    (8883, "mqtts"),
    (9042, "cassandra"),
    (9090, "prometheus"),
    (9092, "kafka"),
    (9100, "node-exporter"),
    (9200, "elasticsearch"),
    (11211, "memcached"),
    (27017, "mongodb"),
];

/// Largest services file that is read.
const SERVICES_MAX: u64 = 1 << 20;
/// Longest name that a user may give.
const NAME_MAX: usize = 64;

/// A network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Network {
    base: IpAddr,
    bits: u8,
}

impl Network {
    fn holds(&self, ip: IpAddr) -> bool {
        self.base.is_ipv4() == ip.is_ipv4() && masked(ip, self.bits) == self.base
    }

    /// Its first address: by custom the bridge's own.
    fn first(&self) -> IpAddr {
        match self.base {
            IpAddr::V4(v4) => IpAddr::V4(v4.to_bits().saturating_add(1).into()),
            IpAddr::V6(v6) => IpAddr::V6(v6.to_bits().saturating_add(1).into()),
        }
    }
}

impl std::str::FromStr for Network {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || "write a network (192.0.2.0/24)".to_owned();
        let (base, bits) = text.split_once('/').ok_or_else(wrong)?;
        let base: IpAddr = base.parse().map_err(|_| wrong())?;
        let bits: u8 = bits.parse().map_err(|_| wrong())?;
        if bits > if base.is_ipv4() { 32 } else { 128 } {
            return Err(wrong());
        }
        Ok(Self { base: masked(base, bits), bits })
    }
}

/// Networks of containers.
#[derive(Debug, Clone, Default)]
pub struct ContainerNetworks(Vec<Network>);

impl ContainerNetworks {
    /// Whether an address is in one of them.
    #[must_use]
    pub fn holds(&self, ip: IpAddr) -> bool {
        self.0.iter().any(|n| n.holds(ip))
    }

    /// Whether an address is that of a bridge to containers, which every node has that runs any: the first of such a network,
    /// or of those that Docker makes for projects (172.18.0.1 to 172.31.0.1).
    #[must_use]
    pub fn is_bridge(&self, ip: IpAddr) -> bool {
        let project = |v4: std::net::Ipv4Addr| matches!(v4.octets(), [172, 17..=31, 0, 1]);
        self.0.iter().any(|n| n.first() == ip) || matches!(ip, IpAddr::V4(v4) if project(v4))
    }
}

/// A pattern of infrastructure.
#[derive(Debug, Clone)]
enum Pattern {
    Port(Option<Protocol>, u16),
    Owner(String),
}

/// All names.
#[derive(Debug, Default)]
pub struct Names {
    exact: HashMap<IpAddr, String>,
    networks: Vec<(Network, String)>,
    /// Networks of containers.
    pub containers: ContainerNetworks,
    ports: HashMap<(Protocol, u16), String>,
    patterns: Vec<Pattern>,
}

impl Names {
    /// The configured names, and those of the services file when it is there.
    ///
    /// # Errors
    /// The first entry that cannot be used, in words.
    pub fn new(config: &MapConfig, services: Option<&Path>) -> Result<Self, String> {
        let mut names = Self::default();
        for (port, name) in WELL_KNOWN {
            for protocol in [Protocol::Tcp, Protocol::Udp] {
                names.ports.insert((protocol, *port), (*name).to_owned());
            }
        }
        let small = |p: &&Path| std::fs::metadata(p).is_ok_and(|m| m.len() <= SERVICES_MAX);
        if let Some(text) = services.filter(small).and_then(|p| std::fs::read_to_string(p).ok()) {
            names.read_services(&text);
        }
        for (key, name) in &config.names {
            names.give(key, name).map_err(|why| format!("map.names: {key}: {why}"))?;
        }
        // The smallest network that holds an address names it.
        names.networks.sort_by(|(a, _), (b, _)| b.bits.cmp(&a.bits).then_with(|| a.base.cmp(&b.base)));
        for text in &config.container_networks {
            let network = text.parse::<Network>().map_err(|why| format!("map.container_networks: {text}: {why}"))?;
            names.containers.0.push(network);
        }
        for text in &config.infrastructure {
            names.patterns.push(pattern(text).map_err(|why| format!("map.infrastructure: {text}: {why}"))?);
        }
        Ok(names)
    }

    /// Lines of `/etc/services`: `name  port/protocol  aliases  # remark`.
    fn read_services(&mut self, text: &str) {
        for line in text.lines() {
            let mut words = line.split('#').next().unwrap_or_default().split_whitespace();
            let (Some(name), Some((port, protocol))) = (words.next(), words.next().and_then(|w| w.split_once('/')))
            else {
                continue;
            };
            if let (Ok(port), Some(protocol)) = (port.parse(), protocol_of(protocol)) {
                self.ports.insert((protocol, port), name.to_owned());
            }
        }
    }

    fn give(&mut self, key: &str, name: &str) -> Result<(), String> {
        if name.is_empty() || name.len() > NAME_MAX || name.chars().any(char::is_control) {
            return Err(format!("a name has 1 to {NAME_MAX} bytes"));
        }
        let wrong = || "write an address or a network (192.0.2.0/24)".to_owned();
        if key.contains('/') {
            self.networks.push((key.parse().map_err(|_| wrong())?, name.to_owned()));
        } else {
            self.exact.insert(key.parse::<IpAddr>().map_err(|_| wrong())?.to_canonical(), name.to_owned());
        }
        Ok(())
    }

    /// The name that the user gave to an address.
    #[must_use]
    pub fn of_address(&self, ip: IpAddr) -> Option<&str> {
        self.exact.get(&ip).map(String::as_str)
    }

    /// The label of the smallest network that holds an address.
    #[must_use]
    pub fn label(&self, ip: IpAddr) -> Option<&str> {
        self.networks.iter().find(|(network, _)| network.holds(ip)).map(|(_, label)| label.as_str())
    }

    /// The name of a port.
    #[must_use]
    pub fn of_port(&self, protocol: Protocol, port: u16) -> Option<&str> {
        self.ports.get(&(protocol, port)).map(String::as_str)
    }

    /// Whether an edge is infrastructure: monitoring, names, time.
    #[must_use]
    pub fn is_infrastructure(&self, protocol: Protocol, port: u16, ends: [Option<&str>; 2]) -> bool {
        self.patterns.iter().any(|p| match p {
            Pattern::Port(any, n) => *n == port && any.is_none_or(|p| p == protocol),
            Pattern::Owner(owner) => ends.contains(&Some(owner.as_str())),
        })
    }
}

/// Whether a character could move a cursor, break a line or turn the direction of text.
fn is_hidden(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

/// A stranger's name without characters that could move a cursor, break a line or turn the direction of text.
#[must_use]
pub fn plain(name: &str) -> String {
    name.chars().map(|c| if is_hidden(c) { char::REPLACEMENT_CHARACTER } else { c }).collect()
}

fn protocol_of(text: &str) -> Option<Protocol> {
    match text {
        "tcp" => Some(Protocol::Tcp),
        "udp" => Some(Protocol::Udp),
        _ => None,
    }
}

fn pattern(text: &str) -> Result<Pattern, String> {
    if let Some(owner) = text.strip_prefix("*/").filter(|o| !o.is_empty()) {
        return Ok(Pattern::Owner(owner.to_owned()));
    }
    let wrong = || "write a port (53, udp/123) or a service (*/chronyd.service)".to_owned();
    let (protocol, port) = match text.split_once('/') {
        Some((protocol, port)) => (Some(protocol_of(protocol).ok_or_else(wrong)?), port),
        None => (None, text),
    };
    Ok(Pattern::Port(protocol, port.parse().map_err(|_| wrong())?))
}

/// The network of an address.
#[must_use]
pub fn masked(ip: IpAddr, bits: u8) -> IpAddr {
    match ip {
        IpAddr::V4(v4) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(bits.min(32))).unwrap_or(0);
            IpAddr::V4((v4.to_bits() & mask).into())
        }
        IpAddr::V6(v6) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(bits.min(128))).unwrap_or(0);
            IpAddr::V6((v6.to_bits() & mask).into())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(names: &[(&str, &str)]) -> MapConfig {
        let names = names.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        MapConfig { names, ..MapConfig::default() }
    }

    #[test]
    fn addresses_networks_and_ports_have_names() {
        let given =
            config(&[("192.0.2.10", "billing API"), ("198.51.100.0/24", "office"), ("198.51.0.0/16", "company")]);
        let mut names = Names::new(&given, None).unwrap();
        names.read_services("# remark\nhttp-alt2\t8081/tcp # another\nbroken\nx 99999/tcp\n");
        let ip = |text: &str| text.parse().unwrap();
        assert_eq!(names.of_address(ip("192.0.2.10")), Some("billing API"));
        assert_eq!((names.label(ip("198.51.100.7")), names.label(ip("198.51.7.7"))), (Some("office"), Some("company")));
        assert_eq!(names.label(ip("192.0.2.10")), None);
        assert_eq!(names.of_port(Protocol::Tcp, 8081), Some("http-alt2"));
        assert_eq!(names.of_port(Protocol::Tcp, 5432), Some("postgresql"));
        assert!(names.is_infrastructure(Protocol::Udp, 53, [None, None]));
        assert!(!names.is_infrastructure(Protocol::Tcp, 123, [None, Some("nginx.service")]));
    }

    #[test]
    fn mistakes_are_explained() {
        for (key, name) in [("nowhere", "x"), ("10.0.0.0/33", "x"), ("10.0.0.1", "")] {
            assert!(Names::new(&config(&[(key, name)]), None).unwrap_err().starts_with("map.names: "), "{key}");
        }
        let wrong = MapConfig { infrastructure: vec!["sctp/1".into()], ..MapConfig::default() };
        assert!(Names::new(&wrong, None).unwrap_err().contains("write a port"));
        let wrong = MapConfig { container_networks: vec!["172.17.0.1".into()], ..MapConfig::default() };
        assert_eq!(
            Names::new(&wrong, None).unwrap_err(),
            "map.container_networks: 172.17.0.1: write a network (192.0.2.0/24)"
        );
    }

    #[test]
    fn networks_of_containers_and_their_bridges() {
        let containers = Names::new(&MapConfig::default(), None).unwrap().containers;
        let ip = |text: &str| text.parse().unwrap();
        assert!(containers.holds(ip("172.17.3.4")) && !containers.holds(ip("172.18.3.4")));
        for bridge in ["172.17.0.1", "172.18.0.1", "172.31.0.1", "10.88.0.1", "10.0.3.1"] {
            assert!(containers.is_bridge(ip(bridge)), "{bridge}");
        }
        for host in ["172.17.0.2", "172.16.0.1", "172.32.0.1", "172.18.1.1", "10.0.0.1", "fd00::1"] {
            assert!(!containers.is_bridge(ip(host)), "{host}");
        }
    }
}
