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
    /// Names of addresses (`192.0.2.10`) and labels of networks (`198.51.100.0/24`).
    pub names: BTreeMap<String, String>,
}

impl Default for MapConfig {
    fn default() -> Self {
        // DNS, NTP, node_exporter, Prometheus, the embedded broker.
        let infrastructure = ["53", "udp/123", "tcp/9100", "tcp/9090", "tcp/1883"].map(Into::into).to_vec();
        Self { infrastructure, names: BTreeMap::new() }
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

/// A network with its label.
#[derive(Debug, Clone)]
struct Network {
    base: IpAddr,
    bits: u8,
    label: String,
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
    networks: Vec<Network>,
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
        names.networks.sort_by(|a, b| b.bits.cmp(&a.bits).then_with(|| a.base.cmp(&b.base)));
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
        let Some((base, bits)) = key.split_once('/') else {
            self.exact.insert(key.parse::<IpAddr>().map_err(|_| wrong())?.to_canonical(), name.to_owned());
            return Ok(());
        };
        let base: IpAddr = base.parse().map_err(|_| wrong())?;
        let bits: u8 = bits.parse().map_err(|_| wrong())?;
        if bits > if base.is_ipv4() { 32 } else { 128 } {
            return Err(wrong());
        }
        self.networks.push(Network { base: masked(base, bits), bits, label: name.to_owned() });
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
        let fits = |n: &&Network| n.base.is_ipv4() == ip.is_ipv4() && masked(ip, n.bits) == n.base;
        self.networks.iter().find(fits).map(|n| n.label.as_str())
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
    }
}
