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
    /// Each call has one slow thread read now, and waits at most so long for it.
    pub refreshers: Vec<Box<dyn Fn(Duration) + Send>>,
}

/// Starts them below `root`, without those that `sampling.disable` names. One that gets no thread from the system is
/// left out and said: the other families go on.
#[must_use]
pub fn all(root: &Root, config: &Config) -> Services {
    let sampling = &config.sampling;
    let interval = sampling.process_interval.std();
    let enabled = |name: &str| sampling.disable.iter().all(|d| d != name);
    let mut services = Services { sources: Vec::new(), processes: None, refreshers: Vec::new() };
    let Services { sources, processes, refreshers } = &mut services;
    if enabled("processes") {
        if !root.is_live() {
            sources.push(Box::new(Processes::of_tree(root)));
        } else if let Some(scan) = started("processes", ProcessScan::start(root, interval, sampling.command_lines)) {
            let handle = scan.clone();
            refreshers.push(Box::new(move |limit| handle.refresh(limit)));
            sources.push(Box::new(Processes::new(processes.insert(scan).clone())));
        }
    }
    if enabled("hardware") {
        sources.extend(started("hardware", Hardware::new(root)).map(boxed));
    }
    if enabled("cgroup") {
        sources.extend(started("cgroup", Cgroups::new(root, sampling.max_series)).map(boxed));
    }
    // Not having asked for any endpoint is not an absence worth telling.
    if enabled("scrape")
        && !config.scrape.is_empty()
        && let Some(scrape) = started("scrape", Scrape::new(&config.scrape))
    {
        refreshers.extend(scrape.refreshers());
        sources.push(Box::new(scrape));
    }
    services
}

fn boxed(source: impl Source + 'static) -> Box<dyn Source> {
    Box::new(source)
}

fn started<T>(source: &str, result: std::io::Result<T>) -> Option<T> {
    result.inspect_err(|error| tracing::error!(source, %error, "No thread for a source; it is left out.")).ok()
}
