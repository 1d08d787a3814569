//! The queue between judging and publishing: bounded, in two lanes, surviving power cuts.
//!
//! Its promises:
//! * A message leaves only when the collector has stored it, or when a bound drops it; what is dropped becomes a [`Gap`].
//! * Anomaly events are on disk (`fdatasync`) before they can be sent. Everything else lives in memory while the node is
//!   online, so a quiet node writes nothing; [`Outbox::spill`] puts it on disk when the connection is lost.
//! * Bytes (memory and files together), number and age are bounded: the oldest of lane `rest` goes first, events last.
//! * The order within a stream is kept. Streams of earlier starts drain first within their lane.
//! * In one process nothing acknowledged is offered again. After a restart what shared a file with something
//!   unacknowledged may be: the collector recognises it by stream and number.
//! * A full or failing disk never loses what is in memory: it stays there within its bound, [`Outbox::trouble`] says so,
//!   and the next spill tries again with a new file.

mod disk;
mod queue;
pub mod record;
mod recover;

pub use disk::{Disk, Folder};
pub use queue::{Key, Limits, Message, Outbox};

#[doc(no_inline)]
pub use tacit_wire::message::Gap;
