//! The way out: one MQTT 5 session, fed from the outbox.
//!
//! [`mqtt`] is the only file that knows the client library: a new event loop for each connection, polled by a task of its
//! own. Below it is [`dial`] (addresses, proxy, TLS), beside it [`words`] (what failed, for people). [`Net`] owns the outbox
//! and decides what is sent when; it keeps taking messages in while the broker is away.
//!
//! A message leaves the outbox when it is *stored*: by a PUBACK while the collector's status says that a PUBACK means
//! exactly that, otherwise by the collector's own cumulative acknowledgement.

pub(crate) mod backoff;
pub(crate) mod dial;
mod mqtt;
mod net;
mod status;
pub(crate) mod tls;
pub(crate) mod words;

pub use net::{Changed, Net, Parts, Tuning};
pub use status::NetStatus;
