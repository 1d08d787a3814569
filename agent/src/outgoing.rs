//! What the analysis hands to the network thread.

use tacit_wire::message::{Event, Links, Report, Summary};

/// A message to be queued and published. The sender fills node, boot and time of its head; the outbox fills stream,
/// number and oldest number when it takes the message in.
#[derive(Debug, Clone, PartialEq)]
pub enum Outgoing {
    /// An anomaly or context event: lane `events`.
    Event(Box<Event>),
    /// Window summaries: lane `rest`.
    Summary(Box<Summary>),
    /// Connection edges: lane `rest`.
    Links(Box<Links>),
    /// State, own cost, losses: lane `rest`.
    Report(Box<Report>),
}
