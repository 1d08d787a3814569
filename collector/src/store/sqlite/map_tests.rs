//! What of the map is kept, and how it comes back.

use rusqlite::Connection;
use tacit_wire::message::{Birth, Links, Listener, Protocol};
use tacit_wire::{Seq, SiteId, StreamId};

use super::*;
use crate::map::fixtures::{said, vertex};

const MINUTE: i64 = 60_000;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;
/// Some hour.
const START: i64 = 400_000 * HOUR;

fn store() -> (tempfile::TempDir, SqliteStore) {
    let folder = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(&folder.path().join("tacit.db")).unwrap();
    (folder, store)
}

fn edge(client: &str, server: &str, at: i64, connects: u64) -> EdgeFigures {
    let edge = EdgeRecord {
        id: crate::map::vertex::edge_id(client, server, Protocol::Tcp, 80),
        client: client.into(),
        server: server.into(),
        protocol: Protocol::Tcp,
        port: 80,
        via: None,
        first_seen_ms: at,
        last_seen_ms: at,
    };
    EdgeFigures { edge, figures: Figures { connects, sent: 10 * connects, active: 1, ..Figures::none(at) } }
}

fn hour(hour: i64, edges: Vec<EdgeFigures>) -> MapHour {
    let vertices = edges.iter().flat_map(|e| [vertex(&e.edge.client), vertex(&e.edge.server)]).collect();
    MapHour { hour, vertices, edges }
}

fn links(node: &str, seq: u64, at: i64, step_s: u32) -> Incoming {
    let mut links: Links = said(0, node, at, false, "10.0.0.2", 80, 0).links;
    (links.head.seq, links.head.oldest, links.step_s) = (Seq(seq), Seq(1), step_s);
    Incoming { site: "lab".parse().unwrap(), received_ms: at, bytes: 1, body: IncomingBody::Links(Box::new(links)) }
}

fn born(birth: Birth, site: &str, at: i64) -> Incoming {
    let mut birth = birth;
    birth.clock.wall_ms = at;
    Incoming { site: site.parse().unwrap(), received_ms: at, bytes: 1, body: IncomingBody::Birth(Box::new(birth)) }
}

fn birth(node: &str, connection: u64, addresses: &[&str]) -> Birth {
    Birth { addresses: addresses.iter().map(|a| (*a).into()).collect(), ..crate::fixtures::birth(node, connection) }
}

#[tokio::test]
async fn hours_add_up_and_a_repeated_one_replaces_itself() {
    let (_folder, store) = store();
    let next = START + HOUR;
    let mut first = edge("a/x", "b/y", START + MINUTE, 10);
    first.edge.via = Some("10.98.0.1:80".into());
    store.save_map_hour(hour(START, vec![first, edge("a/x", "c/z", START, 1)])).await.unwrap();
    store.save_map_hour(hour(next, vec![edge("a/x", "b/y", next, 30)])).await.unwrap();
    // Joined again, with what came late.
    store.save_map_hour(hour(START, vec![edge("a/x", "b/y", START, 11)])).await.unwrap();

    let figures = async |from, to| {
        let found = store.map_figures(from, to).await.unwrap();
        let mut all: Vec<_> = found.into_iter().map(|e| (e.edge.server, e.figures.connects, e.figures.sent)).collect();
        all.sort();
        all
    };
    let line = |server: &str, connects: u64| (server.to_owned(), connects, 10 * connects);
    assert_eq!(figures(START, next).await, [line("b/y", 11), line("c/z", 1)]);
    assert_eq!(figures(START, next + 1).await, [line("b/y", 41), line("c/z", 1)]);
    assert_eq!(figures(next, next + 1).await, [line("b/y", 30)]);
    assert_eq!(figures(START - HOUR, START).await, []);

    let id = "a/x>b/y:tcp/80";
    let (record, hours) = store.map_history(id, START, next + 1).await.unwrap().unwrap();
    assert_eq!((record.first_seen_ms, record.last_seen_ms), (START, next));
    assert_eq!(record.via.as_deref(), Some("10.98.0.1:80"), "what was known of the way stays");
    assert_eq!(hours.iter().map(|(h, f)| (*h, f.connects)).collect::<Vec<_>>(), [(START, 11), (next, 30)]);
    assert!(store.map_history("nobody", 0, next).await.unwrap().is_none());

    let newest: Vec<_> = store.map_edges(1).await.unwrap().into_iter().map(|e| e.id).collect();
    assert_eq!(newest, [id]);
    let known = store.map_vertices(vec!["b/y".into(), "nobody".into(), "c/z".into()]).await.unwrap();
    assert_eq!(known, [vertex("b/y"), vertex("c/z")]);
}

#[tokio::test]
async fn what_is_absent_stays_absent_and_names_are_kept() {
    let (_folder, store) = store();
    let mut one = edge("a/x", "ext:192.0.2.1:80", START, 3);
    (one.figures.rtt_p50, one.figures.accept_queue) = (0.25, 0);
    let mut part = hour(START, vec![one.clone()]);
    part.vertices[1].hostname = Some("api.example".into());
    store.save_map_hour(part).await.unwrap();
    let found = store.map_figures(START, START + 1).await.unwrap().remove(0).figures;
    // As text: absent values are no equals.
    assert_eq!(format!("{found:?}"), format!("{:?}", one.figures));
    let known = store.map_vertices(vec!["ext:192.0.2.1:80".into()]).await.unwrap();
    assert_eq!(known[0].hostname.as_deref(), Some("api.example"));
}

#[tokio::test]
async fn hours_are_forgotten_after_thirty_days_and_changes_with_events() {
    let (_folder, store) = store();
    let change = |at_ms, kind| MapChange {
        at_ms,
        edge: "a/x>b/y:tcp/80".into(),
        client: "a/x".into(),
        server: "b/y".into(),
        kind,
        text: "words".into(),
        observed: None,
        usual: None,
    };
    let old = START + 2 * HOUR;
    store
        .save_map_hour(hour(START, vec![edge("a/x", "b/y", START, 1), edge("a/x", "gone/z", START, 1)]))
        .await
        .unwrap();
    store.save_map_hour(hour(old, vec![edge("a/x", "b/y", old, 2)])).await.unwrap();
    let changes = vec![change(START, ChangeKind::Appeared), change(START + 80 * DAY, ChangeKind::Failing)];
    store.save_map_changes(changes.clone()).await.unwrap();
    store.save_map_changes(changes).await.unwrap();

    let limits = Retention::default();
    let ids = async || store.map_edges(10).await.unwrap().into_iter().map(|e| e.server).collect::<Vec<_>>();
    // An hour of the two is over thirty days old.
    store.retain(&limits, START + HOUR + 30 * DAY).await.unwrap();
    assert_eq!(ids().await, ["b/y"]);
    assert_eq!(store.map_figures(START, old + 1).await.unwrap()[0].figures.connects, 2);
    assert_eq!(store.map_vertices(vec!["gone/z".into(), "b/y".into()]).await.unwrap(), [vertex("b/y")]);
    store.retain(&limits, old + HOUR + 30 * DAY).await.unwrap();
    assert_eq!(ids().await, [""; 0]);
    assert_eq!(store.map_vertices(vec!["b/y".into()]).await.unwrap(), []);
    let kinds = async || {
        let found = store.map_changes(0, START + 100 * DAY, 10).await.unwrap();
        found.into_iter().map(|c| c.kind).collect::<Vec<_>>()
    };
    assert_eq!(kinds().await, [ChangeKind::Failing, ChangeKind::Appeared]);
    store.retain(&limits, START + 91 * DAY).await.unwrap();
    assert_eq!(kinds().await, [ChangeKind::Failing]);
}

#[tokio::test]
async fn a_message_is_about_each_of_its_minutes() {
    let (_folder, store) = store();
    store.commit(vec![born(birth("web", 1, &[]), "lab", START)]).await.unwrap();
    let batch = vec![links("web", 1, START, 60), links("web", 2, START, 300), links("web", 3, START + 4 * MINUTE, 90)];
    // A time that no agent sends is cut to an hour.
    let odd = vec![links("web", 4, START + HOUR, u32::MAX), links("web", 5, START + HOUR, 0)];
    store.commit(batch).await.unwrap();
    store.commit(odd).await.unwrap();
    let about = async |minute| {
        let found = store.links_of(minute).await.unwrap();
        found.into_iter().map(|m| m.links.head.seq.0).collect::<Vec<_>>()
    };
    assert_eq!(about(START - MINUTE).await, [0_u64; 0]);
    assert_eq!(about(START).await, [1, 2]);
    assert_eq!(about(START + MINUTE).await, [2]);
    assert_eq!(about(START + 4 * MINUTE).await, [2, 3]);
    assert_eq!(about(START + 5 * MINUTE).await, [3]);
    assert_eq!(about(START + 6 * MINUTE).await, [0_u64; 0]);
    assert_eq!(about(START + HOUR).await, [4, 5]);
    assert_eq!(about(START + 2 * HOUR - MINUTE).await, [4]);
    assert_eq!(about(START + 2 * HOUR).await, [0_u64; 0]);
}

#[tokio::test]
async fn nobody_takes_an_address_while_its_node_restarts() {
    let (_folder, store) = store();
    let address = &["10.0.0.2"];
    store.commit(vec![born(birth("db", 1, address), "lab", START)]).await.unwrap();
    store.mark_offline(&"db".parse().unwrap(), None, None, START + MINUTE).await.unwrap();
    store.commit(vec![born(birth("evil", 1, address), "lab", START + 2 * MINUTE)]).await.unwrap();
    let claims = async || {
        let found = store.address_claims(START).await.unwrap();
        found.into_iter().map(|c| (c.node.to_string(), c.since - START, c.until.map(|u| u - START))).collect::<Vec<_>>()
    };
    let line = |node: &str, since: i64, until: Option<i64>| (node.to_owned(), since, until);
    // Of a node that is gone it may be another's now.
    assert_eq!(claims().await, [line("db", 0, Some(0)), line("evil", 2 * MINUTE, None)]);
    store.commit(vec![born(birth("db", 2, address), "lab", START + 3 * MINUTE)]).await.unwrap();
    let both = [line("db", 0, Some(0)), line("db", 3 * MINUTE, None), line("evil", 2 * MINUTE, None)];
    assert_eq!(claims().await, both, "who named it first comes first");
}

#[tokio::test]
async fn what_nodes_listen_on_is_read_when_it_changes() {
    let (_folder, store) = store();
    let listening = |connection, ports: &[u16]| Birth {
        listeners: ports.iter().map(|p| Listener { address: "*".into(), port: *p, owner: None }).collect(),
        ..birth("db", connection, &[])
    };
    store.commit(vec![born(listening(1, &[5432]), "lab", START)]).await.unwrap();
    let first = store.listening_after(0, 10).await.unwrap();
    assert_eq!((first.len(), first[0].listeners[0].port), (1, 5432));
    let site: SiteId = "lab".parse().unwrap();
    assert_eq!((first[0].node.as_str(), &first[0].site), ("db", &site));
    store.commit(vec![born(listening(2, &[5432]), "lab", START + 1)]).await.unwrap();
    assert!(store.listening_after(first[0].id, 10).await.unwrap().is_empty(), "the same as before");
    store.commit(vec![born(listening(3, &[5432, 22]), "lab", START + 2)]).await.unwrap();
    let all = store.listening_after(0, 10).await.unwrap();
    assert_eq!((all.len(), all[0].listeners.len()), (1, 2));
    assert!(all[0].id > first[0].id);
}

/// A database as an older collector left it, after so many migrations.
fn old_database(path: &std::path::Path, migrations: &[&str]) -> Connection {
    let connection = Connection::open(path).unwrap();
    connection.pragma_update(None, "application_id", 0x5441_4354).unwrap();
    for migration in migrations {
        connection.execute_batch(migration).unwrap();
    }
    connection.pragma_update(None, "user_version", migrations.len() as i64).unwrap();
    let node = convert::blob(&crate::fixtures::birth("web", 1));
    connection
        .execute(
            "INSERT INTO node (node, site, presence, first_seen, last_seen, offset_ms, connection, birth)
             VALUES ('web', 'lab', 'online', 1, ?1, 0, 1, ?2)",
            rusqlite::params![START, node],
        )
        .unwrap();
    connection
}

const FIRST: &str = include_str!("../migrations/001_first.sql");
const SECOND: &str = include_str!("../migrations/002_event_revision.sql");
const THIRD: &str = include_str!("../migrations/003_map.sql");

#[tokio::test]
async fn a_database_of_before_the_map_gets_one() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tacit.db");
    let old = old_database(&path, &[FIRST, SECOND]);
    old.execute("INSERT INTO links (node, start, data) VALUES ('web', 1, x'a0')", []).unwrap();
    old.execute("INSERT INTO event VALUES ('web', x'01', 1, 1, 0, 1, NULL, x'a0', 7)", []).unwrap();
    drop(old);
    let store = SqliteStore::open(&path).unwrap();
    let web: NodeId = "web".parse().unwrap();
    assert_eq!(store.node(&web).await.unwrap().unwrap().birth, crate::fixtures::birth("web", 1));
    let kept = store.read(|c| Ok(c.query_row("SELECT revision FROM event", [], |r| r.get::<_, i64>(0))?)).await;
    assert_eq!(kept.unwrap(), 7);
    assert!(store.links_after(0, (0, i64::MAX), 10).await.unwrap().is_empty(), "what was said then had no use");
    store.commit(vec![links("web", 1, START, 60)]).await.unwrap();
    assert_eq!(store.links_of(START).await.unwrap().len(), 1);
    store.save_map_hour(hour(START, vec![edge("web/x", "b/y", START, 1)])).await.unwrap();
    drop(store);
    // Once is enough: opening it again changes nothing.
    let again = SqliteStore::open(&path).unwrap();
    assert_eq!(again.map_edges(10).await.unwrap().len(), 1);
    assert_eq!(again.links_of(START).await.unwrap().len(), 1);
}

#[tokio::test]
async fn messages_of_the_first_map_are_of_a_minute() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tacit.db");
    let old = old_database(&path, &[FIRST, SECOND, THIRD]);
    let mut said = said(0, "web", START, false, "10.0.0.2", 80, 0).links;
    said.head.stream = StreamId([9; 8]);
    old.execute(
        "INSERT INTO links (node, site, minute, data) VALUES ('web', 'lab', ?1, ?2)",
        rusqlite::params![START, convert::blob(&said)],
    )
    .unwrap();
    drop(old);
    let store = SqliteStore::open(&path).unwrap();
    let found = store.links_of(START).await.unwrap();
    assert_eq!((found.len(), &found[0].links), (1, &said));
    assert!(store.links_of(START + MINUTE).await.unwrap().is_empty());
}
