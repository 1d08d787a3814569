//! The collector from outside: through its sockets, its binary and its store.

mod client;
mod ingest;
mod kills;
mod messages;
