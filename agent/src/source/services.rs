//! The sources of processes, sensors, units and endpoints: those with a thread of their own.

use std::time::Duration;

use super::cgroup::Cgroups;
use super::hardware::Hardware;
use super::processes::{ProcessScan, Processes};
use super::scrape::Scrape;
use super::{Root, Source};
use crate::config::Config;

/// The sources, and the handles to their threads.
pub struct Services {
    /// In the order of sampling.
    pub sources: Vec<Box<dyn Source>>,
    /// The process scan of a live machine: an opening event asks it for one more.
    pub processes: Option<ProcessScan>,
    refreshers: Vec<Box<dyn Fn(Duration) + Send>>,
}

impl Services {
    /// Takes the calls out by which a program that prints once gets fresh results of the slow threads.
    pub fn take_refreshers(&mut self) -> Vec<Box<dyn Fn(Duration) + Send>> {
        std::mem::take(&mut self.refreshers)
    }
}

/// Starts them below `root`, without those that `sampling.disable` names.
///
/// # Errors
/// When the system refuses another thread.
pub fn all(root: &Root, config: &Config) -> std::io::Result<Services> {
    let sampling = &config.sampling;
    let enabled = |name: &str| sampling.disable.iter().all(|d| d != name);
    let mut services = Services { sources: Vec::new(), processes: None, refreshers: Vec::new() };
    let Services { sources, processes, refreshers } = &mut services;
    if enabled("processes") {
        sources.push(Box::new(if root.is_live() {
            let scan = ProcessScan::start(root, sampling.process_interval.std(), sampling.command_lines)?;
            let handle = scan.clone();
            refreshers.push(Box::new(move |limit| handle.refresh(limit)));
            Processes::new(processes.insert(scan).clone())
        } else {
            Processes::of_tree(root)
        }));
    }
    if enabled("hardware") {
        sources.push(Box::new(Hardware::new(root)?));
    }
    if enabled("cgroup") {
        sources.push(Box::new(Cgroups::new(root, sampling.max_series)?));
    }
    // Not having asked for any endpoint is not an absence worth telling.
    if enabled("scrape") && !config.scrape.is_empty() {
        let scrape = Scrape::new(&config.scrape)?;
        refreshers.extend(scrape.refreshers());
        sources.push(Box::new(scrape));
    }
    Ok(services)
}
