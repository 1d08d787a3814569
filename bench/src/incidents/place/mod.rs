//! What the shop stands on: hosts, which are network namespaces with control groups of their own, and a small disk.

pub mod ground;
pub mod groups;
pub mod hosts;
