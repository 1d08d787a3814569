//! The collector's configuration: one TOML file, every key optional, `packaging/collector.toml` spells out the defaults.
//!
//! A typo, a wrong type or an impossible value fails at start with file, line and key.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use tacit_wire::SiteId;

use crate::access::config::{AccessConfig, Required};
use crate::identity::config::{IdentityConfig, TlsConfig};
use crate::map::MapConfig;
use crate::map::names::Names;
use crate::notify::config::NotifyConfig;
use crate::notify::units::Pages;
use crate::store::Retention;

/// Everything that can be set.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Where everything is kept.
    pub data_dir: PathBuf,
    /// Sites whose nodes are expected; others are taken in too when they come.
    pub sites: Vec<SiteId>,
    /// Allows listening beyond loopback without TLS and authentication.
    pub insecure: bool,
    /// MQTT.
    pub mqtt: Mqtt,
    /// Console and API.
    pub http: Http,
    /// Who may ask.
    pub access: AccessConfig,
    /// TLS at both listeners.
    pub tls: TlsConfig,
    /// Who the nodes are.
    pub identity: IdentityConfig,
    /// How long things are kept.
    pub retention: Retention,
    /// How often the fleet may disturb somebody; promised and actual are shown.
    pub pages: Pages,
    /// Names and infrastructure on the map.
    pub map: MapConfig,
    /// Who is told of incidents.
    pub notify: NotifyConfig,
    /// What it is told is made up: pages and answers say so. No file can set it, only `tacit demo` does.
    #[serde(skip)]
    pub demo: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            data_dir: "./.tacit/collector".into(),
            sites: vec!["default".parse().expect("it has the right form")],
            insecure: false,
            mqtt: Mqtt::default(),
            http: Http::default(),
            access: AccessConfig::default(),
            tls: TlsConfig::default(),
            identity: IdentityConfig::default(),
            retention: Retention::default(),
            pages: Pages::default(),
            map: MapConfig::default(),
            notify: NotifyConfig::default(),
            demo: false,
        }
    }
}

/// `[mqtt]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Mqtt {
    /// Where the embedded broker listens.
    pub listen: SocketAddr,
    /// An external broker to use instead: `mqtt://HOST:PORT`.
    pub external: Option<BrokerUrl>,
    /// User name at the external broker.
    pub username: Option<String>,
    /// File with its password.
    pub password_file: Option<PathBuf>,
}

impl Default for Mqtt {
    fn default() -> Self {
        Self { listen: SocketAddr::from(([127, 0, 0, 1], 1883)), external: None, username: None, password_file: None }
    }
}

/// `[http]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Http {
    /// Where console and API listen.
    pub listen: SocketAddr,
}

impl Default for Http {
    fn default() -> Self {
        Self { listen: SocketAddr::from(([127, 0, 0, 1], 8420)) }
    }
}

/// Address of an external broker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct BrokerUrl {
    /// Host.
    pub host: String,
    /// Port.
    pub port: u16,
}

impl TryFrom<String> for BrokerUrl {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        let wrong = || format!("{text:?} is not a broker: write mqtt://HOST:PORT");
        let (host, port) = text.strip_prefix("mqtt://").and_then(|r| r.rsplit_once(':')).ok_or_else(wrong)?;
        let port = port.parse().map_err(|_| wrong())?;
        if host.is_empty() { Err(wrong()) } else { Ok(Self { host: host.to_owned(), port }) }
    }
}

impl From<BrokerUrl> for String {
    fn from(url: BrokerUrl) -> Self {
        format!("mqtt://{}:{}", url.host, url.port)
    }
}

/// Why a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read {path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// The file is not a configuration.
    #[error("{path}: {text}")]
    Invalid {
        /// The file.
        path: PathBuf,
        /// Line, key and what is allowed.
        text: String,
    },
}

impl Config {
    /// Reads and checks a file.
    ///
    /// # Errors
    /// When it cannot be read, parsed, or holds an impossible value.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let text =
            std::fs::read_to_string(path).map_err(|source| ConfigError::Read { path: path.to_owned(), source })?;
        Self::parse(&text).map_err(|text| ConfigError::Invalid { path: path.to_owned(), text })
    }

    /// Parses and checks a text; errors say line, key and what is allowed.
    ///
    /// # Errors
    /// The first thing wrong, in words.
    pub fn parse(text: &str) -> Result<Self, String> {
        let config: Self = toml::from_str(text).map_err(|e| {
            let at = e.span().map_or(0, |s| s.start);
            let line = text[..at].matches('\n').count() + 1;
            let shown = text.lines().nth(line - 1).unwrap_or_default().trim();
            format!("line {line}: {shown}: {}", e.message().replace('\n', "; "))
        })?;
        config.check()?;
        Ok(config)
    }

    /// What no single field's type can check.
    ///
    /// # Errors
    /// The first thing wrong, in words.
    pub fn check(&self) -> Result<(), String> {
        for (key, address) in [("mqtt.listen", self.mqtt.listen), ("http.listen", self.http.listen)] {
            let unused = key == "mqtt.listen" && self.mqtt.external.is_some();
            if !address.ip().is_loopback() && !self.insecure && !unused && !self.tls.enabled {
                return Err(format!(
                    "{key}: {address} is not loopback, where TLS is a must: set tls.enabled = true (and leave access.required at \"auto\"), listen on 127.0.0.1, or set insecure = true"
                ));
            }
        }
        self.access.check()?;
        self.tls.check()?;
        self.identity.check()?;
        let is_open = self.access.required == Required::No && !self.http.listen.ip().is_loopback();
        if is_open && !self.insecure {
            return Err(format!(
                "access.required = false: http.listen {} is beyond loopback, where everybody who asks has to be known: leave it at \"auto\", or set insecure = true",
                self.http.listen
            ));
        }
        let r = &self.retention;
        if [r.points_days, r.events_days, r.incidents_days].contains(&0) {
            return Err("retention: every number of days is at least 1".into());
        }
        Names::new(&self.map, None)?;
        self.notify.check()?;
        if self.mqtt.username.is_some() != self.mqtt.password_file.is_some() {
            return Err("mqtt.username and mqtt.password_file go together: set both or none".into());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shipped_file_spells_out_the_defaults() {
        let text = include_str!("../../packaging/collector.toml");
        assert_eq!(Config::parse(text), Ok(Config::default()));
    }

    #[test]
    fn beyond_loopback_there_is_tls() {
        let beyond = "[http]\nlisten = \"0.0.0.0:8420\"\n[mqtt]\nlisten = \"[::]:8883\"\n";
        let said = Config::parse(beyond).unwrap_err();
        for way in ["tls.enabled = true", "access.required", "127.0.0.1", "insecure = true"] {
            assert!(said.contains(way), "{said}");
        }
        assert!(Config::parse(&format!("{beyond}[tls]\nenabled = true\n")).is_ok());
        assert!(Config::parse(&format!("insecure = true\n{beyond}")).is_ok());
    }

    #[test]
    fn mistakes_are_explained() {
        for (text, expected) in [
            ("data_dirr = \"x\"\n", "line 1: data_dirr = \"x\": unknown field `data_dirr`"),
            ("[http]\nlisten = \"nowhere\"\n", "line 2: listen = \"nowhere\": invalid socket address"),
            ("sites = [\"Lab\"]\n", "line 1: sites = [\"Lab\"]: site \"Lab\" is not valid: use 1 to 36 of a-z"),
            (
                "[mqtt]\nexternal = \"localhost\"\n",
                "line 2: external = \"localhost\": \"localhost\" is not a broker: write mqtt://HOST:PORT",
            ),
            ("[http]\nlisten = \"0.0.0.0:80\"\n", "http.listen: 0.0.0.0:80 is not loopback"),
            (
                "[access]\nrequired = \"no\"\n",
                "line 2: required = \"no\": \"no\" is not allowed: write \"auto\", true or false",
            ),
            ("[access]\nsession_hours = 0\n", "access.session_hours: 0 is not allowed: write 1 to 720"),
            ("[retention]\npoints_days = 0\n", "retention: every number of days is at least 1"),
            ("[retention]\npoints_days = -1\n", "line 2: points_days = -1: invalid value: integer `-1`"),
            ("[map.names]\n\"10.0.0.0/33\" = \"x\"\n", "map.names: 10.0.0.0/33: write an address or a network"),
            ("[map]\ninfrastructure = [\"dns\"]\n", "map.infrastructure: dns: write a port (53, udp/123)"),
            ("insecure = maybe\n", "line 1: insecure = maybe: "),
            ("[tls]\nenable = true\n", "line 2: enable = true: unknown field `enable`"),
            ("[tls]\nenabled = true\ncert_file = \"x\"\n", "tls.cert_file and tls.key_file go together"),
            ("[identity]\nnames = [\"https://x\"]\n", "identity.names: \"https://x\" is neither a host name nor"),
            (
                "[tls]\nenabled = true\n[access]\nrequired = false\n[http]\nlisten = \"0.0.0.0:8420\"\n",
                "access.required = false: http.listen 0.0.0.0:8420 is beyond loopback",
            ),
            ("demo = true\n", "line 1: demo = true: unknown field `demo`"),
        ] {
            let error = Config::parse(text).expect_err(text);
            assert!(error.starts_with(expected), "{error:?} should begin with {expected:?}");
        }
    }
}
