//! The Tacit collector: takes in what agents publish, keeps it, makes incidents of it, and shows it.
//!
//! ```text
//! broker → ingest ─┬→ store ← incident
//! others → interop ┘    ↓
//!              api → console, notify → people elsewhere
//! ```

pub mod access;
pub mod api;
pub mod broker;
pub mod cause;
pub mod cli;
pub mod clock;
pub mod config;
pub mod console;
#[cfg(test)]
mod fixtures;
pub mod identity;
pub mod incident;
pub mod ingest;
pub mod interop;
pub mod map;
pub mod notify;
pub mod store;
pub mod supervisor;
pub mod tls;

pub use supervisor::{Collector, StartError};
