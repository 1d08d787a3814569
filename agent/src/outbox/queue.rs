//! The queue itself: an index in memory, payloads in memory or in segment files.

use std::collections::{BTreeMap, VecDeque};
use std::io;

use tacit_wire::message::{Gap, Lane, LaneRange};
use tacit_wire::topic::Up;
use tacit_wire::{Seq, StreamId};

use super::record::{self, HEADER, Meta, OVERHEAD};
use super::{Disk, recover};
use crate::clock::Tick;

/// What the outbox may hold.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Bytes in memory and files together.
    pub max_bytes: u64,
    /// Oldest message, in milliseconds.
    pub max_age_ms: u64,
    /// Bytes of payload in memory before they spill.
    pub max_memory: u64,
    /// Messages: each costs some 80 bytes of index.
    pub max_messages: usize,
    /// Bytes of one segment file.
    pub segment: u64,
}

impl Limits {
    /// The usual limits for so many bytes and milliseconds.
    #[must_use]
    pub fn new(max_bytes: u64, max_age_ms: u64) -> Self {
        let segment = (max_bytes / 16).clamp(128 << 10, 1 << 20);
        Self { max_bytes, max_age_ms, max_memory: (max_bytes / 4).min(1 << 20), max_messages: 32_768, segment }
    }
}

/// A message's identity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Key {
    /// Its lane.
    pub lane: Lane,
    /// Its stream.
    pub stream: StreamId,
    /// Its number.
    pub seq: Seq,
}

/// A message to publish.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Which.
    pub key: Key,
    /// Where to.
    pub topic: Up,
    /// The encoded message.
    pub payload: Vec<u8>,
}

#[derive(Debug)]
pub(super) struct Entry {
    pub meta: Meta,
    /// Milliseconds since boot when queued; for what an earlier start left, worked back from the wall clock.
    pub mono_ms: i64,
    pub len: usize,
    pub memory: Option<Box<[u8]>>,
    /// Segment and offset of the record.
    pub place: Option<(u64, u64)>,
    pub sent: bool,
    pub gone: bool,
}

#[derive(Debug)]
pub(super) struct Lanes {
    pub lane: Lane,
    pub stream: StreamId,
    pub next: Seq,
    pub entries: VecDeque<Entry>,
    /// Segment that still grows.
    pub open: Option<u64>,
}

#[derive(Debug)]
pub(super) struct Segment {
    pub bytes: u64,
    /// Records in it that are still held.
    pub live: usize,
}

/// The queue.
#[derive(Debug)]
pub struct Outbox<D> {
    pub(super) disk: D,
    pub(super) limits: Limits,
    pub(super) lanes: [Lanes; 2],
    pub(super) segments: BTreeMap<u64, Segment>,
    pub(super) next_segment: u64,
    pub(super) gaps: Vec<Gap>,
    pub(super) dropped: u64,
    /// Bytes of payload held in memory.
    pub(super) memory: u64,
    /// The part of `memory` that is nowhere else.
    pub(super) unsaved: u64,
    pub(super) trouble: Option<String>,
}

pub(super) fn segment_name(number: u64) -> String {
    format!("{number:016x}.seg")
}

pub(super) fn index(lane: Lane) -> usize {
    usize::from(lane != Lane::Events)
}

impl<D: Disk> Outbox<D> {
    /// Opens the folder and takes up what earlier starts left. `streams` are new random ids for lanes events and rest.
    ///
    /// # Errors
    /// When the folder cannot be listed. Single files that cannot be read are skipped and counted.
    pub fn open(disk: D, limits: Limits, streams: [StreamId; 2], now: Tick) -> io::Result<Self> {
        let lane = |lane, stream| Lanes { lane, stream, next: Seq(1), entries: VecDeque::new(), open: None };
        let mut outbox = Self {
            disk,
            limits,
            lanes: [lane(Lane::Events, streams[0]), lane(Lane::Rest, streams[1])],
            segments: BTreeMap::new(),
            next_segment: 1,
            gaps: Vec::new(),
            dropped: 0,
            memory: 0,
            unsaved: 0,
            trouble: None,
        };
        recover::recover(&mut outbox, now)?;
        outbox.enforce(now);
        Ok(outbox)
    }

    /// Takes a message in. `write` gets stream, number and oldest number held, and returns the encoded message.
    /// A lane-events message is on disk when this returns, unless the disk fails ([`Self::trouble`]).
    ///
    /// # Errors
    /// Whatever `write` says; then no number was used.
    pub fn append<E>(
        &mut self,
        lane: Lane,
        topic: Up,
        now: Tick,
        write: impl FnOnce(StreamId, Seq, Seq) -> Result<Vec<u8>, E>,
    ) -> Result<Key, E> {
        let i = index(lane);
        let (stream, seq) = (self.lanes[i].stream, self.lanes[i].next);
        let payload = write(stream, seq, self.oldest(i, stream))?;
        self.lanes[i].next = seq.next();
        self.memory += payload.len() as u64;
        self.unsaved += (payload.len() + OVERHEAD) as u64;
        self.lanes[i].entries.push_back(Entry {
            meta: Meta { stream, seq, wall_ms: now.wall_ms, lane, topic },
            mono_ms: now.mono_ms as i64,
            len: payload.len(),
            memory: Some(payload.into_boxed_slice()),
            place: None,
            sent: false,
            gone: false,
        });
        if lane == Lane::Events {
            self.spill_lane(0, false);
        }
        if self.memory > self.limits.max_memory {
            self.spill();
        }
        self.enforce(now);
        Ok(Key { lane, stream, seq })
    }

    /// The next message that was not offered since it came in or since [`Self::resend`]; events first.
    pub fn take_next(&mut self) -> Option<Message> {
        for i in 0..2 {
            let mut from = 0;
            while let Some(at) = self.lanes[i].entries.iter().skip(from).position(|e| !e.sent && !e.gone) {
                let at = from + at;
                let entry = &mut self.lanes[i].entries[at];
                entry.sent = true;
                let meta = entry.meta;
                let payload = match (&entry.memory, entry.place) {
                    (Some(bytes), _) => Some(bytes.to_vec()),
                    (None, Some((segment, offset))) => {
                        let len = entry.len;
                        self.disk
                            .read_at(&segment_name(segment), offset, OVERHEAD + len)
                            .ok()
                            .and_then(|bytes| record::read(&bytes).map(|(m, range)| (m == meta, bytes[range].to_vec())))
                            .and_then(|(same, bytes)| same.then_some(bytes))
                    }
                    (None, None) => None,
                };
                if let Some(payload) = payload {
                    let key = Key { lane: meta.lane, stream: meta.stream, seq: meta.seq };
                    return Some(Message { key, topic: meta.topic, payload });
                }
                self.drop_entry(i, at, "corrupt");
                from = at;
            }
            self.tidy(i);
        }
        None
    }

    /// Everything unacknowledged is offered again, in order.
    pub fn resend(&mut self) {
        self.lanes.iter_mut().flat_map(|l| &mut l.entries).for_each(|e| e.sent = false);
    }

    /// Offers one message again.
    pub fn resend_one(&mut self, key: Key) {
        let entries = &mut self.lanes[index(key.lane)].entries;
        if let Some(entry) = entries.iter_mut().find(|e| e.meta.stream == key.stream && e.meta.seq == key.seq) {
            entry.sent = false;
        }
    }

    /// One message is stored.
    pub fn ack_one(&mut self, key: Key) {
        let i = index(key.lane);
        let found = self.lanes[i].entries.iter().position(|e| e.meta.stream == key.stream && e.meta.seq == key.seq);
        if let Some(at) = found {
            self.forget(i, at);
            self.tidy(i);
        }
    }

    /// Everything of a stream up to `seq` is stored (or known never to come). Unknown streams are ignored, and so is a
    /// number of the running stream that was never given out.
    pub fn ack_through(&mut self, stream: StreamId, seq: Seq) {
        for i in 0..2 {
            if self.lanes[i].stream == stream && seq >= self.lanes[i].next {
                continue;
            }
            for at in 0..self.lanes[i].entries.len() {
                let meta = self.lanes[i].entries[at].meta;
                if meta.stream == stream && meta.seq <= seq {
                    self.forget(i, at);
                }
            }
            self.tidy(i);
        }
    }

    /// Puts on disk what is only in memory, and frees the memory. Call it when the connection is lost, now and then
    /// while it is away, and at the end. Returns whether everything is safe.
    pub fn spill(&mut self) -> bool {
        self.spill_lane(0, true) & self.spill_lane(1, true)
    }

    /// With other bounds from now on. What is beyond them goes as ever: the oldest first, events last, each with a gap.
    pub fn set_limits(&mut self, limits: Limits, now: Tick) {
        self.limits = limits;
        if self.memory > self.limits.max_memory {
            self.spill();
        }
        self.enforce(now);
    }

    /// Drops what is beyond bytes, number or age.
    pub fn enforce(&mut self, now: Tick) {
        let oldest_allowed = now.mono_ms as i64 - i64::try_from(self.limits.max_age_ms).unwrap_or(i64::MAX);
        for i in 0..2 {
            while self.lanes[i].entries.front().is_some_and(|e| e.mono_ms < oldest_allowed) {
                self.drop_front(i, "age");
            }
        }
        while self.bytes() > self.limits.max_bytes || self.len() > self.limits.max_messages || self.memory_is_over() {
            let Some(i) = [1, 0].into_iter().find(|i| !self.lanes[*i].entries.is_empty()) else { break };
            self.drop_front(i, "size");
        }
    }

    /// Twice the bound, because one message may be larger than what a failed spill left room for.
    fn memory_is_over(&self) -> bool {
        self.unsaved > 2 * self.limits.max_memory
    }

    fn drop_front(&mut self, i: usize, reason: &'static str) {
        self.drop_entry(i, 0, reason);
        self.tidy(i);
    }

    fn drop_entry(&mut self, i: usize, at: usize, reason: &str) {
        let Some(meta) = self.lanes[i].entries.get(at).filter(|e| !e.gone).map(|e| e.meta) else { return };
        self.forget(i, at);
        self.dropped += 1;
        self.note_gap(meta.lane, meta.stream, meta.seq, meta.seq, reason);
    }

    pub(super) fn note_gap(&mut self, lane: Lane, stream: StreamId, first: Seq, last: Seq, reason: &str) {
        if let Some(gap) =
            self.gaps.iter_mut().find(|g| g.stream == stream && g.reason == reason && g.last.next() == first)
        {
            gap.last = last;
        } else {
            self.gaps.push(Gap { lane, stream, first, last, reason: reason.to_owned() });
        }
    }

    /// Marks an entry as gone and frees what it held.
    fn forget(&mut self, i: usize, at: usize) {
        let entry = &mut self.lanes[i].entries[at];
        if std::mem::replace(&mut entry.gone, true) {
            return;
        }
        if entry.memory.take().is_some() {
            self.memory -= entry.len as u64;
            if entry.place.is_none() {
                self.unsaved -= (entry.len + OVERHEAD) as u64;
            }
        }
        if let Some((segment, _)) = entry.place {
            self.release(segment);
        }
    }

    fn release(&mut self, number: u64) {
        let Some(segment) = self.segments.get_mut(&number) else { return };
        segment.live = segment.live.saturating_sub(1);
        if segment.live == 0 {
            self.discard(number);
        }
    }

    /// Removes a segment file that holds nothing more. When that fails its records may be offered after a restart.
    pub(super) fn discard(&mut self, number: u64) {
        self.segments.remove(&number);
        for lane in &mut self.lanes {
            lane.open.take_if(|open| *open == number);
        }
        if let Err(error) = self.disk.remove(&segment_name(number)) {
            self.trouble = Some(format!("outbox: cannot remove {}: {error}", segment_name(number)));
        }
    }

    fn tidy(&mut self, i: usize) {
        while self.lanes[i].entries.front().is_some_and(|e| e.gone) {
            self.lanes[i].entries.pop_front();
        }
    }

    /// Writes the unsaved entries of a lane in batches, one `fdatasync` each.
    fn spill_lane(&mut self, i: usize, free: bool) -> bool {
        let mut safe = true;
        while safe && self.lanes[i].entries.iter().any(|e| e.place.is_none() && !e.gone) {
            safe = match self.spill_batch(i) {
                Ok(()) => {
                    self.trouble = None;
                    true
                }
                Err(error) => {
                    self.trouble = Some(format!(
                        "outbox: cannot write to disk ({error}); up to {} bytes are kept in memory",
                        self.limits.max_memory
                    ));
                    false
                }
            };
        }
        if free {
            for entry in self.lanes[i].entries.iter_mut().filter(|e| e.place.is_some()) {
                if entry.memory.take().is_some() {
                    self.memory -= entry.len as u64;
                }
            }
        }
        safe
    }

    fn spill_batch(&mut self, i: usize) -> io::Result<()> {
        let number = match self.lanes[i].open {
            Some(n) if self.segments.get(&n).is_some_and(|s| s.bytes < self.limits.segment) => n,
            _ => {
                let n = self.next_segment;
                self.next_segment += 1;
                n
            }
        };
        let base = self.segments.get(&number).map_or(0, |s| s.bytes);
        let mut batch = if base == 0 { HEADER.to_vec() } else { Vec::new() };
        let mut places = Vec::new();
        for (at, entry) in self.lanes[i].entries.iter().enumerate() {
            let (None, false, Some(payload)) = (entry.place, entry.gone, &entry.memory) else { continue };
            places.push((at, base + batch.len() as u64));
            record::write(&mut batch, &entry.meta, payload);
            if base + batch.len() as u64 >= self.limits.segment {
                break;
            }
        }
        let name = segment_name(number);
        if let Err(error) = self.disk.append(&name, &batch).and_then(|()| self.disk.sync(&name)) {
            // After a failed write or sync nobody knows what the file holds: cut it back and never use it again.
            // Should the cut fail too, recovery recognises what is in two files by its number.
            self.lanes[i].open = None;
            let _ = if base == 0 { self.disk.remove(&name) } else { self.disk.truncate(&name, base) };
            return Err(error);
        }
        self.lanes[i].open = Some(number);
        let segment = self.segments.entry(number).or_insert(Segment { bytes: 0, live: 0 });
        segment.bytes = base + batch.len() as u64;
        segment.live += places.len();
        for (at, offset) in places {
            let entry = &mut self.lanes[i].entries[at];
            entry.place = Some((number, offset));
            self.unsaved -= (entry.len + OVERHEAD) as u64;
        }
        Ok(())
    }

    fn oldest(&self, i: usize, stream: StreamId) -> Seq {
        let first = self.lanes[i].entries.iter().find(|e| !e.gone && e.meta.stream == stream);
        first.map_or(self.lanes[i].next, |e| e.meta.seq)
    }

    /// What is held, a row a stream; the two running streams are always there.
    #[must_use]
    pub fn ranges(&self) -> Vec<LaneRange> {
        let mut rows: Vec<LaneRange> = Vec::new();
        for lane in &self.lanes {
            for entry in lane.entries.iter().filter(|e| !e.gone && e.meta.stream != lane.stream) {
                let (stream, seq) = (entry.meta.stream, entry.meta.seq);
                match rows.iter_mut().find(|r| r.stream == stream) {
                    Some(row) => row.newest = seq,
                    None => rows.push(LaneRange { stream, lane: lane.lane, oldest: seq, newest: seq }),
                }
            }
        }
        for (i, lane) in self.lanes.iter().enumerate() {
            let newest = Seq(lane.next.0 - 1);
            rows.push(LaneRange { stream: lane.stream, lane: lane.lane, oldest: self.oldest(i, lane.stream), newest });
        }
        rows
    }

    /// Messages held.
    #[must_use]
    pub fn len(&self) -> usize {
        self.lanes.iter().map(|l| l.entries.len()).sum()
    }

    /// Whether nothing is held.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.lanes.iter().all(|l| l.entries.iter().all(|e| e.gone))
    }

    /// Bytes held: files, and what is only in memory.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.segments.values().map(|s| s.bytes).sum::<u64>() + self.unsaved
    }

    /// Losses not yet reported, at most `most`; the caller puts them into the next report.
    pub fn take_gaps(&mut self, most: usize) -> Vec<Gap> {
        let n = self.gaps.len().min(most);
        self.gaps.drain(..n).collect()
    }

    /// Messages dropped since the start.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    /// What is wrong with the disk, in words; `None` when the last write went well.
    #[must_use]
    pub fn trouble(&self) -> Option<&str> {
        self.trouble.as_deref()
    }

    /// The disk.
    pub fn disk_mut(&mut self) -> &mut D {
        &mut self.disk
    }

    /// The disk, as a crash leaves it.
    #[must_use]
    pub fn into_disk(self) -> D {
        self.disk
    }
}
