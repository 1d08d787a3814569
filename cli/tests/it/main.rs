//! `tacit` from outside, one binary; the story that needs a quiet machine is a binary of its own.

// What clippy allows in a test it does not allow in the helpers around it.
#![allow(clippy::unwrap_used)]

mod access;
mod changes;
mod delivery;
mod demo;
mod errors;
mod identity;
mod incidents;
mod man;
mod map;
mod model;
mod notify;
mod office;
mod quiet;
