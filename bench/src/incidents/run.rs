//! One run: the shop is learned once; then every fault meets it as it was.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use tacit_collector::clock::now_ms;

use super::Options;
use super::agents::{Agent, Setup};
use super::catalogue::Fault;
use super::hook::Hook;
use super::inject::{Running, Scene};
use super::office::Office;
use super::place::ground::Ground;
use super::place::hosts::HOSTS;
use super::score::{Asked, Course, Outcome, judge};
use super::shop::Shop;
use crate::live::say;
use crate::live::undo::run as command;

/// Longest wait for an agent's first message.
const BIRTH: Duration = Duration::from_secs(60);
/// Distance of looks at the incidents, and at each of them.
const LOOK: Duration = Duration::from_secs(1);
/// How long the incidents are looked at after a fault's end: what was under way may still come.
const AFTER: Duration = Duration::from_secs(15);
/// Longest wait for all incidents to be over before what was learned is kept.
const CALM: Duration = Duration::from_secs(300);

/// A run. Agents end before the collector, that before the services, and they before the hosts.
pub struct Run<'a> {
    options: &'a Options,
    program: &'a str,
    stop: &'a AtomicBool,
    agents: Vec<Agent>,
    office: Option<Office>,
    shop: Shop,
    ground: Ground,
    hook: Hook,
    /// What collector and agents keep, and the copy of it as it was after learning.
    now: PathBuf,
    kept: PathBuf,
}

impl<'a> Run<'a> {
    /// Of a shop that is open.
    ///
    /// # Errors
    /// When nobody can listen for notifications.
    pub fn new(
        options: &'a Options,
        program: &'a str,
        ground: Ground,
        shop: Shop,
        stop: &'a AtomicBool,
    ) -> Result<Self> {
        let (now, kept) = (ground.folder.join("now"), ground.folder.join("kept"));
        let hook = Hook::start()?;
        Ok(Self { options, program, stop, agents: Vec::new(), office: None, shop, ground, hook, now, kept })
    }

    /// Learns, then injects one fault after the other; each outcome is shown to `each` as it comes.
    ///
    /// # Errors
    /// When something cannot be started or dies, or the run was interrupted.
    pub fn all(&mut self, faults: &[&'static Fault], mut each: impl FnMut(&Outcome)) -> Result<Vec<Outcome>> {
        self.open()?;
        say(&format!("{} agents learn for {} s", self.agents.len(), self.options.learn.as_secs()));
        self.pause(self.options.learn)?;
        let mut outcomes = Vec::new();
        for (n, fault) in faults.iter().enumerate() {
            // What follows would belong to the incident before, as it should: the same services again, within minutes.
            if faults.len() > 1 {
                let ready = if n == 0 { self.keep() } else { self.back() };
                ready?;
                self.pause(self.options.settle)?;
            }
            let outcome = self.one(fault)?;
            each(&outcome);
            outcomes.push(outcome);
        }
        Ok(outcomes)
    }

    /// Where the console is.
    pub fn console(&self) -> Option<SocketAddr> {
        self.office.as_ref().map(|office| office.http)
    }

    fn office(&self) -> Result<&Office> {
        self.office.as_ref().context("the collector stopped")
    }

    /// Starts collector and agents on what they keep.
    fn open(&mut self) -> Result<()> {
        std::fs::create_dir_all(&self.now).context("cannot make a folder for what is kept")?;
        let machine = self.ground.net.machine();
        let (folder, http) = (self.now.join("collector"), self.options.keep_serving);
        let office = Office::start(&folder, machine, http, &self.hook.url())?;
        let state = self.now.join("agents");
        let models = !self.options.only_rules;
        let setup = Setup { program: self.program, broker: office.broker, models, state: &state };
        for host in &HOSTS {
            self.agents.push(Agent::start(&self.ground, host, &setup)?);
        }
        self.office = Some(office);
        let end = Instant::now() + BIRTH;
        while Instant::now() < end {
            self.check()?;
            let office = self.office()?;
            if self.agents.iter().all(|agent| office.is_online(agent.name())) {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(200));
        }
        bail!("an agent sent nothing within {} s", BIRTH.as_secs())
    }

    /// Ends them; what they know is on disk.
    fn close(&mut self) {
        self.agents.clear();
        self.office = None;
    }

    /// Keeps what was learned, as soon as nothing is open.
    fn keep(&mut self) -> Result<()> {
        let end = Instant::now() + CALM;
        while Instant::now() < end && !self.office()?.open_incidents()?.is_empty() {
            self.pause(LOOK)?;
        }
        for incident in self.office()?.open_incidents()? {
            say(&format!("still open: {}", incident.title));
        }
        self.close();
        copy(&self.now, &self.kept)?;
        self.open()
    }

    /// Everything is as it was after learning.
    fn back(&mut self) -> Result<()> {
        self.close();
        std::fs::remove_dir_all(&self.now).context("cannot remove what was kept")?;
        copy(&self.kept, &self.now)?;
        self.open()
    }

    fn check(&mut self) -> Result<()> {
        if self.stop.load(Ordering::Relaxed) {
            bail!("interrupted; everything is undone");
        }
        self.agents.iter_mut().try_for_each(Agent::check)?;
        self.shop.check()
    }

    fn pause(&mut self, time: Duration) -> Result<()> {
        let end = Instant::now() + time;
        while Instant::now() < end {
            self.check()?;
            std::thread::sleep(LOOK.min(end.saturating_duration_since(Instant::now())));
        }
        Ok(())
    }

    /// One fault: start, watch, end, judge.
    fn one(&mut self, fault: &Fault) -> Result<Outcome> {
        let before: BTreeSet<i64> = self.office()?.incidents(0)?.iter().map(|i| i.id).collect();
        let open = self.office()?.open_incidents()?.len();
        let told = self.hook.count();
        let asked = Asked { fault: fault.name, culprits: fault.culprits, injected_ms: now_ms() };
        say(&format!("{}: {}", fault.name, fault.what));
        let mut running = match self.start(fault.start) {
            Ok(running) => vec![running],
            Err(error) => return Ok(refused(&asked, format!("{error:#}"))),
        };
        let mut courses = BTreeMap::new();
        let (began, mut then) = (Instant::now(), fault.then);
        while began.elapsed() < self.options.lasts {
            self.look(&before, &mut courses)?;
            if let Some(reason) = running.iter_mut().find_map(Running::trouble) {
                self.end(running)?;
                return Ok(refused(&asked, reason));
            }
            if let Some((_, start)) = then.take_if(|(after, _)| began.elapsed() >= *after) {
                match self.start(start) {
                    Ok(second) => running.push(second),
                    Err(error) => {
                        self.end(running)?;
                        return Ok(refused(&asked, format!("{error:#}")));
                    }
                }
            }
        }
        self.end(running)?;
        let ended = Instant::now();
        while ended.elapsed() < AFTER {
            self.look(&before, &mut courses)?;
        }
        let courses: Vec<Course> = courses.into_values().collect();
        Ok(judge(&asked, &courses, self.hook.count() - told, open))
    }

    fn start(&mut self, start: super::inject::Start) -> Result<Running> {
        let office = self.office.as_ref().context("the collector stopped")?;
        start(&mut Scene { ground: &self.ground, shop: &mut self.shop, office })
    }

    fn end(&mut self, running: Vec<Running>) -> Result<()> {
        running.into_iter().rev().try_for_each(|running| running.end(&self.ground, &mut self.shop))
    }

    /// Looks at all incidents that were not there before, and waits a little.
    fn look(&mut self, before: &BTreeSet<i64>, courses: &mut BTreeMap<i64, Course>) -> Result<()> {
        self.check()?;
        let office = self.office()?;
        for seen in office.incidents(0)?.iter().filter(|i| !before.contains(&i.id)) {
            let (seen, causes) = office.incident(seen.id)?;
            courses.entry(seen.id).or_default().look(now_ms(), seen, causes);
        }
        std::thread::sleep(LOOK);
        Ok(())
    }
}

fn refused(asked: &Asked<'_>, reason: String) -> Outcome {
    say(&format!("{}: not run: {reason}", asked.fault));
    Outcome::refused(asked, reason)
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    let [from, to] = [from, to].map(|path| path.to_string_lossy().into_owned());
    command(&["cp", "--archive", &from, &to]).map(drop)
}
