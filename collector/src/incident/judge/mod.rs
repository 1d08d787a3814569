//! Looks at events that nobody has looked at, and keeps incidents up to date.
//!
//! ```text
//! round: take → correlator → steps (the store) → sweep: over, muted, heard → rank
//! ```

mod steps;
mod sweep;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use tacit_wire::message::Phase;
use tacit_wire::{NodeId, SiteId};
use tokio_util::sync::CancellationToken;
use tracing::error;

use super::causes::Neighbours;
use super::correlator::Correlator;
use super::quiet::Quiet;
use crate::clock::now_ms;
use crate::ingest::Ingest;
use crate::map::Map;
use crate::store::{EventKey, EventQuery, Held, IncidentId, NodeTags, Store, StoreError};
use sweep::Ranked;

/// Events taken at once, and how often in one round: what is taken has to be looked at, whatever comes meanwhile.
const BATCH: usize = 1024;
const BATCHES: usize = 8;
/// Distance of rounds when nothing wakes it.
const ROUND: Duration = Duration::from_millis(500);
/// What comes within so long is looked at together; when so many events are held already, within so long: there they wait for
/// their turn anyway, and each look costs the same.
const MOMENT: Duration = Duration::from_millis(100);
const STORM: usize = 100;
const STORM_MOMENT: Duration = Duration::from_millis(500);
/// Distance of looks at incidents that may be over, muted or heard again.
const SWEEP_MS: i64 = 5000;
/// Distance of looks at the map and the inventory, and when something was named that they do not know yet.
const SCENE_MS: i64 = 30_000;
const STALE_MS: i64 = 1000;
/// How far back the map is asked who talks to whom.
const PAIRS_MS: i64 = 2 * 3_600_000;
/// How far back events are read at a start: habits of sources, and what comes and goes; and how many.
const RECALL_MS: i64 = 7 * 86_400_000;
const RECALLED: usize = 50_000;

/// Runs the logic over stored events.
#[derive(Debug)]
pub struct Judge {
    store: Arc<dyn Store>,
    ingest: Arc<Ingest>,
    map: Arc<Map>,
    correlator: Correlator,
    neighbours: Neighbours,
    sites: HashMap<NodeId, SiteId>,
    tags: NodeTags,
    quiet: Quiet,
    /// The newest phases that are held, so that they are not taken twice.
    held: Arc<Held>,
    /// Incidents that are to be ranked, with when something last happened to them.
    dirty: BTreeMap<IncidentId, i64>,
    ranked: HashMap<IncidentId, Ranked>,
    recalled: bool,
    looked_ms: Option<i64>,
    swept_ms: Option<i64>,
}

impl Judge {
    /// A judge of what `ingest` stores.
    #[must_use]
    pub fn new(store: Arc<dyn Store>, ingest: Arc<Ingest>, map: Arc<Map>) -> Self {
        Self {
            store,
            ingest,
            map,
            correlator: Correlator::default(),
            neighbours: Neighbours::default(),
            sites: HashMap::new(),
            tags: NodeTags::new(),
            quiet: Quiet::default(),
            held: Arc::default(),
            dirty: BTreeMap::new(),
            ranked: HashMap::new(),
            recalled: false,
            looked_ms: None,
            swept_ms: None,
        }
    }

    /// Runs until it is told to stop.
    pub async fn run(mut self, stop: CancellationToken) {
        let ingest = Arc::clone(&self.ingest);
        let mut failing = false;
        while !stop.is_cancelled() {
            match self.round(now_ms()).await {
                Ok(()) => failing = false,
                Err(e) => {
                    if !failing {
                        error!(error = %e, "Cannot judge events; trying again.");
                    }
                    failing = true;
                }
            }
            tokio::select! {
                () = stop.cancelled() => {}
                // In a storm one look takes what came in a moment.
                () = ingest.events_waiting.notified() => tokio::time::sleep(self.moment()).await,
                () = tokio::time::sleep(ROUND) => {}
            }
        }
    }

    /// How long is waited for what else comes.
    fn moment(&self) -> Duration {
        if self.held.len() < STORM { MOMENT } else { STORM_MOMENT }
    }

    /// What was half done is not known any more: all is read again from the store.
    fn forget(&mut self) {
        self.correlator = Correlator::default();
        self.held = Arc::default();
        self.recalled = false;
    }

    /// Looks at waiting events, then at incidents that may be over, muted, or have another cause by now.
    ///
    /// # Errors
    /// When the database fails; what was not done is done in the next round.
    pub async fn round(&mut self, now_ms: i64) -> Result<(), StoreError> {
        let judged = self.judge(now_ms).await;
        if judged.is_err() {
            self.forget();
        }
        judged?;
        if is_due(self.swept_ms, SWEEP_MS, now_ms) {
            self.swept_ms = Some(now_ms);
            self.sweep(now_ms).await?;
        }
        self.rank(now_ms).await
    }

    /// Takes events that wait, and does what follows from those that were held long enough.
    async fn judge(&mut self, now_ms: i64) -> Result<(), StoreError> {
        if !self.recalled {
            self.listen(now_ms).await?;
            self.recall(now_ms).await?;
            self.recalled = true;
        }
        self.take(now_ms).await?;
        let is_stale = self.correlator.scene.is_stale() && is_due(self.looked_ms, STALE_MS, now_ms);
        if is_stale || is_due(self.looked_ms, SCENE_MS, now_ms) {
            self.look(now_ms).await?;
        }
        loop {
            let steps = self.correlator.release(now_ms);
            if steps.is_empty() {
                break;
            }
            self.apply(steps, now_ms).await?;
        }
        let steps = self.correlator.advance(now_ms);
        self.apply(steps, now_ms).await
    }

    async fn take(&mut self, now_ms: i64) -> Result<(), StoreError> {
        for _ in 0..BATCHES {
            let waiting = self.store.unjudged_beside(Arc::clone(&self.held), BATCH).await?;
            let (mut steps, mut fresh) = (Vec::new(), 0);
            for event in waiting {
                if Arc::make_mut(&mut self.held).insert(event.key(), event.revision) != Some(event.revision) {
                    fresh += 1;
                    steps.extend(self.correlator.take(event, now_ms));
                }
            }
            self.apply(steps, now_ms).await?;
            if fresh < BATCH {
                break;
            }
        }
        Ok(())
    }

    /// Looks who is related to whom now.
    async fn look(&mut self, now_ms: i64) -> Result<(), StoreError> {
        self.looked_ms = Some(now_ms);
        let pairs = self.map.pairs(now_ms.saturating_sub(PAIRS_MS)).await?;
        let claims = self.store.address_claims(now_ms).await?;
        for claim in &claims {
            self.sites.insert(claim.node.clone(), claim.site.clone());
            self.correlator.watched_since(claim.node.clone(), claim.since);
        }
        self.tags = self.store.node_tags().await?;
        self.correlator.scene.renew(&pairs, &claims, &self.tags);
        self.neighbours = Neighbours::new(&pairs);
        Ok(())
    }

    /// Reads the last days' events again, so that this collector knows what the one before knew.
    async fn recall(&mut self, now_ms: i64) -> Result<(), StoreError> {
        let query = EventQuery {
            since_ms: Some(now_ms.saturating_sub(RECALL_MS)),
            lean: true,
            limit: Some(RECALLED),
            ..EventQuery::default()
        };
        let unjudged: HashSet<EventKey> = self.store.unjudged_keys(RECALLED).await?.into_iter().collect();
        let mut events = self.store.events(query).await?;
        events.reverse();
        // What a later phase waits of was decided before: it is known, and its phase comes with the others.
        events.retain(|e| !unjudged.contains(&e.key()) || e.incident.is_some() || e.digest.is_some());
        for event in &mut events {
            if unjudged.contains(&event.key()) {
                event.event.phase = Phase::Update;
            }
            self.correlator.locate(event);
        }
        self.look(now_ms).await?;
        for event in events {
            let steps = self.correlator.recall(&event, now_ms);
            self.apply(steps, now_ms).await?;
        }
        Ok(())
    }
}

fn is_due(last_ms: Option<i64>, every_ms: i64, now_ms: i64) -> bool {
    last_ms.is_none_or(|at| now_ms.abs_diff(at) >= every_ms.unsigned_abs())
}
