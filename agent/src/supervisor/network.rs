//! The network thread: the session with the broker, reports, commands, and watchers that wait on sockets.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context as _, Result};
use tacit_wire::{SiteId, StreamId, Topic};
use tokio::sync::{mpsc, watch};
use tracing::warn;

use super::reload::limits;
use super::{Shared, report, spawn};
use crate::clock::Tick;
use crate::config::PublishConfig;
use crate::detect::event::Sender;
use crate::fleet::maintenance::MarkFile;
use crate::fleet::{Commands, Pull};
use crate::identity::floor::Floor;
use crate::identity::renew;
use crate::outbox::{Folder, Outbox};
use crate::outgoing::Outgoing;
use crate::publish::{Changed, Net, NetStatus, Parts, Tuning};
use crate::source::task::Task;
use crate::watch::Pulse;

/// Distance of signs of life. A thread that is blocked gives none.
const BEAT: Duration = Duration::from_secs(5);

/// What comes with another configuration, beside the session.
pub(super) struct More {
    /// To be run.
    pub(super) tasks: Vec<Task>,
    /// `[publish]`, when it has changed: the certificate to be renewed may be another one.
    pub(super) publish: Option<PublishConfig>,
}

/// What the network thread is made of.
pub(super) struct Network {
    pub(super) shared: Arc<Shared>,
    pub(super) sender: Sender,
    pub(super) folder: PathBuf,
    pub(super) out: mpsc::Sender<Outgoing>,
    pub(super) outgoing: mpsc::Receiver<Outgoing>,
    pub(super) live: mpsc::Receiver<tacit_wire::message::ResultBody>,
    pub(super) pulls: mpsc::Sender<Pull>,
    pub(super) watch_until: Arc<AtomicU64>,
    /// Tells the observer of connections that ends are to be announced again.
    pub(super) announce: Arc<AtomicBool>,
    pub(super) stopped: watch::Receiver<Option<&'static str>>,
    /// Watchers, probes and what else waits on sockets beside the session.
    pub(super) tasks: Vec<Task>,
    /// Other configurations.
    pub(super) changes: mpsc::Receiver<Changed>,
    /// What comes with them.
    pub(super) more: mpsc::Receiver<More>,
}

impl Network {
    /// Opens the outbox and starts the thread.
    pub(super) fn start(self) -> Result<JoinHandle<()>> {
        let config = self.shared.config();
        let disk = Folder::open(self.folder.clone())
            .with_context(|| format!("cannot use the outbox folder {}", self.folder.display()))?;
        let streams = [random_stream()?, random_stream()?];
        let outbox = Outbox::open(disk, limits(&config), streams, Tick::now())
            .with_context(|| format!("cannot open the outbox in {}", self.folder.display()))?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .context("cannot start the network runtime")?;
        let site: SiteId = config.node.site.clone();
        let pulse = Arc::clone(&self.shared.pulses.net);
        spawn(pulse.name(), move || {
            pulse.adopt();
            runtime.block_on(self.run(site, outbox));
            // A name that is being looked up for a probe is not waited for.
            runtime.shutdown_background();
            pulse.end();
        })
    }

    async fn run(self, site: SiteId, outbox: Outbox<Folder>) {
        let beats = tokio::spawn(beat(Arc::clone(&self.shared.pulses.net)));
        let config = self.shared.config();
        let (desired, wanted) = mpsc::channel(4);
        let (for_birth, sender) = (Arc::clone(&self.shared), self.sender.clone());
        let diagnose = {
            let shared = Arc::clone(&self.shared);
            Box::new(move || report::diagnosis(&shared.status()))
        };
        let commands = Commands::new(
            self.sender.node.clone(),
            Arc::clone(&self.shared.dictionary),
            self.watch_until,
            self.pulls,
            diagnose,
            MarkFile::new(&config.node.data_dir),
            self.announce,
        );
        let floor = Arc::new(Floor::open(&config.node.data_dir, Tick::now()));
        let more = tokio::spawn(take_more(
            self.more,
            config.publish.clone(),
            Arc::clone(&floor),
            Arc::clone(&self.shared.network),
        ));
        let net = Net::new(Parts {
            site,
            node: self.sender.node.clone(),
            boot: self.sender.boot,
            config: config.publish.clone(),
            tuning: Tuning::default(),
            outbox,
            outgoing: self.outgoing,
            live: self.live,
            commands,
            birth: Box::new(move || for_birth.birth(&sender)),
            desired,
            status: Arc::clone(&self.shared.network),
            floor,
        })
        .with_changes(self.changes);
        let report = tokio::spawn(report::run(Arc::clone(&self.shared), self.sender.clone(), self.out));
        let desired = tokio::spawn(refuse_desired(wanted));
        // They end with the runtime.
        self.tasks.into_iter().for_each(|task| drop(tokio::spawn(task)));
        net.run(self.stopped).await;
        [report, desired, more, beats].iter().for_each(tokio::task::JoinHandle::abort);
    }
}

/// Signs of life, as long as tasks are run at all.
async fn beat(pulse: Arc<Pulse>) {
    loop {
        pulse.beat();
        tokio::time::sleep(BEAT).await;
    }
}

/// Runs what comes with other configurations, and renews the certificate of the one in force.
async fn take_more(mut more: mpsc::Receiver<More>, publish: PublishConfig, floor: Arc<Floor>, status: Arc<NetStatus>) {
    let renew = |publish: &PublishConfig| renew::task(publish, &floor, &status).map(tokio::spawn);
    let mut renewal = renew(&publish);
    while let Some(More { tasks, publish }) = more.recv().await {
        // They end with the runtime.
        tasks.into_iter().for_each(|task| drop(tokio::spawn(task)));
        if let Some(publish) = publish {
            renewal.iter().for_each(tokio::task::JoinHandle::abort);
            status.set_certificate_trouble(None);
            renewal = renew(&publish);
        }
    }
}

fn random_stream() -> Result<StreamId> {
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes).map_err(|e| anyhow::anyhow!("the system gives no random numbers: {e}"))?;
    Ok(StreamId(bytes))
}

/// Desired configurations need a signature to be believed; this version verifies none and refuses all.
async fn refuse_desired(mut wanted: mpsc::Receiver<(Topic, Vec<u8>)>) {
    while let Some((topic, payload)) = wanted.recv().await {
        warn!(%topic, bytes = payload.len(), "A desired configuration is refused: this version takes the local file only.");
    }
}
