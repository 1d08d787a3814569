//! From bytes on a topic to a stored message: decode → validate → dedupe and commit → tell the others.
//!
//! The broker waits for [`Ingest::take`] before it acknowledges, so an acknowledged message is a stored one. What cannot be
//! decoded is counted by reason, kept in a small quarantine, and acknowledged: sending it again would not help.

mod commands;
mod counters;

use std::sync::Arc;
use std::time::Duration;

use tacit_wire::codec::{Message, decode};
use tacit_wire::message::{Birth, CommandKind, Death, Event, Links, Report, ResultBody, ResultMessage, Summary};
use tacit_wire::series::dictionary_hash;
use tacit_wire::topic::Up;
use tacit_wire::{EventId, NodeId, SiteId, Topic};
use tokio::sync::{Notify, broadcast};
use tracing::{debug, error, warn};

pub use commands::{Asked, Commands, Downlink};
pub use counters::{Counters, Refused};

use crate::clock::now_ms;
use crate::store::{Incident, Incoming, IncomingBody, NOWHERE, NodeRecord, Outcome, Quarantined, Store, StoreError};

/// What happened, for server-sent events. Slow listeners lose the oldest and are told so.
#[derive(Debug, Clone)]
pub enum Live {
    /// A phase of an event was stored.
    Event(NodeId, EventId),
    /// An incident was made or changed.
    Incident(Box<Incident>),
    /// A node came, went or reported.
    Node(NodeId),
    /// Minute values of a node were stored.
    Summary(NodeId),
}

/// Notices kept for a slow listener.
const LIVE_KEPT: usize = 1024;
/// How long after a connection broke its will is published, as agents ask for.
const WILL_DELAY_MS: i64 = 45_000;
/// First wait before a failed commit is tried again; it doubles up to [`RETRY_MAX`].
const RETRY_MIN: Duration = Duration::from_millis(100);
const RETRY_MAX: Duration = Duration::from_secs(10);

/// The way in.
#[derive(Debug)]
pub struct Ingest {
    store: Arc<dyn Store>,
    /// Counts by kind and reason.
    pub counters: Counters,
    /// What happened.
    pub live: broadcast::Sender<Live>,
    /// Woken when events wait for the incident logic.
    pub events_waiting: Notify,
    /// Requests to nodes and their answers.
    pub commands: Commands,
}

/// What became of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Taken {
    /// It is stored, now or before, or needs no storing.
    Done,
    /// It will never be stored; sending it again would not help.
    Refused(Refused),
}

impl Ingest {
    /// A way into `store`; `downlink` carries commands and acknowledgements to nodes.
    #[must_use]
    pub fn new(store: Arc<dyn Store>, downlink: Arc<dyn Downlink>) -> Self {
        let (live, _) = broadcast::channel(LIVE_KEPT);
        Self {
            store,
            counters: Counters::default(),
            live,
            events_waiting: Notify::new(),
            commands: Commands::new(downlink),
        }
    }

    /// Takes one message. Returns when it is stored; while the database fails it waits and tries again.
    pub async fn take(&self, topic: &str, payload: &[u8], client: &str) -> Taken {
        let (site, node, what) = match topic.parse::<Topic>() {
            Ok(Topic::Up(site, node, what)) => (site, node, what),
            Ok(_) => return Taken::Done,
            Err(e) => return self.refuse(Refused::Topic, &e.to_string(), topic, payload, client).await,
        };
        self.counters.received(payload.len());
        if node.as_str() == NOWHERE {
            let words = format!("no node may be called {NOWHERE:?}: it stands for none; give the node another name");
            return self.refuse(Refused::Reserved, &words, topic, payload, client).await;
        }
        let taken = match what {
            Up::Birth => {
                self.numbered::<Birth>(site, &node, payload, |m| (m.node.clone(), IncomingBody::Birth(Box::new(m))))
                    .await
            }
            Up::Summary => {
                self.numbered::<Summary>(site, &node, payload, |m| {
                    (m.head.node.clone(), IncomingBody::Summary(Box::new(m)))
                })
                .await
            }
            Up::Event => {
                self.numbered::<Event>(site, &node, payload, |m| {
                    (m.head.node.clone(), IncomingBody::Event(Box::new(m)))
                })
                .await
            }
            Up::Links => {
                self.numbered::<Links>(site, &node, payload, |m| {
                    (m.head.node.clone(), IncomingBody::Links(Box::new(m)))
                })
                .await
            }
            Up::Report => {
                self.numbered::<Report>(site, &node, payload, |m| {
                    (m.head.node.clone(), IncomingBody::Report(Box::new(m)))
                })
                .await
            }
            Up::Death => self.death(&node, payload).await,
            Up::Result => self.result(&node, payload).await,
        };
        match taken {
            Ok(()) => Taken::Done,
            Err((reason, words)) => self.refuse(reason, &words, topic, payload, client).await,
        }
    }

    async fn numbered<M: Message>(
        &self,
        site: SiteId,
        node: &NodeId,
        payload: &[u8],
        body: impl FnOnce(M) -> (NodeId, IncomingBody),
    ) -> Result<(), (Refused, String)> {
        let message: M = decode(payload).map_err(|e| (Refused::Undecodable, e.to_string()))?;
        let (said, body) = body(message);
        if said != *node {
            return Err((Refused::WrongNode, format!("the message says it is from {said}")));
        }
        let incoming = Incoming { site: site.clone(), received_ms: now_ms(), bytes: payload.len(), body };
        let outcome = self.commit(&incoming).await;
        if outcome == Outcome::Duplicate {
            self.counters.duplicate();
        } else {
            self.counters.stored();
            self.after(&site, node, incoming.body).await;
        }
        Ok(())
    }

    /// Commits, however long the database takes to let it: the sender is not acknowledged meanwhile.
    async fn commit(&self, incoming: &Incoming) -> Outcome {
        let mut wait = RETRY_MIN;
        loop {
            match self.store.commit(vec![incoming.clone()]).await {
                Ok(outcomes) => return outcomes.first().copied().unwrap_or(Outcome::Stored),
                Err(e) => {
                    if wait == RETRY_MIN {
                        error!(error = %e, "Cannot store; senders wait until it works.");
                    }
                    self.counters.store_failure();
                    tokio::time::sleep(wait).await;
                    wait = (wait * 2).min(RETRY_MAX);
                }
            }
        }
    }

    /// Tells the others what is new.
    async fn after(&self, site: &SiteId, node: &NodeId, body: IncomingBody) {
        let notice = match body {
            IncomingBody::Event(e) => {
                self.events_waiting.notify_one();
                Live::Event(node.clone(), e.event)
            }
            IncomingBody::Birth(b) => {
                self.complete_dictionary(site, node, &b).await;
                Live::Node(node.clone())
            }
            IncomingBody::Summary(_) => Live::Summary(node.clone()),
            IncomingBody::Links(_) | IncomingBody::Report(_) => Live::Node(node.clone()),
        };
        // Nobody listening is fine.
        let _ = self.live.send(notice);
    }

    /// Asks for the dictionary when what is stored is not what the birth names. The answer comes as a result.
    async fn complete_dictionary(&self, site: &SiteId, node: &NodeId, birth: &Birth) {
        match self.store.dictionary(node).await {
            Ok(known) if dictionary_hash(&known) == birth.dictionary => {}
            Ok(_) => self.commands.send_quietly(site, node, CommandKind::Dictionary),
            Err(e) => warn!(%node, error = %e, "Cannot look up the series dictionary."),
        }
    }

    async fn death(&self, node: &NodeId, payload: &[u8]) -> Result<(), (Refused, String)> {
        let death: Death = decode(payload).map_err(|e| (Refused::Undecodable, e.to_string()))?;
        if death.node != *node {
            return Err((Refused::WrongNode, format!("the message says it is from {}", death.node)));
        }
        // A will comes when the node did not come back.
        let since_ms = if death.reason.is_some() { now_ms() } else { now_ms().saturating_sub(WILL_DELAY_MS) };
        self.gone(node, Some(death.connection), death.reason.as_deref(), since_ms).await;
        Ok(())
    }

    /// Notes that a node went, and when; without a reason its connection broke.
    pub async fn gone(&self, node: &NodeId, connection: Option<u64>, reason: Option<&str>, since_ms: i64) {
        match self.store.mark_offline(node, connection, reason, since_ms).await {
            Ok(true) => {
                debug!(%node, reason, "Node went offline.");
                let _ = self.live.send(Live::Node(node.clone()));
            }
            Ok(false) => {}
            Err(e) => warn!(%node, error = %e, "Cannot note that a node went offline."),
        }
    }

    /// Asks a node to announce itself and the endpoints of its connections again.
    pub fn announce(&self, site: &SiteId, node: &NodeId) {
        self.commands.send_quietly(site, node, CommandKind::Announce);
    }

    async fn result(&self, node: &NodeId, payload: &[u8]) -> Result<(), (Refused, String)> {
        let message: ResultMessage = decode(payload).map_err(|e| (Refused::Undecodable, e.to_string()))?;
        if message.node != *node {
            return Err((Refused::WrongNode, format!("the message says it is from {}", message.node)));
        }
        if let Some(ResultBody::Dictionary { epoch, series }) = &message.body {
            let whole = message.part == 1;
            if let Err(e) = self.store.put_dictionary(node, *epoch, series, whole).await {
                warn!(%node, error = %e, "Cannot store a series dictionary.");
            }
        }
        self.commands.answer(&message);
        Ok(())
    }

    async fn refuse(&self, reason: Refused, words: &str, topic: &str, payload: &[u8], client: &str) -> Taken {
        if self.counters.refused(reason, now_ms()) {
            warn!(
                topic,
                client,
                reason = words,
                "Refused a message; further ones of this kind are only counted for a minute."
            );
        }
        let cut = |text: &str| text.chars().take(256).collect();
        let bad = Quarantined {
            received_ms: now_ms(),
            topic: cut(topic),
            client: cut(client),
            reason: format!("{}: {words}", reason.as_str()),
            bytes: payload.len(),
            head: payload[..payload.len().min(512)].to_vec(),
        };
        if let Err(e) = self.store.quarantine(bad).await {
            debug!(error = %e, "Cannot keep a refused message.");
        }
        Taken::Refused(reason)
    }

    /// The cumulative acknowledgement of a node's streams, for brokers whose PUBACK does not mean stored.
    ///
    /// # Errors
    /// When the database cannot be asked.
    pub async fn acknowledgement(&self, node: &NodeId) -> Result<tacit_wire::message::Ack, StoreError> {
        Ok(tacit_wire::message::Ack { streams: self.store.acks(node).await? })
    }

    /// A node, for those who have the ingest only.
    ///
    /// # Errors
    /// When the database cannot be asked.
    pub async fn node(&self, node: &NodeId) -> Result<Option<NodeRecord>, StoreError> {
        self.store.node(node).await
    }
}
