//! `--join`: what it costs a collector to make one map of 2,000 nodes with 50 edges a minute each.
//!
//! Simulated minutes go through a real database and the map's own task, which looks twelve times a minute; the processor time of this
//! process is divided by the simulated time. Taking messages in is measured apart: it is the store's.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use rustix::time::{ClockId, clock_gettime};
use tacit_collector::map::book::{Book, JOIN_AFTER_MS, MINUTE_MS, hour_of};
use tacit_collector::map::names::{MapConfig, Names};
use tacit_collector::map::view::Selection;
use tacit_collector::map::{Map, Mapper};
use tacit_collector::store::{Incoming, SqliteStore, Store};

use super::fleet::{Flow, Half, birth, minute};
use crate::live::say;

const NODES: u32 = 2000;
/// Edges of a node, half as client and half as server.
const EDGES: u32 = 50;
/// Minutes that are measured, after those that are not.
const MINUTES: i64 = 10;
const WARM_UP: i64 = 3;
/// Rounds of the map's task in a minute.
const ROUNDS: i64 = 12;
/// Messages of one transaction, as many as a busy collector groups.
const BATCH: usize = 64;

/// Measures and prints.
///
/// # Errors
/// When the database fails, or the map does not have all edges.
pub fn run(json: bool) -> Result<()> {
    let folder = tempfile::tempdir().context("cannot make a folder for the database")?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let store: Arc<dyn Store> = Arc::new(SqliteStore::open(&folder.path().join("join.db"))?);
    let names = Names::new(&MapConfig::default(), None).map_err(anyhow::Error::msg)?;
    let map = Arc::new(Map::new(Book::new(names, None), Arc::clone(&store)));
    let mut mapper = Mapper::new(Arc::clone(&map), Arc::clone(&store));
    // At the start of an hour, so that the measured minutes are all of one kind.
    let start_ms = hour_of(tacit_collector::clock::now_ms());
    let births = (0..NODES).map(|n| birth(&name(n), &address(n), start_ms)).collect::<Result<Vec<_>>>()?;
    runtime.block_on(commit(&store, births))?;
    let (mut taken, mut joined) = (Duration::ZERO, Duration::ZERO);
    for n in 0..WARM_UP + MINUTES {
        say(&format!("minute {} of {}", n + 1, WARM_UP + MINUTES));
        let at = start_ms + n * MINUTE_MS;
        let number = n.unsigned_abs() + 1;
        let messages = (0..NODES).map(|node| said(node, number, at)).collect::<Result<Vec<_>>>()?;
        let before = cpu();
        runtime.block_on(commit(&store, messages))?;
        let between = cpu();
        for round in 0..ROUNDS {
            runtime.block_on(mapper.round(at + JOIN_AFTER_MS + round * MINUTE_MS / ROUNDS))?;
        }
        if n >= WARM_UP {
            (taken, joined) = (taken + (between - before), joined + (cpu() - between));
        }
    }
    let end_ms = start_ms + (WARM_UP + MINUTES) * MINUTE_MS;
    let view = runtime.block_on(map.view(start_ms, end_ms, Selection::default()))?;
    if view.edges.len() != (NODES * EDGES / 2) as usize {
        bail!("the map has {} edges of {}", view.edges.len(), NODES * EDGES / 2);
    }
    print(json, taken, joined);
    Ok(())
}

fn print(json: bool, taken: Duration, joined: Duration) {
    let a_minute = |time: Duration| time.as_secs_f64() / MINUTES as f64;
    let percent = |time: Duration| a_minute(time) / 60.0 * 100.0;
    if json {
        let value = serde_json::json!({ "nodes": NODES, "edges": EDGES, "minutes": MINUTES,
            "join_cpu_s_per_min": a_minute(joined), "join_percent": percent(joined),
            "ingest_cpu_s_per_min": a_minute(taken), "ingest_percent": percent(taken) });
        println!("{value}");
        return;
    }
    println!(
        "{NODES} nodes with {EDGES} edges a minute, {MINUTES} minutes:\n\n| part | CPU s a minute | % of a core |\n|---|---:|---:|"
    );
    println!("| joining, from the database to the map | {:.2} | {:.1} |", a_minute(joined), percent(joined));
    println!("| taking in, to the database | {:.2} | {:.1} |", a_minute(taken), percent(taken));
}

async fn commit(store: &Arc<dyn Store>, all: Vec<Incoming>) -> Result<()> {
    for batch in all.chunks(BATCH) {
        store.commit(batch.to_vec()).await?;
    }
    Ok(())
}

/// Processor time of this process.
fn cpu() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(u64::try_from(time.tv_sec).unwrap_or(0), u32::try_from(time.tv_nsec).unwrap_or(0))
}

fn name(node: u32) -> String {
    format!("node-{node}")
}

fn address(node: u32) -> String {
    format!("10.{}.{}.1", node / 250, node % 250)
}

/// Every node connects to the 25 that follow it, and says so; they say it too.
fn said(node: u32, number: u64, at: i64) -> Result<Incoming> {
    let halves: Vec<Half> = (0..EDGES)
        .map(|n| {
            let (server, step) = (n % 2 == 1, n / 2 + 1);
            let other = if server { (node + NODES - step) % NODES } else { (node + step) % NODES };
            let client = if server { other } else { node };
            let ports = [0, 1, 2, 3].map(|p| (32_768 + (client * 97 + step * 13 + p * 7) % 28_000) as u16);
            // Connects that differ from minute to minute: nothing is steady.
            let connects = 40 + u32::try_from(number % 7).unwrap_or(0) * 10;
            let flow = Flow {
                connects,
                failed: 0,
                sent: 100_000,
                received: 900_000,
                retransmits: 1,
                rtt_s: 0.0005,
                active: 4,
                lifetime_s: 1.5,
            };
            let port = 5000 + step as u16;
            Half { owner: format!("unit-{}.service", n % 6), server, peer: address(other), port, ports, flow }
        })
        .collect();
    minute(&name(node), number, at, &halves)
}
