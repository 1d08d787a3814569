//! Tags: what people said of nodes in their configurations.

use std::collections::BTreeMap;

use tacit_wire::NodeId;

/// Tags of one node, by key.
pub type Tags = BTreeMap<String, String>;

/// Tags of the nodes that have any.
pub type NodeTags = BTreeMap<NodeId, Tags>;

/// A tag as it is written in patterns and shown to people.
#[must_use]
pub fn tag_words(key: &str, value: &str) -> String {
    format!("{key}={value}")
}
