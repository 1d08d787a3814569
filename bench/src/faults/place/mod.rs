//! What faults stand on: things made beside the machine's own, so that a fault spoils those only.

pub mod booted;
pub mod cgroup;
pub mod netns;
pub mod scratch;
