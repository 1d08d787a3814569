//! The network thread: the session with the broker, reports, commands, and watchers that wait on sockets.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::thread::JoinHandle;

use anyhow::{Context as _, Result};
use tacit_wire::{SiteId, StreamId, Topic};
use tokio::sync::{mpsc, watch};
use tracing::warn;

use super::{Shared, report, spawn};
use crate::clock::Tick;
use crate::detect::event::Sender;
use crate::fleet::maintenance::MarkFile;
use crate::fleet::{Commands, Pull};
use crate::outbox::{Folder, Limits, Outbox};
use crate::outgoing::Outgoing;
use crate::publish::{Net, Parts, Tuning};
use crate::source::task::Task;

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
}

impl Network {
    /// Opens the outbox and starts the thread.
    pub(super) fn start(self) -> Result<JoinHandle<()>> {
        let config = &self.shared.config;
        let limits = Limits::new(config.outbox.max_bytes.bytes(), config.outbox.max_age.as_millis());
        let disk = Folder::open(self.folder.clone())
            .with_context(|| format!("cannot use the outbox folder {}", self.folder.display()))?;
        let streams = [random_stream()?, random_stream()?];
        let outbox = Outbox::open(disk, limits, streams, Tick::now())
            .with_context(|| format!("cannot open the outbox in {}", self.folder.display()))?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .context("cannot start the network runtime")?;
        let site: SiteId = config.node.site.clone();
        spawn("tacit-net", move || {
            runtime.block_on(self.run(site, outbox));
            // A name that is being looked up for a probe is not waited for.
            runtime.shutdown_background();
        })
    }

    async fn run(self, site: SiteId, outbox: Outbox<Folder>) {
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
            MarkFile::new(&self.shared.config.node.data_dir),
            self.announce,
        );
        let net = Net::new(Parts {
            site,
            node: self.sender.node.clone(),
            boot: self.sender.boot,
            config: self.shared.config.publish.clone(),
            tuning: Tuning::default(),
            outbox,
            outgoing: self.outgoing,
            live: self.live,
            commands,
            birth: Box::new(move || for_birth.birth(&sender)),
            desired,
            status: Arc::clone(&self.shared.network),
        });
        let report = tokio::spawn(report::run(Arc::clone(&self.shared), self.sender.clone(), self.out));
        let desired = tokio::spawn(refuse_desired(wanted));
        // They end with the runtime.
        self.tasks.into_iter().for_each(|task| drop(tokio::spawn(task)));
        net.run(self.stopped).await;
        report.abort();
        desired.abort();
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
