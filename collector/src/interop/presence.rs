//! Nodes that are lost, nodes that stopped, and nodes that are back.
//!
//! The store knows who is there. Every few seconds those that are not are looked at: one that is lost is an event that stays open
//! until it is back, one that said goodbye is context. What is told follows from the store alone (the number of an event is made of
//! the node and the time it went), so a collector that is started anew neither forgets nor repeats anything.
//!
//! A collector that was away itself saw nobody go. It gives everybody time to come back before it calls somebody lost: agents wait at
//! most two minutes between attempts. Behind an external broker they stay connected and say nothing new, so those that are silent
//! are asked to announce themselves, and have longer.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use tacit_wire::NodeId;
use tacit_wire::message::EventKind;
use tokio_util::sync::CancellationToken;
use tracing::{error, info};

use super::event::{Draft, closed, length, moment, number};
use super::tell;
use crate::clock::now_ms;
use crate::ingest::Ingest;
use crate::store::{EventRecord, EventSource, GoneNode, Outside, Presence, Store, StoreError};

/// Distance of looks.
const ROUND: Duration = Duration::from_secs(3);
/// A node that is gone for less is not lost.
const LOST_AFTER_MS: i64 = 30_000;
/// A node that is gone for longer is not missed any more.
const MISSED_MS: i64 = 7 * 86_400_000;
/// A goodbye that is older is not told any more: it was, before the collector was started anew.
const GOODBYE_MS: i64 = 3_600_000;
/// How long after its start the collector waits for nodes that it has not heard yet.
const GRACE_MS: i64 = 150_000;
/// And behind an external broker.
const GRACE_EXTERNAL_MS: i64 = 900_000;
/// When, after its start, it begins to ask them.
const ASK_AFTER_MS: i64 = 60_000;
/// Nodes asked at once.
const ASKED_AT_ONCE: usize = 200;
/// Nodes that are looked at, of those that are gone.
const NODES_MAX: usize = 100_000;
/// How bad it is that a node is lost.
const SEVERITY: f32 = 0.8;

/// Where the broker is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Broker {
    /// In this process: a node that is there has connected since the start.
    Embedded,
    /// Elsewhere: nodes stay connected while the collector is away.
    External,
}

/// Looks who is there.
#[derive(Debug)]
pub struct RollCall {
    store: Arc<dyn Store>,
    ingest: Arc<Ingest>,
    broker: Broker,
    started_ms: i64,
    /// Lost nodes that were told, with their events; read from the store first.
    lost: Option<HashMap<NodeId, EventRecord>>,
    /// When nodes went that said goodbye.
    stopped: HashMap<NodeId, i64>,
    /// The last one that was asked.
    asked: Option<NodeId>,
    /// Whether those that never came back were looked for.
    searched: bool,
}

impl RollCall {
    /// A roll call of a collector that started at a time.
    #[must_use]
    pub fn new(store: Arc<dyn Store>, ingest: Arc<Ingest>, broker: Broker, started_ms: i64) -> Self {
        let stopped = HashMap::new();
        Self { store, ingest, broker, started_ms, lost: None, stopped, asked: None, searched: false }
    }

    /// Looks until it is told to stop.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut failing = false;
        while !stop.is_cancelled() {
            match self.round(now_ms()).await {
                Ok(()) => failing = false,
                Err(e) if !failing => {
                    failing = true;
                    error!(error = %e, "Cannot look who is there; trying again.");
                }
                Err(_) => {}
            }
            tokio::select! {
                () = stop.cancelled() => {}
                () = tokio::time::sleep(ROUND) => {}
            }
        }
    }

    /// Looks once.
    ///
    /// # Errors
    /// When the database fails; what was not told is told in the next round.
    pub async fn round(&mut self, now_ms: i64) -> Result<(), StoreError> {
        self.search(now_ms).await?;
        let lost = match self.lost.take() {
            Some(lost) => lost,
            None => self.remember().await?,
        };
        let gone = self.store.gone_nodes(NODES_MAX).await?;
        let call = call(&lost, &gone, now_ms);
        let goodbyes = goodbyes(&self.stopped, &gone, now_ms);
        let mut events = call.events;
        events.extend(goodbyes);
        // When this fails, the store says what is known.
        tell(&*self.store, &self.ingest, events).await?;
        self.lost = Some(call.lost);
        let stopped = gone.into_iter().filter(|node| node.presence == Presence::Stopped);
        self.stopped = stopped.map(|node| (node.node, node.went_ms)).collect();
        Ok(())
    }

    /// Events of lost nodes that are open.
    async fn remember(&self) -> Result<HashMap<NodeId, EventRecord>, StoreError> {
        let is_lost = |record: &EventRecord| record.source() == EventSource::Presence;
        let open = self.store.expired_outside(i64::MAX, NODES_MAX).await?;
        Ok(open.into_iter().filter(is_lost).map(|record| (record.event.head.node.clone(), record)).collect())
    }

    /// Nodes that count as online since before the start, and were not heard since.
    async fn search(&mut self, now_ms: i64) -> Result<(), StoreError> {
        if self.searched {
            return Ok(());
        }
        let since_start = now_ms.saturating_sub(self.started_ms);
        let grace = match self.broker {
            Broker::Embedded => GRACE_MS,
            Broker::External => GRACE_EXTERNAL_MS,
        };
        if since_start >= grace {
            let lost = self.store.lose_silent(self.started_ms).await?;
            if lost > 0 {
                info!(nodes = lost, "Nodes did not come back since the collector started.");
            }
            self.searched = true;
        } else if self.broker == Broker::External && since_start >= ASK_AFTER_MS {
            let silent = self.store.silent_nodes(self.started_ms, self.asked.as_ref(), ASKED_AT_ONCE).await?;
            for (site, node) in silent {
                self.ingest.announce(&site, &node);
                self.asked = Some(node);
            }
        }
        Ok(())
    }
}

/// What is to be told of lost nodes, and those whose events are open then.
struct Call {
    events: Vec<EventRecord>,
    lost: HashMap<NodeId, EventRecord>,
}

fn call(told: &HashMap<NodeId, EventRecord>, gone: &[GoneNode], now_ms: i64) -> Call {
    let (mut events, mut lost) = (Vec::new(), HashMap::new());
    for node in gone.iter().filter(|node| node.presence == Presence::Lost) {
        let age = now_ms.saturating_sub(node.went_ms);
        let event = lost_event(node, now_ms);
        match told.get(&node.node) {
            Some(known) if known.key() == event.key() => {
                lost.insert(node.node.clone(), known.clone());
            }
            _ if (LOST_AFTER_MS..MISSED_MS).contains(&age) => {
                events.push(event.clone());
                lost.insert(node.node.clone(), event);
            }
            _ => {}
        }
    }
    let is_back = |(node, known): &(&NodeId, &EventRecord)| lost.get(*node).is_none_or(|now| now.key() != known.key());
    for (node, known) in told.iter().filter(is_back) {
        let away = length(now_ms.saturating_sub(known.onset_ms));
        events.push(closed(known.clone(), now_ms, Some(format!("node {node} is back; it was lost for {away}"))));
    }
    Call { events, lost }
}

fn goodbyes(told: &HashMap<NodeId, i64>, gone: &[GoneNode], now_ms: i64) -> Vec<EventRecord> {
    let is_new = |node: &&GoneNode| {
        let is_young = now_ms.saturating_sub(node.went_ms) < GOODBYE_MS;
        node.presence == Presence::Stopped && is_young && told.get(&node.node) != Some(&node.went_ms)
    };
    let event = |node: &GoneNode| {
        let why = node.reason.as_deref().filter(|r| *r != "stopped");
        let why = why.map_or_else(String::new, |reason| format!(": {}", super::event::line(reason)));
        draft(node, "stopped", format!("the agent of node {} stopped{why}", node.node), EventKind::Context)
            .record(now_ms)
    };
    gone.iter().filter(is_new).map(event).collect()
}

fn lost_event(node: &GoneNode, now_ms: i64) -> EventRecord {
    let text = format!(
        "node {} is lost: its connection broke at {} and it did not come back",
        node.node,
        moment(node.went_ms)
    );
    let mut draft = draft(node, "lost", text, EventKind::Rule);
    draft.severity = SEVERITY;
    draft.outside.expires_ms = Some(node.went_ms.saturating_add(MISSED_MS));
    draft.record(now_ms)
}

fn draft(node: &GoneNode, family: &str, text: String, kind: EventKind) -> Draft {
    let outside = Outside {
        source: EventSource::Presence,
        entity: node.node.to_string(),
        family: family.to_owned(),
        labels: BTreeMap::from([("site".to_owned(), node.site.to_string())]),
        ..Outside::default()
    };
    Draft {
        node: node.node.clone(),
        number: number(&[family, node.node.as_str(), &node.went_ms.to_string()]),
        kind,
        severity: 0.0,
        onset_ms: node.went_ms,
        text,
        outside,
    }
}

#[cfg(test)]
mod tests {
    use tacit_wire::message::Phase;

    use super::*;
    use crate::interop::testing::{Site, site};
    use crate::store::EventQuery;

    const START: i64 = 1_800_000_000_000;
    const SECOND: i64 = 1000;

    fn roll_call(site: &Site, broker: Broker, started_ms: i64) -> RollCall {
        RollCall::new(Arc::clone(&site.store), Arc::clone(&site.ingest), broker, started_ms)
    }

    async fn lose(site: &Site, node: &str, at_ms: i64) {
        assert!(site.store.mark_offline(&node.parse().unwrap(), None, None, at_ms).await.unwrap());
    }

    /// Family, phase and text of all events, the newest onset first.
    async fn told(site: &Site) -> Vec<(String, Phase, String)> {
        let events = site.store.events(EventQuery::default()).await.unwrap();
        events.into_iter().map(|e| (e.outside.unwrap().family, e.event.phase, e.event.text)).collect()
    }

    #[tokio::test]
    async fn a_lost_node_is_told_once_and_closed_when_it_is_back() {
        let site = site();
        let mut calls = roll_call(&site, Broker::Embedded, START);
        site.birth("web-2", 1, START).await;
        lose(&site, "web-2", START + SECOND).await;
        calls.round(START + 20 * SECOND).await.unwrap();
        assert_eq!(told(&site).await, [], "it may come back");
        calls.round(START + 32 * SECOND).await.unwrap();
        let text = "node web-2 is lost: its connection broke at 2027-01-15 08:00:01 UTC and it did not come back";
        let lost = [("lost".to_owned(), Phase::Open, text.to_owned())];
        assert_eq!(told(&site).await, lost);
        // Neither time nor a new collector changes that.
        calls.round(START + 35 * SECOND).await.unwrap();
        let mut calls = roll_call(&site, Broker::Embedded, START + 40 * SECOND);
        calls.round(START + 60 * SECOND).await.unwrap();
        assert_eq!(told(&site).await, lost);
        let event = site.store.events(EventQuery::default()).await.unwrap().remove(0);
        assert_eq!((event.revision, event.onset_ms), (1, START + SECOND));
        // It came back while nobody looked.
        let mut calls = roll_call(&site, Broker::Embedded, START + 61 * SECOND);
        site.birth("web-2", 2, START + 62 * SECOND).await;
        for _ in 0..2 {
            calls.round(START + 241 * SECOND).await.unwrap();
        }
        let back = "node web-2 is back; it was lost for 4 min";
        assert_eq!(told(&site).await, [("lost".to_owned(), Phase::Close, back.to_owned())]);
        // Lost again, it is another event.
        lose(&site, "web-2", START + 300 * SECOND).await;
        calls.round(START + 340 * SECOND).await.unwrap();
        assert_eq!(told(&site).await.len(), 2);
    }

    #[tokio::test]
    async fn one_that_came_and_went_between_two_looks_is_two_events() {
        let site = site();
        let mut calls = roll_call(&site, Broker::Embedded, START);
        site.birth("web-2", 1, START).await;
        lose(&site, "web-2", START).await;
        calls.round(START + 40 * SECOND).await.unwrap();
        site.birth("web-2", 2, START + 41 * SECOND).await;
        lose(&site, "web-2", START + 42 * SECOND).await;
        calls.round(START + 43 * SECOND).await.unwrap();
        assert_eq!(told(&site).await.iter().map(|(_, phase, _)| *phase).collect::<Vec<_>>(), [Phase::Close]);
        calls.round(START + 90 * SECOND).await.unwrap();
        let phases: Vec<Phase> = told(&site).await.iter().map(|(_, phase, _)| *phase).collect();
        assert_eq!(phases, [Phase::Open, Phase::Close]);
    }

    #[tokio::test]
    async fn a_goodbye_is_context() {
        let site = site();
        let mut calls = roll_call(&site, Broker::Embedded, START);
        for (node, reason) in [("web-1", "stopped"), ("web-2", "the machine\nshuts down")] {
            site.birth(node, 1, START).await;
            let node = node.parse().unwrap();
            assert!(site.store.mark_offline(&node, None, Some(reason), START + SECOND).await.unwrap());
        }
        for _ in 0..2 {
            calls.round(START + 2 * SECOND).await.unwrap();
        }
        let mut texts: Vec<String> = told(&site).await.into_iter().map(|(.., text)| text).collect();
        texts.sort();
        assert_eq!(
            texts,
            ["the agent of node web-1 stopped", "the agent of node web-2 stopped: the machine shuts down"]
        );
        let events = site.store.events(EventQuery::default()).await.unwrap();
        assert!(events.iter().all(|e| e.event.kind == EventKind::Context && e.closed() && e.revision == 1));
    }

    #[tokio::test]
    async fn after_a_start_everybody_has_time_to_come_back() {
        let site = site();
        for node in ["web-1", "web-2"] {
            site.birth(node, 1, START).await;
        }
        // The collector was away for an hour.
        let started = START + 3600 * SECOND;
        let mut calls = roll_call(&site, Broker::Embedded, started);
        calls.round(started + 100 * SECOND).await.unwrap();
        assert_eq!(told(&site).await, [], "nobody is lost");
        site.birth("web-1", 2, started + 119 * SECOND).await;
        calls.round(started + 151 * SECOND).await.unwrap();
        let events = site.store.events(EventQuery::default()).await.unwrap();
        let lost: Vec<_> = events.iter().map(|e| (e.event.head.node.as_str(), e.onset_ms)).collect();
        assert_eq!(lost, [("web-2", START)]);
    }

    #[tokio::test]
    async fn behind_an_external_broker_they_have_longer() {
        let site = site();
        site.birth("web-1", 1, START).await;
        let started = START + 3600 * SECOND;
        let mut calls = roll_call(&site, Broker::External, started);
        calls.round(started + 151 * SECOND).await.unwrap();
        assert_eq!((calls.asked.as_ref().map(NodeId::as_str), told(&site).await), (Some("web-1"), Vec::new()));
        calls.round(started + 901 * SECOND).await.unwrap();
        assert_eq!(told(&site).await.len(), 1);
    }

    #[test]
    fn many_at_once_are_as_many_events() {
        let node = |n: usize| GoneNode {
            node: format!("web-{n}").parse().unwrap(),
            site: "lab".parse().unwrap(),
            presence: Presence::Lost,
            reason: None,
            went_ms: START + n as i64,
        };
        let gone: Vec<GoneNode> = (0..500).map(node).collect();
        let first = call(&HashMap::new(), &gone, START + 60 * SECOND);
        assert_eq!((first.events.len(), first.lost.len()), (500, 500));
        let second = call(&first.lost, &gone, START + 63 * SECOND);
        assert_eq!((second.events.len(), second.lost.len()), (0, 500));
        // A node that was taken out of service is not missed for ever.
        assert!(call(&HashMap::new(), &gone, START + MISSED_MS + SECOND).events.is_empty());
    }
}
