//! TLS at the collector's two listeners: settings ([`for_nodes`], [`for_people`]), and handshakes that hold nobody up ([`Handshakes`]).
//!
//! Sessions resume by tickets, so that a fleet that comes back is cheap. The broker asks for a certificate and lets those without one sign in otherwise;
//! HTTP asks for none.

mod accept;
mod listener;

use std::sync::Arc;

use rustls::ServerConfig;
use rustls::server::ResolvesServerCert;
use rustls::server::danger::ClientCertVerifier;

pub use accept::{Handshakes, Stream};
pub use listener::TlsListener;

use crate::identity::trust::provider;

/// Settings of the listener for nodes.
///
/// # Errors
/// What the library does not like.
pub fn for_nodes(
    certificate: Arc<dyn ResolvesServerCert>,
    clients: Arc<dyn ClientCertVerifier>,
) -> Result<Arc<ServerConfig>, String> {
    let config = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(|e| format!("TLS: {e}"))?
        .with_client_cert_verifier(clients)
        .with_cert_resolver(certificate);
    with_tickets(config)
}

/// Settings of the listener for people.
///
/// # Errors
/// What the library does not like.
pub fn for_people(certificate: Arc<dyn ResolvesServerCert>) -> Result<Arc<ServerConfig>, String> {
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(|e| format!("TLS: {e}"))?
        .with_no_client_auth()
        .with_cert_resolver(certificate);
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    with_tickets(config)
}

fn with_tickets(mut config: ServerConfig) -> Result<Arc<ServerConfig>, String> {
    config.ticketer = rustls::crypto::ring::Ticketer::new().map_err(|e| format!("TLS: {e}"))?;
    Ok(Arc::new(config))
}
