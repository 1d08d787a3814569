//! Where nodes connect: the embedded broker (default), or an external one of which the collector is a client.
//!
//! The embedded broker's publish hook waits for ingest before the PUBACK, so that with it "acknowledged" means "stored", and then lets the
//! message route on, so that other subscribers see everything. [`rules`] says who may do what, [`tls`] who somebody is. An external broker
//! acknowledges hop by hop; there the collector sends a cumulative acknowledgement of its own.

mod embedded;
mod external;
mod rules;
mod tls;

use mqtt5::packet::connect::ConnectPacket;

pub use embedded::{BrokerError, Embedded, Guards, Line};
pub use external::{Address, External};

/// User and password that a client shows, if it shows both.
fn credentials(connect: &ConnectPacket) -> Option<(&str, &str)> {
    let password = std::str::from_utf8(connect.password.as_deref()?).ok()?;
    Some((connect.username.as_deref()?, password))
}
