//! The collector, in this process, and how it is asked: as anybody else asks it, over HTTP.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tacit_collector::Collector;
use tacit_collector::config::Config;
use tokio::runtime::Runtime;

/// Largest answer.
const ANSWER_MAX: u64 = 64 << 20;
/// Longest wait for one.
const PATIENCE: Duration = Duration::from_secs(10);

/// A running collector.
pub struct Office {
    collector: Option<Collector>,
    runtime: Runtime,
    client: ureq::Agent,
    /// Where agents publish.
    pub broker: SocketAddr,
    /// Where the API answers.
    pub http: SocketAddr,
}

/// An incident, as far as it is judged here.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
pub struct Seen {
    /// Its number.
    pub id: i64,
    /// What is wrong, in one sentence.
    #[serde(default)]
    pub title: String,
    /// Nodes concerned.
    #[serde(default)]
    pub nodes: Vec<String>,
    /// When it opened, Unix milliseconds.
    pub opened_ms: i64,
    /// Events that it holds.
    #[serde(default)]
    pub events: u32,
    /// The incident that it became part of.
    #[serde(default)]
    pub merged_into: Option<i64>,
}

/// Who may be behind an incident.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
pub struct Causes {
    /// The likeliest first.
    #[serde(default)]
    pub causes: Vec<Named>,
    /// Whether the order is not to be believed.
    #[serde(default)]
    pub unsure: bool,
}

/// A candidate.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
pub struct Named {
    /// Its name.
    pub entity: String,
    /// What it is: `service`, `node`, `link`.
    #[serde(default)]
    pub kind: String,
}

#[derive(Deserialize)]
struct List {
    incidents: Vec<Seen>,
}

#[derive(Deserialize)]
struct Detail {
    incident: Seen,
    #[serde(default)]
    ranking: Option<Causes>,
}

impl Office {
    /// Starts it on an address that only the data centre reaches, its API on loopback or where asked; what it keeps is in `folder`, and
    /// `hook` is told.
    ///
    /// # Errors
    /// When a port or the folder cannot be used.
    pub fn start(folder: &Path, mqtt: Ipv4Addr, http: Option<SocketAddr>, hook: &str) -> Result<Self> {
        let runtime = Runtime::new().context("cannot start the runtime")?;
        // The usual port, so that the map knows it for infrastructure; another when somebody has it on all addresses.
        let usual = SocketAddr::from((mqtt, 1883));
        let listen = TcpListener::bind(usual).map_or(SocketAddr::from((mqtt, 0)), |_| usual);
        let http = http.unwrap_or(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)));
        let config = config(folder, [listen, http], hook)?;
        let collector = runtime.block_on(Collector::start(&config)).context("cannot start a collector")?;
        let broker = collector.mqtt_address().context("the broker has no address")?;
        let http = collector.http_address();
        let client = ureq::Agent::config_builder().timeout_global(Some(PATIENCE)).proxy(None).build().new_agent();
        Ok(Self { collector: Some(collector), runtime, client, broker, http })
    }

    fn url(&self, path: &str) -> String {
        let ip = if self.http.ip().is_unspecified() { Ipv4Addr::LOCALHOST.into() } else { self.http.ip() };
        format!("http://{}{path}", SocketAddr::from((ip, self.http.port())))
    }

    fn ask<T: DeserializeOwned>(&self, path: &str) -> Result<T> {
        let url = self.url(path);
        let mut answer = self.client.get(&url).call().with_context(|| format!("no answer from {url}"))?;
        let body = answer.body_mut().with_config().limit(ANSWER_MAX).read_to_string();
        let text = body.with_context(|| format!("the answer of {url} is cut off"))?;
        serde_json::from_str(&text).with_context(|| format!("{url} answers with something else"))
    }

    /// Incidents that opened since a time, whatever became of them.
    ///
    /// # Errors
    /// When the API does not answer.
    pub fn incidents(&self, since_ms: i64) -> Result<Vec<Seen>> {
        self.ask::<List>(&format!("/api/v1/incidents?since_ms={since_ms}&limit=1000")).map(|list| list.incidents)
    }

    /// Incidents that are not over.
    ///
    /// # Errors
    /// When the API does not answer.
    pub fn open_incidents(&self) -> Result<Vec<Seen>> {
        self.ask::<List>("/api/v1/incidents?open=true&limit=1000").map(|list| list.incidents)
    }

    /// An incident as it is now, and its ranking once there is one.
    ///
    /// # Errors
    /// When the API does not answer.
    pub fn incident(&self, id: i64) -> Result<(Seen, Option<Causes>)> {
        self.ask::<Detail>(&format!("/api/v1/incidents/{id}")).map(|detail| (detail.incident, detail.ranking))
    }

    /// Announces a change of a service, named as on the map.
    ///
    /// # Errors
    /// When the collector does not take it.
    pub fn announce(&self, what: &str, service: &str) -> Result<()> {
        let url = self.url("/api/v1/changes");
        let change = serde_json::json!({ "what": what, "service": service });
        self.client.post(&url).send_json(&change).with_context(|| format!("{url} does not take a change"))?;
        Ok(())
    }

    /// Whether a node is there.
    pub fn is_online(&self, node: &str) -> bool {
        let answer = self.ask::<Value>(&format!("/api/v1/nodes/{node}"));
        answer.is_ok_and(|node| node["presence"] == "online")
    }
}

impl Drop for Office {
    fn drop(&mut self) {
        if let Some(collector) = self.collector.take() {
            self.runtime.block_on(collector.stop());
        }
    }
}

/// The configuration of a collector that listens for nodes and for people at these addresses, as somebody would write it.
///
/// # Errors
/// When the collector does not take it.
pub fn config(folder: &Path, [mqtt, http]: [SocketAddr; 2], hook: &str) -> Result<Config> {
    let insecure = !mqtt.ip().is_loopback() || !http.ip().is_loopback();
    let text = format!(
        "data_dir = {folder:?}\ninsecure = {insecure}\n[mqtt]\nlisten = \"{mqtt}\"\n[http]\nlisten = \"{http}\"\n\
         [access]\nrequired = false\n[map]\nreverse_dns = false\n[[notify.receiver]]\nname = \"bench\"\nkind = \"webhook\"\nurl = {hook:?}\n"
    );
    Config::parse(&text).map_err(anyhow::Error::msg)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_api_says_of_incidents_is_read() {
        let text = r#"{"incident": {"id": 7, "state": "open", "title": "db-1: slow", "nodes": ["db-1"], "opened_ms": 5,
            "events": 3, "cause": null}, "events": [], "audit": [], "ranking": {"causes": [{"entity": "db-1", "kind": "node",
            "score": 1.5}], "margin": 0.5, "unsure": false}}"#;
        let detail: Detail = serde_json::from_str(text).unwrap();
        assert_eq!((detail.incident.id, detail.incident.events), (7, 3));
        let causes = detail.ranking.unwrap().causes;
        assert_eq!(causes, [Named { entity: "db-1".into(), kind: "node".into() }]);
        let list: List =
            serde_json::from_str(r#"{"incidents": [{"id": 1, "opened_ms": 2, "merged_into": 9}]}"#).unwrap();
        assert_eq!(list.incidents[0].merged_into, Some(9));
    }

    #[test]
    fn the_collector_takes_the_configuration() {
        let at = |text: &str| text.parse::<SocketAddr>().unwrap();
        let (mqtt, http) = (at("198.19.7.2:1883"), at("127.0.0.1:0"));
        let config = config(Path::new("/tmp/a b"), [mqtt, http], "http://127.0.0.1:9/").unwrap();
        assert_eq!((config.data_dir.as_path(), config.mqtt.listen), (Path::new("/tmp/a b"), mqtt));
        assert!(config.insecure && !config.map.reverse_dns);
    }
}
