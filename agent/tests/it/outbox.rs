//! The outbox against a simple model, on a disk that tears writes, fills up and forgets.

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use proptest::prelude::*;
use tacit_agent::clock::Tick;
use tacit_agent::outbox::{Disk, Key, Limits, Outbox};
use tacit_wire::message::Lane;
use tacit_wire::topic::Up;
use tacit_wire::{Seq, StreamId};

#[derive(Debug, Default, Clone)]
struct File {
    bytes: Vec<u8>,
    synced: usize,
}

/// A disk in memory. What was not synced survives a crash in part.
#[derive(Debug, Default, Clone)]
struct Faulty {
    files: BTreeMap<String, File>,
    room: Option<usize>,
    sync_fails: bool,
    writes: usize,
}

impl Faulty {
    fn crash(mut self, keep: usize) -> Self {
        for file in self.files.values_mut() {
            let unsynced = file.bytes.len() - file.synced;
            file.bytes.truncate(file.synced + keep % (unsynced + 1));
            file.synced = file.bytes.len();
        }
        self.room = None;
        self.sync_fails = false;
        self
    }
}

fn missing() -> io::Error {
    io::ErrorKind::NotFound.into()
}

impl Disk for Faulty {
    fn list(&self) -> io::Result<Vec<String>> {
        Ok(self.files.keys().cloned().collect())
    }
    fn read(&self, name: &str) -> io::Result<Vec<u8>> {
        self.files.get(name).map(|f| f.bytes.clone()).ok_or_else(missing)
    }
    fn read_at(&self, name: &str, offset: u64, len: usize) -> io::Result<Vec<u8>> {
        let file = self.files.get(name).ok_or_else(missing)?;
        let at = offset as usize;
        file.bytes.get(at..at + len).map(<[u8]>::to_vec).ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
    }
    fn append(&mut self, name: &str, bytes: &[u8]) -> io::Result<()> {
        self.writes += 1;
        let file = self.files.entry(name.to_owned()).or_default();
        let fits = self.room.unwrap_or(usize::MAX).min(bytes.len());
        file.bytes.extend_from_slice(&bytes[..fits]);
        self.room = self.room.map(|r| r - fits);
        if fits < bytes.len() { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
    }
    fn sync(&mut self, name: &str) -> io::Result<()> {
        if self.sync_fails {
            return Err(io::Error::other("the disk is ill"));
        }
        let file = self.files.get_mut(name).ok_or_else(missing)?;
        file.synced = file.bytes.len();
        Ok(())
    }
    fn truncate(&mut self, name: &str, len: u64) -> io::Result<()> {
        let file = self.files.get_mut(name).ok_or_else(missing)?;
        file.bytes.truncate(len as usize);
        file.synced = file.synced.min(file.bytes.len());
        Ok(())
    }
    fn remove(&mut self, name: &str) -> io::Result<()> {
        self.files.remove(name).map(|_| ()).ok_or_else(missing)
    }
}

#[derive(Debug, Clone)]
enum Action {
    Append { event: bool, size: usize },
    AckOne(usize),
    AckThrough(usize),
    Spill,
    DiskFull(usize),
    SyncFails,
    DiskWell,
    Crash(usize),
    Pass(u64),
}

fn action() -> impl Strategy<Value = Action> {
    prop_oneof![
        8 => (any::<bool>(), 0_usize..900).prop_map(|(event, size)| Action::Append { event, size }),
        2 => any::<usize>().prop_map(Action::AckOne),
        1 => any::<usize>().prop_map(Action::AckThrough),
        2 => Just(Action::Spill),
        1 => (0_usize..2000).prop_map(Action::DiskFull),
        1 => Just(Action::SyncFails),
        2 => Just(Action::DiskWell),
        2 => any::<usize>().prop_map(Action::Crash),
        1 => (0_u64..20_000).prop_map(Action::Pass),
    ]
}

const LIMITS: Limits =
    Limits { max_bytes: 20_000, max_age_ms: 60_000, max_memory: 3_000, max_messages: 50, segment: 1_500 };

/// What must be true, kept the simple way.
struct Model {
    held: Vec<(Key, Vec<u8>, bool)>,
    done: BTreeSet<(StreamId, Seq)>,
    starts: u8,
    now: Tick,
    sent: u32,
}

impl Model {
    fn new() -> Self {
        let now = Tick { mono_ms: 1_000_000, wall_ms: 1_700_000_000_000 };
        Self { held: Vec::new(), done: BTreeSet::new(), starts: 0, now, sent: 0 }
    }

    fn open(&mut self, disk: Faulty) -> Outbox<Faulty> {
        self.starts += 1;
        Outbox::open(disk, LIMITS, [StreamId([self.starts; 8]), StreamId([100 + self.starts; 8])], self.now)
            .expect("the folder can be listed")
    }

    fn append(&mut self, outbox: &mut Outbox<Faulty>, event: bool, size: usize) {
        self.sent += 1;
        let (lane, topic) = if event { (Lane::Events, Up::Event) } else { (Lane::Rest, Up::Summary) };
        let mut payload = self.sent.to_le_bytes().to_vec();
        payload.resize(4 + size, 7);
        let copy = payload.clone();
        let key = outbox.append(lane, topic, self.now, |_, _, _| Ok::<_, ()>(payload)).expect("it encodes");
        self.held.push((key, copy, false));
        if outbox.trouble().is_none() && event {
            for held in self.held.iter_mut().filter(|h| h.0.lane == Lane::Events) {
                held.2 = true;
            }
        }
    }

    fn forget(&mut self, gone: impl Fn(&Key) -> bool) {
        let done = &mut self.done;
        self.held.retain(|(key, _, _)| {
            let keep = !gone(key);
            if !keep {
                done.insert((key.stream, key.seq));
            }
            keep
        });
    }

    /// Drops are only those that gaps name.
    fn take_gaps(&mut self, outbox: &mut Outbox<Faulty>) {
        for gap in outbox.take_gaps(usize::MAX) {
            self.forget(|k| k.stream == gap.stream && k.seq >= gap.first && k.seq <= gap.last);
        }
    }

    fn expected(&self) -> Vec<(Key, Vec<u8>)> {
        let lane = |lane| self.held.iter().filter(move |h| h.0.lane == lane).map(|h| (h.0, h.1.clone()));
        lane(Lane::Events).chain(lane(Lane::Rest)).collect()
    }
}

fn offered(outbox: &mut Outbox<Faulty>) -> Vec<(Key, Vec<u8>)> {
    outbox.resend();
    std::iter::from_fn(|| outbox.take_next()).map(|m| (m.key, m.payload)).collect()
}

fn crash(model: &mut Model, outbox: Outbox<Faulty>, keep: usize) -> Result<Outbox<Faulty>, TestCaseError> {
    let mut outbox = model.open(outbox.into_disk().crash(keep));
    model.take_gaps(&mut outbox);
    let after = offered(&mut outbox);
    let keys: BTreeSet<_> = after.iter().map(|(k, _)| (k.stream, k.seq)).collect();
    for (key, _, durable) in &model.held {
        prop_assert!(!durable || keys.contains(&(key.stream, key.seq)), "lost {key:?}, which was durable");
    }
    for (key, payload) in &after {
        let same = model.held.iter().find(|h| h.0 == *key).map(|h| &h.1 == payload);
        let known = same.unwrap_or(model.done.contains(&(key.stream, key.seq)));
        prop_assert!(known, "{key:?} was never written so");
    }
    let mut newest: BTreeMap<StreamId, Seq> = BTreeMap::new();
    for (key, _) in &after {
        let last = newest.insert(key.stream, key.seq);
        prop_assert!(last.is_none_or(|l| l < key.seq), "{key:?} is out of order");
    }
    model.held = after.into_iter().map(|(k, p)| (k, p, true)).collect();
    Ok(outbox)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// Whatever happens: nothing durable and unacknowledged is lost without a gap that says so, nothing acknowledged
    /// reappears within a start, each stream keeps its order, and the bounds hold.
    #[test]
    fn behaves_as_its_model(actions in proptest::collection::vec(action(), 1..120)) {
        let mut model = Model::new();
        let mut outbox = model.open(Faulty::default());
        for action in actions {
            model.now = model.now.plus_ms(10);
            match action {
                Action::Append { event, size } => model.append(&mut outbox, event, size),
                Action::AckOne(n) if !model.held.is_empty() => {
                    let key = model.held[n % model.held.len()].0;
                    outbox.ack_one(key);
                    model.forget(|k| *k == key);
                }
                Action::AckThrough(n) if !model.held.is_empty() => {
                    let key = model.held[n % model.held.len()].0;
                    outbox.ack_through(key.stream, key.seq);
                    model.forget(|k| k.stream == key.stream && k.seq <= key.seq);
                }
                Action::AckOne(_) | Action::AckThrough(_) => {}
                Action::Spill => {
                    if outbox.spill() {
                        model.held.iter_mut().for_each(|h| h.2 = true);
                    }
                }
                Action::DiskFull(room) => outbox.disk_mut().room = Some(room),
                Action::SyncFails => outbox.disk_mut().sync_fails = true,
                Action::DiskWell => {
                    outbox.disk_mut().room = None;
                    outbox.disk_mut().sync_fails = false;
                }
                Action::Crash(keep) => outbox = crash(&mut model, outbox, keep)?,
                Action::Pass(ms) => model.now = model.now.plus_ms(ms),
            }
            outbox.enforce(model.now);
            model.take_gaps(&mut outbox);
            prop_assert!(outbox.bytes() <= LIMITS.max_bytes);
            prop_assert!(outbox.len() <= LIMITS.max_messages);
            let mut got = offered(&mut outbox);
            let mut want = model.expected();
            // A message in `held` keeps its order of arrival; so must the outbox, lane by lane.
            prop_assert_eq!(got.len(), want.len());
            prop_assert!(got == want, "{:?} instead of {:?}", got.drain(..).map(|m| m.0).collect::<Vec<_>>(), want.drain(..).map(|m| m.0).collect::<Vec<_>>());
        }
    }

    /// Opening over arbitrary files never fails, and files of others stay.
    #[test]
    fn opens_over_anything(mut bytes in proptest::collection::vec(any::<u8>(), 0..500), headed: bool) {
        if headed { bytes.splice(0..0, *b"TACITOB1"); }
        let mut disk = Faulty::default();
        for name in ["0000000000000001.seg", "notes.txt", "1.seg", "ffffffffffffffff.seg"] {
            disk.files.insert(name.into(), File { synced: bytes.len(), bytes: bytes.clone() });
        }
        let mut model = Model::new();
        let mut outbox = model.open(disk);
        model.append(&mut outbox, true, 3);
        prop_assert_eq!(offered(&mut outbox), model.expected());
        let disk = outbox.into_disk();
        prop_assert_eq!(&disk.files["notes.txt"].bytes, &bytes);
        prop_assert_eq!(&disk.files["1.seg"].bytes, &bytes);
    }
}

#[test]
fn online_and_quiet_it_writes_nothing() {
    let mut model = Model::new();
    let mut outbox = model.open(Faulty::default());
    for _ in 0..1000 {
        model.append(&mut outbox, false, 300);
        let message = outbox.take_next().expect("it was just queued");
        outbox.ack_one(message.key);
    }
    assert_eq!(outbox.into_disk().writes, 0);
}

#[test]
fn other_bounds_keep_what_they_hold() {
    let mut model = Model::new();
    let mut outbox = model.open(Faulty::default());
    for n in 0..20 {
        model.append(&mut outbox, n % 4 == 0, 300);
    }
    outbox.set_limits(Limits { max_bytes: 40_000, max_memory: 1_000, ..LIMITS }, model.now);
    assert_eq!(offered(&mut outbox), model.expected(), "room for more, and less of it in memory, loses nothing");
    outbox.set_limits(Limits { max_bytes: 4_000, ..LIMITS }, model.now);
    model.take_gaps(&mut outbox);
    let left = offered(&mut outbox);
    assert_eq!(left, model.expected());
    assert!(outbox.bytes() <= 4_000 && outbox.dropped() > 0);
    assert_eq!(left.iter().filter(|(key, _)| key.lane == Lane::Events).count(), 5, "events go last");
    outbox.set_limits(Limits { max_age_ms: 1, ..LIMITS }, model.now.plus_ms(10));
    assert!(outbox.is_empty());
}

#[test]
fn a_corrupt_middle_is_a_gap() {
    let mut model = Model::new();
    let mut outbox = model.open(Faulty::default());
    for _ in 0..9 {
        model.append(&mut outbox, false, 400);
    }
    assert!(outbox.spill());
    let mut disk = outbox.into_disk();
    let names: Vec<String> = disk.files.keys().cloned().collect();
    assert!(names.len() >= 3, "the test needs a middle: {names:?}");
    disk.files.get_mut(&names[1]).expect("it is there").bytes[60] ^= 1;
    let mut outbox = model.open(disk);
    let gaps = outbox.take_gaps(10);
    assert_eq!(gaps.len(), 1);
    assert_eq!(gaps[0].reason, "corrupt");
    let lost = gaps[0].last.0 - gaps[0].first.0 + 1;
    assert_eq!(offered(&mut outbox).len() as u64, 9 - lost);
}

#[test]
fn a_full_disk_is_said_and_recovered_from() {
    let mut model = Model::new();
    let mut outbox = model.open(Faulty { room: Some(100), ..Faulty::default() });
    model.append(&mut outbox, true, 300);
    assert!(outbox.trouble().expect("the disk is full").contains("cannot write"));
    assert_eq!(offered(&mut outbox).len(), 1);
    outbox.disk_mut().room = None;
    assert!(outbox.spill());
    assert_eq!(outbox.trouble(), None);
    let mut outbox = model.open(outbox.into_disk().crash(0));
    assert_eq!(offered(&mut outbox).len(), 1);
}
