//! The task that tells: it looks at incidents, queues what is to be told, sends what waits, and keeps alive what others forget.
//!
//! ```text
//! incidents ─▶ look ─▶ queue (on disk, once for each state) ─▶ post ─▶ receivers, each on threads of its own
//!                                                               ▲          │ arrived, later, or never
//!                                                               └──────────┘
//! ```
//!
//! What is to be told is on disk before anything is sent, and what became of it is written after: a collector that dies in
//! between sends one message once more, under the same name, and loses none.

mod keep;
mod look;
mod post;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use tacit_wire::NodeId;
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{error, info};

use super::delivery::Outcome;
use super::desk::Desk;
use super::http::SendError;
use super::receiver::Receiver;
use super::telling::Told;
use crate::clock::now_ms;
use crate::ingest::{Ingest, Live};
use crate::store::{Incident, IncidentId, NodeTags, Notification, Store, StoreError};

/// Distance of looks at incidents when nothing is heard of them.
const TICK: Duration = Duration::from_secs(2);
/// An incident that changes often is looked at no more often than this.
const GATHER: Duration = Duration::from_millis(200);
/// How long the end waits for requests that are under way.
const GRACE: Duration = Duration::from_secs(2);

/// The task.
#[derive(Debug)]
pub struct Notifier {
    desk: Arc<Desk>,
    store: Arc<dyn Store>,
    ingest: Arc<Ingest>,
    /// What receivers were told of incidents that are open, or whose end is not told yet.
    told: BTreeMap<IncidentId, BTreeMap<String, Told>>,
    /// Open incidents, as last looked at.
    open: BTreeMap<IncidentId, Incident>,
    /// Whether what was told before the start is known.
    remembered: bool,
    /// Sites of nodes, as asked since [`Notifier::sites_ms`].
    sites: HashMap<NodeId, Option<String>>,
    sites_ms: i64,
    /// Tags of nodes, as asked since then or when an incident came.
    tags: NodeTags,
    /// Requests that are under way.
    sending: JoinSet<Done>,
    /// Receivers and incidents of which something is under way.
    under_way: BTreeSet<(String, IncidentId)>,
    /// Tries whose outcome the store did not take yet. They are not made again.
    unsettled: Vec<(Notification, Outcome)>,
    /// When something was kept alive at a receiver last, by its name.
    kept_ms: HashMap<String, i64>,
}

/// A request that ended.
#[derive(Debug)]
struct Done {
    receiver: Arc<Receiver>,
    /// What was told; nothing when something was kept alive.
    rows: Vec<Notification>,
    result: Result<String, SendError>,
}

impl Notifier {
    /// A notifier of what is in `store`, woken by `ingest`.
    #[must_use]
    pub fn new(desk: Arc<Desk>, store: Arc<dyn Store>, ingest: Arc<Ingest>) -> Self {
        Self {
            desk,
            store,
            ingest,
            told: BTreeMap::new(),
            open: BTreeMap::new(),
            remembered: false,
            sites: HashMap::new(),
            sites_ms: 0,
            tags: NodeTags::new(),
            sending: JoinSet::new(),
            under_way: BTreeSet::new(),
            unsettled: Vec::new(),
            kept_ms: HashMap::new(),
        }
    }

    /// Runs until it is told to stop. What waits then waits on disk.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut live = self.ingest.live.subscribe();
        let mut clock = interval(TICK);
        clock.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut failing, mut look) = (false, true);
        while !stop.is_cancelled() {
            match self.round(look).await {
                Ok(()) => failing = false,
                Err(e) if !failing => {
                    failing = true;
                    error!(error = %e, "Cannot look for what is to be told; trying again.");
                }
                Err(_) => {}
            }
            self.keep(!failing, now_ms());
            look = tokio::select! {
                () = stop.cancelled() => false,
                Some(done) = self.sending.join_next() => {
                    self.done(done).await;
                    false
                }
                () = changed(&mut live) => true,
                _ = clock.tick() => true,
            };
        }
        self.end().await;
    }

    async fn round(&mut self, look: bool) -> Result<(), StoreError> {
        self.settle_rest().await?;
        if look {
            self.look(now_ms()).await?;
        }
        self.post(now_ms()).await
    }

    /// What arrives now is known to have arrived, and not sent again by the next start.
    async fn end(&mut self) {
        let rest = async {
            while let Some(done) = self.sending.join_next().await {
                self.done(done).await;
            }
        };
        if timeout(GRACE, rest).await.is_err() {
            info!("Receivers did not answer in time; what they were told is told again by the next start.");
        }
    }
}

/// Returns when an incident changed, or so much happened that one may have.
async fn changed(live: &mut broadcast::Receiver<Live>) {
    loop {
        match live.recv().await {
            Ok(Live::Incident(_)) | Err(RecvError::Lagged(_)) => break,
            Ok(_) => {}
            // Nobody tells anything any more.
            Err(RecvError::Closed) => std::future::pending::<()>().await,
        }
    }
    sleep(GATHER).await;
}
