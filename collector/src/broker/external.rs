//! The collector as a client of an external MQTT 5 broker.
//!
//! It reads through a shared subscription with a clean session: persistent shared sessions lose acknowledged messages when a
//! broker node dies (8–17 % in measured node kills), clean ones none. A message is acknowledged to the broker after its
//! commit, and to the node by a cumulative acknowledgement of its streams, which alone lets the node forget it.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesOrdered;
use rumqttc::mqttbytes::QoS;
use rumqttc::mqttbytes::v5::{LastWill, Packet, Publish};
use rumqttc::{AckMode, AsyncClient, Event, EventLoop, MqttOptions, PublishOptions};
use tacit_wire::codec::{Encoding, encode};
use tacit_wire::message::Status;
use tacit_wire::topic::Down;
use tacit_wire::{NodeId, SiteId, Topic};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::Line;
use super::embedded::DownMessage;
use crate::clock::now_ms;
use crate::ingest::Ingest;

/// Everything nodes publish, shared among collectors.
const SHARED: &str = "$share/tacit/tacit/1/+/u/+/+";
/// Messages the broker may have under way to us: one commit's worth.
const RECEIVE_MAXIMUM: u16 = 256;
/// A payload with its topic and properties.
const LARGEST_PACKET: u32 = 2 * tacit_wire::limits::PAYLOAD as u32;
/// A node is acknowledged after so many messages …
const ACK_EVERY: usize = 10;
/// … or after so long.
const ACK_AFTER: Duration = Duration::from_secs(2);
/// Wait before connecting again.
const RECONNECT: Duration = Duration::from_secs(2);

/// The connection to an external broker.
#[derive(Debug)]
pub struct External {
    stop: CancellationToken,
    task: JoinHandle<()>,
}

/// Where the broker is and how to enter.
#[derive(Debug, Clone)]
pub struct Address {
    /// Host.
    pub host: String,
    /// Port.
    pub port: u16,
    /// User and password, when it asks.
    pub credentials: Option<(String, String)>,
}

impl External {
    /// Connects, and connects again for as long as it runs; an absent broker is not an error.
    #[must_use]
    pub fn start(address: Address, ingest: Arc<Ingest>, line: &Line, sites: Vec<SiteId>) -> Self {
        let stop = CancellationToken::new();
        let queue = line.take_queue();
        let task = tokio::spawn(run(address, ingest, queue, sites, stop.clone()));
        Self { stop, task }
    }

    /// Says goodbye and ends.
    pub async fn stop(self) {
        self.stop.cancel();
        if tokio::time::timeout(Duration::from_secs(5), self.task).await.is_err() {
            warn!("The connection to the broker did not end in time.");
        }
    }
}

async fn run(
    address: Address,
    ingest: Arc<Ingest>,
    queue: Option<mpsc::Receiver<DownMessage>>,
    sites: Vec<SiteId>,
    stop: CancellationToken,
) {
    let Some(mut queue) = queue else { return };
    let since_ms = now_ms();
    let mut told = false;
    while !stop.is_cancelled() {
        let session = Session { address: &address, ingest: &ingest, sites: &sites, since_ms };
        match session.run(&mut queue, &stop).await {
            Ok(()) => return,
            Err(e) if !told => {
                warn!(host = address.host, port = address.port, error = %e, "No connection to the broker; trying again.");
                told = true;
            }
            Err(_) => {}
        }
        tokio::select! {
            () = stop.cancelled() => {}
            () = tokio::time::sleep(RECONNECT) => {}
        }
    }
}

struct Session<'a> {
    address: &'a Address,
    ingest: &'a Arc<Ingest>,
    sites: &'a [SiteId],
    since_ms: i64,
}

/// Nodes with messages stored but not yet acknowledged.
type Owed = HashMap<(SiteId, NodeId), usize>;

impl Session<'_> {
    fn connect(&self) -> (AsyncClient, EventLoop) {
        let mut options = MqttOptions::new(
            format!("Collector-{:016x}", fastrand::u64(..)),
            (self.address.host.clone(), self.address.port),
        );
        options
            .set_keep_alive(30)
            .set_clean_start(true)
            .set_session_expiry_interval(Some(0))
            .set_receive_maximum(Some(RECEIVE_MAXIMUM))
            // The client ends the session over more than 10 KB otherwise, again and again for the same message.
            .set_max_packet_size(Some(LARGEST_PACKET))
            .set_ack_mode(AckMode::Manual);
        if let Some((user, password)) = &self.address.credentials {
            options.set_credentials(user.clone(), password.clone());
        }
        if let Some(site) = self.sites.first() {
            let will = LastWill::new(
                Topic::Status(site.clone()).to_string(),
                self.status(false),
                QoS::AtLeastOnce,
                true,
                None,
            );
            options.set_last_will(will);
        }
        AsyncClient::builder(options).capacity(1024).build()
    }

    fn status(&self, up: bool) -> Vec<u8> {
        let version = env!("CARGO_PKG_VERSION").to_owned();
        let status = Status { up, durable_puback: false, since_ms: self.since_ms, backoff_s: None, version };
        encode(&status, Encoding::Cbor).expect("a status is small and within its bounds")
    }

    async fn announce(&self, client: &AsyncClient, up: bool) -> Result<(), rumqttc::ClientError> {
        for site in self.sites {
            let options = PublishOptions::new(QoS::AtLeastOnce).retained();
            client.publish(Topic::Status(site.clone()).to_string(), self.status(up), options).await?;
        }
        Ok(())
    }

    /// One connection, until it breaks (`Err`) or we are told to stop (`Ok`).
    async fn run(&self, queue: &mut mpsc::Receiver<DownMessage>, stop: &CancellationToken) -> anyhow::Result<()> {
        let (client, events) = self.connect();
        let (packets, mut incoming) = mpsc::channel(usize::from(RECEIVE_MAXIMUM));
        let mut poll = tokio::spawn(poll(events, packets));
        client.subscribe(SHARED, QoS::AtLeastOnce).await?;
        self.announce(&client, true).await?;
        // In order: a message may need what the one before it introduced, and MQTT wants its acknowledgements in order too.
        let mut taking = FuturesOrdered::new();
        let mut owed = Owed::new();
        let mut ack_timer = tokio::time::interval(ACK_AFTER);
        loop {
            tokio::select! {
                ended = &mut poll => anyhow::bail!("{}", ended??),
                () = stop.cancelled() => break,
                Some(publish) = incoming.recv() => {
                    taking.push_back(take(self.ingest, publish));
                }
                Some((publish, node)) = taking.next() => {
                    // The connection may have gone meanwhile: the message comes again and is a duplicate.
                    let _ = client.ack(&publish).await;
                    if let Some(node) = node {
                        let count = owed.entry(node.clone()).or_default();
                        *count += 1;
                        if *count >= ACK_EVERY {
                            owed.remove(&node);
                            self.acknowledge(&client, node).await?;
                        }
                    }
                }
                Some((topic, payload, retain)) = queue.recv() => {
                    let options = PublishOptions::new(QoS::AtLeastOnce);
                    let options = if retain { options.retained() } else { options };
                    client.publish(topic.to_string(), payload, options).await?;
                }
                _ = ack_timer.tick() => {
                    for (node, _) in std::mem::take(&mut owed) {
                        self.acknowledge(&client, node).await?;
                    }
                }
            }
        }
        self.announce(&client, false).await?;
        client.disconnect().await?;
        // The loop ends by itself after the goodbye was written.
        let _ = tokio::time::timeout(Duration::from_secs(2), poll).await;
        Ok(())
    }

    async fn acknowledge(&self, client: &AsyncClient, (site, node): (SiteId, NodeId)) -> anyhow::Result<()> {
        let ack = self.ingest.acknowledgement(&node).await?;
        let payload = encode(&ack, Encoding::Cbor)?;
        let topic = Topic::Down(site, node, Down::Ack).to_string();
        Ok(client.publish(topic, payload, PublishOptions::new(QoS::AtLeastOnce)).await?)
    }
}

/// Drives the connection and hands messages on. In a task of its own: a dropped `poll` could lose a packet.
async fn poll(mut events: EventLoop, packets: mpsc::Sender<Publish>) -> anyhow::Result<String> {
    loop {
        match events.poll().await {
            Ok(Event::Incoming(Packet::Publish(publish))) => {
                if packets.send(publish).await.is_err() {
                    return Ok("stopped".into());
                }
            }
            Ok(Event::Incoming(Packet::ConnAck(_))) => info!("Connected to the broker."),
            Ok(Event::Incoming(Packet::Disconnect(d))) => {
                return Ok(format!("the broker closed the connection: {:?}", d.reason_code));
            }
            Ok(_) => {}
            Err(e) => return Ok(e.to_string()),
        }
    }
}

/// Stores one message; says whose it was.
async fn take(ingest: &Ingest, publish: Publish) -> (Publish, Option<(SiteId, NodeId)>) {
    let topic = String::from_utf8_lossy(&publish.topic).into_owned();
    ingest.take(&topic, &publish.payload, "(external broker)").await;
    let node = match topic.parse() {
        Ok(Topic::Up(site, node, _)) => Some((site, node)),
        _ => None,
    };
    (publish, node)
}
