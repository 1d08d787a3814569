//! TLS settings from files. The files are looked at before each connection, so that renewed certificates need no restart;
//! while they stay as they are the settings do too, and with them the tickets by which a TLS session is resumed: coming
//! back then costs one round trip and no certificates, which counts on a metered link.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::Resumption;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, ConfigBuilder, RootCertStore, WantsVerifier};

use crate::config::PublishConfig;
use crate::identity::der::{self, Certificate};
use crate::identity::floor::Floor;

/// Where Debian, Alpine and most others keep the system's trusted certificates.
const SYSTEM_ROOTS: &str = "/etc/ssl/certs/ca-certificates.crt";
/// Sessions that are kept to be resumed; there is one broker.
const SESSIONS: usize = 8;

/// TLS settings of the session with the broker.
#[derive(Debug)]
pub struct Tls {
    floor: Arc<Floor>,
    held: Option<Held>,
}

/// Settings, and what they were made of.
#[derive(Debug)]
struct Held {
    from: Made,
    settings: Arc<ClientConfig>,
    own: Option<Certificate>,
}

#[derive(Debug, PartialEq, Eq)]
struct Made {
    files: Vec<Stamp>,
    alpn: Option<String>,
}

/// By what a changed file is known: path, device and inode, length, time of change.
type Stamp = (PathBuf, Option<(u64, u64, u64, i64, i64)>);

impl Tls {
    /// None are read yet.
    #[must_use]
    pub fn new(floor: Arc<Floor>) -> Self {
        Self { floor, held: None }
    }

    /// The time by which certificates are judged.
    #[must_use]
    pub fn floor(&self) -> &Arc<Floor> {
        &self.floor
    }

    /// The certificates that are trusted, for messages.
    #[must_use]
    pub fn roots(config: &PublishConfig) -> String {
        match &config.ca_file {
            Some(file) => format!("those in {}", file.display()),
            None => format!("those of the system ({SYSTEM_ROOTS})"),
        }
    }

    /// Settings by the files as they are now, and the certificate that this node shows.
    ///
    /// # Errors
    /// The file that cannot be used, and why.
    pub fn settings(&mut self, config: &PublishConfig) -> Result<(Arc<ClientConfig>, Option<Certificate>), String> {
        let roots = config.ca_file.as_deref().unwrap_or(Path::new(SYSTEM_ROOTS));
        let files = [Some(roots), config.cert_file.as_deref(), config.key_file.as_deref()];
        let files = files.into_iter().flatten().map(stamp).collect();
        let from = Made { files, alpn: config.alpn.clone() };
        if let Some(held) = self.held.as_ref().filter(|held| held.from == from) {
            return Ok((Arc::clone(&held.settings), held.own.clone()));
        }
        let (settings, own) = self.read(config)?;
        self.held = Some(Held { from, settings: Arc::clone(&settings), own: own.clone() });
        Ok((settings, own))
    }

    fn read(&self, config: &PublishConfig) -> Result<(Arc<ClientConfig>, Option<Certificate>), String> {
        let roots = certificates(config.ca_file.as_deref().unwrap_or(Path::new(SYSTEM_ROOTS)))?;
        let builder = trusting(roots, &self.floor)?;
        let (mut settings, own) = match (&config.cert_file, &config.key_file) {
            (Some(cert), Some(key)) => {
                let chain = certificates(cert)?;
                let own = chain.first().and_then(|leaf| der::describe(leaf));
                let private = PrivateKeyDer::from_pem_slice(&read(key)?)
                    .map_err(|e| format!("publish.key_file {}: {e}", key.display()))?;
                let settings = builder
                    .with_client_auth_cert(chain, private)
                    .map_err(|e| format!("publish.cert_file {} and its key: {e}", cert.display()))?;
                (settings, own)
            }
            _ => (builder.with_no_client_auth(), None),
        };
        settings.resumption = Resumption::in_memory_sessions(SESSIONS);
        settings.alpn_protocols = config.alpn.iter().map(|name| name.clone().into_bytes()).collect();
        Ok((Arc::new(settings), own))
    }
}

/// Settings that trust these roots and judge by that time.
///
/// # Errors
/// When none of the roots can be used.
pub fn trusting(
    roots: Vec<CertificateDer<'static>>,
    floor: &Arc<Floor>,
) -> Result<ConfigBuilder<ClientConfig, rustls::client::WantsClientCert>, String> {
    let mut store = RootCertStore::empty();
    // A system bundle may hold what this library refuses; the others still count.
    let (added, _) = store.add_parsable_certificates(roots);
    if added == 0 {
        return Err("none of the certificates to trust can be used".into());
    }
    Ok(with_time(floor)?.with_root_certificates(store))
}

fn with_time(floor: &Arc<Floor>) -> Result<ConfigBuilder<ClientConfig, WantsVerifier>, String> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    ClientConfig::builder_with_details(provider, Arc::<Floor>::clone(floor))
        .with_safe_default_protocol_versions()
        .map_err(|e| format!("TLS: {e}"))
}

fn stamp(path: &Path) -> Stamp {
    let about = std::fs::metadata(path).ok();
    (path.to_owned(), about.map(|a| (a.dev(), a.ino(), a.len(), a.mtime(), a.mtime_nsec())))
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    std::fs::read(path).map_err(|e| format!("cannot read {}: {e}", path.display()))
}

/// The certificates of a PEM file.
///
/// # Errors
/// When it cannot be read or holds none.
pub fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let list: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&read(path)?).collect();
    match list {
        Ok(list) if !list.is_empty() => Ok(list),
        Ok(_) => Err(format!("{} holds no certificate in PEM form", path.display())),
        Err(e) => Err(format!("{}: {e}", path.display())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::publish::dial::{Dial, Progress};
    use rustls::{HandshakeKind, ServerConfig, ServerConnection};
    use std::io::{Read as _, Write as _};
    use std::net::{TcpListener, TcpStream};
    use std::process::Command;
    use std::sync::mpsc;
    use tokio::io::AsyncReadExt as _;

    /// A self-signed certificate of `localhost` and its key, in this folder.
    fn certificate(folder: &Path, name: &str) -> (PathBuf, PathBuf) {
        let (key, cert) = (folder.join(format!("{name}.key")), folder.join(format!("{name}.pem")));
        let made = Command::new("openssl")
            .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "9"])
            .args(["-subj", "/CN=web-1", "-addext", "subjectAltName=DNS:localhost"])
            .args(["-addext", "basicConstraints=critical,CA:FALSE"])
            .arg("-keyout")
            .arg(&key)
            .arg("-out")
            .arg(&cert)
            .output()
            .expect("openssl is installed");
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        (key, cert)
    }

    /// How a handshake went, and which protocol was agreed on.
    type Seen = (Option<HandshakeKind>, Option<Vec<u8>>);

    /// Says `hi` to every connection, and tells what it saw of it.
    fn server(key: &Path, cert: &Path, alpn: &[u8]) -> (u16, mpsc::Receiver<Seen>) {
        let chain = certificates(cert).expect("a certificate");
        let key = PrivateKeyDer::from_pem_file(key).expect("a key");
        let mut config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .expect("they belong together");
        config.alpn_protocols = vec![alpn.to_vec()];
        let config = Arc::new(config);
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = listener.local_addr().expect("an address").port();
        let (seen, told) = mpsc::channel();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let _ = serve(stream, &config).map(|how| seen.send(how));
            }
        });
        (port, told)
    }

    fn serve(mut stream: TcpStream, config: &Arc<ServerConfig>) -> std::io::Result<Seen> {
        let mut session = ServerConnection::new(Arc::clone(config)).map_err(std::io::Error::other)?;
        let mut tls = rustls::Stream::new(&mut session, &mut stream);
        tls.write_all(b"hi")?;
        tls.flush()?;
        // Until the other side has read it.
        let _ = tls.read(&mut [0; 1]);
        Ok((session.handshake_kind(), session.alpn_protocol().map(<[u8]>::to_vec)))
    }

    fn connect(settings: Arc<ClientConfig>, port: u16) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let dial = Dial { host: "localhost".into(), port, proxy: None, tls: Some(settings) };
            let mut stream = dial.open(&Progress::default()).await.map_err(|e| e.to_string()).expect("a connection");
            let mut hi = [0; 2];
            stream.read_exact(&mut hi).await.expect("it says hi");
        });
    }

    #[test]
    fn a_session_is_resumed_while_the_files_stay_as_they_are() {
        let folder = tempfile::tempdir().expect("a folder");
        let (key, cert) = certificate(folder.path(), "one");
        let (port, told) = server(&key, &cert, b"mqtt");
        let config =
            PublishConfig { ca_file: Some(cert.clone()), alpn: Some("mqtt".into()), ..PublishConfig::default() };
        let mut tls = Tls::new(Arc::new(Floor::of_release()));
        let mut kinds = Vec::new();
        for round in 0..3 {
            let (settings, own) = tls.settings(&config).expect("good files");
            assert_eq!(own, None);
            connect(settings, port);
            let (kind, alpn) = told.recv().expect("the server goes on");
            assert_eq!(alpn.as_deref(), Some(&b"mqtt"[..]));
            kinds.push(kind);
            if round == 1 {
                let text = std::fs::read(&cert).expect("it is there");
                std::fs::remove_file(&cert).expect("it is there");
                std::fs::write(&cert, [&text[..], b"\n"].concat()).expect("a file");
            }
        }
        let full = Some(HandshakeKind::Full);
        assert_eq!(kinds, [full, Some(HandshakeKind::Resumed), full], "a changed file begins anew");
    }

    #[test]
    fn certificate_and_key_of_this_node_are_read_again_when_they_change() {
        let folder = tempfile::tempdir().expect("a folder");
        let (key, cert) = certificate(folder.path(), "one");
        let (other_key, _) = certificate(folder.path(), "two");
        let mut config = PublishConfig {
            ca_file: Some(cert.clone()),
            cert_file: Some(cert.clone()),
            key_file: Some(key.clone()),
            ..PublishConfig::default()
        };
        let mut tls = Tls::new(Arc::new(Floor::of_release()));
        let (first, own) = tls.settings(&config).expect("good files");
        let own = own.expect("a certificate");
        assert_eq!(own.name, "web-1");
        assert_eq!((own.not_after_ms - own.not_before_ms) / 86_400_000, 9);
        let (again, _) = tls.settings(&config).expect("good files");
        assert!(Arc::ptr_eq(&first, &again));
        config.alpn = Some("mqtt".into());
        let (changed, _) = tls.settings(&config).expect("good files");
        assert!(!Arc::ptr_eq(&first, &changed));

        std::fs::copy(&other_key, &key).expect("a file");
        let error = tls.settings(&config).expect_err("another certificate's key");
        assert!(error.contains("one.pem and its key"), "{error}");
        std::fs::remove_file(&key).expect("it is there");
        assert!(tls.settings(&config).is_err_and(|e| e.contains("cannot read") && e.contains("one.key")));
        std::fs::write(&cert, "no certificate").expect("a file");
        assert!(tls.settings(&config).is_err_and(|e| e.contains("holds no certificate")));
    }
}
