//! `tacit-bench`: measures what the agent costs, side by side with other agents in one run, and how good its detection is.

pub mod cause;
pub mod cli;
pub mod correlate;
pub mod detect;
pub mod faults;
pub mod footprint;
pub mod incidents;
pub mod live;
pub mod map;
pub mod quiet;
