//! The agent's configuration: TOML, every key optional, `packaging/agent.toml` spells out the defaults. It may be spread over a
//! file, drop-ins and the environment ([`Layers`]), and be read again while the agent runs ([`Change`]).
//!
//! A typo, a wrong unit or an impossible value fails at start with file, line and key; nothing falls back silently.

mod change;
mod check;
mod layers;
mod locate;
mod units;

pub use change::{Change, How, KEYS};
pub use check::loopback_url;
pub use layers::{Layers, Origin, Places};
pub use units::{AlarmBudget, Duration, Size};

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use tacit_wire::message::Profile;
use tacit_wire::{Digest, Encoding, NodeId, SiteId};

/// Everything that can be set.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Who this node is.
    pub node: NodeConfig,
    /// What is sampled.
    pub sampling: SamplingConfig,
    /// How it is judged.
    pub detect: DetectConfig,
    /// Where it goes.
    pub publish: PublishConfig,
    /// What waits on disk.
    pub outbox: OutboxConfig,
    /// What else is watched.
    pub context: ContextConfig,
    /// Which service talks to which.
    pub links: LinksConfig,
    /// Numbers that programs push.
    pub statsd: StatsdConfig,
    /// Endpoints to ask.
    pub probe: Vec<ProbeConfig>,
    /// Local Prometheus endpoints to read.
    pub scrape: Vec<ScrapeConfig>,
    /// Models that were made elsewhere.
    pub model: Vec<ModelConfig>,
}

/// `[[model]]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelConfig {
    /// The package, a folder or a `.tacitmodel`, as `tacit model import` wrote it.
    pub path: PathBuf,
}

/// `[node]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NodeConfig {
    /// Identity in the fleet; by default made from the host name.
    pub id: Option<NodeId>,
    /// Site, the group of nodes that share a topic prefix.
    pub site: SiteId,
    /// What people say of this node: silences and routes ask for it, the map can be grouped by it, and nodes that share a tag
    /// that others lack count as related.
    pub tags: BTreeMap<String, String>,
    /// Where state is kept (learned models, outbox).
    pub data_dir: PathBuf,
}

impl Default for NodeConfig {
    fn default() -> Self {
        Self {
            id: None,
            site: "default".parse().expect("it has the right form"),
            tags: BTreeMap::new(),
            data_dir: "/var/lib/tacit-agent".into(),
        }
    }
}

/// `[sampling]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SamplingConfig {
    /// Distance of samples.
    pub interval: Duration,
    /// Distance of process scans; an opening event asks for one more.
    pub process_interval: Duration,
    /// Most series; beyond it families are dropped in a declared order.
    pub max_series: usize,
    /// Sources to leave out, by name.
    pub disable: Vec<String>,
    /// Whether command lines of top processes are read and sent.
    pub command_lines: bool,
    /// Interfaces to leave out, by prefix.
    pub ignore_interfaces: Vec<String>,
    /// Block devices to leave out, by prefix.
    pub ignore_devices: Vec<String>,
    /// Mount points to leave out, by prefix.
    pub ignore_mounts: Vec<String>,
}

impl Default for SamplingConfig {
    fn default() -> Self {
        Self {
            interval: Duration::from_secs(1),
            process_interval: Duration::from_secs(10),
            max_series: 512,
            disable: Vec::new(),
            command_lines: true,
            ignore_interfaces: vec!["veth".into()],
            ignore_devices: vec!["loop".into(), "ram".into(), "zram".into()],
            ignore_mounts: Vec::new(),
        }
    }
}

/// `[detect]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DetectConfig {
    /// Model events this node may raise: the one sensitivity setting.
    pub alarm_budget: AlarmBudget,
    /// Warn when a file system will be full within this time at its present rate.
    pub disk_full_within: Duration,
    /// Distance of state snapshots.
    pub snapshot_interval: Duration,
}

impl Default for DetectConfig {
    fn default() -> Self {
        Self {
            alarm_budget: AlarmBudget::per_day(1),
            disk_full_within: Duration::from_secs(12 * 3600),
            snapshot_interval: Duration::from_secs(900),
        }
    }
}

/// `[publish]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PublishConfig {
    /// `mqtt://HOST:PORT` or `mqtts://HOST:PORT`.
    pub broker: String,
    /// How much is sent.
    pub profile: ProfileName,
    /// How it is written.
    pub encoding: Encoding,
    /// Cap on payload bytes a month; absent means none.
    pub bytes_per_month: Option<Size>,
    /// User name, when the broker asks for one.
    pub username: Option<String>,
    /// File that holds the password.
    pub password_file: Option<PathBuf>,
    /// File with the certificates to trust (PEM), for `mqtts`.
    pub ca_file: Option<PathBuf>,
    /// This node's certificate (PEM), for `mqtts`.
    pub cert_file: Option<PathBuf>,
    /// Its key (PEM).
    pub key_file: Option<PathBuf>,
    /// The protocol to name in the TLS handshake, for brokers that share port 443 with others.
    pub alpn: Option<String>,
    /// HTTP proxy that opens a tunnel to the broker, and to the collector when enrolling: `http://HOST:PORT`.
    pub proxy: Option<String>,
    /// Longest wait before connecting again.
    pub backoff_max: Duration,
}

impl Default for PublishConfig {
    fn default() -> Self {
        Self {
            broker: "mqtt://127.0.0.1:1883".into(),
            profile: ProfileName::Lean,
            encoding: Encoding::Cbor,
            bytes_per_month: None,
            username: None,
            password_file: None,
            ca_file: None,
            cert_file: None,
            key_file: None,
            alpn: None,
            proxy: None,
            backoff_max: Duration::from_secs(120),
        }
    }
}

/// A profile in the file; a typo is an error here, unlike on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ProfileName {
    /// Events, health and births only.
    Events,
    /// The default.
    Lean,
    /// Everything.
    Full,
}

impl From<ProfileName> for Profile {
    fn from(name: ProfileName) -> Self {
        match name {
            ProfileName::Events => Self::Events,
            ProfileName::Lean => Self::Lean,
            ProfileName::Full => Self::Full,
        }
    }
}

/// `[outbox]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct OutboxConfig {
    /// Most bytes on disk and in memory together.
    pub max_bytes: Size,
    /// Oldest message kept.
    pub max_age: Duration,
}

impl Default for OutboxConfig {
    fn default() -> Self {
        Self { max_bytes: Size::mib(64), max_age: Duration::from_secs(7 * 86_400) }
    }
}

/// `[[scrape]]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScrapeConfig {
    /// Name of the job, an attribute of its series.
    pub job: String,
    /// `http://127.0.0.1:PORT/metrics`.
    pub url: String,
    /// Distance of reads.
    #[serde(default = "scrape_interval")]
    pub interval: Duration,
    /// Longest wait for an answer.
    #[serde(default = "scrape_timeout")]
    pub timeout: Duration,
    /// Metric names to take, by prefix; empty takes all, up to `max_series`.
    #[serde(default)]
    pub include: Vec<String>,
    /// Most series of this endpoint.
    #[serde(default = "scrape_series")]
    pub max_series: usize,
}

fn scrape_interval() -> Duration {
    Duration::from_secs(10)
}
fn scrape_timeout() -> Duration {
    Duration::from_secs(3)
}
fn scrape_series() -> usize {
    50
}

/// `[context]`
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ContextConfig {
    /// Watchers to leave out, by name.
    pub disable: Vec<String>,
}

/// `[links]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LinksConfig {
    /// Whether connections are observed. The profile `events` never does.
    pub enabled: bool,
    /// Distance of looks at open connections; those that were closed are told by the kernel in between.
    pub interval: Duration,
    /// Length of the batches in which edges are told, in whole minutes, at most six. What is new or fails does not wait
    /// for it; what stays as it was is silent. With `1min` each edge that moved is told in each minute, at five times the bytes.
    pub report: Duration,
    /// Socket of `tacit-netns`, which opens the network namespaces of containers; without one they are not seen.
    pub helper: PathBuf,
}

impl Default for LinksConfig {
    fn default() -> Self {
        Self {
            enabled: true,
            interval: Duration::from_secs(5),
            report: Duration::from_secs(300),
            helper: "/run/tacit/netns.sock".into(),
        }
    }
}

/// `[statsd]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct StatsdConfig {
    /// Address on loopback to listen on (UDP); absent means not to listen.
    pub listen: Option<SocketAddr>,
    /// Time over which lines are summed up.
    pub interval: Duration,
    /// Most names, each with its tags; a timer makes three series.
    pub max_names: usize,
}

impl Default for StatsdConfig {
    fn default() -> Self {
        Self { listen: None, interval: Duration::from_secs(10), max_names: 64 }
    }
}

/// `[[probe]]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProbeConfig {
    /// Name of the probe, an attribute of its series.
    pub name: String,
    /// `tcp://HOST:PORT`, `tls://HOST:PORT`, `http://…`, `https://…` or `icmp://HOST`.
    pub target: String,
    /// Distance of questions.
    #[serde(default = "probe_interval")]
    pub interval: Duration,
    /// Longest wait for an answer.
    #[serde(default = "probe_timeout")]
    pub timeout: Duration,
    /// HTTP status that is good; empty takes 200 to 399.
    #[serde(default)]
    pub status: Vec<u16>,
}

fn probe_interval() -> Duration {
    Duration::from_secs(30)
}
fn probe_timeout() -> Duration {
    Duration::from_secs(5)
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
    /// The file is not a configuration; the text names line, key and what is allowed.
    #[error("{path}: {text}")]
    Invalid {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        text: String,
    },
    /// A variable, or an argument of the command line, sets something impossible.
    #[error("{name}: {text}")]
    Variable {
        /// Its name.
        name: String,
        /// The key and what is wrong.
        text: String,
    },
    /// Each place is right by itself, and all together are not.
    #[error("the configuration: {0}")]
    Together(String),
}

/// What is wrong with a text, as `line N: key: what is wrong and what is allowed`.
fn explain(text: &str, error: &toml::de::Error) -> String {
    let message = error.message().replace('\n', "; ");
    let Some(span) = error.span() else { return message };
    let key = locate::key_at(text, span.start).map(|key| format!("{key}: ")).unwrap_or_default();
    format!("line {}: {key}{message}", locate::line_of(text, span.start))
}

impl Config {
    /// Reads and checks a file, by itself; [`Places`] reads all that belongs together.
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
    /// The first thing wrong, as `line N: key: what is wrong and what is allowed`.
    pub fn parse(text: &str) -> Result<Self, String> {
        let config: Self = toml::from_str(text).map_err(|e| explain(text, &e))?;
        check::check(&config).map_err(|wrong| match locate::line_of_key(text, &wrong.key) {
            Some(line) => format!("line {line}: {}: {}", wrong.key, wrong.text),
            None => format!("{}: {}", wrong.key, wrong.text),
        })?;
        Ok(config)
    }

    /// The hash that birth and report carry.
    #[must_use]
    pub fn digest(&self) -> Digest {
        let text = toml::to_string(self).expect("a configuration is plain tables and values");
        Digest::of(text.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_set_is_the_default() {
        assert_eq!(Config::parse(""), Ok(Config::default()));
    }

    /// The shipped file documents every default; it may not drift from the code.
    #[test]
    fn the_shipped_file_spells_out_the_defaults() {
        let text = include_str!("../../../packaging/agent.toml");
        assert_eq!(Config::parse(text), Ok(Config::default()));

        let all = toml::Table::try_from(Config::default()).expect("a configuration is tables and values");
        for (section, keys) in all {
            for key in keys.as_table().into_iter().flat_map(|t| t.keys()) {
                assert!(text.contains(&format!("\n{key} = ")), "packaging/agent.toml does not set {section}.{key}");
            }
        }
    }

    /// Keys without a default, and those of `[[probe]]`, `[[scrape]]` and `[[model]]`, are shown commented out; that text must be valid too.
    #[test]
    fn what_the_shipped_file_comments_out_is_valid() {
        let text = include_str!("../../../packaging/agent.toml");
        let enabled: String = text
            .lines()
            .map(|line| match line.strip_prefix("#") {
                Some(rest) if !rest.starts_with(' ') => format!("{rest}\n"),
                _ => format!("{line}\n"),
            })
            .collect();
        let config = Config::parse(&enabled.replace("mqtt://", "mqtts://")).expect("commented examples are valid");
        assert_eq!((config.scrape.len(), config.probe.len(), config.model.len()), (1, 1, 1));
        assert!(config.statsd.listen.is_some());
        assert!(config.node.id.is_some() && config.publish.ca_file.is_some());
    }
}
