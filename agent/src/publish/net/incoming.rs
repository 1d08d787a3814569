//! What comes down: the state of the collector, its acknowledgements, commands.

use tacit_wire::codec::decode;
use tacit_wire::message::{Ack, Command, ResultBody, Status};
use tacit_wire::topic::{Down, Topic};
use tokio::time::Instant;
use tracing::{debug, warn};

use super::{Net, Phase};
use crate::clock::Tick;
use crate::fleet::Done;
use crate::outbox::Disk;

impl<D: Disk> Net<D> {
    pub(super) fn on_message(&mut self, topic: &str, payload: &[u8]) {
        let result = match topic.parse::<Topic>() {
            Ok(Topic::Status(_)) => decode::<Status>(payload).map(|s| self.on_status(s)),
            Ok(Topic::Down(_, node, Down::Ack)) if node == self.parts.node => {
                decode::<Ack>(payload).map(|a| self.on_ack(&a))
            }
            Ok(Topic::Down(_, node, Down::Command)) if node == self.parts.node => {
                decode::<Command>(payload).map(|c| self.on_command(c))
            }
            Ok(topic @ (Topic::Down(_, _, Down::Config) | Topic::GroupConfig(..))) => {
                if self.parts.desired.try_send((topic, payload.to_vec())).is_err() {
                    debug!("A desired configuration is left out: nobody takes it.");
                }
                Ok(())
            }
            _ => Ok(()),
        };
        if let Err(error) = result {
            warn!(topic, %error, "A message from the broker is ignored: it cannot be read.");
        }
    }

    pub(super) fn on_status(&mut self, status: Status) {
        let before = self.collector.replace(status);
        let after = self.collector.as_ref().expect("it was just set");
        self.send_from = Instant::now();
        if after.up && after.durable_puback {
            // The broker that answered before its status came is the same that says so now.
            self.outstanding.retain(|key, phase| {
                let stored = *phase == Phase::Taken;
                if stored {
                    self.parts.outbox.ack_one(*key);
                }
                !stored
            });
        } else if after.up && before.is_some_and(|b| b.since_ms != after.since_ms || !b.up) {
            // Another collector: what the broker took meanwhile may have reached nobody, and what found nobody finds it now.
            for (key, _) in self.refused.drain(..) {
                self.parts.outbox.resend_one(key);
            }
            self.send_taken_again();
        }
    }

    pub(super) fn on_ack(&mut self, ack: &Ack) {
        for row in &ack.streams {
            self.parts.outbox.ack_through(row.stream, row.seq);
            self.outstanding.retain(|k, _| k.stream != row.stream || k.seq > row.seq);
        }
        self.progress_at = Instant::now();
        self.show_outbox();
    }

    pub(super) fn on_command(&mut self, command: Command) {
        let id = command.id;
        match self.parts.commands.carry_out(command, Tick::now()) {
            None => debug!(command = %id, "A command came after its deadline."),
            Some(Done::Answer(parts)) => self.answer(parts),
            Some(Done::Announce(parts)) => {
                self.queue_birth();
                self.answer(parts);
            }
            Some(Done::Later(id, answer)) => {
                self.later.spawn(async move {
                    let refused = || vec![ResultBody::Refused { reason: "the history cannot be read just now".into() }];
                    (id, answer.await.unwrap_or_else(|_| refused()))
                });
            }
        }
    }
}
