//! Integration tests of the agent, one binary.

mod brokers;
mod cli;
mod config;
mod containers;
mod context;
mod enrol;
mod foreign;
mod kernel;
mod links;
mod outbox;
mod packaging;
mod pki;
mod probe;
mod publish;
mod runtime;
mod tree;
mod units;
