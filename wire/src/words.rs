//! Series and values in people's words: "CPU busy 100 % (usual 1–9 %)".

use crate::message::FaultKind;
use crate::num::Num;
use crate::series::Attribute;

/// Names of common series for people; others are called by their own name.
const NAMES: &[(&str, &str)] = &[
    ("system.linux.cpu.busy", "CPU busy"),
    ("system.linux.cpu.core.busy", "CPU core busy"),
    ("system.cpu.utilization", "CPU time"),
    ("system.cpu.load_average.1m", "load"),
    ("system.cpu.load_average.5m", "load over 5 minutes"),
    ("system.linux.threads.runnable", "runnable threads"),
    ("system.memory.utilization", "memory in use"),
    ("system.memory.usage", "memory"),
    ("system.linux.memory.available", "available memory"),
    ("system.linux.memory.anonymous", "program memory"),
    ("system.paging.utilization", "swap in use"),
    ("system.linux.pressure", "pressure"),
    ("system.paging.faults", "page faults"),
    ("system.disk.io", "disk throughput"),
    ("system.disk.operations", "disk operations"),
    ("system.linux.disk.await", "disk wait"),
    ("system.linux.disk.utilization", "disk busy"),
    ("system.linux.disk.queue", "disk queue"),
    ("system.filesystem.utilization", "file system in use"),
    ("system.network.io", "network throughput"),
    ("system.network.packets", "network packets"),
    ("system.network.errors", "network errors"),
    ("system.network.dropped", "dropped packets"),
    ("system.linux.tcp.retransmits", "TCP retransmits"),
    ("system.linux.context_switches", "context switches"),
    ("system.linux.interrupts", "interrupts"),
    ("system.process.created", "new processes"),
    ("system.process.count", "processes"),
    ("system.linux.cgroup.cpu.usage", "CPU of unit"),
    ("system.linux.cgroup.memory.usage", "memory of unit"),
    ("system.linux.cpu.core.utilization", "CPU core time"),
    ("system.linux.soft_interrupts", "soft interrupts"),
    ("system.linux.soft_interrupts.by_kind", "soft interrupts"),
    ("system.linux.threads.blocked", "blocked threads"),
    ("system.linux.threads.count", "threads"),
    ("system.cpu.load_average.15m", "load over 15 minutes"),
    ("system.linux.memory.dirty", "memory to be written"),
    ("system.linux.memory.committed", "promised memory"),
    ("system.linux.memory.lru", "memory by last use"),
    ("system.linux.memory.page_tables", "page tables"),
    ("system.paging.operations", "swapping"),
    ("system.linux.vm.io", "paging to disk"),
    ("system.linux.vm.allocated", "pages allocated"),
    ("system.linux.vm.freed", "pages freed"),
    ("system.linux.vm.events", "memory events"),
    ("system.linux.vm.oom_kills", "OOM kills"),
    ("system.disk.merged", "merged disk operations"),
    ("system.disk.pending_operations", "pending disk operations"),
    ("system.filesystem.usage", "file system space"),
    ("system.linux.filesystem.inodes.utilization", "inodes in use"),
    ("system.linux.tcp.opens", "TCP connections opened"),
    ("system.linux.tcp.attempt_failures", "failed TCP connects"),
    ("system.linux.tcp.resets", "TCP resets"),
    ("system.linux.tcp.established", "TCP connections"),
    ("system.linux.tcp.segments", "TCP segments"),
    ("system.linux.tcp.events", "TCP events"),
    ("system.linux.tcp.listen_overflows", "full accept queues"),
    ("system.linux.udp.datagrams", "UDP datagrams"),
    ("system.linux.udp.errors", "UDP errors"),
    ("system.linux.ip.packets", "IP packets"),
    ("system.linux.ip.io", "IP throughput"),
    ("system.linux.sockets.count", "sockets"),
    ("system.linux.files.open", "open files"),
    ("system.linux.cgroup.disk.io", "disk throughput of unit"),
    ("system.linux.cgroup.tasks", "threads of unit"),
    ("system.linux.cgroup.pressure", "pressure in unit"),
    ("hw.temperature", "temperature"),
    ("probe.up", "probe answers"),
    ("probe.duration", "probe duration"),
    ("system.linux.unit.log.lines", "log lines of unit"),
    ("system.linux.unit.log.error_ratio", "log errors of unit"),
];

/// The likely kind of trouble in words: "likely memory (82 % sure)"; empty when nothing is known.
#[must_use]
pub fn likely(fault: Option<FaultKind>, confidence: Num) -> String {
    let words = match fault {
        None | Some(FaultKind::Unknown) => return String::new(),
        Some(FaultKind::Cpu) => "the processors",
        Some(FaultKind::Memory) => "memory",
        Some(FaultKind::DiskIo) => "disk I/O",
        Some(FaultKind::DiskFull) => "a file system that fills",
        Some(FaultKind::Network) => "the network",
        Some(FaultKind::Processes) => "the number of processes",
        Some(FaultKind::Files) => "open files",
        Some(FaultKind::Service) => "a service",
        Some(FaultKind::Sensor) => "a sensor",
        Some(FaultKind::Clock) => "the clock",
    };
    match confidence.get() {
        Some(sure) if sure > 0.0 && sure < 0.995 => format!("likely {words} ({:.0} % sure)", sure * 100.0),
        _ => format!("likely {words}"),
    }
}

/// Whether people have a word for the series.
#[must_use]
pub fn is_known(series: &str) -> bool {
    NAMES.iter().any(|(name, _)| *name == series)
}

/// The series in words, with its attribute values: `disk throughput (sda write)`.
#[must_use]
pub fn name(series: &str, attributes: &[Attribute]) -> String {
    let known = NAMES.iter().find(|(name, _)| *name == series).map_or(series, |(_, words)| words);
    let values: Vec<&str> = attributes.iter().map(|a| a.value.as_str()).collect();
    if values.is_empty() { known.to_owned() } else { format!("{known} ({})", values.join(" ")) }
}

/// A value with its unit.
#[must_use]
pub fn value(value: f32, unit: &str) -> String {
    let (number, unit) = match unit {
        "1" => (value * 100.0, " %"),
        "By" => return scaled(value, "B"),
        "By/s" => return scaled(value, "B/s"),
        "s" => {
            let (number, unit) = if value.abs() < 1.0 { (value * 1000.0, " ms") } else { (value, " s") };
            return format!("{}{unit}", digits(number));
        }
        "Cel" => (value, " °C"),
        other => {
            let short = other.strip_prefix('{').map_or(other, |rest| if rest.ends_with("/s") { "/s" } else { "" });
            return format!("{}{short}", digits(value));
        }
    };
    format!("{}{unit}", digits(number))
}

/// A number of bytes with the prefix that keeps it short.
#[must_use]
pub fn scaled(value: f32, unit: &str) -> String {
    let (factor, prefix) = match value.abs() {
        v if v >= 1e9 => (1e9, "G"),
        v if v >= 1e6 => (1e6, "M"),
        v if v >= 1e3 => (1e3, "k"),
        _ => (1.0, ""),
    };
    format!("{} {prefix}{unit}", digits(value / factor))
}

/// Two or three digits, as people say them.
#[must_use]
pub fn digits(value: f32) -> String {
    match value.abs() {
        v if v >= 100.0 || v == 0.0 => format!("{value:.0}"),
        v if v >= 10.0 => format!("{value:.0}"),
        v if v >= 1.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_carry_their_unit() {
        assert_eq!(value(0.38, "1"), "38 %");
        assert_eq!(value(6.1e9, "By"), "6.1 GB");
        assert_eq!(value(12_300.0, "By/s"), "12 kB/s");
        assert_eq!(value(0.0041, "s"), "4.1 ms");
        assert_eq!(value(71.0, "Cel"), "71 °C");
        assert_eq!(value(1500.0, "{operation}/s"), "1500/s");
        assert_eq!(value(3.0, "{thread}"), "3.0");
    }

    #[test]
    fn series_have_words() {
        let attributes = [Attribute::new("system.device", "sda"), Attribute::new("disk.io.direction", "write")];
        assert_eq!(name("system.disk.io", &attributes), "disk throughput (sda write)");
        assert_eq!(name("app.requests", &[]), "app.requests");
    }
}
