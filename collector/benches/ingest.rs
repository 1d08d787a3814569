//! What storing costs: a commit of 1, 64 and 512 messages, and how many messages a second become durable.
//!
//! The database lies in `TMPDIR`; on a file system in memory a flush costs nothing and the figures say little.

use std::sync::Arc;
use std::time::{Duration, Instant};

use divan::Bencher;
use divan::counter::ItemsCount;
use tacit_collector::broker::Line;
use tacit_collector::ingest::{Ingest, Taken};
use tacit_collector::store::{Incoming, IncomingBody, SqliteStore, Store as _};
use tacit_wire::codec::{Encoding, encode};
use tacit_wire::message::{Head, Row, Summary};
use tacit_wire::{BootId, Num, Seq, SeriesDef, SeriesId, StreamId};

/// Series of a summary: what a small node sends a minute.
const SERIES: u16 = 20;
/// Nodes that publish at once in the durable rate.
const NODES: u64 = 50;
/// How long the durable rate is measured.
const MEASURED: Duration = Duration::from_secs(5);

fn main() {
    divan::main();
    durable_rate();
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime")
}

fn open(folder: &tempfile::TempDir) -> SqliteStore {
    SqliteStore::open(&folder.path().join("tacit.db")).expect("a database")
}

fn summary(node: u64, seq: u64) -> Summary {
    let head = Head {
        node: format!("node-{node}").parse().expect("a node id"),
        boot: BootId([1; 16]),
        stream: StreamId([2; 8]),
        seq: Seq(seq),
        oldest: Seq(1),
        wall_ms: 1_000,
        mono_ms: 1_000,
    };
    let series = |n| SeriesDef {
        id: SeriesId(n),
        name: format!("system.example.{n}"),
        attributes: Vec::new(),
        unit: "1".into(),
    };
    // Only the first message introduces the series, as with an agent.
    let series = if seq == 1 { (1..=SERIES).map(series).collect() } else { Vec::new() };
    let row = |n| Row { id: SeriesId(n), mean: vec![Num(0.5)], min: None, max: None };
    Summary {
        head,
        epoch: 1,
        start_ms: 60_000 * i64::try_from(seq).expect("a small number"),
        step_s: 60,
        steps: 1,
        series,
        rows: (1..=SERIES).map(row).collect(),
        bins: Vec::new(),
        lost_samples: 0,
        alarm: Vec::new(),
        left_out: 0,
    }
}

fn incoming(seq: u64) -> Incoming {
    let site = "lab".parse().expect("a site id");
    Incoming { site, received_ms: 1_000, bytes: 200, body: IncomingBody::Summary(Box::new(summary(1, seq))) }
}

#[divan::bench(args = [1, 64, 512], max_time = 3)]
fn commit(bencher: Bencher<'_, '_>, messages: u64) {
    let folder = tempfile::tempdir().expect("a folder");
    let (runtime, store, mut seq) = (runtime(), open(&folder), 0);
    bencher
        .counter(ItemsCount::new(messages))
        .with_inputs(|| {
            let first = seq + 1;
            seq += messages;
            (first..=seq).map(incoming).collect::<Vec<_>>()
        })
        .bench_local_values(|batch| runtime.block_on(store.commit(batch)).expect("it commits"));
}

/// Fifty nodes, each with one message under way, as the broker's hook takes them.
fn durable_rate() {
    let folder = tempfile::tempdir().expect("a folder");
    let runtime = runtime();
    let (stored, took) = runtime.block_on(async {
        let ingest = Arc::new(Ingest::new(Arc::new(open(&folder)), Arc::new(Line::default())));
        let began = Instant::now();
        let nodes: Vec<_> = (1..=NODES).map(|node| tokio::spawn(publish(Arc::clone(&ingest), node, began))).collect();
        for node in nodes {
            node.await.expect("it ends well");
        }
        (ingest.counters.now().stored, began.elapsed())
    });
    println!(
        "durable ingest: {:.0} messages/s ({stored} messages of {SERIES} series in {took:.1?}, {NODES} nodes)",
        stored as f64 / took.as_secs_f64()
    );
}

async fn publish(ingest: Arc<Ingest>, node: u64, began: Instant) {
    let topic = format!("tacit/1/lab/u/node-{node}/summary");
    for seq in 1.. {
        if began.elapsed() >= MEASURED {
            return;
        }
        let payload = encode(&summary(node, seq), Encoding::Cbor).expect("it is within its bounds");
        assert_eq!(ingest.take(&topic, &payload, "bench").await, Taken::Done);
    }
}
