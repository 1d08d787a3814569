//! Does what the correlator says shall be done: each step is one change of the store, or a few.

use std::sync::Arc;

use tracing::info;

use super::Judge;
use crate::incident::correlator::{Step, alarms};
use crate::incident::group::GroupNo;
use crate::incident::life::{self, Joining, TACIT};
use crate::incident::{actions, mute};
use crate::ingest::Live;
use crate::store::{
    EventKey, EventRecord, Held, Incident, IncidentChange, IncidentId, IncidentQuery, IncidentState, StoreError,
};

/// Events that are marked, or join an incident, in one transaction; and those that move to another at once.
const JOINED: usize = 500;
const MOVED: usize = 10_000;
/// Tries to save an incident that somebody else changes at the same moment.
const TRIES: usize = 8;
/// Incidents that are read to find one that goes on.
const RECENT: usize = 200;

impl Judge {
    pub(super) async fn apply(&mut self, steps: Vec<Step>, now_ms: i64) -> Result<(), StoreError> {
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
                    let events = self.store.events_named(events).await?;
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
        // A later phase that came meanwhile is taken in the next round.
        self.store.mark_judged(events).await?;
        self.tell(keys);
        Ok(())
    }

    /// Events were marked as looked at: they are held no longer, and who listens is told.
    fn tell(&mut self, keys: Vec<EventKey>) {
        let held = Arc::make_mut(&mut self.held);
        for key in keys {
            held.remove(&key);
            let _ = self.ingest.live.send(Live::Event(key.0, key.1));
        }
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
        let read: Held = joining.iter().map(|j| (j.event.key(), j.event.revision)).collect();
        let saved = self.change_joined(found.id, Arc::new(read), |i| Some(life::join(&joining, i, now_ms))).await?;
        if saved.is_some() {
            self.tell(joining.iter().map(|j| j.event.key()).collect());
        } else {
            self.mark(joining.into_iter().map(|j| j.event).collect()).await?;
        }
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
        let mut events = self.store.events_named(keys.clone()).await?;
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
        if let Some(by) = mute::by_people(&events, &self.quiet, (&self.sites, &self.tags), now_ms) {
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
            let keys = self.store.keys_of_incident(from, MOVED).await?;
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
    pub(super) async fn whole(&self, mut id: IncidentId) -> Result<Option<Incident>, StoreError> {
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
    pub(super) async fn change(
        &self,
        id: IncidentId,
        change: impl Fn(&Incident) -> Option<IncidentChange>,
    ) -> Result<Option<Incident>, StoreError> {
        self.change_joined(id, Arc::default(), change).await
    }

    /// The same with events that join, which are marked as looked at as they were read.
    async fn change_joined(
        &self,
        id: IncidentId,
        read: Arc<Held>,
        change: impl Fn(&Incident) -> Option<IncidentChange>,
    ) -> Result<Option<Incident>, StoreError> {
        let mut stale = None;
        for _ in 0..TRIES {
            let Some(incident) = self.store.incident_head(id).await? else { return Ok(None) };
            let Some(change) = change(&incident) else { return Ok(None) };
            match self.save_joined(change, Arc::clone(&read)).await {
                Err(e @ StoreError::Stale(_)) => stale = Some(e),
                saved => return saved.map(Some),
            }
        }
        Err(stale.unwrap_or(StoreError::Stale(id)))
    }

    pub(super) async fn save(&self, change: IncidentChange) -> Result<Incident, StoreError> {
        self.save_joined(change, Arc::default()).await
    }

    async fn save_joined(&self, change: IncidentChange, read: Arc<Held>) -> Result<Incident, StoreError> {
        let is_new = change.incident.id == 0;
        let incident = self.store.save_joined(change, read).await?;
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
        if incident.state == IncidentState::Reopened && self.store.incident_lasts(incident.id).await? {
            let open = self.open_incidents().await?;
            self.hush(&incident, &open, now_ms).await?;
        }
        Ok(())
    }

    /// Saves what is looked at again in the next round anyway.
    pub(super) async fn save_quietly(&self, change: IncidentChange) -> Result<(), StoreError> {
        match self.save(change).await {
            Ok(_) | Err(StoreError::Stale(_)) => Ok(()),
            Err(e) => Err(e),
        }
    }
}

fn muted(change: &mut IncidentChange, by: String, now_ms: i64) {
    if let Some(muted) = life::mute(&change.incident, Some(by), now_ms) {
        change.incident = muted.incident;
        change.audit.extend(muted.audit);
    }
}
