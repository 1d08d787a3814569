//! `event`: an anomaly, a broken rule, or something else that happened on a node.

use minicbor::{Decode, Encode};
use serde::{Deserialize, Serialize};

use super::{Head, Stage};
use crate::codec::{Check, Invalid, Message};
use crate::id::{Digest, EventId};
use crate::limits::POINTS;
use crate::num::Num;
use crate::open_enum::open_enum;
use crate::series::{Attribute, label};

open_enum! {
    /// What made the event.
    EventKind {
        /// The node's model.
        Anomaly = 0 "anomaly",
        /// A rule that needs no learning (`rule` says which).
        Rule = 1 "rule",
        /// Something that happened and may explain others: a boot, a restart, a package change.
        Context = 2 "context",
    }
}

open_enum! {
    /// Where in its life the event is.
    Phase {
        /// It began.
        Open = 0 "open",
        /// It goes on; evidence was renewed.
        Update = 1 "update",
        /// It ended.
        Close = 2 "close",
    }
}

open_enum! {
    /// On which side of the expected band a series is.
    Direction {
        /// Above.
        High = 0 "high",
        /// Below.
        Low = 1 "low",
        /// Neither above nor below, but moving in an unusual way.
        Shape = 2 "shape",
        /// It does not move although it always did.
        Flat = 3 "flat",
        /// It is gone.
        Missing = 4 "missing",
    }
}

open_enum! {
    /// What kind of trouble an event likely is.
    FaultKind {
        /// Processors are busy, or held back.
        Cpu = 0 "cpu",
        /// Memory is short, leaks or is swapped.
        Memory = 1 "memory",
        /// Disks are busy or slow.
        DiskIo = 2 "disk-io",
        /// A file system fills.
        DiskFull = 3 "disk-full",
        /// Packets, connections, sockets.
        Network = 4 "network",
        /// Processes or threads multiply.
        Processes = 5 "processes",
        /// Files are opened and not closed.
        Files = 6 "files",
        /// A service stopped, fails or restarts.
        Service = 7 "service",
        /// A sensor: too high, too low, stuck.
        Sensor = 8 "sensor",
        /// The clock.
        Clock = 9 "clock",
    }
}

open_enum! {
    /// What else happened.
    ContextKind {
        /// The node booted.
        Boot = 0 "boot",
        /// The kernel killed a process for memory.
        OomKill = 1 "oom-kill",
        /// A unit failed.
        UnitFailed = 2 "unit-failed",
        /// A unit was started, stopped or restarted.
        UnitRestarted = 3 "unit-restarted",
        /// A package or file changed.
        Change = 4 "change",
        /// The wall clock jumped.
        ClockJump = 5 "clock-jump",
        /// The agent started.
        AgentStart = 6 "agent-start",
        /// The share of error lines in a log rose.
        LogErrors = 7 "log-errors",
        /// The kernel reported trouble with a device or link.
        Kernel = 8 "kernel",
        /// Somebody began or ended work on the machine.
        Maintenance = 9 "maintenance",
    }
}

/// One series' part in an event.
#[derive(Debug, Clone, PartialEq, Encode, Decode, Serialize, Deserialize)]
#[cbor(map)]
pub struct Evidence {
    /// Name of the series.
    #[n(0)]
    pub name: String,
    /// Its attributes.
    #[n(1)]
    #[cbor(skip_if = "Vec::is_empty")]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub attributes: Vec<Attribute>,
    /// Its unit.
    #[n(2)]
    pub unit: String,
    /// Its share of the score, 0 to 1; shares of all series sum to at most 1.
    #[n(3)]
    pub share: Num,
    /// What was seen: the most unusual value so far.
    #[n(4)]
    pub observed: Num,
    /// Lower end of what is usual here.
    #[n(5)]
    pub low: Num,
    /// Upper end of what is usual here.
    #[n(6)]
    pub high: Num,
    /// On which side.
    #[n(7)]
    pub direction: Direction,
}

impl Evidence {
    /// The series as one line.
    #[must_use]
    pub fn label(&self) -> String {
        label(&self.name, &self.attributes)
    }
}

/// A process that was on top when the event opened or was renewed.
#[derive(Debug, Clone, PartialEq, Encode, Decode, Serialize, Deserialize)]
#[cbor(map)]
pub struct ProcessNote {
    /// Process id.
    #[n(0)]
    pub pid: u32,
    /// Command name.
    #[n(1)]
    pub name: String,
    /// Command line, cut; absent when it may not be read or is turned off.
    #[n(2)]
    pub command: Option<String>,
    /// Unit or container, when known.
    #[n(3)]
    pub unit: Option<String>,
    /// Processor use in cores (1 = one core full).
    #[n(4)]
    pub cpu: Num,
    /// Resident memory in bytes.
    #[n(5)]
    pub memory: Num,
    /// Growth of resident memory in bytes since the scan before.
    #[n(6)]
    pub memory_growth: Num,
    /// Bytes read and written a second; absent without permission.
    #[n(7)]
    pub io: Num,
}

/// Something that happened near the event, or the event itself when its kind is `context`.
#[derive(Debug, Clone, PartialEq, Encode, Decode, Serialize, Deserialize)]
#[cbor(map)]
pub struct Context {
    /// What.
    #[n(0)]
    pub kind: ContextKind,
    /// When, Unix milliseconds.
    #[n(1)]
    pub at_ms: i64,
    /// In words.
    #[n(2)]
    pub text: String,
    /// Unit concerned.
    #[n(3)]
    pub unit: Option<String>,
}

/// One series of a flight-recorder slice.
#[derive(Debug, Clone, PartialEq, Encode, Decode, Serialize, Deserialize)]
#[cbor(map)]
pub struct RecordingRow {
    /// Name of the series.
    #[n(0)]
    pub name: String,
    /// Its attributes.
    #[n(1)]
    #[cbor(skip_if = "Vec::is_empty")]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub attributes: Vec<Attribute>,
    /// Its unit.
    #[n(2)]
    pub unit: String,
    /// Values, one a step, oldest first.
    #[n(3)]
    pub values: Vec<Num>,
}

/// A flight-recorder slice: full-rate history around an event, of the series that matter.
#[derive(Debug, Clone, PartialEq, Encode, Decode, Serialize, Deserialize)]
#[cbor(map)]
pub struct Recording {
    /// Time of the first value, Unix milliseconds.
    #[n(0)]
    pub start_ms: i64,
    /// Distance of values in milliseconds.
    #[n(1)]
    pub step_ms: u32,
    /// The series.
    #[n(2)]
    pub rows: Vec<RecordingRow>,
}

/// An anomaly, rule or context event in one of its phases. Later phases repeat what earlier ones said, renewed.
#[derive(Debug, Clone, PartialEq, Encode, Decode, Serialize, Deserialize)]
#[cbor(map)]
pub struct Event {
    /// Header.
    #[n(0)]
    pub head: Head,
    /// Which event; phases of one event share it.
    #[n(1)]
    pub event: EventId,
    /// What made it.
    #[n(2)]
    pub kind: EventKind,
    /// Phase.
    #[n(3)]
    pub phase: Phase,
    /// When it began, Unix milliseconds by the node's clock.
    #[n(4)]
    pub onset_ms: i64,
    /// When it began, milliseconds since boot: order holds even when the clock jumps.
    #[n(5)]
    pub onset_mono_ms: u64,
    /// When it ended (`close` only), Unix milliseconds.
    #[n(6)]
    pub end_ms: Option<i64>,
    /// How bad, 0 to 1.
    #[n(7)]
    pub severity: Num,
    /// Alarm value: log ratio of the score to the node's threshold, the largest so far.
    #[n(8)]
    pub score: Num,
    /// Which rule (`disk-full`, `oom-kill`, `read-only`, `clock-jump`, …).
    #[n(9)]
    pub rule: Option<String>,
    /// One plain sentence.
    #[n(10)]
    pub text: String,
    /// The series that matter, most important first.
    #[n(11)]
    #[cbor(skip_if = "Vec::is_empty")]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub evidence: Vec<Evidence>,
    /// Processes on top.
    #[n(12)]
    #[cbor(skip_if = "Vec::is_empty")]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub processes: Vec<ProcessNote>,
    /// What else happened near it.
    #[n(13)]
    #[cbor(skip_if = "Vec::is_empty")]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub context: Vec<Context>,
    /// Flight recorder.
    #[n(14)]
    pub recording: Option<Recording>,
    /// The model that judged (anomalies).
    #[n(15)]
    pub model: Option<Digest>,
    /// Its stage of learning.
    #[n(16)]
    pub stage: Option<Stage>,
    /// It lasted longer than learning may pause: the level is being learned as normal.
    #[n(17)]
    #[cbor(default)]
    #[serde(default)]
    pub persisting: bool,
    /// A fault that `tacit up --try` or the bench injected itself.
    #[n(18)]
    #[cbor(default)]
    #[serde(default)]
    pub injected: bool,
    /// What kind of trouble it likely is.
    #[n(19)]
    #[serde(default)]
    pub fault: Option<FaultKind>,
    /// How sure that is, 0 (not known) to 1.
    #[n(20)]
    #[cbor(default)]
    #[serde(default)]
    pub confidence: Num,
    /// Chance of such a score in one sample while all is well, as the model's own tail has it; the smallest so far, 0 where
    /// that is not known.
    #[n(21)]
    #[cbor(default)]
    #[serde(default)]
    pub p_value: Num,
}

impl Message for Event {
    fn validate(&self) -> Result<(), Invalid> {
        let rows = self.recording.as_ref().map_or(&[][..], |r| &r.rows);
        let attributes = |c: Check, list: &[Attribute]| {
            c.list("attributes", list, crate::limits::ATTRIBUTES)
                .each(list, |c, a| c.name("attribute.key", &a.key).name("attribute.value", &a.value))
        };
        Check::new()
            .name("rule", self.rule.as_deref().unwrap_or_default())
            .text("text", &self.text)
            .list("evidence", &self.evidence, 64)
            .each(&self.evidence, |c, e| {
                attributes(c.name("evidence.name", &e.name).name("evidence.unit", &e.unit), &e.attributes)
            })
            .list("processes", &self.processes, 64)
            .each(&self.processes, |c, p| {
                c.name("process.name", &p.name)
                    .text("process.command", p.command.as_deref().unwrap_or_default())
                    .name("process.unit", p.unit.as_deref().unwrap_or_default())
            })
            .list("context", &self.context, 64)
            .each(&self.context, |c, x| {
                c.text("context.text", &x.text).name("context.unit", x.unit.as_deref().unwrap_or_default())
            })
            .list("recording.rows", rows, 64)
            .each(rows, |c, r| {
                attributes(c.name("recording.name", &r.name).name("recording.unit", &r.unit), &r.attributes).list(
                    "recording.values",
                    &r.values,
                    POINTS,
                )
            })
            .done()
    }
}
