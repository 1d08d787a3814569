//! What is to be published: numbered, encoded and put into the outbox; answers to commands go beside it.

use tacit_wire::codec::{Message as Wire, encode};
use tacit_wire::message::{Head, Lane, ResultBody, ResultMessage, Summary};
use tacit_wire::topic::Up;
use tacit_wire::{EventId, Seq, StreamId, WireError};
use tracing::{info, warn};

use super::{ANSWERS_QUEUED, GAPS_PER_REPORT, LIVE_QUEUED, Net};
use crate::clock::Tick;
use crate::config::ProfileName;
use crate::outbox::Disk;
use crate::outgoing::Outgoing;

impl<D: Disk> Net<D> {
    pub(super) fn take_in(&mut self, message: Outgoing) {
        let now = Tick::now();
        let taken = match message {
            Outgoing::Event(mut m) => self.queue(Lane::Events, Up::Event, now, &mut *m, |m| &mut m.head),
            Outgoing::Summary(m) => self.queue_summary(now, *m),
            // Observed since the start, and not wanted since the last change of the profile.
            Outgoing::Links(_) if self.parts.config.profile == ProfileName::Events => Ok(()),
            Outgoing::Links(mut m) => self.queue(Lane::Rest, Up::Links, now, &mut *m, |m| &mut m.head),
            Outgoing::Report(mut m) => {
                m.gaps.extend(self.parts.outbox.take_gaps(GAPS_PER_REPORT));
                m.cost.outbox = self.parts.outbox.bytes();
                self.queue(Lane::Rest, Up::Report, now, &mut *m, |m| &mut m.head)
            }
        };
        if let Err(error) = taken {
            warn!(%error, "A message cannot be sent and is dropped.");
        }
        self.show_outbox();
    }

    /// Every minute of many series, in JSON and with their names, can be more than a payload holds: it goes in parts.
    pub(super) fn queue_summary(&mut self, now: Tick, mut summary: Summary) -> Result<(), WireError> {
        match self.queue(Lane::Rest, Up::Summary, now, &mut summary, |m| &mut m.head) {
            Err(too_large @ WireError::TooLarge { .. }) => {
                let halves = summary.halves().ok_or(too_large)?;
                halves.into_iter().try_for_each(|half| self.queue_summary(now, half))
            }
            other => other,
        }
    }

    pub(super) fn queue<M: Wire>(
        &mut self,
        lane: Lane,
        topic: Up,
        now: Tick,
        message: &mut M,
        head: impl Fn(&mut M) -> &mut Head,
    ) -> Result<(), WireError> {
        let encoding = self.parts.config.encoding;
        let write = |stream: StreamId, seq: Seq, oldest: Seq| {
            let head = head(message);
            (head.stream, head.seq, head.oldest) = (stream, seq, oldest);
            encode(message, encoding)
        };
        self.parts.outbox.append(lane, topic, now, write).map(|_| ())
    }

    pub(super) fn show_outbox(&mut self) {
        let outbox = &self.parts.outbox;
        self.parts.status.set_outbox(outbox.bytes(), outbox.dropped());
        if self.parts.status.set_outbox_trouble(outbox.trouble()) {
            match outbox.trouble() {
                Some(trouble) => warn!("{trouble}"),
                None => info!("The outbox can write to disk again."),
            }
        }
    }

    pub(super) fn take_live(&mut self, body: ResultBody) {
        if !self.up || self.answers.len() >= LIVE_QUEUED {
            return;
        }
        for body in crate::fleet::split(body) {
            if let Some(message) = self.parts.commands.live(body) {
                self.answer(vec![message]);
            }
        }
    }

    pub(super) fn answer(&mut self, parts: Vec<ResultMessage>) {
        for part in parts {
            match encode(&part, self.parts.config.encoding) {
                Ok(payload) if self.answers.len() < ANSWERS_QUEUED => self.answers.push_back((Up::Result, payload)),
                Ok(_) => {
                    warn!(command = %part.command, part = part.part, "A part of an answer is dropped: the connection is slow.");
                }
                Err(error) => warn!(command = %part.command, %error, "A part of an answer cannot be sent."),
            }
        }
    }

    pub(super) fn answer_later(&mut self, id: EventId, bodies: Vec<ResultBody>) {
        let parts = self.parts.commands.parts(id, bodies);
        self.answer(parts);
    }
}
