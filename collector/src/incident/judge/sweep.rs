//! Looks at open incidents again and again: over, muted, heard again, and who is behind them.

use std::collections::BTreeSet;
use std::time::Instant;

use tracing::warn;

use super::Judge;
use crate::cause::Ranking;
use crate::incident::causes::{self, Surroundings};
use crate::incident::quiet::{MutedBy, Quiet};
use crate::incident::{life, mute};
use crate::store::{Incident, IncidentId, IncidentQuery, IncidentState, StoreError};

/// Least distance of rankings of one incident.
const RANK_MS: i64 = 2000;
/// A ranking is followed by so many times its own length without one.
const RANK_RESTS: i64 = 100;
/// Alarms by which an incident is ranked: so many of those that began first, for a cause begins before what it does, and so many of the
/// worst. A storm has ten thousand, which say the same; all of an incident are counted, shown and muted.
const TELLING: [usize; 2] = [300, 200];
/// Lasting alarms of an incident that are compared with silences and windows: the newest.
const LASTING: usize = 1000;
/// An open incident is ranked again this often, for edges are known minutes later only …
const RERANK_MS: i64 = 30_000;
/// … and for so long.
const RERANKED_MS: i64 = 30 * 60_000;
/// Incidents ranked in one round.
const RANKED: usize = 8;

/// What is remembered of an incident's ranking.
#[derive(Debug)]
pub(super) struct Ranked {
    at_ms: i64,
    /// It is not ranked again before that long: a large incident takes longer, and shall not take the processor.
    rest_ms: i64,
    ranking: Ranking,
}

impl Judge {
    /// Reads what mutes now.
    pub(super) async fn listen(&mut self, now_ms: i64) -> Result<(), StoreError> {
        self.quiet = Quiet::new(self.store.silences(Some(now_ms)).await?, self.store.windows(Some(now_ms)).await?);
        Ok(())
    }

    pub(super) async fn open_incidents(&self) -> Result<Vec<Incident>, StoreError> {
        let open = IncidentQuery { open: Some(true), limit: Some(10_000), ..IncidentQuery::default() };
        self.store.incidents(open).await
    }

    /// Looks at open incidents: over, muted, heard again.
    pub(super) async fn sweep(&mut self, now_ms: i64) -> Result<(), StoreError> {
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
            if self.store.incident_lasts(incident.id).await? {
                self.hush(incident, &open, now_ms).await?;
            } else if let Some(change) = life::ended(incident, now_ms) {
                // What ended stays as it is until it is over.
                self.save_quietly(change).await?;
            }
        }
        Ok(())
    }

    /// Mutes an incident in which something lasts, or lets it be heard again.
    pub(super) async fn hush(&mut self, incident: &Incident, open: &[Incident], now_ms: i64) -> Result<(), StoreError> {
        let by_people = if self.quiet.silences.is_empty() && self.quiet.windows.is_empty() {
            None
        } else {
            let lasting = self.store.lasting_events(incident.id, LASTING).await?;
            mute::by_people(&lasting, &self.quiet, (&self.sites, &self.tags), now_ms)
        };
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

    pub(super) async fn note_use(&self, by: &MutedBy, now_ms: i64) -> Result<(), StoreError> {
        match by {
            MutedBy::Window(id, _) => self.store.window_used(*id, now_ms).await,
            MutedBy::Silence(_) => Ok(()),
        }
    }

    /// Ranks the causes of incidents to which something happened.
    pub(super) async fn rank(&mut self, now_ms: i64) -> Result<(), StoreError> {
        let rested = |id: &IncidentId| self.ranked.get(id).is_none_or(|r| now_ms.saturating_sub(r.at_ms) >= r.rest_ms);
        let mut due: Vec<(i64, IncidentId)> =
            self.dirty.iter().filter(|(id, _)| rested(id)).map(|(id, at)| (*at, *id)).collect();
        due.sort_unstable();
        for (_, id) in due.into_iter().take(RANKED) {
            self.dirty.remove(&id);
            let began = Instant::now();
            let Some(incident) = self.store.incident_head(id).await?.filter(Incident::is_open) else { continue };
            let events = self.store.telling_events(id, TELLING).await?;
            let around =
                Surroundings { neighbours: &self.neighbours, sites: &self.sites, store: &self.store, map: &self.map };
            let stored = match causes::ranked(&incident, &events, &around, now_ms).await {
                Ok(stored) => stored,
                Err(e) => {
                    warn!(incident = id, error = %e, "Cannot rank the causes of an incident; trying again later.");
                    continue;
                }
            };
            let head = causes::head(&stored.ranking);
            let title = head.as_ref().and_then(|h| causes::title(h, &events));
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
