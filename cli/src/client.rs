//! The collector's API from the command line.

use std::io::BufRead as _;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use serde::Serialize;
use serde::de::DeserializeOwned;
use ureq::tls::{PemItem, RootCerts, TlsConfig, parse_pem};

use crate::arguments::Ask;

/// Longest wait for an answer.
const TIMEOUT: Duration = Duration::from_secs(15);

/// A collector's API.
#[derive(Debug)]
pub struct Client {
    base: String,
    agent: ureq::Agent,
    /// What it shows to be let in.
    bearer: Option<String>,
}

impl Client {
    /// A client as a command asks for it.
    ///
    /// # Errors
    /// When its token or its roots cannot be read.
    pub fn of(ask: &Ask) -> Result<Self> {
        Self::to(&ask.collector, ask.token_file.as_deref(), ask.ca_file.as_deref())
    }

    /// A client of the collector at `base` (`http://HOST:PORT`) with the token in a file or else in the environment. Over https the collector has to
    /// show a certificate of the roots in a file, or else of a public authority.
    ///
    /// # Errors
    /// When token or roots cannot be read.
    pub fn to(base: &str, token_file: Option<&Path>, ca_file: Option<&Path>) -> Result<Self> {
        let mut config = ureq::Agent::config_builder().timeout_connect(Some(TIMEOUT)).http_status_as_error(false);
        if let Some(file) = ca_file {
            config = config.tls_config(TlsConfig::builder().root_certs(roots(file)?).build());
        }
        let bearer = token(token_file, std::env::var("TACIT_TOKEN").ok())?.map(|token| format!("Bearer {token}"));
        Ok(Self { base: base.trim_end_matches('/').to_owned(), agent: config.build().into(), bearer })
    }

    /// A request that shows who asks.
    fn signed<B>(&self, request: ureq::RequestBuilder<B>) -> ureq::RequestBuilder<B> {
        match &self.bearer {
            Some(bearer) => request.header("authorization", bearer.as_str()),
            None => request,
        }
    }

    /// Asks for a resource below `/api/v1`.
    ///
    /// # Errors
    /// When the collector cannot be reached, refuses, or answers in another form.
    pub fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T> {
        let url = format!("{}/api/v1{path}", self.base);
        let answer = self.signed(self.agent.get(&url)).config().timeout_global(Some(TIMEOUT)).build().call();
        read(answer.with_context(|| self.unreachable())?, &url)
    }

    /// Asks for a text below `/api/v1`.
    ///
    /// # Errors
    /// As [`Client::get`].
    pub fn text(&self, path: &str) -> Result<String> {
        let url = format!("{}/api/v1{path}", self.base);
        let answer = self.signed(self.agent.get(&url)).config().timeout_global(Some(TIMEOUT)).build().call();
        body(answer.with_context(|| self.unreachable())?)
    }

    /// Does something to a resource below `/api/v1`.
    ///
    /// # Errors
    /// As [`Client::get`].
    pub fn post<B: Serialize, T: DeserializeOwned>(&self, path: &str, body: &B) -> Result<T> {
        let url = format!("{}/api/v1{path}", self.base);
        let answer = self.signed(self.agent.post(&url)).config().timeout_global(Some(TIMEOUT)).build().send_json(body);
        read(answer.with_context(|| self.unreachable())?, &url)
    }

    /// Reads server-sent events below `/api/v1` until the collector ends them; each is given as its name and data.
    ///
    /// # Errors
    /// As [`Client::get`], and whatever `each` returns.
    pub fn follow(&self, path: &str, mut each: impl FnMut(&str, &str) -> Result<()>) -> Result<()> {
        let url = format!("{}/api/v1{path}", self.base);
        let answer = self.signed(self.agent.get(&url)).call().with_context(|| self.unreachable())?;
        if !answer.status().is_success() {
            return read::<serde_json::Value>(answer, &url).map(drop);
        }
        let mut name = String::new();
        for line in std::io::BufReader::new(answer.into_body().into_reader()).lines() {
            let line = line.context("the collector ended the stream")?;
            if let Some(event) = line.strip_prefix("event:") {
                event.trim().clone_into(&mut name);
            } else if let Some(data) = line.strip_prefix("data:") {
                each(&name, data.trim())?;
            }
        }
        Ok(())
    }

    fn unreachable(&self) -> String {
        let tls = if self.base.starts_with("https://") {
            "; if its certificate is of its own authority, --ca-file names that: on its machine, tacit ca show --pem"
        } else {
            ""
        };
        format!(
            "cannot reach the collector at {}: is `tacit up` or tacit-collector running there? (--collector URL){tls}",
            self.base
        )
    }
}

/// The roots in a file.
fn roots(file: &Path) -> Result<RootCerts> {
    let text = std::fs::read(file).with_context(|| format!("--ca-file: cannot read {}", file.display()))?;
    let certificate = |item| if let Ok(PemItem::Certificate(found)) = item { Some(found) } else { None };
    let roots: Vec<_> = parse_pem(&text).filter_map(certificate).collect();
    if roots.is_empty() {
        bail!("--ca-file: {} holds no certificate in PEM form", file.display());
    }
    Ok(RootCerts::new_with_certs(&roots))
}

/// The token in the first line of a file, or else in the environment.
///
/// # Errors
/// When the file cannot be read, or what is there is no token.
pub fn token(file: Option<&Path>, variable: Option<String>) -> Result<Option<String>> {
    let (text, place) = match file {
        Some(file) => {
            let text = std::fs::read_to_string(file)
                .with_context(|| format!("--token-file: cannot read {}", file.display()))?;
            (text, file.display().to_string())
        }
        None => (variable.unwrap_or_default(), "TACIT_TOKEN".to_owned()),
    };
    let token = text.lines().next().unwrap_or_default().trim();
    if token.is_empty() && file.is_none() {
        return Ok(None);
    }
    if token.is_empty() || !token.bytes().all(|b| b.is_ascii_graphic()) {
        bail!("{place} holds no token: write what `tacit token make` printed, tacit-api.…");
    }
    Ok(Some(token.to_owned()))
}

fn read<T: DeserializeOwned>(answer: ureq::http::Response<ureq::Body>, url: &str) -> Result<T> {
    let text = body(answer)?;
    serde_json::from_str(&text).with_context(|| format!("{url} did not answer as a Tacit collector does"))
}

/// The body of a good answer; what else is said is the error.
fn body(mut answer: ureq::http::Response<ureq::Body>) -> Result<String> {
    let status = answer.status();
    let text = answer.body_mut().with_config().limit(64 << 20).read_to_string().context("the answer broke off")?;
    if !status.is_success() {
        let error: serde_json::Value = serde_json::from_str(&text).unwrap_or_default();
        let message = error["error"]["message"].as_str().unwrap_or(text.trim());
        match error["error"]["hint"].as_str() {
            Some(hint) => bail!("{message} ({hint})"),
            None => bail!("{message} ({status})"),
        }
    }
    Ok(text)
}

/// A value as it may stand in a query.
pub fn escaped(value: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._~/:".contains(&b);
    value.bytes().map(|b| if plain(b) { char::from(b).to_string() } else { format!("%{b:02X}") }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_comes_from_a_file_or_the_environment() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("token");
        let variable = || Some("tacit-api.1.x".to_owned());
        assert_eq!(token(None, None).unwrap(), None);
        assert_eq!(token(None, Some("\n".into())).unwrap(), None);
        assert_eq!(token(None, variable()).unwrap(), variable());
        std::fs::write(&file, " tacit-api.2.y \nmore\n").unwrap();
        assert_eq!(token(Some(&file), variable()).unwrap().as_deref(), Some("tacit-api.2.y"));
        std::fs::write(&file, "\n").unwrap();
        assert!(token(Some(&file), variable()).unwrap_err().to_string().contains("holds no token"));
        assert!(token(None, Some("a\tb".into())).unwrap_err().to_string().starts_with("TACIT_TOKEN holds no token"));
        let missing = token(Some(&folder.path().join("missing")), None).unwrap_err().to_string();
        assert!(missing.starts_with("--token-file: cannot read"), "{missing}");
    }
}
