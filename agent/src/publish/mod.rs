//! The way out: one MQTT 5 session, fed from the outbox.
//!
//! [`mqtt`] is the only file that knows the client library: a new event loop for each connection, polled by a task of its
//! own. [`Net`] owns the outbox and decides what is sent when; it keeps taking messages in while the broker is away.
//!
//! A message leaves the outbox when it is *stored*: by a PUBACK while the collector's status says that a PUBACK means
//! exactly that, otherwise by the collector's own cumulative acknowledgement.

mod backoff;
mod mqtt;
mod net;
mod status;
mod tls;

pub use net::{Net, Parts, Tuning};
pub use status::NetStatus;
