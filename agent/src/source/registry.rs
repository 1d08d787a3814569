//! All sources, in the order of importance: when the table of series is full, the last families go without.

use std::sync::Arc;

use super::filesystem::{FileSystem, FileSystems, Statvfs};
use super::{Root, Source};
use crate::config::Config;

/// The sources of a node, and what other parts share with them.
pub struct Sources {
    /// In order of importance.
    pub list: Vec<Box<dyn Source>>,
    /// Newest state of the file systems, for rules; empty when that source is left out.
    pub file_systems: FileSystems,
}

/// Makes the sources of the machine below `root`, without those that `config` leaves out.
#[must_use]
pub fn all(root: &Root, config: &Config) -> Sources {
    let sampling = &config.sampling;
    let file_system = FileSystem::new(root, &sampling.ignore_mounts, Arc::new(Statvfs));
    let file_systems = file_system.shared();
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
    Sources { list, file_systems }
}
