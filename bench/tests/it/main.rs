//! The bench's commands end to end.

mod folder;
mod generated;
mod recorded;
mod reference;
