//! The client library, and nothing of it outside this file but the TLS stream that it brings along. Its traps are in
//! `docs/decisions/001-mqtt-client.md`. It speaks MQTT 5 only.

use std::io;
use std::sync::Arc;
use std::time::Duration;

pub use rumqttc::tokio_rustls::TlsConnector;
use rumqttc::{
    AsyncClient, ConnectReturnCode, ConnectionError, DisconnectReasonCode, Event, Incoming, LastWill,
    LastWillProperties, MqttOptions, PersistedAckMode, PersistedSession, PublishNotice, PublishOptions,
    PublishProperties, PublishResult, QoS, SessionStore, SessionStoreError, SessionStoreKey, StateError,
    SubscribeFilter,
};
use tacit_wire::codec::content_type;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::dial::{Dial, DialError, Progress, Step, Watched, is_closed};
use super::words::{self, About, Trouble};
use crate::clock::Tick;

/// Queued commands outlive a disconnection by this long.
const SESSION_EXPIRY_S: u32 = 24 * 3600;
const KEEP_ALIVE_S: u16 = 60;
/// The collector waits this long before a lost connection is a death: Wi-Fi and broker restarts pass unseen.
const WILL_DELAY_S: u32 = 45;
/// Received messages that wait for us; beyond it the broker waits (receive maximum does the rest).
const EVENTS_QUEUED: usize = 32;

/// One connection's settings.
pub struct Settings {
    pub dial: Dial,
    /// For messages.
    pub about: About,
    pub client_id: String,
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
    Down(Trouble),
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
        let (host, port) = (settings.dial.host.clone(), settings.dial.port);
        let mut options = MqttOptions::new(settings.client_id.clone(), (host, port));
        let progress = Arc::new(Progress::default());
        connect_by(&mut options, settings.dial, &progress);
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
        let (client, mut eventloop) = AsyncClient::builder(options).capacity(2 * usize::from(settings.window)).build();
        let (tx, events) = mpsc::channel(EVENTS_QUEUED);
        let about = settings.about;
        // Dropping a poll halfway loses packets silently: it runs alone here and is never part of a `select!`.
        let poll = tokio::spawn(async move {
            let mut up = false;
            loop {
                let event = match eventloop.poll().await {
                    Ok(Event::Incoming(Incoming::ConnAck(_))) => {
                        up = true;
                        LinkEvent::Up
                    }
                    Ok(Event::Incoming(Incoming::Publish(p))) => LinkEvent::Message {
                        topic: String::from_utf8_lossy(&p.topic).into_owned(),
                        payload: p.payload.to_vec(),
                    },
                    Ok(_) => continue,
                    Err(error) => {
                        let _ = tx.send(LinkEvent::Down(trouble(&error, up, &progress, &about))).await;
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
        self.events.recv().await.unwrap_or_else(|| LinkEvent::Down(Trouble::new("the connection ended")))
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

/// The library connects through us: [`super::dial`] has the addresses, the proxy and TLS, and knows what failed.
fn connect_by(options: &mut MqttOptions, dial: Dial, progress: &Arc<Progress>) {
    let (dial, progress) = (Arc::new(dial), Arc::clone(progress));
    options.set_socket_connector(move |_, _| {
        let (dial, progress) = (Arc::clone(&dial), Arc::clone(&progress));
        async move {
            let stream = dial.open(&progress).await.map_err(io::Error::other)?;
            Ok::<_, io::Error>(Watched::new(stream, progress))
        }
    });
}

/// Why a connection ended, or was none.
fn trouble(error: &ConnectionError, up: bool, progress: &Progress, about: &About) -> Trouble {
    let now = Tick::now();
    if let Some(trouble) = words::greeting(&progress.first(), about).filter(|_| !up) {
        return trouble;
    }
    let system = io_error(error);
    if let Some(error) = system.and_then(|e| e.get_ref()?.downcast_ref::<DialError>()) {
        return words::dial(error, about, now);
    }
    if let Some(error) = system.and_then(words::tls_error) {
        return words::tls(error, about, now);
    }
    let closed =
        matches!(error, ConnectionError::MqttState(StateError::ConnectionAborted)) || system.is_some_and(is_closed);
    let address = &about.address;
    match error {
        ConnectionError::ConnectionRefused(code) => refused(*code, about),
        ConnectionError::MqttState(StateError::ServerDisconnect { reason_code, reason_string }) => {
            disconnected(*reason_code, reason_string.as_deref(), about)
        }
        ConnectionError::Timeout(_) if !up => words::timeout(progress, about),
        _ if closed && up => Trouble::new(format!("the broker at {address} closed the connection")),
        _ if closed && progress.step() == Step::Open => words::closed_before_connack(about, now),
        other if up => Trouble::new(format!("the connection to {address} ended: {other}")),
        other => Trouble::new(format!("no session with the broker at {address}: {other}")),
    }
}

/// The system's error in it, wherever the library puts it.
fn io_error(error: &ConnectionError) -> Option<&io::Error> {
    match error {
        ConnectionError::Io(e)
        | ConnectionError::MqttState(StateError::Io(e) | StateError::Deserialization(rumqttc::Error::Io(e))) => Some(e),
        _ => None,
    }
}

/// What a broker means by refusing the greeting.
fn refused(code: ConnectReturnCode, about: &About) -> Trouble {
    use ConnectReturnCode as C;
    let About { address, node, own, .. } = about;
    let refuses = format!("the broker at {address} refuses this node");
    let other_name = own.as_ref().filter(|own| own.name != *node);
    let words = match code {
        C::BadUserNamePassword => format!("{refuses}: check publish.username and what is in publish.password_file"),
        C::NotAuthorized | C::ClientIdentifierNotValid | C::BadClientId if other_name.is_some() => format!(
            "{refuses}: its certificate is for {:?}, and it calls itself {node:?} (node.id); they have to be the same",
            other_name.map_or("", |own| own.name.as_str())
        ),
        C::NotAuthorized if own.is_none() => format!(
            "{refuses} ({code:?}): check publish.username and what is in publish.password_file, and whether its access rules know \
             {node:?}"
        ),
        C::NotAuthorized | C::Banned => {
            format!("{refuses} ({code:?}): its access rules do not know {node:?}, or the node was revoked there")
        }
        C::ClientIdentifierNotValid | C::BadClientId => {
            format!(
                "{refuses}: it does not take {node:?} as a client id (publish with another node.id, or change its rules)"
            )
        }
        C::UnsupportedProtocolVersion | C::RefusedProtocolVersion => return words::without_mqtt5(address),
        C::ServerUnavailable | C::ServerBusy | C::ConnectionRateExceeded | C::ServiceUnavailable => {
            format!("{refuses} for now ({code:?}): it is overloaded, or starting")
        }
        other => format!("{refuses}: {other:?}; its log says more"),
    };
    // Whether the certificate is what it does not like is known by whoever issued it.
    let certificate = own.is_some() && matches!(code, C::NotAuthorized | C::Banned);
    Trouble { words, certificate }
}

/// What a broker means by ending a session.
fn disconnected(code: DisconnectReasonCode, reason: Option<&str>, about: &About) -> Trouble {
    use DisconnectReasonCode as D;
    let About { address, node, own, .. } = about;
    let said: String = reason.unwrap_or_default().chars().filter(|c| !c.is_control()).take(120).collect();
    let said = if said.is_empty() { format!("{code:?}") } else { format!("{code:?}: {said}") };
    let words = match code {
        D::SessionTakenOver => format!(
            "another client connected to the broker at {address} as {node:?}: two machines must not be called the same (was a \
             disk copied?); give one of them another node.id, or enrol it again (tacit-agent enroll --again)"
        ),
        D::NotAuthorized | D::AdministrativeAction => {
            format!(
                "the broker at {address} ended the session ({said}): the node was revoked there, or its access rules changed"
            )
        }
        D::ServerShuttingDown => format!("the broker at {address} is shutting down"),
        _ => format!("the broker at {address} ended the session ({said})"),
    };
    let certificate = own.is_some() && matches!(code, D::NotAuthorized | D::AdministrativeAction);
    Trouble { words, certificate }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::der::Certificate;
    use crate::identity::floor::Floor;

    fn about(name: Option<&str>) -> About {
        let not_after_ms = Tick::now().wall_ms + 86_400_000;
        About {
            who: words::BROKER,
            address: "hq.example:8883".into(),
            roots: "those of the system".into(),
            node: "web-1".into(),
            own: name.map(|name| Certificate { name: name.into(), not_before_ms: 0, not_after_ms }),
            tls: true,
            floor: Arc::new(Floor::of_release()),
        }
    }

    fn told(error: &ConnectionError, up: bool, step: Step, own: Option<&str>) -> Trouble {
        let progress = Progress::default();
        progress.at(step);
        trouble(error, up, &progress, &about(own))
    }

    #[test]
    fn refusals_say_what_to_look_at() {
        use ConnectReturnCode as C;
        for (code, own, words, certificate) in [
            (C::BadUserNamePassword, None, "publish.password_file", false),
            (C::NotAuthorized, Some("web-1"), "access rules do not know \"web-1\", or the node was revoked", true),
            (C::NotAuthorized, None, "publish.password_file, and whether its access rules know \"web-1\"", false),
            (C::NotAuthorized, Some("web-2"), "is for \"web-2\", and it calls itself \"web-1\"", true),
            (C::ClientIdentifierNotValid, Some("web-1"), "as a client id", false),
            (C::UnsupportedProtocolVersion, None, "needs MQTT 5", false),
            (C::ServerBusy, None, "for now", false),
            (C::QuotaExceeded, None, "QuotaExceeded", false),
        ] {
            let trouble = told(&ConnectionError::ConnectionRefused(code), false, Step::Open, own);
            assert!(trouble.words.contains(words), "{code:?}: {trouble:?}");
            assert_eq!(trouble.certificate, certificate, "{code:?}");
        }
    }

    #[test]
    fn ended_sessions_say_why() {
        use DisconnectReasonCode as D;
        let ended = |reason_code, reason: Option<&str>| {
            let reason_string = reason.map(str::to_owned);
            let error = ConnectionError::MqttState(StateError::ServerDisconnect { reason_code, reason_string });
            told(&error, true, Step::Open, Some("web-1"))
        };
        assert!(ended(D::SessionTakenOver, None).words.contains("another client connected"));
        let revoked = ended(D::AdministrativeAction, Some("node \u{7}revoked"));
        assert!(revoked.certificate && revoked.words.contains("(AdministrativeAction: node revoked)"), "{revoked:?}");
        assert!(!ended(D::ServerShuttingDown, None).certificate);
        let aborted = ConnectionError::MqttState(StateError::ConnectionAborted);
        assert!(told(&aborted, true, Step::Open, None).words.ends_with("closed the connection"));
    }

    #[test]
    fn what_failed_below_is_found() {
        let dial = DialError::Tcp(io::ErrorKind::ConnectionRefused.into());
        let error = ConnectionError::Io(io::Error::other(dial));
        assert!(told(&error, false, Step::Tcp, None).words.contains("nobody listens"));
        let alert = rustls::Error::AlertReceived(rustls::AlertDescription::CertificateRequired);
        let alert = rumqttc::Error::Io(io::Error::new(io::ErrorKind::InvalidData, alert));
        let error = ConnectionError::MqttState(StateError::Deserialization(alert));
        let trouble = told(&error, false, Step::Open, None);
        assert!(trouble.certificate && trouble.words.contains("demands a certificate"), "{trouble:?}");
        let reset = ConnectionError::Io(io::ErrorKind::ConnectionReset.into());
        assert!(told(&reset, false, Step::Open, None).words.contains("Most likely it demands a certificate"));
    }

    #[test]
    fn a_broker_of_another_age_is_recognised() {
        let progress = Progress::default();
        progress.at(Step::Open);
        progress.note(&[0x20, 2, 0, 1]);
        let aborted = ConnectionError::MqttState(StateError::ConnectionAborted);
        let trouble = trouble(&aborted, false, &progress, &about(None));
        assert!(trouble.words.contains("speaks MQTT 3.1.1 only"), "{trouble:?}");
    }
}
