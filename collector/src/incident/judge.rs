//! Looks at events that nobody has looked at, and keeps incidents up to date.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tacit_wire::{NodeId, SiteId};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use super::causes::{self, Neighbours};
use super::correlator::{Correlator, Step, alarms};
use super::group::GroupNo;
use super::life::{self, Joining, TACIT};
use super::quiet::{MutedBy, Quiet};
use super::{actions, mute};
use crate::cause::Ranking;
use crate::clock::now_ms;
use crate::ingest::{Ingest, Live};
use crate::map::Map;
use crate::store::{
    EventKey, EventQuery, EventRecord, Held, Incident, IncidentChange, IncidentDetail, IncidentId, IncidentQuery,
    IncidentState, Store, StoreError,
};

/// Events taken at once, and how often in one round: what is taken has to be looked at, whatever comes meanwhile.
const BATCH: usize = 1024;
const BATCHES: usize = 8;
/// Events that are marked, or join an incident, in one transaction; and those that move to another at once.
const JOINED: usize = 500;
const MOVED: usize = 10_000;
/// Distance of rounds when nothing wakes it.
const ROUND: Duration = Duration::from_millis(500);
/// What comes within so long is looked at together.
const MOMENT: Duration = Duration::from_millis(100);
/// Distance of looks at incidents that may be over, muted or heard again.
const SWEEP_MS: i64 = 5000;
/// Distance of looks at the map and the inventory, and when something was named that they do not know yet.
const SCENE_MS: i64 = 30_000;
const STALE_MS: i64 = 1000;
/// How far back the map is asked who talks to whom.
const PAIRS_MS: i64 = 2 * 3_600_000;
/// Least distance of rankings of one incident.
const RANK_MS: i64 = 2000;
/// A ranking is followed by so many times its own length without one.
const RANK_RESTS: i64 = 40;
/// An open incident is ranked again this often, for edges are known minutes later only …
const RERANK_MS: i64 = 30_000;
/// … and for so long.
const RERANKED_MS: i64 = 30 * 60_000;
/// Incidents ranked in one round.
const RANKED: usize = 8;
/// How far back events are read at a start: habits of sources, and what comes and goes; and how many.
const RECALL_MS: i64 = 7 * 86_400_000;
const RECALLED: usize = 50_000;
/// Tries to save an incident that somebody else changes at the same moment.
const TRIES: usize = 8;
/// Incidents that are read to find one that goes on.
const RECENT: usize = 200;

/// What is remembered of an incident's ranking.
#[derive(Debug)]
struct Ranked {
    at_ms: i64,
    /// It is not ranked again before that long: a large incident takes longer, and shall not take the processor.
    rest_ms: i64,
    ranking: Ranking,
}

/// Runs the logic over stored events.
#[derive(Debug)]
pub struct Judge {
    store: Arc<dyn Store>,
    ingest: Arc<Ingest>,
    map: Arc<Map>,
    correlator: Correlator,
    neighbours: Neighbours,
    sites: HashMap<NodeId, SiteId>,
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
                () = ingest.events_waiting.notified() => tokio::time::sleep(MOMENT).await,
                () = tokio::time::sleep(ROUND) => {}
            }
        }
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

    /// Reads what mutes now.
    async fn listen(&mut self, now_ms: i64) -> Result<(), StoreError> {
        self.quiet = Quiet::new(self.store.silences(Some(now_ms)).await?, self.store.windows(Some(now_ms)).await?);
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
        self.correlator.scene.renew(&pairs, &claims);
        self.neighbours = Neighbours::new(&pairs);
        Ok(())
    }

    /// Reads the last days' events again, so that this collector knows what the one before knew.
    async fn recall(&mut self, now_ms: i64) -> Result<(), StoreError> {
        let query = EventQuery {
            since_ms: Some(now_ms.saturating_sub(RECALL_MS)),
            limit: Some(RECALLED),
            ..EventQuery::default()
        };
        let waiting = self.store.unjudged_events(RECALLED).await?;
        let unjudged: HashSet<EventKey> = waiting.iter().map(EventRecord::key).collect();
        let mut events = self.store.events(query).await?;
        events.reverse();
        // What a later phase waits of was decided before: it is known, and its phase comes with the others.
        events.retain(|e| !unjudged.contains(&e.key()) || e.incident.is_some() || e.digest.is_some());
        for event in &mut events {
            if unjudged.contains(&event.key()) {
                event.event.phase = tacit_wire::message::Phase::Update;
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

    async fn apply(&mut self, steps: Vec<Step>, now_ms: i64) -> Result<(), StoreError> {
        let mut steps = steps.into_iter().peekable();
        while let Some(step) = steps.next() {
            match step {
                Step::Wait(event) => {
                    let mut waiting = vec![*event];
                    while let Some(Step::Wait(event)) =
                        steps.next_if(|next| waiting.len() < JOINED && matches!(next, Step::Wait(_)))
                    {
                        waiting.push(*event);
                    }
                    self.mark(waiting).await?;
                }
                Step::Join { event, incident, group, why, unstable } => {
                    let mut joining = vec![Joining { event: *event, why, unstable }];
                    while let Some(Step::Join { event, why, unstable, .. }) = steps.next_if(|next| {
                        joining.len() < JOINED && matches!(next, Step::Join { group: g, .. } if *g == group)
                    }) {
                        joining.push(Joining { event: *event, why, unstable });
                    }
                    self.join(joining, incident, group, now_ms).await?;
                }
                Step::Renew { event, back } => self.renew(*event, back, now_ms).await?,
                Step::Open { group, events, why, parent } => self.open(group, events, &why, parent, now_ms).await?,
                Step::Merge { from, into } => self.merge(from, into, now_ms).await?,
                Step::Adopt { events, incident } => {
                    let events = self.read(&events).await?;
                    self.adopt(events, incident, "it is related to what joined", now_ms).await?;
                }
                Step::Digest { events, why } => self.store.mark_digest(events, why).await?,
                Step::Steady(incident) => {
                    self.change(incident, |i| life::steady(i, now_ms)).await?;
                }
            }
        }
        Ok(())
    }

    /// Marks events as looked at and tells who listens.
    async fn mark(&mut self, events: Vec<EventRecord>) -> Result<(), StoreError> {
        let keys: Vec<EventKey> = events.iter().map(EventRecord::key).collect();
        for event in &events {
            Arc::make_mut(&mut self.held).remove(&event.key());
        }
        // A later phase that came meanwhile is taken in the next round.
        self.store.mark_judged(events).await?;
        for (node, number) in keys {
            let _ = self.ingest.live.send(Live::Event(node, number));
        }
        Ok(())
    }

    async fn read(&self, keys: &[EventKey]) -> Result<Vec<EventRecord>, StoreError> {
        let mut events = Vec::with_capacity(keys.len());
        for (node, number) in keys {
            events.extend(self.store.event(node, *number).await?);
        }
        Ok(events)
    }

    async fn join(
        &mut self,
        joining: Vec<Joining>,
        incident: IncidentId,
        group: GroupNo,
        now_ms: i64,
    ) -> Result<(), StoreError> {
        // The group may be another incident by now.
        let incident = self.correlator.incident(group).unwrap_or(incident);
        let found = self.whole(incident).await?;
        let is_over = |i: &Incident| i.resolved_ms.is_some_and(|at| now_ms.saturating_sub(at) > life::REOPEN_MS);
        let goes_on = found.filter(|i| !is_over(i) || !joining.iter().any(|j| life::is_heard(&j.event)));
        let Some(found) = goes_on else {
            // It ended for good while its group still took events: what comes now is another one.
            let events = joining.iter().map(|j| j.event.key()).collect();
            self.mark(joining.into_iter().map(|j| j.event).collect()).await?;
            let why = format!("it goes on after incident {incident} was over");
            return self.open(group, events, &why, None, now_ms).await;
        };
        if found.id != incident {
            self.correlator.is(group, found.id);
        }
        let saved = self.change(found.id, |i| Some(life::join(&joining, i, now_ms))).await?;
        // Only now: whoever dies before it finds them again.
        self.mark(joining.into_iter().map(|j| j.event).collect()).await?;
        self.touch(saved, now_ms).await
    }

    async fn adopt(
        &mut self,
        events: Vec<EventRecord>,
        incident: IncidentId,
        why: &str,
        now_ms: i64,
    ) -> Result<(), StoreError> {
        let Some(found) = self.whole(incident).await? else { return Ok(()) };
        let saved = self.change(found.id, |i| Some(life::adopt(events.clone(), i, why, now_ms))).await?;
        self.touch(saved, now_ms).await
    }

    async fn renew(&mut self, event: EventRecord, back: bool, now_ms: i64) -> Result<(), StoreError> {
        let (node, number) = event.key();
        Arc::make_mut(&mut self.held).remove(&event.key());
        let mut changed = None;
        if let Some(id) = event.incident {
            match self.change(id, |i| life::renew(&event, back, i, now_ms)).await {
                // A later phase came meanwhile, or somebody else has looked: it is taken in the next round.
                Err(StoreError::Stale(_)) => return Ok(()),
                saved => changed = saved?,
            }
        }
        if changed.is_none() {
            self.store.mark_judged(vec![event]).await?;
        }
        let _ = self.ingest.live.send(Live::Event(node, number));
        self.touch(changed, now_ms).await
    }

    /// A group is an incident: one that goes on, or a new one.
    async fn open(
        &mut self,
        group: GroupNo,
        keys: Vec<EventKey>,
        why: &str,
        parent: Option<IncidentId>,
        now_ms: i64,
    ) -> Result<(), StoreError> {
        let mut events = self.read(&keys).await?;
        events.retain(|e| e.incident.is_none());
        if !events.iter().any(alarms) {
            return self.store.mark_digest(keys, "nothing in it alarms".into()).await;
        }
        let mut recent = self.open_incidents().await?;
        let newest = IncidentQuery { limit: Some(RECENT), ..IncidentQuery::default() };
        recent.extend(self.store.incidents(newest).await?.into_iter().filter(|i| !i.is_open()));
        let again = life::same_again(&recent, &events, now_ms).filter(|_| parent.is_none()).map(|i| i.id);
        if let Some(id) = again {
            self.correlator.is(group, id);
            return self.adopt(events, id, "the same, or the same machine, again", now_ms).await;
        }
        let Some(mut change) = life::open(&events, why, parent, now_ms) else { return Ok(()) };
        if let Some(by) = mute::by_people(&events, &self.quiet, &self.sites, now_ms) {
            self.note_use(&by, now_ms).await?;
            muted(&mut change, by.to_string(), now_ms);
        } else if let Some(by) = mute::by_cause(&change.incident, &recent, &self.correlator.scene) {
            muted(&mut change, format!("incident {}", by.id), now_ms);
        }
        let saved = self.save(change).await?;
        self.correlator.is(group, saved.id);
        self.touch(Some(saved), now_ms).await
    }

    async fn merge(&mut self, from: IncidentId, into: IncidentId, now_ms: i64) -> Result<(), StoreError> {
        let mut taken = None;
        for _ in 0..TRIES {
            let (Some(part), Some(whole)) = (self.store.incident_head(from).await?, self.whole(into).await?) else {
                return Ok(());
            };
            let query = EventQuery { incident: Some(from), limit: Some(MOVED), ..EventQuery::default() };
            let keys: Vec<EventKey> = self.store.events(query).await?.iter().map(EventRecord::key).collect();
            let count = keys.len();
            let Ok(merge) = actions::merge(&part, &whole, keys, TACIT, None, now_ms) else { return Ok(()) };
            // What came between the two writes comes along.
            if taken.is_none() || count > 0 {
                match self.save(merge.into).await {
                    Err(StoreError::Stale(_)) => continue,
                    saved => taken = Some(saved?),
                }
                if count == MOVED {
                    continue;
                }
            }
            match self.save(merge.from).await {
                Err(StoreError::Stale(_)) => continue,
                saved => saved?,
            };
            return self.touch(taken, now_ms).await;
        }
        Err(StoreError::Stale(from))
    }

    /// An incident, or the one that it became part of.
    async fn whole(&self, mut id: IncidentId) -> Result<Option<Incident>, StoreError> {
        for _ in 0..TRIES {
            let Some(incident) = self.store.incident_head(id).await? else { return Ok(None) };
            match incident.merged_into {
                Some(into) => id = into,
                None => return Ok(Some(incident)),
            }
        }
        Ok(None)
    }

    /// Changes an incident as it is now, however often others change it at the same moment.
    async fn change(
        &self,
        id: IncidentId,
        change: impl Fn(&Incident) -> Option<IncidentChange>,
    ) -> Result<Option<Incident>, StoreError> {
        let mut stale = None;
        for _ in 0..TRIES {
            let Some(incident) = self.store.incident_head(id).await? else { return Ok(None) };
            let Some(change) = change(&incident) else { return Ok(None) };
            match self.save(change).await {
                Err(e @ StoreError::Stale(_)) => stale = Some(e),
                saved => return saved.map(Some),
            }
        }
        Err(stale.unwrap_or(StoreError::Stale(id)))
    }

    async fn save(&self, change: IncidentChange) -> Result<Incident, StoreError> {
        let is_new = change.incident.id == 0;
        let incident = self.store.save_incident(change).await?;
        if is_new || incident.state == IncidentState::Reopened {
            info!(id = incident.id, state = ?incident.state, "Incident: {}", incident.title);
        }
        let _ = self.ingest.live.send(Live::Incident(Box::new(incident.clone())));
        Ok(incident)
    }

    /// Something happened to an incident: its causes are to be ranked, and one that came back may be muted.
    async fn touch(&mut self, incident: Option<Incident>, now_ms: i64) -> Result<(), StoreError> {
        let Some(incident) = incident.filter(Incident::is_open) else { return Ok(()) };
        self.dirty.insert(incident.id, now_ms);
        if incident.state == IncidentState::Reopened
            && let Some(detail) = self.store.incident(incident.id).await?
        {
            let open = self.open_incidents().await?;
            self.hush(&detail, &open, now_ms).await?;
        }
        Ok(())
    }

    async fn open_incidents(&self) -> Result<Vec<Incident>, StoreError> {
        let open = IncidentQuery { open: Some(true), limit: Some(10_000), ..IncidentQuery::default() };
        self.store.incidents(open).await
    }

    /// Looks at open incidents: over, muted, heard again.
    async fn sweep(&mut self, now_ms: i64) -> Result<(), StoreError> {
        self.listen(now_ms).await?;
        let open = self.open_incidents().await?;
        let ids: BTreeSet<IncidentId> = open.iter().map(|i| i.id).collect();
        self.ranked.retain(|id, _| ids.contains(id));
        for incident in &open {
            let young = now_ms.saturating_sub(incident.opened_ms) <= RERANKED_MS;
            let rested = self.ranked.get(&incident.id).is_none_or(|r| now_ms.saturating_sub(r.at_ms) >= RERANK_MS);
            if young && rested {
                self.dirty.entry(incident.id).or_insert(now_ms);
            }
            let Some(detail) = self.store.incident(incident.id).await? else { continue };
            if let Some(change) = life::ended(&detail, now_ms) {
                self.save_quietly(change).await?;
                continue;
            }
            self.hush(&detail, &open, now_ms).await?;
        }
        Ok(())
    }

    /// Mutes an incident, or lets it be heard again.
    async fn hush(&mut self, detail: &IncidentDetail, open: &[Incident], now_ms: i64) -> Result<(), StoreError> {
        let incident = &detail.incident;
        let lasts = detail.events.iter().any(life::is_heard);
        if !lasts {
            // What ended stays as it is until it is over.
            return Ok(());
        }
        let by_people = mute::by_people(&detail.events, &self.quiet, &self.sites, now_ms);
        if let Some(by) = &by_people {
            self.note_use(by, now_ms).await?;
        }
        let is_muted = incident.state == IncidentState::Muted;
        let by_cause = || {
            let by = |other: &Incident| format!("incident {}", other.id);
            let held = incident.muted_by.as_deref().filter(|_| is_muted);
            // What muted it once does so while it is open itself, whatever is ranked then.
            let still = held.and_then(|held| open.iter().map(by).find(|name| name == held));
            still.or_else(|| mute::by_cause(incident, open, &self.correlator.scene).map(by))
        };
        let by = by_people.map(|by| by.to_string()).or_else(by_cause);
        match life::mute(incident, by, now_ms) {
            Some(change) => self.save_quietly(change).await,
            None => Ok(()),
        }
    }

    async fn note_use(&self, by: &MutedBy, now_ms: i64) -> Result<(), StoreError> {
        match by {
            MutedBy::Window(id, _) => self.store.window_used(*id, now_ms).await,
            MutedBy::Silence(_) => Ok(()),
        }
    }

    /// Saves what is looked at again in the next round anyway.
    async fn save_quietly(&self, change: IncidentChange) -> Result<(), StoreError> {
        match self.save(change).await {
            Ok(_) | Err(StoreError::Stale(_)) => Ok(()),
            Err(e) => Err(e),
        }
    }

    /// Ranks the causes of incidents to which something happened.
    async fn rank(&mut self, now_ms: i64) -> Result<(), StoreError> {
        let rested = |id: &IncidentId| self.ranked.get(id).is_none_or(|r| now_ms.saturating_sub(r.at_ms) >= r.rest_ms);
        let mut due: Vec<(i64, IncidentId)> =
            self.dirty.iter().filter(|(id, _)| rested(id)).map(|(id, at)| (*at, *id)).collect();
        due.sort_unstable();
        for (_, id) in due.into_iter().take(RANKED) {
            self.dirty.remove(&id);
            let began = Instant::now();
            let Some(detail) = self.store.incident(id).await? else { continue };
            if !detail.incident.is_open() {
                continue;
            }
            let ranked = causes::ranked(&detail, &self.neighbours, &self.store, &self.map, now_ms).await;
            let stored = match ranked {
                Ok(stored) => stored,
                Err(e) => {
                    warn!(incident = id, error = %e, "Cannot rank the causes of an incident; trying again later.");
                    continue;
                }
            };
            let head = causes::head(&stored.ranking);
            let title = head.as_ref().and_then(|h| causes::title(h, &detail.events));
            let ranking = stored.ranking.clone();
            if self.ranked.get(&id).is_none_or(|before| !causes::same(&before.ranking, &ranking)) {
                self.store.save_ranking(stored).await?;
            }
            let took_ms = i64::try_from(began.elapsed().as_millis()).unwrap_or(RERANK_MS);
            let rest_ms = took_ms.saturating_mul(RANK_RESTS).clamp(RANK_MS, RERANK_MS);
            self.ranked.insert(id, Ranked { at_ms: now_ms, rest_ms, ranking });
            self.change(id, |i| life::blame(i, head.clone(), title.clone(), now_ms)).await?;
        }
        Ok(())
    }
}

fn is_due(last_ms: Option<i64>, every_ms: i64, now_ms: i64) -> bool {
    last_ms.is_none_or(|at| now_ms.abs_diff(at) >= every_ms.unsigned_abs())
}

fn muted(change: &mut IncidentChange, by: String, now_ms: i64) {
    if let Some(muted) = life::mute(&change.incident, Some(by), now_ms) {
        change.incident = muted.incident;
        change.audit.extend(muted.audit);
    }
}
