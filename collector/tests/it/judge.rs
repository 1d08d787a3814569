//! What becomes of events, looked at at any pace: nothing else looks at them.

use std::sync::Arc;

use tacit_collector::broker::Line;
use tacit_collector::incident::Judge;
use tacit_collector::ingest::Ingest;
use tacit_collector::interop::changes::Change;
use tacit_collector::interop::places::Place;
use tacit_collector::map::Map;
use tacit_collector::map::book::Book;
use tacit_collector::store::{
    Incident, IncidentQuery, IncidentState, Incoming, IncomingBody, Silence, SqliteStore, Store, TrailEntry,
};
use tacit_wire::Seq;
use tacit_wire::message::{Event, EventKind, Phase};
use tempfile::TempDir;

use crate::messages::{SITE, event, now_ms};

struct Court {
    store: Arc<dyn Store>,
    judge: Judge,
    now: i64,
    _folder: TempDir,
}

impl Court {
    fn open() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store: Arc<dyn Store> = Arc::new(SqliteStore::open(&folder.path().join("tacit.db")).unwrap());
        let ingest = Arc::new(Ingest::new(Arc::clone(&store), Arc::new(Line::default())));
        let map = Arc::new(Map::new(Book::default(), Arc::clone(&store)));
        let judge = Judge::new(Arc::clone(&store), ingest, map);
        Self { store, judge, now: now_ms(), _folder: folder }
    }

    /// A broken rule of web-1, the `number`th thing that it says.
    fn rule(&self, number: u16) -> Event {
        let mut event = event("web-1", u64::from(number), 0, Phase::Open);
        event.event.0[..2].copy_from_slice(&number.to_be_bytes());
        (event.kind, event.rule) = (EventKind::Rule, Some(format!("rule-{number}")));
        (event.onset_ms, event.text) = (self.now + i64::from(number), format!("rule {number} is broken"));
        event
    }

    async fn hear(&self, events: &[Event]) {
        let incoming = |event: &Event| Incoming {
            site: SITE.parse().unwrap(),
            received_ms: self.now,
            bytes: 1,
            body: IncomingBody::Event(Box::new(event.clone())),
        };
        self.store.commit(events.iter().map(incoming).collect()).await.unwrap();
    }

    /// Time passes, and a round looks at what is there.
    async fn after(&mut self, ms: i64) -> Vec<Incident> {
        self.now += ms;
        self.judge.round(self.now).await.unwrap();
        self.store.incidents(IncidentQuery::default()).await.unwrap()
    }

    /// The same until what was heard is grouped.
    async fn group(&mut self) -> Incident {
        self.after(0).await;
        let mut all = self.after(4_000).await;
        assert_eq!(all.len(), 1, "{all:#?}");
        all.remove(0)
    }
}

#[tokio::test]
async fn what_lasts_keeps_its_incident_open_however_long() {
    let mut court = Court::open();
    let first = court.rule(1);
    court.hear(std::slice::from_ref(&first)).await;
    assert_eq!(court.group().await.state, IncidentState::Open);
    assert_eq!(court.after(3_600_000).await[0].state, IncidentState::Open);
    let mut over = Event { phase: Phase::Close, end_ms: Some(court.now), ..first };
    over.head.seq = Seq(2);
    court.hear(&[over]).await;
    assert_eq!(court.after(0).await[0].state, IncidentState::Open);
    assert_eq!(court.after(60_000).await[0].state, IncidentState::Open, "it was not quiet for long enough");
    assert_eq!(court.after(120_000).await[0].state, IncidentState::Resolved);
}

#[tokio::test]
async fn a_storm_is_one_incident_that_loses_nothing() {
    let mut court = Court::open();
    let storm: Vec<Event> = (1..=200).map(|number| court.rule(number)).collect();
    court.hear(&storm).await;
    let incident = court.group().await;
    assert_eq!((incident.events, incident.title.as_str()), (200, "rule 200 is broken"));
    // More of it, later: those that are there are neither read nor counted again.
    let more: Vec<Event> = (201..=300).map(|number| court.rule(number)).collect();
    court.hear(&more).await;
    let incident = court.group().await;
    let keys = court.store.keys_of_incident(incident.id, 1000).await.unwrap();
    assert_eq!((incident.events, keys.len()), (300, 300));
    assert!(court.store.unjudged_keys(10).await.unwrap().is_empty(), "all were looked at");
    // Each says why it is there.
    let detail = court.store.incident(incident.id).await.unwrap().expect("it is there");
    let why = |action: &str| detail.audit.iter().filter(|line| line.action == action).count();
    assert_eq!((why("opened"), why("event-added")), (1, 299));
    let added = detail.audit.iter().find(|line| line.action == "event-added").expect("one was added");
    assert!(added.note.as_deref().is_some_and(|note| note.contains("it is related")), "{added:?}");
    assert!(!court.store.rankings(incident.id, 1).await.unwrap().is_empty(), "it was ranked");
}

#[tokio::test]
async fn what_lasts_is_muted_while_a_silence_has_all_of_it() {
    let mut court = Court::open();
    court.hear(&[court.rule(1), court.rule(2)]).await;
    let incident = court.group().await;
    let silence = |matcher: &str, ends_ms: i64| Silence {
        id: 0,
        matchers: vec![matcher.parse().unwrap()],
        starts_ms: court.now,
        ends_ms,
        actor: "ana".into(),
        reason: "a new disk".into(),
        made_ms: court.now,
        ended_ms: None,
    };
    let line = || TrailEntry {
        at_ms: 0,
        actor: "ana".into(),
        action: "silence-made".into(),
        subject: "silence".into(),
        note: None,
    };
    let (some, all) = (silence("family=rule-1", court.now + 3_600_000), silence("node=web-1", court.now + 60_000));
    court.store.save_silence(some, line()).await.unwrap();
    assert_eq!(court.after(6_000).await[0].state, IncidentState::Open, "not all of it is silenced");
    court.store.save_silence(all, line()).await.unwrap();
    let muted = court.after(6_000).await.remove(0);
    assert_eq!((muted.id, muted.state), (incident.id, IncidentState::Muted));
    assert!(muted.muted_by.as_deref().is_some_and(|by| by.starts_with("silence ")), "{muted:?}");
    assert_eq!(court.after(60_000).await[0].state, IncidentState::Open, "the silence is over");
}

#[tokio::test]
async fn a_change_of_the_whole_fleet_is_evidence() {
    let mut court = Court::open();
    let at_ms = court.now - 60_000;
    let change = Change { what: "rotate keys".into(), kind: "config".into(), at_ms, ..Change::default() };
    let place = Place { node: None, entity: "fleet".into() };
    court.store.put_outside(vec![change.event(&place, court.now)]).await.unwrap();
    court.hear(&[court.rule(1)]).await;
    let incident = court.group().await;
    let ranked = court.store.rankings(incident.id, 1).await.unwrap().remove(0);
    let told: Vec<_> = ranked.evidence.changes.iter().map(|c| (c.entity.as_str(), c.what.as_str())).collect();
    assert_eq!(told, [("web-1", "(whole fleet) rotate keys")]);
    let first = ranked.ranking.causes.first().expect("a candidate");
    let lines: Vec<String> = first.evidence.iter().map(ToString::to_string).collect();
    assert!(lines.iter().any(|line| line == "changed: (whole fleet) rotate keys"), "{lines:?}");
}
