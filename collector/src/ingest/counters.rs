//! What came in, by what became of it.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};

/// Why a message was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// The topic is not of this protocol.
    Topic,
    /// The payload is not the message its topic names, or beyond a bound.
    Undecodable,
    /// Topic and content name different nodes.
    WrongNode,
    /// The node has the name of none.
    Reserved,
}

impl Refused {
    /// Every reason.
    pub const ALL: [Self; 4] = [Self::Topic, Self::Undecodable, Self::WrongNode, Self::Reserved];

    /// The word in metrics and logs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Topic => "topic",
            Self::Undecodable => "undecodable",
            Self::WrongNode => "wrong-node",
            Self::Reserved => "reserved",
        }
    }
}

/// Distance of log lines about one reason.
const LOG_EVERY_MS: i64 = 60_000;

/// Counts since the collector started.
#[derive(Debug, Default)]
pub struct Counters {
    messages: AtomicU64,
    bytes: AtomicU64,
    stored: AtomicU64,
    duplicates: AtomicU64,
    store_failures: AtomicU64,
    refused: [(AtomicU64, AtomicI64); 4],
}

/// The counts at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counts {
    /// Messages received.
    pub messages: u64,
    /// Payload bytes received.
    pub bytes: u64,
    /// Messages stored.
    pub stored: u64,
    /// Messages that were stored before.
    pub duplicates: u64,
    /// Commits that failed and were tried again.
    pub store_failures: u64,
    /// Messages refused, by reason.
    pub refused: [(&'static str, u64); 4],
}

impl Counters {
    pub(super) fn received(&self, bytes: usize) {
        self.messages.fetch_add(1, Relaxed);
        self.bytes.fetch_add(bytes as u64, Relaxed);
    }

    pub(super) fn stored(&self) {
        self.stored.fetch_add(1, Relaxed);
    }

    pub(super) fn duplicate(&self) {
        self.duplicates.fetch_add(1, Relaxed);
    }

    pub(super) fn store_failure(&self) {
        self.store_failures.fetch_add(1, Relaxed);
    }

    /// Counts a refusal and says whether it is time to log one of its kind again.
    pub(super) fn refused(&self, reason: Refused, now_ms: i64) -> bool {
        let (count, logged) = &self.refused[reason as usize];
        count.fetch_add(1, Relaxed);
        let last = logged.load(Relaxed);
        (last == 0 || now_ms - last >= LOG_EVERY_MS) && logged.compare_exchange(last, now_ms, Relaxed, Relaxed).is_ok()
    }

    /// All counts now.
    #[must_use]
    pub fn now(&self) -> Counts {
        Counts {
            messages: self.messages.load(Relaxed),
            bytes: self.bytes.load(Relaxed),
            stored: self.stored.load(Relaxed),
            duplicates: self.duplicates.load(Relaxed),
            store_failures: self.store_failures.load(Relaxed),
            refused: Refused::ALL.map(|r| (r.as_str(), self.refused[r as usize].0.load(Relaxed))),
        }
    }
}
