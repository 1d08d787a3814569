//! A connection with or without TLS. rustls does the cryptography, the runtime the waiting; in between is this file.
//!
//! The certificate is looked at, not judged: a probe asks whether an endpoint answers and until when its certificate is
//! valid. Who signed it is the business of those who trust it. So nothing secret may be sent this way, and nothing is.

use std::io::{self, Read as _, Write as _};
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, SignatureScheme};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::expiry;

/// Takes every certificate.
#[derive(Debug)]
struct TakeAny(Arc<CryptoProvider>);

impl ServerCertVerifier for TakeAny {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

/// TLS settings that take every certificate.
///
/// # Errors
/// When the library has no common version with itself, which cannot happen.
pub fn config() -> Result<Arc<ClientConfig>, String> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider)).with_safe_default_protocol_versions();
    let builder = builder.map_err(|e| format!("TLS: {e}"))?.dangerous();
    Ok(Arc::new(builder.with_custom_certificate_verifier(Arc::new(TakeAny(provider))).with_no_client_auth()))
}

/// An open connection.
pub struct Stream {
    tcp: TcpStream,
    tls: Option<Box<ClientConnection>>,
}

impl Stream {
    /// Without TLS.
    pub fn plain(tcp: TcpStream) -> Self {
        Self { tcp, tls: None }
    }

    /// With TLS, after its handshake.
    ///
    /// # Errors
    /// When the other side is not TLS or breaks it off.
    pub async fn handshake(tcp: TcpStream, host: &str, config: Arc<ClientConfig>) -> io::Result<Self> {
        // A zone belongs to the address, not to the name.
        let host = host.split('%').next().unwrap_or(host).to_owned();
        let name = ServerName::try_from(host).map_err(io::Error::other)?;
        let tls = ClientConnection::new(config, name).map_err(io::Error::other)?;
        let mut stream = Self { tcp, tls: Some(Box::new(tls)) };
        while stream.tls.as_ref().is_some_and(|tls| tls.is_handshaking()) {
            stream.flush().await?;
            if stream.tls.as_ref().is_some_and(|tls| tls.wants_read()) && stream.fill().await? == 0 {
                return Err(io::Error::new(
                    io::ErrorKind::UnexpectedEof,
                    "it closed the connection in the TLS handshake",
                ));
            }
        }
        stream.flush().await?;
        Ok(stream)
    }

    /// The end of the certificate's validity, Unix milliseconds.
    #[must_use]
    pub fn not_after_ms(&self) -> Option<i64> {
        expiry::not_after_ms(self.tls.as_ref()?.peer_certificates()?.first()?)
    }

    /// Sends all of it.
    ///
    /// # Errors
    /// As the system has it.
    pub async fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        match &mut self.tls {
            None => self.tcp.write_all(bytes).await,
            Some(tls) => {
                tls.writer().write_all(bytes)?;
                self.flush().await
            }
        }
    }

    /// Receives some of it; 0 at the end.
    ///
    /// # Errors
    /// As the system or TLS has it.
    pub async fn receive(&mut self, into: &mut [u8]) -> io::Result<usize> {
        loop {
            let Some(tls) = &mut self.tls else { return self.tcp.read(into).await };
            match tls.reader().read(into) {
                Ok(n) => return Ok(n),
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
                // Many servers close without saying so first.
                Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => return Ok(0),
                Err(e) => return Err(e),
            }
            self.flush().await?;
            if self.fill().await? == 0 {
                return Ok(0);
            }
        }
    }

    /// Sends what TLS wants sent.
    async fn flush(&mut self) -> io::Result<()> {
        let Some(tls) = &mut self.tls else { return Ok(()) };
        let mut records = Vec::new();
        while tls.wants_write() {
            tls.write_tls(&mut records)?;
        }
        self.tcp.write_all(&records).await
    }

    /// Gives TLS what arrived; 0 at the end.
    async fn fill(&mut self) -> io::Result<usize> {
        let mut buffer = [0; 4096];
        let n = self.tcp.read(&mut buffer).await?;
        let Some(tls) = &mut self.tls else { return Ok(n) };
        let mut rest = &buffer[..n];
        let mut broken = None;
        while !rest.is_empty() && broken.is_none() {
            tls.read_tls(&mut rest)?;
            broken = tls.process_new_packets().err();
        }
        match broken {
            None => Ok(n),
            Some(error) => {
                // The other side is told why; whether it hears it does not matter.
                let _ = self.flush().await;
                Err(io::Error::other(error))
            }
        }
    }
}
