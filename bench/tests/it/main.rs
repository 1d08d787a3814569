//! The bench's commands end to end.

mod causes;
mod folder;
mod generated;
mod recorded;
mod reference;
mod storm;
