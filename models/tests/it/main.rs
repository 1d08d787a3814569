//! The detector as a whole, on simulated nodes and (when they are there) on public recordings.

mod agreement;
mod events;
mod foreign;
mod import;
mod public_data;
mod quiet;
mod simulated;
mod state;
