//! The store against the promises of its trait.

use proptest::prelude::*;
use tacit_wire::message::{Death, EventKind, Head, Phase, Summary};
use tacit_wire::{BootId, Seq, StreamId};

use super::*;

fn store() -> (tempfile::TempDir, SqliteStore) {
    let folder = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(&folder.path().join("tacit.db")).unwrap();
    (folder, store)
}

fn summary(seq: u64, oldest: u64) -> Incoming {
    let head = Head {
        node: "web-1".parse().unwrap(),
        boot: BootId([1; 16]),
        stream: StreamId([7; 8]),
        seq: Seq(seq),
        oldest: Seq(oldest),
        wall_ms: 1_000,
        mono_ms: 1_000,
    };
    let message = Summary {
        head,
        epoch: 1,
        start_ms: 0,
        step_s: 60,
        steps: 1,
        series: Vec::new(),
        rows: Vec::new(),
        bins: Vec::new(),
        lost_samples: 0,
        alarm: Vec::new(),
        left_out: 0,
    };
    Incoming {
        site: "lab".parse().unwrap(),
        received_ms: 1_000,
        bytes: 10,
        body: IncomingBody::Summary(Box::new(message)),
    }
}

fn block<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    /// Law: whatever the order and repetition, each number is stored once, and the watermark is the end of the first run.
    #[test]
    fn each_number_is_stored_once(numbers in prop::collection::vec(1_u64..12, 1..40)) {
        let (_folder, store) = store();
        let node = "web-1".parse().unwrap();
        block(async {
            let mut seen = std::collections::BTreeSet::new();
            for n in numbers {
                let outcome = store.commit(vec![summary(n, 1)]).await.unwrap();
                let expected = if seen.insert(n) { Outcome::Stored } else { Outcome::Duplicate };
                assert_eq!(outcome, [expected]);
                let contiguous = (1..).find(|n| !seen.contains(n)).unwrap() - 1;
                assert_eq!(store.acks(&node).await.unwrap()[0].seq, Seq(contiguous));
            }
            assert_eq!(store.totals().await.unwrap().messages, seen.len() as u64);
        });
    }
}

#[test]
fn what_was_dropped_does_not_hold_up_acknowledgements() {
    let (_folder, store) = store();
    let node = "web-1".parse().unwrap();
    block(async {
        store.commit(vec![summary(1, 1), summary(5, 4)]).await.unwrap();
        // 2 and 3 will never come; 4 is still held and may.
        assert_eq!(store.acks(&node).await.unwrap()[0].seq, Seq(3));
        store.commit(vec![summary(4, 4)]).await.unwrap();
        assert_eq!(store.acks(&node).await.unwrap()[0].seq, Seq(5));
        // A late repetition from below the watermark is a duplicate.
        assert_eq!(store.commit(vec![summary(2, 1)]).await.unwrap(), [Outcome::Duplicate]);
    });
}

#[test]
fn a_failed_job_leaves_the_others() {
    let (_folder, store) = store();
    block(async {
        let bad = store.write(|t| {
            t.execute("INSERT INTO counter VALUES ('x', 1)", [])?;
            Err::<(), _>(StoreError::Conflict("on purpose".into()))
        });
        let good = store.commit(vec![summary(1, 1)]);
        let (bad, good) = futures_util::future::join(bad, good).await;
        assert!(bad.is_err() && good.is_ok());
        let left = store
            .read(|c| Ok(c.query_row("SELECT count(*) FROM counter WHERE name = 'x'", [], |r| r.get::<_, i64>(0))?));
        assert_eq!(left.await.unwrap(), 0);
    });
}

#[test]
fn a_change_of_an_older_revision_is_refused() {
    let (_folder, store) = store();
    let change = |incident: &Incident, action: &str| IncidentChange {
        incident: incident.clone(),
        event: None,
        also: Vec::new(),
        audit: vec![AuditEntry { at_ms: 1, actor: "ana".into(), action: action.into(), note: None }],
    };
    let new = crate::fixtures::incident();
    block(async {
        let opened = store.save_incident(change(&new, "opened")).await.unwrap();
        let taken = store.save_incident(change(&opened, "acknowledged")).await.unwrap();
        let late = store.save_incident(change(&opened, "resolved")).await;
        assert!(matches!(late, Err(StoreError::Stale(id)) if id == opened.id), "{late:?}");
        let detail = store.incident(opened.id).await.unwrap().unwrap();
        assert_eq!((detail.incident, detail.audit.len()), (taken, 2));
        let nobody = Incident { id: 99, ..opened };
        assert!(matches!(store.save_incident(change(&nobody, "x")).await, Err(StoreError::NotFound(_))));
    });
}

/// An event's `seq`-th phase as it comes in.
fn phase(seq: u64, phase: Phase) -> Incoming {
    let mut message = crate::fixtures::event(9, EventKind::Anomaly, phase, 1_000).event;
    (message.head.seq, message.head.mono_ms) = (Seq(seq), seq);
    Incoming { body: IncomingBody::Event(Box::new(message)), ..summary(seq, 1) }
}

#[test]
fn each_phase_of_an_event_is_looked_at_once() {
    let (_folder, store) = store();
    let change = |event: &EventRecord, incident: &Incident| IncidentChange {
        incident: incident.clone(),
        event: Some(event.clone()),
        also: Vec::new(),
        audit: Vec::new(),
    };
    let waiting = async || store.unjudged_events(10).await.unwrap();
    block(async {
        store.commit(vec![phase(1, Phase::Open)]).await.unwrap();
        let opened = waiting().await.remove(0);
        let incident = store.save_incident(change(&opened, &crate::fixtures::incident())).await.unwrap();
        assert!(waiting().await.is_empty());
        // Two who look at the same phase: the second one changes nothing, and no second incident is left behind.
        let twice = store.save_incident(change(&opened, &crate::fixtures::incident())).await;
        assert!(matches!(twice, Err(StoreError::Stale(_))), "{twice:?}");
        assert_eq!(store.incidents(IncidentQuery::default()).await.unwrap().len(), 1);
        // A phase of the same kind that comes while one is looked at.
        store.commit(vec![phase(2, Phase::Update)]).await.unwrap();
        let second = waiting().await.remove(0);
        assert_eq!(second.incident, Some(incident.id));
        store.commit(vec![phase(3, Phase::Update)]).await.unwrap();
        assert_eq!(store.mark_judged(vec![second.clone()]).await.unwrap(), [false]);
        assert!(matches!(store.save_incident(change(&second, &incident)).await, Err(StoreError::Stale(_))));
        let third = waiting().await.remove(0);
        assert_eq!(store.mark_judged(vec![third]).await.unwrap(), [true]);
        assert!(waiting().await.is_empty());
    });
}

#[test]
fn the_audit_trail_cannot_be_changed() {
    let (_folder, store) = store();
    block(async {
        let insert = "INSERT INTO audit (incident, at, actor, action) VALUES (1, 1, 'a', 'opened')";
        store.write(move |t| Ok(t.execute(insert, [])?)).await.unwrap();
        assert!(store.write(|t| Ok(t.execute("UPDATE audit SET actor = 'b'", [])?)).await.is_err());
    });
}

#[test]
fn other_files_are_refused_with_words() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tacit.db");
    std::fs::write(
        &path,
        "this is no database, and long enough to be read as a header of one.......................................",
    )
    .unwrap();
    let error = SqliteStore::open(&path).unwrap_err().to_string();
    assert!(error.contains("move it away"), "{error}");

    let foreign = folder.path().join("foreign.db");
    Connection::open(&foreign).unwrap().execute_batch("CREATE TABLE t (x)").unwrap();
    let error = SqliteStore::open(&foreign).unwrap_err().to_string();
    assert!(error.contains("another program's database"), "{error}");

    let newer = folder.path().join("newer.db");
    drop(SqliteStore::open(&newer).unwrap());
    Connection::open(&newer).unwrap().pragma_update(None, "user_version", 99).unwrap();
    assert!(matches!(SqliteStore::open(&newer), Err(StoreError::TooNew { found: 99, .. })));
}

#[test]
fn a_late_death_changes_nothing() {
    let (_folder, store) = store();
    let birth = crate::fixtures::birth("web-1", 7);
    let node = birth.node.clone();
    let late = Death { node: node.clone(), boot: birth.boot, connection: 6, reason: None };
    block(async {
        let body = IncomingBody::Birth(Box::new(birth));
        store.commit(vec![Incoming { site: "lab".parse().unwrap(), received_ms: 5, bytes: 1, body }]).await.unwrap();
        assert!(!store.mark_offline(&node, Some(late.connection), None, 6).await.unwrap());
        assert_eq!(store.node(&node).await.unwrap().unwrap().presence, Presence::Online);
        assert!(store.mark_offline(&node, Some(7), Some("stopped"), 6).await.unwrap());
        assert_eq!(store.node(&node).await.unwrap().unwrap().presence, Presence::Stopped);
    });
}

/// An event that closed may come back to life; what was said before it closed and comes late may not.
#[test]
fn time_decides_between_phases_of_an_event() {
    use tacit_wire::message::{EventKind, Phase};
    let (_folder, store) = store();
    let said = |seq: u64, phase, mono_ms| {
        let mut event = crate::fixtures::event(1, EventKind::Anomaly, phase, 0).event;
        (event.head.seq, event.head.mono_ms) = (Seq(seq), mono_ms);
        Incoming { site: "lab".parse().unwrap(), received_ms: 1, bytes: 1, body: IncomingBody::Event(Box::new(event)) }
    };
    let node = "web-1".parse().unwrap();
    block(async {
        let phase = async || store.event(&node, tacit_wire::EventId([1; 8])).await.unwrap().unwrap().event.phase;
        store.commit(vec![said(1, Phase::Open, 1000), said(3, Phase::Close, 3000)]).await.unwrap();
        store.commit(vec![said(2, Phase::Update, 2000)]).await.unwrap();
        assert_eq!(phase().await, Phase::Close, "a late update does not bring it back");
        store.commit(vec![said(4, Phase::Update, 4000)]).await.unwrap();
        assert_eq!(phase().await, Phase::Update, "it came back");
        store.commit(vec![said(5, Phase::Close, 5000)]).await.unwrap();
        assert_eq!(phase().await, Phase::Close);
    });
}

/// An alert about nothing that is known.
fn alert(phase: Phase, expires_ms: Option<i64>) -> EventRecord {
    let mut record = crate::fixtures::event(5, EventKind::Rule, phase, 1_000);
    record.event.head.node = nowhere();
    let outside = Outside {
        source: EventSource::Alert,
        entity: "alert:x".into(),
        family: "x".into(),
        expires_ms,
        ..Outside::default()
    };
    record.outside = Some(Box::new(outside));
    record
}

#[test]
fn what_is_said_again_from_elsewhere_is_one_event() {
    let (_folder, store) = store();
    block(async {
        let put = async |event| store.put_outside(vec![event]).await.unwrap()[0];
        assert_eq!(put(alert(Phase::Open, Some(100))).await, Outcome::Stored);
        let waiting = store.unjudged_events(10).await.unwrap();
        assert_eq!(waiting[0].outside.as_ref().map(|o| o.entity.as_str()), Some("alert:x"));
        assert_eq!(store.mark_judged(waiting).await.unwrap(), [true]);
        for _ in 0..1000 {
            assert_eq!(put(alert(Phase::Open, Some(200))).await, Outcome::Duplicate);
        }
        assert!(store.unjudged_events(10).await.unwrap().is_empty());
        assert!(store.expired_outside(199, 10).await.unwrap().is_empty(), "it was renewed");
        assert_eq!(store.expired_outside(200, 10).await.unwrap().len(), 1);
        assert_eq!(put(alert(Phase::Close, None)).await, Outcome::Stored);
        assert_eq!(store.unjudged_events(10).await.unwrap().len(), 1);
        assert!(store.expired_outside(i64::MAX, 10).await.unwrap().is_empty(), "it is over");
    });
}

#[test]
fn events_that_open_nothing_say_why_and_can_still_be_taken_in() {
    let (_folder, store) = store();
    block(async {
        store.put_outside(vec![alert(Phase::Open, None)]).await.unwrap();
        let key = alert(Phase::Open, None).key();
        store.mark_digest(vec![key.clone()], "no symptom".into()).await.unwrap();
        let digest = EventQuery { digest: true, ..EventQuery::default() };
        let found = store.events(digest.clone()).await.unwrap();
        assert_eq!(found[0].digest.as_deref(), Some("no symptom"));
        assert!(store.unjudged_events(10).await.unwrap().is_empty());
        let new = crate::fixtures::incident();
        let adopt = IncidentChange { incident: new, event: None, also: vec![key], audit: Vec::new() };
        let incident = store.save_incident(adopt).await.unwrap();
        assert_eq!(incident.events, 1);
        assert!(store.events(digest).await.unwrap().is_empty());
        assert_eq!(store.incident(incident.id).await.unwrap().unwrap().events.len(), 1);
    });
}

#[test]
fn rankings_are_kept_with_what_they_were_made_of() {
    let (_folder, store) = store();
    block(async {
        let evidence = crate::cause::Evidence { onset_ms: 5, ..crate::cause::Evidence::default() };
        let ranking = crate::cause::rank(&evidence);
        for at_ms in 0..20 {
            let stored = StoredRanking { incident: 1, at_ms, evidence: evidence.clone(), ranking: ranking.clone() };
            store.save_ranking(stored).await.unwrap();
        }
        let kept = store.rankings(1, 100).await.unwrap();
        assert_eq!((kept[0].at_ms, kept.last().unwrap().at_ms, kept.len()), (19, 0, 9), "the newest, and the first");
        assert_eq!((&kept[0].evidence, &kept[0].ranking), (&evidence, &ranking));
    });
}

#[test]
fn the_trail_is_final() {
    let (_folder, store) = store();
    block(async {
        let line = |n: i64| TrailEntry {
            at_ms: n,
            actor: "ana".into(),
            action: "silence-made".into(),
            subject: "silence 1".into(),
            note: None,
        };
        store.append_trail((0..3).map(line).collect()).await.unwrap();
        assert_eq!(store.trail(2).await.unwrap().iter().map(|e| e.at_ms).collect::<Vec<_>>(), [2, 1]);
        let change = store.write(|t| Ok(t.execute("UPDATE trail SET actor = 'bo'", [])?)).await;
        assert!(change.is_err_and(|e| e.to_string().contains("append-only")));
    });
}
