//! What the vertices of the map are, and their stable ids.

use std::net::IpAddr;
use std::sync::Arc;

use tacit_wire::SiteId;
use tacit_wire::message::{OwnerKind, Protocol};

use super::addresses::is_global;
use super::half::NodeNo;
use super::names::Names;
use super::nodes::Nodes;
use crate::store::{Vertex, VertexKind};

/// A vertex by what makes it one.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum VertexKey {
    /// An owner on a node.
    Service(NodeNo, Arc<str>),
    /// A port of a node, whose owner is not known.
    Port(NodeNo, u16),
    /// A client on a node, whose owner is not known.
    Unattributed(NodeNo),
    /// An address of no node; port 0 for a client.
    External(u32, IpAddr, u16),
    /// A network of many clients, by its length; of length 0 the rest of very many.
    Network(u32, IpAddr, u8),
    /// A network that the user gave a label to.
    Label(u32, Arc<str>, u16),
}

impl VertexKey {
    /// Somebody outside: a labelled network is one vertex for each port.
    #[must_use]
    pub fn outside(site: u32, ip: IpAddr, port: u16, names: &Names) -> Self {
        if ip.is_unspecified() {
            return Self::Network(site, ip, 0);
        }
        match names.label(ip).filter(|_| names.of_address(ip).is_none()) {
            Some(label) => Self::Label(site, label.into(), port),
            None => Self::External(site, ip, port),
        }
    }

    /// The node it is on.
    #[must_use]
    pub fn node(&self) -> Option<NodeNo> {
        match self {
            Self::Service(node, _) | Self::Port(node, _) | Self::Unattributed(node) => Some(*node),
            _ => None,
        }
    }

    /// The vertex for the API and the store. Ids of addresses that mean something in one site only name the site, unless it is
    /// the `home` of this collector.
    #[must_use]
    pub fn describe(&self, kind: OwnerKind, nodes: &Nodes, names: &Names, home: &SiteId) -> Vertex {
        let on = |node: NodeNo, what: &str| Vertex {
            id: format!("{}/{what}", nodes.name(node)),
            name: format!("{}/{what}", nodes.name(node)),
            kind: VertexKind::Node,
            node: Some(nodes.name(node).clone()),
            site: nodes.site_name(nodes.site_of(node)).clone(),
            address: None,
            port: None,
            owner: None,
            owner_kind: None,
            hostname: None,
        };
        let outside = |site: u32, address: String, name: String, port: u16, local: bool| {
            let site = nodes.site_name(site);
            let at = if local && site != home { format!("@{site}") } else { String::new() };
            let port = (port != 0).then_some(port);
            let id = port.map_or_else(|| format!("ext:{address}{at}"), |p| format!("ext:{address}:{p}{at}"));
            let service = port.map(|p| {
                names.of_port(Protocol::Tcp, p).map_or_else(|| format!(":{p}"), |service| format!(":{p} ({service})"))
            });
            Vertex {
                id,
                name: format!("{name}{}", service.unwrap_or_default()),
                kind: VertexKind::External,
                node: None,
                site: site.clone(),
                address: Some(address),
                port,
                owner: None,
                owner_kind: None,
                hostname: None,
            }
        };
        match self {
            Self::Service(node, owner) => {
                let owned = Some(owner.to_string());
                Vertex { kind: VertexKind::Service, owner: owned, owner_kind: Some(kind), ..on(*node, owner) }
            }
            // A failed connect loses the port: it may have meant any.
            Self::Port(node, 0) => {
                let name = format!("{} (port unknown)", nodes.name(*node));
                Vertex { name, ..on(*node, ":0") }
            }
            Self::Port(node, port) => Vertex { port: Some(*port), ..on(*node, &format!(":{port}")) },
            Self::Unattributed(node) => on(*node, "unattributed"),
            Self::External(site, ip, port) => {
                let address = if ip.is_ipv6() { format!("[{ip}]") } else { ip.to_string() };
                let name = names.of_address(*ip).map_or_else(|| address.clone(), str::to_owned);
                outside(*site, address, name, *port, !is_global(*ip))
            }
            Self::Network(site, ip, 0) => outside(*site, format!("{ip}/0"), "many others".to_owned(), 0, true),
            Self::Network(site, ip, bits) => {
                let address = format!("{ip}/{bits}");
                outside(*site, address.clone(), address, 0, !is_global(*ip))
            }
            Self::Label(site, label, port) => outside(*site, label.to_string(), label.to_string(), *port, true),
        }
    }
}

/// An edge by what makes it one.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EdgeKey {
    /// Who connects.
    pub client: VertexKey,
    /// Who listens.
    pub server: VertexKey,
    /// Transport, as on the wire.
    pub protocol: Protocol,
    /// Port of the server.
    pub port: u16,
}

/// The stable id of an edge.
#[must_use]
pub fn edge_id(client: &str, server: &str, protocol: Protocol, port: u16) -> String {
    format!("{client}>{server}:{protocol}/{port}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::map::names::MapConfig;

    #[test]
    fn ids_are_stable_and_say_where() {
        let mut nodes = Nodes::default();
        let home: SiteId = "default".parse().unwrap();
        let web = nodes.number(&"web-1".parse().unwrap(), &home);
        let other = nodes.number(&"gw-1".parse().unwrap(), &"lab".parse().unwrap());
        let mut config = MapConfig::default();
        config.names.insert("203.0.113.0/24".into(), "office".into());
        let names = Names::new(&config, None).unwrap();
        let id = |key: &VertexKey| key.describe(OwnerKind::Unit, &nodes, &names, &home).id;
        let ip = |text: &str| text.parse().unwrap();
        assert_eq!(id(&VertexKey::Service(web, "nginx.service".into())), "web-1/nginx.service");
        assert_eq!(id(&VertexKey::Port(web, 80)), "web-1/:80");
        assert_eq!(id(&VertexKey::Unattributed(web)), "web-1/unattributed");
        let unknown = VertexKey::Port(web, 0).describe(OwnerKind::Unattributed, &nodes, &names, &home);
        assert_eq!(
            (unknown.id.as_str(), unknown.name.as_str(), unknown.port),
            ("web-1/:0", "web-1 (port unknown)", None)
        );
        let rest = VertexKey::outside(nodes.site_of(web), ip("0.0.0.0"), 0, &names);
        assert_eq!(id(&rest), "ext:0.0.0.0/0");
        assert_eq!(id(&VertexKey::External(nodes.site_of(web), ip("10.0.0.9"), 80)), "ext:10.0.0.9:80");
        assert_eq!(id(&VertexKey::External(nodes.site_of(other), ip("10.0.0.9"), 80)), "ext:10.0.0.9:80@lab");
        assert_eq!(id(&VertexKey::External(nodes.site_of(other), ip("2001:db8::1"), 443)), "ext:[2001:db8::1]:443");
        let labelled = VertexKey::outside(nodes.site_of(web), ip("203.0.113.7"), 0, &names);
        assert_eq!(id(&labelled), "ext:office");
    }
}
