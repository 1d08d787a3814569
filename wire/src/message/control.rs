//! What goes down to a node (`config`, `command`, `ack`, `status`) and its answers (`result`).

use minicbor::{Decode, Encode};
use serde::{Deserialize, Serialize};

use crate::codec::{Check, Invalid, Message, known_kind};
use crate::id::{Digest, EventId, NodeId, Seq, SeriesId, StreamId};
use crate::limits::{LIST, POINTS};
use crate::num::Num;
use crate::series::SeriesDef;

/// A model that a node should run.
#[derive(Debug, Clone, PartialEq, Encode, Decode, Serialize, Deserialize)]
#[cbor(map)]
pub struct DesiredModel {
    /// Package name.
    #[n(0)]
    pub name: String,
    /// SHA-256 of the signed manifest.
    #[n(1)]
    pub manifest: Digest,
    /// Where the collector serves it.
    #[n(2)]
    pub url: String,
    /// Bytes to fetch.
    #[n(3)]
    pub size: u64,
}

/// Signed desired state of a node or group.
#[derive(Debug, Clone, PartialEq, Encode, Decode, Serialize, Deserialize)]
#[cbor(map)]
pub struct Config {
    /// Rises with every change; an older one is never applied.
    #[n(0)]
    pub version: u64,
    /// When issued, Unix milliseconds.
    #[n(1)]
    pub issued_ms: i64,
    /// Settings that override the local file, in its own TOML.
    #[n(2)]
    pub settings: String,
    /// Models to run; absent leaves them as they are.
    #[n(3)]
    pub models: Option<Vec<DesiredModel>>,
    /// Minisign signature over the encoding of this message without it.
    #[n(4)]
    pub signature: Option<String>,
}

impl Message for Config {
    fn validate(&self) -> Result<(), Invalid> {
        let models = self.models.as_deref().unwrap_or_default();
        Check::new()
            .settings("settings", &self.settings)
            .list("models", models, 64)
            .each(models, |c, m| c.name("model.name", &m.name).text("model.url", &m.url))
            .text("signature", self.signature.as_deref().unwrap_or_default())
            .done()
    }
}

/// What a command asks for.
#[derive(Debug, Clone, PartialEq, Encode, Decode, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[cbor(map)]
pub enum CommandKind {
    /// Send a window of history, full rate where still held.
    #[n(0)]
    Pull {
        /// From, Unix milliseconds.
        #[n(0)]
        from_ms: i64,
        /// To, Unix milliseconds.
        #[n(1)]
        to_ms: i64,
        /// Which series; none means all.
        #[n(2)]
        #[serde(default)]
        series: Option<Vec<SeriesId>>,
    },
    /// Send every sample as it is taken, for as long as the lease lasts.
    #[n(1)]
    Watch {
        /// Length of the lease in seconds; a renewed command renews it.
        #[n(0)]
        seconds: u32,
    },
    /// Say what `tacit-agent doctor` says.
    #[n(2)]
    Diagnose,
    /// Publish the birth again.
    #[n(3)]
    Announce,
    /// Send the series dictionary.
    #[n(4)]
    Dictionary,
    /// Somebody works on this machine: learn nothing and let no model raise an alarm for a while.
    #[n(5)]
    Maintain {
        /// For how long; 0 ends what stands.
        #[n(0)]
        seconds: u32,
        /// Why, in words.
        #[n(1)]
        #[serde(default)]
        reason: String,
    },
}

/// One request to a node; it expires at its deadline.
#[derive(Debug, Clone, PartialEq, Encode, Decode, Serialize, Deserialize)]
#[cbor(map)]
pub struct Command {
    /// Random; results repeat it.
    #[n(0)]
    pub id: EventId,
    /// Unix milliseconds by the collector's clock. Nodes with a wrong clock judge by `issued_ms` and their own receipt.
    #[n(1)]
    pub deadline_ms: i64,
    /// When issued, Unix milliseconds by the collector's clock.
    #[n(2)]
    pub issued_ms: i64,
    /// What to do; absent when the reader does not know it.
    #[n(3)]
    #[serde(default, deserialize_with = "known_kind")]
    pub kind: Option<CommandKind>,
}

impl Message for Command {
    fn validate(&self) -> Result<(), Invalid> {
        match &self.kind {
            Some(CommandKind::Pull { series: Some(list), .. }) => Check::new().list("series", list, LIST).done(),
            Some(CommandKind::Maintain { reason, .. }) => Check::new().text("reason", reason).done(),
            _ => Ok(()),
        }
    }
}

/// What was stored of one stream.
#[derive(Debug, Clone, PartialEq, Encode, Decode, Serialize, Deserialize)]
#[cbor(array)]
pub struct StreamAck {
    /// The stream.
    #[n(0)]
    pub stream: StreamId,
    /// Highest number up to which everything is stored (or known never to come).
    #[n(1)]
    pub seq: Seq,
}

/// Cumulative acknowledgement.
#[derive(Debug, Clone, PartialEq, Encode, Decode, Serialize, Deserialize)]
#[cbor(map)]
pub struct Ack {
    /// One entry a stream.
    #[n(0)]
    pub streams: Vec<StreamAck>,
}

impl Message for Ack {
    fn validate(&self) -> Result<(), Invalid> {
        Check::new().list("streams", &self.streams, 256).done()
    }
}

/// The collector's own state, retained; its will says `up = false`.
#[derive(Debug, Clone, PartialEq, Encode, Decode, Serialize, Deserialize)]
#[cbor(map)]
pub struct Status {
    /// Whether a collector is there.
    #[n(0)]
    pub up: bool,
    /// Whether a PUBACK means "stored" (embedded broker) or not (external broker: wait for `ack`).
    #[n(1)]
    pub durable_puback: bool,
    /// When the collector started, Unix milliseconds.
    #[n(2)]
    pub since_ms: i64,
    /// Longest time in seconds that a node should wait before it connects again.
    #[n(3)]
    pub backoff_s: Option<u32>,
    /// Version of the collector.
    #[n(4)]
    pub version: String,
}

impl Message for Status {
    fn validate(&self) -> Result<(), Invalid> {
        Check::new().name("version", &self.version).done()
    }
}

/// Content of an answer.
#[derive(Debug, Clone, PartialEq, Encode, Decode, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[cbor(map)]
pub enum ResultBody {
    /// Part of the dictionary.
    #[n(0)]
    Dictionary {
        /// Epoch of the dictionary.
        #[n(0)]
        epoch: u32,
        /// Entries.
        #[n(1)]
        series: Vec<SeriesDef>,
    },
    /// Full-rate samples, oldest first: of a `watch`, or of a `pull`.
    #[n(1)]
    Frames {
        /// Epoch of the ids.
        #[n(0)]
        epoch: u32,
        /// Time of the first sample, Unix milliseconds.
        #[n(1)]
        start_ms: i64,
        /// Distance of samples in milliseconds.
        #[n(2)]
        step_ms: u32,
        /// The series of the columns.
        #[n(3)]
        ids: Vec<SeriesId>,
        /// Samples, each with one value a column.
        #[n(4)]
        frames: Vec<Vec<Num>>,
    },
    /// Words for people.
    #[n(2)]
    Text {
        /// The words.
        #[n(0)]
        text: String,
    },
    /// It was done, and there is nothing to show.
    #[n(3)]
    Done,
    /// It was not done.
    #[n(4)]
    Refused {
        /// Why.
        #[n(0)]
        reason: String,
    },
}

/// Answer to a command, in one or more parts.
#[derive(Debug, Clone, PartialEq, Encode, Decode, Serialize, Deserialize)]
#[cbor(map)]
pub struct ResultMessage {
    /// Who answers.
    #[n(0)]
    pub node: NodeId,
    /// Which command.
    #[n(1)]
    pub command: EventId,
    /// Number of this part, from 1.
    #[n(2)]
    pub part: u32,
    /// Whether this is the last part.
    #[n(3)]
    pub last: bool,
    /// Content; absent when the reader does not know it.
    #[n(4)]
    #[serde(default, deserialize_with = "known_kind")]
    pub body: Option<ResultBody>,
}

impl Message for ResultMessage {
    fn validate(&self) -> Result<(), Invalid> {
        match &self.body {
            Some(ResultBody::Dictionary { series, .. }) => {
                Check::new().list("series", series, LIST).each(series, Check::series).done()
            }
            Some(ResultBody::Frames { ids, frames, .. }) => Check::new()
                .list("ids", ids, LIST)
                .list("frames", frames, POINTS)
                .each(frames, |c, f| c.list("frame", f, LIST))
                .done(),
            Some(ResultBody::Text { text }) => Check::new().body("text", text.len()).done(),
            Some(ResultBody::Refused { reason }) => Check::new().text("reason", reason).done(),
            Some(ResultBody::Done) | None => Ok(()),
        }
    }
}
