//! All sources, in the order of importance: when the table of series is full, the last families go without.

use std::sync::Arc;

use super::filesystem::{FileSystem, FileSystems, Statvfs};
use super::probe::Answers;
use super::processes::ProcessScan;
use super::services::{self, Handles, Services};
use super::task::{Refresher, Task};
use super::{Root, Source};
use crate::config::Config;
use crate::context::LogCounts;
use crate::links::{self, ServiceFigures};

/// The names of all sources, as `sampling.disable` takes them.
pub const NAMES: [&str; 19] = [
    "cpu",
    "load",
    "memory",
    "pressure",
    "disk",
    "filesystem",
    "network",
    "vm",
    "protocol",
    "sockets",
    "files",
    "processes",
    "hardware",
    "cgroup",
    "probe",
    "log",
    "statsd",
    "scrape",
    "link",
];

/// The sources of a node, and what other parts share with them.
pub struct Sources {
    /// In order of importance.
    pub list: Vec<Box<dyn Source>>,
    /// Newest state of the file systems, for rules; empty when that source is left out.
    pub file_systems: FileSystems,
    /// The process scan of a live machine: an opening event asks it for one more. `None` when it is left out.
    pub processes: Option<ProcessScan>,
    /// For programs that print once: each call has one slow thread read now, and waits at most so long for it.
    pub refreshers: Vec<Refresher>,
    /// What waits on sockets for some of them: to be run on the network thread's runtime, or [apart](super::task::run_apart).
    pub tasks: Vec<Task>,
    /// Newest answers of the probes, for rules.
    pub answers: Answers,
    /// Where the journal's lines are counted.
    pub logs: LogCounts,
    /// Where connections of services are shown.
    pub links: ServiceFigures,
    /// What changes the endpoints that are asked and read, where there are any.
    pub handles: Handles,
}

/// Makes the sources of the machine below `root`, without those that `config` leaves out.
#[must_use]
pub fn all(root: &Root, config: &Config) -> Sources {
    let sampling = &config.sampling;
    let file_system = FileSystem::new(root, &sampling.ignore_mounts, Arc::new(Statvfs));
    let file_systems = file_system.shared();
    let enabled = sampling.disable.iter().all(|name| name != file_system.name());
    let refresh_file_systems = enabled.then(|| -> Refresher { Box::new(file_system.refresher()) });
    let mut list: Vec<Box<dyn Source>> = vec![
        Box::new(super::cpu::Cpu::new(root)),
        Box::new(super::load::Load::new(root)),
        Box::new(super::memory::Memory::new(root)),
        Box::new(super::pressure::Pressure::new(root)),
        Box::new(super::disk::Disk::new(root, &sampling.ignore_devices)),
        Box::new(file_system),
        Box::new(super::network::Network::new(root, &sampling.ignore_interfaces)),
        Box::new(super::vm::Vm::new(root)),
        Box::new(super::protocol::Protocol::new(root)),
        Box::new(super::sockets::Sockets::new(root)),
        Box::new(super::files::Files::new(root)),
    ];
    list.retain(|source| !sampling.disable.iter().any(|name| name == source.name()));
    let Services { sources, processes, mut refreshers, tasks, answers, logs, handles } = services::all(root, config);
    list.extend(sources);
    refreshers.extend(refresh_file_systems);
    let links = ServiceFigures::default();
    // The dearest in number of series, and the map has them too: they go first when the table is full.
    if links::are_observed(config) && sampling.disable.iter().all(|name| name != "link") {
        list.push(Box::new(super::link::Link::new(links.clone())));
    }
    Sources { list, file_systems, processes, refreshers, tasks, answers, logs, links, handles }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_of_names_is_complete() {
        let text = "[statsd]\nlisten = \"127.0.0.1:0\"\n[[probe]]\nname = \"y\"\ntarget = \"icmp://127.0.0.1\"\n\
            [[scrape]]\njob = \"x\"\nurl = \"http://127.0.0.1:1/\"\n";
        let config = Config::parse(text).expect("a good one");
        let folder = tempfile::tempdir().expect("a folder");
        let sources = all(&Root::new(folder.path()), &config);
        assert_eq!(sources.list.iter().map(|s| s.name()).collect::<Vec<_>>(), NAMES);

        let mut config = config;
        config.sampling.disable = NAMES.iter().map(ToString::to_string).collect();
        assert!(all(&Root::new(folder.path()), &config).list.is_empty());
    }
}
