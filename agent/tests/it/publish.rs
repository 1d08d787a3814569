//! The session against a real broker that is killed under load.

use std::collections::{BTreeMap, BTreeSet};
use std::net::TcpListener;
use std::process::{Child, Command as Process, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rumqttc::{AsyncClient, Event as MqttEvent, Incoming, MqttOptions, PublishOptions, QoS};
use tacit_agent::clock::Tick;
use tacit_agent::config::PublishConfig;
use tacit_agent::fleet::Commands;
use tacit_agent::fleet::maintenance::MarkFile;
use tacit_agent::identity::floor::Floor;
use tacit_agent::outbox::{Folder, Limits, Outbox};
use tacit_agent::outgoing::Outgoing;
use tacit_agent::publish::{Changed, Net, NetStatus, Parts, Tuning};
use tacit_wire::codec::{decode, encode};
use tacit_wire::message::{Ack, Birth, Clock, Death, Head, NodeIdentity, Profile, Row, Status, StreamAck, Summary};
use tacit_wire::topic::{Down, Up};
use tacit_wire::{BootId, Digest, Encoding, NodeId, Num, Seq, SeriesId, SiteId, StreamId, Topic};
use tokio::sync::{mpsc, watch};

const BROKER: &str = "/usr/sbin/mosquitto";
const MESSAGES: usize = 10_000;
const KILLS: usize = 10;

pub struct Broker {
    child: Child,
    config: tempfile::NamedTempFile,
    pub port: u16,
}

impl Broker {
    fn spawn(config: &tempfile::NamedTempFile) -> Child {
        Process::new(BROKER)
            .arg("-c")
            .arg(config.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("the broker starts")
    }

    /// `None` where there is no Mosquitto, except in CI, which must have it.
    pub fn start() -> Option<Self> {
        if !std::path::Path::new(BROKER).exists() {
            assert!(std::env::var("CI").is_err(), "{BROKER} is missing");
            println!("skipped: {BROKER} is missing");
            return None;
        }
        let port = TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a free port").port();
        let config = tempfile::NamedTempFile::new().expect("a temporary file");
        let text = format!("listener {port} 127.0.0.1\nallow_anonymous true\nmax_queued_messages 100000\n");
        std::fs::write(config.path(), text).expect("it can be written");
        Some(Self { child: Self::spawn(&config), config, port })
    }

    fn kill(&mut self) {
        self.child.kill().expect("it runs");
        self.child.wait().expect("it ends");
    }

    fn restart(&mut self) {
        self.kill();
        self.child = Self::spawn(&self.config);
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[derive(Debug, Default)]
pub struct Stored {
    streams: BTreeMap<StreamId, BTreeSet<u64>>,
    seen: usize,
    rows: usize,
    births: Vec<u64>,
    deaths: Vec<Death>,
}

impl Stored {
    pub fn count(&self) -> usize {
        self.streams.values().map(BTreeSet::len).sum()
    }

    fn acks(&self) -> Ack {
        let contiguous = |set: &BTreeSet<u64>| set.iter().zip(1..).take_while(|(a, b)| **a == *b).count() as u64;
        Ack {
            streams: self.streams.iter().map(|(s, set)| StreamAck { stream: *s, seq: Seq(contiguous(set)) }).collect(),
        }
    }
}

pub fn site() -> SiteId {
    "lab".parse().expect("a site")
}

pub fn node() -> NodeId {
    "web-1".parse().expect("a node")
}

/// A collector behind an external broker: stores, and acknowledges cumulatively.
pub async fn collect(port: u16, stored: Arc<Mutex<Stored>>) {
    let mut since_ms = 0;
    loop {
        let mut options = MqttOptions::new("collector", ("127.0.0.1", port));
        options.set_clean_start(true).set_outgoing_inflight_upper_limit(64).set_max_packet_size(Some(128 * 1024));
        let (client, mut events) = AsyncClient::builder(options).capacity(64).build();
        since_ms += 1;
        let mut fresh = 0;
        while let Ok(event) = events.poll().await {
            match event {
                MqttEvent::Incoming(Incoming::ConnAck(_)) => {
                    client.try_subscribe(Topic::ALL_UP, QoS::AtLeastOnce).expect("room");
                }
                MqttEvent::Incoming(Incoming::SubAck(_)) => {
                    let status =
                        Status { up: true, durable_puback: false, since_ms, backoff_s: None, version: "t".into() };
                    let payload = encode(&status, Encoding::Cbor).expect("it encodes");
                    let options = PublishOptions::new(QoS::AtLeastOnce).retained();
                    client.try_publish(Topic::Status(site()).to_string(), payload, options).expect("room");
                }
                MqttEvent::Incoming(Incoming::Publish(p)) => {
                    take(&stored, std::str::from_utf8(&p.topic).expect("text"), &p.payload);
                    fresh += 1;
                }
                _ => {}
            }
            if fresh >= 10 || (fresh > 0 && stored.lock().expect("no panic").count() == MESSAGES) {
                let ack = encode(&stored.lock().expect("no panic").acks(), Encoding::Cbor).expect("it encodes");
                let topic = Topic::Down(site(), node(), Down::Ack).to_string();
                if client.try_publish(topic, ack, PublishOptions::new(QoS::AtMostOnce)).is_ok() {
                    fresh = 0;
                }
            }
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn take(stored: &Mutex<Stored>, topic: &str, payload: &[u8]) {
    let mut stored = stored.lock().expect("no panic");
    match topic.parse::<Topic>().expect("one of ours") {
        Topic::Up(_, _, Up::Birth) => {
            let birth: Birth = decode(payload).expect("a birth");
            stored.births.push(birth.connection);
        }
        Topic::Up(_, _, Up::Death) => stored.deaths.push(decode(payload).expect("a death")),
        _ => {
            let summary: Summary = decode(payload).expect("a summary");
            let new = stored.streams.entry(summary.head.stream).or_default().insert(summary.head.seq.0);
            stored.rows += if new { summary.rows.len() } else { 0 };
            stored.seen += 1;
        }
    }
}

pub fn summary(n: usize) -> Outgoing {
    Outgoing::Summary(Box::new(empty_summary(n)))
}

fn empty_summary(n: usize) -> Summary {
    let head = Head {
        node: node(),
        boot: BootId([1; 16]),
        stream: StreamId::default(),
        seq: Seq(0),
        oldest: Seq(0),
        wall_ms: 0,
        mono_ms: 0,
    };
    Summary {
        head,
        epoch: 1,
        start_ms: n as i64,
        step_s: 60,
        steps: 5,
        series: Vec::new(),
        rows: Vec::new(),
        bins: Vec::new(),
        lost_samples: 0,
        alarm: Vec::new(),
        left_out: 0,
    }
}

fn birth() -> Birth {
    Birth {
        node: node(),
        boot: BootId([1; 16]),
        connection: 0,
        agent: "test".into(),
        clock: Clock::default(),
        identity: NodeIdentity::default(),
        addresses: Vec::new(),
        listeners: Vec::new(),
        epoch: 1,
        series: 0,
        dictionary: Digest::of(b""),
        models: Vec::new(),
        config: Digest::of(b""),
        capabilities: Vec::new(),
        outbox: Vec::new(),
        absent: Vec::new(),
        profile: Profile::Lean,
        interval_ms: 1000,
        tags: Vec::new(),
    }
}

pub fn parts(port: u16, folder: &std::path::Path, outgoing: mpsc::Receiver<Outgoing>) -> Parts<Folder> {
    let ms = Duration::from_millis;
    let disk = Folder::open(folder).expect("a folder");
    let streams = [StreamId([1; 8]), StreamId([2; 8])];
    Parts {
        site: site(),
        node: node(),
        boot: BootId([1; 16]),
        config: PublishConfig {
            broker: format!("mqtt://127.0.0.1:{port}"),
            backoff_max: "200ms".parse().expect("a duration"),
            ..PublishConfig::default()
        },
        tuning: Tuning {
            backoff_min: ms(20),
            ack_timeout: ms(1000),
            status_wait: ms(50),
            refused_wait: ms(300),
            ..Tuning::default()
        },
        outbox: Outbox::open(disk, Limits::new(64 << 20, 7 * 86_400_000), streams, Tick::now()).expect("it opens"),
        outgoing,
        live: mpsc::channel(1).1,
        commands: Commands::new(
            node(),
            Arc::default(),
            Arc::default(),
            mpsc::channel(1).0,
            Box::new(String::new),
            MarkFile::new(folder),
            Arc::default(),
        ),
        birth: Box::new(birth),
        desired: mpsc::channel(1).0,
        status: Arc::new(NetStatus::default()),
        floor: Arc::new(Floor::of_release()),
    }
}

/// Waits until it is so, without a fixed sleep: the bound only ends a hung test.
pub async fn until(what: &str, mut so: impl FnMut() -> bool) {
    let wait = async {
        while !so() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    assert!(tokio::time::timeout(Duration::from_secs(60), wait).await.is_ok(), "not within a minute: {what}");
}

#[test]
fn nothing_is_lost_when_the_broker_is_killed_ten_times() {
    let Some(mut broker) = Broker::start() else { return };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let folder = tempfile::tempdir().expect("a folder");
        let stored = Arc::new(Mutex::new(Stored::default()));
        let collector = tokio::spawn(collect(broker.port, Arc::clone(&stored)));
        let (tx, rx) = mpsc::channel(64);
        let (stop, stopped) = watch::channel(None);
        let parts = parts(broker.port, folder.path(), rx);
        let status = Arc::clone(&parts.status);
        let net = tokio::spawn(Net::new(parts).run(stopped));
        let feed = tokio::spawn(async move {
            for n in 0..MESSAGES {
                tx.send(summary(n)).await.expect("the network thread takes it in");
            }
            tx
        });
        for kill in 1..=KILLS {
            let enough = kill * MESSAGES / (KILLS + 2);
            until("the next kill", || stored.lock().expect("no panic").count() >= enough).await;
            broker.restart();
        }
        until("everything stored", || stored.lock().expect("no panic").count() == MESSAGES).await;
        until("an empty outbox", || status.outbox_bytes() == 0).await;
        let _tx = feed.await.expect("no panic");
        stop.send(Some("stopped")).expect("it runs");
        let outbox = net.await.expect("no panic");
        assert!(outbox.is_empty());
        until("the goodbye", || !stored.lock().expect("no panic").deaths.is_empty()).await;
        collector.abort();
        let stored = stored.lock().expect("no panic");
        let numbers = &stored.streams[&StreamId([2; 8])];
        assert_eq!((numbers.first(), numbers.last()), (Some(&1), Some(&(MESSAGES as u64))));
        assert!(stored.births.is_sorted(), "connection numbers rise: {:?}", stored.births);
        assert!(stored.deaths.iter().any(|d| d.reason.as_deref() == Some("stopped")));
        assert!(status.connects() > KILLS as u64);
        println!("sent again: {}", stored.seen - MESSAGES);
    });
}

#[test]
fn a_summary_larger_than_a_payload_goes_in_parts() {
    let Some(broker) = Broker::start() else { return };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let folder = tempfile::tempdir().expect("a folder");
        let stored = Arc::new(Mutex::new(Stored::default()));
        let collector = tokio::spawn(collect(broker.port, Arc::clone(&stored)));
        let (tx, rx) = mpsc::channel(64);
        let (stop, stopped) = watch::channel(None);
        let mut parts = parts(broker.port, folder.path(), rx);
        parts.config.encoding = Encoding::Json;
        let net = tokio::spawn(Net::new(parts).run(stopped));
        let minutes = || vec![Num(0.123_456_79); 5];
        let row = |id| Row { id: SeriesId(id), mean: minutes(), min: Some(minutes()), max: Some(minutes()) };
        let large = Summary { rows: (0..1000).map(row).collect(), ..empty_summary(0) };
        assert!(encode(&large, Encoding::Json).is_err());
        tx.send(Outgoing::Summary(Box::new(large))).await.expect("the network thread takes it in");
        until("every series", || stored.lock().expect("no panic").rows == 1000).await;
        stop.send(Some("stopped")).expect("it runs");
        net.await.expect("no panic");
        collector.abort();
        assert!(stored.lock().expect("no panic").count() > 1);
    });
}

#[test]
fn another_configuration_moves_the_session_and_loses_nothing() {
    let (Some(first), Some(second)) = (Broker::start(), Broker::start()) else { return };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let folder = tempfile::tempdir().expect("a folder");
        let (here, there) = (Arc::new(Mutex::new(Stored::default())), Arc::new(Mutex::new(Stored::default())));
        let collectors = [(first.port, &here), (second.port, &there)]
            .map(|(port, stored)| tokio::spawn(collect(port, Arc::clone(stored))));
        let (tx, rx) = mpsc::channel(64);
        let (stop, stopped) = watch::channel(None);
        let (changes, changed) = mpsc::channel(1);
        let mut parts = parts(first.port, folder.path(), rx);
        parts.tuning.grace = Duration::from_millis(50);
        let publish = PublishConfig { broker: format!("mqtt://127.0.0.1:{}", second.port), ..parts.config.clone() };
        let net = tokio::spawn(Net::new(parts).with_changes(changed).run(stopped));
        for n in 0..100 {
            tx.send(summary(n)).await.expect("the network thread takes it in");
        }
        until("the first half", || here.lock().expect("no panic").count() == 100).await;
        let limits = Limits::new(32 << 20, 86_400_000);
        changes.send(Changed { publish, limits, renewed: false }).await.expect("it runs");
        until("the second session", || !there.lock().expect("no panic").births.is_empty()).await;
        for n in 100..200 {
            tx.send(summary(n)).await.expect("the network thread takes it in");
        }
        let numbers = |stored: &Mutex<Stored>| {
            let stored = stored.lock().expect("no panic");
            stored.streams.get(&StreamId([2; 8])).cloned().unwrap_or_default()
        };
        until("the rest", || (101..=200).all(|n| numbers(&there).contains(&n))).await;
        assert_eq!(numbers(&here).last(), Some(&100), "nothing new comes to the first one");
        let told = |death: &Death| death.reason.as_deref() == Some("it uses another broker now");
        let moved = || here.lock().expect("no panic").deaths.iter().any(told);
        until("the first one to hear that the node has moved", moved).await;
        stop.send(Some("stopped")).expect("it runs");
        net.await.expect("no panic");
        collectors.iter().for_each(tokio::task::JoinHandle::abort);
    });
}
