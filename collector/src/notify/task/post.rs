//! Posting: sends what waits, and writes what became of it.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::task::JoinError;
use tracing::{debug, error, info, warn};

use super::{Done, Notifier};
use crate::clock::now_ms;
use crate::notify::config::Kind;
use crate::notify::delivery::{Outcome, after, failed, overtaken_by};
use crate::notify::desk::answered;
use crate::notify::message::Message;
use crate::notify::receiver::{Named, Receiver};
use crate::store::{Notification, StoreError, TrailEntry};

/// Notifications that are looked at in one round. More wait only where very many incidents are told to a receiver that hangs.
const DUE_MAX: usize = 2000;
/// Notifications of an incident among which a newer one is looked for.
const NEWER: usize = 500;

impl Notifier {
    /// Sends what is due, as far as receivers are free.
    pub(super) async fn post(&mut self, now_ms: i64) -> Result<(), StoreError> {
        let mut batches: BTreeMap<String, Vec<(Notification, Message)>> = BTreeMap::new();
        for row in self.store.due_notifications(now_ms, DUE_MAX).await? {
            if self.under_way.contains(&(row.receiver.clone(), row.incident)) {
                continue;
            }
            let Some(receiver) = self.desk.receiver(&row.receiver).cloned() else {
                self.settle(failed(row, "no receiver of this name is configured any more"), Outcome::Failed).await;
                continue;
            };
            if !receiver.free() {
                continue;
            }
            let of_incident = self.store.notifications(Some(row.incident), NEWER).await?;
            if let Some(newer) = overtaken_by(&row, &of_incident) {
                let why = format!("overtaken by {}", newer.state);
                self.settle(failed(row, why), Outcome::Overtaken).await;
                continue;
            }
            let Ok(message) = serde_json::from_str(&row.body) else {
                self.settle(failed(row, "what was to be sent cannot be read"), Outcome::Failed).await;
                continue;
            };
            let batch = batches.entry(row.receiver.clone()).or_default();
            batch.push((row, message));
            if batch.len() >= receiver.batch()
                && let Some(batch) = batches.remove(&receiver.name)
            {
                self.send(receiver, batch);
            }
        }
        for (name, batch) in batches {
            if let Some(receiver) = self.desk.receiver(&name).cloned() {
                self.send(receiver, batch);
            }
        }
        Ok(())
    }

    fn send(&mut self, receiver: Arc<Receiver>, batch: Vec<(Notification, Message)>) {
        let named = |(row, message): (Notification, Message)| {
            let name = format!("tacit-{}-{}-{}", row.incident, row.state, row.made_ms);
            (row, (name, message))
        };
        let (rows, messages): (Vec<Notification>, Vec<Named>) = batch.into_iter().map(named).unzip();
        self.under_way.extend(rows.iter().map(|row| (row.receiver.clone(), row.incident)));
        let answer = receiver.start(move |r| r.send(&messages, now_ms()));
        self.sending.spawn(async move { Done { result: answered(answer).await, receiver, rows } });
    }

    /// Writes what became of a request.
    pub(super) async fn done(&mut self, done: Result<Done, JoinError>) {
        // The task of a request only waits; it does not fail.
        let Ok(Done { receiver, rows, result }) = done else { return };
        let now_ms = now_ms();
        if receiver.note(&result, now_ms) {
            match &result {
                Ok(said) => info!(receiver = %receiver.name, %said, "A receiver takes messages."),
                Err(e) => warn!(receiver = %receiver.name, error = %e, "A receiver takes nothing."),
            }
        }
        if receiver.kind == Kind::Watchdog {
            self.desk.count(receiver.kind, if result.is_ok() { Outcome::Sent } else { Outcome::Retried });
        }
        for row in rows {
            let (row, outcome) = after(row, &result, now_ms, fastrand::f64());
            self.settle(row, outcome).await;
        }
    }

    /// Writes an outcome. What the store does not take now is kept, and not sent again meanwhile.
    async fn settle(&mut self, row: Notification, outcome: Outcome) {
        let key = (row.receiver.clone(), row.incident);
        match self.store.settle_notification(row.clone()).await {
            Ok(()) => {}
            // It was forgotten with its incident.
            Err(StoreError::NotFound(_)) => debug!(id = row.id, "A notification was forgotten while it was sent."),
            Err(e) => {
                debug!(id = row.id, error = %e, "Cannot write what became of a notification; trying again.");
                self.under_way.insert(key);
                self.unsettled.push((row, outcome));
                return;
            }
        }
        self.under_way.remove(&key);
        if let Some(receiver) = self.desk.receiver(&row.receiver) {
            self.desk.count(receiver.kind, outcome);
        }
        self.trail(&row, outcome).await;
    }

    /// Writes outcomes that the store did not take before.
    pub(super) async fn settle_rest(&mut self) -> Result<(), StoreError> {
        for (row, outcome) in std::mem::take(&mut self.unsettled) {
            self.settle(row, outcome).await;
        }
        if self.unsettled.is_empty() {
            Ok(())
        } else {
            Err(StoreError::Database("what became of notifications cannot be written".into()))
        }
    }

    /// Notes beside the incidents what was told, and what will never arrive.
    async fn trail(&self, row: &Notification, outcome: Outcome) {
        let reason = row.error.as_deref().unwrap_or_default();
        let (action, note) = match outcome {
            Outcome::Sent => ("notified", format!("{} to {}", row.state, row.receiver)),
            Outcome::Failed => ("notify-failed", format!("{} to {}: {reason}", row.state, row.receiver)),
            Outcome::Retried | Outcome::Overtaken => return,
        };
        if outcome == Outcome::Failed {
            error!(
                incident = row.incident,
                receiver = %row.receiver,
                state = %row.state,
                reason,
                "A notification will not arrive."
            );
        }
        let entry = TrailEntry {
            at_ms: now_ms(),
            actor: crate::incident::life::TACIT.into(),
            action: action.into(),
            subject: format!("incident {}", row.incident),
            note: Some(note),
        };
        if let Err(e) = self.store.append_trail(vec![entry]).await {
            debug!(error = %e, "Cannot write to the trail.");
        }
    }
}
