//! Integration tests of the agent, one binary.

mod cli;
mod config;
mod outbox;
mod publish;
mod units;
