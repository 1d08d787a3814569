//! API and pages over a store that nothing but the test writes into.

use std::net::SocketAddr;
use std::sync::Arc;

use serde_json::Value;
use tacit_collector::access::Access;
use tacit_collector::access::config::AccessConfig;
use tacit_collector::api::{self, ApiState};
use tacit_collector::broker::Line;
use tacit_collector::cause::{Edge, EdgeKind, EdgeMetric, Entity, Evidence, Point, Series, rank};
use tacit_collector::config::Config;
use tacit_collector::identity::Identity;
use tacit_collector::incident::life;
use tacit_collector::ingest::Ingest;
use tacit_collector::interop::Interop;
use tacit_collector::map::Map;
use tacit_collector::map::book::Book;
use tacit_collector::notify::units::Pages;
use tacit_collector::notify::{Desk, NotifyConfig};
use tacit_collector::store::{
    EventRecord, Incident, Incoming, IncomingBody, Retention, SqliteStore, Store, StoredRanking,
};
use tacit_wire::message::Event;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::answer::{Answer, agent, ask};
use crate::html::Page;
use crate::messages::{SITE, now_ms};

/// API and pages over a store, without anything that judges what is in it.
pub struct Office {
    pub store: Arc<dyn Store>,
    http: SocketAddr,
    stop: CancellationToken,
    agent: ureq::Agent,
    _folder: TempDir,
}

impl Office {
    pub async fn open() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store: Arc<dyn Store> = Arc::new(SqliteStore::open(&folder.path().join("tacit.db")).unwrap());
        let ingest = Arc::new(Ingest::new(Arc::clone(&store), Arc::new(Line::default())));
        let map = Arc::new(Map::new(Book::default(), Arc::clone(&store)));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (http, stop) = (listener.local_addr().unwrap(), CancellationToken::new());
        let desk = Desk::new(&NotifyConfig::default(), Pages::default(), &format!("http://{http}"), now_ms());
        let access = Access::new(&AccessConfig::default(), Arc::clone(&store), http, false);
        let identity = Identity::open(&Config::default(), Arc::clone(&store)).unwrap();
        let state = ApiState {
            access: Arc::new(access),
            identity: Arc::new(identity),
            interop: Arc::new(Interop::new(&store, &ingest, &map)),
            store: Arc::clone(&store),
            ingest,
            map,
            notify: Arc::new(desk.unwrap()),
            started_ms: now_ms(),
            demo: false,
            retention: Retention::default(),
            http,
            mqtt: None,
            stop: stop.clone(),
        };
        tokio::spawn(api::serve(state, listener, stop.clone()));
        Self { store, http, stop, agent: agent(), _folder: folder }
    }

    pub async fn ask(&self, method: &'static str, path: &str, body: Option<String>) -> Answer {
        let headers: &[(&str, &str)] = if method == "POST" { &[("content-type", "application/json")] } else { &[] };
        ask(&self.agent, &self.http.to_string(), method, path, headers, &body.unwrap_or_default()).await
    }

    pub async fn json(&self, path: &str) -> Value {
        let answer = self.ask("GET", path, None).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.text);
        answer.json()
    }

    pub async fn post(&self, path: &str, body: Value) -> Answer {
        self.ask("POST", path, Some(body.to_string())).await
    }

    /// An order that must be taken.
    pub async fn done(&self, path: &str, body: Value) -> Value {
        let answer = self.post(path, body).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.text);
        answer.json()
    }

    pub async fn page(&self, path: &str) -> Page {
        let answer = self.ask("GET", path, None).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.text);
        Page::parse(&answer.text)
    }

    /// Stores events as if nodes had sent them.
    pub async fn events(&self, events: &[Event]) -> Vec<EventRecord> {
        let incoming = |event: &Event| Incoming {
            site: SITE.parse().unwrap(),
            received_ms: now_ms(),
            bytes: 1,
            body: IncomingBody::Event(Box::new(event.clone())),
        };
        self.store.commit(events.iter().map(incoming).collect()).await.unwrap();
        let mut records = Vec::new();
        for event in events {
            records.extend(self.store.event(&event.head.node, event.event).await.unwrap());
        }
        assert_eq!(records.len(), events.len());
        records
    }

    /// An incident of these events; `change` is what it is beyond that.
    pub async fn incident(&self, events: &[Event], change: impl FnOnce(&mut Incident)) -> Incident {
        let records = self.events(events).await;
        let mut opened = life::open(&records, "a symptom that held", None, now_ms()).expect("there are events");
        change(&mut opened.incident);
        self.store.save_incident(opened).await.unwrap()
    }

    pub async fn rank(&self, incident: &Incident, at_ms: i64) -> StoredRanking {
        let evidence = evidence(incident.onset_ms);
        let stored = StoredRanking { incident: incident.id, at_ms, ranking: rank(&evidence), evidence };
        self.store.save_ranking(stored.clone()).await.unwrap();
        stored
    }

    pub fn close(self) {
        self.stop.cancel();
    }
}

pub const API: &str = "web-1/api.service";
pub const DB: &str = "db-1/postgresql.service";

/// The database answers late.
pub fn evidence(onset_ms: i64) -> Evidence {
    let entity = |name: &str| Entity { name: name.into(), ..Entity::default() };
    let window = [0.041, 0.033].map(|value| Point { at_ms: onset_ms - 4_000, value });
    let series = Series::new([0.000_3, 0.000_31, 0.000_29, 0.000_33, 0.000_3], window);
    Evidence {
        entities: vec![entity(API), entity(DB)],
        edges: vec![Edge {
            caller: API.into(),
            callee: DB.into(),
            link: None,
            metrics: vec![EdgeMetric { kind: EdgeKind::Slowness, series }],
        }],
        onset_ms,
        ..Evidence::default()
    }
}
