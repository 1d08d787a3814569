//! Events.

use rusqlite::types::Type;
use rusqlite::{Connection, OptionalExtension as _, Row, Transaction, params};
use tacit_wire::{EventId, NodeId};

use super::convert::{from_blob, parse};
use super::{EventKey, EventQuery, EventRecord, Held, IncidentId, Outside, StoreError};

/// Events that one question can have.
const LIST_MOST: usize = 100_000;
/// Events of an incident that are read with it.
const OF_INCIDENT: usize = 1000;

/// What [`record`] reads, in its order.
pub const COLUMNS: &str = "data, onset, received, incident, revision, outside, digest";

/// An event of a row of [`COLUMNS`].
pub fn record(r: &Row<'_>) -> rusqlite::Result<EventRecord> {
    Ok(EventRecord {
        event: from_blob(r, 0)?,
        onset_ms: r.get(1)?,
        received_ms: r.get(2)?,
        incident: r.get(3)?,
        revision: r.get(4)?,
        outside: r.get::<_, Option<String>>(5)?.map(|text| outside(&text)).transpose()?,
        digest: r.get(6)?,
    })
}

fn outside(text: &str) -> rusqlite::Result<Box<Outside>> {
    serde_json::from_str(text).map_err(|e| rusqlite::Error::FromSqlConversionFailure(5, Type::Text, Box::new(e)))
}

/// Events, newest first unless the query says otherwise.
pub fn list(c: &Connection, query: &EventQuery) -> Result<Vec<EventRecord>, StoreError> {
    // A condition that is not asked for is left out: with "or it is null" no index would serve.
    let conditions = [
        Some("TRUE"),
        query.node.as_ref().map(|_| "node = ?1"),
        query.since_ms.map(|_| "onset >= ?2"),
        query.until_ms.map(|_| "onset < ?3"),
        query.incident.map(|_| "incident = ?4"),
        query.digest.then_some("incident IS NULL AND digest IS NOT NULL"),
    ];
    let conditions = conditions.into_iter().flatten().collect::<Vec<_>>().join(" AND ");
    let order = if query.oldest_first { "ASC" } else { "DESC" };
    let mut statement =
        c.prepare_cached(&format!("SELECT {COLUMNS} FROM event WHERE {conditions} ORDER BY onset {order} LIMIT ?5"))?;
    let limit = query.limit.unwrap_or(100).min(LIST_MOST) as i64;
    let node = query.node.as_ref().map(NodeId::as_str);
    let rows = statement.query_map(params![node, query.since_ms, query.until_ms, query.incident, limit], record)?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Events of an incident, oldest first; of very many those that last, and the newest of the others.
pub fn of_incident(c: &Connection, incident: IncidentId) -> Result<Vec<EventRecord>, StoreError> {
    let mut statement = c.prepare_cached(&format!(
        "SELECT {COLUMNS} FROM event WHERE incident = ?1 ORDER BY phase = 2, onset DESC LIMIT ?2"
    ))?;
    let rows = statement.query_map(params![incident, OF_INCIDENT as i64], record)?;
    let mut events: Vec<EventRecord> = rows.collect::<Result<_, _>>()?;
    events.sort_by_key(|e| (e.onset_ms, e.received_ms));
    Ok(events)
}

/// One event.
pub fn one(c: &Connection, node: &NodeId, event: EventId) -> Result<Option<EventRecord>, StoreError> {
    let mut statement = c.prepare_cached(&format!("SELECT {COLUMNS} FROM event WHERE node = ?1 AND event = ?2"))?;
    Ok(statement.query_row(params![node.as_str(), event.0], record).optional()?)
}

/// Events with a phase that the incident logic has not looked at, in the order they came, without those that are held.
pub fn unjudged(c: &Connection, held: &Held, limit: usize) -> Result<Vec<EventRecord>, StoreError> {
    let mut statement =
        c.prepare_cached(&format!("SELECT {COLUMNS}, node, event FROM event WHERE judged = 0 ORDER BY received"))?;
    let mut rows = statement.query([])?;
    let mut found = Vec::new();
    while found.len() < limit
        && let Some(row) = rows.next()?
    {
        // What is held is decoded once, not with each look.
        let key: EventKey = (parse(row, 7)?, EventId(row.get(8)?));
        if held.get(&key) != Some(&row.get::<_, i64>(4)?) {
            found.push(record(row)?);
        }
    }
    Ok(found)
}

/// Marks an event as looked at and says whether it was still as it was read: not looked at, and no later phase received.
pub fn mark_judged(t: &Transaction<'_>, event: &EventRecord) -> Result<bool, StoreError> {
    let mut statement = t.prepare_cached(
        "UPDATE event SET judged = 1 WHERE node = ?1 AND event = ?2 AND revision = ?3 AND judged = 0",
    )?;
    let (node, number) = (event.event.head.node.as_str(), event.event.event.0);
    Ok(statement.execute(params![node, number, event.revision])? == 1)
}
