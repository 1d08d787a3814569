//! `tacit demo`: a shop of six machines that does not exist, watched by what is real.
//!
//! ```text
//! shop ─ model ─ load ─ gauges ─┐ simulated: who is there, what they do, what that costs, what an agent samples of it
//!                        links ─┤
//!                               ↓
//!                node ─ the analysis of the agent: learns, judges, explains        real, one a machine
//!                               ↓
//!                post ─ numbered, encoded, handed over
//!                               ↓
//!          the collector: stores, groups, ranks, shows                             real
//! ```
//!
//! The nodes live through some quiet hours as fast as they can be computed, so that their detectors know what is usual; then time
//! goes on as on the clock, and after [`FAILS_AFTER_S`] the disk of the database becomes slow. Nothing is told to the detectors, and
//! nothing to the collector but what agents send.

mod gauges;
mod links;
mod load;
mod model;
mod node;
mod noise;
mod player;
mod post;
mod screen;
mod shop;

use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use tacit_collector::Collector;
use tacit_collector::config::Config;
use tacit_collector::ingest::Ingest;
use tokio::task::JoinSet;

pub use player::{PAST_S, Player};
pub use post::{Letter, deliver};

use crate::arguments::Demo;
use crate::output::now_ms;
use screen::Screen;

/// Seconds until the disk of the database becomes slow.
pub const FAILS_AFTER_S: u64 = 20;
/// How long the end waits for work that goes on beside.
const GRACE: Duration = Duration::from_secs(2);

/// Runs until Ctrl-C, or until its time is over.
///
/// # Errors
/// When a port is taken or there is no room for temporary files.
pub(crate) fn run(options: &Demo) -> Result<()> {
    let level = options
        .log
        .parse()
        .with_context(|| format!("--log {:?}: allowed are error, warn, info, debug, trace", options.log))?;
    tacit_collector::cli::start_logging(level);
    let folder = Folder::new()?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    let outcome = runtime.block_on(play(options, &folder.0));
    runtime.shutdown_timeout(GRACE);
    outcome
}

/// The configuration of a collector that is told of a simulated fleet, and keeps it below `folder`.
#[must_use]
pub fn config(folder: &Path) -> Config {
    let mut config = Config { data_dir: folder.join("collector"), demo: true, ..Config::default() };
    config.sites = vec![shop::SITE.parse().expect("it has the right form")];
    // Nobody needs to reach it: messages are handed over within this process.
    config.mqtt.listen.set_port(0);
    config.map.reverse_dns = false;
    config.map.names = shop::OUTSIDE.map(|(address, name)| (address.to_owned(), name.to_owned())).into();
    config
}

/// Hands over what there is to send of the past: births first, then of each node in its order.
///
/// # Errors
/// When the collector refuses something.
pub async fn deliver_past(ingest: &Arc<Ingest>, births: &[Letter], past: Vec<Vec<Letter>>) -> Result<()> {
    deliver(ingest, births).await?;
    let mut nodes = JoinSet::new();
    for letters in past {
        let ingest = Arc::clone(ingest);
        nodes.spawn(async move { deliver(&ingest, &letters).await });
    }
    while let Some(done) = nodes.join_next().await {
        done.context("a node's past was not handed over")??;
    }
    Ok(())
}

async fn play(options: &Demo, folder: &Path) -> Result<()> {
    let mut config = config(folder);
    config.http.listen = options.http;
    let collector = Collector::start(&config).await?;
    let outcome = tokio::select! {
        stopped = tacit_collector::cli::stop_signal() => stopped.context("cannot wait for signals"),
        shown = show(options, &collector, folder) => shown,
    };
    println!("Stopping. Nothing is kept.");
    collector.stop().await;
    outcome
}

async fn show(options: &Demo, collector: &Collector, folder: &Path) -> Result<()> {
    let began = Instant::now();
    let mut player = Player::new(&folder.join("agents"), now_ms())?;
    Screen::begins();
    let ended = Ended::default();
    let goes_on = ended.clone();
    // Dropping this future ends the work beside it.
    let learning = tokio::task::spawn_blocking(move || {
        let past = player.learn(&|| !goes_on.is_set());
        past.map(|past| (player, past))
    });
    let _ending = SetOnDrop(ended);
    let (mut player, past) = learning.await.context("the nodes did not learn")??;
    deliver_past(collector.ingest(), &player.introduce(now_ms())?, past).await?;
    // The clock went on meanwhile.
    while player.now_ms() + 1000 <= now_ms() {
        deliver(collector.ingest(), &player.step()?).await?;
    }
    let mut screen = Screen::new(collector.http_address());
    screen.learned(player.series(), began.elapsed());
    let failure = player.second() + FAILS_AFTER_S;
    player.fail_at(failure);
    // A tick that is late is made up for: one a second, in the end.
    let mut clock = tokio::time::interval(Duration::from_secs(1));
    let shown = Instant::now();
    loop {
        clock.tick().await;
        if player.second() == failure {
            screen.fails();
        }
        deliver(collector.ingest(), &player.step()?).await?;
        screen.follow(collector.store().as_ref()).await?;
        if options.time.is_some_and(|time| shown.elapsed() >= time.std()) {
            screen.ends(collector.store().as_ref()).await?;
            return Ok(());
        }
    }
}

/// Says that the demonstration has ended to work that goes on beside it.
#[derive(Debug, Clone, Default)]
struct Ended(Arc<AtomicBool>);

impl Ended {
    fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

struct SetOnDrop(Ended);

impl Drop for SetOnDrop {
    fn drop(&mut self) {
        self.0.0.store(true, Ordering::Relaxed);
    }
}

/// A folder of this user that goes with the demonstration.
#[derive(Debug)]
struct Folder(PathBuf);

impl Folder {
    fn new() -> Result<Self> {
        let path = std::env::temp_dir().join(format!("tacit-demo-{:016x}", fastrand::u64(..)));
        // Not one that is there already, whoever made it.
        let made = std::fs::DirBuilder::new().mode(0o700).create(&path);
        made.with_context(|| format!("cannot make {}; TMPDIR names another place", path.display()))?;
        Ok(Self(path))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.0) {
            eprintln!("tacit: cannot remove {}: {error}", self.0.display());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_folder_goes_with_the_demonstration() {
        let folder = Folder::new().unwrap();
        let path = folder.0.clone();
        std::fs::write(path.join("file"), "x").unwrap();
        drop(folder);
        assert!(!path.exists());
    }

    #[test]
    fn its_collector_can_be_started_and_says_what_it_is() {
        let config = config(Path::new("/nowhere"));
        assert_eq!(config.check(), Ok(()));
        assert!(config.demo && config.sites.len() == 1 && config.mqtt.listen.ip().is_loopback());
    }
}
