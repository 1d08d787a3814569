//! Nodes and sites by number: halves are many and small.

use std::collections::HashMap;

use tacit_wire::{NodeId, SiteId};

use super::half::NodeNo;

/// Numbers of nodes and sites in this process.
#[derive(Debug, Default)]
pub struct Nodes {
    numbers: HashMap<NodeId, NodeNo>,
    names: Vec<(NodeId, u32)>,
    sites: Vec<SiteId>,
}

impl Nodes {
    /// The number of a node, which is in this site now.
    pub fn number(&mut self, node: &NodeId, site: &SiteId) -> NodeNo {
        let site = self.site(site);
        if let Some(number) = self.numbers.get(node) {
            self.names[*number as usize].1 = site;
            return *number;
        }
        let number = self.names.len() as NodeNo;
        self.numbers.insert(node.clone(), number);
        self.names.push((node.clone(), site));
        number
    }

    fn site(&mut self, site: &SiteId) -> u32 {
        let known = self.sites.iter().position(|s| s == site);
        known.unwrap_or_else(|| {
            self.sites.push(site.clone());
            self.sites.len() - 1
        }) as u32
    }

    /// A node's name.
    #[must_use]
    pub fn name(&self, node: NodeNo) -> &NodeId {
        &self.names[node as usize].0
    }

    /// The number of a node's site.
    #[must_use]
    pub fn site_of(&self, node: NodeNo) -> u32 {
        self.names[node as usize].1
    }

    /// A site's name.
    #[must_use]
    pub fn site_name(&self, site: u32) -> &SiteId {
        &self.sites[site as usize]
    }
}
