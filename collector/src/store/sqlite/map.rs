//! The map: what nodes said, whose addresses are whose, and hourly figures.

use std::collections::HashMap;

use rusqlite::{Connection, OptionalExtension as _, Row, Transaction, params};
use tacit_wire::message::{Birth, Links, Listener, Protocol};
use tacit_wire::{NodeId, SiteId};

use super::convert::{blob, from_blob, parse};
use super::{
    AddressClaim, EdgeFigures, EdgeHours, EdgeRecord, Figures, Listening, MapChange, MapHour, SPAN_MAX, StoreError,
    StoredLinks, Vertex, minutes_of,
};

const MINUTE_MS: i64 = 60_000;
/// How long the messages themselves are kept: long enough to join an hour again for a node that was away.
const RAW_KEPT_MS: i64 = 6 * 3_600_000;
/// Most hourly rows that one answer looks at.
const ROWS_MAX: i64 = 2_000_000;
/// Addresses of a node that are believed.
const ADDRESSES_MAX: usize = 64;

/// Listening services of a node that are believed.
const LISTENERS_MAX: usize = 1024;

/// Keeps a message under the first minute it is about, by our clock.
pub fn store(t: &Transaction<'_>, site: &SiteId, m: &Links, offset: i64) -> Result<(), StoreError> {
    // Offsets are estimates: without rounding every node would have minutes of its own.
    let minute = m.start_ms.saturating_sub(offset).saturating_add(MINUTE_MS / 2).div_euclid(MINUTE_MS);
    t.prepare_cached("INSERT INTO links (node, site, minute, minutes, data) VALUES (?1, ?2, ?3, ?4, ?5)")?.execute(
        params![m.head.node.as_str(), site.as_str(), minute.saturating_mul(MINUTE_MS), minutes_of(m), blob(m)],
    )?;
    Ok(())
}

fn stored(r: &Row<'_>) -> rusqlite::Result<StoredLinks> {
    Ok(StoredLinks { id: r.get(0)?, site: parse(r, 1)?, minute: r.get(2)?, links: from_blob(r, 3)? })
}

/// Messages after number `after` about minutes in a range, in the order they came.
pub fn after(c: &Connection, after: i64, minutes: (i64, i64), limit: usize) -> Result<Vec<StoredLinks>, StoreError> {
    let mut statement = c.prepare_cached(
        "SELECT id, site, minute, data FROM links WHERE id > ?1 AND minute >= ?2 AND minute < ?3 ORDER BY id LIMIT ?4",
    )?;
    let rows = statement.query_map(params![after, minutes.0, minutes.1, limit as i64], stored)?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Everything that is about one minute, alone or with others, in the order it came.
pub fn minute(c: &Connection, minute: i64) -> Result<Vec<StoredLinks>, StoreError> {
    let mut statement = c.prepare_cached(
        "SELECT id, site, minute, data FROM links
         WHERE minute <= ?1 AND minute > ?2 AND minute + minutes * 60000 > ?1 ORDER BY id",
    )?;
    let rows = statement.query_map(params![minute, minute.saturating_sub(SPAN_MAX * MINUTE_MS)], stored)?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// A birth says which addresses a node has: others end, new ones begin. Of a node that is gone, an address ends when
/// somebody else comes with it.
pub fn addresses(t: &Transaction<'_>, site: &SiteId, birth: &Birth, now: i64) -> Result<(), StoreError> {
    let said: Vec<&str> = birth.addresses.iter().take(ADDRESSES_MAX).map(String::as_str).collect();
    let node = birth.node.as_str();
    let mut known = t.prepare_cached("SELECT site, address, since FROM address WHERE node = ?1 AND until IS NULL")?;
    let open: Vec<(String, String, i64)> =
        known.query_map([node], |r| Ok((r.get(0)?, r.get(1)?, r.get(2)?)))?.collect::<Result<_, _>>()?;
    let mut end = t.prepare_cached(
        "UPDATE address SET until = ?5 WHERE site = ?1 AND address = ?2 AND node = ?3 AND since = ?4",
    )?;
    for (old_site, address, since) in &open {
        if old_site != site.as_str() || !said.contains(&address.as_str()) {
            end.execute(params![old_site, address, node, since, now])?;
        }
    }
    let mut gone = t.prepare_cached(
        "UPDATE address SET until = max(since, min(?3, (SELECT last_seen FROM node WHERE node.node = address.node)))
         WHERE site = ?1 AND address = ?2 AND until IS NULL
           AND node IN (SELECT node FROM node WHERE presence <> 'online')",
    )?;
    let mut begin = t.prepare_cached(
        "INSERT OR IGNORE INTO address (site, address, node, since, until) VALUES (?1, ?2, ?3, ?4, NULL)",
    )?;
    for address in said {
        if open.iter().any(|(s, a, _)| s == site.as_str() && a == address) {
            continue;
        }
        gone.execute(params![site.as_str(), address, now])?;
        begin.execute(params![site.as_str(), address, node, now])?;
    }
    Ok(())
}

/// Notes what a birth says the node listens on, when that is another than before.
pub fn listens(t: &Transaction<'_>, site: &SiteId, birth: &Birth) -> Result<(), StoreError> {
    let listeners = &birth.listeners[..birth.listeners.len().min(LISTENERS_MAX)];
    let data = serde_json::to_string(listeners).map_err(|e| StoreError::Database(e.to_string()))?;
    let node = birth.node.as_str();
    let same = t
        .prepare_cached("SELECT 1 FROM listening WHERE node = ?1 AND site = ?2 AND data = ?3")?
        .exists(params![node, site.as_str(), data])?;
    if !same {
        t.prepare_cached("INSERT OR REPLACE INTO listening (node, site, data) VALUES (?1, ?2, ?3)")?
            .execute(params![node, site.as_str(), data])?;
    }
    Ok(())
}

/// What nodes listen on, of those that changed after number `after`.
pub fn listening(c: &Connection, after: i64, limit: usize) -> Result<Vec<Listening>, StoreError> {
    let mut statement =
        c.prepare_cached("SELECT id, site, node, data FROM listening WHERE id > ?1 ORDER BY id LIMIT ?2")?;
    let rows = statement.query_map(params![after, limit as i64], |r| {
        let data: String = r.get(3)?;
        let listeners: Vec<Listener> = serde_json::from_str(&data).unwrap_or_default();
        Ok(Listening { id: r.get(0)?, site: parse(r, 1)?, node: parse(r, 2)?, listeners })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Addresses that somebody had after `since`. Who named an address first comes first, also when it was away meanwhile: nobody
/// takes an address by naming it while its node restarts.
pub fn claims(c: &Connection, since: i64) -> Result<Vec<AddressClaim>, StoreError> {
    // Of a node that is gone an address lasts only as long as nobody else has it.
    let mut statement = c.prepare_cached(
        "SELECT a.site, address, a.node, since,
             (SELECT min(f.since) FROM address f WHERE f.site = a.site AND f.address = a.address AND f.node = a.node),
             CASE WHEN until IS NULL AND presence <> 'online' AND EXISTS (
                 SELECT 1 FROM address b WHERE b.site = a.site AND b.address = a.address AND b.node <> a.node
                     AND b.until IS NULL)
             THEN max(since, last_seen) ELSE until END
         FROM address a JOIN node ON node.node = a.node WHERE until IS NULL OR until >= ?1 ORDER BY 5, since, a.node",
    )?;
    let rows = statement.query_map([since], |r| {
        Ok(AddressClaim {
            site: parse::<SiteId>(r, 0)?,
            address: r.get(1)?,
            node: parse::<NodeId>(r, 2)?,
            since: r.get(3)?,
            until: r.get(5)?,
        })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Writes a part of an hour; rows that are there are replaced, so that doing it twice changes nothing.
pub fn save_hour(t: &Transaction<'_>, part: &MapHour) -> Result<(), StoreError> {
    let mut vertex = t.prepare_cached(
        "INSERT INTO vertex (id, last_seen, data) VALUES (?1, ?2, ?3)
         ON CONFLICT (id) DO UPDATE SET last_seen = max(last_seen, ?2), data = ?3",
    )?;
    for v in &part.vertices {
        let data = serde_json::to_string(v).map_err(|e| StoreError::Database(e.to_string()))?;
        vertex.execute(params![v.id, part.hour, data])?;
    }
    let mut edge = t.prepare_cached(
        "INSERT INTO edge (name, client, server, protocol, port, via, first_seen, last_seen)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)
         ON CONFLICT (name) DO UPDATE SET via = coalesce(?6, via), first_seen = min(first_seen, ?7),
             last_seen = max(last_seen, ?8)
         RETURNING id",
    )?;
    let mut hour = t.prepare_cached(
        "INSERT OR REPLACE INTO edge_hour (hour, edge, first_seen, last_seen, data) VALUES (?1, ?2, ?3, ?4, ?5)",
    )?;
    for EdgeFigures { edge: e, figures: f } in &part.edges {
        let protocol = e.protocol as i64;
        let id: i64 = edge.query_row(
            params![e.id, e.client, e.server, protocol, e.port, e.via, e.first_seen_ms, e.last_seen_ms],
            |r| r.get(0),
        )?;
        hour.execute(params![part.hour, id, f.first_ms, f.last_ms, blob(f)])?;
    }
    Ok(())
}

const EDGE: &str = "name, client, server, protocol, port, via, edge.first_seen, edge.last_seen";

fn record(r: &Row<'_>) -> rusqlite::Result<EdgeRecord> {
    Ok(EdgeRecord {
        id: r.get(0)?,
        client: r.get(1)?,
        server: r.get(2)?,
        protocol: match r.get::<_, i64>(3)? {
            0 => Protocol::Tcp,
            1 => Protocol::Udp,
            _ => Protocol::Unknown,
        },
        port: r.get(4)?,
        via: r.get(5)?,
        first_seen_ms: r.get(6)?,
        last_seen_ms: r.get(7)?,
    })
}

/// Every edge that is remembered, most recent first.
pub fn edges(c: &Connection, limit: usize) -> Result<Vec<EdgeRecord>, StoreError> {
    let mut statement = c.prepare_cached(&format!("SELECT {EDGE} FROM edge ORDER BY last_seen DESC LIMIT ?1"))?;
    let rows = statement.query_map([limit as i64], record)?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// What each edge did in the hours of a range that are kept, added up.
pub fn figures(c: &Connection, from: i64, to: i64) -> Result<Vec<EdgeFigures>, StoreError> {
    let mut count =
        c.prepare_cached("SELECT count(*) FROM (SELECT 1 FROM edge_hour WHERE hour >= ?1 AND hour < ?2 LIMIT ?3)")?;
    let rows: i64 = count.query_row(params![from, to, ROWS_MAX + 1], |r| r.get(0))?;
    if rows > ROWS_MAX {
        let text = format!("the time holds more than {ROWS_MAX} hourly figures: ask for a shorter one");
        return Err(StoreError::Conflict(text));
    }
    let mut found: Vec<EdgeFigures> = Vec::new();
    let mut place: HashMap<i64, usize> = HashMap::new();
    let mut hours =
        c.prepare_cached("SELECT edge, data FROM edge_hour WHERE hour >= ?1 AND hour < ?2 ORDER BY hour")?;
    let mut edge = c.prepare_cached(&format!("SELECT {EDGE} FROM edge WHERE id = ?1"))?;
    let rows = hours.query_map(params![from, to], |r| Ok((r.get::<_, i64>(0)?, from_blob::<Figures>(r, 1)?)))?;
    for row in rows {
        let (id, figures) = row?;
        if let Some(at) = place.get(&id) {
            found[*at].figures.add(&figures);
        } else if let Some(edge) = edge.query_row([id], record).optional()? {
            place.insert(id, found.len());
            found.push(EdgeFigures { edge, figures });
        }
    }
    Ok(found)
}

/// One edge, hour by hour.
pub fn history(c: &Connection, name: &str, from: i64, to: i64) -> Result<Option<EdgeHours>, StoreError> {
    let mut edge = c.prepare_cached(&format!("SELECT {EDGE}, id FROM edge WHERE name = ?1"))?;
    let found = edge.query_row([name], |r| Ok((record(r)?, r.get::<_, i64>(8)?))).optional()?;
    let Some((record, id)) = found else { return Ok(None) };
    let mut hours = c.prepare_cached(
        "SELECT hour, data FROM edge_hour WHERE edge = ?1 AND hour >= ?2 AND hour < ?3 ORDER BY hour",
    )?;
    let rows = hours.query_map(params![id, from, to], |r| Ok((r.get(0)?, from_blob(r, 1)?)))?;
    Ok(Some((record, rows.collect::<Result<_, _>>()?)))
}

/// Vertices by their ids; one that is not known is left out.
pub fn vertices(c: &Connection, ids: &[String]) -> Result<Vec<Vertex>, StoreError> {
    let mut statement = c.prepare_cached("SELECT data FROM vertex WHERE id = ?1")?;
    let mut found = Vec::with_capacity(ids.len());
    for id in ids {
        let data: Option<String> = statement.query_row([id], |r| r.get(0)).optional()?;
        found.extend(data.and_then(|d| serde_json::from_str(&d).ok()));
    }
    Ok(found)
}

/// Keeps changes; one that is there already stays as it is.
pub fn save_changes(t: &Transaction<'_>, changes: &[MapChange]) -> Result<(), StoreError> {
    let mut insert =
        t.prepare_cached("INSERT OR IGNORE INTO map_change (at, edge, kind, data) VALUES (?1, ?2, ?3, ?4)")?;
    for change in changes {
        let data = serde_json::to_string(change).map_err(|e| StoreError::Database(e.to_string()))?;
        let kind = format!("{:?}", change.kind).to_lowercase();
        insert.execute(params![change.at_ms, change.edge, kind, data])?;
    }
    Ok(())
}

/// Changes in a time, newest first.
pub fn changes(c: &Connection, from: i64, to: i64, limit: usize) -> Result<Vec<MapChange>, StoreError> {
    let mut statement =
        c.prepare_cached("SELECT data FROM map_change WHERE at >= ?1 AND at < ?2 ORDER BY at DESC, edge LIMIT ?3")?;
    let rows = statement.query_map(params![from, to, limit as i64], |r| r.get::<_, String>(0))?;
    let mut found = Vec::new();
    for row in rows {
        found.extend(serde_json::from_str(&row?).ok());
    }
    Ok(found)
}

/// Forgets what is too old, at most `step` hourly rows a call.
pub fn retain(t: &Transaction<'_>, before: i64, changes_before: i64, now: i64, step: i64) -> Result<usize, StoreError> {
    let mut gone =
        t.execute("DELETE FROM links WHERE minute < ?1 OR minute > ?2", [now - RAW_KEPT_MS, now + RAW_KEPT_MS])?;
    gone += t.execute(
        "DELETE FROM edge_hour WHERE (hour, edge) IN (SELECT hour, edge FROM edge_hour WHERE hour < ?1 LIMIT ?2)",
        params![before, step],
    )?;
    gone += t.execute("DELETE FROM edge WHERE last_seen < ?1 AND id NOT IN (SELECT edge FROM edge_hour)", [before])?;
    gone += t.execute("DELETE FROM vertex WHERE last_seen < ?1", [before])?;
    gone += t.execute("DELETE FROM address WHERE until < ?1", [before])?;
    gone += t.execute("DELETE FROM map_change WHERE at < ?1", [changes_before])?;
    Ok(gone)
}
