//! Events.
//!
//! An event holds its flight recording, which is large: what only asks which events there are goes by the indexes, and what asks what
//! they say reads them without it (*lean*).

use rusqlite::types::Type;
use rusqlite::{Connection, OptionalExtension as _, Row, ToSql, Transaction, params};
use tacit_wire::message::{Event, EventKind};
use tacit_wire::{EventId, NodeId};

use super::convert::{from_blob, from_blob_without, parse};
use super::{EventKey, EventQuery, EventRecord, Held, IncidentId, Outside, StoreError};

/// Events that one question can have.
const LIST_MOST: usize = 100_000;
/// Events of an incident that are read with it.
const OF_INCIDENT: usize = 1000;
/// Keys under which an event has its processes and its recording: `wire/src/message/event.rs`.
const LARGE: [u32; 2] = [12, 14];

/// What [`record`] reads, in its order.
pub const COLUMNS: &str = "data, onset, received, incident, revision, outside, digest";

/// How a row of [`COLUMNS`] is read.
type Read = fn(&Row<'_>) -> rusqlite::Result<EventRecord>;

/// An event of a row of [`COLUMNS`].
pub fn record(r: &Row<'_>) -> rusqlite::Result<EventRecord> {
    with(r, from_blob(r, 0)?)
}

/// The same without processes and recording.
fn lean(r: &Row<'_>) -> rusqlite::Result<EventRecord> {
    with(r, from_blob_without(r, 0, &LARGE)?)
}

fn with(r: &Row<'_>, event: Event) -> rusqlite::Result<EventRecord> {
    Ok(EventRecord {
        event,
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

/// What stands beside an event, so that it can be asked for without reading it: whether it alarms, and how bad it is.
pub fn figures(event: &Event) -> (bool, f64) {
    let severity = event.severity.get().unwrap_or(0.0).clamp(0.0, 1.0);
    (event.kind != EventKind::Context, f64::from(severity))
}

/// Writes the figures of events that an older collector stored. What cannot be read keeps what the schema says.
pub fn fill_figures(t: &Transaction<'_>) -> rusqlite::Result<()> {
    let mut found: Vec<(String, Vec<u8>, bool, f64)> = Vec::new();
    let mut all = t.prepare("SELECT node, event, data FROM event")?;
    let mut rows = all.query([])?;
    while let Some(row) = rows.next()? {
        let Ok(event) = from_blob_without::<Event>(row, 2, &LARGE) else { continue };
        let (alarm, severity) = figures(&event);
        found.push((row.get(0)?, row.get(1)?, alarm, severity));
    }
    let mut write = t.prepare("UPDATE event SET alarm = ?3, severity = ?4 WHERE node = ?1 AND event = ?2")?;
    for (node, number, alarm, severity) in found {
        write.execute(params![node, number, alarm, severity])?;
    }
    Ok(())
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
        query.beside.map(|_| "(incident IS NOT ?6 OR alarm = 0)"),
    ];
    let conditions = conditions.into_iter().flatten().collect::<Vec<_>>().join(" AND ");
    let order = if query.oldest_first { "ASC" } else { "DESC" };
    let rest = format!("FROM event WHERE {conditions} ORDER BY onset {order} LIMIT ?5");
    let limit = query.limit.unwrap_or(100).min(LIST_MOST) as i64;
    let node = query.node.as_ref().map(NodeId::as_str);
    // A statement takes as many values as it names, or its largest number.
    let all = params![node, query.since_ms, query.until_ms, query.incident, limit, query.beside];
    let read: Read = if query.lean { lean } else { record };
    if query.beside.is_some() {
        // What is left out is not even read.
        return fetch(c, &keys(c, &format!("SELECT node, event {rest}"), all)?, read);
    }
    let mut statement = c.prepare_cached(&format!("SELECT {COLUMNS} {rest}"))?;
    let rows = statement.query_map(&all[..5], read)?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// An event of a row of its node and number.
fn key(r: &Row<'_>) -> rusqlite::Result<EventKey> {
    Ok((parse(r, 0)?, EventId(r.get(1)?)))
}

/// Which events a statement finds that selects their nodes and numbers.
fn keys(c: &Connection, sql: &str, values: &[&dyn ToSql]) -> Result<Vec<EventKey>, StoreError> {
    let mut statement = c.prepare_cached(sql)?;
    let rows = statement.query_map(values, key)?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// These events, in this order; one that is not there is left out.
fn fetch(c: &Connection, keys: &[EventKey], read: Read) -> Result<Vec<EventRecord>, StoreError> {
    let mut statement = c.prepare_cached(&format!("SELECT {COLUMNS} FROM event WHERE node = ?1 AND event = ?2"))?;
    let mut found = Vec::with_capacity(keys.len());
    for (node, number) in keys {
        found.extend(statement.query_row(params![node.as_str(), number.0], read).optional()?);
    }
    Ok(found)
}

/// These events without processes and recordings, in this order.
pub fn named(c: &Connection, keys: &[EventKey]) -> Result<Vec<EventRecord>, StoreError> {
    fetch(c, keys, lean)
}

/// Events of an incident, oldest first; of very many those that last, and the newest of the others.
pub fn of_incident(c: &Connection, incident: IncidentId) -> Result<Vec<EventRecord>, StoreError> {
    let sql = "SELECT node, event FROM event WHERE incident = ?1 ORDER BY phase = 2, onset DESC LIMIT ?2";
    let mut events = fetch(c, &keys(c, sql, params![incident, OF_INCIDENT as i64])?, record)?;
    events.sort_by_key(|e| (e.onset_ms, e.received_ms));
    Ok(events)
}

/// Which events an incident has, at most `limit`.
pub fn keys_of(c: &Connection, incident: IncidentId, limit: usize) -> Result<Vec<EventKey>, StoreError> {
    keys(c, "SELECT node, event FROM event WHERE incident = ?1 LIMIT ?2", params![incident, limit as i64])
}

/// What lasts of an incident and alarms.
const LASTING: &str = "FROM event WHERE incident = ?1 AND phase < 2 AND alarm = 1";

/// Whether anything does.
pub fn lasts(c: &Connection, incident: IncidentId) -> Result<bool, StoreError> {
    let mut statement = c.prepare_cached(&format!("SELECT EXISTS (SELECT 1 {LASTING})"))?;
    Ok(statement.query_row([incident], |r| r.get(0))?)
}

/// The newest of what does, oldest first, without processes and recordings.
pub fn lasting(c: &Connection, incident: IncidentId, limit: usize) -> Result<Vec<EventRecord>, StoreError> {
    let sql = format!("SELECT node, event {LASTING} ORDER BY onset DESC LIMIT ?2");
    let mut events = fetch(c, &keys(c, &sql, params![incident, limit as i64])?, lean)?;
    events.sort_by_key(|e| (e.onset_ms, e.received_ms));
    Ok(events)
}

/// Alarms of an incident that began first, and the worst of all, so many of each at most, oldest first. Among equals the earlier, then
/// the lesser name and number, goes first: the same events are the same choice.
pub fn telling(
    c: &Connection,
    incident: IncidentId,
    [earliest, worst]: [usize; 2],
) -> Result<Vec<EventRecord>, StoreError> {
    let most = |by: &str, limit: usize| {
        let sql = format!("SELECT node, event FROM event WHERE incident = ?1 AND alarm = 1 ORDER BY {by} LIMIT ?2");
        keys(c, &sql, params![incident, limit as i64])
    };
    let mut chosen = most("onset, node, event", earliest)?;
    chosen.extend(most("severity DESC, onset, node, event", worst)?);
    chosen.sort_unstable();
    chosen.dedup();
    let mut events = fetch(c, &chosen, record)?;
    events.sort_by_key(|e| (e.onset_ms, e.received_ms));
    Ok(events)
}

/// One event.
pub fn one(c: &Connection, node: &NodeId, event: EventId) -> Result<Option<EventRecord>, StoreError> {
    Ok(fetch(c, &[(node.clone(), event)], record)?.pop())
}

/// Which events have a phase that the incident logic has not looked at, in the order they came, with the revisions of those.
const UNJUDGED: &str = "SELECT node, event, revision FROM event WHERE judged = 0 ORDER BY received";

/// Events with a phase that the incident logic has not looked at, in the order they came, without those that are held.
pub fn unjudged(c: &Connection, held: &Held, limit: usize) -> Result<Vec<EventRecord>, StoreError> {
    let mut statement = c.prepare_cached(UNJUDGED)?;
    let mut rows = statement.query([])?;
    let mut new = Vec::new();
    while new.len() < limit
        && let Some(row) = rows.next()?
    {
        // What is held is read once, not with each look.
        let key = key(row)?;
        if held.get(&key) != Some(&row.get::<_, i64>(2)?) {
            new.push(key);
        }
    }
    drop(rows);
    fetch(c, &new, record)
}

/// Which these are, all of them.
pub fn unjudged_keys(c: &Connection, limit: usize) -> Result<Vec<EventKey>, StoreError> {
    keys(c, &format!("{UNJUDGED} LIMIT ?1"), params![limit as i64])
}

/// Marks an event as looked at and says whether it was still as it was read: not looked at, and no later phase received.
pub fn mark_judged(t: &Transaction<'_>, (node, number): &EventKey, revision: i64) -> Result<bool, StoreError> {
    let mut statement = t.prepare_cached(
        "UPDATE event SET judged = 1 WHERE node = ?1 AND event = ?2 AND revision = ?3 AND judged = 0",
    )?;
    Ok(statement.execute(params![node.as_str(), number.0, revision])? == 1)
}

/// Gives an event to an incident and says whether that is news. With the revision that was read it is marked as looked at, unless it
/// has another one by now.
pub fn give(
    t: &Transaction<'_>,
    key: &EventKey,
    revision: Option<i64>,
    incident: IncidentId,
) -> Result<bool, StoreError> {
    let (node, number) = key;
    // Once: each writing of a row writes all of it.
    let mut statement = t.prepare_cached(
        "UPDATE event SET incident = ?3, digest = NULL, judged = CASE WHEN revision = ?4 THEN 1 ELSE judged END
         WHERE node = ?1 AND event = ?2 AND incident IS NOT ?3",
    )?;
    let is_new = statement.execute(params![node.as_str(), number.0, incident, revision])? == 1;
    if let Some(revision) = revision.filter(|_| !is_new) {
        mark_judged(t, key, revision)?;
    }
    Ok(is_new)
}
