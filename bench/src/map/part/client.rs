//! Clients.

use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::thread::{Builder, scope};
use std::time::{Duration, Instant};

use anyhow::Result;

use super::{Shots, Talk, Work};
use crate::live::limit::raise_open_files;

/// Connections under way at once; beyond it new ones wait, so that a slow server is not drowned.
const UNDER_WAY: usize = 512;
/// Memory of a thread that has one connection.
const STACK: usize = 128 * 1024;
/// Longest wait of a pool for anything.
const PATIENCE: Duration = Duration::from_secs(10);

/// Makes short connections at a rate, each on a thread of its own.
///
/// # Errors
/// When the limit on open files cannot be raised.
pub fn short(work: &Work, shots: &Shots) -> Result<()> {
    raise_open_files()?;
    let counter = AtomicUsize::new(0);
    let under_way = &counter;
    scope(|threads| {
        work.limit.at_rate(shots.per_s, shots.most, |_| {
            while under_way.load(Relaxed) >= UNDER_WAY && work.goes_on() {
                work.limit.rest(Duration::from_millis(1));
            }
            if !work.goes_on() {
                return false;
            }
            under_way.fetch_add(1, Relaxed);
            let started = Builder::new().stack_size(STACK).spawn_scoped(threads, move || {
                one(work, shots);
                under_way.fetch_sub(1, Relaxed);
            });
            started.is_ok()
        });
    });
    Ok(())
}

fn one(work: &Work, shots: &Shots) {
    let patience = Duration::from_millis(shots.patience_ms);
    let connected =
        if shots.blocking { TcpStream::connect(shots.to) } else { TcpStream::connect_timeout(&shots.to, patience) };
    let Ok(mut stream) = connected else {
        work.tally.failed.fetch_add(1, Relaxed);
        return;
    };
    let began = Instant::now();
    work.tally.connected.fetch_add(1, Relaxed);
    if shots.talk.once(&mut stream, patience).is_ok() {
        work.tally.answered.fetch_add(1, Relaxed);
    }
    drop(stream);
    work.tally.lived(began.elapsed());
}

/// Holds connections open and asks on each, so many times a second; one that breaks is opened again.
///
/// # Errors
/// When the limit on open files cannot be raised.
pub fn pool(work: &Work, to: SocketAddr, talk: Talk, connections: u64, per_s: u64) -> Result<()> {
    raise_open_files()?;
    scope(|threads| {
        for _ in 0..connections {
            // One that cannot be had is missing in the counts.
            let _ = Builder::new().stack_size(STACK).spawn_scoped(threads, move || {
                while work.goes_on() {
                    hold(work, to, talk, per_s);
                    work.limit.rest(Duration::from_millis(100));
                }
            });
        }
    });
    Ok(())
}

fn hold(work: &Work, to: SocketAddr, talk: Talk, per_s: u64) {
    let Ok(mut stream) = TcpStream::connect_timeout(&to, PATIENCE) else {
        work.tally.failed.fetch_add(1, Relaxed);
        return;
    };
    let began = Instant::now();
    work.tally.connected.fetch_add(1, Relaxed);
    let pause = Duration::from_secs(1) / u32::try_from(per_s.max(1)).unwrap_or(1);
    let mut well = talk.begin(&mut stream, PATIENCE).is_ok();
    while well && work.goes_on() {
        well = talk.ask(&mut stream).is_ok();
        work.tally.answered.fetch_add(u64::from(well), Relaxed);
        work.limit.rest(pause);
    }
    drop(stream);
    work.tally.lived(began.elapsed());
}
