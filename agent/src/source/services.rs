//! The sources of processes, sensors, units and endpoints: those with a thread or a task of their own.

use super::cgroup::Cgroups;
use super::hardware::Hardware;
use super::logs::Logs;
use super::probe::{self, Answers};
use super::processes::{ProcessScan, Processes};
use super::scrape::{self, Scrape};
use super::statsd;
use super::task::{Refresher, Task};
use super::{Root, Source};
use crate::config::Config;
use crate::context::{LogCounts, journal};

/// The sources, and the handles to their threads.
pub struct Services {
    /// In the order of sampling.
    pub sources: Vec<Box<dyn Source>>,
    /// The process scan of a live machine: an opening event asks it for one more.
    pub processes: Option<ProcessScan>,
    /// Each call has one slow thread read now, and waits at most so long for it.
    pub refreshers: Vec<Refresher>,
    /// What waits on sockets.
    pub tasks: Vec<Task>,
    /// Newest answers of the probes.
    pub answers: Answers,
    /// Where the journal's lines are counted.
    pub logs: LogCounts,
    /// What changes the endpoints that are asked and read, where there are any.
    pub handles: Handles,
}

/// Handles of sources that follow the configuration while they run.
#[derive(Debug, Clone, Default)]
pub struct Handles {
    /// `[[probe]]`
    pub probes: Option<probe::Handle>,
    /// `[[scrape]]`
    pub scrapes: Option<scrape::Handle>,
}

/// Starts them below `root`, without those that `sampling.disable` names. One that gets no thread from the system is
/// left out and said: the other families go on.
#[must_use]
pub fn all(root: &Root, config: &Config) -> Services {
    let sampling = &config.sampling;
    let interval = sampling.process_interval.std();
    let enabled = |name: &str| sampling.disable.iter().all(|d| d != name);
    let mut services = Services {
        sources: Vec::new(),
        processes: None,
        refreshers: Vec::new(),
        tasks: Vec::new(),
        answers: Answers::default(),
        logs: LogCounts::default(),
        handles: Handles::default(),
    };
    let Services { sources, processes, refreshers, .. } = &mut services;
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
    asked_for(&mut services, config, &enabled);
    let Services { sources, refreshers, handles, .. } = &mut services;
    // Not having asked for any endpoint is not an absence worth telling.
    if enabled("scrape")
        && !config.scrape.is_empty()
        && let Some(scrape) = started("scrape", Scrape::new(&config.scrape))
    {
        refreshers.extend(scrape.refreshers());
        handles.scrapes = Some(scrape.handle());
        sources.push(Box::new(scrape));
    }
    services
}

/// What comes from beyond the kernel, each by a task: probes, the journal's counts, StatsD.
fn asked_for(services: &mut Services, config: &Config, enabled: &impl Fn(&str) -> bool) {
    if enabled("probe") && !config.probe.is_empty() {
        let probe::Started { source, tasks, refreshers, answers, handle } = probe::start(&config.probe);
        services.handles.probes = Some(handle);
        services.sources.push(Box::new(source));
        services.tasks.extend(tasks);
        services.refreshers.extend(refreshers);
        services.answers = answers;
    }
    if enabled("log") && !config.context.disable.iter().any(|name| name == journal::NAME) {
        services.sources.push(Box::new(Logs::new(services.logs.clone())));
    }
    if enabled("statsd")
        && let Some((source, task)) = statsd::start(&config.statsd)
    {
        services.sources.push(Box::new(source));
        services.tasks.push(task);
    }
}

fn boxed(source: impl Source + 'static) -> Box<dyn Source> {
    Box::new(source)
}

fn started<T>(source: &str, result: std::io::Result<T>) -> Option<T> {
    result.inspect_err(|error| tracing::error!(source, %error, "No thread for a source; it is left out.")).ok()
}
