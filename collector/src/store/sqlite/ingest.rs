//! What one message changes.

use rusqlite::{OptionalExtension as _, Transaction, params};
use tacit_wire::message::{Birth, Event, Head, Phase, Report, Summary};
use tacit_wire::{NodeId, Num};

use super::convert::{blob, from_blob, int};
use super::{Incoming, IncomingBody, Outcome, StoreError, events, map, nodes, streams, tags};

/// Stores a message unless it was stored before.
pub fn store(t: &Transaction<'_>, message: &Incoming) -> Result<Outcome, StoreError> {
    let now = message.received_ms;
    let (head, gaps) = match &message.body {
        IncomingBody::Birth(b) => return birth(t, message, b),
        IncomingBody::Summary(m) => (&m.head, &[][..]),
        IncomingBody::Event(m) => (&m.head, &[][..]),
        IncomingBody::Links(m) => (&m.head, &[][..]),
        IncomingBody::Report(m) => (&m.head, &m.gaps[..]),
    };
    if !streams::take(t, &head.node, head.stream, head.seq, head.oldest, now)? {
        return Ok(Outcome::Duplicate);
    }
    for gap in gaps {
        streams::gap(t, &head.node, gap.stream, gap.first, gap.last, now)?;
    }
    let offset = seen(t, head, now)?;
    match &message.body {
        IncomingBody::Birth(_) => {}
        IncomingBody::Summary(m) => summary(t, m, offset)?,
        IncomingBody::Event(m) => event(t, m, offset, now)?,
        IncomingBody::Links(m) => map::store(t, &message.site, m, offset)?,
        IncomingBody::Report(m) => report(t, m)?,
    }
    count(t)?;
    Ok(Outcome::Stored)
}

fn count(t: &Transaction<'_>) -> Result<(), StoreError> {
    t.prepare_cached("UPDATE counter SET value = value + 1 WHERE name = 'messages'")?.execute([])?;
    Ok(())
}

fn birth(t: &Transaction<'_>, message: &Incoming, birth: &Birth) -> Result<Outcome, StoreError> {
    let now = message.received_ms;
    let known = t
        .prepare_cached("SELECT birth, connection FROM node WHERE node = ?1")?
        .query_row([birth.node.as_str()], |r| Ok((from_blob::<Birth>(r, 0)?, r.get::<_, i64>(1)?)))
        .optional()?;
    if let Some((before, connection)) = known
        && before.boot == birth.boot
        && int(birth.connection) <= connection
        && before == *birth
    {
        return Ok(Outcome::Duplicate);
    }
    t.prepare_cached(
        "INSERT INTO node (node, site, presence, first_seen, last_seen, offset_ms, connection, birth)
         VALUES (?1, ?2, 'online', ?3, ?3, ?4, ?5, ?6)
         ON CONFLICT (node) DO UPDATE SET site = ?2, presence = 'online', reason = NULL, last_seen = ?3, offset_ms = ?4,
             connection = ?5, birth = ?6",
    )?
    .execute(params![
        birth.node.as_str(),
        message.site.as_str(),
        now,
        birth.clock.wall_ms.saturating_sub(now),
        int(birth.connection),
        blob(birth)
    ])?;
    map::addresses(t, &message.site, birth, now)?;
    map::listens(t, &message.site, birth)?;
    tags::put(t, birth)?;
    count(t)?;
    Ok(Outcome::Stored)
}

/// Notes that a node spoke and gives its clock offset: node's time less ours. A message is delayed by at least nothing, so the
/// largest difference since the birth is nearest to the truth; backlog, which is late, does not lower it.
fn seen(t: &Transaction<'_>, head: &Head, now: i64) -> Result<i64, StoreError> {
    let offset = t
        .prepare_cached(
            "UPDATE node SET last_seen = max(last_seen, ?2), offset_ms = max(offset_ms, ?3 - ?2) WHERE node = ?1 RETURNING offset_ms",
        )?
        .query_row(params![head.node.as_str(), now, head.wall_ms], |r| r.get(0))
        .optional()?;
    Ok(offset.unwrap_or(0))
}

fn summary(t: &Transaction<'_>, m: &Summary, offset: i64) -> Result<(), StoreError> {
    let node = &m.head.node;
    nodes::put_dictionary(t, node, m.epoch, &m.series, false)?;
    let mut series_of =
        t.prepare_cached("SELECT series FROM dictionary WHERE node = ?1 AND slot = ?2 AND epoch <= ?3")?;
    let mut insert =
        t.prepare_cached("INSERT OR REPLACE INTO point (series, at, mean, min, max) VALUES (?1, ?2, ?3, ?4, ?5)")?;
    for row in &m.rows {
        let key = params![node.as_str(), row.id.0, m.epoch];
        let Some(series) = series_of.query_row(key, |r| r.get::<_, i64>(0)).optional()? else { continue };
        for (step, mean) in row.mean.iter().enumerate() {
            let at = m.start_ms.saturating_sub(offset).saturating_add(step as i64 * i64::from(m.step_s) * 1000);
            let pick = |list: &Option<Vec<Num>>| list.as_ref().and_then(|l| l.get(step)?.get());
            if mean.get().is_some() {
                insert.execute(params![series, at, mean.get(), pick(&row.min), pick(&row.max)])?;
            }
        }
    }
    Ok(())
}

fn report(t: &Transaction<'_>, m: &Report) -> Result<(), StoreError> {
    t.prepare_cached("UPDATE node SET report = ?2 WHERE node = ?1")?.execute(params![m.head.node.as_str(), blob(m)])?;
    Ok(())
}

/// How far in its life a phase is; a later one replaces an earlier one, whatever order they come in.
pub fn rank(phase: Phase) -> i64 {
    match phase {
        Phase::Open => 0,
        Phase::Update | Phase::Unknown => 1,
        Phase::Close => 2,
    }
}

/// Whether a phase was said before the one that is known. An event that closed may come back to life, so time decides; only
/// between two boots, whose times cannot be compared, the phases' order does.
fn is_late(known: &Event, known_phase: i64, m: &Event) -> bool {
    if known.head.boot != m.head.boot {
        return known_phase > rank(m.phase);
    }
    (m.head.mono_ms, rank(m.phase)) < (known.head.mono_ms, known_phase)
}

fn event(t: &Transaction<'_>, m: &Event, offset: i64, now: i64) -> Result<(), StoreError> {
    let node: &NodeId = &m.head.node;
    let known = t
        .prepare_cached("SELECT phase, data FROM event WHERE node = ?1 AND event = ?2")?
        .query_row(params![node.as_str(), m.event.0], |r| Ok((r.get::<_, i64>(0)?, from_blob::<Event>(r, 1)?)))
        .optional()?;
    let mut newest = m.clone();
    if let Some((phase, before)) = &known {
        if is_late(before, *phase, m) {
            return Ok(());
        }
        // A later phase repeats what earlier ones said, but may leave out what is large.
        newest.recording = newest.recording.or_else(|| before.recording.clone());
        if newest.processes.is_empty() {
            newest.processes.clone_from(&before.processes);
        }
        // Of what, it has to be known to the end.
        if newest.context.is_empty() {
            newest.context.clone_from(&before.context);
        }
        if newest.evidence.is_empty() {
            newest.evidence.clone_from(&before.evidence);
        }
    }
    let (alarm, severity) = events::figures(&newest);
    t.prepare_cached(
        "INSERT INTO event (node, event, onset, received, phase, judged, data, alarm, severity)
         VALUES (?1, ?2, ?3, ?4, ?5, 0, ?6, ?7, ?8)
         ON CONFLICT (node, event) DO UPDATE SET phase = ?5, judged = 0, data = ?6, alarm = ?7, severity = ?8,
             revision = revision + 1",
    )?
    .execute(params![
        node.as_str(),
        m.event.0,
        m.onset_ms.saturating_sub(offset),
        now,
        rank(m.phase),
        blob(&newest),
        alarm,
        severity
    ])?;
    Ok(())
}
