//! `report`: what is in force, what the agent costs, what was lost.

use minicbor::{Decode, Encode};
use serde::{Deserialize, Serialize};

use super::{Absent, Head, Lane, ModelInForce};
use crate::codec::{Check, Invalid, Message};
use crate::id::{Digest, Seq, StreamId};
use crate::num::Num;
use crate::open_enum::open_enum;

open_enum! {
    /// What became of a desired configuration.
    ConfigState {
        /// In force.
        Applied = 0 "applied",
        /// Refused; the report says why.
        Refused = 1 "refused",
        /// None was ever received: the local file holds.
        Local = 2 "local",
    }
}

/// Messages that will never come: they were dropped from the outbox.
#[derive(Debug, Clone, PartialEq, Encode, Decode, Serialize, Deserialize)]
#[cbor(map)]
pub struct Gap {
    /// Lane.
    #[n(0)]
    pub lane: Lane,
    /// Stream.
    #[n(1)]
    pub stream: StreamId,
    /// First number missing.
    #[n(2)]
    pub first: Seq,
    /// Last number missing.
    #[n(3)]
    pub last: Seq,
    /// Why (`age`, `size`, `corrupt`).
    #[n(4)]
    pub reason: String,
}

/// Processor use of one thread.
#[derive(Debug, Clone, PartialEq, Encode, Decode, Serialize, Deserialize)]
#[cbor(map)]
pub struct ThreadCost {
    /// Thread name.
    #[n(0)]
    pub name: String,
    /// Share of one core over the report's time.
    #[n(1)]
    pub cpu: Num,
}

/// What one source costs and how it fares.
#[derive(Debug, Clone, PartialEq, Encode, Decode, Serialize, Deserialize)]
#[cbor(map)]
pub struct SourceCost {
    /// Source name.
    #[n(0)]
    pub name: String,
    /// Mean seconds a sample took.
    #[n(1)]
    pub seconds: Num,
    /// Failed samples in the report's time.
    #[n(2)]
    #[cbor(default)]
    #[serde(default)]
    pub errors: u32,
    /// Last error, in words.
    #[n(3)]
    pub last_error: Option<String>,
}

/// What the agent itself costs, over the report's time.
#[derive(Debug, Clone, PartialEq, Default, Encode, Decode, Serialize, Deserialize)]
#[cbor(map)]
pub struct Cost {
    /// Share of one core, all threads.
    #[n(0)]
    pub cpu: Num,
    /// Proportional set size in bytes.
    #[n(1)]
    pub pss: u64,
    /// Anonymous memory in bytes.
    #[n(2)]
    pub anonymous: u64,
    /// Payload bytes sent a second.
    #[n(3)]
    pub sent: Num,
    /// Bytes written to disk a second.
    #[n(4)]
    pub disk: Num,
    /// By thread.
    #[n(5)]
    #[cbor(skip_if = "Vec::is_empty")]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub threads: Vec<ThreadCost>,
    /// Mean seconds of one inference.
    #[n(6)]
    pub inference: Num,
    /// Bytes in the outbox.
    #[n(7)]
    pub outbox: u64,
}

/// Alarms promised and raised.
#[derive(Debug, Clone, PartialEq, Default, Encode, Decode, Serialize, Deserialize)]
#[cbor(map)]
pub struct Promise {
    /// Model events a day that were asked for; absent when the budget is off.
    #[n(0)]
    pub promised_per_day: Num,
    /// Model events raised in `days`.
    #[n(1)]
    pub events: u32,
    /// Rule events raised in `days` (exempt from the promise).
    #[n(2)]
    pub rules: u32,
    /// Days counted, at most 30.
    #[n(3)]
    pub days: Num,
}

/// State of a node, at start, on change, and every fifteen minutes.
#[derive(Debug, Clone, PartialEq, Encode, Decode, Serialize, Deserialize)]
#[cbor(map)]
pub struct Report {
    /// Header.
    #[n(0)]
    pub head: Head,
    /// Version of the desired configuration in force; 0 when local.
    #[n(1)]
    pub config_version: u64,
    /// SHA-256 of the configuration in force.
    #[n(2)]
    pub config: Digest,
    /// What became of the last desired configuration.
    #[n(3)]
    pub config_state: ConfigState,
    /// Models at work.
    #[n(4)]
    #[cbor(skip_if = "Vec::is_empty")]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub models: Vec<ModelInForce>,
    /// Own cost.
    #[n(5)]
    pub cost: Cost,
    /// Cost by source, the dearest first.
    #[n(6)]
    #[cbor(skip_if = "Vec::is_empty")]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sources: Vec<SourceCost>,
    /// Losses not yet reported.
    #[n(7)]
    #[cbor(skip_if = "Vec::is_empty")]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gaps: Vec<Gap>,
    /// Promise and fact.
    #[n(8)]
    pub promise: Promise,
    /// What is wrong with the agent itself, in plain words; empty when nothing is.
    #[n(9)]
    #[cbor(skip_if = "Vec::is_empty")]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub health: Vec<String>,
    /// What this node does not have, and why; sent when it changed.
    #[n(10)]
    #[cbor(skip_if = "Vec::is_empty")]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub absent: Vec<Absent>,
    /// Series sampled.
    #[n(11)]
    pub series: u32,
    /// Seconds since the agent started.
    #[n(12)]
    pub uptime_s: u64,
}

impl Message for Report {
    fn validate(&self) -> Result<(), Invalid> {
        Check::new()
            .list("models", &self.models, 64)
            .each(&self.models, |c, m| c.name("model.name", &m.name).name("model.version", &m.version))
            .list("cost.threads", &self.cost.threads, 64)
            .each(&self.cost.threads, |c, t| c.name("thread.name", &t.name))
            .list("sources", &self.sources, 256)
            .each(&self.sources, |c, s| {
                c.name("source.name", &s.name).text("source.last_error", s.last_error.as_deref().unwrap_or_default())
            })
            .list("gaps", &self.gaps, 256)
            .each(&self.gaps, |c, g| c.name("gap.reason", &g.reason))
            .list("health", &self.health, 64)
            .each(&self.health, |c, h| c.text("health", h))
            .list("absent", &self.absent, 256)
            .each(&self.absent, |c, a| c.name("absent.source", &a.source).text("absent.reason", &a.reason))
            .done()
    }
}
