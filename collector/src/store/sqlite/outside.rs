//! Events that no agent sent.

use rusqlite::{Connection, OptionalExtension as _, Transaction, params};

use super::convert::blob;
use super::ingest::rank;
use super::{EventKey, EventRecord, EventSource, Outcome, StoreError, events};

/// Writes an event from elsewhere, unless it is there and says the same; then only its expiry is renewed.
pub fn put(t: &Transaction<'_>, event: &EventRecord) -> Result<Outcome, StoreError> {
    let outside = event
        .outside
        .as_deref()
        .ok_or_else(|| StoreError::Conflict(format!("event {} does not say where it comes from", event.event.event)))?;
    let (node, number) = (event.event.head.node.as_str(), event.event.event.0);
    let text = serde_json::to_string(outside).map_err(|e| StoreError::Database(e.to_string()))?;
    let known = t
        .prepare_cached(&format!("SELECT {} FROM event WHERE node = ?1 AND event = ?2", events::COLUMNS))?
        .query_row(params![node, number], events::record)
        .optional()?;
    if let Some(known) = &known
        && says_the_same(known, event)
    {
        t.prepare_cached("UPDATE event SET expires = ?3, outside = ?4 WHERE node = ?1 AND event = ?2")?
            .execute(params![node, number, outside.expires_ms, text])?;
        return Ok(Outcome::Duplicate);
    }
    let (alarm, severity) = events::figures(&event.event);
    t.prepare_cached(
        "INSERT INTO event (node, event, onset, received, phase, judged, data, outside, expires, alarm, severity)
         VALUES (?1, ?2, ?3, ?4, ?5, 0, ?6, ?7, ?8, ?9, ?10)
         ON CONFLICT (node, event) DO UPDATE SET phase = ?5, judged = 0, data = ?6, outside = ?7, expires = ?8,
             alarm = ?9, severity = ?10, revision = revision + 1",
    )?
    .execute(params![
        node,
        number,
        event.onset_ms,
        event.received_ms,
        rank(event.event.phase),
        blob(&event.event),
        text,
        if event.closed() { None } else { outside.expires_ms },
        alarm,
        severity
    ])?;
    Ok(Outcome::Stored)
}

/// Whether there is nothing new but that it was said again.
fn says_the_same(known: &EventRecord, event: &EventRecord) -> bool {
    let (a, b) = (&known.event, &event.event);
    let what = |e: &EventRecord| e.outside.as_ref().map(|o| (o.source, o.entity.clone(), o.family.clone()));
    a.phase == b.phase && a.text == b.text && a.severity == b.severity && what(known) == what(event)
}

/// Open ones that are over because nobody said them again.
pub fn expired(c: &Connection, now_ms: i64, limit: usize) -> Result<Vec<EventRecord>, StoreError> {
    let mut statement = c.prepare_cached(&format!(
        "SELECT {} FROM event WHERE expires IS NOT NULL AND expires <= ?1 AND phase <> 2 ORDER BY expires LIMIT ?2",
        events::COLUMNS
    ))?;
    let rows = statement.query_map(params![now_ms, limit as i64], events::record)?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Events of one source, newest first.
pub fn from(c: &Connection, source: EventSource, since_ms: i64, limit: usize) -> Result<Vec<EventRecord>, StoreError> {
    let mut statement = c.prepare_cached(&format!(
        "SELECT {} FROM event
         WHERE outside IS NOT NULL AND json_extract(outside, '$.source') = ?1 AND onset >= ?2
         ORDER BY onset DESC LIMIT ?3",
        events::COLUMNS
    ))?;
    let rows = statement.query_map(params![source.as_str(), since_ms, limit as i64], events::record)?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Says why no incident has these events.
pub fn mark_digest(t: &Transaction<'_>, keys: &[EventKey], why: &str) -> Result<(), StoreError> {
    let mut statement = t.prepare_cached(
        "UPDATE event SET digest = ?3, judged = 1 WHERE node = ?1 AND event = ?2 AND incident IS NULL",
    )?;
    for (node, number) in keys {
        statement.execute(params![node.as_str(), number.0, why])?;
    }
    Ok(())
}
