//! A collector's parts for tests.

use std::sync::Arc;

use crate::broker::Line;
use crate::ingest::Ingest;
use crate::map::Map;
use crate::map::book::Book;
use crate::store::{SqliteStore, Store};

/// A store in a folder of its own, and what works on it.
pub struct Site {
    pub store: Arc<dyn Store>,
    pub ingest: Arc<Ingest>,
    pub map: Arc<Map>,
    _folder: tempfile::TempDir,
}

/// An empty site.
pub fn site() -> Site {
    let folder = tempfile::tempdir().unwrap();
    let store: Arc<dyn Store> = Arc::new(SqliteStore::open(&folder.path().join("tacit.db")).unwrap());
    let ingest = Arc::new(Ingest::new(Arc::clone(&store), Arc::new(Line::default())));
    let map = Arc::new(Map::new(Book::default(), Arc::clone(&store)));
    Site { store, ingest, map, _folder: folder }
}

impl Site {
    /// A node comes, or comes back.
    pub async fn birth(&self, node: &str, connection: u64, at_ms: i64) {
        use crate::store::{Incoming, IncomingBody};
        let body = IncomingBody::Birth(Box::new(crate::fixtures::birth(node, connection)));
        let incoming = Incoming { site: "lab".parse().unwrap(), received_ms: at_ms, bytes: 1, body };
        self.store.commit(vec![incoming]).await.unwrap();
    }
}
