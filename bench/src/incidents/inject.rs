//! How each fault is started. What is running undoes itself when it is ended.

use anyhow::{Result, bail};

use super::debian::{CONNECTIONS, END_REPORTS, REPORT, session};
use super::office::Office;
use super::part::Switch;
use super::place::ground::{Ground, LIFETIME_S};
use super::place::hosts::{Host, JOB, find};
use super::shop::Shop;
use crate::live::process::Process;
use crate::live::undo::{Promise, Undo};
use crate::map::part::Talk;

/// Sessions that a report of the database has.
const REPORTS: usize = 8;
/// Threads of the job that overloads a host.
const THREADS: &str = "16";
/// What a leak takes at most, in MB, and how much memory has to be free before it is started.
const LEAK_MB: u64 = 300;
const SPARE_MB: u64 = 4 * LEAK_MB;

/// Starts a fault; the error says why this machine cannot do it.
pub type Start = fn(&mut Scene<'_>) -> Result<Running>;

/// What a fault has to do with.
pub struct Scene<'a> {
    /// The hosts.
    pub ground: &'a Ground,
    /// The services.
    pub shop: &'a mut Shop,
    /// The collector.
    pub office: &'a Office,
}

/// A fault at work. Processes end before what they did is undone.
#[derive(Debug, Default)]
pub struct Running {
    processes: Vec<Process>,
    promises: Vec<Promise>,
    stopped: Vec<&'static Host>,
}

impl Running {
    /// Ends it, and starts again what it had stopped.
    ///
    /// # Errors
    /// When a service does not start again.
    pub fn end(self, ground: &Ground, shop: &mut Shop) -> Result<()> {
        drop(self.processes);
        drop(self.promises);
        self.stopped.into_iter().try_for_each(|host| shop.start(ground, host))
    }

    /// Why it is no fault any more, when a process of it failed.
    pub fn trouble(&mut self) -> Option<String> {
        self.processes.iter_mut().find_map(Process::trouble)
    }

    fn process(process: Process) -> Self {
        Self { processes: vec![process], ..Self::default() }
    }

    fn promise(promise: Promise) -> Self {
        Self { promises: vec![promise], ..Self::default() }
    }
}

fn host(name: &str) -> Result<&'static Host> {
    match find(name) {
        Some(host) => Ok(host),
        None => bail!("the data centre has no {name}"),
    }
}

fn switch(scene: &Scene<'_>, host: &str, switch: Switch) -> Result<Running> {
    scene.ground.turn_on(host, switch).map(Running::promise)
}

/// A job of this program on a host.
fn job(scene: &Scene<'_>, host: &str, words: &[&str]) -> Result<Process> {
    let seconds = LIFETIME_S.to_string();
    scene.ground.part(host, JOB, &[words, &["--seconds", &seconds]].concat())
}

/// PostgreSQL gets reports that keep its processor busy; ours is slow by itself.
///
/// # Errors
/// When they cannot be started.
pub fn db_slow(scene: &mut Scene<'_>) -> Result<Running> {
    let (ground, db) = (scene.ground, host("db-1")?);
    let Some(programs) = &ground.programs.postgres else {
        return switch(scene, db.name, Switch::Slow);
    };
    ground.has_limits()?;
    let undo = ground.janitor.promise(Undo::Run(session(ground, db, programs, END_REPORTS)?))?;
    let mut running = Running::promise(undo);
    let report = session(ground, db, programs, REPORT)?;
    let words: Vec<&str> = report.iter().map(String::as_str).collect();
    for _ in 0..REPORTS {
        running.processes.push(ground.start(db.name, JOB, &words)?);
    }
    Ok(running)
}

/// One in ten packets that come in to a host is lost.
///
/// # Errors
/// Without nft.
pub fn link_loss(scene: &mut Scene<'_>) -> Result<Running> {
    scene.ground.lose("cache-1", "numgen random mod 10 0").map(Running::promise)
}

/// Many threads want all the time there is.
///
/// # Errors
/// Where a host's processor time cannot be limited: the whole machine would be overloaded.
pub fn overload(scene: &mut Scene<'_>) -> Result<Running> {
    scene.ground.has_limits()?;
    job(scene, "api-2", &["incident-part", "hog", "--threads", THREADS]).map(Running::process)
}

/// A service is stopped.
///
/// # Errors
/// Never; the type is that of its siblings.
pub fn kill_api(scene: &mut Scene<'_>) -> Result<Running> {
    let api = host("api-2")?;
    scene.shop.stop(api.name);
    Ok(Running { stopped: vec![api], ..Running::default() })
}

/// A change is announced, and what was changed fails.
///
/// # Errors
/// When the collector does not take the change.
pub fn deploy(scene: &mut Scene<'_>) -> Result<Running> {
    let api = host("api-1")?;
    let service = format!("{}/{}", api.name, api.unit(&scene.ground.programs));
    scene.office.announce("deploy shop-api 41", &service)?;
    switch(scene, api.name, Switch::Broken)
}

/// A file grows until the disk is full.
///
/// # Errors
/// Without the disk.
pub fn fill_disk(scene: &mut Scene<'_>) -> Result<Running> {
    let ground = scene.ground;
    let (folder, cleared) = ground.disk()?.folder("backup", &ground.janitor)?;
    let folder = folder.to_string_lossy().into_owned();
    let words = ["inject", "fill", "--folder", &folder, "--mb-per-s", "200"];
    Ok(Running { promises: vec![cleared], ..Running::process(job(scene, "cache-1", &words)?) })
}

/// The name server hangs.
///
/// # Errors
/// When the switch cannot be made.
pub fn break_names(scene: &mut Scene<'_>) -> Result<Running> {
    switch(scene, "dns-1", Switch::Hang)
}

/// The cache grows: Redis by values that nobody takes out, ours by itself.
///
/// # Errors
/// When too little memory is free.
pub fn leak(scene: &mut Scene<'_>) -> Result<Running> {
    let (ground, cache) = (scene.ground, host("cache-1")?);
    let free = available_mb();
    if free < SPARE_MB {
        bail!("{free} MB of memory are free, {SPARE_MB} are asked for");
    }
    if ground.programs.redis.is_none() {
        return switch(scene, cache.name, Switch::Leak);
    }
    let at = ground.net.socket(cache.name, cache.port())?;
    let (to, ip, most) = (at.to_string(), at.ip().to_string(), LEAK_MB.to_string());
    let emptied = ground.janitor.promise(Undo::run(&["redis-cli", "-h", &ip, "flushall"]))?;
    let words = ["incident-part", "cram", "--to", &to, "--mb-per-s", "8", "--most", &most];
    Ok(Running { promises: vec![emptied], ..Running::process(job(scene, cache.name, &words)?) })
}

/// A web server accepts nothing more.
///
/// # Errors
/// When the switch cannot be made.
pub fn fill_queue(scene: &mut Scene<'_>) -> Result<Running> {
    switch(scene, "web-1", Switch::Hang)
}

/// A job opens more connections than the database has, and keeps those that it gets.
///
/// # Errors
/// When it cannot be started.
pub fn take_connections(scene: &mut Scene<'_>) -> Result<Running> {
    let (ground, db) = (scene.ground, host("db-1")?);
    let talk = if ground.programs.postgres.is_some() { Talk::Session } else { Talk::Ping };
    let to = ground.net.socket(db.name, db.port())?.to_string();
    let count = (CONNECTIONS + 10).to_string();
    let report = ground.folder.join("connections.json").to_string_lossy().into_owned();
    let words = ["map-part", "pool", "--name", "batch-pool", "--report", &report, "--to", &to, "--talk", talk.word()];
    let pool = ["--connections", &count, "--per-s", "1"];
    job(scene, "api-2", &[&words[..], &pool].concat()).map(Running::process)
}

/// A server that has nothing to do with the shop hangs.
///
/// # Errors
/// When the switch cannot be made.
pub fn break_mail(scene: &mut Scene<'_>) -> Result<Running> {
    switch(scene, "mail-1", Switch::Hang)
}

/// `MemAvailable`; nothing when it cannot be told.
fn available_mb() -> u64 {
    let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let field = text.lines().find_map(|l| l.strip_prefix("MemAvailable:"));
    field.and_then(|f| f.trim().trim_end_matches(" kB").parse::<u64>().ok()).unwrap_or(0) / 1024
}
