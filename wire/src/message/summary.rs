//! `summary`: what a quiet node says, batched over several steps.

use minicbor::{Decode, Encode};
use serde::{Deserialize, Serialize};

use super::Head;
use crate::codec::{Check, Invalid, Message};
use crate::id::SeriesId;
use crate::limits::{LIST, POINTS};
use crate::num::Num;
use crate::open_enum::open_enum;
use crate::series::SeriesDef;

open_enum! {
    /// How much a node sends (the byte ledger is in `PROTOCOL.md`).
    Profile {
        /// Events, health and births only.
        Events = 0 "events",
        /// Also minute means of the series that moved, every five minutes.
        Lean = 1 "lean",
        /// Also every minute of every series with minimum and maximum.
        Full = 2 "full",
    }
}

/// One series over the steps of a summary.
#[derive(Debug, Clone, PartialEq, Encode, Decode, Serialize, Deserialize)]
#[cbor(array)]
pub struct Row {
    /// The series.
    #[n(0)]
    pub id: SeriesId,
    /// Means, one a step, oldest first. Absent: it did not move beyond its deadband in that step.
    #[n(1)]
    pub mean: Vec<Num>,
    /// Minima (`full` only).
    #[n(2)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min: Option<Vec<Num>>,
    /// Maxima (`full` only).
    #[n(3)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max: Option<Vec<Num>>,
}

/// An hour of a model input as counts in fixed bins (edges are the model's, PROTOCOL.md has the default).
#[derive(Debug, Clone, PartialEq, Encode, Decode, Serialize, Deserialize)]
#[cbor(array)]
pub struct Bins {
    /// The series.
    #[n(0)]
    pub id: SeriesId,
    /// Counts, lowest bin first.
    #[n(1)]
    pub counts: Vec<u32>,
}

/// A batch of window summaries.
#[derive(Debug, Clone, PartialEq, Encode, Decode, Serialize, Deserialize)]
#[cbor(map)]
pub struct Summary {
    /// Header.
    #[n(0)]
    pub head: Head,
    /// Epoch that the series ids belong to.
    #[n(1)]
    pub epoch: u32,
    /// Start of the first step, Unix milliseconds.
    #[n(2)]
    pub start_ms: i64,
    /// Length of a step in seconds.
    #[n(3)]
    pub step_s: u32,
    /// How many steps are covered, also by rows that are not there.
    #[n(4)]
    pub steps: u32,
    /// Dictionary entries announced with this message: new ones, and in JSON all that are mentioned.
    #[n(5)]
    #[cbor(skip_if = "Vec::is_empty")]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub series: Vec<SeriesDef>,
    /// The series that moved.
    #[n(6)]
    #[cbor(skip_if = "Vec::is_empty")]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rows: Vec<Row>,
    /// Hourly bins, in the first summary after each full hour.
    #[n(7)]
    #[cbor(skip_if = "Vec::is_empty")]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub bins: Vec<Bins>,
    /// Samples lost in the covered time (full queue, missed ticks).
    #[n(8)]
    #[cbor(default)]
    #[serde(default)]
    pub lost_samples: u32,
    /// Largest alarm value of each step: log ratio to the node's own threshold; above 0 is an alarm.
    #[n(9)]
    #[cbor(skip_if = "Vec::is_empty")]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub alarm: Vec<Num>,
    /// Rows left out because the byte budget was spent.
    #[n(10)]
    #[cbor(default)]
    #[serde(default)]
    pub left_out: u32,
}

impl Summary {
    /// Two messages in the place of one that is too large to send: the series are parted in the middle, and what concerns
    /// the whole (alarm values, counts of losses) stays with the first. `None` when there is only one series left.
    #[must_use]
    pub fn halves(mut self) -> Option<[Self; 2]> {
        let mut ids: Vec<SeriesId> = self.rows.iter().map(|r| r.id).collect();
        ids.extend(self.bins.iter().map(|b| b.id));
        ids.extend(self.series.iter().map(|s| s.id));
        ids.sort_unstable();
        ids.dedup();
        let middle = *ids.get(ids.len() / 2).filter(|_| ids.len() > 1)?;
        let second = Self {
            series: self.series.extract_if(.., |s| s.id >= middle).collect(),
            rows: self.rows.extract_if(.., |r| r.id >= middle).collect(),
            bins: self.bins.extract_if(.., |b| b.id >= middle).collect(),
            lost_samples: 0,
            alarm: Vec::new(),
            left_out: 0,
            ..self.clone()
        };
        Some([self, second])
    }
}

impl Message for Summary {
    fn validate(&self) -> Result<(), Invalid> {
        Check::new()
            .list("series", &self.series, LIST)
            .each(&self.series, Check::series)
            .list("rows", &self.rows, LIST)
            .each(&self.rows, |c, r| {
                c.list("row.mean", &r.mean, POINTS).list("row.min", r.min.as_deref().unwrap_or_default(), POINTS).list(
                    "row.max",
                    r.max.as_deref().unwrap_or_default(),
                    POINTS,
                )
            })
            .list("bins", &self.bins, LIST)
            .each(&self.bins, |c, b| c.list("bins.counts", &b.counts, 64))
            .list("alarm", &self.alarm, POINTS)
            .done()
    }
}
