//! Judging: the model's verdict on each sample ([`model`]), plain rules ([`rules`]), and what becomes of them: events in
//! plain words with their evidence ([`event`], [`words`]). What was learned survives restarts ([`state`]).

pub mod event;
mod explain;
mod floors;
pub mod judges;
pub mod model;
pub mod promise;
pub mod rulebook;
pub mod rules;
pub mod state;
pub mod words;
