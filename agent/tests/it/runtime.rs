//! The agent as a service: what it tells the service manager, and how it follows its configuration while it runs.

use std::net::TcpListener;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rumqttc::{AsyncClient, Event, Incoming, MqttOptions, QoS};
use rustix::process::{Pid, Signal, kill_process};
use tacit_agent::config::{Config, ProbeConfig};
use tacit_agent::context;
use tacit_agent::supervisor::{Agent, Options};
use tacit_wire::codec::decode;
use tacit_wire::message::Birth;
use tacit_wire::{Digest, Encoding};

use crate::publish::{Broker, until};

const PROGRAM: &str = env!("CARGO_BIN_EXE_tacit-agent");

/// A port on which nobody listens.
fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a free port").port()
}

/// The program with a file and drop-ins, without what the surroundings of the test set.
fn program(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(PROGRAM);
    command.args(arguments).stdin(Stdio::null()).current_dir(folder);
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("TACIT_")) {
        command.env_remove(name);
    }
    command.env_remove("WATCHDOG_PID").env_remove("NOTIFY_SOCKET");
    command
}

fn write(folder: &Path, name: &str, text: &str) -> PathBuf {
    let path = folder.join(name);
    std::fs::create_dir_all(path.parent().expect("it has one")).expect("made");
    std::fs::write(&path, text).expect("written");
    path
}

/// A running agent and the service manager it talks to.
struct Service {
    folder: tempfile::TempDir,
    manager: UnixDatagram,
    child: Child,
}

impl Service {
    /// With a sign of life every two seconds.
    fn start(config: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        write(folder.path(), "agent.toml", config);
        let socket = folder.path().join("notify");
        let manager = UnixDatagram::bind(&socket).expect("bound");
        manager.set_read_timeout(Some(Duration::from_secs(60))).expect("it can be set");
        let log = std::fs::File::create(folder.path().join("log")).expect("a file");
        let child = program(folder.path(), &["run", "--config", "agent.toml", "--data", "state"])
            .env("NOTIFY_SOCKET", &socket)
            .env("WATCHDOG_USEC", "6000000")
            .stderr(log)
            .spawn()
            .expect("it starts");
        Self { folder, manager, child }
    }

    /// The next message that begins so.
    fn hears(&self, beginning: &str) -> String {
        let mut before = Vec::new();
        loop {
            let mut buffer = [0; 4096];
            let Ok(length) = self.manager.recv(&mut buffer) else {
                let log = std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
                panic!("no {beginning} after {before:?}\n{log}");
            };
            let message = String::from_utf8_lossy(&buffer[..length]).into_owned();
            if message.starts_with(beginning) {
                return message;
            }
            before.push(message);
        }
    }

    fn signal(&self, signal: Signal) {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, signal).expect("it runs");
    }

    /// Reads the configuration again; what is said of it.
    fn reload(&self) -> String {
        self.signal(Signal::HUP);
        assert!(self.hears("RELOADING=1").contains("\nMONOTONIC_USEC="));
        self.hears("READY=1")
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn the_service_manager_hears_of_start_reload_and_end() {
    let port = free_port();
    let config = format!(
        "[node]\nid = \"n1\"\nsite = \"lab\"\n[publish]\nbroker = \"mqtt://127.0.0.1:{port}\"\n[links]\nenabled = false\n"
    );
    let mut service = Service::start(&config);
    assert!(service.hears("READY=1").contains("\nWATCHDOG=1"));
    service.hears("WATCHDOG=1");

    let drop_in = "agent.d/50-site.toml";
    write(service.folder.path(), drop_in, "[detect]\nalarm_bugdet = \"5/day\"\n");
    let said = service.reload();
    assert!(said.contains("what was in force stays: agent.d/50-site.toml: line 2: detect.alarm_bugdet: "), "{said}");

    let good = "[detect]\nalarm_budget = \"5/day\"\n[sampling]\nmax_series = 600\n[node]\nsite = \"berlin\"\n";
    let path = write(service.folder.path(), drop_in, good);
    let said = service.reload();
    let restart = "has to be started again for node.site, sampling.max_series to come into force";
    assert!(said.contains(restart) && !said.contains("stays"), "{said}");
    service.hears("WATCHDOG=1");

    std::fs::remove_file(path).expect("removed");
    let said = service.reload();
    assert!(!said.contains("started again") && !said.contains("stays"), "{said}");

    service.signal(Signal::TERM);
    service.hears("STOPPING=1");
    let ended = service.child.wait().expect("it ends");
    let log = std::fs::read_to_string(service.folder.path().join("log")).expect("it is there");
    assert!(ended.success(), "{ended}\n{log}");
    for line in ["is not taken over", "in force: detect.alarm_budget; a restart is needed for node.site", "Stopping."] {
        assert!(log.contains(line), "{line:?} is missing in\n{log}");
    }
}

/// What a command ends with, and what it says to whoever looks.
fn ended(output: &Output) -> (Option<i32>, String) {
    let said = [&output.stdout[..], &output.stderr[..]].map(|bytes| String::from_utf8_lossy(bytes).into_owned());
    (output.status.code(), said.concat())
}

#[test]
fn a_wrong_place_ends_every_command_with_2() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = write(folder.path(), "agent.toml", "[node]\nsite = \"lab\"\n");
    write(folder.path(), "agent.d/10-good.toml", "[outbox]\nmax_age = \"1d\"\n");
    let broken = write(folder.path(), "agent.d/20-broken.toml", "[node]\nsitte = \"lab\"\n");
    let file = file.to_string_lossy().into_owned();
    let commands = [
        &["run", "--config", &file, "--data", "state"][..],
        &["doctor", "--config", &file],
        &["sample", "--config", &file],
        &["check-config", &file],
    ];
    for arguments in commands {
        let (code, said) = ended(&program(folder.path(), arguments).output().expect("it starts"));
        assert_eq!(code, Some(2), "{arguments:?}: {said}");
        assert!(said.contains("agent.d/20-broken.toml: line 2: node.sitte: unknown field `sitte`"), "{said}");
    }
    std::fs::remove_file(broken).expect("removed");
    for arguments in commands {
        let mut command = program(folder.path(), arguments);
        let (code, said) = ended(&command.env("TACIT_PUBLISH_BROKR", "mqtt://b:1").output().expect("it starts"));
        assert_eq!(code, Some(2), "{arguments:?}: {said}");
        assert!(said.contains("TACIT_PUBLISH_BROKR: publish.brokr: unknown field `brokr`"), "{said}");
    }

    let mut print = program(folder.path(), &["check-config", &file, "--print"]);
    let output = print.env("TACIT_PUBLISH_BROKER", "mqtt://b:1").output().expect("it starts");
    assert_eq!(output.status.code(), Some(0));
    let printed = String::from_utf8(output.stdout).expect("text");
    assert!(printed.contains("publish.broker = \"mqtt://b:1\"  # TACIT_PUBLISH_BROKER\n"), "{printed}");
    assert!(printed.contains("agent.d/10-good.toml, line 2\n"), "{printed}");
    let config = Config::parse(&printed).expect("what is printed is a configuration");
    assert_eq!((config.node.site.to_string().as_str(), config.outbox.max_age.as_millis()), ("lab", 86_400_000));
}

/// Who hears births.
#[derive(Default)]
struct Witness {
    listens: AtomicBool,
    /// The configurations that they name.
    configs: Mutex<Vec<Digest>>,
}

impl Witness {
    fn has_heard(&self, config: Digest) -> bool {
        self.configs.lock().expect("no panic").contains(&config)
    }
}

async fn births(port: u16, witness: Arc<Witness>) {
    let mut options = MqttOptions::new("witness", ("127.0.0.1", port));
    options.set_clean_start(true).set_max_packet_size(Some(128 * 1024));
    let (client, mut events) = AsyncClient::builder(options).capacity(8).build();
    loop {
        match events.poll().await {
            Ok(Event::Incoming(Incoming::ConnAck(_))) => {
                client.try_subscribe("tacit/1/+/u/+/birth", QoS::AtLeastOnce).expect("room");
            }
            Ok(Event::Incoming(Incoming::SubAck(_))) => witness.listens.store(true, Ordering::Relaxed),
            Ok(Event::Incoming(Incoming::Publish(p))) => {
                let birth: Birth = decode(&p.payload).expect("a birth");
                witness.configs.lock().expect("no panic").push(birth.config);
            }
            Ok(_) => {}
            // It may not be up yet.
            Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    }
}

#[test]
fn another_configuration_reaches_every_part_and_is_told() {
    let Some(broker) = Broker::start() else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let mut config = Config::default();
    config.node.data_dir = folder.path().join("state");
    config.publish.broker = format!("mqtt://127.0.0.1:{}", broker.port);
    config.publish.backoff_max = "1s".parse().expect("a duration");
    config.links.enabled = false;
    config.context.disable = context::NAMES.iter().map(ToString::to_string).collect();

    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let witness = Arc::new(Witness::default());
    let hearing = runtime.spawn(births(broker.port, Arc::clone(&witness)));
    runtime.block_on(until("somebody to listen", || witness.listens.load(Ordering::Relaxed)));
    let agent = Agent::start(config.clone(), Options { embedded: true, keep_pages: true }).expect("it starts");
    runtime.block_on(until("a birth with the first configuration", || witness.has_heard(config.digest())));

    // What is about the connection, what is not, a source that was not there, and what has to wait.
    let mut wanted = config.clone();
    wanted.publish.encoding = Encoding::Json;
    wanted.outbox.max_bytes = "2MiB".parse().expect("a size");
    wanted.sampling.command_lines = false;
    wanted.detect.alarm_budget = "3/day".parse().expect("a budget");
    let target = format!("tcp://127.0.0.1:{}", free_port());
    let (interval, timeout) = ("1s".parse().expect("a duration"), "500ms".parse().expect("a duration"));
    wanted.probe = vec![ProbeConfig { name: "shop".into(), target, interval, timeout, status: Vec::new() }];
    let in_force = wanted.clone();
    wanted.sampling.max_series = 100;
    let change = agent.reload(&wanted).expect("it goes together");
    let live = ["detect.alarm_budget", "outbox.max_bytes", "probe", "publish.encoding", "sampling.command_lines"];
    assert_eq!(
        (change.live, change.restart),
        (live.map(String::from).to_vec(), vec!["sampling.max_series".to_owned()])
    );
    let probed = || agent.status().sampler.sources.iter().any(|s| s.name == "probe");
    let promised = || (agent.status().analysis.promise.promised_per_day.0 - 3.0).abs() < 1e-6;
    runtime.block_on(async {
        until("a birth with what is in force", || witness.has_heard(in_force.digest())).await;
        until("the probe among the sources", probed).await;
        until("the other promise", promised).await;
    });
    assert!(!witness.has_heard(wanted.digest()), "what waits for a restart is not in force");
    let health = agent.status().health;
    assert!(health.iter().any(|h| h.contains("started again for sampling.max_series")), "{health:?}");

    // A refusal is said, changes nothing, and is over with the next that is taken.
    agent.refuse("agent.toml: line 3: nonsense");
    assert!(agent.words().contains("what was in force stays: agent.toml: line 3: nonsense"), "{}", agent.words());
    assert_eq!(agent.reload(&in_force).expect("it goes together").words(), "nothing has changed");
    assert!(!agent.words().contains("stays") && !agent.words().contains("started again"), "{}", agent.words());

    hearing.abort();
    agent.stop("stopped");
}
