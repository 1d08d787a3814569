//! An MQTT client for tests.

use std::time::Duration;

use rumqttc::mqttbytes::QoS;
use rumqttc::mqttbytes::v5::{PubAckReason, Publish, SubscribeReasonCode};
use rumqttc::{AsyncClient, Event, Incoming, MqttOptions, PublishNotice, PublishOptions, PublishResult};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// Longest wait for anything in a test.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// A connection; its event loop runs alone, as it must.
pub struct Client {
    client: AsyncClient,
    received: mpsc::UnboundedReceiver<Publish>,
    poll: JoinHandle<()>,
}

/// How a test connects.
pub fn options(id: &str, port: u16) -> MqttOptions {
    let mut options = MqttOptions::new(id, ("127.0.0.1", port));
    options.set_keep_alive(30);
    options.set_clean_start(true);
    options.set_session_expiry_interval(Some(0));
    options.set_connect_timeout(Duration::from_secs(2));
    options.set_outgoing_inflight_upper_limit(32);
    options.set_max_packet_size(Some(128 * 1024));
    options
}

impl Client {
    /// Connects once; `None` when nobody answers.
    pub async fn try_connect(id: &str, port: u16, window: u16) -> Option<Self> {
        let mut options = options(id, port);
        options.set_outgoing_inflight_upper_limit(window);
        Self::open(options, window).await.ok()
    }

    /// Connects once; what the client says when it cannot.
    pub async fn open(options: MqttOptions, window: u16) -> Result<Self, String> {
        let (client, mut events) = AsyncClient::builder(options).capacity(2 * usize::from(window)).build();
        let (ready, connected) = tokio::sync::oneshot::channel();
        let (messages, received) = mpsc::unbounded_channel();
        let poll = tokio::spawn(async move {
            let mut ready = Some(ready);
            loop {
                match events.poll().await {
                    Ok(Event::Incoming(Incoming::ConnAck(_))) => {
                        let _ = ready.take().map(|r| r.send(Ok(())));
                    }
                    Ok(Event::Incoming(Incoming::Publish(p))) => {
                        let _ = messages.send(p);
                    }
                    Ok(_) => {}
                    Err(e) => {
                        let _ = ready.take().map(|r| r.send(Err(format!("{e:?}"))));
                        return;
                    }
                }
            }
        });
        match tokio::time::timeout(PATIENCE, connected).await {
            Ok(Ok(Ok(()))) => Ok(Self { client, received, poll }),
            other => {
                poll.abort();
                Err(other.map_or_else(|_| "no answer".to_owned(), |said| format!("{said:?}")))
            }
        }
    }

    pub async fn connect(id: &str, port: u16) -> Self {
        Self::try_connect(id, port, 32).await.expect("the broker accepts the client")
    }

    /// Hands over a message; `None` when the connection is gone.
    pub async fn send(&self, topic: &str, payload: Vec<u8>, retain: bool) -> Option<PublishNotice> {
        let options = PublishOptions::new(QoS::AtLeastOnce);
        let options = if retain { options.retained() } else { options };
        self.client.publish_tracked(topic.to_owned(), payload, options).await.ok()
    }

    /// Publishes and gives the reason of the acknowledgement; `None` when the connection ended first.
    pub async fn publish(&self, topic: &str, payload: Vec<u8>) -> Option<PubAckReason> {
        reason(self.send(topic, payload, false).await?).await
    }

    /// Subscribes and gives what the broker says to it.
    pub async fn subscribe(&self, filter: &str) -> SubscribeReasonCode {
        let notice = self.client.subscribe_tracked(filter.to_owned(), QoS::AtLeastOnce).await.expect("connected");
        let answer = tokio::time::timeout(PATIENCE, notice.wait_async()).await.expect("an answer in time");
        answer.expect("a SUBACK").return_codes[0]
    }

    /// The next message, within `wait`.
    pub async fn receive(&mut self, wait: Duration) -> Option<Publish> {
        tokio::time::timeout(wait, self.received.recv()).await.ok().flatten()
    }

    /// Whether the connection has ended.
    pub fn ended(&self) -> bool {
        self.poll.is_finished()
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.poll.abort();
    }
}

/// The reason of an acknowledgement; `None` when the connection ended first.
pub async fn reason(notice: PublishNotice) -> Option<PubAckReason> {
    match tokio::time::timeout(PATIENCE, notice.wait_async()).await.expect("an acknowledgement in time") {
        Ok(PublishResult::Qos1(ack)) => Some(ack.reason),
        Ok(other) => panic!("a QoS 1 publish ended as {other:?}"),
        Err(_) => None,
    }
}
