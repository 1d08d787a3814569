//! A certificate authority for tests, by openssl, and a collector that enrols nodes with it over https.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use serde_json::{Value, json};
use tacit_agent::clock::Tick;
use tacit_agent::identity::der;
use tacit_wire::Digest;

/// Long before every test.
pub const LONG_AGO: &str = "20200101000000Z";

/// A moment so many days from now, as openssl wants it.
pub fn in_days(days: i64) -> String {
    let date = der::date(Tick::now().wall_ms + days * 86_400_000);
    date.chars().filter(char::is_ascii_digit).chain("00Z".chars()).collect()
}

/// Runs openssl; gives what it prints.
pub fn openssl(arguments: &[&str]) -> String {
    let out = Command::new("openssl").args(arguments).output().expect("openssl is installed");
    assert!(out.status.success(), "openssl {arguments:?}: {}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8(out.stdout).expect("it prints text")
}

/// A key and its certificate, as files.
#[derive(Debug, Clone)]
pub struct Pair {
    pub key: PathBuf,
    pub cert: PathBuf,
}

/// An authority with its folder.
pub struct Authority {
    folder: tempfile::TempDir,
    /// `openssl ca` keeps a register; one at a time.
    register: Mutex<u32>,
}

impl Authority {
    pub fn new(name: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let authority = Self { folder, register: Mutex::new(0) };
        let (key, root) = (authority.text("root.key"), authority.text("root.pem"));
        let kind = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "999"];
        let subject = format!("/CN={name}");
        openssl(&[&["req", "-x509", "-subj", &subject, "-keyout", &key, "-out", &root][..], &kind].concat());
        let here = authority.folder.path().display();
        let config = format!(
            "[ca]\ndefault_ca = us\n[us]\ndatabase = {here}/index\nnew_certs_dir = {here}\ncertificate = {here}/root.pem\n\
             private_key = {here}/root.key\ndefault_md = sha256\npolicy = any\nrand_serial = yes\ndefault_crl_days = 9\n\
             unique_subject = no\n[any]\ncommonName = supplied\n"
        );
        fs::write(authority.path("ca.cnf"), config).expect("a file");
        fs::write(authority.path("index"), "").expect("a file");
        authority
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn text(&self, name: &str) -> String {
        self.path(name).to_string_lossy().into_owned()
    }

    /// The root certificate.
    pub fn root(&self) -> PathBuf {
        self.path("root.pem")
    }

    /// The same as text.
    pub fn root_pem(&self) -> String {
        fs::read_to_string(self.root()).expect("it was made")
    }

    /// What a token has of it.
    pub fn pin(&self) -> String {
        let root = CertificateDer::from_pem_file(self.root()).expect("a certificate");
        Digest::of(&root).to_string()[..32].to_owned()
    }

    /// A certificate for this request, valid between these moments.
    pub fn sign(&self, csr: &Path, from: &str, to: &str, extensions: &str) -> PathBuf {
        self.signed(csr, from, to, extensions, &[])
    }

    fn signed(&self, csr: &Path, from: &str, to: &str, extensions: &str, more: &[&str]) -> PathBuf {
        let mut number = self.register.lock().expect("no panic");
        *number += 1;
        let (extension, out) = (self.text(&format!("{number}.ext")), self.text(&format!("{number}.pem")));
        fs::write(&extension, format!("{extensions}\nbasicConstraints=critical,CA:FALSE\n")).expect("a file");
        let (config, csr) = (self.text("ca.cnf"), csr.to_string_lossy());
        let all = ["-batch", "-notext", "-config", &config, "-in", &csr, "-out", &out, "-extfile", &extension];
        openssl(&[&["ca", "-startdate", from, "-enddate", to][..], &all, more].concat());
        out.into()
    }

    /// Signs a request of a node, whatever name it asks for.
    fn sign_as(&self, node: &str, csr: &Path, to: &str) -> PathBuf {
        self.signed(csr, LONG_AGO, to, &of_node(node), &["-subj", &format!("/CN={node}")])
    }

    fn pair(&self, name: &str, from: &str, to: &str, extensions: &str) -> Pair {
        let (key, csr) = (self.text(&format!("{name}-{to}.key")), self.text(&format!("{name}-{to}.csr")));
        let subject = format!("/CN={name}");
        let kind = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"];
        openssl(&[&["req", "-subj", &subject, "-keyout", &key, "-out", &csr][..], &kind].concat());
        Pair { cert: self.sign(Path::new(&csr), from, to, extensions), key: key.into() }
    }

    /// A server on this machine.
    pub fn server(&self) -> Pair {
        self.server_of("DNS:localhost,IP:127.0.0.1", LONG_AGO, &in_days(99))
    }

    /// A server of these names.
    pub fn server_of(&self, names: &str, from: &str, to: &str) -> Pair {
        self.pair("server", from, to, &format!("subjectAltName={names}\nextendedKeyUsage=serverAuth"))
    }

    /// A node.
    pub fn node(&self, node: &str) -> Pair {
        self.node_until(node, &in_days(30))
    }

    /// A node whose certificate ends then.
    pub fn node_until(&self, node: &str, to: &str) -> Pair {
        self.pair(node, LONG_AGO, to, &of_node(node))
    }

    /// The list of what was revoked, with this certificate in it.
    pub fn revoke(&self, certificate: &Path) -> PathBuf {
        let _one = self.register.lock().expect("no panic");
        let (config, list) = (self.text("ca.cnf"), self.text("revoked.pem"));
        openssl(&["ca", "-config", &config, "-revoke", &certificate.to_string_lossy()]);
        openssl(&["ca", "-config", &config, "-gencrl", "-out", &list]);
        list.into()
    }
}

fn of_node(node: &str) -> String {
    format!("subjectAltName=URI:tacit://lab/{node}\nextendedKeyUsage=clientAuth")
}

/// What a server was asked: path and body.
pub type Asked = Arc<Mutex<Vec<(String, Value)>>>;

/// Status, content type, body; status 0 closes the connection without an answer.
pub type Reply = (u16, &'static str, String);

/// Answers requests over TLS; gives its port and what it was asked.
pub fn https(pair: &Pair, answer: impl Fn(&str, &Value) -> Reply + Send + Sync + 'static) -> (u16, Asked) {
    let chain = CertificateDer::pem_file_iter(&pair.cert).expect("a file").collect::<Result<Vec<_>, _>>();
    let key = PrivateKeyDer::from_pem_file(&pair.key).expect("a key");
    let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(chain.expect("certificates"), key)
        .expect("they belong together");
    let config = Arc::new(config);
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = listener.local_addr().expect("an address").port();
    let asked = Asked::default();
    let log = Arc::clone(&asked);
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            // A handshake that is broken off is the test's wish.
            let _ = exchange(stream, &config, &answer, &log);
        }
    });
    (port, asked)
}

fn exchange(
    stream: TcpStream,
    config: &Arc<ServerConfig>,
    answer: &impl Fn(&str, &Value) -> Reply,
    log: &Asked,
) -> std::io::Result<()> {
    let session = ServerConnection::new(Arc::clone(config)).map_err(std::io::Error::other)?;
    let mut tls = BufReader::new(StreamOwned::new(session, stream));
    let mut line = String::new();
    tls.read_line(&mut line)?;
    let path = line.split(' ').nth(1).unwrap_or_default().to_owned();
    let mut length = 0;
    loop {
        line.clear();
        if tls.read_line(&mut line)? <= 2 {
            break;
        }
        if let Some((_, value)) = line.split_once(':').filter(|(key, _)| key.eq_ignore_ascii_case("content-length")) {
            length = value.trim().parse().expect("a number");
        }
    }
    let mut body = vec![0; length];
    tls.read_exact(&mut body)?;
    let body = serde_json::from_slice(&body).unwrap_or_default();
    let (status, kind, text) = answer(&path, &body);
    log.lock().expect("no panic").push((path, body));
    if status == 0 {
        return Ok(());
    }
    let tls = tls.get_mut();
    write!(tls, "HTTP/1.1 {status} X\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n\r\n{text}", text.len())?;
    tls.conn.send_close_notify();
    tls.flush()
}

/// Answers as a collector with this authority does: one token, certificates of 90 days.
pub fn collector(
    authority: &Arc<Authority>,
    token: &str,
    broker: &str,
) -> impl Fn(&str, &Value) -> Reply + Send + Sync + use<> {
    let (authority, token, broker) = (Arc::clone(authority), token.to_owned(), broker.to_owned());
    move |path, body| {
        let node = body["node"].as_str().unwrap_or("from-host");
        match path {
            "/api/v1/ca" => (200, JSON, json!({ "certificates": authority.root_pem() }).to_string()),
            "/api/v1/enroll" if body["token"] != *token => refusal(401, "token_unknown", "this token is not known"),
            "/api/v1/enroll" | "/api/v1/enroll/renew" => {
                let csr = authority.path("asked.csr");
                fs::write(&csr, body["csr"].as_str().expect("a request")).expect("a file");
                verify(&csr, body["node"].as_str());
                let cert = authority.sign_as(node, &csr, &in_days(90));
                let now = Tick::now().wall_ms;
                let reply = json!({
                    "node": node,
                    "site": "lab",
                    "certificate": fs::read_to_string(cert).expect("it was made"),
                    "ca": authority.root_pem(),
                    "broker": broker,
                    "not_after_ms": now + 90 * 86_400_000,
                    "renew_after_ms": now + 60 * 86_400_000,
                });
                (200, JSON, reply.to_string())
            }
            _ => refusal(404, "not_found", "there is no such page"),
        }
    }
}

/// A request is signed by the key that it is for, and asks for the name of the node.
fn verify(csr: &Path, node: Option<&str>) {
    let out = Command::new("openssl").args(["req", "-noout", "-verify", "-subject", "-in"]).arg(csr).output();
    let out = out.expect("openssl is installed");
    let (said, subject) = (String::from_utf8_lossy(&out.stderr), String::from_utf8_lossy(&out.stdout));
    assert!(out.status.success() && said.contains("verify OK"), "{said}");
    if let Some(node) = node {
        assert_eq!(subject.trim(), format!("subject=CN = {node}"));
    }
}

pub const JSON: &str = "application/json";

/// An answer that says no.
pub fn refusal(status: u16, code: &str, message: &str) -> Reply {
    let body = json!({ "error": { "code": code, "message": message, "hint": "do something about it" } });
    (status, JSON, body.to_string())
}
