//! Which events are one thing: grouping as they come, and the gate that a group passes to become an incident.
//!
//! ```text
//! events → order → flap ─────────→ calibrate → shared ┬→ state → gate ┬→ incident
//!          by      the same again?  p for its  the same│  group        └→ digest
//!          onset   unstable?        own source  on many└ weigh
//!                                               hosts?   relation × time × improbability
//! ```
//!
//! Everything here is a function of what it is given: no clock, no store, numbers instead of names. An event looks at its own
//! places and its neighbours' ([`index`]), never at all others, so that a storm costs little ([`storm`]); every decision says why
//! ([`outcome`]); and every constant is in [`rules`].

pub mod calibrate;
pub mod event;
pub mod flap;
pub mod gate;
mod grouper;
pub mod index;
pub mod mass;
pub mod order;
pub mod outcome;
pub mod relation;
pub mod rules;
pub mod shared;
pub mod state;
pub mod storm;
#[cfg(test)]
mod tests;
pub mod weigh;

pub use event::{EntityNo, EventNo, FamilyNo, Fingerprint, GroupNo, Numbers, Onset, Role, TagNo};
pub use gate::Gate;
pub use grouper::Grouper;
pub use outcome::{How, Outcome, Placed, Weights, Why};
pub use relation::{Relations, Topology};
pub use rules::Rules;
