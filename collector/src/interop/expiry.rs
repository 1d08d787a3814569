//! Ends what nobody says again.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tracing::error;

use super::event::closed;
use super::tell;
use crate::clock::now_ms;
use crate::ingest::Ingest;
use crate::store::{Store, StoreError};

/// Distance of looks.
const ROUND: Duration = Duration::from_secs(5);
/// Events ended at once.
const BATCH: usize = 500;

/// Closes events that are over at a time, and says how many.
///
/// # Errors
/// When the database fails; what was not closed is closed in the next round.
pub async fn round(store: &dyn Store, ingest: &Ingest, now_ms: i64) -> Result<usize, StoreError> {
    let mut all = 0;
    loop {
        let over = store.expired_outside(now_ms, BATCH).await?;
        let count = over.len();
        let end = |record: &crate::store::EventRecord| record.outside.as_ref().and_then(|o| o.expires_ms);
        let ended = over.into_iter().map(|record| {
            let end_ms = end(&record).unwrap_or(now_ms);
            closed(record, end_ms, None)
        });
        tell(store, ingest, ended.collect()).await?;
        all += count;
        if count < BATCH {
            return Ok(all);
        }
    }
}

/// Looks until it is told to stop.
pub async fn run(store: Arc<dyn Store>, ingest: Arc<Ingest>, stop: CancellationToken) {
    let mut failing = false;
    while !stop.is_cancelled() {
        match round(&*store, &ingest, now_ms()).await {
            Ok(_) => failing = false,
            Err(e) if !failing => {
                failing = true;
                error!(error = %e, "Cannot end what nobody says again; trying again.");
            }
            Err(_) => {}
        }
        tokio::select! {
            () = stop.cancelled() => {}
            () = tokio::time::sleep(ROUND) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::interop::testing::site;
    use crate::store::{EventQuery, EventSource, Outside};
    use tacit_wire::message::{EventKind, Phase};

    #[tokio::test]
    async fn what_is_not_said_again_ends() {
        let site = site();
        let mut event = crate::fixtures::event(1, EventKind::Rule, Phase::Open, 1000);
        let outside = Outside { source: EventSource::Alert, expires_ms: Some(9000), ..Outside::default() };
        event.outside = Some(Box::new(outside));
        assert_eq!(tell(&*site.store, &site.ingest, vec![event.clone()]).await.unwrap(), 1);
        assert_eq!(tell(&*site.store, &site.ingest, vec![event]).await.unwrap(), 0);
        assert_eq!(round(&*site.store, &site.ingest, 8999).await.unwrap(), 0);
        assert_eq!(round(&*site.store, &site.ingest, 9001).await.unwrap(), 1);
        assert_eq!(round(&*site.store, &site.ingest, 9001).await.unwrap(), 0);
        let events = site.store.events(EventQuery::default()).await.unwrap();
        assert_eq!((events.len(), events[0].event.phase, events[0].event.end_ms), (1, Phase::Close, Some(9000)));
    }
}
