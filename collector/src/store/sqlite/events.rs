//! Events.

use rusqlite::{Connection, OptionalExtension as _, Row, Transaction, params};
use tacit_wire::{EventId, NodeId};

use super::convert::from_blob;
use super::{EventQuery, EventRecord, StoreError};

const COLUMNS: &str = "data, onset, received, incident, revision";

fn record(r: &Row<'_>) -> rusqlite::Result<EventRecord> {
    Ok(EventRecord {
        event: from_blob(r, 0)?,
        onset_ms: r.get(1)?,
        received_ms: r.get(2)?,
        incident: r.get(3)?,
        revision: r.get(4)?,
    })
}

/// Events, newest first.
pub fn list(c: &Connection, query: &EventQuery) -> Result<Vec<EventRecord>, StoreError> {
    let mut statement = c.prepare_cached(&format!(
        "SELECT {COLUMNS} FROM event
         WHERE (?1 IS NULL OR node = ?1) AND (?2 IS NULL OR onset >= ?2) AND (?3 IS NULL OR incident = ?3)
         ORDER BY onset DESC LIMIT ?4"
    ))?;
    let limit = query.limit.unwrap_or(100).min(10_000) as i64;
    let key = params![query.node.as_ref().map(NodeId::as_str), query.since_ms, query.incident, limit];
    let rows = statement.query_map(key, record)?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// One event.
pub fn one(c: &Connection, node: &NodeId, event: EventId) -> Result<Option<EventRecord>, StoreError> {
    let mut statement = c.prepare_cached(&format!("SELECT {COLUMNS} FROM event WHERE node = ?1 AND event = ?2"))?;
    Ok(statement.query_row(params![node.as_str(), event.0], record).optional()?)
}

/// Events with a phase that the incident logic has not looked at, in the order they came.
pub fn unjudged(c: &Connection, limit: usize) -> Result<Vec<EventRecord>, StoreError> {
    let mut statement =
        c.prepare_cached(&format!("SELECT {COLUMNS} FROM event WHERE judged = 0 ORDER BY received LIMIT ?1"))?;
    let rows = statement.query_map([limit as i64], record)?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Marks an event as looked at and says whether it was still as it was read: not looked at, and no later phase received.
pub fn mark_judged(t: &Transaction<'_>, event: &EventRecord) -> Result<bool, StoreError> {
    let mut statement = t.prepare_cached(
        "UPDATE event SET judged = 1 WHERE node = ?1 AND event = ?2 AND revision = ?3 AND judged = 0",
    )?;
    let (node, number) = (event.event.head.node.as_str(), event.event.event.0);
    Ok(statement.execute(params![node, number, event.revision])? == 1)
}
