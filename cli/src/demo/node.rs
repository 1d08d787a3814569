//! One node: a simulated machine, and on it the analysis that an agent runs on a real one, with the same settings.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context as _, Result};
use tacit_agent::analysis::{Analysis, AnalysisStatus, Inputs, SharedDictionary};
use tacit_agent::clock::Tick;
use tacit_agent::config::{Config, Duration, ProfileName};
use tacit_agent::context::Board;
use tacit_agent::detect::event::Sender;
use tacit_agent::detect::rulebook::Watched;
use tacit_agent::outgoing::Outgoing;
use tacit_agent::source::{Dictionary, Frame};
use tacit_wire::message::{
    Birth, Clock, ConfigState, Context, ContextKind, Cost, EventKind, Listener, ModelInForce, NodeIdentity, Profile,
    Report, ResultBody, ResultMessage,
};
use tacit_wire::series::dictionary_hash;
use tacit_wire::topic::Up;
use tacit_wire::{BootId, EventId, NodeId, Num, WireError};
use tokio::sync::mpsc;

use super::gauges::{Gauges, MOST_SERIES};
use super::links::LinkBook;
use super::model::Shop;
use super::post::{Letter, Post};
use super::shop::{MACHINES, SITE};

/// Messages of one second: a few at most.
const OUTGOING: usize = 64;
/// Notes of one second.
const NOTES: usize = 8;
/// Distance of reports in seconds, as of a real agent.
const REPORT_EVERY: u64 = 900;
/// How long the machines have been up when the past begins.
const UP_MS: u64 = 9 * 86_400_000;
/// The change that has nothing to do with it.
const INNOCENT: &str = "openssl upgraded 3.0.16-1~deb12u1 → 3.0.17-1~deb12u2";

/// When a node does what, in seconds from the beginning of the past.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Schedule {
    /// Connections are told of minutes from here on.
    pub links_from: u64,
    /// A package is upgraded.
    pub upgraded_at: Option<u64>,
}

/// A node.
pub struct Node {
    machine: usize,
    schedule: Schedule,
    shop: Shop,
    gauges: Gauges,
    links: LinkBook,
    frame: Frame,
    config: Config,
    sender: Sender,
    dictionary: SharedDictionary,
    analysis: Analysis,
    status: Arc<Mutex<AnalysisStatus>>,
    outgoing: mpsc::Receiver<Outgoing>,
    happened: mpsc::Sender<Context>,
    start: Tick,
    second: u64,
    post: Post,
}

impl Node {
    /// The node of the machine of this number, whose past begins at `start_ms` (Unix milliseconds). What it learns is kept below
    /// `folder`.
    ///
    /// # Errors
    /// When the folder cannot be used.
    pub fn new(machine: usize, folder: &Path, start_ms: i64, schedule: Schedule) -> Result<Self> {
        let name: NodeId = MACHINES[machine].name.parse()?;
        let folder = folder.join(name.as_str());
        std::fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
        let mut config = Config::default();
        config.node.data_dir.clone_from(&folder);
        config.sampling.max_series = MOST_SERIES;
        config.publish.profile = ProfileName::Full;
        // Nothing is to survive.
        config.detect.snapshot_interval = Duration::from_secs(365 * 86_400);
        let sender = Sender { node: name.clone(), boot: BootId([machine as u8 + 1; 16]) };
        let start = Tick { mono_ms: UP_MS + 3_600_000 * machine as u64, wall_ms: start_ms };
        let (out, outgoing) = mpsc::channel(OUTGOING);
        let (happened, notes) = mpsc::channel(NOTES);
        let dictionary = SharedDictionary::default();
        let inputs = Inputs {
            sender: sender.clone(),
            config: config.clone(),
            dictionary: Arc::clone(&dictionary),
            watched: Watched::default(),
            happened: notes,
            board: Board::default(),
            models: mpsc::channel(1).1,
            booted: None,
            processes: None,
            out,
            live: mpsc::channel(1).0,
            watch: Arc::default(),
            injected: Arc::default(),
        };
        let analysis = Analysis::new(inputs, &folder, start);
        Ok(Self {
            machine,
            schedule,
            shop: Shop::default(),
            gauges: Gauges::new(machine),
            links: LinkBook::new(machine),
            frame: Frame::new(MOST_SERIES),
            config,
            sender,
            dictionary,
            status: analysis.status(),
            analysis,
            outgoing,
            happened,
            start,
            second: 0,
            post: Post::new(SITE.parse()?, name),
        })
    }

    /// The disk of the database begins to fail in this second.
    pub fn fail_at(&mut self, second: u64) {
        self.shop.fail_at(second);
    }

    /// All seconds up to this one, as fast as they can be computed, while `go_on` says so; what there is to send of them.
    ///
    /// # Errors
    /// When a message is beyond a bound of the protocol.
    pub fn learn(&mut self, until: u64, go_on: &(dyn Fn() -> bool + Sync)) -> Result<Vec<Letter>, WireError> {
        let mut letters = Vec::new();
        while self.second < until && (!self.second.is_multiple_of(60) || go_on()) {
            self.step(&mut letters)?;
        }
        Ok(letters)
    }

    /// The next second.
    ///
    /// # Errors
    /// When a message is beyond a bound of the protocol.
    pub fn step(&mut self, letters: &mut Vec<Letter>) -> Result<(), WireError> {
        let at = self.start.plus_ms(1000 * self.second);
        if self.schedule.upgraded_at == Some(self.second) {
            let note = Context { kind: ContextKind::Change, at_ms: at.wall_ms, text: INNOCENT.into(), unit: None };
            // There is room: it is the only one.
            let _ = self.happened.try_send(note);
        }
        let moment = self.shop.step();
        self.frame.reset(at);
        if let Some(dictionary) = self.gauges.sample(&moment, &mut self.frame) {
            *self.dictionary.lock().unwrap_or_else(PoisonError::into_inner) = dictionary;
        }
        self.analysis.step(&self.frame);
        while let Ok(message) = self.outgoing.try_recv() {
            if !is_of_the_start(&message) {
                self.post.letters(message, letters)?;
            }
        }
        let from_ms = self.start.plus_ms(1000 * self.schedule.links_from).wall_ms;
        let links = self.links.second(at, &moment, &self.sender).filter(|links| links.start_ms >= from_ms);
        if let Some(links) = links {
            self.post.letters(Outgoing::Links(Box::new(links)), letters)?;
        }
        self.second += 1;
        if self.second.is_multiple_of(REPORT_EVERY) {
            let report = self.report(at);
            self.post.letters(Outgoing::Report(Box::new(report)), letters)?;
        }
        Ok(())
    }

    /// Who it is, and what its series are called: what a collector hears of a node first.
    ///
    /// # Errors
    /// When a message is beyond a bound of the protocol.
    pub fn introduce(&self, now_ms: i64) -> Result<Vec<Letter>, WireError> {
        let dictionary = self.dictionary();
        let (epoch, series) = (dictionary.epoch, dictionary.defs());
        let names = ResultMessage {
            node: self.sender.node.clone(),
            command: EventId::default(),
            part: 1,
            last: true,
            body: Some(ResultBody::Dictionary { epoch, series }),
        };
        Ok(vec![self.post.letter(Up::Birth, &self.birth(&dictionary, now_ms))?, self.post.letter(Up::Result, &names)?])
    }

    /// How many series it has.
    #[must_use]
    pub fn series(&self) -> usize {
        self.dictionary().entries.len()
    }

    fn dictionary(&self) -> Arc<Dictionary> {
        Arc::clone(&self.dictionary.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn status(&self) -> AnalysisStatus {
        self.status.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn birth(&self, dictionary: &Dictionary, now_ms: i64) -> Birth {
        let machine = &MACHINES[self.machine];
        let defs = dictionary.defs();
        Birth {
            node: self.sender.node.clone(),
            boot: self.sender.boot,
            connection: 1,
            agent: env!("CARGO_PKG_VERSION").into(),
            clock: Clock {
                wall_ms: now_ms,
                mono_ms: self.start.plus_ms(1000 * self.second).mono_ms,
                synchronised: Some(true),
            },
            identity: NodeIdentity {
                hostname: machine.name.into(),
                os: "simulated (tacit demo)".into(),
                kernel: "simulated".into(),
                arch: "x86_64".into(),
                cpu: "simulated".into(),
                cores: machine.cores,
                memory: machine.memory,
                board: Some("DEMO: this machine does not exist".into()),
            },
            addresses: vec![machine.address.into()],
            listeners: machine
                .port
                .map(|port| Listener { address: "*".into(), port, owner: Some(machine.unit.into()) })
                .into_iter()
                .collect(),
            epoch: dictionary.epoch,
            series: defs.len() as u32,
            dictionary: dictionary_hash(&defs),
            models: self.models(),
            config: self.config.digest(),
            // Nobody answers for it: it cannot be asked for anything.
            capabilities: Vec::new(),
            outbox: Vec::new(),
            absent: Vec::new(),
            profile: Profile::Full,
            interval_ms: 1000,
            tags: Vec::new(),
        }
    }

    fn models(&self) -> Vec<ModelInForce> {
        let status = self.status();
        vec![ModelInForce {
            name: "host-detector".into(),
            version: env!("CARGO_PKG_VERSION").into(),
            digest: status.model.unwrap_or_default(),
            stage: status.stage,
            points: status.points,
        }]
    }

    fn report(&self, at: Tick) -> Report {
        let status = self.status();
        Report {
            head: self.sender.head(at),
            config_version: 0,
            config: self.config.digest(),
            config_state: ConfigState::Local,
            models: self.models(),
            // All nodes are in one process with the collector: what one of them costs is not known.
            cost: Cost {
                cpu: Num::NONE,
                sent: Num::NONE,
                disk: Num::NONE,
                inference: Num::quantised(status.inference),
                ..Cost::default()
            },
            sources: Vec::new(),
            gaps: Vec::new(),
            promise: status.promise,
            health: Vec::new(),
            absent: Vec::new(),
            series: self.series() as u32,
            uptime_s: self.second,
        }
    }
}

/// That machine and agent started is of the simulation's making, not of the shop.
fn is_of_the_start(message: &Outgoing) -> bool {
    let Outgoing::Event(event) = message else { return false };
    let start = |c: &Context| matches!(c.kind, ContextKind::Boot | ContextKind::AgentStart);
    event.kind == EventKind::Context && event.context.first().is_some_and(start)
}
