//! Alerts of others as events of ours.
//!
//! ```text
//! POST /api/v2/alerts → posted   → places → one event an alert ─▶ store ─▶ incidents
//!                       checked,   node,      new, renewed or
//!                       bounded    service    over
//! ```
//!
//! An alert is its labels. While it is open, whoever says it again (Prometheus does each minute, and there may be two of it) renews
//! its end and changes nothing else: a thousand repetitions are one event, and most of them do not even reach the store. When it
//! fires again after its end, that is another event, unless it says that it began at the same time.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use serde_json::Value;
use tacit_wire::{Digest, EventId, NodeId};
use tokio::sync::Mutex;

use super::event::{Draft, closed, number};
use super::places::{Directory, Place, Places};
use super::posted::{Posted, fingerprint};
use super::tell;
use crate::ingest::Ingest;
use crate::store::{EventRecord, EventSource, Outside, Store, StoreError, nowhere};

/// Most alerts of one request.
pub const AT_ONCE_MAX: usize = 10_000;
/// Alerts that may be open at once.
const OPEN_MAX: usize = 20_000;
/// An end that moved by less than this is not written.
const RENEW_MS: i64 = 30_000;

/// What became of an alert.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Heard {
    /// It is a new event.
    New,
    /// It is open already, or was over already.
    Repeated,
    /// It ended an event.
    Resolved,
    /// It cannot be used.
    Refused,
    /// It is about Tacit itself, or from it.
    Own,
}

impl Heard {
    /// Every outcome.
    pub const ALL: [Self; 5] = [Self::New, Self::Repeated, Self::Resolved, Self::Refused, Self::Own];

    /// The word in metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::New => "new",
            Self::Repeated => "repeated",
            Self::Resolved => "resolved",
            Self::Refused => "refused",
            Self::Own => "own",
        }
    }
}

/// An alert that is open.
#[derive(Debug, Clone)]
struct Known {
    node: NodeId,
    number: EventId,
    entity: String,
    onset_ms: i64,
    expires_ms: i64,
    severity: f32,
    text: String,
}

impl Known {
    fn new(posted: &Posted, print: &Digest, place: Option<Place>) -> Self {
        let place = place.unwrap_or_else(|| Place { node: None, entity: format!("alert:{}", posted.name) });
        Self {
            node: place.node.unwrap_or_else(nowhere),
            number: number(&["alert", &print.to_string(), &posted.said_ms.to_string()]),
            entity: place.entity,
            onset_ms: posted.onset_ms,
            expires_ms: posted.ends_ms,
            severity: posted.severity,
            text: posted.text.clone(),
        }
    }

    /// One that is open in the store.
    fn of(record: &EventRecord, outside: &Outside) -> Self {
        Self {
            node: record.event.head.node.clone(),
            number: record.event.event,
            entity: outside.entity.clone(),
            onset_ms: record.onset_ms,
            expires_ms: outside.expires_ms.unwrap_or(0),
            severity: record.event.severity.get().unwrap_or(0.0),
            text: record.event.text.clone(),
        }
    }

    /// The event as it is now. It keeps the words that it was opened with: a value that moves each minute is no news.
    fn record(&self, posted: &Posted, now_ms: i64) -> EventRecord {
        let outside = Outside {
            source: EventSource::Alert,
            entity: self.entity.clone(),
            family: posted.name.clone(),
            labels: posted.labels.clone(),
            url: posted.url.clone(),
            client: None,
            expires_ms: Some(self.expires_ms),
        };
        let draft = Draft {
            node: self.node.clone(),
            number: self.number,
            kind: posted.kind(),
            severity: self.severity,
            onset_ms: self.onset_ms,
            text: self.text.clone(),
            outside,
        };
        let mut record = draft.record(now_ms);
        // Even one that is meant for nobody lasts.
        record.event.phase = tacit_wire::message::Phase::Open;
        record.event.end_ms = None;
        record
    }
}

/// The alerts that are open.
type Open = HashMap<Digest, Known>;

/// Takes an alert in; gives the event that is to be written, if any.
///
/// # Errors
/// Why it cannot be taken, in words.
fn hear(
    open: &mut Open,
    posted: &Posted,
    directory: &Directory,
    now_ms: i64,
) -> Result<(Heard, Option<EventRecord>), String> {
    let print = posted.fingerprint();
    let is_over = posted.is_over(now_ms);
    let Some(known) = open.get_mut(&print).filter(|known| known.expires_ms > now_ms) else {
        if is_over {
            open.remove(&print);
            return Ok((Heard::Repeated, None));
        }
        if open.len() >= OPEN_MAX && !open.contains_key(&print) {
            open.retain(|_, known| known.expires_ms > now_ms);
            if open.len() >= OPEN_MAX {
                return Err(format!("{OPEN_MAX} alerts are open already"));
            }
        }
        let known = Known::new(posted, &print, directory.place(&posted.labels));
        let record = known.record(posted, now_ms);
        open.insert(print, known);
        return Ok((Heard::New, Some(record)));
    };
    if is_over {
        let record = closed(known.record(posted, now_ms), posted.ends_ms, None);
        open.remove(&print);
        return Ok((Heard::Resolved, Some(record)));
    }
    let is_news = known.severity.to_bits() != posted.severity.to_bits()
        || known.expires_ms.saturating_sub(posted.ends_ms).saturating_abs() >= RENEW_MS;
    if !is_news {
        return Ok((Heard::Repeated, None));
    }
    (known.severity, known.expires_ms) = (posted.severity, posted.ends_ms);
    Ok((Heard::Repeated, Some(known.record(posted, now_ms))))
}

/// What became of a request.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Taken {
    /// Alerts that were taken.
    pub taken: usize,
    /// Places in the request of those that were not, and why.
    pub wrong: Vec<(usize, String)>,
}

/// Takes alerts in.
#[derive(Debug)]
pub struct Alerts {
    store: Arc<dyn Store>,
    ingest: Arc<Ingest>,
    places: Arc<Places>,
    /// What is open; read from the store first. Held over the writing, so that two who say the same make one event.
    open: Mutex<Option<Open>>,
    counts: [AtomicU64; Heard::ALL.len()],
}

impl Alerts {
    /// Takes alerts into `store`.
    #[must_use]
    pub fn new(store: Arc<dyn Store>, ingest: Arc<Ingest>, places: Arc<Places>) -> Self {
        Self { store, ingest, places, open: Mutex::default(), counts: Default::default() }
    }

    fn count(&self, heard: Heard) {
        self.counts[heard as usize].fetch_add(1, Relaxed);
    }

    /// Alerts by what became of them, since the collector started.
    #[must_use]
    pub fn counts(&self) -> [(&'static str, u64); Heard::ALL.len()] {
        Heard::ALL.map(|heard| (heard.as_str(), self.counts[heard as usize].load(Relaxed)))
    }

    /// Takes the alerts of one request; what can be used is taken, whatever stands beside it.
    ///
    /// # Errors
    /// When the store fails. Sending all of it again does no harm.
    pub async fn take(&self, request: &[Value], now_ms: i64) -> Result<Taken, StoreError> {
        let posted: Vec<Result<Posted, String>> = request.iter().map(|value| Posted::read(value, now_ms)).collect();
        let misses = |directory: &Directory| posted.iter().flatten().any(|p| directory.misses(&p.labels));
        let directory = self.places.now(misses, now_ms).await?;
        let mut guard = self.open.lock().await;
        let mut open = match guard.take() {
            Some(open) => open,
            None => self.remember().await?,
        };
        let (mut answer, mut events) = (Taken::default(), Vec::new());
        for (place, posted) in posted.into_iter().enumerate() {
            let heard = match posted {
                Ok(posted) if posted.is_own() => Ok((Heard::Own, None)),
                Ok(posted) => hear(&mut open, &posted, &directory, now_ms),
                Err(why) => Err(why),
            };
            match heard {
                Ok((heard, event)) => {
                    self.count(heard);
                    answer.taken += 1;
                    events.extend(event);
                }
                Err(why) => {
                    self.count(Heard::Refused);
                    answer.wrong.push((place, why));
                }
            }
        }
        // When this fails, nothing is known to be open: the next request asks the store.
        tell(&*self.store, &self.ingest, events).await?;
        *guard = Some(open);
        Ok(answer)
    }

    /// The alerts that are open in the store.
    async fn remember(&self) -> Result<Open, StoreError> {
        let all = self.store.expired_outside(i64::MAX, 4 * OPEN_MAX).await?;
        let alert = |record: &EventRecord| {
            let outside = record.outside.as_deref().filter(|o| o.source == EventSource::Alert)?;
            Some((fingerprint(&outside.labels), Known::of(record, outside)))
        };
        Ok(all.iter().filter_map(alert).collect())
    }

    /// Events of alerts that are open, those that end first before others.
    ///
    /// # Errors
    /// When the store cannot be asked.
    pub async fn list(&self, now_ms: i64) -> Result<Vec<EventRecord>, StoreError> {
        let all = self.store.expired_outside(i64::MAX, AT_ONCE_MAX).await?;
        let is_open = |outside: &Outside| {
            outside.source == EventSource::Alert && outside.expires_ms.is_some_and(|expires| expires > now_ms)
        };
        Ok(all.into_iter().filter(|record| record.outside.as_deref().is_some_and(is_open)).collect())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use tacit_wire::message::Phase;

    use super::*;

    const NOW: i64 = 1_800_000_000_000;
    const MINUTE: i64 = 60_000;

    fn time(ms: i64) -> String {
        jiff::Timestamp::from_millisecond(ms).unwrap().to_string()
    }

    /// What is said at a time of an alert that began at another and is over at a third.
    fn said(open: &mut Open, at: i64, starts: i64, ends: Option<i64>) -> (Heard, Option<EventRecord>) {
        let mut value = json!({"labels": {"alertname": "Slow", "job": "api"}, "startsAt": time(starts)});
        if let Some(ends) = ends {
            value["endsAt"] = time(ends).into();
        }
        hear(open, &Posted::read(&value, at).unwrap(), &Directory::default(), at).unwrap()
    }

    #[test]
    fn a_repetition_is_the_same_event_and_only_renews_its_end() {
        let mut open = Open::new();
        let (heard, event) = said(&mut open, NOW, NOW, Some(NOW + 4 * MINUTE));
        let event = event.unwrap();
        assert_eq!((heard, event.event.phase), (Heard::New, Phase::Open));
        let outside = event.outside.as_deref().unwrap();
        assert_eq!((outside.entity.as_str(), outside.family.as_str()), ("alert:Slow", "Slow"));
        assert_eq!((event.event.head.node.as_str(), outside.expires_ms), ("-", Some(NOW + 4 * MINUTE)));
        // At once, and from a second Prometheus whose clock differs.
        for _ in 0..1000 {
            assert_eq!(said(&mut open, NOW + 1, NOW, Some(NOW + 4 * MINUTE + 1)), (Heard::Repeated, None));
        }
        assert_eq!(said(&mut open, NOW + 2, NOW + 700, Some(NOW + 4 * MINUTE)), (Heard::Repeated, None));
        // A minute later: the end is renewed, all else stays.
        let (heard, again) = said(&mut open, NOW + MINUTE, NOW, Some(NOW + 5 * MINUTE));
        let again = again.unwrap();
        assert_eq!((heard, again.key(), again.onset_ms), (Heard::Repeated, event.key(), NOW));
        assert_eq!((again.event.text, again.outside.unwrap().expires_ms), (event.event.text, Some(NOW + 5 * MINUTE)));
        assert_eq!(open.len(), 1);
    }

    #[test]
    fn an_end_is_said_or_comes_by_itself() {
        let mut open = Open::new();
        let first = said(&mut open, NOW, NOW, None).1.unwrap();
        let (heard, over) = said(&mut open, NOW + MINUTE, NOW, Some(NOW + 30_000));
        let over = over.unwrap();
        assert_eq!((heard, over.key(), over.event.phase), (Heard::Resolved, first.key(), Phase::Close));
        assert_eq!(over.event.end_ms, Some(NOW + 30_000));
        assert_eq!(said(&mut open, NOW + MINUTE, NOW, Some(NOW + 30_000)), (Heard::Repeated, None), "once");
        // It fires anew: another event. Not said again for five minutes, it is over; then the same time is the same event.
        let second = said(&mut open, NOW + 2 * MINUTE, NOW + 2 * MINUTE, None).1.unwrap();
        assert_ne!(second.key(), first.key());
        let (heard, third) = said(&mut open, NOW + 8 * MINUTE, NOW + 2 * MINUTE, None);
        assert_eq!((heard, third.unwrap().key()), (Heard::New, second.key()));
        assert_eq!(
            said(&mut open, NOW + 20 * MINUTE, NOW, Some(NOW + 19 * MINUTE)).0,
            Heard::Repeated,
            "nothing is open"
        );
        assert!(open.is_empty());
    }

    #[test]
    fn what_is_open_is_bounded() {
        let mut open = Open::new();
        let mut one = |n: usize, at: i64| {
            let value = json!({"labels": {"alertname": "Slow", "n": n.to_string()}});
            hear(&mut open, &Posted::read(&value, at).unwrap(), &Directory::default(), at)
        };
        for n in 0..OPEN_MAX {
            assert!(one(n, NOW).is_ok());
        }
        assert_eq!(one(OPEN_MAX, NOW).unwrap_err(), "20000 alerts are open already");
        assert_eq!(one(0, NOW).unwrap().0, Heard::Repeated);
        assert_eq!(one(OPEN_MAX, NOW + 10 * MINUTE).unwrap().0, Heard::New, "those that are over make room");
    }
}
