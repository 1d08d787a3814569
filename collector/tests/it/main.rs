//! The collector from outside: through its sockets, its binary and its store.

// What clippy allows in a test it does not allow in the helpers around it.
#![allow(clippy::unwrap_used)]

mod access;
mod alertmanager;
mod alerts;
mod answer;
mod api;
mod attack;
#[path = "../../../cli/tests/story/browser.rs"]
mod browser;
mod client;
mod console;
mod dashboards;
mod guard;
mod html;
mod identity;
mod incidents;
mod ingest;
mod judge;
mod kills;
mod map;
mod map_page;
mod messages;
mod metrics;
mod notify;
mod office;
mod people;
mod quiet;
mod schema;
mod site;
mod streams;
mod target;
