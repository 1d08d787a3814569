//! What others say: events that no agent sent.
//!
//! ```text
//! alerts (Alertmanager's API) → posted → places ─┐
//! changes (deploys)           ─────────→ places ─┤                   ┌→ expiry: over, when nobody
//! nodes that go and come back → presence ────────┼→ event → store ───┤  says it again
//! edges that fail or slow     → edges ───────────┘  (put_outside)    └→ incidents
//! ```
//!
//! Each becomes an [`EventRecord`] like those of agents, with [`Outside`](crate::store::Outside) beside it that names who says it
//! and of what. Its number is made of what makes it this event and no other, so it may be told any number of times, also by a
//! collector that was started anew.

pub mod alerts;
pub mod changes;
pub mod edges;
pub mod event;
pub mod expiry;
pub mod places;
pub mod posted;
pub mod presence;
#[cfg(test)]
pub mod testing;

use std::sync::Arc;

use crate::ingest::Ingest;
use crate::map::Map;
use crate::store::{EventRecord, Outcome, Store, StoreError};

use alerts::Alerts;
use places::Places;

/// Events written in one transaction, so that ingest does not wait long.
const AT_ONCE: usize = 500;

/// What the API needs to take in what others say.
#[derive(Debug)]
pub struct Interop {
    /// Alerts.
    pub alerts: Alerts,
    /// Which node or service somebody means.
    pub places: Arc<Places>,
}

impl Interop {
    /// Takes what is said into `store`.
    #[must_use]
    pub fn new(store: &Arc<dyn Store>, ingest: &Arc<Ingest>, map: &Arc<Map>) -> Self {
        let places = Arc::new(Places::new(Arc::clone(store), Arc::clone(map)));
        Self { alerts: Alerts::new(Arc::clone(store), Arc::clone(ingest), Arc::clone(&places)), places }
    }
}

/// Stores events and wakes who groups them; says how many were new, or said something new.
///
/// # Errors
/// When the store fails; those before may be stored. Telling all of them again does no harm.
pub async fn tell(store: &dyn Store, ingest: &Ingest, mut events: Vec<EventRecord>) -> Result<usize, StoreError> {
    let mut news = 0;
    while !events.is_empty() {
        let rest = events.split_off(events.len().min(AT_ONCE));
        let outcomes = store.put_outside(std::mem::replace(&mut events, rest)).await?;
        news += outcomes.iter().filter(|outcome| **outcome == Outcome::Stored).count();
    }
    if news > 0 {
        ingest.events_waiting.notify_one();
    }
    Ok(news)
}
