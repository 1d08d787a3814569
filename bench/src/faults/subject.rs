//! The node that faults are done to: a collector in this process, and a real agent in a process of its own, here or in the
//! booted system.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use tacit_collector::Collector;
use tacit_collector::config::{Config, Http, Mqtt};
use tacit_wire::NodeId;
use tokio::runtime::Runtime;

use super::ground::Ground;
use super::inject::service;
use super::place::booted::INSIDE;
use super::place::netns::OUTSIDE;
use super::process::Process;
use super::watch::Watch;

/// The agent's seam for its wall clock (`agent/src/clock.rs`).
const CLOCK_AHEAD: &str = "TACIT_CLOCK_AHEAD_FILE";
/// Longest wait for the agent's first message.
const FIRST_MESSAGE: Duration = Duration::from_secs(60);
/// The agent's unit in the booted system.
const AGENT: &str = "tacit-agent.service";
/// Distance of looks while waiting.
const LOOK: Duration = Duration::from_millis(250);

/// Where the agent runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Where {
    /// On this machine, in the network namespace when there is one.
    Here,
    /// In the booted system.
    Booted,
}

/// The running pair. Fields are dropped in their order; the collector is stopped last.
pub struct Subject {
    /// What the collector was told.
    pub watch: Watch,
    /// The agent's process; none in the booted system, where a service manager has it.
    agent: Option<Process>,
    /// How it is started; nothing in the booted system.
    words: Vec<String>,
    collector: Option<Collector>,
    runtime: Runtime,
}

impl Subject {
    /// Starts both and waits for the agent's first message.
    ///
    /// # Errors
    /// When one does not start.
    pub fn start(ground: &Ground, place: Where, agent: &Path) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let name = if place == Where::Here { "faults-here" } else { "faults-booted" };
        let folder = ground.folder.join(name);
        std::fs::create_dir_all(&folder).context("cannot make a folder for the agent")?;
        let collector = runtime.block_on(Collector::start(&collector_config(ground, place, &folder)))?;
        let node: NodeId = name.parse().context("the node's name")?;
        let watch =
            Watch::start(&runtime, collector.ingest().live.subscribe(), collector.store().clone(), node.clone());
        let broker = collector.mqtt_address().context("the broker has no address")?;
        let config = agent_config(ground, place, name, &broker.to_string());
        std::fs::write(ground.clock_ahead(), "").context("cannot make the file of the clock")?;
        let mut subject = Self { watch, agent: None, words: Vec::new(), collector: Some(collector), runtime };
        match place {
            Where::Here => {
                let file = folder.join("agent.toml");
                std::fs::write(&file, config).context("cannot write the agent's configuration")?;
                let state = folder.join("state");
                let program = agent.canonicalize().context("cannot find the agent")?;
                let [program, file, state] = [program, file, state].map(|p| p.to_string_lossy().into_owned());
                subject.words = [program, "run".into(), "--config".into(), file, "--data".into(), state].into();
                subject.launch(ground)?;
            }
            Where::Booted => start_booted(ground, agent, &config)?,
        }
        subject.wait_for_birth(&node, ground)?;
        Ok(subject)
    }

    /// Restarts the agent; what it learned stays.
    ///
    /// # Errors
    /// When it does not start.
    pub fn restart(&mut self, ground: &Ground) -> Result<()> {
        if self.words.is_empty() {
            return ground.booted()?.run(&["systemctl", "restart", AGENT]).map(drop);
        }
        self.agent = None;
        self.launch(ground)
    }

    fn launch(&mut self, ground: &Ground) -> Result<()> {
        let words: Vec<&str> = self.words.iter().map(String::as_str).collect();
        let mut program = ground.program(&words, None);
        program.env(CLOCK_AHEAD, ground.clock_ahead());
        self.agent = Some(ground.start(program, "tacit-agent")?);
        Ok(())
    }

    /// Waits, and fails when the agent died; ends early when `done` says so or the bench is to stop.
    ///
    /// # Errors
    /// When the agent died.
    pub fn wait(&mut self, time: Duration, stop: &AtomicBool, mut done: impl FnMut(&Watch) -> bool) -> Result<()> {
        let end = Instant::now() + time;
        while Instant::now() < end && !stop.load(Ordering::Relaxed) && !done(&self.watch) {
            if let Some(agent) = &mut self.agent
                && agent.ended().is_some()
            {
                bail!(agent.trouble().unwrap_or_else(|| "the agent stopped".into()));
            }
            sleep(LOOK.min(end.saturating_duration_since(Instant::now())));
        }
        Ok(())
    }

    fn wait_for_birth(&mut self, node: &NodeId, ground: &Ground) -> Result<()> {
        let end = Instant::now() + FIRST_MESSAGE;
        while Instant::now() < end {
            let collector = self.collector.as_ref().context("the collector stopped")?;
            if self.runtime.block_on(collector.store().node(node))?.is_some() {
                return Ok(());
            }
            if let Some(trouble) = self.agent.as_mut().and_then(Process::trouble) {
                bail!(trouble);
            }
            sleep(LOOK);
        }
        let words = ["journalctl", "--no-pager", "--lines=5", "--unit", AGENT];
        let log = ground.booted().and_then(|b| b.run(&words)).unwrap_or_default();
        bail!("the agent sent nothing within {} s; {log}", FIRST_MESSAGE.as_secs())
    }
}

impl Drop for Subject {
    fn drop(&mut self) {
        self.agent = None;
        if let Some(collector) = self.collector.take() {
            self.runtime.block_on(collector.stop());
        }
    }
}

/// On loopback, or for the namespace on the outer end of its link, which nobody else can reach.
fn collector_config(ground: &Ground, place: Where, folder: &Path) -> Config {
    let local = std::net::SocketAddr::from(([127, 0, 0, 1], 0));
    let linked = place == Where::Here && ground.network().is_ok();
    let mqtt = if linked { std::net::SocketAddr::from((OUTSIDE, 0)) } else { local };
    Config {
        data_dir: folder.join("collector"),
        insecure: linked,
        mqtt: Mqtt { listen: mqtt, ..Mqtt::default() },
        http: Http { listen: local },
        ..Config::default()
    }
}

/// As shipped, but for the loop devices: the file system of the disk faults is on one.
fn agent_config(ground: &Ground, place: Where, name: &str, broker: &str) -> String {
    let mut text = format!(
        "[node]\nid = \"{name}\"\n[publish]\nbroker = \"mqtt://{broker}\"\n[sampling]\nignore_devices = [\"ram\", \"zram\"]\n"
    );
    if let (Where::Here, Ok(sensor)) = (place, ground.sensor()) {
        text.push_str(&format!(
            "[[scrape]]\njob = \"board\"\nurl = \"{}\"\ninterval = \"1s\"\ntimeout = \"500ms\"\n",
            sensor.url
        ));
    }
    text
}

fn start_booted(ground: &Ground, agent: &Path, config: &str) -> Result<()> {
    let booted = ground.booted()?;
    std::fs::write(booted.shared.join("agent.toml"), config).context("cannot write the agent's configuration")?;
    let program = |path: &Path| path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    booted.unit(
        AGENT,
        &format!(
            "[Service]\nExecStart={INSIDE}/bin/{} run --config {INSIDE}/agent.toml --data /var/lib/tacit-agent\n",
            program(agent)
        ),
    )?;
    service::start_services(booted, &program(&ground.own))?;
    booted.run(&["systemctl", "start", AGENT]).map(drop)
}
