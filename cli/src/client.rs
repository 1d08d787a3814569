//! The collector's API from the command line.

use std::io::BufRead as _;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Longest wait for an answer.
const TIMEOUT: Duration = Duration::from_secs(15);

/// A collector's API.
#[derive(Debug)]
pub struct Client {
    base: String,
    agent: ureq::Agent,
}

impl Client {
    /// A client of the collector at `base` (`http://HOST:PORT`).
    pub fn new(base: &str) -> Self {
        let config = ureq::Agent::config_builder().timeout_connect(Some(TIMEOUT)).http_status_as_error(false);
        Self { base: base.trim_end_matches('/').to_owned(), agent: config.build().into() }
    }

    /// Asks for a resource below `/api/v1`.
    ///
    /// # Errors
    /// When the collector cannot be reached, refuses, or answers in another form.
    pub fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T> {
        let url = format!("{}/api/v1{path}", self.base);
        let answer = self.agent.get(&url).config().timeout_global(Some(TIMEOUT)).build().call();
        read(answer.with_context(|| self.unreachable())?, &url)
    }

    /// Asks for a text below `/api/v1`.
    ///
    /// # Errors
    /// As [`Client::get`].
    pub fn text(&self, path: &str) -> Result<String> {
        let url = format!("{}/api/v1{path}", self.base);
        let answer = self.agent.get(&url).config().timeout_global(Some(TIMEOUT)).build().call();
        body(answer.with_context(|| self.unreachable())?)
    }

    /// Does something to a resource below `/api/v1`.
    ///
    /// # Errors
    /// As [`Client::get`].
    pub fn post<B: Serialize, T: DeserializeOwned>(&self, path: &str, body: &B) -> Result<T> {
        let url = format!("{}/api/v1{path}", self.base);
        let answer = self.agent.post(&url).config().timeout_global(Some(TIMEOUT)).build().send_json(body);
        read(answer.with_context(|| self.unreachable())?, &url)
    }

    /// Reads server-sent events below `/api/v1` until the collector ends them; each is given as its name and data.
    ///
    /// # Errors
    /// As [`Client::get`], and whatever `each` returns.
    pub fn follow(&self, path: &str, mut each: impl FnMut(&str, &str) -> Result<()>) -> Result<()> {
        let url = format!("{}/api/v1{path}", self.base);
        let answer = self.agent.get(&url).call().with_context(|| self.unreachable())?;
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
        format!(
            "cannot reach the collector at {}: is `tacit up` or tacit-collector running there? (--collector URL)",
            self.base
        )
    }
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
