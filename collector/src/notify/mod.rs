//! Telling people elsewhere: Alertmanager, webhooks, mail.
//!
//! | file | what |
//! |---|---|
//! | [`config`], [`units`], [`route`] | `[notify]`: when, to whom, by which way |
//! | [`telling`] | what a receiver is told next of an incident (pure) |
//! | [`message`] | what is said |
//! | [`delivery`] | what becomes of a try (pure) |
//! | [`alertmanager`], [`webhook`], [`mail`], [`http`] | the ways; each error says whether trying again can help |
//! | [`receiver`], [`desk`] | receivers with their health, routes, counts and the promise of pages |
//! | [`task`] | the task that does it |
//!
//! docs/NOTIFICATIONS.md says what users can rely on.

pub mod alertmanager;
pub mod config;
pub mod delivery;
pub mod desk;
#[cfg(test)]
mod fixtures;
pub mod http;
pub mod mail;
pub mod message;
pub mod receiver;
pub mod route;
pub mod task;
pub mod telling;
pub mod units;
pub mod webhook;

pub use config::NotifyConfig;
pub use desk::Desk;
pub use task::Notifier;
