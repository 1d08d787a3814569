//! `tacit-bench faults`: what the agent makes of real faults on a live machine.
//!
//! A real agent learns for a while; then bounded, reversible faults are injected one after another, each only when the node is
//! calm again after the one before. What the collector is told decides: found or not, how late, the right kind or not, the
//! culprit named or not, and what was alarm without a fault. A fault that this machine cannot do counts as missed, with
//! the reason.
//!
//! ```text
//! catalogue ─ ground (what faults stand on) ─ subject (agent + collector) ─ learn ─ quiet ─┬─ inject ─ watch ─ undo ─ calm ─┐
//!                                                                                         └──────────────────────────────┘
//! ```

mod catalogue;
mod ground;
mod inject;
pub mod load;
mod outcome;
pub(crate) mod place;
mod report;
mod subject;
mod watch;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Result, bail};
use clap::Args;

use crate::live::{self, Stand, duration, process, say, undo};

use catalogue::{Fault, Need};
use ground::Ground;
use outcome::{Outcome, Window};
use report::Report;
use subject::{Subject, Where};
use undo::Janitor;
use watch::Watch;

/// A fault that was found goes on for so long: what its event says is renewed meanwhile.
const RENEWED: Duration = Duration::from_secs(20);
/// What an event says so long after the fault's end still counts.
const AFTER: Duration = Duration::from_secs(10);

/// Arguments of `tacit-bench faults`.
#[derive(Debug, Args)]
pub struct Options {
    /// Print the faults, and do nothing.
    #[arg(long)]
    list: bool,
    /// Only these faults.
    #[arg(long, value_delimiter = ',', value_name = "NAME")]
    only: Vec<String>,
    /// How long the agent learns first.
    #[arg(long, default_value = "10m", value_parser = duration)]
    learn: Duration,
    /// How long nothing is done after that; alarms in it are false alarms.
    #[arg(long, default_value = "5m", value_parser = duration)]
    quiet: Duration,
    /// Longest wait for the node to be calm again after a fault.
    #[arg(long, default_value = "5m", value_parser = duration)]
    calm: Duration,
    /// How long nothing may be open before the node is called calm; the agent holds events back for 30 s after its start.
    #[arg(long, default_value = "60s", value_parser = duration)]
    pause: Duration,
    /// Do not restart the agent after an event: within ten minutes of its end, further alarms belong to it.
    #[arg(long)]
    keep: bool,
    /// Longest time of each fault, when shorter than its own.
    #[arg(long, value_parser = duration)]
    at_most: Option<Duration>,
    /// The agent (default: the one beside this program).
    #[arg(long)]
    agent: Option<PathBuf>,
    /// Root folder of the Debian that service faults boot; made with mmdebstrap when it is not there
    /// (default: tacit/faults-root in the cache folder).
    #[arg(long)]
    root: Option<PathBuf>,
    /// Folder for the run's files, on a disk (default: the folder for temporary files).
    #[arg(long)]
    folder: Option<PathBuf>,
    /// Print JSON instead of a table.
    #[arg(long)]
    json: bool,
}

/// Injects faults and prints what became of them.
///
/// # Errors
/// When the agent or the collector cannot be started, dies, or the run was interrupted. What was done is undone then too.
pub fn run(options: &Options) -> Result<()> {
    if options.list {
        print!("{}", catalogue::list());
        return Ok(());
    }
    let faults = catalogue::select(&options.only)?;
    let agent = live::agent(options.agent.as_deref())?;
    let stand = Stand::new(options.folder.as_deref())?;
    let (folder, janitor, stop) = (stand.folder(), Arc::clone(&stand.janitor), Arc::clone(&stand.stop));
    let mut bench = Bench { options, agent, folder, janitor, stop, restarted_s: 0.0, report: Report::default() };
    let (booted, here): (Vec<Fault>, Vec<Fault>) = faults.iter().copied().partition(|f| f.needs(Need::Systemd));
    let done = bench.place(Where::Here, &here).and_then(|()| bench.place(Where::Booted, &booted));
    let interrupted = bench.stop.load(Ordering::Relaxed);
    let report = bench.report;
    if options.json {
        println!("{}", report.json());
    } else {
        print!("{}", report.table(&faults));
    }
    done?;
    if interrupted {
        bail!("interrupted; everything was undone");
    }
    Ok(())
}

/// A run.
struct Bench<'a> {
    options: &'a Options,
    agent: PathBuf,
    folder: &'a Path,
    janitor: Arc<Janitor>,
    stop: Arc<AtomicBool>,
    /// When the agent was last restarted, in seconds of the subject's watch.
    restarted_s: f64,
    report: Report,
}

impl Bench<'_> {
    /// All faults of one place, with an agent of its own.
    fn place(&mut self, place: Where, faults: &[Fault]) -> Result<()> {
        if faults.is_empty() {
            return Ok(());
        }
        let mut ground = Ground::new(faults, self.folder, &self.janitor)?;
        if place == Where::Booted
            && let Err(error) = ground.boot(&self.root(), &self.agent)
        {
            let reason = format!("{error:#}");
            say(&format!("no service faults: {reason}"));
            self.report.faults.extend(faults.iter().map(|f| Outcome::refused(f, reason.clone())));
            return Ok(());
        }
        let mut subject = Subject::start(&ground, place, &self.agent)?;
        self.restarted_s = 0.0;
        let mut told = self.before(&mut subject)?;
        for fault in faults {
            let (outcome, window) = self.one(fault, &mut ground, &mut subject)?;
            self.report.faults.push(outcome);
            told.extend(window.map(|w| (w.start_s, w.told_s)));
        }
        let seen = subject.watch.seen();
        self.report.between.extend(outcome::alarms(&seen, |s| told.iter().all(|(a, b)| !(*a..=*b).contains(&s.at_s))));
        Ok(())
    }

    fn root(&self) -> PathBuf {
        let cache = || std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
        let home = || std::env::home_dir().map(|home| home.join(".cache"));
        let default = || cache().or_else(home).unwrap_or_else(std::env::temp_dir).join("tacit/faults-root");
        self.options.root.clone().unwrap_or_else(default)
    }

    /// Learning and the quiet time; gives the times in which alarms are told of already.
    fn before(&mut self, subject: &mut Subject) -> Result<Vec<(f64, f64)>> {
        say(&format!("the agent learns for {} s", self.options.learn.as_secs()));
        subject.wait(self.options.learn, &self.stop, |_| false)?;
        let learned = subject.watch.now_s();
        say(&format!("quiet for {} s", self.options.quiet.as_secs()));
        subject.wait(self.options.quiet, &self.stop, |_| false)?;
        let quiet = subject.watch.now_s();
        let seen = subject.watch.seen();
        self.report.learned_s = learned;
        self.report.quiet_s += quiet - learned;
        self.report.while_learning.extend(outcome::alarms(&seen, |s| s.at_s < learned));
        self.report.false_alarms.extend(outcome::alarms(&seen, |s| s.at_s >= learned));
        Ok(vec![(0.0, quiet)])
    }

    /// One fault: calm, start, watch, undo.
    fn one(&mut self, fault: &Fault, ground: &mut Ground, subject: &mut Subject) -> Result<(Outcome, Option<Window>)> {
        let refused = |reason: String| {
            say(&format!("{}: not run: {reason}", fault.name));
            Ok((Outcome::refused(fault, reason), None))
        };
        let calm = self.calm(ground, subject)?;
        if self.interrupted() {
            return refused("interrupted".into());
        }
        if !calm {
            return refused(format!("an anomaly was still open after {} s", self.options.calm.as_secs()));
        }
        if let Some(trouble) = ground.trouble(fault) {
            return refused(trouble);
        }
        let lasts = self.options.at_most.map_or(fault.seconds, |most| fault.seconds.min(most.as_secs()));
        let start_s = subject.watch.now_s();
        let mut running = match (fault.start)(ground, lasts) {
            Ok(running) => running,
            Err(error) => return refused(format!("{error:#}")),
        };
        let (mut trouble, mut found_s) = (None, None);
        subject.wait(Duration::from_secs(lasts), &self.stop, |watch| {
            let now = watch.now_s();
            if found_s.is_none() && watch.alarmed_of(start_s) {
                found_s = Some(now);
            }
            trouble = running.trouble();
            trouble.is_some() || found_s.is_some_and(|at| now - at > RENEWED.as_secs_f64())
        })?;
        let end_s = subject.watch.now_s();
        drop(running);
        if let Some(reason) = trouble {
            return refused(reason);
        }
        if self.interrupted() {
            return refused("interrupted".into());
        }
        subject.wait(AFTER, &self.stop, |_| false)?;
        let window = Window { start_s, end_s, told_s: subject.watch.now_s() };
        let outcome = outcome::judge(fault, window, &subject.watch.seen());
        let after = outcome.delay_s.map_or("not found".to_owned(), |s| format!("found after {s:.0} s"));
        say(&format!("{}: {after}; {}", fault.name, outcome.text));
        Ok((outcome, Some(window)))
    }

    /// Waits until nothing was open for a while; says whether that came to pass.
    fn calm(&mut self, ground: &Ground, subject: &mut Subject) -> Result<bool> {
        let pause = self.options.pause.as_secs_f64();
        let none_open = |watch: &Watch| watch.open() == 0;
        subject.wait(self.options.calm, &self.stop, none_open)?;
        if !none_open(&subject.watch) {
            return Ok(false);
        }
        // Within ten minutes of an event's end the agent takes what comes for the same event, and says nothing new. That
        // is not kept over a restart, and what was learned is.
        if !self.options.keep && subject.watch.alarmed_since(self.restarted_s) {
            self.restarted_s = subject.watch.now_s();
            subject.restart(ground)?;
        }
        let (mut since, mut calm) = (None, false);
        subject.wait(self.options.calm + self.options.pause, &self.stop, |watch| {
            let now = watch.now_s();
            since = if none_open(watch) { since.or(Some(now)) } else { None };
            calm = since.is_some_and(|since| now - since >= pause);
            calm
        })?;
        Ok(calm)
    }

    fn interrupted(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }
}
