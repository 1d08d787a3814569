//! Integration tests of the agent, one binary.

mod cli;
mod config;
mod containers;
mod context;
mod foreign;
mod kernel;
mod links;
mod outbox;
mod packaging;
mod probe;
mod publish;
mod tree;
mod units;
