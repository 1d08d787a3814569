//! Incidents and their audit trail.

use std::collections::HashSet;

use rusqlite::types::Type;
use rusqlite::{Connection, OptionalExtension as _, Row, Transaction, params};
use tacit_wire::NodeId;

use super::{
    AuditEntry, Held, Incident, IncidentChange, IncidentDetail, IncidentId, IncidentQuery, IncidentState, StoreError,
    events, rankings,
};

fn record(r: &Row<'_>) -> rusqlite::Result<Incident> {
    let text: String = r.get(1)?;
    let mut incident: Incident = serde_json::from_str(&text)
        .map_err(|e| rusqlite::Error::FromSqlConversionFailure(1, Type::Text, Box::new(e)))?;
    incident.id = r.get(0)?;
    Ok(incident)
}

/// Incidents, newest first.
pub fn list(c: &Connection, query: &IncidentQuery) -> Result<Vec<Incident>, StoreError> {
    // A condition that is not asked for is left out: with "or it is null" no index would serve.
    let conditions = [
        Some("TRUE"),
        query.open.map(|open| if open { "open = 1" } else { "open = 0" }),
        query.since_ms.map(|_| "opened >= ?1"),
        query.node.as_ref().map(|_| "id IN (SELECT incident FROM incident_node WHERE node = ?2)"),
    ];
    let conditions = conditions.into_iter().flatten().collect::<Vec<_>>().join(" AND ");
    let mut statement =
        c.prepare_cached(&format!("SELECT id, data FROM incident WHERE {conditions} ORDER BY id DESC LIMIT ?3"))?;
    let limit = query.limit.unwrap_or(100).min(10_000) as i64;
    let node = query.node.as_ref().map(NodeId::as_str);
    let rows = statement.query_map(params![query.since_ms, node, limit], record)?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// One incident alone.
pub fn head(c: &Connection, id: IncidentId) -> Result<Option<Incident>, StoreError> {
    let mut statement = c.prepare_cached("SELECT id, data FROM incident WHERE id = ?1")?;
    Ok(statement.query_row([id], record).optional()?)
}

/// One incident with its events and trail.
pub fn detail(c: &Connection, id: IncidentId) -> Result<Option<IncidentDetail>, StoreError> {
    let Some(incident) = head(c, id)? else { return Ok(None) };
    let events = events::of_incident(c, id)?;
    let mut statement =
        c.prepare_cached("SELECT at, actor, action, note FROM audit WHERE incident = ?1 ORDER BY id")?;
    let audit = statement.query_map([id], |r| {
        Ok(AuditEntry { at_ms: r.get(0)?, actor: r.get(1)?, action: r.get(2)?, note: r.get(3)? })
    })?;
    let ranking = rankings::newest(c, id)?;
    Ok(Some(IncidentDetail { incident, events, audit: audit.collect::<Result<_, _>>()?, ranking }))
}

/// Writes an incident, what joined it, and its trail. Events that join are marked as looked at, as they were `read`.
pub fn save(t: &Transaction<'_>, change: IncidentChange, read: &Held) -> Result<Incident, StoreError> {
    let mut incident = change.incident;
    let open = incident.state != IncidentState::Resolved;
    let known = if incident.id == 0 {
        t.prepare_cached("INSERT INTO incident (open, opened, data) VALUES (?1, ?2, '{}')")?
            .execute(params![open, incident.opened_ms])?;
        incident.id = t.last_insert_rowid();
        None
    } else {
        let known = head(t, incident.id)?;
        let known = known.ok_or_else(|| StoreError::NotFound(format!("incident {}", incident.id)))?;
        if known.revision != incident.revision {
            return Err(StoreError::Stale(incident.id));
        }
        Some(known)
    };
    let mut added = 0_u32;
    if let Some(event) = &change.event {
        if !events::mark_judged(t, &event.key(), event.revision)? {
            return Err(StoreError::Stale(incident.id));
        }
        added += u32::from(events::give(t, &event.key(), None, incident.id)?);
    }
    for key in &change.also {
        added += u32::from(events::give(t, key, read.get(key).copied(), incident.id)?);
    }
    incident.revision += 1;
    let is_about_events = change.event.is_some() || !change.also.is_empty();
    incident.events = match &known {
        // Those that are there are not counted again: there may be ten thousand.
        Some(known) if is_about_events => known.events.saturating_add(added),
        _ => t
            .prepare_cached("SELECT count(*) FROM event WHERE incident = ?1")?
            .query_row([incident.id], |r| r.get(0))?,
    };
    let text = serde_json::to_string(&incident).map_err(|e| StoreError::Database(e.to_string()))?;
    t.prepare_cached("UPDATE incident SET open = ?2, data = ?3 WHERE id = ?1")?.execute(params![
        incident.id,
        open,
        text
    ])?;
    let written: HashSet<&NodeId> = known.iter().flat_map(|known| &known.nodes).collect();
    let mut insert = t.prepare_cached("INSERT OR IGNORE INTO incident_node (incident, node) VALUES (?1, ?2)")?;
    for node in incident.nodes.iter().filter(|node| !written.contains(node)) {
        insert.execute(params![incident.id, node.as_str()])?;
    }
    let mut append =
        t.prepare_cached("INSERT INTO audit (incident, at, actor, action, note) VALUES (?1, ?2, ?3, ?4, ?5)")?;
    for entry in &change.audit {
        append.execute(params![incident.id, entry.at_ms, entry.actor, entry.action, entry.note])?;
    }
    Ok(incident)
}
