//! The client library, and nothing of it outside this file. Its traps are in `docs/decisions/001-mqtt-client.md`.

use std::sync::Arc;
use std::time::Duration;

use rumqttc::{
    AsyncClient, Event, Incoming, LastWill, LastWillProperties, MqttOptions, PersistedAckMode, PersistedSession,
    PublishNotice, PublishOptions, PublishProperties, PublishResult, QoS, SessionStore, SessionStoreError,
    SessionStoreKey, SubscribeFilter, TlsConfiguration, Transport,
};
use tacit_wire::codec::content_type;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// Queued commands outlive a disconnection by this long.
const SESSION_EXPIRY_S: u32 = 24 * 3600;
const KEEP_ALIVE_S: u16 = 60;
/// The collector waits this long before a lost connection is a death: Wi-Fi and broker restarts pass unseen.
const WILL_DELAY_S: u32 = 45;
/// Received messages that wait for us; beyond it the broker waits (receive maximum does the rest).
const EVENTS_QUEUED: usize = 32;

/// One connection's settings.
pub struct Settings {
    pub host: String,
    pub port: u16,
    pub client_id: String,
    pub tls: Option<Arc<rustls::ClientConfig>>,
    pub credentials: Option<(String, Vec<u8>)>,
    pub will: (String, Vec<u8>),
    pub window: u16,
    pub connect_timeout: Duration,
}

/// What a connection tells.
pub enum LinkEvent {
    /// The broker accepted us.
    Up,
    /// A message came.
    Message { topic: String, payload: Vec<u8> },
    /// It ended; open a new one.
    Down(String),
}

/// What became of a publish.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The broker took it.
    Taken,
    /// The broker took it and had nobody to give it to (0x10).
    Nobody,
    /// The broker refused it, with its reason.
    Refused(String),
    /// The connection ended first.
    Lost,
}

/// A connection, being made or standing.
pub struct Link {
    client: AsyncClient,
    events: mpsc::Receiver<LinkEvent>,
    poll: JoinHandle<()>,
}

impl Link {
    /// Starts to connect; [`LinkEvent::Up`] or [`LinkEvent::Down`] follows.
    pub fn open(settings: Settings) -> Self {
        let mut options = MqttOptions::new(settings.client_id.clone(), (settings.host, settings.port));
        options.set_keep_alive(KEEP_ALIVE_S);
        options.set_connect_timeout(settings.connect_timeout);
        options.set_clean_start(false);
        options.set_session_expiry_interval(Some(SESSION_EXPIRY_S));
        options.set_session_store(NothingInFlight { window: settings.window });
        options.set_receive_maximum(Some(EVENTS_QUEUED as u16));
        // The default of 65,535 allocates 14 MB of state.
        options.set_outgoing_inflight_upper_limit(settings.window);
        options.set_max_packet_size(Some(128 * 1024));
        let (topic, payload) = settings.will;
        let properties = LastWillProperties {
            delay_interval: Some(WILL_DELAY_S),
            payload_format_indicator: None,
            message_expiry_interval: None,
            content_type: Some(content_type(&payload).to_owned()),
            response_topic: None,
            correlation_data: None,
            user_properties: Vec::new(),
        };
        options.set_last_will(LastWill::new(topic, payload, QoS::AtLeastOnce, false, Some(properties)));
        if let Some((user, password)) = settings.credentials {
            options.set_credentials(user, password);
        }
        if let Some(tls) = settings.tls {
            options.set_transport(Transport::tls_with_config(TlsConfiguration::Rustls(tls)));
        }
        let (client, mut eventloop) = AsyncClient::builder(options).capacity(2 * usize::from(settings.window)).build();
        let (tx, events) = mpsc::channel(EVENTS_QUEUED);
        // Dropping a poll halfway loses packets silently: it runs alone here and is never part of a `select!`.
        let poll = tokio::spawn(async move {
            loop {
                let event = match eventloop.poll().await {
                    Ok(Event::Incoming(Incoming::ConnAck(_))) => LinkEvent::Up,
                    Ok(Event::Incoming(Incoming::Publish(p))) => LinkEvent::Message {
                        topic: String::from_utf8_lossy(&p.topic).into_owned(),
                        payload: p.payload.to_vec(),
                    },
                    Ok(_) => continue,
                    Err(error) => {
                        let _ = tx.send(LinkEvent::Down(error.to_string())).await;
                        return;
                    }
                };
                if tx.send(event).await.is_err() {
                    return;
                }
            }
        });
        Self { client, events, poll }
    }

    /// What happens next on the connection.
    pub async fn next(&mut self) -> LinkEvent {
        self.events.recv().await.unwrap_or_else(|| LinkEvent::Down("the connection ended".into()))
    }

    /// Asks for all filters at once.
    pub fn subscribe(&self, filters: Vec<String>) -> Result<(), String> {
        let filters: Vec<_> = filters.into_iter().map(|f| SubscribeFilter::new(f, QoS::AtLeastOnce)).collect();
        self.client.try_subscribe_many(filters).map_err(|e| e.to_string())
    }

    /// Hands a message to the connection; [`outcome`] tells what became of it. `None` when it takes no more just now.
    pub fn publish(&self, topic: String, payload: Vec<u8>) -> Option<PublishNotice> {
        let properties =
            PublishProperties { content_type: Some(content_type(&payload).to_owned()), ..PublishProperties::default() };
        let options = PublishOptions::new(QoS::AtLeastOnce).properties(properties);
        self.client.try_publish_tracked(topic, payload, options).ok()
    }

    /// Says goodbye: the broker then publishes no will.
    pub async fn close(self, within: Duration) {
        if self.client.try_disconnect().is_ok() {
            let mut link = self;
            let _ =
                tokio::time::timeout(within, async { while !matches!(link.next().await, LinkEvent::Down(_)) {} }).await;
        }
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.poll.abort();
    }
}

/// Waits for the end of one publish.
pub async fn outcome(notice: PublishNotice) -> Outcome {
    use rumqttc::PubAckReason;
    match notice.wait_async().await {
        Ok(PublishResult::Qos1(ack)) => match ack.reason {
            PubAckReason::Success => Outcome::Taken,
            PubAckReason::NoMatchingSubscribers => Outcome::Nobody,
            other => Outcome::Refused(format!("{other:?}")),
        },
        Ok(_) => Outcome::Taken,
        Err(rumqttc::PublishNoticeError::V5PubAck(reason)) => Outcome::Refused(format!("{reason:?}")),
        Err(_) => Outcome::Lost,
    }
}

/// A session of the client library in which nothing is ever in flight: what was not acknowledged comes again from the
/// outbox. Without it the library either refuses a session that the broker kept, or publishes nothing in it.
#[derive(Debug)]
struct NothingInFlight {
    window: u16,
}

type StoreFuture<'a, T> = std::pin::Pin<Box<dyn Future<Output = Result<T, SessionStoreError>> + Send + 'a>>;

impl SessionStore for NothingInFlight {
    fn load<'a>(&'a self, key: &'a SessionStoreKey) -> StoreFuture<'a, Option<PersistedSession>> {
        let session = PersistedSession {
            format_version: 1,
            client_id: key.client_id().to_owned(),
            clean_start: false,
            session_expiry_interval: Some(SESSION_EXPIRY_S),
            outgoing_inflight_upper_limit: Some(self.window),
            ack_mode: PersistedAckMode::Automatic,
            last_pkid: 0,
            last_puback: 0,
            replay: Vec::new(),
            incoming_qos2: Vec::new(),
        };
        Box::pin(async move { Ok(Some(session)) })
    }

    fn save<'a>(&'a self, _: &'a SessionStoreKey, _: &'a PersistedSession) -> StoreFuture<'a, ()> {
        Box::pin(async { Ok(()) })
    }

    fn clear<'a>(&'a self, _: &'a SessionStoreKey) -> StoreFuture<'a, ()> {
        Box::pin(async { Ok(()) })
    }
}
