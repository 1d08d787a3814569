//! From events to incidents: grouping per node by time, and the life cycle.
//!
//! [`logic`] is pure and gets its `now`; [`Judge`] runs it over stored events that nobody has looked at yet, so a collector
//! that dies in between goes on there and opens nothing twice.

pub mod actions;
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
        loop {
            let waiting = self.store.unjudged_events(BATCH).await?;
            let last = waiting.len() < BATCH;
            for event in waiting {
                self.judge(event).await?;
            }
            if last {
                break;
            }
        }
        self.resolve_ended().await
    }

    async fn judge(&self, event: EventRecord) -> Result<(), StoreError> {
        let recent =
            IncidentQuery { node: Some(event.event.head.node.clone()), limit: Some(20), ..IncidentQuery::default() };
        loop {
            let incidents = self.store.incidents(recent.clone()).await?;
            let Decision::Change(change) = logic::decide(&event, &incidents, now_ms()) else { break };
            match self.save(*change).await {
                // A person was faster: decide again by what is there now.
                Err(StoreError::Stale(_)) => {}
                saved => {
                    saved?;
                    break;
                }
            }
        }
        let _ = self.ingest.live.send(Live::Event(event.event.head.node.clone(), event.event.event));
        self.store.mark_judged(&[event]).await
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
