//! What the outbox costs: a message kept in memory, an event made safe, and a start with a full queue.

use divan::{Bencher, black_box};
use tacit_agent::clock::Tick;
use tacit_agent::outbox::{Folder, Limits, Outbox};
use tacit_wire::StreamId;
use tacit_wire::message::Lane;
use tacit_wire::topic::Up;

fn main() {
    divan::main();
}

const PAYLOAD: usize = 1024;

fn open(folder: &std::path::Path, start: u8) -> Outbox<Folder> {
    let disk = Folder::open(folder).expect("a folder");
    let streams = [StreamId([start; 8]), StreamId([100 + start; 8])];
    Outbox::open(disk, Limits::new(64 << 20, 7 * 86_400_000), streams, Tick::now()).expect("it opens")
}

fn append(outbox: &mut Outbox<Folder>, lane: Lane, now: Tick) {
    let key = outbox.append(lane, Up::Event, now, |_, _, _| Ok::<_, ()>(vec![7; PAYLOAD])).expect("it encodes");
    outbox.ack_one(black_box(key));
}

#[divan::bench]
fn append_memory_1kib(bencher: Bencher<'_, '_>) {
    let folder = tempfile::tempdir().expect("a folder");
    let (mut outbox, now) = (open(folder.path(), 1), Tick::now());
    bencher.bench_local(|| append(&mut outbox, Lane::Rest, now));
}

#[divan::bench]
fn append_synced_1kib(bencher: Bencher<'_, '_>) {
    let folder = tempfile::tempdir().expect("a folder");
    let (mut outbox, now) = (open(folder.path(), 1), Tick::now());
    bencher.bench_local(|| append(&mut outbox, Lane::Events, now));
}

#[divan::bench(sample_count = 20)]
fn recover_10000_of_1kib(bencher: Bencher<'_, '_>) {
    let folder = tempfile::tempdir().expect("a folder");
    let (mut outbox, now) = (open(folder.path(), 1), Tick::now());
    for _ in 0..10_000 {
        outbox.append(Lane::Rest, Up::Summary, now, |_, _, _| Ok::<_, ()>(vec![7; PAYLOAD])).expect("it encodes");
    }
    assert!(outbox.spill());
    bencher.bench_local(|| black_box(open(folder.path(), 2).len()));
}
