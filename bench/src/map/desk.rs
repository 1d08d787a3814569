//! The collector, in this process, and how it is asked.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;

use anyhow::{Context as _, Result};
use tacit_collector::Collector;
use tacit_collector::access::config::{AccessConfig, Required};
use tacit_collector::config::{Config, Http, Mqtt};
use tacit_collector::map::view::MapView;
use tacit_collector::store::StoredLinks;
use tacit_wire::NodeId;
use tokio::runtime::Runtime;

/// Messages read at once.
const BATCH: usize = 500;
/// Largest answer.
const ANSWER_MAX: u64 = 256 << 20;

/// A running collector.
pub struct Desk {
    collector: Option<Collector>,
    runtime: Runtime,
    /// Where agents publish.
    pub broker: SocketAddr,
    /// Where the API answers.
    pub http: SocketAddr,
}

impl Desk {
    /// Starts it on an address that only the data centre reaches, console and API on loopback or where asked.
    ///
    /// # Errors
    /// When a port or the folder cannot be used.
    pub fn start(folder: &Path, mqtt: Ipv4Addr, http: Option<SocketAddr>) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
        // The usual port, so that the map knows it for infrastructure; another when somebody has it on all addresses.
        let usual = SocketAddr::from((mqtt, 1883));
        let listen = TcpListener::bind(usual).map_or(SocketAddr::from((mqtt, 0)), |_| usual);
        let http = http.unwrap_or(SocketAddr::from(([127, 0, 0, 1], 0)));
        let config = Config {
            data_dir: folder.join("collector"),
            insecure: !mqtt.is_loopback() || !http.ip().is_loopback(),
            mqtt: Mqtt { listen, ..Mqtt::default() },
            http: Http { listen: http },
            access: AccessConfig { required: Required::No, ..AccessConfig::default() },
            ..Config::default()
        };
        let collector = runtime.block_on(Collector::start(&config)).context("cannot start a collector")?;
        let broker = collector.mqtt_address().context("the broker has no address")?;
        let http = collector.http_address();
        Ok(Self { collector: Some(collector), runtime, broker, http })
    }

    fn collector(&self) -> Result<&Collector> {
        self.collector.as_ref().context("the collector stopped")
    }

    /// Runs something where the collector runs.
    ///
    /// # Errors
    /// What it says.
    pub fn with<T>(&self, job: impl AsyncFnOnce(&Collector) -> Result<T>) -> Result<T> {
        let collector = self.collector()?;
        self.runtime.block_on(job(collector))
    }

    /// Whether a node has come.
    ///
    /// # Errors
    /// When the store cannot be asked.
    pub fn knows(&self, node: &str) -> Result<bool> {
        let node: NodeId = node.parse().context("the node's name")?;
        Ok(self.runtime.block_on(self.collector()?.store().node(&node))?.is_some())
    }

    /// The map since a time, as the API gives it.
    ///
    /// # Errors
    /// When the API does not answer.
    pub fn map(&self, from_ms: i64) -> Result<MapView> {
        let host = if self.http.ip().is_unspecified() { "127.0.0.1".to_owned() } else { self.http.ip().to_string() };
        let url = format!("http://{host}:{}/api/v1/map?from={from_ms}", self.http.port());
        let mut answer = ureq::get(&url).call().with_context(|| format!("no answer from {url}"))?;
        let text = answer.body_mut().with_config().limit(ANSWER_MAX).read_to_string().context("the map is cut off")?;
        serde_json::from_str(&text).context("the answer is no map")
    }

    /// All that nodes said of minutes since a time, each end by itself.
    ///
    /// # Errors
    /// When the store cannot be asked.
    pub fn said(&self, from_ms: i64) -> Result<Vec<StoredLinks>> {
        let store = self.collector()?.store();
        let mut all: Vec<StoredLinks> = Vec::new();
        loop {
            let last = all.last().map_or(0, |m| m.id);
            let more = self.runtime.block_on(store.links_after(last, (from_ms, i64::MAX / 4), BATCH))?;
            if more.is_empty() {
                return Ok(all);
            }
            all.extend(more);
        }
    }
}

impl Drop for Desk {
    fn drop(&mut self) {
        if let Some(collector) = self.collector.take() {
            self.runtime.block_on(collector.stop());
        }
    }
}
