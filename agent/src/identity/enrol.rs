//! Enrolling and renewing: three questions to the collector's https.
//!
//! ```text
//! GET  /api/v1/ca            → its roots. Not verified: what makes them believable is the token, which names one of them
//! POST /api/v1/enroll        token and request → certificate, roots, broker. Verified against that one root
//! POST /api/v1/enroll/renew  node and request → the same. Verified against the roots in force
//! ```
//!
//! Of the roots in the first answer only the one that the token names is trusted, for the second question: whoever stands
//! between could add one of his own to that list. The second answer has all.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use serde::Deserialize;
use serde_json::{Value, json};
use tacit_wire::{Digest, NodeId, SiteId};

use super::csr;
use super::der;
use super::floor::Floor;
use super::http::{self, Answer};
use super::key::Key;
use super::store::{Enrolled, Given};
use crate::clock::Tick;
use crate::publish::dial::{Dial, Progress, Proxy, Step, authority, host_and_port};
use crate::publish::tls::trusting;
use crate::publish::words::{self, About};
use crate::source::probe::stream;

/// Longest time of one question, its connection included.
const LIMIT: Duration = Duration::from_secs(20);
/// Hexadecimal digits of the pin in a token.
const PIN: usize = 32;

/// A token as `tacit node token` prints it: `tacit1.ID.SECRET.PIN`.
#[derive(Clone, PartialEq, Eq)]
pub struct Token {
    text: String,
    pin: String,
}

/// Only its number is no secret.
impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Token({}…)", self.text.get(..15).unwrap_or_default())
    }
}

impl FromStr for Token {
    type Err = String;

    /// The error never repeats the text.
    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let wrong = |what: &str| {
            Err(format!(
                "this is no enrolment token ({what}): expected tacit1.ID.SECRET.PIN in one piece, as `tacit node token` prints it"
            ))
        };
        let hex = |part: &str| part.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
        let parts: Vec<&str> = text.split('.').collect();
        let [version, id, secret, pin] = parts.as_slice() else {
            return wrong(if text.is_empty() { "it is empty" } else { "it has not four parts" });
        };
        if *version != "tacit1" {
            return wrong("it does not begin with tacit1");
        }
        if id.len() != 8 || !hex(id) || pin.len() != PIN || !hex(pin) {
            return wrong("something of it is missing");
        }
        if secret.len() != 43 || !secret.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_') {
            return wrong("something of it is missing");
        }
        Ok(Self { text: text.to_owned(), pin: (*pin).to_owned() })
    }
}

/// Why there is no certificate.
#[derive(Debug, thiserror::Error)]
pub enum EnrolError {
    /// No connection, or none that is trusted.
    #[error("{0}")]
    Connection(String),
    /// It was asked, and no answer came: it may have given a certificate all the same.
    #[error("{0}")]
    Lost(String),
    /// It is not the collector that made the token.
    #[error(
        "the collector at {address} is not the one that this token is for: the token names an authority with the fingerprint \
         {pin}, and that collector has {found}. Is the token from another collector, or older than its authority? Then make a \
         new one there (tacit node token). If not, somebody stands between: nothing was sent"
    )]
    Pin {
        /// `HOST:PORT`.
        address: String,
        /// What the token names.
        pin: String,
        /// What was shown.
        found: String,
    },
    /// Something else answers there.
    #[error("{0}")]
    NotTheCollector(String),
    /// The collector says no.
    #[error("the collector refuses: {message}{hint} ({code})")]
    Refused {
        /// One word for programs.
        code: String,
        /// What is wrong.
        message: String,
        /// What to do, after a semicolon; or nothing.
        hint: String,
    },
    /// It says yes, but what it gives cannot be used.
    #[error("the collector's answer cannot be used: {0}")]
    Answer(String),
}

impl EnrolError {
    /// Whether asking again changes nothing until a person does something.
    #[must_use]
    pub fn lasts(&self) -> bool {
        const LASTING: [&str; 4] = ["node_revoked", "node_unknown", "key_unknown", "grace_over"];
        matches!(self, Self::Refused { code, .. } if LASTING.contains(&code.as_str()))
    }

    /// Nothing was asked for yet when this happened.
    fn before(self) -> Self {
        match self {
            Self::Lost(words) => Self::Connection(words),
            other => other,
        }
    }
}

/// The collector's https.
#[derive(Debug, Clone)]
pub struct Collector {
    host: String,
    port: u16,
    proxy: Option<Proxy>,
}

impl fmt::Display for Collector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "https://{}", authority(&self.host, self.port))
    }
}

/// What a node asks for.
#[derive(Debug)]
pub struct Wish<'a> {
    /// The right to ask.
    pub token: &'a Token,
    /// The key that the certificate is for.
    pub key: &'a Key,
    /// The name it wants; without one the collector chooses.
    pub node: Option<&'a NodeId>,
    /// What it would be called by its host name.
    pub default: &'a NodeId,
    /// Its host name.
    pub host: &'a str,
    /// Further roots to trust for https, for a collector whose certificate is from elsewhere.
    pub further_roots: &'a [CertificateDer<'static>],
}

/// What a collector answers.
#[derive(Debug, Deserialize)]
struct Reply {
    node: NodeId,
    site: SiteId,
    certificate: String,
    ca: String,
    broker: String,
    not_after_ms: i64,
    renew_after_ms: i64,
}

impl Collector {
    /// At this URL, through this proxy.
    ///
    /// # Errors
    /// When it is no `https://HOST:PORT`.
    pub fn new(url: &str, proxy: Option<&str>) -> Result<Self, String> {
        const FORM: &str = "expected https://HOST:PORT";
        let proxy = proxy.map(str::parse::<Proxy>).transpose()?;
        if url.starts_with("http://") {
            return Err(format!("{url:?}: a token is not sent without TLS: {FORM}"));
        }
        if url.contains('@') {
            return Err(format!("the collector's address holds a user name; none is needed: {FORM}"));
        }
        let rest = url.strip_prefix("https://").map(|rest| rest.strip_suffix('/').unwrap_or(rest));
        let Some((host, port)) = rest.and_then(host_and_port) else { return Err(format!("{url:?}: {FORM}")) };
        Ok(Self { host: host.to_owned(), port: port.unwrap_or(443), proxy })
    }

    fn address(&self) -> String {
        authority(&self.host, self.port)
    }

    /// Asks for the first certificate.
    ///
    /// # Errors
    /// Why there is none.
    pub async fn enrol(&self, wish: &Wish<'_>, floor: &Arc<Floor>) -> Result<Given, EnrolError> {
        let unverified = stream::config().map_err(EnrolError::Connection)?;
        let shown = self.ask(unverified, "", floor, "/api/v1/ca", None).await.map_err(EnrolError::before)?;
        let pinned = self.pinned(&shown, &wish.token.pin)?;
        let mut roots = vec![pinned];
        roots.extend(wish.further_roots.iter().cloned());
        let tls = trusting(roots, floor).map_err(EnrolError::Answer)?.with_no_client_auth();
        let name = wish.node.unwrap_or(wish.default);
        let csr = csr::request(wish.key, name.as_str()).map_err(EnrolError::Connection)?;
        let body = json!({ "token": wish.token.text, "csr": csr, "node": wish.node, "host": wish.host }).to_string();
        let trusted = "the authority that the token names";
        let reply = self.ask(Arc::new(tls), trusted, floor, "/api/v1/enroll", Some(&body)).await?;
        floor.verified(Tick::now());
        self.given(reply, wish.key, wish.node, None)
    }

    /// Asks for the next certificate, with the key of the last.
    ///
    /// # Errors
    /// Why there is none.
    pub async fn renew(
        &self,
        roots: Vec<CertificateDer<'static>>,
        key: &Key,
        enrolled: &Enrolled,
        floor: &Arc<Floor>,
    ) -> Result<Given, EnrolError> {
        let tls = trusting(roots, floor).map_err(EnrolError::Connection)?.with_no_client_auth();
        let csr = csr::request(key, enrolled.node.as_str()).map_err(EnrolError::Connection)?;
        let body = json!({ "node": enrolled.node, "csr": csr }).to_string();
        let trusted = "the authorities it was enrolled with";
        let reply = self.ask(Arc::new(tls), trusted, floor, "/api/v1/enroll/renew", Some(&body)).await?;
        floor.verified(Tick::now());
        self.given(reply, key, Some(&enrolled.node), Some(&enrolled.site))
    }

    /// One question and its answer, if that is JSON and no error.
    async fn ask(
        &self,
        tls: Arc<ClientConfig>,
        roots: &str,
        floor: &Arc<Floor>,
        path: &str,
        body: Option<&str>,
    ) -> Result<Value, EnrolError> {
        let about = About {
            who: words::COLLECTOR,
            address: self.address(),
            roots: roots.to_owned(),
            node: String::new(),
            own: None,
            tls: true,
            floor: Arc::clone(floor),
        };
        let (host, port, proxy) = (self.host.clone(), self.port, self.proxy.clone());
        let dial = Dial { host, port, proxy, tls: Some(tls) };
        let progress = Progress::default();
        let exchange = async {
            let opened = dial.open(&progress).await;
            let mut stream = opened.map_err(|e| EnrolError::Connection(words::dial(&e, &about, Tick::now()).words))?;
            http::ask(&mut stream, &about.address, path, body)
                .await
                .map_err(|why| EnrolError::Lost(format!("the collector at {} {why}", about.address)))
        };
        match tokio::time::timeout(LIMIT, exchange).await {
            Ok(answer) => self.understood(&answer?),
            Err(_) => {
                let words = words::timeout(&progress, &about).words;
                Err(if progress.step() == Step::Open { EnrolError::Lost(words) } else { EnrolError::Connection(words) })
            }
        }
    }

    /// What an answer says; a proxy or another server in the collector's place answers with pages.
    fn understood(&self, answer: &Answer) -> Result<Value, EnrolError> {
        let Answer { status, kind, body } = answer;
        let address = self.address();
        let Ok(value) = serde_json::from_slice::<Value>(body) else {
            let page = kind.contains("html") || body.trim_ascii_start().starts_with(b"<");
            let what = if page { "with a web page" } else { "without JSON" };
            return Err(EnrolError::NotTheCollector(format!(
                "{address} answers {what} (status {status}): is that the collector's https address (http.listen), or does a proxy \
                 stand between that answers in its place?"
            )));
        };
        if (200..300).contains(status) {
            return Ok(value);
        }
        let text = |key: &str| {
            let text = value["error"][key].as_str().unwrap_or_default();
            text.chars().filter(|c| !c.is_control()).take(400).collect::<String>()
        };
        let (code, message, hint) = (text("code").replace('-', "_"), text("message"), text("hint"));
        if message.is_empty() {
            let what = format!("{address} answers with status {status} and no reason: is that a collector?");
            return Err(EnrolError::NotTheCollector(what));
        }
        let hint = if hint.is_empty() { hint } else { format!("; {hint}") };
        Err(EnrolError::Refused { code, message, hint })
    }

    /// The root that the token names.
    fn pinned(&self, shown: &Value, pin: &str) -> Result<CertificateDer<'static>, EnrolError> {
        let text = shown["certificates"].as_str().unwrap_or_default();
        let roots: Vec<_> = CertificateDer::pem_slice_iter(text.as_bytes()).flatten().collect();
        if let Some(root) = roots.iter().find(|root| fingerprint(root) == pin) {
            return Ok(root.clone());
        }
        let found: Vec<String> = roots.iter().take(4).map(fingerprint).collect();
        let found = if found.is_empty() { "none".to_owned() } else { found.join(", ") };
        Err(EnrolError::Pin { address: self.address(), pin: pin.to_owned(), found })
    }

    /// Checks what was given before anything is replaced by it.
    fn given(
        &self,
        reply: Value,
        key: &Key,
        node: Option<&NodeId>,
        site: Option<&SiteId>,
    ) -> Result<Given, EnrolError> {
        let wrong = |what: String| Err(EnrolError::Answer(what));
        let reply: Reply = serde_json::from_value(reply).map_err(|e| EnrolError::Answer(e.to_string()))?;
        let first = CertificateDer::from_pem_slice(reply.certificate.as_bytes());
        let leaf = first.map_err(|e| EnrolError::Answer(format!("it holds no certificate: {e}")))?;
        let Some(about) = der::describe(&leaf) else { return wrong("its certificate cannot be read".into()) };
        if about.name != reply.node.as_str() {
            return wrong(format!("its certificate is for {:?}, not for {:?}", about.name, reply.node.as_str()));
        }
        if let Some(node) = node.filter(|node| **node != reply.node) {
            return wrong(format!(
                "it is for the node {:?}, and {:?} was asked for",
                reply.node.as_str(),
                node.as_str()
            ));
        }
        if let Some(site) = site.filter(|site| **site != reply.site) {
            let (now, before) = (reply.site.as_str(), site.as_str());
            return wrong(format!(
                "the node was moved from site {before} to {now}: enrol it again (--again) with a new token"
            ));
        }
        if !leaf.windows(key.public().len()).any(|part| part == key.public()) {
            return wrong("its certificate is for another key".into());
        }
        if CertificateDer::from_pem_slice(reply.ca.as_bytes()).is_err() {
            return wrong("it names no authority to trust".into());
        }
        let broker = reply.broker.strip_prefix("mqtts://").and_then(host_and_port);
        if !matches!(broker, Some((_, Some(_)))) {
            return wrong(format!("its broker {:?} is no mqtts://HOST:PORT", reply.broker));
        }
        let Reply { node, site, certificate, ca, broker, not_after_ms, renew_after_ms } = reply;
        let renew_after_ms = renew_after_ms.min(not_after_ms);
        let enrolled = Enrolled { collector: self.to_string(), node, site, broker, not_after_ms, renew_after_ms };
        Ok(Given { certificate, roots: ca, enrolled })
    }
}

/// The beginning of the SHA-256 of a certificate, as in a token.
fn fingerprint(certificate: &CertificateDer<'_>) -> String {
    let mut text = Digest::of(certificate).to_string();
    text.truncate(PIN);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA-_";
    const PINNED: &str = "0123456789abcdef0123456789abcdef";

    #[test]
    fn tokens_are_read_and_never_repeated() {
        let text = format!("tacit1.0a1b2c3d.{SECRET}.{PINNED}");
        let token: Token = format!("  {text}\n").parse().expect("a token");
        assert_eq!((token.text.as_str(), token.pin.as_str()), (text.as_str(), PINNED));
        assert_eq!(format!("{token:?}"), "Token(tacit1.0a1b2c3d…)");
        for (bad, words) in [
            (String::new(), "it is empty"),
            (SECRET.to_owned(), "it has not four parts"),
            (text.replace("tacit1", "tacit2"), "begin with tacit1"),
            (text.replace("0a1b2c3d", "0a1b2c3"), "missing"),
            (text.replace("0a1b2c3d", "0A1B2C3D"), "missing"),
            (text.replace(SECRET, &SECRET[1..]), "missing"),
            (text.replace(SECRET, &SECRET.replace('-', "+")), "missing"),
            (text[..text.len() - 1].to_owned(), "missing"),
        ] {
            let error = bad.parse::<Token>().expect_err(&bad);
            assert!(error.contains(words) && error.contains("tacit node token"), "{error}");
            assert!(!error.contains("AAAA"), "{error}");
        }
    }

    #[test]
    fn only_https_is_asked() {
        for (url, shown) in [
            ("https://hq.example:8420", "https://hq.example:8420"),
            ("https://hq.example/", "https://hq.example:443"),
            ("https://[::1]:8420", "https://[::1]:8420"),
        ] {
            assert_eq!(Collector::new(url, None).expect(url).to_string(), shown);
        }
        for (bad, words) in [
            ("http://hq.example:8420", "without TLS"),
            ("hq.example:8420", "expected https://"),
            ("https://hq.example:8420/console", "expected https://"),
            ("https://me:secret@hq.example", "holds a user name; none is needed"),
            ("https://", "expected https://"),
        ] {
            assert!(Collector::new(bad, None).is_err_and(|e| e.contains(words)), "{bad}");
        }
        assert!(Collector::new("https://hq", Some("proxy:1")).is_err_and(|e| e.contains("http://HOST:PORT")));
    }

    fn answer(status: u16, kind: &str, body: &str) -> Result<Value, EnrolError> {
        let collector = Collector::new("https://hq.example:8420", None).expect("a collector");
        collector.understood(&Answer { status, kind: kind.into(), body: body.into() })
    }

    #[test]
    fn answers_are_told_apart() {
        assert_eq!(answer(200, "application/json", "{\"a\":1}").expect("good")["a"], 1);
        let refused = r#"{"error":{"code":"token_used","message":"this token was used","hint":"make another"}}"#;
        let error = answer(401, "application/json", refused).expect_err("it is refused");
        assert_eq!(error.to_string(), "the collector refuses: this token was used; make another (token_used)");
        assert!(!error.lasts());
        let revoked = r#"{"error":{"code":"node-revoked","message":"web-1 was revoked","hint":""}}"#;
        let error = answer(403, "application/json", revoked).expect_err("it is refused");
        assert_eq!(error.to_string(), "the collector refuses: web-1 was revoked (node_revoked)");
        assert!(error.lasts());
        for (status, kind, body, words) in [
            (200, "text/html", "<!doctype html><p>Log in", "with a web page (status 200)"),
            (502, "", "  <html>", "with a web page (status 502)"),
            (200, "text/plain", "hello", "without JSON"),
            (404, "application/json", "{}", "status 404 and no reason"),
        ] {
            let error = answer(status, kind, body).expect_err(body).to_string();
            assert!(error.contains(words) && error.contains("hq.example:8420"), "{error}");
        }
    }

    #[test]
    fn an_authority_that_the_token_does_not_name_is_refused() {
        let collector = Collector::new("https://hq.example:8420", None).expect("a collector");
        let (one, other) = (der::pem("CERTIFICATE", b"one"), der::pem("CERTIFICATE", b"other"));
        let pin = fingerprint(&CertificateDer::from(b"one".to_vec()));
        assert_eq!(pin, Digest::of(b"one").to_string()[..32]);
        let shown = json!({ "certificates": format!("{other}{one}") });
        let root = collector.pinned(&shown, &pin).expect("it is among them");
        assert_eq!(root.as_ref(), b"one");
        for (shown, words) in [
            (json!({ "certificates": other }), Digest::of(b"other").to_string()[..32].to_owned()),
            (json!({ "certificates": "" }), "has none".to_owned()),
            (json!({}), "has none".to_owned()),
        ] {
            let error = collector.pinned(&shown, &pin).expect_err("it is not").to_string();
            assert!(error.contains(&pin) && error.contains(&words) && error.contains("nothing was sent"), "{error}");
        }
    }

    #[test]
    fn what_was_not_asked_for_is_not_taken() {
        let collector = Collector::new("https://hq.example:8420", None).expect("a collector");
        let (key, _) = Key::generate().expect("a key");
        let reply = json!({
            "node": "web-1", "site": "lab", "certificate": der::pem("CERTIFICATE", b"nonsense"), "ca": "",
            "broker": "mqtts://hq.example:8883", "not_after_ms": 2, "renew_after_ms": 1,
        });
        let error = collector.given(reply, &key, None, None).expect_err("no certificate").to_string();
        assert!(error.contains("its certificate cannot be read"), "{error}");
        let error = collector.given(json!({ "node": "Web 1" }), &key, None, None).expect_err("no node").to_string();
        assert!(error.contains("Web 1"), "{error}");
    }
}
