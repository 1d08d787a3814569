//! From events to incidents.
//!
//! ```text
//! stored events ─ correlator → steps ─ judge → store ─┬ causes  who is behind it, again and again
//!   about  what of   │ scene     open, join,  changes  ├ mute    silence, window, the incident behind it
//!                    └ group     merge, digest  (life)  └ life    over, reopened
//! people ─ actions ────────────────────────────────────→ store
//! ```
//!
//! [`correlator`], [`life`] and [`mute`] are pure and get their `now`; [`Judge`] runs them over stored events that nobody has
//! looked at yet, so a collector that dies in between goes on there and opens nothing twice.

pub mod about;
pub mod actions;
pub mod causes;
pub mod correlator;
pub mod group;
mod judge;
pub mod life;
pub mod mute;
pub mod quiet;
pub mod scene;

pub use judge::Judge;
