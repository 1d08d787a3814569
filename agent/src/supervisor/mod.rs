//! Starts the agent's threads, joins what they share, and stops them in order: sampling first, then analysis, then the
//! network, which drains what is left.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context as _, Result};
use tacit_models::import::{Program, trial};
use tacit_wire::message::{Birth, ConfigState, Cost, ModelInForce, Report};
use tacit_wire::series::dictionary_hash;
use tacit_wire::{Attribute, NodeId};
use tokio::sync::{mpsc, watch};
use tracing::warn;

use crate::analysis::{Analysis, AnalysisStatus, Inputs, SharedDictionary};
use crate::clock::Tick;
use crate::config::Config;
use crate::context::boot::{self, Marker};
use crate::context::{self, Board, Reporter, Units};
use crate::detect::event::Sender;
use crate::detect::foreign::{Tried, try_package};
use crate::detect::promise;
use crate::detect::rulebook::Watched;
use crate::fleet::Pull;
use crate::fleet::maintenance::Mark;
use crate::health::Budget;
use crate::inventory;
use crate::links::{self, ServiceFigures};
use crate::outgoing::Outgoing;
use crate::publish::NetStatus;
use crate::ring::queue::Received;
use crate::ring::{FrameReceiver, pair};
use crate::sampler::{Sampler, SamplerStatus};
use crate::source::processes::ProcessScan;
use crate::source::{Root, registry};
use crate::watch::{Pulse, Pulses, now_ms};

mod attend;
mod network;
mod reload;
mod report;

pub use attend::run;

use network::Network;
use reload::{Outcome, Ways};

/// Frames between sampling and analysis: the analysis may be this many seconds behind before samples are missed.
const FRAMES: usize = 16;
/// Messages between analysis and network; the analysis has a backlog of its own behind it.
const OUTGOING: usize = 64;
/// Live frames under way.
const LIVE: usize = 4;
/// Requests for history under way.
const PULLS: usize = 4;
/// Distance of looks at whether something changed.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// How the agent is run.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// It shares its process with a collector: its own cost is not its own alone, and pages are not dropped.
    pub embedded: bool,
    /// Keep text pages (for measurements).
    pub keep_pages: bool,
}

/// A running agent.
pub struct Agent {
    shared: Arc<Shared>,
    stop_threads: Arc<AtomicBool>,
    stop_net: watch::Sender<Option<&'static str>>,
    marker: Marker,
    sample: JoinHandle<()>,
    analyse: JoinHandle<()>,
    /// Observes connections, when it is to.
    links: Option<JoinHandle<()>>,
    net: JoinHandle<()>,
    ways: Ways,
}

/// What the parts show to each other.
struct Shared {
    node: NodeId,
    /// In force now.
    config: Mutex<Arc<Config>>,
    /// What became of the configuration that was read last.
    outcome: Mutex<Outcome>,
    pulses: Arc<Pulses>,
    dictionary: SharedDictionary,
    sampler: Arc<Mutex<SamplerStatus>>,
    board: Board,
    analysis: Arc<Mutex<AnalysisStatus>>,
    network: Arc<NetStatus>,
    cost: Mutex<Cost>,
    budget: Mutex<Budget>,
    processes: Option<ProcessScan>,
    links: ServiceFigures,
    injected: Arc<AtomicBool>,
    started: Tick,
    options: Options,
}

/// The agent's state at one moment.
#[derive(Debug, Clone, Default)]
pub struct Status {
    /// Sampling.
    pub sampler: SamplerStatus,
    /// Judgement.
    pub analysis: AnalysisStatus,
    /// Own cost as last measured.
    pub cost: Cost,
    /// Whether there is a session with the broker.
    pub connected: bool,
    /// What is wrong, in plain words.
    pub health: Vec<String>,
}

/// What is shared is valid at every step, so a poisoned lock changes nothing.
fn lock<T>(cell: &Mutex<T>) -> MutexGuard<'_, T> {
    cell.lock().unwrap_or_else(PoisonError::into_inner)
}

fn take<T: Clone>(cell: &Mutex<T>) -> T {
    lock(cell).clone()
}

impl Agent {
    /// Starts all threads.
    ///
    /// # Errors
    /// When the state folder cannot be used or a thread cannot be started.
    pub fn start(config: Config, options: Options) -> Result<Self> {
        let root = Root::live();
        let now = Tick::now();
        let node = config.node.id.clone().unwrap_or_else(|| inventory::default_node_id(&root));
        let folder = config.node.data_dir.clone();
        std::fs::create_dir_all(&folder)
            .with_context(|| format!("cannot use the state folder {}; make it writable for this user, or name another (--data DIR, node.data_dir)", folder.display()))?;
        let sender = Sender { node: node.clone(), boot: inventory::boot_id(&root) };

        let marker = Marker::new(&folder, sender.boot);
        let booted = marker.begin(&root, now);
        let sources = registry::all(&root, &config);
        let (board, units) = (Board::default(), Units::default());
        let (reporter, happened) = Reporter::new(board.clone());
        let mut tasks = sources.tasks;
        tasks.extend(context::watchers(&root, &config.context.disable, &reporter, &units, &sources.logs));
        let dictionary = SharedDictionary::default();
        let sampler = Sampler::new(sources.list, config.sampling.max_series, Arc::clone(&dictionary));
        let answers = sources.answers.clone();
        let (ways, followers) = Ways::new(sampler.newcomers(), answers, sources.handles, &config.publish);
        let (frames, receiver) = pair(FRAMES, config.sampling.max_series);
        let (out, outgoing) = mpsc::channel(OUTGOING);
        let (live_in, live) = mpsc::channel(LIVE);
        let (pulls_in, pulls) = mpsc::channel(PULLS);
        let watch_until = Arc::new(AtomicU64::new(0));
        let injected = Arc::new(AtomicBool::new(false));
        let inputs = Inputs {
            sender: sender.clone(),
            config: config.clone(),
            dictionary: Arc::clone(&dictionary),
            watched: Watched { file_systems: sources.file_systems, units, answers: sources.answers },
            happened,
            board: board.clone(),
            booted,
            models: try_models(&config)?,
            processes: sources.processes.clone(),
            out: out.clone(),
            live: live_in,
            watch: Arc::clone(&watch_until),
            injected: Arc::clone(&injected),
        };
        let analysis = Analysis::new(inputs, &folder, now);
        let shared = Arc::new(Shared {
            node,
            dictionary,
            sampler: sampler.status(),
            board,
            analysis: analysis.status(),
            network: Arc::default(),
            cost: Mutex::default(),
            budget: Mutex::default(),
            processes: sources.processes,
            links: sources.links,
            injected,
            started: now,
            options,
            outcome: Mutex::default(),
            pulses: Arc::new(Pulses::new(config.sampling.interval.std())),
            config: Mutex::new(Arc::new(config)),
        });

        let (stop_net, stopped) = watch::channel(None);
        let announce = Arc::new(AtomicBool::new(false));
        let net = Network {
            shared: Arc::clone(&shared),
            sender,
            folder: folder.join("outbox"),
            out: out.clone(),
            outgoing,
            live,
            pulls: pulls_in,
            watch_until,
            announce: Arc::clone(&announce),
            stopped,
            tasks,
            changes: followers.network,
            more: followers.more,
        };
        let net = net.start()?;
        let stop_threads = Arc::new(AtomicBool::new(false));
        let changes = followers.analysis;
        let analyse = watched(&shared.pulses.analyse, move |p| analyse(analysis, receiver, pulls, changes, p))?;
        let (stop, interval) = (Arc::clone(&stop_threads), shared.config().sampling.interval.std());
        let run = move |p: &Pulse| sampler.run(interval, frames, p, || stop.load(Ordering::Relaxed));
        let sample = watched(&shared.pulses.sample, run)?;
        let links = start_links(&shared, out, announce, &stop_threads)?;
        Ok(Self { shared, stop_threads, stop_net, marker, sample, analyse, links, net, ways })
    }

    /// The node's identity.
    #[must_use]
    pub fn node(&self) -> &NodeId {
        &self.shared.node
    }

    /// State of everything, now.
    #[must_use]
    pub fn status(&self) -> Status {
        self.shared.status()
    }

    /// Signs of life of its threads.
    #[must_use]
    pub fn pulses(&self) -> Arc<Pulses> {
        Arc::clone(&self.shared.pulses)
    }

    /// How it goes, in one line.
    #[must_use]
    pub fn words(&self) -> String {
        let Status { sampler, analysis, connected, health, .. } = self.status();
        let connected = if connected { "connected" } else { "not connected" };
        let mut words = format!("{} series, {}, {connected}", sampler.series, analysis.stage);
        for line in &health {
            words.push_str("; ");
            words.push_str(line);
        }
        words
    }

    /// Marks events opened from now on as injected by a demonstration, or ends that.
    pub fn mark_injected(&self, injected: bool) {
        self.shared.injected.store(injected, Ordering::Relaxed);
    }

    /// Stops sampling, lets the analysis finish and save, sends what can be sent, and says goodbye with `reason`.
    pub fn stop(self, reason: &'static str) {
        self.stop_threads.store(true, Ordering::Relaxed);
        for thread in [self.sample, self.analyse].into_iter().chain(self.links) {
            if thread.join().is_err() {
                warn!("A thread of the agent had failed.");
            }
        }
        // The network thread is there unless it failed; then there is nobody to tell.
        let _ = self.stop_net.send(Some(reason));
        if self.net.join().is_err() {
            warn!("The network thread had failed.");
        }
        self.marker.end(boot::going_down(&Root::live()), Tick::now());
    }
}

/// The thread that observes connections.
fn start_links(
    shared: &Shared,
    out: mpsc::Sender<Outgoing>,
    announce: Arc<AtomicBool>,
    stop: &Arc<AtomicBool>,
) -> Result<Option<JoinHandle<()>>> {
    let config = shared.config();
    if !links::are_observed(&config) {
        return Ok(None);
    }
    let root = Root::live();
    let sender = Sender { node: shared.node.clone(), boot: inventory::boot_id(&root) };
    let watch = links::Watch {
        root,
        config: config.links.clone(),
        sender,
        out,
        board: shared.board.clone(),
        services: shared.links.clone(),
        announce,
    };
    let stop = Arc::clone(stop);
    watched(&shared.pulses.links, move |pulse| watch.run(&stop, pulse)).map(Some)
}

/// Tries the models of the configuration one after another, on a thread of its own: a trial may take seconds.
fn try_models(config: &Config) -> Result<mpsc::Receiver<Result<Tried, String>>> {
    let (sender, receiver) = mpsc::channel(config.model.len().max(1));
    if config.model.is_empty() {
        return Ok(receiver);
    }
    let paths: Vec<_> = config.model.iter().map(|m| m.path.clone()).collect();
    let period_ms = u32::try_from(config.sampling.interval.as_millis()).unwrap_or(u32::MAX);
    spawn("tacit-trial", move || {
        let program =
            Program::current(&[trial::COMMAND]).map_err(|e| format!("no model is tried: no path of this program: {e}"));
        for path in paths {
            let tried = program.as_ref().map_err(Clone::clone).and_then(|p| try_package(&path, p, period_ms));
            // Nobody listens any more when the agent stops meanwhile.
            if sender.blocking_send(tried).is_err() {
                return;
            }
        }
    })?;
    Ok(receiver)
}

impl Shared {
    fn status(&self) -> Status {
        let (mut sampler, analysis, cost) = (take(&self.sampler), take(&self.analysis), take(&self.cost));
        sampler.absent.extend(self.board.absent());
        let health = self.health(&sampler, &analysis);
        Status { sampler, analysis, cost, connected: self.network.connected(), health }
    }

    /// Everything that is wrong with the agent itself.
    fn health(&self, sampler: &SamplerStatus, analysis: &AnalysisStatus) -> Vec<String> {
        let mut health: Vec<String> = self.pulses.look(now_ms()).iter().map(ToString::to_string).collect();
        health.extend(lock(&self.outcome).words());
        health.extend(self.network.troubles());
        if self.network.outbox_dropped() > 0 {
            health.push(format!(
                "the outbox was full or too old: {} messages were dropped since the start",
                self.network.outbox_dropped()
            ));
        }
        health.extend(sampler.failing.iter().cloned());
        if sampler.refused > 0 {
            health.push(format!(
                "{} series are left out: raise sampling.max_series above {}",
                sampler.refused, sampler.series
            ));
        }
        health.extend(analysis.maintenance.as_ref().map(Mark::words));
        health.extend(analysis.model_error.iter().map(|e| format!("the model fails: {e}")));
        health.extend(analysis.foreign_errors.iter().cloned());
        if let Some(first) = analysis.crept.first() {
            health.push(format!(
                "{first} and {} other series crept far from what they were days ago, too slowly for an alarm",
                analysis.crept.len() - 1
            ));
        }
        health.extend(promise::broken(&analysis.promise));
        health.extend(lock(&self.budget).words());
        health.truncate(32);
        health
    }

    /// Over its budget the agent does the dearest thing less often. In one process with a collector the cost is not its own.
    fn keep_budget(&self, cost: &Cost, seconds: f32) {
        if self.options.embedded {
            return;
        }
        if let (Some(over), Some(scan)) = (lock(&self.budget).judge(cost, seconds), &self.processes) {
            scan.slow_down(over);
        }
    }

    fn models(&self, analysis: &AnalysisStatus) -> Vec<ModelInForce> {
        let model = |digest| ModelInForce {
            name: "host-detector".into(),
            version: env!("CARGO_PKG_VERSION").into(),
            digest,
            stage: analysis.stage,
            points: analysis.points,
        };
        // Before the first fit there is no model, but there is a stage that people want to see.
        let own = model(analysis.model.unwrap_or_default());
        std::iter::once(own).chain(analysis.foreign.iter().cloned()).collect()
    }

    fn birth(&self, sender: &Sender) -> Birth {
        let (root, config) = (Root::live(), self.config());
        let dictionary = take(&self.dictionary);
        let defs = dictionary.defs();
        Birth {
            node: self.node.clone(),
            boot: sender.boot,
            connection: 0,
            agent: env!("CARGO_PKG_VERSION").into(),
            clock: inventory::clock(&root, Tick::now()),
            identity: inventory::identity(&root),
            addresses: inventory::addresses(),
            listeners: inventory::listeners(&root),
            epoch: dictionary.epoch,
            series: defs.len() as u32,
            dictionary: dictionary_hash(&defs),
            models: self.models(&take(&self.analysis)),
            config: config.digest(),
            capabilities: ["watch", "pull", "diagnose", "announce", "dictionary", "maintain"]
                .map(String::from)
                .to_vec(),
            outbox: Vec::new(),
            absent: self.status().sampler.absent,
            profile: config.publish.profile.into(),
            interval_ms: u32::try_from(config.sampling.interval.as_millis()).unwrap_or(u32::MAX),
            tags: config.node.tags.iter().map(|(key, value)| Attribute::new(key, value)).collect(),
        }
    }

    fn report(&self, sender: &Sender, now: Tick) -> Report {
        let Status { sampler, analysis, cost, health, .. } = self.status();
        Report {
            head: sender.head(now),
            config_version: 0,
            config: self.config().digest(),
            config_state: ConfigState::Local,
            models: self.models(&analysis),
            cost,
            sources: sampler.sources,
            gaps: Vec::new(),
            promise: analysis.promise,
            health,
            absent: sampler.absent,
            series: sampler.series as u32,
            uptime_s: now.mono_ms.saturating_sub(self.started.mono_ms) / 1000,
        }
    }
}

fn spawn(name: &str, run: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>> {
    std::thread::Builder::new().name(name.into()).spawn(run).with_context(|| format!("cannot start the thread {name}"))
}

/// A thread whose signs of life are looked at until `run` ends by itself.
fn watched(pulse: &Arc<Pulse>, run: impl FnOnce(&Pulse) + Send + 'static) -> Result<JoinHandle<()>> {
    let pulse = Arc::clone(pulse);
    spawn(pulse.name(), move || {
        pulse.adopt();
        run(&pulse);
        pulse.end();
    })
}

/// The analysis thread: frames, and between them requests for history and other configurations.
fn analyse(
    mut analysis: Analysis,
    mut frames: FrameReceiver,
    mut pulls: mpsc::Receiver<Pull>,
    mut changes: mpsc::Receiver<Config>,
    pulse: &Pulse,
) {
    loop {
        pulse.beat();
        while let Ok(config) = changes.try_recv() {
            analysis.configure(config, Tick::now());
        }
        match frames.recv(Duration::from_secs(1)) {
            Received::Frame(frame) => {
                analysis.step(&frame);
                frames.give_back(frame);
            }
            Received::Nothing => {}
            Received::Closed => break,
        }
        while let Ok(pull) = pulls.try_recv() {
            analysis.pull(pull);
        }
    }
    analysis.finish();
}
