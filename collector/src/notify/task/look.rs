//! Looking: what of all incidents is to be told to whom, and queueing it.

use std::collections::{BTreeMap, BTreeSet};

use tracing::debug;

use super::Notifier;
use crate::notify::config::CONSOLE;
use crate::notify::desk::WEEK_MS;
use crate::notify::message::{Message, Occasion};
use crate::notify::telling::{self, Told, passed};
use crate::store::{Delivery, Incident, IncidentId, IncidentQuery, IncidentState, Notification, StoreError, tag_words};

/// Open incidents that are looked at.
const OPEN_MAX: usize = 10_000;
/// Notifications that are looked through at start.
const REMEMBERED: usize = 10_000;
/// Notifications of one incident that are read: those of every receiver are among the newest.
const HISTORY: usize = 2000;
/// Nodes of an incident whose sites are asked for.
const SITES_OF: usize = 50;
/// Sites of nodes are asked for again after this long.
const SITES_MS: i64 = 10 * 60_000;

/// What is to be told, on its way into the store.
type Queue = Vec<(Notification, Message)>;

impl Notifier {
    /// Looks at all open incidents, and at those whose end is not told yet.
    pub(super) async fn look(&mut self, now_ms: i64) -> Result<(), StoreError> {
        if !self.remembered {
            self.remember(now_ms).await?;
            self.remembered = true;
        }
        if passed(self.sites_ms, SITES_MS, now_ms) {
            self.sites.clear();
            self.tags = self.store.node_tags().await?;
            self.sites_ms = now_ms;
        }
        let query = IncidentQuery { open: Some(true), limit: Some(OPEN_MAX), ..IncidentQuery::default() };
        let open: BTreeMap<_, _> = self.store.incidents(query).await?.into_iter().map(|i| (i.id, i)).collect();
        let gone: Vec<IncidentId> = self.told.keys().filter(|id| !open.contains_key(id)).copied().collect();
        let mut queue = Queue::new();
        for incident in open.values() {
            let held = incident.parent.is_some_and(|parent| open.contains_key(&parent));
            self.consider(incident, held, now_ms, &mut queue).await?;
        }
        for id in gone {
            match self.store.incident_head(id).await? {
                Some(incident) => self.consider(&incident, false, now_ms, &mut queue).await?,
                None => {
                    self.told.remove(&id);
                }
            }
        }
        self.queue(queue, now_ms).await?;
        self.desk.count_states(open.values());
        self.open = open;
        let (open, desk) = (&self.open, &self.desk);
        let waits = |name: &String, told: &Told| !told.closed() && (name == CONSOLE || desk.receiver(name).is_some());
        self.told.retain(|id, all| open.contains_key(id) || all.iter().any(|(name, told)| waits(name, told)));
        Ok(())
    }

    /// What was told before the start: which incidents' ends are still to be told, and how many pages the week had.
    async fn remember(&mut self, now_ms: i64) -> Result<(), StoreError> {
        let rows = self.store.notifications(None, REMEMBERED).await?;
        let mut seen = BTreeSet::new();
        let mut going_on = BTreeSet::new();
        for row in &rows {
            // Rows come newest first: the first of a receiver says how far it knows an incident.
            if seen.insert((row.incident, row.receiver.as_str())) && !row.state.starts_with(Occasion::Resolved.as_str())
            {
                going_on.insert(row.incident);
            }
        }
        for row in rows.iter().rev().filter(|r| is_page(r) && now_ms.saturating_sub(r.made_ms) < WEEK_MS) {
            self.desk.paged(row.made_ms);
        }
        for id in going_on {
            self.recall(id).await?;
        }
        Ok(())
    }

    /// Reads what was told of an incident.
    async fn recall(&mut self, id: IncidentId) -> Result<(), StoreError> {
        let rows = self.store.notifications(Some(id), HISTORY).await?;
        self.told.insert(id, Told::of(&rows));
        Ok(())
    }

    /// Finds what is to be told of an incident.
    async fn consider(
        &mut self,
        incident: &Incident,
        held: bool,
        now_ms: i64,
        queue: &mut Queue,
    ) -> Result<(), StoreError> {
        if !self.told.contains_key(&incident.id) {
            let young = !passed(incident.opened_ms, self.desk.timing().wait_ms, now_ms);
            if young || incident.state == IncidentState::Muted {
                return Ok(());
            }
            self.recall(incident.id).await?;
            // Who is told of it depends on them, and its nodes may be new.
            self.tags = self.store.node_tags().await?;
        }
        let sites = self.sites_of(incident).await?;
        let tags = self.tags_of(incident);
        let facts = Message::about(incident, sites, self.desk.base_url()).tagged(tags);
        let nothing = BTreeMap::new();
        let told = self.told.get(&incident.id).unwrap_or(&nothing);
        let mut names = self.desk.routed(&facts);
        // Who knows of it hears how it goes on, whatever routes say now.
        names.extend(told.keys().map(String::as_str).filter(|name| self.desk.receiver(name).is_some()));
        if !incident.injected {
            names.insert(CONSOLE);
        }
        for name in names {
            let before = told.get(name);
            let Some(telling) = telling::next(incident, &facts, before, held, self.desk.timing(), now_ms) else {
                continue;
            };
            if name == CONSOLE && matches!(telling.event, Occasion::Update | Occasion::Repeat) {
                continue;
            }
            let wanted = telling.event != Occasion::Resolved
                || self.desk.receiver(name).is_none_or(|receiver| receiver.send_resolved);
            let message = telling::message(facts.clone(), telling, before);
            queue.push((row(name, wanted, &message, now_ms)?, message));
        }
        Ok(())
    }

    async fn sites_of(&mut self, incident: &Incident) -> Result<Vec<String>, StoreError> {
        let mut sites = BTreeSet::new();
        for node in incident.nodes.iter().take(SITES_OF) {
            let site = match self.sites.get(node) {
                Some(known) => known.clone(),
                None => {
                    let found = self.store.node(node).await?.map(|record| record.site.to_string());
                    self.sites.insert(node.clone(), found.clone());
                    found
                }
            };
            sites.extend(site);
        }
        Ok(sites.into_iter().collect())
    }

    /// Tags of its nodes, each once.
    fn tags_of(&self, incident: &Incident) -> BTreeSet<String> {
        let tags = incident.nodes.iter().take(SITES_OF).filter_map(|node| self.tags.get(node));
        tags.flatten().map(|(key, value)| tag_words(key, value)).collect()
    }

    /// Puts on disk what is to be told, and remembers it as told: from here on it is only a matter of delivery.
    async fn queue(&mut self, queue: Queue, now_ms: i64) -> Result<(), StoreError> {
        if queue.is_empty() {
            return Ok(());
        }
        let rows = queue.iter().map(|(row, _)| row.clone()).collect();
        for row in self.store.queue_notifications(rows).await? {
            debug!(incident = row.incident, receiver = %row.receiver, state = %row.state, "Queued a notification.");
            if is_page(&row) {
                self.desk.paged(row.made_ms);
            }
        }
        for (row, message) in queue {
            let of_incident = self.told.entry(row.incident).or_default();
            match of_incident.get_mut(&row.receiver) {
                Some(told) => told.add(message, now_ms),
                None => {
                    of_incident.insert(row.receiver, Told::first(message, now_ms));
                }
            }
        }
        Ok(())
    }
}

/// Whether it is the collector's own note that somebody was disturbed.
fn is_page(row: &Notification) -> bool {
    let (opened, reopened) = (Occasion::Opened.as_str(), Occasion::Reopened.as_str());
    row.receiver == CONSOLE && (row.state == opened || row.state.starts_with(reopened))
}

/// A message as it is kept. What the collector notes for itself has arrived; what a receiver does not want never will.
fn row(receiver: &str, wanted: bool, message: &Message, now_ms: i64) -> Result<Notification, StoreError> {
    let (delivery, sent_ms, error) = match (receiver == CONSOLE, wanted) {
        (true, _) => (Delivery::Sent, Some(now_ms), None),
        (false, true) => (Delivery::Waiting, None, None),
        (false, false) => (Delivery::Failed, None, Some("not sent: send_resolved = false".to_owned())),
    };
    Ok(Notification {
        id: 0,
        incident: message.incident,
        receiver: receiver.to_owned(),
        state: message.state.clone(),
        body: serde_json::to_string(message).map_err(|e| StoreError::Database(e.to_string()))?,
        summary: message.summary.clone(),
        made_ms: now_ms,
        next_ms: now_ms,
        attempts: 0,
        delivery,
        sent_ms,
        error,
    })
}
