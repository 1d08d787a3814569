//! Nodes, their series and minute values.

use rusqlite::{Connection, OptionalExtension as _, Row, Transaction, params};
use tacit_wire::{NodeId, Num, SeriesDef, SiteId};

use super::convert::{blob, from_blob, int, parse};
use super::{GoneNode, NodeRecord, Point, PointQuery, Presence, SeriesPoints, StoreError};

const RECORD: &str = "SELECT node, site, presence, reason, first_seen, last_seen, offset_ms, birth, report,
     (SELECT count(*) FROM incident_node JOIN incident ON id = incident WHERE incident_node.node = node.node AND open = 1)
     FROM node";

/// Nodes by name, those after `after`.
pub fn list(c: &Connection, after: Option<&NodeId>, limit: usize) -> Result<Vec<NodeRecord>, StoreError> {
    let mut statement = c.prepare_cached(&format!("{RECORD} WHERE ?1 IS NULL OR node > ?1 ORDER BY node LIMIT ?2"))?;
    let rows = statement.query_map(params![after.map(NodeId::as_str), limit as i64], record)?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// One node.
pub fn one(c: &Connection, node: &NodeId) -> Result<Option<NodeRecord>, StoreError> {
    let mut statement = c.prepare_cached(&format!("{RECORD} WHERE node = ?1"))?;
    Ok(statement.query_row([node.as_str()], record).optional()?)
}

fn record(r: &Row<'_>) -> rusqlite::Result<NodeRecord> {
    let has_report = !matches!(r.get_ref(8)?, rusqlite::types::ValueRef::Null);
    Ok(NodeRecord {
        node: parse(r, 0)?,
        site: parse(r, 1)?,
        presence: presence(r, 2)?,
        reason: r.get(3)?,
        first_seen_ms: r.get(4)?,
        last_seen_ms: r.get(5)?,
        clock_offset_ms: r.get(6)?,
        birth: from_blob(r, 7)?,
        report: has_report.then(|| from_blob(r, 8)).transpose()?,
        open_incidents: r.get(9)?,
    })
}

fn presence(r: &Row<'_>, column: usize) -> rusqlite::Result<Presence> {
    let word: String = r.get(column)?;
    Ok(match word.as_str() {
        "online" => Presence::Online,
        "stopped" => Presence::Stopped,
        _ => Presence::Lost,
    })
}

/// Nodes that are not there. Their births are not read: this is asked every few seconds.
pub fn gone(c: &Connection, limit: usize) -> Result<Vec<GoneNode>, StoreError> {
    let mut statement = c.prepare_cached(
        "SELECT node, site, presence, reason, coalesce(went, last_seen) FROM node WHERE presence <> 'online'
         ORDER BY node LIMIT ?1",
    )?;
    let rows = statement.query_map([limit as i64], |r| {
        Ok(GoneNode {
            node: parse(r, 0)?,
            site: parse(r, 1)?,
            presence: presence(r, 2)?,
            reason: r.get(3)?,
            went_ms: r.get(4)?,
        })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Nodes that count as online and were not heard since a time.
pub fn silent(
    c: &Connection,
    since_ms: i64,
    after: Option<&NodeId>,
    limit: usize,
) -> Result<Vec<(SiteId, NodeId)>, StoreError> {
    let mut statement = c.prepare_cached(
        "SELECT site, node FROM node WHERE presence = 'online' AND last_seen < ?1 AND (?2 IS NULL OR node > ?2)
         ORDER BY node LIMIT ?3",
    )?;
    let key = params![since_ms, after.map(NodeId::as_str), limit as i64];
    let rows = statement.query_map(key, |r| Ok((parse(r, 0)?, parse(r, 1)?)))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Why a node is lost.
const LOST: &str = "its connection broke and it did not come back";

/// Marks nodes as lost that count as online and were not heard since a time: they went when they were heard last.
pub fn lose_silent(t: &Transaction<'_>, since_ms: i64) -> Result<usize, StoreError> {
    let mut statement = t.prepare_cached(
        "UPDATE node SET presence = 'lost', reason = ?2, went = last_seen WHERE presence = 'online' AND last_seen < ?1",
    )?;
    Ok(statement.execute(params![since_ms, LOST])?)
}

/// A reason means the node said goodbye, none that its connection broke. A death of an older connection is late.
pub fn mark_offline(
    t: &Transaction<'_>,
    node: &NodeId,
    connection: Option<u64>,
    reason: Option<&str>,
    at_ms: i64,
) -> Result<bool, StoreError> {
    let presence = if reason.is_some() { "stopped" } else { "lost" };
    let reason = reason.unwrap_or(LOST);
    let changed = t
        .prepare_cached(
            "UPDATE node SET presence = ?2, reason = ?3, last_seen = max(last_seen, ?5), went = max(last_seen, ?6)
             WHERE node = ?1 AND presence = 'online' AND (?4 IS NULL OR connection <= ?4)",
        )?
        .execute(params![
            node.as_str(),
            presence,
            reason,
            connection.map(int),
            if presence == "stopped" { at_ms } else { 0 },
            at_ms
        ])?;
    Ok(changed > 0)
}

/// The series of the current epoch by number.
pub fn dictionary(c: &Connection, node: &NodeId) -> Result<Vec<SeriesDef>, StoreError> {
    let mut statement = c.prepare_cached(
        "SELECT slot, data FROM dictionary JOIN series ON series.id = dictionary.series WHERE dictionary.node = ?1 ORDER BY slot",
    )?;
    let rows = statement.query_map([node.as_str()], |r| {
        let mut def: SeriesDef = from_blob(r, 1)?;
        def.id.0 = r.get(0)?;
        Ok(def)
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Takes dictionary entries; a whole dictionary replaces what was there.
pub fn put_dictionary(
    t: &Transaction<'_>,
    node: &NodeId,
    epoch: u32,
    series: &[SeriesDef],
    whole: bool,
) -> Result<(), StoreError> {
    if whole {
        t.prepare_cached("DELETE FROM dictionary WHERE node = ?1 AND epoch <= ?2")?
            .execute(params![node.as_str(), epoch])?;
    }
    for def in series {
        let id = series_id(t, node, def)?;
        t.prepare_cached(
            "INSERT INTO dictionary (node, slot, epoch, series) VALUES (?1, ?2, ?3, ?4)
             ON CONFLICT (node, slot) DO UPDATE SET epoch = ?3, series = ?4 WHERE epoch <= ?3 OR ?5",
        )?
        .execute(params![node.as_str(), def.id.0, epoch, id, whole])?;
    }
    Ok(())
}

fn series_id(t: &Transaction<'_>, node: &NodeId, def: &SeriesDef) -> Result<i64, StoreError> {
    let label = def.label();
    let known = t
        .prepare_cached("SELECT id FROM series WHERE node = ?1 AND label = ?2")?
        .query_row(params![node.as_str(), label], |r| r.get(0))
        .optional()?;
    if let Some(id) = known {
        return Ok(id);
    }
    t.prepare_cached("INSERT INTO series (node, label, data) VALUES (?1, ?2, ?3)")?.execute(params![
        node.as_str(),
        label,
        blob(def)
    ])?;
    Ok(t.last_insert_rowid())
}

/// Minute values of the asked-for series.
pub fn points(c: &Connection, query: &PointQuery) -> Result<Vec<SeriesPoints>, StoreError> {
    let mut series = c.prepare_cached("SELECT id, label, data FROM series WHERE node = ?1 ORDER BY label")?;
    let mut values = c.prepare_cached(
        "SELECT at, mean, min, max FROM point WHERE series = ?1 AND at >= ?2 AND at < ?3 ORDER BY at",
    )?;
    let found = series.query_map([query.node.as_str()], |r| {
        Ok((r.get::<_, i64>(0)?, r.get::<_, String>(1)?, from_blob::<SeriesDef>(r, 2)?))
    })?;
    let mut out = Vec::new();
    for row in found {
        let (id, label, def) = row?;
        if !query.series.is_empty() && !query.series.contains(&label) {
            continue;
        }
        let num = |v: Option<f32>| v.map_or(Num::NONE, Num);
        let rows = values.query_map(params![id, query.from_ms, query.to_ms], |r| {
            Ok(Point { at_ms: r.get(0)?, mean: num(r.get(1)?), min: num(r.get(2)?), max: num(r.get(3)?) })
        })?;
        out.push(SeriesPoints { series: def, points: rows.collect::<Result<_, _>>()? });
    }
    Ok(out)
}
