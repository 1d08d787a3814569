//! HTTP over TLS: what axum listens on.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::serve::Listener;
use rustls::ServerConfig;
use tokio::net::TcpListener;
use tokio::sync::watch;

use super::{Handshakes, Stream};

/// Connections whose handshake is done.
#[derive(Debug)]
pub struct TlsListener(Handshakes);

impl TlsListener {
    /// Speaks TLS to whoever connects.
    ///
    /// # Errors
    /// When the listener has no address.
    pub fn new(listener: TcpListener, settings: watch::Receiver<Arc<ServerConfig>>) -> io::Result<Self> {
        Handshakes::start(listener, settings, "https").map(Self)
    }
}

impl Listener for TlsListener {
    type Io = Stream;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Stream, SocketAddr) {
        self.0.next().await
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.0.address())
    }
}
