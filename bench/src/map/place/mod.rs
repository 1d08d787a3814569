//! What the data centre stands on: network namespaces with links between them, and control groups that look like units.

pub mod groups;
pub mod net;
