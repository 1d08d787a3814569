//! What of a connection is counted: differences from one sighting to the next, without the bytes that SYN and FIN count for.

use crate::links::edges::Figures;
use crate::links::message::Info;

/// What of a connection is in figures already.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Counted {
    /// Bytes sent and acknowledged.
    pub sent: u64,
    /// Bytes received.
    pub received: u64,
    /// Segments sent again.
    pub retransmits: u32,
}

impl Counted {
    /// The larger of both, figure by figure: none of them falls.
    #[must_use]
    pub fn at_least(self, other: Self) -> Self {
        Self {
            sent: self.sent.max(other.sent),
            received: self.received.max(other.received),
            retransmits: self.retransmits.max(other.retransmits),
        }
    }
}

/// Of an open connection. A client's SYN counts as a byte that was acknowledged; a server's does not.
#[must_use]
pub fn open(info: &Info, server: bool) -> Counted {
    let sent = info.acked.saturating_sub(u64::from(!server));
    Counted { sent, received: info.received, retransmits: info.retransmits }
}

/// Of a connection that ended: FIN counts one as well, each way, unless that was taken for a byte already. An event does not say
/// whether the FIN had come; where it had not, one byte is missing.
#[must_use]
pub fn ended(info: &Info, server: bool, before: Counted) -> Counted {
    let open = open(info, server);
    let total = Counted { sent: open.sent.saturating_sub(1), received: open.received.saturating_sub(1), ..open };
    total.at_least(before)
}

/// Adds what came after `before`.
pub fn count(figures: &mut Figures, before: Counted, after: Counted) {
    figures.sent = figures.sent.saturating_add(after.sent.saturating_sub(before.sent));
    figures.received = figures.received.saturating_add(after.received.saturating_sub(before.received));
    figures.retransmits = figures.retransmits.saturating_add(after.retransmits.saturating_sub(before.retransmits));
}
