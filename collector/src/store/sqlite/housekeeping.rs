//! Quarantine, retention and counts.

use rusqlite::{Connection, Transaction, params};

use super::convert::unsigned;
use super::{NodeRecord, Presence, Quarantined, Retention, StoreError, Totals, access, identity, map, nodes};

/// Messages the quarantine holds.
const QUARANTINE_ROWS: i64 = 1000;
/// Bytes of each that are kept.
const QUARANTINE_HEAD: usize = 512;

/// Keeps the head of a bad message.
pub fn quarantine(t: &Transaction<'_>, bad: &Quarantined) -> Result<(), StoreError> {
    let head = &bad.head[..bad.head.len().min(QUARANTINE_HEAD)];
    t.prepare_cached(
        "INSERT INTO quarantine (received, topic, client, reason, bytes, head) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
    )?
    .execute(params![bad.received_ms, bad.topic, bad.client, bad.reason, bad.bytes as i64, head])?;
    let newest = t.last_insert_rowid();
    t.prepare_cached("DELETE FROM quarantine WHERE id <= ?1")?.execute([newest - QUARANTINE_ROWS])?;
    Ok(())
}

/// The quarantine, newest first.
pub fn quarantined(c: &Connection, limit: usize) -> Result<Vec<Quarantined>, StoreError> {
    let mut statement = c.prepare_cached(
        "SELECT received, topic, client, reason, bytes, head FROM quarantine ORDER BY id DESC LIMIT ?1",
    )?;
    let rows = statement.query_map([limit as i64], |r| {
        Ok(Quarantined {
            received_ms: r.get(0)?,
            topic: r.get(1)?,
            client: r.get(2)?,
            reason: r.get(3)?,
            bytes: r.get::<_, i64>(4)?.try_into().unwrap_or(0),
            head: r.get(5)?,
        })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Forgets what is too old, a bounded number of rows a call so that ingest does not wait long.
pub fn retain(t: &Transaction<'_>, limits: &Retention, now_ms: i64) -> Result<u64, StoreError> {
    const STEP: i64 = 20_000;
    let before = |days: u32| now_ms - i64::from(days) * 86_400_000;
    let mut gone = 0;
    gone += t.execute(
        "DELETE FROM point WHERE (series, at) IN (SELECT series, at FROM point WHERE at < ?1 LIMIT ?2)",
        params![before(limits.points_days), STEP],
    )?;
    gone += map::retain(t, before(limits.points_days), before(limits.events_days), now_ms, STEP)?;
    gone += t.execute(
        "DELETE FROM event WHERE incident IS NULL AND judged = 1 AND onset < ?1",
        [before(limits.events_days)],
    )?;
    let old = "(SELECT id FROM incident WHERE open = 0 AND opened < ?1)";
    let limit = [before(limits.incidents_days)];
    gone += t.execute(&format!("DELETE FROM event WHERE incident IN {old}"), limit)?;
    gone += t.execute(&format!("DELETE FROM audit WHERE incident IN {old}"), limit)?;
    gone += t.execute(&format!("DELETE FROM ranking WHERE incident IN {old}"), limit)?;
    gone += t.execute(&format!("DELETE FROM notification WHERE incident IN {old}"), limit)?;
    gone += t.execute(&format!("DELETE FROM incident_node WHERE incident IN {old}"), limit)?;
    gone += t.execute("DELETE FROM incident WHERE open = 0 AND opened < ?1", limit)?;
    gone += access::retain(t, now_ms, before(limits.incidents_days))?;
    gone += identity::retain(t, before(limits.incidents_days))?;
    // A stream is one start of an agent; after this long nobody sends its messages again.
    gone += t.execute("DELETE FROM stream WHERE last_seen < ?1", [before(60)])?;
    Ok(gone as u64)
}

/// What was worth a page in the last 30 days is noted for the console, whoever else was told.
const PAGES: &str = "SELECT count(*) FROM notification WHERE receiver = 'console'
    AND (state = 'opened' OR state LIKE 'reopened%') AND made >= (unixepoch() - 30 * 86400) * 1000";

/// Counts over everything.
pub fn totals(c: &Connection) -> Result<Totals, StoreError> {
    let number = |sql: &str| -> Result<i64, StoreError> { Ok(c.query_row(sql, [], |r| r.get(0))?) };
    let nodes = nodes::list(c, None, i64::MAX as usize)?;
    let online = || nodes.iter().filter(|n| n.presence == Presence::Online);
    let promises = || nodes.iter().filter_map(|n| Some(&n.report.as_ref()?.promise));
    Ok(Totals {
        nodes: nodes.len() as u64,
        nodes_online: online().count() as u64,
        series: online().map(series).sum(),
        incidents_open: unsigned(number("SELECT count(*) FROM incident WHERE open = 1")?),
        last_incident_ms: c.query_row("SELECT max(opened) FROM incident", [], |r| r.get(0))?,
        alarms_actual: promises().map(|p| u64::from(p.events)).sum(),
        // The sum of nothing is -0, which people would read.
        alarms_promised: promises()
            .filter_map(|p| Some(f64::from(p.promised_per_day.get()? * p.days.get()?)))
            .fold(0.0, |all, one| all + one),
        pages: unsigned(number(PAGES)?),
        messages: unsigned(number("SELECT value FROM counter WHERE name = 'messages'")?),
        bytes: unsigned(number("SELECT page_count * page_size FROM pragma_page_count, pragma_page_size")?),
    })
}

fn series(node: &NodeRecord) -> u64 {
    u64::from(node.report.as_ref().map_or(node.birth.series, |r| r.series))
}
