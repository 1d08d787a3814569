//! Judging: the verdicts of the built-in detector ([`model`]) and of models made elsewhere ([`foreign`]), plain rules
//! ([`rules`]), and what becomes of them: events in plain words with their evidence ([`anomaly`], [`event`], [`words`]).
//! What was learned survives restarts ([`state`]); what was open is ended ([`open`]).

pub mod anomaly;
pub mod event;
mod explain;
pub mod floors;
pub mod foreign;
pub mod judges;
pub mod model;
pub mod open;
pub mod promise;
pub mod rulebook;
pub mod rules;
pub mod state;
pub mod words;
