//! The agent's own outbox and session against the collector, which is killed ten times under ten thousand messages: none is
//! lost, none is stored twice. Once with the embedded broker, whose PUBACK means stored, and once through Mosquitto, whose
//! PUBACK means nothing.

use std::fs::File;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use tacit_agent::clock::Tick;
use tacit_agent::config::PublishConfig;
use tacit_agent::fleet::Commands;
use tacit_agent::fleet::maintenance::MarkFile;
use tacit_agent::identity::floor::Floor;
use tacit_agent::outbox::{Folder, Limits, Outbox};
use tacit_agent::outgoing::Outgoing;
use tacit_agent::publish::{Net, NetStatus, Parts, Tuning};
use tacit_collector::store::{PointQuery, SqliteStore, Store as _};
use tacit_wire::message::{Birth, Clock, Head, NodeIdentity, Profile, Row, Summary};
use tacit_wire::{BootId, Digest, NodeId, Num, Seq, SeriesDef, SeriesId, StreamId};
use tokio::sync::{mpsc, watch};

const KILLS: u64 = 10;
/// Messages of each life.
const EACH: u64 = 910;
const MESSAGES: u64 = (KILLS + 1) * EACH;
const MOSQUITTO: &str = "/usr/sbin/mosquitto";

/// A process that does not outlive its test.
struct Process(Child);

impl Process {
    fn kill(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A free port outside the range that outgoing connections take theirs from: it stays free while nobody listens on it.
fn free_port() -> u16 {
    std::iter::repeat_with(|| fastrand::u16(10_000..32_000))
        .find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok())
        .unwrap()
}

fn node() -> NodeId {
    "under-test".parse().unwrap()
}

/// `tacit up` on ports that stay the same over its kills.
struct Up<'a> {
    folder: &'a Path,
    arguments: Vec<String>,
}

impl Up<'_> {
    fn start(&self) -> Process {
        let log = File::options().create(true).append(true).open(self.folder.join("log")).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_tacit"));
        command.arg("up").arg("--data").arg(self.folder.join("up")).args(&self.arguments).env("RUST_BACKTRACE", "0");
        Process(command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap())
    }
}

fn parts(port: u16, folder: &Path, outgoing: mpsc::Receiver<Outgoing>) -> Parts<Folder> {
    let streams = [StreamId([1; 8]), StreamId([2; 8])];
    let disk = Folder::open(folder).unwrap();
    Parts {
        site: "default".parse().unwrap(),
        node: node(),
        boot: BootId([1; 16]),
        config: PublishConfig {
            broker: format!("mqtt://127.0.0.1:{port}"),
            backoff_max: "200ms".parse().unwrap(),
            ..PublishConfig::default()
        },
        tuning: Tuning {
            backoff_min: Duration::from_millis(20),
            ack_timeout: Duration::from_secs(1),
            ..Tuning::default()
        },
        outbox: Outbox::open(disk, Limits::new(64 << 20, 7 * 86_400_000), streams, Tick::now()).unwrap(),
        outgoing,
        live: mpsc::channel(1).1,
        commands: Commands::new(
            node(),
            Arc::default(),
            Arc::default(),
            mpsc::channel(1).0,
            Box::new(String::new),
            // Nobody marks maintenance here.
            MarkFile::new(folder),
            Arc::default(),
        ),
        birth: Box::new(birth),
        desired: mpsc::channel(1).0,
        status: Arc::new(NetStatus::default()),
        floor: Arc::new(Floor::of_release()),
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

fn series() -> SeriesDef {
    SeriesDef { id: SeriesId(1), name: "system.example".into(), attributes: Vec::new(), unit: "1".into() }
}

/// Message `n`: one value, the number itself, at a minute of its own.
fn summary(n: u64) -> Outgoing {
    let head = Head {
        node: node(),
        boot: BootId([1; 16]),
        stream: StreamId::default(),
        seq: Seq(0),
        oldest: Seq(0),
        wall_ms: 0,
        mono_ms: 0,
    };
    Outgoing::Summary(Box::new(Summary {
        head,
        epoch: 1,
        start_ms: n as i64 * 60_000,
        step_s: 60,
        steps: 1,
        // Only the first introduces its series, as with an agent.
        series: if n == 1 { vec![series()] } else { Vec::new() },
        rows: vec![Row { id: SeriesId(1), mean: vec![Num(n as f32)], min: None, max: None }],
        bins: Vec::new(),
        lost_samples: 0,
        alarm: Vec::new(),
        left_out: 0,
    }))
}

/// Waits until it is so: the bound only ends a hung test.
async fn until(folder: &Path, what: &str, mut so: impl FnMut() -> bool) {
    let wait = async {
        while !so() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    if tokio::time::timeout(Duration::from_secs(120), wait).await.is_err() {
        panic!("it did not happen: {what}; the log:\n{}", std::fs::read_to_string(folder.join("log")).unwrap());
    }
}

/// Ten thousand messages while `tacit up` is killed ten times; then looks at what is stored.
fn kill_under_load(folder: &Path, up: &Up<'_>, port: u16) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let (tx, rx) = mpsc::channel(64);
        let (stop, stopped) = watch::channel(None);
        let parts = parts(port, &folder.join("outbox"), rx);
        let status = Arc::clone(&parts.status);
        let mut running = up.start();
        let net = tokio::spawn(Net::new(parts).run(stopped));
        for life in 0..=KILLS {
            for n in life * EACH + 1..=(life + 1) * EACH {
                tx.send(summary(n)).await.unwrap();
            }
            if life < KILLS {
                // In the midst of its work: some of this life's messages are stored, some are on their way, some wait.
                let held = status.outbox_bytes();
                until(folder, "half of it stored", || status.outbox_bytes() <= held / 2).await;
                running.kill();
                running = up.start();
            }
        }
        until(folder, "an empty outbox", || status.outbox_bytes() == 0).await;
        // Not even the last life may tidy up.
        running.kill();
        stop.send(Some("stopped")).unwrap();
        net.await.unwrap();
    });
    runtime.block_on(async {
        let store = SqliteStore::open(&folder.join("up/collector/tacit.db")).unwrap();
        let acks = store.acks(&node()).await.unwrap();
        assert_eq!(acks.iter().map(|a| (a.stream, a.seq)).collect::<Vec<_>>(), [(StreamId([2; 8]), Seq(MESSAGES))]);
        let query = PointQuery { node: node(), series: Vec::new(), from_ms: i64::MIN, to_ms: i64::MAX };
        let points = store.points(query).await.unwrap();
        let values = points[0].points.iter().map(|p| p.mean.get().unwrap() as u64);
        assert!(values.eq(1..=MESSAGES), "the content of every message is there, once");
    });
}

#[test]
fn nothing_is_lost_or_doubled_with_the_embedded_broker() {
    let folder = tempfile::tempdir().unwrap();
    let (http, mqtt) = (free_port(), free_port());
    let arguments = ["--http".into(), format!("127.0.0.1:{http}"), "--mqtt".into(), format!("127.0.0.1:{mqtt}")];
    kill_under_load(folder.path(), &Up { folder: folder.path(), arguments: arguments.into() }, mqtt);
}

#[test]
fn nothing_is_lost_or_doubled_with_an_external_broker() {
    if !Path::new(MOSQUITTO).exists() {
        assert!(std::env::var_os("CI").is_none_or(|ci| ci != "true"), "{MOSQUITTO} is missing: install mosquitto");
        eprintln!("not run: {MOSQUITTO} is missing");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let (http, mqtt) = (free_port(), free_port());
    let config = folder.path().join("mosquitto.conf");
    let text = format!("listener {mqtt} 127.0.0.1\nallow_anonymous true\nlog_dest stderr\nlog_type error\n");
    std::fs::write(&config, text).unwrap();
    let _broker = Process(Command::new(MOSQUITTO).arg("-c").arg(&config).spawn().unwrap());
    let arguments =
        ["--http".into(), format!("127.0.0.1:{http}"), "--broker".into(), format!("mqtt://127.0.0.1:{mqtt}")];
    kill_under_load(folder.path(), &Up { folder: folder.path(), arguments: arguments.into() }, mqtt);
}
