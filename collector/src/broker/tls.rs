//! The broker's door with TLS: our own accept loop, because the library neither gives the certificate of a client to whoever decides, nor takes two
//! handshakes at once.
//!
//! A node shows a certificate: its client id has to be the certificate's common name, its topics are those of the certificate's site, and it is looked up at each
//! connect. A tool shows none, has a client id that no node can have, and signs in as a user or with an API token; it reads. Revoking a node, and taking anybody's
//! rights, ends the connections concerned.

use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use mqtt5::broker::auth::{AuthProvider, AuthResult};
use mqtt5::broker::client_handler::ClientHandler;
use mqtt5::broker::config::BrokerConfig;
use mqtt5::broker::resource_monitor::ResourceMonitor;
use mqtt5::broker::router::MessageRouter;
use mqtt5::broker::storage::DynamicStorage;
use mqtt5::broker::sys_topics::BrokerStats;
use mqtt5::broker::tls_acceptor::TlsStreamWrapper;
use mqtt5::broker::transport::BrokerTransport;
use mqtt5::packet::connect::ConnectPacket;
use mqtt5::types::ReasonCode;
use rustls::pki_types::CertificateDer;
use tacit_wire::NodeId;
use tokio::sync::broadcast;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{debug, warn};

use super::rules;
use crate::access::Access;
use crate::identity::revoked::Connection;
use crate::identity::{Denied, Identity, Peer};
use crate::tls::{Handshakes, Stream};

/// A connection that is cut has so long to end by itself; then it is ended.
const CUT_EVERY: Duration = Duration::from_millis(500);
const CUT_TRIES: usize = 6;
/// Connections have so long to say goodbye when the broker ends.
const GOODBYE: Duration = Duration::from_secs(5);

/// What a connection needs of the broker.
pub struct Parts {
    pub config: Arc<BrokerConfig>,
    pub router: Arc<MessageRouter>,
    pub storage: Option<Arc<DynamicStorage>>,
    pub stats: Arc<BrokerStats>,
    pub monitor: Arc<ResourceMonitor>,
    pub identity: Arc<Identity>,
    pub access: Arc<Access>,
}

/// The open door.
pub struct Door {
    stop: CancellationToken,
    goodbye: broadcast::Sender<()>,
    connections: TaskTracker,
    task: JoinHandle<()>,
}

impl Door {
    /// Serves whoever comes through these handshakes.
    pub fn open(handshakes: Handshakes, parts: Parts) -> Self {
        let (stop, goodbye, connections) = (CancellationToken::new(), broadcast::Sender::new(1), TaskTracker::new());
        let hall = Hall { parts: Arc::new(parts), goodbye: goodbye.clone(), connections: connections.clone() };
        let task = tokio::spawn(hall.run(handshakes, stop.clone()));
        Self { stop, goodbye, connections, task }
    }

    /// Lets nobody in any more, and lets those who are inside say goodbye.
    pub async fn close(self) {
        self.stop.cancel();
        let _ = self.task.await;
        self.connections.close();
        // Nobody may be there.
        let _ = self.goodbye.send(());
        if tokio::time::timeout(GOODBYE, self.connections.wait()).await.is_err() {
            warn!("Some connections did not end in time.");
        }
    }
}

struct Hall {
    parts: Arc<Parts>,
    goodbye: broadcast::Sender<()>,
    connections: TaskTracker,
}

impl Hall {
    async fn run(self, mut handshakes: Handshakes, stop: CancellationToken) {
        loop {
            let (stream, peer) = tokio::select! {
                () = stop.cancelled() => return,
                next = handshakes.next() => next,
            };
            if !self.parts.monitor.can_accept_connection(peer.ip()).await {
                debug!(%peer, "Not let in: too many connections.");
                continue;
            }
            self.connections.spawn(serve(Arc::clone(&self.parts), stream, peer, self.goodbye.subscribe()));
        }
    }
}

/// One connection, to its end.
async fn serve(parts: Arc<Parts>, stream: Stream, peer: SocketAddr, goodbye: broadcast::Receiver<()>) {
    let chain: Vec<CertificateDer<'static>> = stream.get_ref().1.peer_certificates().unwrap_or_default().to_vec();
    let guest = match parts.identity.recognise(&chain) {
        Ok(Some(node)) => Guest::Node { listed: parts.identity.list(&node.node), node },
        Ok(None) => Guest::Tool,
        Err(why) => {
            warn!(%peer, "Not let in: {why}.");
            Guest::Nobody
        }
    };
    let mut rights = parts.access.rights();
    let name = Arc::new(OnceLock::new());
    let cut = match &guest {
        Guest::Node { listed, .. } => listed.cut().clone(),
        _ => CancellationToken::new(),
    };
    let is_tool = matches!(guest, Guest::Tool);
    let rules = Rules {
        guest,
        cut: cut.clone(),
        identity: Arc::clone(&parts.identity),
        access: Arc::clone(&parts.access),
        name: Arc::clone(&name),
    };
    let handler = ClientHandler::new(
        BrokerTransport::tls(TlsStreamWrapper::new(stream)),
        peer,
        Arc::clone(&parts.config),
        Arc::clone(&parts.router),
        Arc::new(rules),
        parts.storage.clone(),
        Arc::clone(&parts.stats),
        Arc::clone(&parts.monitor),
        goodbye,
    );
    let mut work = Box::pin(handler.run());
    let outcome = loop {
        tokio::select! {
            outcome = &mut work => break Some(outcome),
            () = cut.cancelled() => break None,
            changed = rights.changed(), if is_tool => {
                if changed.is_ok() {
                    debug!(%peer, "Rights have changed: a tool has to sign in again.");
                }
                cut.cancel();
            }
        }
    };
    match outcome {
        Some(Ok(())) => debug!(%peer, "A connection ended."),
        Some(Err(e)) => debug!(%peer, error = %e, "A connection ended."),
        None => end(&parts, peer, name.get().map(String::as_str), work).await,
    }
}

/// Ends a connection that may not go on. It may just be connecting: then the router knows it only some moments later.
async fn end(parts: &Parts, peer: SocketAddr, name: Option<&str>, mut work: impl Future + Unpin) {
    for _ in 0..CUT_TRIES {
        if let Some(name) = name {
            parts.router.disconnect_client(name).await;
        }
        if tokio::time::timeout(CUT_EVERY, &mut work).await.is_ok() {
            debug!(%peer, client = name, "A connection was cut.");
            return;
        }
    }
    debug!(%peer, client = name, "A connection was cut off.");
}

/// Who is at the other end.
enum Guest {
    /// A node, by its certificate.
    Node { node: Peer, listed: Connection },
    /// Somebody without a certificate.
    Tool,
    /// Somebody whose certificate is not taken.
    Nobody,
}

/// What one connection may do.
struct Rules {
    guest: Guest,
    /// Set when it may do nothing more.
    cut: CancellationToken,
    identity: Arc<Identity>,
    access: Arc<Access>,
    /// The client id, once it is let in under it.
    name: Arc<OnceLock<String>>,
}

type Done<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

impl Rules {
    async fn enter(&self, connect: &ConnectPacket, from: SocketAddr) -> Result<AuthResult, (ReasonCode, String)> {
        let entered = match &self.guest {
            Guest::Node { node, .. } => self.node(node, connect).await,
            Guest::Tool => self.tool(connect, from).await,
            Guest::Nobody => Err((ReasonCode::NotAuthorized, "its certificate is not taken".into())),
        };
        if entered.is_ok() {
            // One connection connects once.
            let _ = self.name.set(connect.client_id.clone());
        }
        entered
    }

    async fn node(&self, node: &Peer, connect: &ConnectPacket) -> Result<AuthResult, (ReasonCode, String)> {
        if connect.client_id != node.node.as_str() {
            let why = "its client id is not the name in its certificate: set it to that, or leave the certificate out";
            return Err((ReasonCode::ClientIdentifierNotValid, why.into()));
        }
        if let Some(will) = &connect.will
            && (will.retain || !rules::may_node_publish(&node.site, &node.node, &will.topic))
        {
            let why = format!("its will is retained, or on a topic of somebody else: {:?}", shorten(&will.topic));
            return Err((ReasonCode::NotAuthorized, why));
        }
        self.identity.admits(node).await.map_err(|denied| (code(&denied), denied.to_string()))?;
        // No user: a session that the node had before TLS was switched on goes on.
        Ok(AuthResult::success())
    }

    async fn tool(&self, connect: &ConnectPacket, from: SocketAddr) -> Result<AuthResult, (ReasonCode, String)> {
        if connect.client_id.parse::<NodeId>().is_ok() {
            let why = "its client id is one of a node, and it shows no certificate: enrol it, or use an id with a capital letter";
            return Err((ReasonCode::NotAuthorized, why.into()));
        }
        if connect.will.is_some() {
            return Err((ReasonCode::NotAuthorized, "a tool only reads: it has no will".into()));
        }
        let Some((user, password)) = super::credentials(connect) else {
            let why = "it shows neither a certificate nor user and password (or an API token as the password)";
            return Err((ReasonCode::BadUsernameOrPassword, why.into()));
        };
        match self.access.check_password(from.ip(), user, password).await {
            Some(_) => Ok(AuthResult::success_with_user(user)),
            None => {
                Err((ReasonCode::BadUsernameOrPassword, "user and password are wrong, or were tried too often".into()))
            }
        }
    }
}

fn code(denied: &Denied) -> ReasonCode {
    match denied {
        Denied::Revoked(_) => ReasonCode::Banned,
        Denied::Replaced | Denied::Unknown => ReasonCode::NotAuthorized,
        Denied::Store(_) => ReasonCode::ServerUnavailable,
    }
}

fn shorten(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(100).collect()
}

impl AuthProvider for Rules {
    fn authenticate<'a>(
        &'a self,
        connect: &'a ConnectPacket,
        from: SocketAddr,
    ) -> Done<'a, mqtt5::error::Result<AuthResult>> {
        Box::pin(async move {
            Ok(self.enter(connect, from).await.unwrap_or_else(|(code, why)| {
                warn!(client = shorten(&connect.client_id), peer = %from, "Not let in: {why}.");
                AuthResult::fail(code)
            }))
        })
    }

    fn authorize_publish<'a>(&'a self, _: &str, _: Option<&'a str>, topic: &'a str) -> Done<'a, bool> {
        let allowed = match &self.guest {
            Guest::Node { node, .. } => rules::may_node_publish(&node.site, &node.node, topic),
            Guest::Tool | Guest::Nobody => false,
        };
        let allowed = allowed && !self.cut.is_cancelled();
        Box::pin(async move { allowed })
    }

    fn authorize_subscribe<'a>(&'a self, _: &str, _: Option<&'a str>, filter: &'a str) -> Done<'a, bool> {
        let allowed = match &self.guest {
            Guest::Node { node, .. } => rules::may_node_subscribe(&node.site, &node.node, filter),
            Guest::Tool => rules::may_tool_subscribe(filter),
            Guest::Nobody => false,
        };
        let allowed = allowed && !self.cut.is_cancelled();
        Box::pin(async move { allowed })
    }
}

/// Lets nobody in: for the listener that the library insists on, beside our own.
pub struct Closed;

impl AuthProvider for Closed {
    fn authenticate<'a>(&'a self, _: &'a ConnectPacket, _: SocketAddr) -> Done<'a, mqtt5::error::Result<AuthResult>> {
        Box::pin(async { Ok(AuthResult::fail(ReasonCode::NotAuthorized)) })
    }

    fn authorize_publish<'a>(&'a self, _: &str, _: Option<&'a str>, _: &'a str) -> Done<'a, bool> {
        Box::pin(async { false })
    }

    fn authorize_subscribe<'a>(&'a self, _: &str, _: Option<&'a str>, _: &'a str) -> Done<'a, bool> {
        Box::pin(async { false })
    }
}
