//! Integration tests of the agent, one binary.

mod config;
mod units;
