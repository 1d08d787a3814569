//! What goes out, and what the broker says to it.

use std::time::Duration;

use tacit_wire::topic::Up;
use tokio::time::Instant;
use tracing::warn;

use super::{MOST_OUTSTANDING, Net, Phase};
use crate::outbox::{Disk, Key, Message};
use crate::publish::mqtt::{Outcome, outcome};

/// Wait before something is handed over again that nobody refused for good.
const SOON: Duration = Duration::from_secs(1);

impl<D: Disk> Net<D> {
    pub(super) fn send(&mut self) {
        if !self.up {
            return;
        }
        while self.in_flight < usize::from(self.parts.tuning.window) {
            let Some((up, payload)) = self.answers.pop_front() else { break };
            self.hand_over(None, up, payload);
        }
        if Instant::now() < self.send_from && self.collector.is_none() {
            return;
        }
        while self.in_flight < usize::from(self.parts.tuning.window) && self.outstanding.len() < MOST_OUTSTANDING {
            let Some(Message { key, topic, payload }) = self.parts.outbox.take_next() else { break };
            if self.outstanding.is_empty() {
                self.progress_at = Instant::now();
            }
            self.outstanding.insert(key, Phase::InFlight);
            self.hand_over(Some(key), topic, payload);
        }
    }

    pub(super) fn hand_over(&mut self, key: Option<Key>, up: Up, payload: Vec<u8>) {
        let topic = self.topic(up);
        let Some(link) = &self.link else { return };
        let (bytes, connection) = (payload.len(), self.connection);
        if let Some(notice) = link.publish(topic, payload) {
            self.parts.status.add_sent(bytes);
            self.in_flight += 1;
            self.notices.spawn(async move { (connection, key, outcome(notice).await) });
        } else if let Some(key) = key {
            self.outstanding.remove(&key);
            self.refused.push((key, Instant::now() + SOON));
        }
    }

    pub(super) fn on_outcome(&mut self, (connection, key, outcome): (u64, Option<Key>, Outcome)) {
        if connection != self.connection {
            return;
        }
        self.in_flight = self.in_flight.saturating_sub(1);
        let durable = self.collector.as_ref().is_some_and(|c| c.up && c.durable_puback);
        let Some(key) = key else { return };
        match outcome {
            Outcome::Taken if durable => {
                self.outstanding.remove(&key);
                self.parts.outbox.ack_one(key);
                self.progress_at = Instant::now();
                self.show_outbox();
            }
            // Unless the collector's own acknowledgement was faster.
            Outcome::Taken => {
                if let Some(phase) = self.outstanding.get_mut(&key) {
                    *phase = Phase::Taken;
                }
            }
            // The connection is about to end: everything is sent again on the next one.
            Outcome::Lost => {}
            Outcome::Nobody | Outcome::Refused(_) => {
                if let Outcome::Refused(reason) = &outcome {
                    warn!(stream = %key.stream, seq = key.seq.0, reason, "The broker refused a message; it is sent again later.");
                }
                self.outstanding.remove(&key);
                // What was on its way when a collector came back hears "nobody there" after that collector's status: soon again.
                let just_back = self.collector.as_ref().is_some_and(|c| c.up)
                    && self.send_from.elapsed() < self.parts.tuning.refused_wait;
                let soon = outcome == Outcome::Nobody && just_back;
                let wait = if soon { SOON } else { self.parts.tuning.refused_wait };
                self.refused.push((key, Instant::now() + wait));
            }
        }
    }

    pub(super) fn send_taken_again(&mut self) {
        let outbox = &mut self.parts.outbox;
        self.outstanding.retain(|key, phase| {
            if *phase == Phase::Taken {
                outbox.resend_one(*key);
            }
            *phase != Phase::Taken
        });
        self.progress_at = Instant::now();
    }
}
