//! Starts and stops the collector's parts, in one process and in order.

use std::fs::{File, OpenOptions};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustix::fs::{FlockOperation, flock};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::access::Access;
use crate::api::{self, ApiState};
use crate::broker::{Address, BrokerError, Embedded, External, Guards, Line};
use crate::clock::now_ms;
use crate::config::Config;
use crate::identity::{self, Identity, IdentityError};
use crate::incident::Judge;
use crate::ingest::Ingest;
use crate::interop::presence::{Broker, RollCall};
use crate::interop::{Interop, expiry};
use crate::map::book::Book;
use crate::map::names::Names;
use crate::map::{Map, Mapper, reverse};
use crate::notify::{Desk, Notifier};
use crate::store::{SqliteStore, Store, StoreError};

/// Names of ports, when the system has them.
const SERVICES: &str = "/etc/services";
/// Distance of retention runs.
const RETAIN_EVERY: Duration = Duration::from_secs(600);

/// Why the collector did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The folder cannot be used.
    #[error("cannot use the data folder {path}: {source}; make it writable for this user, or name another with --data")]
    Folder {
        /// The folder.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// Another collector has the folder.
    #[error("another Tacit runs on the data folder {path}: stop it first, or name another folder with --data")]
    Locked {
        /// The folder.
        path: PathBuf,
    },
    /// The configuration cannot be used.
    #[error("{0}")]
    Config(String),
    /// The database cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Certificates cannot be used.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The broker did not start.
    #[error(transparent)]
    Broker(#[from] BrokerError),
    /// The HTTP port is taken.
    #[error(
        "cannot listen for HTTP on {address}: {source}; is a second Tacit running there? (--http ADDRESS, or http.listen in collector.toml)"
    )]
    Http {
        /// The address.
        address: SocketAddr,
        /// The system's reason.
        source: std::io::Error,
    },
}

/// A running collector.
#[derive(Debug)]
pub struct Collector {
    store: Arc<dyn Store>,
    ingest: Arc<Ingest>,
    map: Arc<Map>,
    identity: Arc<Identity>,
    http: SocketAddr,
    console: String,
    mqtt: Option<SocketAddr>,
    stop: CancellationToken,
    tasks: Vec<JoinHandle<()>>,
    link: Link,
    /// Held for as long as the collector runs.
    _lock: File,
}

#[derive(Debug)]
enum Link {
    Embedded(Box<Embedded>),
    External(External),
}

impl Collector {
    /// Starts everything; when this returns, nodes and people can connect.
    ///
    /// # Errors
    /// When a folder, port or file cannot be used. Nothing is left running then.
    pub async fn start(config: &Config) -> Result<Self, StartError> {
        config.check().map_err(StartError::Config)?;
        let lock = lock(&config.data_dir)?;
        let listener = TcpListener::bind(config.http.listen)
            .await
            .map_err(|source| StartError::Http { address: config.http.listen, source })?;
        let http = listener.local_addr().unwrap_or(config.http.listen);
        let store: Arc<dyn Store> = Arc::new(SqliteStore::open(&config.data_dir.join("tacit.db"))?);
        let identity = Arc::new(Identity::open(config, Arc::clone(&store))?);
        let access = Arc::new(Access::new(&config.access, Arc::clone(&store), http, config.tls.enabled));
        let console = console(config, http, &identity);
        let line = Line::default();
        // Before the first node can connect: who was not heard since is missing.
        let started_ms = now_ms();
        let desk = Desk::new(&config.notify, config.pages, &console, started_ms);
        let desk = Arc::new(desk.map_err(StartError::Config)?);
        let ingest = Arc::new(Ingest::new(Arc::clone(&store), Arc::new(line.clone())));
        let guards = Guards { access: Arc::clone(&access), identity: Arc::clone(&identity) };
        let (link, mqtt) = connect(config, &ingest, &line, guards).await?;

        let names = Names::new(&config.map, Some(Path::new(SERVICES))).map_err(StartError::Config)?;
        let book = Book::new(names, config.sites.first().cloned());
        let map = Arc::new(Map::new(book, Arc::clone(&store)));

        let stop = CancellationToken::new();
        let api = ApiState {
            store: Arc::clone(&store),
            ingest: Arc::clone(&ingest),
            map: Arc::clone(&map),
            interop: Arc::new(Interop::new(&store, &ingest, &map)),
            notify: Arc::clone(&desk),
            access,
            identity: Arc::clone(&identity),
            started_ms,
            demo: config.demo,
            retention: config.retention,
            http,
            mqtt,
            stop: stop.clone(),
        };
        let judge = Judge::new(Arc::clone(&store), Arc::clone(&ingest), Arc::clone(&map));
        let mapper = Mapper::new(Arc::clone(&map), Arc::clone(&store)).asking(Arc::clone(&ingest));
        let broker = if config.mqtt.external.is_some() { Broker::External } else { Broker::Embedded };
        let roll_call = RollCall::new(Arc::clone(&store), Arc::clone(&ingest), broker, started_ms);
        let notifier = Notifier::new(desk, Arc::clone(&store), Arc::clone(&ingest));
        let mut tasks = vec![
            tokio::spawn(judge.run(stop.clone())),
            tokio::spawn(mapper.run(stop.clone())),
            tokio::spawn(roll_call.run(stop.clone())),
            tokio::spawn(notifier.run(stop.clone())),
            tokio::spawn(expiry::run(Arc::clone(&store), Arc::clone(&ingest), stop.clone())),
            tokio::spawn(retain(Arc::clone(&store), config.clone(), stop.clone())),
            tokio::spawn(Arc::clone(&identity).run(stop.clone())),
            tokio::spawn(api::serve(api, listener, stop.clone())),
        ];
        if config.map.reverse_dns {
            tasks.push(tokio::spawn(reverse::run(Arc::clone(&map), stop.clone())));
        }
        Ok(Self { store, ingest, map, identity, http, console, mqtt, stop, tasks, link, _lock: lock })
    }

    /// Where console and API listen.
    #[must_use]
    pub fn http_address(&self) -> SocketAddr {
        self.http
    }

    /// The address of the console, for people.
    #[must_use]
    pub fn console(&self) -> &str {
        &self.console
    }

    /// Where the embedded broker listens; `None` with an external one.
    #[must_use]
    pub fn mqtt_address(&self) -> Option<SocketAddr> {
        self.mqtt
    }

    /// What is kept.
    #[must_use]
    pub fn store(&self) -> &Arc<dyn Store> {
        &self.store
    }

    /// What comes in.
    #[must_use]
    pub fn ingest(&self) -> &Arc<Ingest> {
        &self.ingest
    }

    /// Who talks to whom.
    #[must_use]
    pub fn map(&self) -> &Arc<Map> {
        &self.map
    }

    /// Who the nodes are.
    #[must_use]
    pub fn identity(&self) -> &Arc<Identity> {
        &self.identity
    }

    /// Stops everything: first what takes in, then what works on it.
    pub async fn stop(self) {
        match self.link {
            Link::Embedded(broker) => broker.stop().await,
            Link::External(client) => client.stop().await,
        }
        self.stop.cancel();
        for task in self.tasks {
            if tokio::time::timeout(Duration::from_secs(5), task).await.is_err() {
                warn!("A part of the collector did not end in time.");
            }
        }
    }
}

/// Where people reach the console. One that listens everywhere is called by its name, where it has one.
fn console(config: &Config, http: SocketAddr, identity: &Identity) -> String {
    let scheme = if config.tls.enabled { "https" } else { "http" };
    match identity.public_name().filter(|_| http.ip().is_unspecified()) {
        Some(name) => format!("{scheme}://{}:{}", identity::in_url(name), http.port()),
        None => format!("{scheme}://{http}"),
    }
}

async fn connect(
    config: &Config,
    ingest: &Arc<Ingest>,
    line: &Line,
    guards: Guards,
) -> Result<(Link, Option<SocketAddr>), StartError> {
    let Some(url) = &config.mqtt.external else {
        let folder = config.data_dir.join("broker");
        let ingest = Arc::clone(ingest);
        let broker = Embedded::start(config.mqtt.listen, &folder, ingest, line, &config.sites, guards).await?;
        let address = broker.address();
        return Ok((Link::Embedded(Box::new(broker)), Some(address)));
    };
    let credentials = match (&config.mqtt.username, &config.mqtt.password_file) {
        (Some(user), Some(file)) => {
            let password = std::fs::read_to_string(file)
                .map_err(|e| StartError::Config(format!("mqtt.password_file: cannot read {}: {e}", file.display())))?;
            Some((user.clone(), password.trim_end().to_owned()))
        }
        _ => None,
    };
    let address = Address { host: url.host.clone(), port: url.port, credentials };
    Ok((Link::External(External::start(address, Arc::clone(ingest), line, config.sites.clone())), None))
}

/// Makes the folder and takes its lock.
fn lock(folder: &Path) -> Result<File, StartError> {
    let unusable = |source| StartError::Folder { path: folder.to_owned(), source };
    std::fs::create_dir_all(folder).map_err(unusable)?;
    let file =
        OpenOptions::new().create(true).truncate(false).write(true).open(folder.join("lock")).map_err(unusable)?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(file),
        Err(rustix::io::Errno::WOULDBLOCK) => Err(StartError::Locked { path: folder.to_owned() }),
        Err(e) => Err(unusable(e.into())),
    }
}

async fn retain(store: Arc<dyn Store>, config: Config, stop: CancellationToken) {
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(RETAIN_EVERY) => {}
        }
        if let Err(e) = store.retain(&config.retention, now_ms()).await {
            warn!(error = %e, "Cannot forget what is too old.");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_belongs_to_one() {
        let folder = tempfile::tempdir().unwrap();
        let first = lock(folder.path()).unwrap();
        assert!(matches!(lock(folder.path()), Err(StartError::Locked { .. })));
        drop(first);
        assert!(lock(folder.path()).is_ok());
    }
}
