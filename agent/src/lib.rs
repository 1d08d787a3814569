//! The Tacit agent: samples a node, judges it locally, and publishes only what matters.
//!
//! The modules in the order of the flow (DESIGN: the tree tells the data's journey):
//!
//! ```text
//! source → ring → detect ┐
//!                summary ├→ outbox → publish ⇄ collector
//!        links   context ┘              ↑ fleet (commands, desired state)
//! ```

pub mod analysis;
pub mod cli;
pub mod clock;
pub mod config;
pub mod context;
pub mod detect;
pub mod fleet;
pub mod health;
pub mod heap;
pub mod identity;
pub mod inventory;
pub mod links;
pub mod outbox;
pub mod outgoing;
pub mod publish;
mod replace;
pub mod ring;
pub mod sampler;
pub mod source;
pub mod summary;
pub mod supervisor;
pub mod text_pages;
pub mod watch;
