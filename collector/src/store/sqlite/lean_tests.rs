//! What is asked of events without reading all of them.

use tacit_wire::Num;
use tacit_wire::Seq;
use tacit_wire::message::{Event, EventKind, Phase, ProcessNote, Recording, RecordingRow};

use super::*;
use crate::fixtures::{event, incident};

fn store() -> (tempfile::TempDir, SqliteStore) {
    let folder = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(&folder.path().join("tacit.db")).unwrap();
    (folder, store)
}

async fn say(store: &SqliteStore, event: Event) {
    let body = IncomingBody::Event(Box::new(event));
    let said = Incoming { site: "lab".parse().unwrap(), received_ms: 1_000, bytes: 10, body };
    assert_eq!(store.commit(vec![said]).await.unwrap(), [Outcome::Stored]);
}

fn told(id: u8, kind: EventKind, onset_ms: i64, severity: f32) -> Event {
    let mut event = event(id, kind, Phase::Open, onset_ms).event;
    event.severity = Num(severity);
    event
}

/// Its next phase.
fn later(event: &Event, phase: Phase) -> Event {
    let mut later = Event { phase, ..event.clone() };
    (later.head.seq, later.head.mono_ms) = (Seq(event.head.seq.0 + 1), event.head.mono_ms + 1);
    later
}

fn key(event: &Event) -> EventKey {
    (event.head.node.clone(), event.event)
}

fn numbers(events: &[EventRecord]) -> Vec<u8> {
    events.iter().map(|e| e.event.event.0[0]).collect()
}

fn change(incident: &Incident, also: &[&Event]) -> IncidentChange {
    let also = also.iter().map(|e| key(e)).collect();
    IncidentChange { incident: incident.clone(), event: None, also, audit: Vec::new() }
}

#[tokio::test]
async fn what_is_large_is_left_out_where_nobody_asks_for_it() {
    let (_folder, store) = store();
    let mut whole = told(1, EventKind::Anomaly, 100, 0.5);
    let values = (0..600).map(|n| Num(n as f32 / 7.0)).collect();
    let row = RecordingRow { name: "cpu".into(), attributes: Vec::new(), unit: "1".into(), values };
    whole.recording = Some(Recording { start_ms: 0, step_ms: 1000, rows: vec![row] });
    whole.processes = vec![ProcessNote {
        pid: 7,
        name: "postgres".into(),
        command: None,
        unit: None,
        cpu: Num(1.0),
        memory: Num(1.0),
        memory_growth: Num(0.0),
        io: Num(0.0),
    }];
    whole.persisting = true;
    say(&store, whole.clone()).await;
    say(&store, told(2, EventKind::Rule, 200, 0.5)).await;
    let lean = Event { recording: None, processes: Vec::new(), ..whole.clone() };
    let query = EventQuery { oldest_first: true, ..EventQuery::default() };
    assert_eq!(store.events(query.clone()).await.unwrap()[0].event, whole);
    let read = store.events(EventQuery { lean: true, ..query }).await.unwrap();
    assert_eq!((&read[0].event, numbers(&read)), (&lean, vec![1, 2]));
    let keys = [2, 9, 1].map(|id| key(&told(id, EventKind::Rule, 0, 0.0)));
    let read = store.events_named(keys.to_vec()).await.unwrap();
    assert_eq!((numbers(&read), &read[1].event), (vec![2, 1], &lean), "in this order, without what is not there");
    assert_eq!(store.unjudged_events(1).await.unwrap()[0].event, whole);
    assert_eq!(store.unjudged_keys(10).await.unwrap().len(), 2);
}

#[tokio::test]
async fn an_incident_is_asked_without_reading_its_events() {
    let (_folder, store) = store();
    let events = [
        told(1, EventKind::Rule, 100, 0.2),
        told(2, EventKind::Anomaly, 200, 0.9),
        told(3, EventKind::Anomaly, 50, 0.5),
        told(4, EventKind::Context, 10, 1.0),
        told(5, EventKind::Rule, 300, f32::NAN),
    ];
    for event in &events {
        say(&store, event.clone()).await;
    }
    say(&store, later(&events[2], Phase::Close)).await;
    say(&store, told(6, EventKind::Rule, 150, 0.9)).await;
    let all: Vec<&Event> = events.iter().collect();
    let made = store.save_incident(change(&incident(), &all)).await.unwrap();
    assert_eq!(made.events, 5);
    let telling = async |most: [usize; 2]| numbers(&store.telling_events(made.id, most).await.unwrap());
    assert_eq!(telling([2, 0]).await, [3, 1], "those that began first; context is no alarm");
    assert_eq!(telling([0, 1]).await, [2], "the worst");
    assert_eq!(telling([1, 2]).await, [3, 2], "what is both is there once");
    assert_eq!(telling([9, 9]).await, [3, 1, 2, 5]);
    let lasting = async |most: usize| numbers(&store.lasting_events(made.id, most).await.unwrap());
    assert_eq!((lasting(9).await, lasting(2).await), (vec![1, 2, 5], vec![2, 5]));
    assert_eq!(store.keys_of_incident(made.id, 9).await.unwrap().len(), 5);
    assert_eq!(store.keys_of_incident(made.id, 3).await.unwrap().len(), 3);
    let beside = EventQuery { beside: Some(made.id), oldest_first: true, ..EventQuery::default() };
    let others = store.events(beside.clone()).await.unwrap();
    assert_eq!(numbers(&others), [4, 6], "its own context, and everything of others");
    let until = EventQuery { until_ms: Some(150), limit: Some(1), ..beside };
    assert_eq!(numbers(&store.events(until).await.unwrap()), [4]);

    assert!(store.incident_lasts(made.id).await.unwrap() && !store.incident_lasts(99).await.unwrap());
    for event in [&events[0], &events[1], &events[4]] {
        assert!(store.incident_lasts(made.id).await.unwrap());
        say(&store, later(event, Phase::Close)).await;
    }
    assert!(!store.incident_lasts(made.id).await.unwrap(), "context keeps nothing open");
}

#[tokio::test]
async fn equals_are_chosen_by_name() {
    let (_folder, store) = store();
    let mut events: Vec<Event> = (1..=6).map(|id| told(id, EventKind::Rule, 100, 0.5)).collect();
    for (event, node) in events.iter_mut().zip(["f", "e", "d", "c", "b", "a"]) {
        event.head.node = node.parse().unwrap();
        say(&store, event.clone()).await;
    }
    let all: Vec<&Event> = events.iter().collect();
    let made = store.save_incident(change(&incident(), &all)).await.unwrap();
    for most in [[2, 0], [0, 2], [2, 2]] {
        let mut chosen = numbers(&store.telling_events(made.id, most).await.unwrap());
        chosen.sort_unstable();
        assert_eq!(chosen, [5, 6], "{most:?}: nodes a and b");
    }
}

#[tokio::test]
async fn what_joins_is_looked_at_in_the_same_moment_and_counted_once() {
    let (_folder, store) = store();
    let (one, two) = (told(1, EventKind::Rule, 100, 0.5), told(2, EventKind::Rule, 200, 0.5));
    say(&store, one.clone()).await;
    say(&store, two.clone()).await;
    let waiting = async || store.unjudged_events(10).await.unwrap();
    let read: Held = waiting().await.iter().map(|e| (e.key(), e.revision)).collect();
    // A later phase comes meanwhile.
    say(&store, later(&two, Phase::Update)).await;
    let made = store.save_joined(change(&incident(), &[&one, &two]), Arc::new(read)).await.unwrap();
    assert_eq!(made.events, 2);
    let rest = waiting().await;
    assert_eq!((numbers(&rest), rest[0].incident, rest[0].revision), (vec![2], Some(made.id), 2));
    // Said again, it is no more than it was, and is looked at now.
    let read = Held::from([(key(&two), 2)]);
    let same = store.save_joined(change(&made, &[&one, &two]), Arc::new(read)).await.unwrap();
    assert_eq!((same.events, waiting().await.len()), (2, 0));
    // Without a revision it joins, and nobody has looked at it.
    let three = told(3, EventKind::Rule, 300, 0.5);
    say(&store, three.clone()).await;
    let more = store.save_incident(change(&same, &[&three])).await.unwrap();
    assert_eq!((more.events, numbers(&waiting().await)), (3, vec![3]));
    // What another takes is missing here as soon as this one is saved.
    let part = store.save_incident(change(&incident(), &[&one])).await.unwrap();
    let left = store.save_incident(change(&more, &[])).await.unwrap();
    assert_eq!((part.events, left.events), (1, 2));
    let late = store.save_joined(change(&more, &[&two]), Arc::default()).await;
    assert!(matches!(late, Err(StoreError::Stale(_))), "{late:?}");
}

#[tokio::test]
async fn nodes_of_an_incident_are_written_when_they_are_new() {
    let (_folder, store) = store();
    let of = async |node: &str| {
        let query = IncidentQuery { node: Some(node.parse().unwrap()), ..IncidentQuery::default() };
        store.incidents(query).await.unwrap().len()
    };
    let made = store.save_incident(change(&incident(), &[])).await.unwrap();
    let mut wider = made.clone();
    wider.nodes.push("db-1".parse().unwrap());
    assert_eq!((of("web-1").await, of("db-1").await), (1, 0));
    store.save_incident(change(&wider, &[])).await.unwrap();
    assert_eq!((of("web-1").await, of("db-1").await), (1, 1));
}

#[test]
fn events_of_older_collectors_get_their_figures() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tacit.db");
    let old = Connection::open(&path).unwrap();
    for migration in &schema::MIGRATIONS[..7] {
        old.execute_batch(migration).unwrap();
    }
    old.pragma_update(None, "application_id", 0x5441_4354).unwrap();
    old.pragma_update(None, "user_version", 7).unwrap();
    let events = [told(1, EventKind::Context, 1, 0.1), told(2, EventKind::Rule, 2, 0.75)].map(|e| convert::blob(&e));
    for (number, data) in [(1_u8, events[0].clone()), (2, events[1].clone()), (3, vec![0xa0])] {
        let insert =
            "INSERT INTO event (node, event, onset, received, phase, judged, data) VALUES ('a', ?1, 1, 1, 0, 1, ?2)";
        old.execute(insert, rusqlite::params![vec![number; 8], data]).unwrap();
    }
    drop(old);
    drop(SqliteStore::open(&path).unwrap());
    let new = Connection::open(&path).unwrap();
    let mut rows = new.prepare("SELECT alarm, severity FROM event ORDER BY event").unwrap();
    let found: Vec<(i64, f64)> =
        rows.query_map([], |r| Ok((r.get(0)?, r.get(1)?))).unwrap().collect::<Result<_, _>>().unwrap();
    assert_eq!(found[1..], [(1, 0.75), (1, 0.0)], "what cannot be read may be an alarm");
    assert_eq!(found[0].0, 0);
}
