//! The Tacit collector: takes in what agents publish, keeps it, makes incidents of it, and shows it.
//!
//! ```text
//! broker → ingest → store ← incident
//!                     ↓
//!              api → console
//! ```

#[cfg(test)]
mod fixtures;
pub mod store;
