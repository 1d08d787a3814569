//! The collector killed ten times under ten thousand messages: none lost, none stored twice.
//!
//! The publishers do what an agent's outbox does: they hold each message until it is acknowledged and offer all they hold
//! again after a break. With the embedded broker the acknowledgement is the PUBACK; with an external one it is the
//! collector's own.

use std::collections::{BTreeSet, VecDeque};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use futures_util::stream::{FuturesUnordered, StreamExt as _};
use rumqttc::mqttbytes::v5::PubAckReason;
use tacit_collector::store::{PointQuery, SqliteStore, Store as _};
use tacit_wire::codec::decode;
use tacit_wire::message::{Ack, Status};
use tacit_wire::{NodeId, Seq};
use tokio::time::{Instant, timeout};

use crate::client::{Client, reason};
use crate::messages::{SITE, bytes, summary, topic};

const NODES: u64 = 4;
const EACH: u64 = 2_500;
const KILLS: u64 = 10;
/// Messages under way at once, of each publisher.
const WINDOW: u16 = 32;
/// A run that takes longer hangs.
const BOUND: Duration = Duration::from_secs(120);
/// Without progress for this long everything is offered again: three times the collector's acknowledgement interval.
const STALLED: Duration = Duration::from_secs(6);

/// A process that does not outlive its test.
struct Process(Child);

impl Process {
    fn start(command: &mut Command) -> Self {
        Self(command.stdin(Stdio::null()).stdout(Stdio::null()).spawn().expect("the program starts"))
    }

    /// `kill -9`
    fn kill(&mut self) {
        self.0.kill().expect("it runs");
        self.0.wait().expect("it ends");
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A free port outside the range that outgoing connections take theirs from: it stays free while nobody listens on it.
pub fn free_port() -> u16 {
    std::iter::repeat_with(|| fastrand::u16(10_000..32_000))
        .find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok())
        .expect("some port is free")
}

fn collector(folder: &Path) -> Process {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tacit-collector"));
    command.args(["--log", "error", "serve", "--config"]).arg(folder.join("collector.toml"));
    Process::start(command.arg("--data").arg(folder.join("data")))
}

fn names() -> impl Iterator<Item = String> {
    (1..=NODES).map(|n| format!("node-{n}"))
}

/// Kills the collector each time another eleventh of all messages is acknowledged, and starts it again at once.
async fn kill_under_load(folder: &Path, acknowledged: &AtomicU64) -> Process {
    let mut running = collector(folder);
    for kill in 1..=KILLS {
        let at = NODES * EACH * kill / (KILLS + 1);
        while acknowledged.load(Relaxed) < at {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        running.kill();
        running = collector(folder);
    }
    running
}

async fn connect(name: &str, port: u16) -> Client {
    loop {
        if let Some(client) = Client::try_connect(name, port, WINDOW).await {
            return client;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Publishes until each message has its PUBACK, and says how often messages were offered.
async fn publish_until_puback(name: String, port: u16, acknowledged: Arc<AtomicU64>) -> u64 {
    let mut held: BTreeSet<u64> = (1..=EACH).collect();
    let mut offered = 0;
    while !held.is_empty() {
        let client = connect(&name, port).await;
        let mut waiting: VecDeque<u64> = held.iter().copied().collect();
        let mut under_way = FuturesUnordered::new();
        while !(waiting.is_empty() && under_way.is_empty()) {
            while under_way.len() < usize::from(WINDOW)
                && let Some(seq) = waiting.pop_front()
            {
                let Some(notice) = client.send(&topic(&name, "summary"), bytes(&summary(&name, seq)), false).await
                else {
                    break;
                };
                offered += 1;
                under_way.push(async move { (seq, reason(notice).await) });
            }
            match under_way.next().await {
                Some((seq, Some(PubAckReason::Success))) => {
                    assert!(held.remove(&seq));
                    acknowledged.fetch_add(1, Relaxed);
                }
                Some((_, Some(refused))) => panic!("the broker refused a good message: {refused:?}"),
                // The connection is gone: whatever has no acknowledgement is offered again.
                Some((_, None)) | None => break,
            }
        }
    }
    offered
}

/// Publishes until the collector acknowledged each message, and says how often messages were offered.
async fn publish_until_ack(name: String, port: u16, acknowledged: Arc<AtomicU64>) -> u64 {
    let mut client = connect(&name, port).await;
    for filter in [format!("tacit/1/{SITE}/d/{name}/+"), format!("tacit/1/{SITE}/c/status")] {
        client.subscribe(&filter).await;
    }
    let (mut stored, mut next, mut offered, mut up) = (0, 1, 0, false);
    let mut progress = Instant::now();
    while stored < EACH {
        // The collector acknowledges every tenth message: so many on the way keep broker and collector busy.
        while up && next <= EACH.min(stored + 4 * u64::from(WINDOW)) {
            // What the PUBACK says does not matter: that of this broker does not mean stored.
            let sent = client.send(&topic(&name, "summary"), bytes(&summary(&name, next)), false).await;
            assert!(sent.is_some(), "the broker is not the one that is killed");
            (next, offered) = (next + 1, offered + 1);
        }
        if let Some(message) = client.receive(Duration::from_millis(200)).await {
            if message.topic.ends_with(b"/c/status") {
                up = decode::<Status>(&message.payload).expect("a status").up;
                next = stored + 1;
            } else if message.topic.ends_with(b"/ack") {
                let ack: Ack = decode(&message.payload).expect("an acknowledgement");
                let to = ack.streams.first().map_or(0, |s| s.seq.0);
                if to > stored {
                    acknowledged.fetch_add(to - stored, Relaxed);
                    (stored, progress) = (to, Instant::now());
                    next = next.max(stored + 1);
                }
            }
        }
        if progress.elapsed() > STALLED {
            (next, progress) = (stored + 1, Instant::now());
        }
    }
    offered
}

/// Runs publishers against a collector that is killed, and looks at what is stored in the end.
async fn run<P: Future<Output = u64> + Send + 'static>(
    folder: &Path,
    port: u16,
    publish: impl Fn(String, u16, Arc<AtomicU64>) -> P,
) {
    let acknowledged = Arc::new(AtomicU64::new(0));
    let began = Instant::now();
    let publishers: Vec<_> = names().map(|name| tokio::spawn(publish(name, port, Arc::clone(&acknowledged)))).collect();
    let all = async {
        let mut last = kill_under_load(folder, &acknowledged).await;
        let mut offered = 0;
        for publisher in publishers {
            offered += publisher.await.expect("the publisher ends well");
        }
        // Even the last one gets no chance to tidy up.
        last.kill();
        offered
    };
    let Ok(offered) = timeout(BOUND, all).await else {
        panic!("after {BOUND:?} only {} messages were acknowledged", acknowledged.load(Relaxed));
    };
    println!("{KILLS} kills, {offered} offers of {} messages, {:?}", NODES * EACH, began.elapsed());
    assert_stored_once(&folder.join("data/tacit.db")).await;
}

async fn assert_stored_once(database: &Path) {
    let store = SqliteStore::open(database).unwrap();
    assert_eq!(store.totals().await.unwrap().messages, NODES * EACH, "each message counts once");
    for name in names() {
        let node: NodeId = name.parse().unwrap();
        let acks = store.acks(&node).await.unwrap();
        assert_eq!(acks.iter().map(|a| a.seq).collect::<Vec<_>>(), [Seq(EACH)], "{name}");
        let query = PointQuery { node, series: Vec::new(), from_ms: i64::MIN, to_ms: i64::MAX };
        let series = store.points(query).await.unwrap();
        let values = series[0].points.iter().map(|p| p.mean.get().expect("a value") as u64);
        assert!(values.eq(1..=EACH), "{name}: the content of every message is there");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_or_doubled_by_kills_with_the_embedded_broker() {
    let folder = tempfile::tempdir().unwrap();
    let (port, http) = (free_port(), free_port());
    let text =
        format!("sites = [\"{SITE}\"]\n[mqtt]\nlisten = \"127.0.0.1:{port}\"\n[http]\nlisten = \"127.0.0.1:{http}\"\n");
    std::fs::write(folder.path().join("collector.toml"), text).unwrap();
    run(folder.path(), port, publish_until_puback).await;
}

const MOSQUITTO: &str = "/usr/sbin/mosquitto";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_or_doubled_by_kills_with_an_external_broker() {
    if !Path::new(MOSQUITTO).exists() {
        assert!(std::env::var_os("CI").is_none_or(|ci| ci != "true"), "{MOSQUITTO} is missing: install mosquitto");
        eprintln!("not run: {MOSQUITTO} is missing");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let (port, http) = (free_port(), free_port());
    let broker = folder.path().join("mosquitto.conf");
    std::fs::write(
        &broker,
        format!("listener {port} 127.0.0.1\nallow_anonymous true\nlog_dest stderr\nlog_type error\n"),
    )
    .unwrap();
    let _broker = Process::start(Command::new(MOSQUITTO).arg("-c").arg(&broker));
    let text = format!(
        "sites = [\"{SITE}\"]\n[mqtt]\nexternal = \"mqtt://127.0.0.1:{port}\"\n[http]\nlisten = \"127.0.0.1:{http}\"\n"
    );
    std::fs::write(folder.path().join("collector.toml"), text).unwrap();
    // Until the broker listens the collector would wait two seconds and try again.
    drop(connect("Probe-1", port).await);
    run(folder.path(), port, publish_until_ack).await;
}
