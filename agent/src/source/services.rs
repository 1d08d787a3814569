//! The sources of processes, sensors, units and endpoints: those with a thread of their own.

use std::time::Duration;

use super::cgroup::Cgroups;
use super::hardware::Hardware;
use super::processes::{ProcessScan, Processes};
use super::scrape::Scrape;
use super::{Root, Source};
use crate::config::Config;

/// The sources, and the handle by which an opening event asks for a process scan.
pub struct Services {
    /// In the order of sampling.
    pub sources: Vec<Box<dyn Source>>,
    /// On a live machine.
    pub processes: Option<ProcessScan>,
}

impl Services {
    /// Waits, at most `limit`, for the first process scan; for programs that print once.
    pub fn wait_for_first(&self, limit: Duration) {
        if let Some(scan) = &self.processes {
            drop(scan.wait_beyond(0, limit));
        }
    }
}

/// Starts them below `root`.
///
/// # Errors
/// When the system refuses another thread.
pub fn all(root: &Root, config: &Config) -> std::io::Result<Services> {
    let sampling = &config.sampling;
    let disabled = |name: &str| sampling.disable.iter().any(|d| d == name);
    let mut sources: Vec<Box<dyn Source>> = Vec::new();
    let mut processes = None;
    if !disabled("processes") {
        sources.push(Box::new(if root.is_live() {
            let scan = ProcessScan::start(root, sampling.process_interval.std(), sampling.command_lines)?;
            Processes::new(processes.insert(scan).clone())
        } else {
            Processes::of_tree(root)
        }));
    }
    if !disabled("hardware") {
        sources.push(Box::new(Hardware::new(root)?));
    }
    if !disabled("cgroup") {
        sources.push(Box::new(Cgroups::new(root, sampling.max_series)?));
    }
    if !disabled("scrape") {
        sources.push(Box::new(Scrape::new(&config.scrape)?));
    }
    Ok(Services { sources, processes })
}
