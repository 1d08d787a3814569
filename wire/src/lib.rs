//! What Tacit's programs say to each other: messages, topics, identifiers and units.
//!
//! This crate does no I/O and depends on nothing else of ours. The journey of a value through it:
//!
//! ```text
//! message::*  (plain structs, validated newtypes from id)  →  codec  (CBOR or JSON, zstd above 1 KiB)  →  topic
//! ```
//!
//! Compatibility: fields carry small integer keys that are never reused, unknown fields are ignored, optional ones may
//! be missing, and enumerations have an `unknown` member. A breaking change is a new topic root (`tacit/2`).
#![warn(missing_docs)]

pub mod codec;
pub mod id;
pub mod limits;
pub mod message;
pub mod num;
pub mod semconv;
pub mod series;
pub mod topic;
pub mod words;

mod open_enum;

pub use codec::{Encoding, WireError};
pub use id::{BootId, Digest, EventId, NodeId, Seq, SeriesId, SiteId, StreamId};
pub use num::Num;
pub use series::{Attribute, SeriesDef};
pub use topic::Topic;

/// The version of this protocol; it is the second level of every topic.
pub const PROTOCOL: u8 = 1;
