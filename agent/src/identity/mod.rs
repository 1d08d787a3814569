//! Who this node is to the fleet: its key, its certificate, and how it gets and renews them.
//!
//! ```text
//! key → csr → enrol (three questions over http) → store → publish::tls reads the files at the next connection
//!                                                   ↑
//!                                                 renew (a task of the network thread)
//! ```
//!
//! Invariants: the key never leaves the machine, and neither it nor a token is ever logged; a certificate is renewed with
//! the key that it is for; the time by which certificates are judged never goes back ([`floor`]). A node with certificates of
//! one's own needs none of this: `publish.cert_file` is read all the same, and nothing here touches it.

pub mod csr;
pub mod der;
pub mod enrol;
pub mod floor;
mod http;
pub mod key;
pub mod renew;
pub mod store;
