//! From events to incidents: grouping per node by time, and the life cycle.
//!
//! [`logic`] is pure and gets its `now`; [`Judge`] runs it over stored events that nobody has looked at yet, so a collector
//! that dies in between goes on there and opens nothing twice.

pub mod actions;
pub mod group;
pub mod logic;

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tracing::{error, info};

use crate::clock::now_ms;
use crate::ingest::{Ingest, Live};
use crate::store::{EventRecord, Incident, IncidentChange, IncidentQuery, IncidentState, Store, StoreError};
use logic::Decision;

/// Events looked at in one round.
const BATCH: usize = 256;
/// Distance of looks at incidents whose events have all ended.
const SWEEP: Duration = Duration::from_secs(5);

/// Runs the logic over stored events.
#[derive(Debug)]
pub struct Judge {
    store: Arc<dyn Store>,
    ingest: Arc<Ingest>,
}

impl Judge {
    /// A judge of what `ingest` stores.
    #[must_use]
    pub fn new(store: Arc<dyn Store>, ingest: Arc<Ingest>) -> Self {
        Self { store, ingest }
    }

    /// Runs until it is told to stop.
    pub async fn run(self, stop: CancellationToken) {
        let mut failing = false;
        while !stop.is_cancelled() {
            match self.round().await {
                Ok(()) => failing = false,
                Err(e) if !failing => {
                    failing = true;
                    error!(error = %e, "Cannot judge events; trying again.");
                }
                Err(_) => {}
            }
            tokio::select! {
                () = stop.cancelled() => {}
                () = self.ingest.events_waiting.notified() => {}
                () = tokio::time::sleep(SWEEP) => {}
            }
        }
    }

    /// Looks at all waiting events, then at incidents that may be over.
    ///
    /// # Errors
    /// When the database fails; what was not done is done in the next round.
    pub async fn round(&self) -> Result<(), StoreError> {
        let mut again = true;
        while again {
            let waiting = self.store.unjudged_events(BATCH).await?;
            again = waiting.len() == BATCH;
            for event in waiting {
                again |= !self.judge(event).await?;
            }
        }
        self.resolve_ended().await
    }

    /// Looks at an event; says whether that counts, or the world has moved on meanwhile: a person changed the incident, a
    /// later phase of the event came, or somebody else looked at it.
    async fn judge(&self, event: EventRecord) -> Result<bool, StoreError> {
        let recent =
            IncidentQuery { node: Some(event.event.head.node.clone()), limit: Some(20), ..IncidentQuery::default() };
        let incidents = self.store.incidents(recent).await?;
        let (node, number) = (event.event.head.node.clone(), event.event.event);
        let counts = match logic::decide(&event, &incidents, now_ms()) {
            Decision::Nothing => self.store.mark_judged(&event).await?,
            Decision::Change(change) => match self.save(*change).await {
                Err(StoreError::Stale(_)) => false,
                saved => saved.map(|_| true)?,
            },
        };
        if counts {
            let _ = self.ingest.live.send(Live::Event(node, number));
        }
        Ok(counts)
    }

    async fn resolve_ended(&self) -> Result<(), StoreError> {
        let open = IncidentQuery { open: Some(true), limit: Some(10_000), ..IncidentQuery::default() };
        for incident in self.store.incidents(open).await? {
            let Some(detail) = self.store.incident(incident.id).await? else { continue };
            if let Some(change) = logic::ended(&detail, now_ms()) {
                match self.save(change).await {
                    // It is looked at again in the next round.
                    Ok(_) | Err(StoreError::Stale(_)) => {}
                    Err(e) => return Err(e),
                }
            }
        }
        Ok(())
    }

    async fn save(&self, change: IncidentChange) -> Result<Incident, StoreError> {
        let incident = self.store.save_incident(change).await?;
        match incident.state {
            IncidentState::Open | IncidentState::Reopened => {
                info!(id = incident.id, state = ?incident.state, "Incident: {}", incident.title);
            }
            _ => info!(id = incident.id, state = ?incident.state, "Incident changed."),
        }
        let _ = self.ingest.live.send(Live::Incident(Box::new(incident.clone())));
        Ok(incident)
    }
}
