//! Integration tests of the agent, one binary.

mod cli;
mod config;
mod kernel;
mod outbox;
mod publish;
mod tree;
mod units;
