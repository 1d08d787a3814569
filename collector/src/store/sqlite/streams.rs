//! Which numbers of a stream are stored: the acknowledgement, and what makes ingest idempotent.
//!
//! A stream has a watermark, up to which everything is stored or will never come, and runs of stored numbers above it. The
//! sender's oldest number and its gap records move the watermark over what was dropped.

use rusqlite::{Connection, OptionalExtension as _, Transaction, params};
use tacit_wire::message::StreamAck;
use tacit_wire::{NodeId, Seq, StreamId};

use super::StoreError;
use super::convert::{int, unsigned};

/// Takes note of a numbered message; `false` when it was there already.
pub fn take(
    t: &Transaction<'_>,
    node: &NodeId,
    stream: StreamId,
    seq: Seq,
    oldest: Seq,
    now_ms: i64,
) -> Result<bool, StoreError> {
    let known = t
        .prepare_cached("SELECT contiguous FROM stream WHERE node = ?1 AND stream = ?2")?
        .query_row(params![node.as_str(), stream.0], |r| r.get::<_, i64>(0))
        .optional()?;
    let before = known.map_or(0, unsigned);
    let is_new = seq.0 > before && !is_ahead(t, node, stream, seq)?;
    if is_new {
        add_run(t, node, stream, seq.0, seq.0)?;
    }
    let floor = before.max(oldest.0.saturating_sub(1));
    advance(t, node, stream, floor, now_ms)?;
    Ok(is_new)
}

/// Takes note of numbers that will never come.
pub fn gap(
    t: &Transaction<'_>,
    node: &NodeId,
    stream: StreamId,
    first: Seq,
    last: Seq,
    now_ms: i64,
) -> Result<(), StoreError> {
    if first > last {
        return Ok(());
    }
    add_run(t, node, stream, first.0, last.0)?;
    let before = t
        .prepare_cached("SELECT contiguous FROM stream WHERE node = ?1 AND stream = ?2")?
        .query_row(params![node.as_str(), stream.0], |r| r.get::<_, i64>(0))
        .optional()?;
    advance(t, node, stream, before.map_or(0, unsigned), now_ms)
}

fn is_ahead(t: &Transaction<'_>, node: &NodeId, stream: StreamId, seq: Seq) -> Result<bool, StoreError> {
    let mut statement = t.prepare_cached(
        "SELECT 1 FROM stream_ahead WHERE node = ?1 AND stream = ?2 AND first <= ?3 AND last >= ?3 LIMIT 1",
    )?;
    Ok(statement.exists(params![node.as_str(), stream.0, int(seq.0)])?)
}

/// Adds a run above the watermark and joins the runs it touches: the number of rows stays that of the holes.
fn add_run(t: &Transaction<'_>, node: &NodeId, stream: StreamId, first: u64, last: u64) -> Result<(), StoreError> {
    let (low, high): (Option<i64>, Option<i64>) = t
        .prepare_cached(
            "SELECT min(first), max(last) FROM stream_ahead WHERE node = ?1 AND stream = ?2 AND first <= ?4 + 1 AND last >= ?3 - 1",
        )?
        .query_row(params![node.as_str(), stream.0, int(first), int(last)], |r| Ok((r.get(0)?, r.get(1)?)))?;
    t.prepare_cached(
        "DELETE FROM stream_ahead WHERE node = ?1 AND stream = ?2 AND first <= ?4 + 1 AND last >= ?3 - 1",
    )?
    .execute(params![node.as_str(), stream.0, int(first), int(last)])?;
    let first = low.map_or(first, |l| unsigned(l).min(first));
    let last = high.map_or(last, |h| unsigned(h).max(last));
    t.prepare_cached("INSERT INTO stream_ahead (node, stream, first, last) VALUES (?1, ?2, ?3, ?4)")?
        .execute(params![node.as_str(), stream.0, int(first), int(last)])?;
    Ok(())
}

/// Sets the watermark to `floor` or to the end of the run that touches it, and forgets runs below.
fn advance(t: &Transaction<'_>, node: &NodeId, stream: StreamId, floor: u64, now_ms: i64) -> Result<(), StoreError> {
    let touching: Option<i64> = t
        .prepare_cached("SELECT max(last) FROM stream_ahead WHERE node = ?1 AND stream = ?2 AND first <= ?3 + 1")?
        .query_row(params![node.as_str(), stream.0, int(floor)], |r| r.get(0))?;
    let mark = touching.map_or(floor, |last| unsigned(last).max(floor));
    t.prepare_cached("DELETE FROM stream_ahead WHERE node = ?1 AND stream = ?2 AND last <= ?3")?.execute(params![
        node.as_str(),
        stream.0,
        int(mark)
    ])?;
    t.prepare_cached(
        "INSERT INTO stream (node, stream, contiguous, last_seen) VALUES (?1, ?2, ?3, ?4)
         ON CONFLICT (node, stream) DO UPDATE SET contiguous = ?3, last_seen = ?4",
    )?
    .execute(params![node.as_str(), stream.0, int(mark), now_ms])?;
    Ok(())
}

/// The watermarks of a node's streams, the most recently used first.
pub fn acks(c: &Connection, node: &NodeId) -> Result<Vec<StreamAck>, StoreError> {
    let mut statement =
        c.prepare_cached("SELECT stream, contiguous FROM stream WHERE node = ?1 ORDER BY last_seen DESC LIMIT 64")?;
    let rows = statement
        .query_map([node.as_str()], |r| Ok(StreamAck { stream: StreamId(r.get(0)?), seq: Seq(unsigned(r.get(1)?)) }))?;
    Ok(rows.collect::<Result<_, _>>()?)
}
