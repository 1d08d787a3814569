//! The embedded broker, on the `mqtt5` crate.

use std::collections::BTreeSet;
use std::future::Future;
use std::net::SocketAddr;
use std::path::Path;
use std::pin::Pin;
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use std::time::Duration;

use mqtt5::QoS;
use mqtt5::broker::auth::{AuthProvider, AuthResult};
use mqtt5::broker::config::{BrokerConfig, StorageBackend, StorageConfig};
use mqtt5::broker::events::{BrokerEventHandler, ClientDisconnectEvent, ClientPublishEvent, PublishAction};
use mqtt5::broker::router::MessageRouter;
use mqtt5::broker::{BrokerShutdownHandle, MqttBroker};
use mqtt5::packet::connect::ConnectPacket;
use mqtt5::packet::publish::PublishPacket;
use mqtt5::types::ReasonCode;
use tacit_wire::codec::{Encoding, content_type, encode};
use tacit_wire::limits;
use tacit_wire::message::Status;
use tacit_wire::{NodeId, SiteId, Topic};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tracing::{debug, warn};

use super::{rules, tls};
use crate::access::Access;
use crate::clock::now_ms;
use crate::identity::Identity;
use crate::ingest::{Downlink, Ingest};
use crate::tls::Handshakes;

/// A node whose connection broke has this long to come back before it counts as lost; the same as the delay of its will.
const COME_BACK: Duration = Duration::from_secs(45);
/// Messages to nodes that may wait to be routed.
const DOWN_QUEUED: usize = 4096;
/// Messages a node may have under way; it waits for commits beyond.
const RECEIVE_MAXIMUM: u16 = 64;

/// Why the broker did not start.
#[derive(Debug, thiserror::Error)]
pub enum BrokerError {
    /// The address is taken or not ours.
    #[error(
        "cannot listen for MQTT on {address}: {reason}; is another broker or a second Tacit running there? (--mqtt ADDRESS, or mqtt.listen in collector.toml)"
    )]
    Listen {
        /// The address.
        address: SocketAddr,
        /// The library's reason.
        reason: String,
    },
}

/// The way down to nodes. It exists before the broker, which needs the ingest, which needs it.
#[derive(Debug, Clone)]
pub struct Line {
    queue: mpsc::Sender<DownMessage>,
    waiting: Arc<Mutex<Option<mpsc::Receiver<DownMessage>>>>,
}

/// Topic, payload, and whether it is retained.
pub(super) type DownMessage = (Topic, Vec<u8>, bool);

impl Line {
    /// What is sent, once: for the broker that carries it.
    pub(super) fn take_queue(&self) -> Option<mpsc::Receiver<DownMessage>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl Default for Line {
    fn default() -> Self {
        let (queue, waiting) = mpsc::channel(DOWN_QUEUED);
        Self { queue, waiting: Arc::new(Mutex::new(Some(waiting))) }
    }
}

impl Downlink for Line {
    fn send(&self, topic: Topic, payload: Vec<u8>, retain: bool) {
        if self.queue.try_send((topic, payload, retain)).is_err() {
            warn!("A message to a node was dropped: too many wait to be routed.");
        }
    }
}

/// Who decides about who connects.
#[derive(Debug, Clone)]
pub struct Guards {
    /// Who the tools are.
    pub access: Arc<Access>,
    /// Who the nodes are; with TLS, that is.
    pub identity: Arc<Identity>,
}

/// The running broker.
pub struct Embedded {
    address: SocketAddr,
    /// With TLS, where clients come in.
    door: Option<tls::Door>,
    shutdown: BrokerShutdownHandle,
    tasks: Vec<JoinHandle<()>>,
    router: Arc<MessageRouter>,
    sites: Arc<Sites>,
}

impl Embedded {
    /// Starts the broker; its sessions live below `folder`.
    ///
    /// # Errors
    /// When it cannot listen.
    pub async fn start(
        address: SocketAddr,
        folder: &Path,
        ingest: Arc<Ingest>,
        line: &Line,
        sites: &[SiteId],
        guards: Guards,
    ) -> Result<Self, BrokerError> {
        // The library's text goes on for lines; the first says it.
        let listen = |reason: String| {
            let said = reason.lines().find(|l| l.contains("os error")).unwrap_or(&reason).trim();
            BrokerError::Listen { address, reason: said.trim_start_matches("- ").to_owned() }
        };
        let router = Arc::new(OnceLock::new());
        let sites_known = Arc::new(Sites { line: line.clone(), since_ms: now_ms(), known: Mutex::default() });
        let handler = Handler { ingest, router: Arc::clone(&router), sites: Arc::clone(&sites_known) };
        let handshakes = match guards.identity.mqtt() {
            None => None,
            Some(settings) => {
                let listener = TcpListener::bind(address).await.map_err(|e| listen(e.to_string()))?;
                Some(Handshakes::start(listener, settings, "mqtts").map_err(|e| listen(e.to_string()))?)
            }
        };
        // The library insists on a listener of its own. Where ours takes its place, that one is on loopback and lets nobody in.
        let (bind, provider): (_, Arc<dyn AuthProvider>) = match &handshakes {
            None => (address, Arc::new(Rules { access: Arc::clone(&guards.access) })),
            Some(_) => (SocketAddr::from(([127, 0, 0, 1], 0)), Arc::new(tls::Closed)),
        };
        let config = settings(bind, folder, handler);
        let broker = MqttBroker::with_config(config.clone()).await.map_err(|e| listen(e.to_string()))?;
        let mut broker = broker.with_auth_provider(provider);
        let address = handshakes.as_ref().map(Handshakes::address).or_else(|| broker.local_addr());
        let address = address.ok_or_else(|| listen("no address was bound".into()))?;
        let _ = router.set(Arc::downgrade(&broker.router()));
        let parts = tls::Parts {
            config: Arc::new(config),
            router: broker.router(),
            storage: broker.storage(),
            stats: broker.stats(),
            monitor: broker.resource_monitor(),
            identity: guards.identity,
            access: guards.access,
        };
        let (shutdown, routes, mut ready) = (broker.shutdown_handle(), broker.router(), broker.ready_receiver());
        let serve = tokio::spawn(async move {
            if let Err(e) = broker.run().await {
                tracing::error!(error = %e, "The broker ended.");
            }
        });
        // Before this it would not hear that it shall stop. An error means that it ended, which is logged above.
        let _ = ready.wait_for(|ready| *ready).await;
        let down = line.take_queue().map(|queue| tokio::spawn(send_down(queue, Arc::clone(&routes))));
        for site in sites {
            sites_known.announce(site);
        }
        let door = handshakes.map(|handshakes| tls::Door::open(handshakes, parts));
        let tasks = std::iter::once(serve).chain(down).collect();
        Ok(Self { address, door, shutdown, tasks, router: routes, sites: sites_known })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Says goodbye on every site's status and ends; clients are told.
    pub async fn stop(mut self) {
        let known = self.sites.known.lock().unwrap_or_else(PoisonError::into_inner).clone();
        for site in known {
            let (topic, payload) = self.sites.status(&site, false);
            self.router.route_message(&packet(&topic, payload, true), None).await;
        }
        // Before the broker: its sessions are written when they end.
        if let Some(door) = self.door.take() {
            door.close().await;
        }
        self.shutdown.shutdown();
        let serve = self.tasks.remove(0);
        if tokio::time::timeout(Duration::from_secs(5), serve).await.is_err() {
            warn!("The broker did not end in time.");
        }
        for task in self.tasks {
            task.abort();
            // It holds the broker's folder until it is gone, and the next collector may start at once.
            let _ = task.await;
        }
    }
}

/// How the library is set up.
fn settings(bind: SocketAddr, folder: &Path, handler: Handler) -> BrokerConfig {
    let storage = StorageConfig::new()
        .with_backend(StorageBackend::File)
        .with_base_dir(folder.to_owned())
        .with_max_queued_messages_per_client(1000)
        .with_max_queued_bytes_per_client(4 << 20);
    BrokerConfig::new()
        .with_bind_addresses(vec![bind])
        .with_max_clients(20_000)
        .with_max_packet_size(limits::PAYLOAD + 4096)
        .with_session_expiry(Duration::from_secs(86_400))
        .with_max_subscriptions_per_client(16)
        .with_max_retained_messages(250_000)
        .with_max_retained_message_size(16 * 1024)
        .with_server_receive_maximum(RECEIVE_MAXIMUM)
        .with_sys_topics_enabled(false)
        .with_storage(storage)
        .with_event_handler(Arc::new(handler))
}

async fn send_down(mut queue: mpsc::Receiver<DownMessage>, router: Arc<MessageRouter>) {
    while let Some((topic, payload, retain)) = queue.recv().await {
        router.route_message(&packet(&topic, payload, retain), None).await;
    }
}

fn packet(topic: &Topic, payload: Vec<u8>, retain: bool) -> PublishPacket {
    let kind = content_type(&payload).to_owned();
    PublishPacket::new(topic.to_string(), payload, QoS::AtLeastOnce).with_retain(retain).with_content_type(kind)
}

/// Sites seen so far; each has a retained status.
#[derive(Debug)]
struct Sites {
    line: Line,
    since_ms: i64,
    known: Mutex<BTreeSet<SiteId>>,
}

impl Sites {
    fn announce(&self, site: &SiteId) {
        if self.known.lock().unwrap_or_else(PoisonError::into_inner).insert(site.clone()) {
            let (topic, payload) = self.status(site, true);
            self.line.send(topic, payload, true);
        }
    }

    fn status(&self, site: &SiteId, up: bool) -> (Topic, Vec<u8>) {
        let version = env!("CARGO_PKG_VERSION").to_owned();
        let status = Status { up, durable_puback: true, since_ms: self.since_ms, backoff_s: None, version };
        let payload = encode(&status, Encoding::Cbor).expect("a status is small and within its bounds");
        (Topic::Status(site.clone()), payload)
    }
}

/// The hooks.
struct Handler {
    ingest: Arc<Ingest>,
    /// Weak, for the router has the handler: it would keep the broker and its folder for ever.
    router: Arc<OnceLock<Weak<MessageRouter>>>,
    sites: Arc<Sites>,
}

type Done<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

impl BrokerEventHandler for Handler {
    fn on_client_publish<'a>(&'a self, event: ClientPublishEvent) -> Done<'a, PublishAction> {
        Box::pin(async move {
            if let Ok(Topic::Up(site, ..)) = event.topic.parse() {
                self.sites.announce(&site);
            }
            self.ingest.take(&event.topic, &event.payload, &event.client_id).await;
            // Nothing a node sends is retained: a hundred thousand retained messages are a storm.
            if event.retain { PublishAction::Handled } else { PublishAction::Continue }
        })
    }

    fn on_client_disconnect<'a>(&'a self, event: ClientDisconnectEvent) -> Done<'a, ()> {
        Box::pin(async move {
            let Ok(node) = event.client_id.parse::<NodeId>() else { return };
            if !event.unexpected {
                // A clean end is announced by the node's own death message.
                return;
            }
            debug!(%node, reason = ?event.reason, "A node's connection broke.");
            let (ingest, router, broke_ms) = (Arc::clone(&self.ingest), Arc::clone(&self.router), now_ms());
            tokio::spawn(async move {
                tokio::time::sleep(COME_BACK).await;
                if let Some(router) = router.get().and_then(Weak::upgrade)
                    && !router.is_connected(node.as_str()).await
                {
                    ingest.gone(&node, None, None, broke_ms).await;
                }
            });
        })
    }
}

/// Access by client id, without TLS. [`rules`] has the rules. Where people have to sign in, tools have to as well.
struct Rules {
    access: Arc<Access>,
}

impl Rules {
    async fn tool(&self, connect: &ConnectPacket, from: SocketAddr) -> AuthResult {
        match self.access.is_required().await {
            Ok(false) => return AuthResult::success(),
            Ok(true) => {}
            Err(_) => return AuthResult::fail(ReasonCode::ServerUnavailable),
        }
        let Some((user, password)) = super::credentials(connect) else {
            return AuthResult::fail(ReasonCode::BadUsernameOrPassword);
        };
        match self.access.check_password(from.ip(), user, password).await {
            Some(_) => AuthResult::success_with_user(user),
            None => AuthResult::fail(ReasonCode::BadUsernameOrPassword),
        }
    }
}

impl AuthProvider for Rules {
    fn authenticate<'a>(
        &'a self,
        connect: &'a ConnectPacket,
        from: SocketAddr,
    ) -> Done<'a, mqtt5::error::Result<AuthResult>> {
        Box::pin(async move {
            let is_node = connect.client_id.parse::<NodeId>().is_ok();
            Ok(if is_node { AuthResult::success() } else { self.tool(connect, from).await })
        })
    }

    fn authorize_publish<'a>(&'a self, client: &str, _: Option<&'a str>, topic: &'a str) -> Done<'a, bool> {
        let allowed = rules::may_publish(client, topic);
        Box::pin(async move { allowed })
    }

    fn authorize_subscribe<'a>(&'a self, client: &str, _: Option<&'a str>, filter: &'a str) -> Done<'a, bool> {
        let allowed = rules::may_subscribe(client, filter);
        Box::pin(async move { allowed })
    }
}

impl std::fmt::Debug for Embedded {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Embedded").field("address", &self.address).finish_non_exhaustive()
    }
}
