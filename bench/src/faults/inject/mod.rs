//! How each fault is started. What is running undoes itself when it is dropped.

pub mod cpu;
pub mod disk;
pub mod memory;
pub mod network;
pub mod process;
pub mod sensor;
pub mod service;
pub mod time;

use anyhow::Result;

use super::ground::Ground;
use super::process::Process;
use super::undo::Promise;

/// Starts a fault that lasts at most so many seconds; the error says why this machine cannot do it.
pub type Start = fn(&Ground, u64) -> Result<Running>;

/// A fault at work. Processes end before what they used is taken away.
#[derive(Debug, Default)]
pub struct Running {
    processes: Vec<Process>,
    promises: Vec<Promise>,
    groups: Vec<super::place::cgroup::Group>,
}

impl Running {
    /// With a process.
    pub fn process(process: Process) -> Self {
        Self { processes: vec![process], ..Self::default() }
    }

    /// With something that will be undone.
    pub fn promise(promise: Promise) -> Self {
        Self { promises: vec![promise], ..Self::default() }
    }

    /// Adds something that will be undone after the processes have ended.
    #[must_use]
    pub fn and(mut self, promise: Promise) -> Self {
        self.promises.push(promise);
        self
    }

    /// Adds the control group the processes run in.
    #[must_use]
    pub fn within(mut self, group: super::place::cgroup::Group) -> Self {
        self.groups.push(group);
        self
    }

    /// Why it is no fault any more, when a process of it failed.
    pub fn trouble(&mut self) -> Option<String> {
        self.processes.iter_mut().find_map(Process::trouble)
    }
}
