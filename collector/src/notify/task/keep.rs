//! Keeping alive what others forget: alerts at Alertmanager, and the word that the collector lives.

use std::sync::Arc;

use serde_json::Value;

use super::{Done, Notifier};
use crate::notify::alertmanager::{alerts, watchdog};
use crate::notify::config::Kind;
use crate::notify::desk::answered;
use crate::notify::message::{Message, Occasion};
use crate::notify::telling::passed;
use crate::store::IncidentState;

/// Distance of repetitions.
const KEEP_EVERY_MS: i64 = 60_000;
/// Alerts that are kept up, the newest.
const ALERTS_MAX: usize = 2000;

impl Notifier {
    /// Says once more what is open, and that the collector lives, where a minute has passed since. What is open is kept up
    /// while the store fails, too; that the collector lives is not said then, as it cannot do its work.
    pub(super) fn keep(&mut self, healthy: bool, now: i64) {
        if !self.remembered {
            return;
        }
        let desk = Arc::clone(&self.desk);
        for receiver in desk.receivers() {
            let due = self.kept_ms.get(&receiver.name).is_none_or(|at| passed(*at, KEEP_EVERY_MS, now));
            if !due || !receiver.free() {
                continue;
            }
            let alerts = match receiver.kind {
                Kind::Alertmanager => self.alerts_at(&receiver.name, receiver.has_watchdog() && healthy, now),
                Kind::Watchdog if healthy => Vec::new(),
                _ => continue,
            };
            if receiver.kind == Kind::Alertmanager && alerts.is_empty() {
                continue;
            }
            self.kept_ms.insert(receiver.name.clone(), now);
            let answer = receiver.start(move |r| r.keep(&alerts));
            let receiver = Arc::clone(receiver);
            self.sending.spawn(async move { Done { result: answered(answer).await, receiver, rows: Vec::new() } });
        }
    }

    /// Alerts that a receiver knows, as they are now.
    fn alerts_at(&self, name: &str, with_watchdog: bool, now: i64) -> Vec<Value> {
        let mut all: Vec<Value> = Vec::new();
        if with_watchdog {
            all.push(watchdog(self.desk.base_url(), self.desk.started_ms(), now));
        }
        let known = self.told.iter().rev().filter_map(|(id, receivers)| {
            let told = receivers.get(name).filter(|told| !told.closed())?;
            let incident = self.open.get(id).filter(|i| i.state != IncidentState::Muted && i.merged_into.is_none())?;
            let facts = Message::about(incident, told.last.sites.clone(), self.desk.base_url());
            let facts = facts.tagged(told.last.tags.iter().cloned());
            let mut message = facts.told(Occasion::Opened, &told.last.state, Vec::new());
            message.labels.clone_from(&told.last.labels);
            Some(message)
        });
        all.extend(known.take(ALERTS_MAX).flat_map(|message| alerts(&message, now)));
        all
    }
}
