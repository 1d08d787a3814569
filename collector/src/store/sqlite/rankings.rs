//! Rankings of causes, and the trail of what was done beside incidents.

use rusqlite::types::Type;
use rusqlite::{Connection, Row, Transaction, params};

use super::{IncidentId, StoreError, StoredRanking, TrailEntry};

/// Rankings of one incident that are kept: the first, and the newest.
const KEPT: i64 = 8;
/// Lines of the trail that are kept.
const TRAIL_ROWS: i64 = 200_000;

/// Keeps a ranking.
pub fn save(t: &Transaction<'_>, stored: &StoredRanking) -> Result<(), StoreError> {
    let json = |e: serde_json::Error| StoreError::Database(e.to_string());
    let evidence = serde_json::to_string(&stored.evidence).map_err(json)?;
    let ranking = serde_json::to_string(&stored.ranking).map_err(json)?;
    t.prepare_cached("INSERT OR REPLACE INTO ranking (incident, at, evidence, ranking) VALUES (?1, ?2, ?3, ?4)")?
        .execute(params![stored.incident, stored.at_ms, evidence, ranking])?;
    t.prepare_cached(
        "DELETE FROM ranking WHERE incident = ?1
           AND at NOT IN (SELECT at FROM ranking WHERE incident = ?1 ORDER BY at DESC LIMIT ?2)
           AND at <> (SELECT min(at) FROM ranking WHERE incident = ?1)",
    )?
    .execute(params![stored.incident, KEPT])?;
    Ok(())
}

fn json<T: serde::de::DeserializeOwned>(r: &Row<'_>, column: usize) -> rusqlite::Result<T> {
    let text: String = r.get(column)?;
    serde_json::from_str(&text).map_err(|e| rusqlite::Error::FromSqlConversionFailure(column, Type::Text, Box::new(e)))
}

/// Rankings of an incident, newest first.
pub fn list(c: &Connection, incident: IncidentId, limit: usize) -> Result<Vec<StoredRanking>, StoreError> {
    let mut statement =
        c.prepare_cached("SELECT at, evidence, ranking FROM ranking WHERE incident = ?1 ORDER BY at DESC LIMIT ?2")?;
    let rows = statement.query_map(params![incident, limit as i64], |r| {
        Ok(StoredRanking { incident, at_ms: r.get(0)?, evidence: json(r, 1)?, ranking: json(r, 2)? })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// The newest ranking of an incident, without what it was made of.
pub fn newest(c: &Connection, incident: IncidentId) -> Result<Option<crate::cause::Ranking>, StoreError> {
    let mut statement = c.prepare_cached("SELECT ranking FROM ranking WHERE incident = ?1 ORDER BY at DESC LIMIT 1")?;
    let mut rows = statement.query_map([incident], |r| json(r, 0))?;
    Ok(rows.next().transpose()?)
}

/// Appends to the trail.
pub fn append(t: &Transaction<'_>, entry: &TrailEntry) -> Result<(), StoreError> {
    t.prepare_cached("INSERT INTO trail (at, actor, action, subject, note) VALUES (?1, ?2, ?3, ?4, ?5)")?
        .execute(params![entry.at_ms, entry.actor, entry.action, entry.subject, entry.note])?;
    let newest = t.last_insert_rowid();
    t.prepare_cached("DELETE FROM trail WHERE id <= ?1")?.execute([newest - TRAIL_ROWS])?;
    Ok(())
}

/// The trail, newest first.
pub fn trail(c: &Connection, limit: usize) -> Result<Vec<TrailEntry>, StoreError> {
    let mut statement =
        c.prepare_cached("SELECT at, actor, action, subject, note FROM trail ORDER BY id DESC LIMIT ?1")?;
    let rows = statement.query_map([limit as i64], |r| {
        Ok(TrailEntry { at_ms: r.get(0)?, actor: r.get(1)?, action: r.get(2)?, subject: r.get(3)?, note: r.get(4)? })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}
