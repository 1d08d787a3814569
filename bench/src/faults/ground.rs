//! What one run of the bench has made: its folder, the places faults stand on, and how helpers are started there.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use anyhow::{Context as _, Result, anyhow};

use super::catalogue::{Fault, Need};
use super::place::booted::Booted;
use super::place::cgroup::Group;
use super::place::netns::Netns;
use super::place::scratch::Scratch;
use super::process::Process;
use super::undo::{Janitor, Undo};

/// Helpers that make steady noise end by themselves after this long, whatever happens.
pub const LIFETIME_S: u64 = 12 * 3600;

/// A place that was asked for and is there, or why it is not; `None` when nobody asked.
type Place<T> = Option<Result<T, String>>;

/// Everything that stands. Fields are dropped in their order: processes go before the groups, links and mounts they use.
pub struct Ground {
    /// Steady workers beside the agent: what a fault disturbs.
    background: Vec<(Need, Process)>,
    worker: Place<Group>,
    sensor: Place<Sensor>,
    network: Place<Netns>,
    scratch: Place<Scratch>,
    booted: Place<Booted>,
    /// This program.
    pub own: PathBuf,
    /// The run's folder.
    pub folder: PathBuf,
    /// Who undoes.
    pub janitor: Arc<Janitor>,
}

/// The sensor that can be stuck.
#[derive(Debug, Clone)]
pub struct Sensor {
    /// Where the agent reads it.
    pub url: String,
    /// While this file is there it is stuck.
    pub stuck: PathBuf,
}

impl Ground {
    /// Makes what `faults` need. What cannot be made is no error here: the faults that need it say why they did not run.
    ///
    /// # Errors
    /// When the run's own folder cannot be used.
    pub fn new(faults: &[Fault], folder: &Path, janitor: &Arc<Janitor>) -> Result<Self> {
        let own = std::env::current_exe().context("cannot find this program's own path")?;
        let folder = folder.canonicalize().context("cannot find the run's folder")?;
        let needed = |need| faults.iter().any(|f| f.needs(need));
        let mut ground = Self {
            background: Vec::new(),
            worker: None,
            sensor: None,
            network: None,
            scratch: None,
            booted: None,
            own,
            folder,
            janitor: Arc::clone(janitor),
        };
        let words = |error: anyhow::Error| format!("{error:#}");
        if needed(Need::Scratch) {
            ground.scratch = Some(Scratch::new(&ground.folder, janitor).map_err(words));
        }
        if needed(Need::Network) {
            ground.network = Some(Netns::new(janitor).map_err(words));
            if ground.network.as_ref().is_some_and(Result::is_ok) {
                ground.traffic()?;
            }
        }
        if needed(Need::Sensor) {
            ground.sensor = Some(ground.start_sensor().map_err(words));
        }
        if needed(Need::Worker) {
            ground.worker = Some(ground.start_worker().map_err(words));
        }
        Ok(ground)
    }

    /// Boots the system that service faults need.
    ///
    /// # Errors
    /// See [`Booted::new`].
    pub fn boot(&mut self, root: &Path, agent: &Path) -> Result<()> {
        let (own, agent) = (self.own.clone(), agent.canonicalize().context("cannot find the agent")?);
        let booted = Booted::new(&own, &self.folder, root, &[&own, &agent])?;
        self.booted = Some(Ok(booted));
        Ok(())
    }

    /// The system booted for service faults.
    ///
    /// # Errors
    /// When there is none, and why.
    pub fn booted(&self) -> Result<&Booted> {
        place(self.booted.as_ref(), "no system was booted")
    }

    /// The file system of its own.
    ///
    /// # Errors
    /// When there is none, and why.
    pub fn scratch(&self) -> Result<&Scratch> {
        place(self.scratch.as_ref(), "no file system was made")
    }

    /// The network namespace.
    ///
    /// # Errors
    /// When there is none, and why.
    pub fn network(&self) -> Result<&Netns> {
        place(self.network.as_ref(), "no network namespace was made")
    }

    /// The control group of the steady worker.
    ///
    /// # Errors
    /// When there is none, and why.
    pub fn worker(&self) -> Result<&Group> {
        place(self.worker.as_ref(), "no worker was started")
    }

    /// The sensor.
    ///
    /// # Errors
    /// When there is none, and why.
    pub fn sensor(&self) -> Result<&Sensor> {
        place(self.sensor.as_ref(), "no sensor was started")
    }

    /// What the agent reads to know how far its wall clock is ahead.
    pub fn clock_ahead(&self) -> PathBuf {
        self.folder.join("clock-ahead")
    }

    /// This program as a helper, where the agent is.
    pub fn helper(&self, arguments: &[&str]) -> Command {
        let mut command = match self.network() {
            Ok(network) => {
                // Not `ip netns exec`: that one mounts another /sys, without the control groups.
                let mut command = Command::new("nsenter");
                command.arg(format!("--net=/run/netns/{}", network.name)).arg("--").arg(&self.own);
                command
            }
            Err(_) => Command::new(&self.own),
        };
        command.arg("inject").args(arguments).current_dir(&self.folder);
        command
    }

    /// Another program, where the agent is, in a control group when one is named. It dies with the bench.
    pub fn program(&self, words: &[&str], group: Option<&Group>) -> Command {
        let group = group.map(|g| g.path().to_string_lossy().into_owned());
        let group: Vec<&str> = group.iter().flat_map(|g| ["--cgroup", g.as_str()]).collect();
        self.helper(&[&["run"][..], &group, &["--"], words].concat())
    }

    /// Starts a process whose words are kept in the run's folder.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(&self, command: Command, what: &str) -> Result<Process> {
        Process::start(command, what, &self.folder.join(format!("{what}.log")))
    }

    /// A promise to remove a file that switches something on, and the file itself.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn switch(&self, file: &Path) -> Result<super::undo::Promise> {
        let path = file.to_string_lossy();
        let promise = self.janitor.promise(Undo::run(&["rm", "-f", &path]))?;
        std::fs::write(file, "").with_context(|| format!("cannot make {path}"))?;
        Ok(promise)
    }

    /// Why a steady worker that the fault is to disturb is no more, if it ended.
    pub fn trouble(&mut self, fault: &Fault) -> Option<String> {
        let needed = self.background.iter_mut().filter(|(need, _)| fault.needs(*need));
        needed.map(|(_, process)| process).find_map(Process::trouble)
    }

    fn traffic(&mut self) -> Result<()> {
        let network = self.network()?;
        let (server, resolver) = (network.server.to_string(), network.resolver.to_string());
        let lifetime = LIFETIME_S.to_string();
        let talk = self.helper(&["talk", "--to", &server, "--per-s", "10", "--seconds", &lifetime]);
        let resolve = self.helper(&["resolve", "--to", &resolver, "--per-s", "5", "--seconds", &lifetime]);
        let processes = [self.start(talk, "work-talk")?, self.start(resolve, "work-resolve")?];
        self.background.extend(processes.map(|process| (Need::Network, process)));
        Ok(())
    }

    fn start_sensor(&mut self) -> Result<Sensor> {
        // In a namespace of our own every port is free; elsewhere one is asked for and given back.
        let port = match self.network() {
            Ok(_) => 9100,
            Err(_) => std::net::TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port(),
        };
        let stuck = self.folder.join("sensor-stuck");
        let (text, lifetime) = (port.to_string(), LIFETIME_S.to_string());
        let file = stuck.to_string_lossy().into_owned();
        let command = self.helper(&["sensor", "--port", &text, "--stuck", &file, "--seconds", &lifetime]);
        let process = self.start(command, "work-sensor")?;
        self.background.push((Need::Sensor, process));
        Ok(Sensor { url: format!("http://127.0.0.1:{port}/metrics"), stuck })
    }

    fn start_worker(&mut self) -> Result<Group> {
        let group = Group::new("cpu", "worker", &self.janitor)?;
        let path = group.path().to_string_lossy().into_owned();
        let lifetime = LIFETIME_S.to_string();
        let command = self.helper(&["worker", "--share", "0.3", "--cgroup", &path, "--seconds", &lifetime]);
        let process = self.start(command, "work-steady")?;
        self.background.push((Need::Worker, process));
        Ok(group)
    }
}

fn place<'a, T>(place: Option<&'a Result<T, String>>, otherwise: &str) -> Result<&'a T> {
    match place {
        Some(Ok(place)) => Ok(place),
        Some(Err(reason)) => Err(anyhow!("{reason}")),
        None => Err(anyhow!("{otherwise}")),
    }
}
