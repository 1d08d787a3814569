//! What kind of trouble an anomaly is, from where its score comes from.
//!
//! Each series speaks for a kind. A kind weighs what its three strongest series weigh, so that a family of many series does
//! not outvote one of few, times how telling a series is: many things make a processor busy, only one thing opens files.

use tacit_wire::message::{FaultKind, ProcessNote};
use tacit_wire::{Attribute, SeriesDef};

/// Beginning of a name, an attribute value it must have (or none), the kind it speaks for, and how telling it is. The first
/// that fits counts.
const SIGNS: &[(&str, &str, FaultKind, f32)] = &[
    ("system.linux.pressure", "memory", FaultKind::Memory, 2.0),
    ("system.linux.pressure", "io", FaultKind::DiskIo, 2.0),
    ("system.linux.pressure", "cpu", FaultKind::Cpu, 2.0),
    ("system.linux.cgroup.pressure", "memory", FaultKind::Memory, 1.0),
    ("system.linux.cgroup.pressure", "io", FaultKind::DiskIo, 1.0),
    ("system.linux.cgroup.pressure", "cpu", FaultKind::Cpu, 1.0),
    ("system.cpu.utilization", "iowait", FaultKind::DiskIo, 1.5),
    ("system.linux.cpu.core.utilization", "iowait", FaultKind::DiskIo, 1.0),
    ("system.linux.threads.blocked", "", FaultKind::DiskIo, 1.5),
    ("system.linux.threads.count", "", FaultKind::Processes, 3.0),
    ("system.process.created", "", FaultKind::Processes, 3.0),
    ("system.process.count", "", FaultKind::Processes, 3.0),
    ("system.linux.cgroup.tasks", "", FaultKind::Processes, 2.0),
    ("system.linux.process.top.cpu", "", FaultKind::Cpu, 1.0),
    ("system.linux.process.top.memory", "", FaultKind::Memory, 1.0),
    ("system.linux.process.top.io", "", FaultKind::DiskIo, 1.0),
    ("system.cpu.", "", FaultKind::Cpu, 1.0),
    ("system.linux.cpu.", "", FaultKind::Cpu, 1.0),
    ("system.linux.threads.runnable", "", FaultKind::Cpu, 1.0),
    ("system.linux.cgroup.cpu", "", FaultKind::Cpu, 1.0),
    ("system.linux.context_switches", "", FaultKind::Cpu, 0.3),
    ("system.linux.interrupts", "", FaultKind::Cpu, 0.3),
    ("system.linux.soft_interrupts", "", FaultKind::Cpu, 0.3),
    ("system.linux.memory.dirty", "", FaultKind::DiskIo, 1.0),
    ("system.linux.memory.writeback", "", FaultKind::DiskIo, 1.0),
    ("system.linux.vm.io", "", FaultKind::DiskIo, 1.0),
    ("system.paging.faults", "minor", FaultKind::Memory, 0.3),
    ("system.memory.", "", FaultKind::Memory, 1.0),
    ("system.linux.memory.", "", FaultKind::Memory, 1.0),
    ("system.paging.", "", FaultKind::Memory, 1.5),
    ("system.linux.vm.", "", FaultKind::Memory, 0.5),
    ("system.linux.cgroup.memory", "", FaultKind::Memory, 1.0),
    ("system.disk.", "", FaultKind::DiskIo, 1.0),
    ("system.linux.disk.", "", FaultKind::DiskIo, 1.0),
    ("system.linux.cgroup.disk.io", "", FaultKind::DiskIo, 1.0),
    ("system.filesystem.", "", FaultKind::DiskFull, 2.0),
    ("system.linux.filesystem.", "", FaultKind::DiskFull, 2.0),
    ("system.linux.files.", "", FaultKind::Files, 3.0),
    ("system.linux.sockets.", "", FaultKind::Network, 1.5),
    ("system.network.", "", FaultKind::Network, 1.0),
    ("system.linux.network.", "", FaultKind::Network, 1.0),
    ("system.linux.tcp.", "", FaultKind::Network, 1.0),
    ("system.linux.udp.", "", FaultKind::Network, 1.0),
    ("system.linux.ip.", "", FaultKind::Network, 0.7),
    ("system.linux.icmp.", "", FaultKind::Network, 1.0),
    ("tacit.link.retransmits", "", FaultKind::Network, 1.0),
    ("tacit.link.round_trip", "", FaultKind::Network, 1.0),
    ("tacit.link.io", "", FaultKind::Network, 0.5),
    ("tacit.link.", "", FaultKind::Service, 1.0),
    ("hw.", "", FaultKind::Sensor, 2.0),
    ("system.linux.board.", "", FaultKind::Sensor, 2.0),
    ("system.linux.unit.", "", FaultKind::Service, 2.0),
    ("probe.", "", FaultKind::Service, 2.0),
];

/// Series of a kind that count.
const STRONGEST: usize = 3;

fn sign(name: &str, attributes: &[Attribute]) -> Option<(FaultKind, f32)> {
    let fits = |(begin, value, ..): &&(&str, &str, FaultKind, f32)| {
        name.starts_with(begin) && (value.is_empty() || attributes.iter().any(|a| a.value == *value))
    };
    SIGNS.iter().find(fits).map(|(_, _, kind, weight)| (*kind, *weight))
}

/// The kind a series speaks for, if any.
#[must_use]
pub fn kind_of(name: &str, attributes: &[Attribute]) -> Option<FaultKind> {
    sign(name, attributes).map(|(kind, _)| kind)
}

/// The likely kind and how sure that is, 0 to 1: its part of what all kinds weigh. `shares` are series with their shares of
/// the score.
#[must_use]
pub fn kind<'a>(shares: impl Iterator<Item = (&'a SeriesDef, f32)>) -> Option<(FaultKind, f32)> {
    let mut strongest = [[0.0_f32; STRONGEST]; FaultKind::ALL.len()];
    for (def, share) in shares {
        let Some((kind, weight)) = sign(&def.name, &def.attributes) else { continue };
        let Some(place) = FaultKind::ALL.iter().position(|k| *k == kind) else { continue };
        let mut value = share * weight;
        for held in &mut strongest[place] {
            if value > *held {
                std::mem::swap(&mut value, held);
            }
        }
    }
    let weights = strongest.map(|held| held.iter().sum::<f32>());
    let total: f32 = weights.iter().sum();
    let (best, weight) = weights.iter().copied().enumerate().max_by(|a, b| a.1.total_cmp(&b.1))?;
    (weight > 0.0).then(|| (FaultKind::ALL[best], weight / total))
}

/// The process to name first: the one on top of what the kind is about.
#[must_use]
pub fn culprit(kind: Option<FaultKind>, processes: &[ProcessNote]) -> Option<&ProcessNote> {
    let weight = |p: &ProcessNote| {
        let value = match kind {
            Some(FaultKind::Memory) => {
                p.memory_growth.get().unwrap_or(0.0).max(0.0) + 0.05 * p.memory.get().unwrap_or(0.0)
            }
            Some(FaultKind::DiskIo | FaultKind::DiskFull) => p.io.get().unwrap_or(0.0),
            _ => p.cpu.get().unwrap_or(0.0),
        };
        if value.is_finite() { value } else { 0.0 }
    };
    // The first of equals: the list is sorted by what the scan found remarkable.
    processes.iter().rev().max_by(|a, b| weight(a).total_cmp(&weight(b)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use tacit_wire::{SeriesId, semconv};

    fn series(name: &str, value: &str) -> SeriesDef {
        let attributes = if value.is_empty() { Vec::new() } else { vec![Attribute::new("k", value)] };
        SeriesDef { id: SeriesId(0), name: name.into(), attributes, unit: "1".into() }
    }

    #[test]
    fn the_strongest_series_decide() {
        let busy = [
            (series("system.linux.cpu.busy", ""), 0.1),
            (series("system.linux.pressure", "cpu"), 0.1),
            (series("system.process.created", ""), 0.01),
        ];
        let found = kind(busy.iter().map(|(d, s)| (d, *s))).expect("a kind");
        assert!(found.0 == FaultKind::Cpu && found.1 > 0.8, "{found:?}");
        let fork = [(series("system.process.created", ""), 0.1), (series("system.linux.cpu.busy", ""), 0.1)];
        assert_eq!(kind(fork.iter().map(|(d, s)| (d, *s))).expect("a kind").0, FaultKind::Processes);
        assert_eq!(kind([(&series("app_requests", ""), 1.0)].into_iter()), None);
    }

    #[test]
    fn every_metric_but_those_from_outside_speaks_for_a_kind() {
        for metric in semconv::ALL.iter().filter(|m| m.name.starts_with("system.") || m.name.starts_with("hw.")) {
            assert!(kind_of(metric.name, &[]).is_some() || metric.name.contains("pressure"), "{}", metric.name);
        }
    }
}
