//! From what an agent has to say to what a broker would hand over: numbered, encoded, and with its topic.

use anyhow::{Result, bail};
use tacit_agent::outgoing::Outgoing;
use tacit_collector::ingest::{Ingest, Taken};
use tacit_wire::codec::{Encoding, Message, encode};
use tacit_wire::message::{Head, Summary};
use tacit_wire::topic::Up;
use tacit_wire::{NodeId, Seq, SiteId, StreamId, Topic, WireError};

/// A message on its way to the collector.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Letter {
    /// Its topic.
    pub topic: String,
    /// Its bytes.
    pub payload: Vec<u8>,
    /// The client that hands it over: the node.
    pub client: String,
}

/// The numbering of one node. Nothing waits here, so nothing is lost, and the oldest number held is always the first.
#[derive(Debug)]
pub struct Post {
    site: SiteId,
    node: NodeId,
    /// The streams of events and of the rest, with the number given out last.
    streams: [(StreamId, Seq); 2],
}

impl Post {
    /// Of a node that was started now.
    #[must_use]
    pub fn new(site: SiteId, node: NodeId) -> Self {
        let stream = || (StreamId(fastrand::u64(..).to_be_bytes()), Seq(0));
        Self { site, node, streams: [stream(), stream()] }
    }

    /// A message without a number: birth, result.
    ///
    /// # Errors
    /// When it is beyond a bound of the protocol.
    pub fn letter(&self, what: Up, message: &impl Message) -> Result<Letter, WireError> {
        let topic = Topic::Up(self.site.clone(), self.node.clone(), what).to_string();
        Ok(Letter { topic, payload: encode(message, Encoding::Cbor)?, client: self.node.to_string() })
    }

    /// Numbers and encodes what an agent has to say. Every event says that it was injected.
    ///
    /// # Errors
    /// As [`Post::letter`].
    pub fn letters(&mut self, message: Outgoing, out: &mut Vec<Letter>) -> Result<(), WireError> {
        match message {
            Outgoing::Event(mut event) => {
                event.injected = true;
                self.number(0, &mut event.head);
                out.push(self.letter(Up::Event, &*event)?);
            }
            Outgoing::Summary(summary) => self.summary(*summary, out)?,
            Outgoing::Links(mut links) => {
                self.number(1, &mut links.head);
                out.push(self.letter(Up::Links, &*links)?);
            }
            Outgoing::Report(mut report) => {
                self.number(1, &mut report.head);
                out.push(self.letter(Up::Report, &*report)?);
            }
        }
        Ok(())
    }

    /// One that is too large goes in halves.
    fn summary(&mut self, mut summary: Summary, out: &mut Vec<Letter>) -> Result<(), WireError> {
        let before = self.streams[1].1;
        self.number(1, &mut summary.head);
        match self.letter(Up::Summary, &summary) {
            Err(too_large @ WireError::TooLarge { .. }) => {
                self.streams[1].1 = before;
                let halves = summary.halves().ok_or(too_large)?;
                halves.into_iter().try_for_each(|half| self.summary(half, out))
            }
            letter => letter.map(|letter| out.push(letter)),
        }
    }

    fn number(&mut self, lane: usize, head: &mut Head) {
        let (stream, seq) = &mut self.streams[lane];
        *seq = seq.next();
        (head.stream, head.seq, head.oldest) = (*stream, *seq, Seq(1));
    }
}

/// Hands letters over, one after the other; each is stored when this goes on.
///
/// # Errors
/// When the collector refuses one, which would be a fault of the demonstration.
pub async fn deliver(ingest: &Ingest, letters: &[Letter]) -> Result<()> {
    for letter in letters {
        match ingest.take(&letter.topic, &letter.payload, &letter.client).await {
            Taken::Done => {}
            Taken::Refused(why) => bail!("the collector refuses {}: {}", letter.topic, why.as_str()),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use tacit_agent::clock::Tick;
    use tacit_agent::detect::event::{Sender, new_id};
    use tacit_wire::BootId;
    use tacit_wire::codec::decode;
    use tacit_wire::message::{Event, EventKind, Phase};

    #[test]
    fn events_are_numbered_in_a_stream_of_their_own_and_marked() {
        let node: NodeId = "db-1".parse().unwrap();
        let mut post = Post::new("demo".parse().unwrap(), node.clone());
        let sender = Sender { node, boot: BootId([1; 16]) };
        let mut letters = Vec::new();
        for _ in 0..2 {
            let at = Tick::default();
            let event = sender.event(new_id(), EventKind::Anomaly, Phase::Open, at, at);
            post.letters(Outgoing::Event(Box::new(event)), &mut letters).unwrap();
        }
        assert_eq!((letters[1].topic.as_str(), letters[1].client.as_str()), ("tacit/1/demo/u/db-1/event", "db-1"));
        let [first, second] = [0, 1].map(|i: usize| decode::<Event>(&letters[i].payload).unwrap());
        assert!(first.injected && first.head.stream == second.head.stream);
        assert_eq!((first.head.seq, second.head.seq, second.head.oldest), (Seq(1), Seq(2), Seq(1)));
    }
}
