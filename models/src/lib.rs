//! Everything between a node's raw values and its verdict, without any I/O: the agent and the evaluation run the same code.
//!
//! In the order of the flow: [`standardise`] turns raw values into deviations from what is usual, [`whiten`] learns how
//! a series' deviations hang together in time, [`graph`] writes that down as one ONNX graph for all series, [`runtime`]
//! is the door through which that graph, or a stranger's, is loaded and run, [`calibrate`] learns which scores are rare
//! here, and [`detector`] ties them together. [`manifest`] describes a model package, [`import`] makes one of a model
//! that was trained elsewhere and [`foreign`] judges by it; [`plain`] evaluates the same scores without the runtime, to check it,
//! and [`agreement`] compares the scores of a recording with those of another machine.

pub mod agreement;
mod attribution;
pub mod calibrate;
pub mod clusters;
pub mod creep;
pub mod detector;
pub mod drift;
pub mod flat;
pub mod foreign;
pub mod fusion;
pub mod graph;
pub mod import;
pub mod manifest;
pub mod plain;
mod reach;
mod recent;
mod recurring;
pub mod runtime;
pub mod season;
pub mod standardise;
mod state;
pub mod subspace;
mod verdict;
pub mod whiten;

pub use detector::{Band, Detector, DetectorConfig, Step, Transition};
pub use foreign::{ForeignDetector, ForeignError};
pub use manifest::Manifest;
pub use runtime::{Limits, Model, ModelError};
pub use state::StateError;
