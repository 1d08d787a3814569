//! Memory of fixed size between the threads and of what was: the frame queue, the history of each series, and the flight
//! recorder cut from it.

pub mod history;
pub mod queue;

pub use history::{History, Span};
pub use queue::{FrameReceiver, FrameSender, pair};
