//! Who the nodes are, and who the collector is: its certificate authority, tokens, enrolment, revocation.
//!
//! ```text
//! ca/ ─→ authority ─┬→ certificates of nodes ←─ enrol ←─ token, request
//!                   ├→ server: what our listeners show
//!                   └→ trust: whose certificates they take ─→ on record? ─→ broker
//! ```
//!
//! A node is let in when its certificate is of a root that is trusted, it is on record with exactly this key and site, and it is not revoked. So
//! a certificate that was replaced or revoked counts no more, although it has not ended: no list of revoked certificates has to reach anybody.
//! Who may make tokens and revoke nodes is said in `access::roles`.

pub mod authority;
pub mod certificate;
pub mod config;
pub mod enrol;
mod files;
pub mod local;
pub mod revoked;
mod server;
pub mod token;
pub mod trust;

use std::net::{IpAddr, Ipv6Addr};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant, SystemTime};

use rustls::ServerConfig;
use rustls::pki_types::{CertificateDer, UnixTime};
use tacit_wire::{NodeId, SiteId};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::access::limits::{Limits, Rate};
use crate::clock::now_ms;
use crate::config::Config;
use crate::store::{NodeKey, Store, StoreError};
use crate::tls;
use authority::{Authority, AuthorityError, day};
use certificate::describe;
use config::{IdentityConfig, TlsConfig};
use revoked::{Connection, Connections};
use server::{Own, Shown};
use trust::{Origin, Trust};

/// Tries to enrol of one address that fail: 30 at once, then one in two seconds. Those that succeed do not count.
const TRIES: Rate = Rate { burst: 30, every: Duration::from_secs(2) };
/// Changes of the files are seen within this.
const LOOK_EVERY: Duration = Duration::from_secs(10);
/// A certificate of the operator's that ends so soon is said.
const SOON_MS: i64 = 14 * 86_400_000;

/// Why identities cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// The authority.
    #[error(transparent)]
    Authority(#[from] AuthorityError),
    /// A file or a setting.
    #[error("{0}")]
    Setting(String),
}

/// Everything about who is who.
#[derive(Debug)]
pub struct Identity {
    store: Arc<dyn Store>,
    config: IdentityConfig,
    tls: Option<Tls>,
    connections: Arc<Connections>,
    limits: Limits,
}

/// What there is with TLS only.
#[derive(Debug)]
struct Tls {
    config: TlsConfig,
    folder: PathBuf,
    names: Vec<String>,
    authority: RwLock<Option<Arc<Authority>>>,
    trust: RwLock<Arc<Trust>>,
    shown: Arc<Shown>,
    mqtt: watch::Sender<Arc<ServerConfig>>,
    http: watch::Sender<Arc<ServerConfig>>,
    seen: Mutex<Stamps>,
}

/// By which changes of files show.
type Stamps = Vec<Option<(SystemTime, u64)>>;

/// Who shows a certificate that was verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// The node.
    pub node: NodeId,
    /// Its site.
    pub site: SiteId,
    /// SHA-256 of its key.
    pub key: [u8; 32],
    /// Whose authority issued it.
    pub origin: Origin,
}

/// Why a node with a good certificate is not let in.
#[derive(Debug, thiserror::Error)]
pub enum Denied {
    /// It was revoked.
    #[error("it was revoked: {0}")]
    Revoked(String),
    /// Another key or site is on record.
    #[error(
        "its certificate was replaced by a newer one with another key or site: is there a second machine of this name?"
    )]
    Replaced,
    /// It is not on record.
    #[error(
        "it is not on record here, although our authority issued its certificate: was the database replaced? enrol it again"
    )]
    Unknown,
    /// The store cannot be asked.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Identity {
    /// Reads what is needed; with TLS off that is nothing.
    ///
    /// # Errors
    /// When a file is missing or wrong.
    pub fn open(config: &Config, store: Arc<dyn Store>) -> Result<Self, IdentityError> {
        let tls = if config.tls.enabled { Some(Tls::open(config, now_ms())?) } else { None };
        Ok(Self {
            store,
            config: config.identity.clone(),
            tls,
            connections: Arc::default(),
            limits: Limits::new(TRIES),
        })
    }

    /// TLS settings of the listener for nodes; none with TLS off. They change when roots do.
    #[must_use]
    pub fn mqtt(&self) -> Option<watch::Receiver<Arc<ServerConfig>>> {
        self.tls.as_ref().map(|tls| tls.mqtt.subscribe())
    }

    /// TLS settings of the listener for people; none with TLS off.
    #[must_use]
    pub fn http(&self) -> Option<watch::Receiver<Arc<ServerConfig>>> {
        self.tls.as_ref().map(|tls| tls.http.subscribe())
    }

    /// The authority, when there is one.
    #[must_use]
    pub fn authority(&self) -> Option<Arc<Authority>> {
        self.tls.as_ref()?.authority.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whom nodes shall trust, as PEM, the newest first; empty when there is nobody.
    #[must_use]
    pub fn roots_pem(&self) -> String {
        let given = self.tls.as_ref().and_then(|tls| tls.shown.look(|own| own.anchor.clone()));
        let given = given.map(|anchor| certificate::pem(&anchor));
        let own = self.authority();
        let own = own.iter().flat_map(|authority| authority.roots()).map(|root| root.pem.clone());
        given.into_iter().chain(own).collect()
    }

    /// By which a token names whom its node shall trust; none when nobody can be enrolled.
    #[must_use]
    pub fn pin(&self) -> Option<String> {
        let authority = self.authority()?;
        let given = self.tls.as_ref().and_then(|tls| tls.shown.look(|own| own.anchor.clone()));
        Some(given.map_or_else(|| authority.newest().pin(), |anchor| authority::pin(&anchor)))
    }

    /// Where nodes connect to, when that is set.
    #[must_use]
    pub fn broker(&self) -> Option<&str> {
        self.config.broker.as_deref()
    }

    /// A name of the collector's that others can use, when it has one.
    #[must_use]
    pub fn public_name(&self) -> Option<&str> {
        let is_local = |name: &str| name == "localhost" || name.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback());
        self.tls.as_ref()?.names.iter().map(String::as_str).find(|name| !is_local(name))
    }

    /// Takes one try of an address to enrol.
    ///
    /// # Errors
    /// When it tried too often: after how many seconds it may again.
    pub fn take_try(&self, address: IpAddr) -> Result<(), u64> {
        self.limits.take(address, Instant::now())
    }

    /// Gives back a try that succeeded.
    pub fn give_back(&self, address: IpAddr) {
        self.limits.give_back(address);
    }

    /// Who shows this chain at a listener of nodes; nobody when it is empty.
    ///
    /// # Errors
    /// Why it is not taken, in words.
    pub fn recognise(&self, chain: &[CertificateDer<'static>]) -> Result<Option<Peer>, String> {
        let Some(leaf) = chain.first() else { return Ok(None) };
        let says = describe(leaf);
        let tls = self.tls.as_ref().ok_or("there is no TLS here")?;
        let trust = Arc::clone(&tls.trust.read().unwrap_or_else(PoisonError::into_inner));
        let origin = trust.origin(chain, UnixTime::now()).map_err(|e| trust::words(&e, says.as_ref()))?;
        let says = says.ok_or("its certificate cannot be read")?;
        let (node, site) = says.whose.ok_or_else(|| {
            format!(
                "the certificate of {} names no node and site: it needs tacit://SITE/NODE among its names",
                says.name
            )
        })?;
        Ok(Some(Peer { node, site, key: says.key, origin }))
    }

    /// Lists a connection of a node, so that it can be cut; to be done before [`Identity::admits`].
    #[must_use]
    pub fn list(&self, node: &NodeId) -> Connection {
        self.connections.list(node)
    }

    /// Whether a node may enter now.
    ///
    /// # Errors
    /// Why not.
    pub async fn admits(&self, peer: &Peer) -> Result<(), Denied> {
        match self.store.node_key(&peer.node).await? {
            Some(known) if known.revoked_ms.is_some() => Err(Denied::Revoked(known.reason.unwrap_or_default())),
            Some(known) if known.key != peer.key || known.site != peer.site => Err(Denied::Replaced),
            None if peer.origin == Origin::Own => Err(Denied::Unknown),
            _ => Ok(()),
        }
    }

    /// Lets a node in no more, and cuts its connections.
    ///
    /// # Errors
    /// When it is not known, or revoked already.
    pub async fn revoke(&self, node: &NodeId, reason: &str, now_ms: i64) -> Result<NodeKey, StoreError> {
        let has_others = self.tls.as_ref().is_some_and(|tls| tls.config.client_ca_file.is_some());
        // Of nodes of another authority we know nothing before this.
        let unknown = has_others.then(|| NodeKey {
            node: node.clone(),
            site: "-".parse().expect("it has the right form"),
            key: [0; 32],
            serial: String::new(),
            not_after_ms: 0,
            enrolled_ms: now_ms,
            revoked_ms: None,
            reason: None,
        });
        let revoked = self.store.revoke_node(node, reason, now_ms, unknown).await?;
        let cut = self.connections.cut(node);
        info!(%node, reason, cut, "A node was revoked.");
        Ok(revoked)
    }

    /// Sees new files and renews the collector's certificate, until it is told to stop.
    pub async fn run(self: Arc<Self>, stop: CancellationToken) {
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(LOOK_EVERY) => {}
            }
            let own = Arc::clone(&self);
            // Files may be slow.
            let looked = tokio::task::spawn_blocking(move || own.look(now_ms())).await;
            if let Err(e) = looked {
                warn!(error = %e, "Looking for new certificates failed.");
            }
        }
    }

    /// Looks once. What cannot be used is said, and what there was stays in use.
    pub fn look(&self, now_ms: i64) {
        if let Some(tls) = &self.tls {
            tls.look(now_ms);
        }
    }
}

impl Tls {
    fn open(config: &Config, now_ms: i64) -> Result<Self, IdentityError> {
        let folder = config.data_dir.join(authority::FOLDER);
        let names = names(&config.identity.names);
        let authority = match Authority::load(&folder) {
            Ok(authority) => Some(Arc::new(authority)),
            Err(AuthorityError::Missing(_)) if config.tls.cert_file.is_some() => None,
            Err(e) => return Err(e.into()),
        };
        let own = own(&config.tls, authority.as_deref(), &names, now_ms)?;
        if own.not_after_ms <= now_ms {
            warn!(ended = day(own.not_after_ms), "The collector's own certificate has ended: nobody will take it.");
        }
        let trust = Arc::new(trust(&config.tls, authority.as_deref())?);
        let shown = Arc::new(Shown::new(own));
        let mqtt = tls::for_nodes(shown.clone(), trust.clone()).map_err(IdentityError::Setting)?;
        let http = tls::for_people(shown.clone()).map_err(IdentityError::Setting)?;
        Ok(Self {
            seen: Mutex::new(stamps(&config.tls, &folder)),
            config: config.tls.clone(),
            folder,
            names,
            authority: RwLock::new(authority),
            trust: RwLock::new(trust),
            shown,
            mqtt: watch::Sender::new(mqtt),
            http: watch::Sender::new(http),
        })
    }

    fn look(&self, now_ms: i64) {
        let now = stamps(&self.config, &self.folder);
        let is_new = {
            let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
            let is_new = *seen != now;
            *seen = now;
            is_new
        };
        if is_new {
            match self.reload(now_ms) {
                Ok(()) => info!("The certificates were read again."),
                Err(e) => warn!(error = %e, "New certificates cannot be used; those before stay in use."),
            }
        }
        let (renew_ms, not_after_ms) = self.shown.look(|own| (own.renew_ms, own.not_after_ms));
        if now_ms >= renew_ms {
            self.renew(now_ms);
        } else if is_new && not_after_ms.saturating_sub(now_ms) < SOON_MS {
            warn!(ends = day(not_after_ms), "The collector's certificate ends soon: replace tls.cert_file.");
        }
    }

    fn reload(&self, now_ms: i64) -> Result<(), IdentityError> {
        let authority = match Authority::load(&self.folder) {
            Ok(authority) => Some(Arc::new(authority)),
            Err(AuthorityError::Missing(_)) if self.config.cert_file.is_some() => None,
            Err(e) => return Err(e.into()),
        };
        let own = own(&self.config, authority.as_deref(), &self.names, now_ms)?;
        let trust = Arc::new(trust(&self.config, authority.as_deref())?);
        // New settings have new tickets: who was let in by a root that is trusted no more has to show a certificate again.
        let mqtt = tls::for_nodes(self.shown.clone(), trust.clone()).map_err(IdentityError::Setting)?;
        self.shown.replace(own);
        *self.authority.write().unwrap_or_else(PoisonError::into_inner) = authority;
        *self.trust.write().unwrap_or_else(PoisonError::into_inner) = trust;
        self.mqtt.send_replace(mqtt);
        Ok(())
    }

    fn renew(&self, now_ms: i64) {
        let authority = self.authority.read().unwrap_or_else(PoisonError::into_inner).clone();
        match own(&self.config, authority.as_deref(), &self.names, now_ms) {
            Ok(own) => {
                info!(until = day(own.not_after_ms), "The collector has a new certificate.");
                self.shown.replace(own);
            }
            Err(e) => warn!(error = %e, "The collector's certificate cannot be renewed; trying again."),
        }
    }
}

/// The collector's own certificate.
fn own(tls: &TlsConfig, authority: Option<&Authority>, names: &[String], now_ms: i64) -> Result<Own, IdentityError> {
    match (&tls.cert_file, &tls.key_file, authority) {
        (Some(cert), Some(key), _) => Own::given(cert, key).map_err(IdentityError::Setting),
        (_, _, Some(authority)) => Ok(Own::issued(authority, names, now_ms)?),
        _ => Err(IdentityError::Setting(
            "TLS needs a certificate: `tacit ca init`, or tls.cert_file and tls.key_file".into(),
        )),
    }
}

/// Whose certificates are taken.
fn trust(tls: &TlsConfig, authority: Option<&Authority>) -> Result<Trust, IdentityError> {
    let given = match &tls.client_ca_file {
        None => Vec::new(),
        Some(path) => {
            let wrong = |why: String| IdentityError::Setting(format!("tls.client_ca_file: {why}"));
            let text = files::read(path).map_err(|e| wrong(e.to_string()))?;
            certificate::certificates(&text).map_err(|why| wrong(format!("{}: {why}", path.display())))?
        }
    };
    let own: Vec<_> = authority.iter().flat_map(|authority| authority.roots()).map(|root| root.der.clone()).collect();
    Trust::new(&own, &given).map_err(IdentityError::Setting)
}

fn stamps(tls: &TlsConfig, folder: &Path) -> Stamps {
    let given = [&tls.cert_file, &tls.key_file, &tls.client_ca_file];
    let given = given.into_iter().flatten().map(|path| files::stamp(path));
    authority::stamp(folder).into_iter().chain(given).collect()
}

/// A name as it stands in a URL: an address of version 6 in brackets.
#[must_use]
pub fn in_url(name: &str) -> String {
    if name.parse::<Ipv6Addr>().is_ok() { format!("[{name}]") } else { name.to_owned() }
}

/// The names of the collector: those that are set, or those that it has by itself.
#[must_use]
pub fn names(set: &[String]) -> Vec<String> {
    if !set.is_empty() {
        return set.to_vec();
    }
    let host = rustix::system::uname().nodename().to_string_lossy().to_ascii_lowercase();
    let host = Some(host).filter(|host| !host.is_empty() && host.is_ascii() && host != "localhost");
    host.into_iter().chain(["localhost", "127.0.0.1", "::1"].map(str::to_owned)).collect()
}

#[cfg(test)]
mod tests;
