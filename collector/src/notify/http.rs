//! Requests to receivers: bounded in time and size, and with an error that says whether trying again can help.

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ureq::http::Request;
use ureq::tls::{Certificate, RootCerts, TlsConfig};

use crate::map::names::plain;

/// Longest wait for a receiver, from the first question to the resolver to the last byte of its answer.
pub const TIMEOUT: Duration = Duration::from_secs(10);
/// What is read of an answer that is an error, in bytes.
const ANSWER_MAX: u64 = 300;

/// Why something was not sent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub struct SendError {
    /// Whether it may work later.
    pub retry: bool,
    /// What happened.
    pub text: String,
}

impl SendError {
    /// It may work later.
    pub fn later(text: impl Into<String>) -> Self {
        Self { retry: true, text: text.into() }
    }

    /// It will not work, however often it is tried.
    pub fn never(text: impl Into<String>) -> Self {
        Self { retry: false, text: text.into() }
    }
}

/// A client for all receivers.
#[derive(Debug, Clone)]
pub struct Http {
    agent: ureq::Agent,
}

impl Http {
    /// A client; `tls` says that there are addresses with https, for which the machine's certificates are read.
    #[must_use]
    pub fn new(tls: bool) -> Self {
        let mut config = ureq::Agent::config_builder()
            .timeout_global(Some(TIMEOUT))
            .http_status_as_error(false)
            .max_redirects(0)
            // Each message has a connection of its own: one that a receiver closed meanwhile is no failure.
            .max_idle_connections(0)
            .user_agent(concat!("tacit-collector/", env!("CARGO_PKG_VERSION")));
        if tls {
            config = config.tls_config(TlsConfig::builder().root_certs(trusted()).build());
        }
        Self { agent: config.build().into() }
    }

    /// Makes a request and gives the status of a good answer.
    ///
    /// # Errors
    /// When it cannot be made, or the answer is not good.
    pub fn send(&self, call: &Call<'_>) -> Result<String, SendError> {
        let wrong = |e: ureq::http::Error| SendError::never(format!("the request cannot be made: {e}"));
        let mut request = Request::builder().method(call.method).uri(call.url);
        for (name, value) in &call.headers {
            request = request.header(*name, *value);
        }
        if let Some(value) = call.auth.header()? {
            request = request.header("authorization", value);
        }
        let answer = match &call.body {
            Some((kind, body)) => {
                self.agent.run(request.header("content-type", *kind).body(body.as_str()).map_err(wrong)?)
            }
            None => self.agent.run(request.body(()).map_err(wrong)?),
        };
        let answer = answer.map_err(|e| unsent(&e))?;
        let status = answer.status();
        if status.is_success() {
            return Ok(status.to_string());
        }
        let mut said = Vec::new();
        // What came until it broke off is enough.
        let _ = answer.into_body().into_reader().take(ANSWER_MAX).read_to_end(&mut said);
        let said = plain(String::from_utf8_lossy(&said).trim());
        let text = if said.is_empty() { status.to_string() } else { format!("{status}: {said}") };
        let later = matches!(status.as_u16(), 408 | 429) || status.is_server_error();
        Err(SendError { retry: later, text })
    }
}

/// A request.
#[derive(Debug)]
pub struct Call<'a> {
    /// Its method.
    pub method: &'a str,
    /// Where it goes.
    pub url: &'a str,
    /// Headers.
    pub headers: Vec<(&'a str, &'a str)>,
    /// Who asks.
    pub auth: &'a Auth,
    /// What the body is, and the body.
    pub body: Option<(&'a str, String)>,
}

/// Who asks: a user with a password, or who has a token.
#[derive(Debug, Clone, Default)]
pub struct Auth {
    /// User name and file with the password.
    pub user: Option<(String, PathBuf)>,
    /// File with the token.
    pub bearer: Option<PathBuf>,
}

impl Auth {
    fn header(&self) -> Result<Option<String>, SendError> {
        if let Some((user, file)) = &self.user {
            return Ok(Some(format!("Basic {}", base64(format!("{user}:{}", secret(file)?).as_bytes()))));
        }
        self.bearer.as_deref().map(|file| Ok(format!("Bearer {}", secret(file)?))).transpose()
    }

    /// Whether its secrets can be read.
    ///
    /// # Errors
    /// Which cannot.
    pub fn check(&self) -> Result<(), SendError> {
        self.header().map(drop)
    }
}

/// The first line of a file that holds a secret.
///
/// # Errors
/// When it cannot be read; it may be there later.
pub fn secret(file: &Path) -> Result<String, SendError> {
    let text =
        std::fs::read_to_string(file).map_err(|e| SendError::later(format!("cannot read {}: {e}", file.display())))?;
    Ok(text.lines().next().unwrap_or_default().trim().to_owned())
}

/// Addresses may be secrets, so errors do not name them.
fn unsent(error: &ureq::Error) -> SendError {
    match error {
        ureq::Error::BadUri(_) => SendError::never("the address cannot be used"),
        ureq::Error::Http(_) | ureq::Error::InvalidProxyUrl => SendError::never(error.to_string()),
        ureq::Error::Timeout(_) => SendError::later(format!("no answer within {} s", TIMEOUT.as_secs())),
        ureq::Error::Io(e) => SendError::later(e.to_string()),
        _ => SendError::later(error.to_string()),
    }
}

/// Certificates of authorities that this machine trusts; where it has none, those of Mozilla.
fn trusted() -> RootCerts {
    let found = rustls_native_certs::load_native_certs();
    let certificates: Vec<_> = found.certs.iter().map(|c| Certificate::from_der(c).to_owned()).collect();
    if certificates.is_empty() { RootCerts::WebPki } else { RootCerts::new_with_certs(&certificates) }
}

/// RFC 4648, as user and password travel.
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for three in bytes.chunks(3) {
        let byte = |n: usize| u32::from(three.get(n).copied().unwrap_or(0));
        let bits = (byte(0) << 16) | (byte(1) << 8) | byte(2);
        for n in 0..4_usize {
            let digit = DIGITS[((bits >> (18 - 6 * n)) & 63) as usize];
            text.push(if n <= three.len() { char::from(digit) } else { '=' });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_that_of_the_standard() {
        for (text, expected) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foobar", "Zm9vYmFy"),
            ("a:b\u{ff}?", "YTpiw78/"),
        ] {
            assert_eq!(base64(text.as_bytes()), expected, "{text}");
        }
    }

    #[test]
    fn secrets_are_read_each_time() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("token");
        let auth = Auth { user: None, bearer: Some(file.clone()) };
        let missing = auth.check().unwrap_err();
        assert!(missing.retry && missing.text.starts_with("cannot read "), "{missing}");
        std::fs::write(&file, "one\n").unwrap();
        assert_eq!(auth.header().unwrap().as_deref(), Some("Bearer one"));
        std::fs::write(&file, "two\r\nmore").unwrap();
        assert_eq!(auth.header().unwrap().as_deref(), Some("Bearer two"));
        let auth = Auth { user: Some(("ana".into(), file)), bearer: None };
        assert_eq!(auth.header().unwrap().as_deref(), Some("Basic YW5hOnR3bw=="));
        assert_eq!(Auth::default().header().unwrap(), None);
    }

    #[test]
    fn who_does_not_listen_may_listen_later() {
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let url = format!("http://127.0.0.1:{port}/");
        let auth = Auth::default();
        let call = Call { method: "GET", url: &url, headers: Vec::new(), auth: &auth, body: None };
        let error = Http::new(false).send(&call).unwrap_err();
        assert!(error.retry, "{error}");
        let call = Call { url: "http://[", ..call };
        assert!(!Http::new(false).send(&call).unwrap_err().retry);
    }
}
