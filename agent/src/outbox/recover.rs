//! Taking up what earlier starts left on disk.

use std::collections::HashMap;
use std::io;

use tacit_wire::{Seq, StreamId};

use super::queue::{Entry, Outbox, Segment, index, segment_name};
use super::{Disk, record};
use crate::clock::Tick;

/// Before this (2020-01-01) a wall clock was not set: boards without a battery start there, and such a record has no age.
const CLOCK_WAS_SET_MS: i64 = 1_577_836_800_000;

/// Reads every segment in the order they were written. Other files are left alone.
pub(super) fn recover<D: Disk>(outbox: &mut Outbox<D>, now: Tick) -> io::Result<()> {
    let mut numbers: Vec<u64> = outbox.disk.list()?.iter().filter_map(|name| number_of(name)).collect();
    numbers.sort_unstable();
    outbox.next_segment = numbers.last().map_or(1, |n| n + 1);
    let mut newest: HashMap<StreamId, Seq> = HashMap::new();
    // Streams whose last segment ended in garbage: if they go on in a later file, what is between is lost.
    let mut broken: HashMap<StreamId, Seq> = HashMap::new();
    for number in numbers {
        take_segment(outbox, number, now, &mut newest, &mut broken);
    }
    Ok(())
}

fn take_segment<D: Disk>(
    outbox: &mut Outbox<D>,
    number: u64,
    now: Tick,
    newest: &mut HashMap<StreamId, Seq>,
    broken: &mut HashMap<StreamId, Seq>,
) {
    let name = segment_name(number);
    let bytes = match outbox.disk.read(&name) {
        Ok(bytes) => bytes,
        Err(error) => {
            outbox.trouble = Some(format!("outbox: cannot read {name}: {error}; its messages wait for the next start"));
            return;
        }
    };
    let Some(scan) = record::scan(&bytes) else {
        // A crash before the first sync leaves less than a header; anything else was damaged as a whole.
        broken.extend(newest.iter());
        outbox.discard(number);
        return;
    };
    let mut live = 0;
    for (meta, offset, len) in scan.records {
        if newest.get(&meta.stream).is_some_and(|seen| *seen >= meta.seq) {
            continue;
        }
        if let Some(last) = broken.remove(&meta.stream)
            && last.next() < meta.seq
        {
            outbox.note_gap(meta.lane, meta.stream, last.next(), Seq(meta.seq.0 - 1), "corrupt");
        }
        newest.insert(meta.stream, meta.seq);
        let age = if meta.wall_ms < CLOCK_WAS_SET_MS { 0 } else { now.wall_ms.saturating_sub(meta.wall_ms).max(0) };
        outbox.lanes[index(meta.lane)].entries.push_back(Entry {
            meta,
            mono_ms: (now.mono_ms as i64).saturating_sub(age),
            len,
            memory: None,
            place: Some((number, offset)),
            sent: false,
            gone: false,
        });
        live += 1;
    }
    if scan.good < bytes.len() as u64 {
        broken.extend(newest.iter());
        // Nothing after a bad record can be trusted. Should the cut fail, the next start reads the same prefix again.
        let _ = outbox.disk.truncate(&name, scan.good);
    }
    if live == 0 {
        outbox.discard(number);
    } else {
        outbox.segments.insert(number, Segment { bytes: scan.good, live });
    }
}

fn number_of(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(".seg").filter(|d| d.len() == 16)?;
    let number = u64::from_str_radix(digits, 16).ok()?;
    // We count from 1: a number so large is not ours.
    (segment_name(number) == name && number < u64::MAX / 2).then_some(number)
}
