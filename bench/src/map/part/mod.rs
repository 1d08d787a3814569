//! The servers and clients of the data centre: hidden subcommands of this program (`tacit-bench map-part short …`), so that
//! each runs as a process of its own with an executable and a unit of its own, and counts exactly what it did.
//!
//! What a part counted it writes to `--report` when it ends; it ends by itself, when a file `….stop` appears beside that, after
//! `--seconds`, or with the bench.

mod client;
mod server;
mod talk;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use anyhow::{Context as _, Result};
use clap::{Args, Subcommand};
use serde::{Deserialize, Serialize};

use crate::live::limit::Limit;

pub use talk::{Talk, USER};

/// What every part is told.
#[derive(Debug, Args)]
pub struct Common {
    /// Name of the process.
    #[arg(long)]
    name: String,
    /// Where the counts go.
    #[arg(long)]
    report: PathBuf,
    /// Longest time.
    #[arg(long)]
    seconds: u64,
}

/// How short connections are made.
#[derive(Debug, Clone, Args)]
pub struct Shots {
    /// Where to.
    #[arg(long)]
    pub to: SocketAddr,
    /// What is said.
    #[arg(long, value_enum)]
    pub talk: Talk,
    /// How many a second.
    #[arg(long)]
    pub per_s: u64,
    /// How many in all.
    #[arg(long)]
    pub most: u64,
    /// Wait in `connect` itself; a refused one loses its port then.
    #[arg(long)]
    pub blocking: bool,
    /// Longest wait for anything, milliseconds.
    #[arg(long, default_value_t = 5000)]
    pub patience_ms: u64,
}

/// A part.
#[derive(Debug, Subcommand)]
pub enum Part {
    /// Answers HTTP and PING.
    Serve {
        #[arg(long)]
        listen: SocketAddr,
        #[command(flatten)]
        common: Common,
    },
    /// Hands connections on, each piece a little later.
    Proxy {
        #[arg(long)]
        listen: SocketAddr,
        #[arg(long)]
        to: SocketAddr,
        #[arg(long, default_value_t = 0)]
        delay_ms: u64,
        #[command(flatten)]
        common: Common,
    },
    /// Makes short connections.
    Short {
        #[command(flatten)]
        shots: Shots,
        #[command(flatten)]
        common: Common,
    },
    /// Holds connections open and uses them.
    Pool {
        #[arg(long)]
        to: SocketAddr,
        #[arg(long, value_enum)]
        talk: Talk,
        #[arg(long)]
        connections: u64,
        /// Questions a second on each.
        #[arg(long)]
        per_s: u64,
        #[command(flatten)]
        common: Common,
    },
}

/// What a part counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Counts {
    /// Connections it opened.
    pub connected: u64,
    /// Connects that failed.
    pub failed: u64,
    /// Connections it accepted.
    pub accepted: u64,
    /// Questions that were answered as they should be.
    pub answered: u64,
    /// How long the connections it opened lived, on average, in seconds.
    pub lived_s: f64,
}

/// Counts while they grow.
#[derive(Debug, Default)]
pub struct Tally {
    pub connected: AtomicU64,
    pub failed: AtomicU64,
    pub accepted: AtomicU64,
    pub answered: AtomicU64,
    lived_us: AtomicU64,
    ended: AtomicU64,
}

impl Tally {
    /// A connection ended.
    pub fn lived(&self, time: Duration) {
        self.lived_us.fetch_add(u64::try_from(time.as_micros()).unwrap_or(u64::MAX), Relaxed);
        self.ended.fetch_add(1, Relaxed);
    }

    fn counts(&self) -> Counts {
        Counts {
            connected: self.connected.load(Relaxed),
            failed: self.failed.load(Relaxed),
            accepted: self.accepted.load(Relaxed),
            answered: self.answered.load(Relaxed),
            lived_s: self.lived_us.load(Relaxed) as f64 / 1e6 / self.ended.load(Relaxed).max(1) as f64,
        }
    }
}

/// A part at work.
#[derive(Debug)]
pub struct Work {
    /// Until when.
    pub limit: Limit,
    /// What it counts.
    pub tally: Arc<Tally>,
    stop: PathBuf,
    report: PathBuf,
}

impl Work {
    fn new(common: &Common) -> Self {
        Self {
            limit: Limit::new(&common.name, common.seconds),
            tally: Arc::default(),
            stop: common.report.with_extension("stop"),
            report: common.report.clone(),
        }
    }

    /// Whether it goes on.
    pub fn goes_on(&self) -> bool {
        self.limit.goes_on() && !self.stop.exists()
    }

    /// Waits for the end.
    pub fn hold(&self) {
        while self.goes_on() {
            self.limit.rest(Duration::from_millis(50));
        }
    }

    /// Writes the counts, all of them at once.
    fn finish(&self) -> Result<()> {
        let text = serde_json::to_string(&self.tally.counts()).context("counts are plain numbers")?;
        let half = self.report.with_extension("half");
        std::fs::write(&half, text).with_context(|| format!("cannot write {}", half.display()))?;
        std::fs::rename(&half, &self.report).with_context(|| format!("cannot make {}", self.report.display()))
    }
}

/// Runs a part to its end.
///
/// # Errors
/// When it cannot do what it is for.
pub fn run(part: Part) -> Result<()> {
    let (Part::Serve { common, .. }
    | Part::Proxy { common, .. }
    | Part::Short { common, .. }
    | Part::Pool { common, .. }) = &part;
    let work = Work::new(common);
    match part {
        Part::Serve { listen, .. } => server::serve(&work, listen)?,
        Part::Proxy { listen, to, delay_ms, .. } => {
            server::proxy(&work, listen, to, Duration::from_millis(delay_ms))?;
        }
        Part::Short { shots, .. } => client::short(&work, &shots)?,
        Part::Pool { to, talk, connections, per_s, .. } => client::pool(&work, to, talk, connections, per_s)?,
    }
    work.finish()
}
