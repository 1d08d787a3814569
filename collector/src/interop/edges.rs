//! Edges of the map that fail, slow down, appear or vanish, as events.
//!
//! The map speaks twice: at once of what a single message shows ([`Sign`]), and minutes later of what both ends agree on
//! ([`MapChange`]). One trouble of one edge is one event, whoever says it first; it stays open while either says that it goes on,
//! and is over when the edge is seen to be well, or was not spoken of for a while.

use std::collections::{BTreeMap, HashMap};

use tacit_wire::message::{Direction, EventKind, Evidence};
use tacit_wire::{Attribute, NodeId, Num};

use super::event::{Draft, closed, cut, number};
use super::tell;
use crate::ingest::Ingest;
use crate::map::urgent::{Sign, Trouble, Word};
use crate::store::{ChangeKind, EventRecord, EventSource, MapChange, Outside, Store, StoreError, nowhere};

/// When a trouble is over that nobody speaks of.
const OVER_MS: i64 = 600_000;
/// An end that moved by less is not written.
const RENEW_MS: i64 = 60_000;
/// How long it is remembered that a trouble is over: the map tells of its minutes later.
const REMEMBERED_MS: i64 = 3_600_000;
/// Troubles that are open at once; what is beyond is not told.
const OPEN_MAX: usize = 20_000;
/// How bad it is that connects fail, and that connections are slow.
const SEVERITY: [f32; 2] = [0.7, 0.5];
/// Characters of an end's name in evidence.
const NAME_MAX: usize = 200;
/// The label that names the edge.
const EDGE: &str = "edge";

type Key = (Trouble, String);

/// Troubles of edges.
#[derive(Debug, Default)]
pub struct Edges {
    /// Those that are open, with their events; read from the store first.
    open: Option<HashMap<Key, EventRecord>>,
    /// When others were over.
    over: HashMap<Key, i64>,
}

/// What the map says in one round.
#[derive(Debug, Default)]
pub struct Spoken {
    /// At once, of single messages.
    pub signs: Vec<Sign>,
    /// Later, of whole minutes.
    pub changes: Vec<MapChange>,
    /// Edges whose trouble goes on, as of the newest whole minute.
    pub going_on: Vec<(Trouble, String)>,
}

impl Edges {
    /// Whether any trouble is open, as far as is known.
    #[must_use]
    pub fn any_open(&self) -> bool {
        self.open.as_ref().is_none_or(|open| !open.is_empty())
    }

    /// Makes events of what the map says.
    ///
    /// # Errors
    /// When the database fails. What was not told at once is told later, when the map speaks of whole minutes.
    pub async fn take(
        &mut self,
        store: &dyn Store,
        ingest: &Ingest,
        spoken: Spoken,
        now_ms: i64,
    ) -> Result<(), StoreError> {
        let mut open = match self.open.take() {
            Some(open) => open,
            None => remember(store).await?,
        };
        open.retain(|_, record| expires(record) > now_ms);
        self.over.retain(|_, at| now_ms.saturating_sub(*at) < REMEMBERED_MS);
        let mut events = Vec::new();
        for sign in &spoken.signs {
            match &sign.word {
                Word::In(trouble) => events.extend(troubled(&mut open, *trouble, &Edge::of_sign(sign), now_ms)),
                Word::Well(trouble) => {
                    let key = (*trouble, sign.edge.clone());
                    if let Some(known) = open.remove(&key) {
                        events.push(closed(known, sign.at_ms, None));
                        self.over.insert(key, sign.at_ms);
                    }
                }
            }
        }
        for change in &spoken.changes {
            let edge = Edge::of_change(change);
            match trouble_of(change.kind) {
                Some(trouble) if !self.is_known(trouble, change) => {
                    events.extend(troubled(&mut open, trouble, &edge, now_ms));
                }
                Some(_) => {}
                None => events.push(edge.context(change.kind, now_ms)),
            }
        }
        for key in spoken.going_on {
            events.extend(open.get_mut(&key).and_then(|known| renewed(known, now_ms)));
        }
        for record in &events {
            if let Some(key) = key_of(record).filter(|_| !record.closed()) {
                self.over.remove(&key);
            }
        }
        tell(store, ingest, events).await?;
        self.open = Some(open);
        Ok(())
    }

    /// Whether a change speaks of minutes of a trouble that was told, and is over.
    fn is_known(&self, trouble: Trouble, change: &MapChange) -> bool {
        self.over.get(&(trouble, change.edge.clone())).is_some_and(|at| change.at_ms <= *at)
    }
}

/// Troubles that are open in the store.
async fn remember(store: &dyn Store) -> Result<HashMap<Key, EventRecord>, StoreError> {
    let all = store.expired_outside(i64::MAX, 4 * OPEN_MAX).await?;
    Ok(all.into_iter().filter_map(|record| Some((key_of(&record)?, record))).collect())
}

fn key_of(record: &EventRecord) -> Option<Key> {
    let outside = record.outside.as_deref().filter(|o| o.source == EventSource::Map)?;
    let trouble = [Trouble::Failing, Trouble::Slowed].into_iter().find(|t| t.as_str() == outside.family)?;
    Some((trouble, outside.labels.get(EDGE)?.clone()))
}

fn expires(record: &EventRecord) -> i64 {
    record.outside.as_ref().and_then(|o| o.expires_ms).unwrap_or(0)
}

const fn trouble_of(kind: ChangeKind) -> Option<Trouble> {
    match kind {
        ChangeKind::Failing => Some(Trouble::Failing),
        ChangeKind::Slowed => Some(Trouble::Slowed),
        ChangeKind::Appeared | ChangeKind::Vanished => None,
    }
}

/// An edge is in trouble: a new event, or one that goes on.
fn troubled(
    open: &mut HashMap<Key, EventRecord>,
    trouble: Trouble,
    edge: &Edge<'_>,
    now_ms: i64,
) -> Option<EventRecord> {
    let key = (trouble, edge.id.to_owned());
    if let Some(known) = open.get_mut(&key) {
        return renewed(known, now_ms);
    }
    if open.len() >= OPEN_MAX {
        return None;
    }
    let record = edge.trouble(trouble, now_ms);
    open.insert(key, record.clone());
    Some(record)
}

/// The event with a later end, when that is late enough to be written.
fn renewed(known: &mut EventRecord, now_ms: i64) -> Option<EventRecord> {
    let later = now_ms.saturating_add(OVER_MS);
    let outside = known.outside.as_mut()?;
    if later.saturating_sub(outside.expires_ms.unwrap_or(0)) < RENEW_MS {
        return None;
    }
    outside.expires_ms = Some(later);
    Some(known.clone())
}

/// What an event of an edge is made of.
struct Edge<'a> {
    id: &'a str,
    client: &'a str,
    server: &'a str,
    at_ms: i64,
    text: &'a str,
    /// The figure now and usually.
    figures: Option<[f32; 2]>,
}

impl<'a> Edge<'a> {
    fn of_sign(sign: &'a Sign) -> Self {
        Self {
            id: &sign.edge,
            client: &sign.client,
            server: &sign.server,
            at_ms: sign.at_ms,
            text: &sign.text,
            figures: sign.figures,
        }
    }

    fn of_change(change: &'a MapChange) -> Self {
        Self {
            id: &change.edge,
            client: &change.client,
            server: &change.server,
            at_ms: change.at_ms,
            text: &change.text,
            figures: change.observed.map(|observed| [observed, change.usual.unwrap_or(0.0)]),
        }
    }

    /// The node of the server, or of the client when the server is outside.
    fn node(&self) -> NodeId {
        let node = |vertex: &str| -> Option<NodeId> {
            let (node, _) = vertex.split_once('/').filter(|_| !vertex.starts_with("ext:"))?;
            node.parse().ok()
        };
        node(self.server).or_else(|| node(self.client)).unwrap_or_else(nowhere)
    }

    fn draft(&self, family: &str, kind: EventKind) -> Draft {
        let outside = Outside {
            source: EventSource::Map,
            entity: self.server.to_owned(),
            family: family.to_owned(),
            labels: BTreeMap::from([(EDGE.to_owned(), self.id.to_owned())]),
            url: None,
            client: Some(self.client.to_owned()),
            expires_ms: None,
        };
        Draft {
            node: self.node(),
            number: number(&[family, self.id, &self.at_ms.to_string()]),
            kind,
            severity: 0.0,
            onset_ms: self.at_ms,
            text: super::event::line(self.text),
            outside,
        }
    }

    fn trouble(&self, trouble: Trouble, now_ms: i64) -> EventRecord {
        let (kind, severity) = match trouble {
            Trouble::Failing => (EventKind::Rule, SEVERITY[0]),
            Trouble::Slowed => (EventKind::Anomaly, SEVERITY[1]),
        };
        let mut draft = self.draft(trouble.as_str(), kind);
        draft.severity = severity;
        draft.outside.expires_ms = Some(now_ms.saturating_add(OVER_MS));
        let mut record = draft.record(now_ms);
        record.event.evidence.extend(self.figures.map(|figures| self.evidence(trouble, figures)));
        record
    }

    /// What was seen, beside what is usual, so that it can be checked and ranked.
    fn evidence(&self, trouble: Trouble, [observed, usual]: [f32; 2]) -> Evidence {
        let (name, unit) = match trouble {
            Trouble::Failing => ("tacit.link.failed_share", "1"),
            Trouble::Slowed => ("tacit.link.lifetime", "s"),
        };
        let ends = [("client", self.client), ("server", self.server)];
        Evidence {
            name: name.into(),
            attributes: ends.into_iter().map(|(key, value)| Attribute::new(key, cut(value, NAME_MAX))).collect(),
            unit: unit.into(),
            share: Num(1.0),
            observed: Num(observed),
            low: Num::NONE,
            high: Num(usual),
            direction: Direction::High,
        }
    }

    fn context(&self, kind: ChangeKind, now_ms: i64) -> EventRecord {
        let family = if kind == ChangeKind::Vanished { "vanished" } else { "appeared" };
        self.draft(family, EventKind::Context).record(now_ms)
    }
}

#[cfg(test)]
mod tests {
    use tacit_wire::message::Phase;

    use super::*;
    use crate::interop::testing::{Site, site};
    use crate::store::EventQuery;

    const NOW: i64 = 1_800_000_000_000;
    const MINUTE: i64 = 60_000;
    const FAILS: &str = "web/x>db/y:tcp/80";

    fn sign(word: Word, at_ms: i64) -> Sign {
        let text = "80 % of the connects from web/x to db/y fail (8 of 10).".into();
        Sign {
            edge: FAILS.into(),
            client: "web/x".into(),
            server: "db/y".into(),
            at_ms,
            word,
            text,
            figures: Some([0.8, 0.0]),
        }
    }

    fn change(kind: ChangeKind, at_ms: i64) -> MapChange {
        MapChange {
            at_ms,
            edge: FAILS.into(),
            client: "web/x".into(),
            server: "db/y".into(),
            kind,
            text: format!("{kind:?}"),
            observed: None,
            usual: None,
        }
    }

    async fn take(edges: &mut Edges, site: &Site, spoken: Spoken, now_ms: i64) -> Vec<EventRecord> {
        edges.take(&*site.store, &site.ingest, spoken, now_ms).await.unwrap();
        site.store.events(EventQuery::default()).await.unwrap()
    }

    fn signs(word: Word, at_ms: i64) -> Spoken {
        Spoken { signs: vec![sign(word, at_ms)], ..Spoken::default() }
    }

    fn changes(kind: ChangeKind, at_ms: i64) -> Spoken {
        Spoken { changes: vec![change(kind, at_ms)], ..Spoken::default() }
    }

    #[tokio::test]
    async fn one_trouble_is_one_event_whoever_says_it() {
        let (site, mut edges) = (site(), Edges::default());
        let failing = || Word::In(Trouble::Failing);
        let told = take(&mut edges, &site, signs(failing(), NOW - 30_000), NOW).await;
        let outside = told[0].outside.clone().unwrap();
        assert_eq!((outside.entity.as_str(), outside.client.as_deref()), ("db/y", Some("web/x")));
        assert_eq!((told[0].event.head.node.as_str(), told[0].event.kind), ("db", EventKind::Rule));
        assert_eq!((told[0].onset_ms, outside.expires_ms), (NOW - 30_000, Some(NOW + 10 * MINUTE)));
        // It goes on; a collector that is started anew does not begin again, nor does the map's later word.
        take(&mut edges, &site, signs(failing(), NOW + 2 * MINUTE), NOW + 2 * MINUTE).await;
        let mut edges = Edges::default();
        assert!(edges.any_open());
        take(&mut edges, &site, changes(ChangeKind::Failing, NOW - MINUTE), NOW + 7 * MINUTE).await;
        let going_on = Spoken { going_on: vec![(Trouble::Failing, FAILS.into())], ..Spoken::default() };
        let told = take(&mut edges, &site, going_on, NOW + 9 * MINUTE).await;
        assert_eq!((told.len(), told[0].revision, told[0].event.phase), (1, 1, Phase::Open));
        assert_eq!(told[0].outside.as_ref().unwrap().expires_ms, Some(NOW + 19 * MINUTE));
        // It is well; what the map says later of the minutes before is known.
        let well = signs(Word::Well(Trouble::Failing), NOW + 10 * MINUTE);
        let told = take(&mut edges, &site, well, NOW + 10 * MINUTE).await;
        assert_eq!((told[0].event.phase, told[0].event.end_ms), (Phase::Close, Some(NOW + 10 * MINUTE)));
        take(&mut edges, &site, changes(ChangeKind::Failing, NOW + 5 * MINUTE), NOW + 12 * MINUTE).await;
        assert!(!edges.any_open());
        let told = take(&mut edges, &site, signs(failing(), NOW + 20 * MINUTE), NOW + 20 * MINUTE).await;
        assert_eq!(told.len(), 2, "again, it is another event");
    }

    #[tokio::test]
    async fn what_appears_and_vanishes_is_context() {
        let (site, mut edges) = (site(), Edges::default());
        for kind in [ChangeKind::Appeared, ChangeKind::Vanished, ChangeKind::Slowed] {
            for _ in 0..2 {
                take(&mut edges, &site, changes(kind, NOW), NOW + MINUTE).await;
            }
        }
        let told = site.store.events(EventQuery::default()).await.unwrap();
        let mut told: Vec<_> =
            told.iter().map(|e| (e.outside.as_ref().unwrap().family.as_str(), e.event.kind, e.closed())).collect();
        told.sort_unstable();
        let expected = [
            ("appeared", EventKind::Context, true),
            ("slowed", EventKind::Anomaly, false),
            ("vanished", EventKind::Context, true),
        ];
        assert_eq!(told, expected);
    }

    #[test]
    fn an_edge_outside_belongs_to_its_client() {
        let edge =
            |client, server| Edge { id: "x", client, server, at_ms: 0, text: "", figures: None }.node().to_string();
        assert_eq!(edge("web/x", "ext:10.0.0.0/8"), "web");
        assert_eq!(edge("ext:10.0.0.9", "db/:80"), "db");
        assert_eq!(edge("ext:10.0.0.9", "ext:10.0.0.8:80"), "-");
    }
}
