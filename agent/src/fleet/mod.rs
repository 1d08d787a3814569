//! What the collector asks of this node, and the answers.

mod commands;
pub mod maintenance;

pub use commands::{Commands, Done, Pull, split};
