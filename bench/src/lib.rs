//! `tacit-bench`: measures what the agent costs, side by side with other agents in one run.

pub mod cli;
pub mod faults;
pub mod footprint;
