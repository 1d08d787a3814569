//! Connections that end when their node is revoked.
//!
//! A connection is listed here before its node is looked up, and a node is revoked in the store before its connections are cut: whatever the
//! order of the two, a connection is either refused or cut.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tacit_wire::NodeId;
use tokio_util::sync::CancellationToken;

/// The open connections of nodes.
#[derive(Debug, Default)]
pub struct Connections {
    open: Mutex<BTreeMap<(NodeId, u64), CancellationToken>>,
    next: AtomicU64,
}

/// A connection, listed for as long as this lives.
#[derive(Debug)]
pub struct Connection {
    all: Arc<Connections>,
    key: (NodeId, u64),
    cut: CancellationToken,
}

impl Connections {
    /// Lists a connection of a node.
    #[must_use]
    pub fn list(self: &Arc<Self>, node: &NodeId) -> Connection {
        let key = (node.clone(), self.next.fetch_add(1, Ordering::Relaxed));
        let cut = CancellationToken::new();
        self.open.lock().unwrap_or_else(PoisonError::into_inner).insert(key.clone(), cut.clone());
        Connection { all: Arc::clone(self), key, cut }
    }

    /// Cuts every connection of a node; says how many.
    pub fn cut(&self, node: &NodeId) -> usize {
        let open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let mine = open.range((node.clone(), 0)..=(node.clone(), u64::MAX));
        mine.inspect(|(_, cut)| cut.cancel()).count()
    }
}

impl Connection {
    /// Set when it is to end, and may do nothing more.
    #[must_use]
    pub fn cut(&self) -> &CancellationToken {
        &self.cut
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.all.open.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_is_cut_alone_and_nothing_is_left() {
        let all = Arc::new(Connections::default());
        let node = |name: &str| name.parse::<NodeId>().unwrap();
        let (one, other) = (all.list(&node("web-1")), all.list(&node("web-1")));
        let near = [all.list(&node("web-10")), all.list(&node("web-0")), all.list(&node("web"))];
        assert_eq!(all.cut(&node("web-2")), 0);
        assert_eq!(all.cut(&node("web-1")), 2);
        assert!(one.cut().is_cancelled() && other.cut().is_cancelled());
        assert!(near.iter().all(|connection| !connection.cut().is_cancelled()));
        drop((one, other, near));
        assert!(all.open.lock().unwrap().is_empty());
        assert!(!all.list(&node("web-1")).cut().is_cancelled(), "the next one begins anew");
    }
}
