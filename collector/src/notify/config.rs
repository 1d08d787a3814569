//! `[notify]`: when is told, to whom, and by which way.
//!
//! Secrets stand in files of their own, which are read each time something is sent: they can be changed without a restart, and
//! nothing prints them.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::PathBuf;

use lettre::message::Mailbox;
use serde::{Deserialize, Serialize};
use ureq::http::{HeaderName, HeaderValue, Uri};
use utoipa::ToSchema;

use super::route::RouteConfig;
use super::units::Span;
use super::webhook::Template;

/// The name under which the collector notes for itself what was worth a page; no receiver has it.
pub const CONSOLE: &str = "console";
/// Most receivers. Each may have a few threads of its own.
const RECEIVERS_MAX: usize = 50;
/// Longest template.
const TEMPLATE_MAX: usize = 64 * 1024;

/// `[notify]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NotifyConfig {
    /// An incident younger than this is not told yet, so that it comes with its cause and its symptoms.
    pub wait: Span,
    /// A receiver that was told of an incident hears of changes at most so often.
    pub interval: Span,
    /// It is told again after this long while nobody has taken it.
    pub repeat: Span,
    /// Where people reach the console, for links. By default where it listens.
    pub external_url: Option<String>,
    /// Who is told.
    pub receiver: Vec<ReceiverConfig>,
    /// Who of them is told of what; without routes all are told of all.
    pub route: Vec<RouteConfig>,
}

impl Default for NotifyConfig {
    fn default() -> Self {
        Self {
            wait: Span::seconds(30),
            interval: Span::seconds(5 * 60),
            repeat: Span::seconds(4 * 3600),
            external_url: None,
            receiver: Vec::new(),
            route: Vec::new(),
        }
    }
}

/// By which way a receiver is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Alertmanager's API v2.
    Alertmanager,
    /// A request with a body of JSON, or of a template.
    Webhook,
    /// Mail.
    Mail,
    /// Nothing but a request each minute that says that the collector lives.
    Watchdog,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 4] = [Self::Alertmanager, Self::Webhook, Self::Mail, Self::Watchdog];

    /// The kind in a word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Alertmanager => "alertmanager",
            Self::Webhook => "webhook",
            Self::Mail => "mail",
            Self::Watchdog => "watchdog",
        }
    }
}

/// How a mail server is spoken to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MailTls {
    /// In the clear first, then under TLS; never without.
    #[default]
    Starttls,
    /// Under TLS from the start.
    Tls,
    /// In the clear: for a relay on this machine.
    None,
}

impl MailTls {
    /// The usual port.
    #[must_use]
    pub const fn port(self) -> u16 {
        match self {
            Self::Starttls => 587,
            Self::Tls => 465,
            Self::None => 25,
        }
    }
}

/// `[[notify.receiver]]`
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ReceiverConfig {
    /// Its name, for routes and for people.
    pub name: String,
    /// By which way it is told.
    pub kind: Option<Kind>,
    /// Where it is.
    pub url: Option<String>,
    /// Where the members of a cluster are: all are told, one is enough (`alertmanager`).
    pub urls: Vec<String>,
    /// File with the address, where that is a secret (`webhook`, `watchdog`).
    pub url_file: Option<PathBuf>,
    /// `POST` or `PUT` of a webhook, `GET` or `POST` of a watchdog.
    pub method: Option<String>,
    /// Further headers.
    pub headers: BTreeMap<String, String>,
    /// The body as a template (`webhook`); without, it is the message as JSON.
    pub template: Option<String>,
    /// What the body is (`webhook`).
    pub content_type: Option<String>,
    /// User name.
    pub username: Option<String>,
    /// File with its password.
    pub password_file: Option<PathBuf>,
    /// File with a token that is sent as `authorization: Bearer`.
    pub bearer_file: Option<PathBuf>,
    /// The mail server.
    pub host: Option<String>,
    /// Its port.
    pub port: Option<u16>,
    /// How it is spoken to.
    pub tls: Option<MailTls>,
    /// Sender of mails.
    pub from: Option<String>,
    /// Who gets them.
    pub to: Vec<String>,
    /// Whether it is told that something is over.
    pub send_resolved: bool,
    /// Whether an alert that always fires is kept up there (`alertmanager`).
    pub watchdog: bool,
}

impl Default for ReceiverConfig {
    fn default() -> Self {
        Self {
            name: String::new(),
            kind: None,
            url: None,
            urls: Vec::new(),
            url_file: None,
            method: None,
            headers: BTreeMap::new(),
            template: None,
            content_type: None,
            username: None,
            password_file: None,
            bearer_file: None,
            host: None,
            port: None,
            tls: None,
            from: None,
            to: Vec::new(),
            send_resolved: true,
            watchdog: true,
        }
    }
}

/// Addresses and headers of many services are secrets: they are not printed.
impl fmt::Debug for ReceiverConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReceiverConfig")
            .field("name", &self.name)
            .field("kind", &self.kind)
            .field("url", &self.url.as_deref().map(masked))
            .finish_non_exhaustive()
    }
}

/// An address with what may be secret in it left out.
#[must_use]
pub fn masked(url: &str) -> String {
    match url.parse::<Uri>() {
        Ok(uri) => {
            let host = uri.authority().map_or("", |a| a.as_str().rsplit('@').next().unwrap_or_default());
            let rest = if uri.path_and_query().is_none_or(|p| p.as_str() == "/") { "" } else { "/***" };
            format!("{}://{host}{rest}", uri.scheme_str().unwrap_or("http"))
        }
        Err(_) => "***".into(),
    }
}

/// Checks an address.
///
/// # Errors
/// What is wrong with it.
pub fn check_url(url: &str) -> Result<(), String> {
    let wrong = || format!("{} is no address: write http://HOST/… or https://HOST/…", masked(url));
    let uri: Uri = url.parse().map_err(|_| wrong())?;
    if !matches!(uri.scheme_str(), Some("http" | "https")) || uri.host().is_none_or(str::is_empty) {
        return Err(wrong());
    }
    if uri.authority().is_some_and(|a| a.as_str().contains('@')) {
        return Err("an address holds no user and password: use username and password_file".into());
    }
    Ok(())
}

impl NotifyConfig {
    /// What no single field's type can check.
    ///
    /// # Errors
    /// The first thing wrong: what, and where.
    pub fn check(&self) -> Result<(), String> {
        if self.interval < Span::seconds(1) {
            return Err("notify.interval: at least 1s".into());
        }
        if self.repeat < self.interval {
            return Err(format!("notify.repeat: {} is shorter than notify.interval", self.repeat));
        }
        if let Some(url) = &self.external_url {
            check_url(url).map_err(|e| format!("notify.external_url: {e}"))?;
        }
        if self.receiver.len() > RECEIVERS_MAX {
            return Err(format!("notify.receiver: at most {RECEIVERS_MAX}"));
        }
        let mut names = BTreeSet::new();
        for (n, receiver) in self.receiver.iter().enumerate() {
            receiver.check().map_err(|e| match receiver.name.as_str() {
                "" => format!("notify.receiver number {}: {e}", n + 1),
                name => format!("notify.receiver {name:?}: {e}"),
            })?;
            if !names.insert(receiver.name.as_str()) {
                return Err(format!("notify.receiver {:?} is there twice", receiver.name));
            }
        }
        let told = |name: &str| self.receiver.iter().any(|r| r.name == name && r.kind != Some(Kind::Watchdog));
        for (n, route) in self.route.iter().enumerate() {
            route.check(told).map_err(|e| format!("notify.route number {}: {e}", n + 1))?;
        }
        Ok(())
    }
}

impl ReceiverConfig {
    /// Keys that not every kind has: whether they are set, and which kinds have them.
    fn keys(&self) -> [(&'static str, bool, &'static [Kind]); 14] {
        const HTTP: &[Kind] = &[Kind::Alertmanager, Kind::Webhook, Kind::Watchdog];
        const PUSH: &[Kind] = &[Kind::Webhook, Kind::Watchdog];
        const HOOK: &[Kind] = &[Kind::Webhook];
        const MAIL: &[Kind] = &[Kind::Mail];
        [
            ("url", self.url.is_some(), HTTP),
            ("urls", !self.urls.is_empty(), &[Kind::Alertmanager]),
            ("url_file", self.url_file.is_some(), PUSH),
            ("method", self.method.is_some(), PUSH),
            ("headers", !self.headers.is_empty(), HTTP),
            ("template", self.template.is_some(), HOOK),
            ("content_type", self.content_type.is_some(), HOOK),
            ("bearer_file", self.bearer_file.is_some(), HTTP),
            ("host", self.host.is_some(), MAIL),
            ("port", self.port.is_some(), MAIL),
            ("tls", self.tls.is_some(), MAIL),
            ("from", self.from.is_some(), MAIL),
            ("to", !self.to.is_empty(), MAIL),
            ("watchdog", !self.watchdog, &[Kind::Alertmanager]),
        ]
    }

    /// # Errors
    /// The first thing wrong.
    fn check(&self) -> Result<(), String> {
        let fits = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        if self.name.is_empty() || self.name.len() > 64 || !self.name.chars().all(fits) || self.name == CONSOLE {
            return Err(format!(
                "name: write 1 to 64 letters, digits, '-', '_' or '.', and not {CONSOLE:?}, which the collector uses itself"
            ));
        }
        let kind = self.kind.ok_or("kind is missing: alertmanager, webhook, mail or watchdog")?;
        if let Some((key, _, _)) = self.keys().into_iter().find(|(_, set, kinds)| *set && !kinds.contains(&kind)) {
            return Err(format!("{key} has no meaning for kind = {:?}", kind.as_str()));
        }
        if self.username.is_some() != self.password_file.is_some() {
            return Err("username and password_file go together: set both or none".into());
        }
        if self.username.is_some() && self.bearer_file.is_some() {
            return Err("username and bearer_file exclude each other".into());
        }
        match kind {
            Kind::Mail => self.check_mail(),
            Kind::Alertmanager => {
                if self.url.is_some() != self.urls.is_empty() {
                    return Err("url is missing, or urls of a cluster; not both".into());
                }
                self.check_http(&[])
            }
            Kind::Webhook => {
                self.check_http(&["POST", "PUT"])?;
                self.template.as_deref().map_or(Ok(()), check_template)
            }
            Kind::Watchdog => self.check_http(&["GET", "POST"]),
        }
    }

    fn check_http(&self, methods: &[&str]) -> Result<(), String> {
        if !methods.is_empty() && self.url.is_some() == self.url_file.is_some() {
            return Err("url is missing, or url_file; not both".into());
        }
        for url in self.url.iter().chain(&self.urls) {
            check_url(url)?;
        }
        if let Some(method) = self.method.as_deref().filter(|m| !methods.contains(m)) {
            return Err(format!("method: {method:?} is not possible: {}", methods.join(" or ")));
        }
        for (name, value) in &self.headers {
            let known: HeaderName = name.parse().map_err(|_| format!("headers: {name:?} is no name of a header"))?;
            if ["content-type", "content-length", "host", "idempotency-key"].contains(&known.as_str()) {
                return Err(format!("headers: {name} is set by the collector"));
            }
            value
                .parse::<HeaderValue>()
                .map_err(|_| format!("headers: the value of {name} has characters that none has"))?;
        }
        if let Some(kind) = &self.content_type {
            kind.parse::<HeaderValue>().map_err(|_| format!("content_type: {kind:?} is none"))?;
        }
        Ok(())
    }

    fn check_mail(&self) -> Result<(), String> {
        if self.host.as_deref().is_none_or(str::is_empty) {
            return Err("host is missing: the mail server".into());
        }
        let from = self.from.as_deref().ok_or("from is missing: the sender of mails")?;
        if self.to.is_empty() {
            return Err("to is missing: who gets the mails".into());
        }
        for address in self.to.iter().map(String::as_str).chain([from]) {
            address.parse::<Mailbox>().map_err(|e| format!("{address:?} is no address of mail: {e}"))?;
        }
        if self.username.is_some() && self.tls == Some(MailTls::None) {
            return Err("tls = \"none\" would send the password in the clear: use starttls or tls".into());
        }
        Ok(())
    }
}

fn check_template(text: &str) -> Result<(), String> {
    if text.len() > TEMPLATE_MAX {
        return Err(format!("template: longer than {TEMPLATE_MAX} bytes"));
    }
    Template::new(text).map(drop).map_err(|e| format!("template: {e}"))
}

#[cfg(test)]
#[path = "config_tests.rs"]
mod tests;
