//! An incident as a running collector would see it, and what all loaders share.

use std::path::Path;

use anyhow::{Context as _, Result};
use serde::de::DeserializeOwned;
use tacit_collector::cause::{Evidence, MetricKind, Point, Series};

use super::table;

/// An incident without its label.
#[derive(Debug, Clone, PartialEq)]
pub struct Case {
    /// The system that it happened in.
    pub system: String,
    /// Its name in the data.
    pub id: String,
    /// All that the ranking sees.
    pub evidence: Evidence,
}

/// Takes one incident after another, so that not all need be in memory.
pub type Each<'a> = dyn FnMut(Case) -> Result<()> + 'a;

/// What a metric tells of, by words in its name that operators use whatever the system.
#[must_use]
pub fn kind_of(name: &str) -> MetricKind {
    let name = name.to_lowercase();
    let has = |words: &[&str]| words.iter().any(|word| name.contains(word));
    if has(&["latency", "duration", "server_p", "client_p"]) {
        MetricKind::Latency
    } else if has(&["error", "fail", "availability", "success", "5xx", "panic", "cancelled", "throttle_ratio"]) {
        MetricKind::Errors
    } else if has(&["request", "workload", "per_min", "throughput"]) {
        MetricKind::Traffic
    } else if has(&["cpu"]) {
        MetricKind::Cpu
    } else if has(&["mem_", "memory"]) {
        MetricKind::Memory
    } else if has(&["disk", "syscall", "buffer"]) {
        MetricKind::Disk
    } else if has(&["net_"]) {
        MetricKind::Network
    } else {
        MetricKind::Other
    }
}

/// A JSON file.
///
/// # Errors
/// A file that cannot be read, or holds something else.
pub fn json<T: DeserializeOwned>(path: &Path) -> Result<T> {
    let text = table::text(path)?;
    serde_json::from_str(&text).with_context(|| format!("{} is not what it should be", path.display()))
}

/// Values at times, cut into what is before and what is of the incident. A time may be neither.
#[must_use]
pub fn cut(times: &[i64], values: &[f64], reference: impl Fn(usize) -> bool, window: impl Fn(usize) -> bool) -> Series {
    let there = || times.iter().zip(values).enumerate();
    let before = there().filter(|(i, _)| reference(*i)).map(|(_, (_, value))| *value);
    let of_incident = there().filter(|(i, _)| window(*i));
    Series::new(before, of_incident.map(|(_, (at, value))| Point { at_ms: at.saturating_mul(1000), value: *value }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_tell_the_kind() {
        use MetricKind::{Cpu, Disk, Errors, Latency, Memory, Network, Other, Traffic};
        for (name, kind) in [
            ("server_p95_s", Latency),
            ("latency|p95", Latency),
            ("http_server_duration_p99_ms", Latency),
            ("availability|Average", Errors),
            ("error_rate_5xx_ratio", Errors),
            ("requests|Sum", Traffic),
            ("workload_ops", Traffic),
            ("container_cpu_usage_cores", Cpu),
            ("mem_pct", Memory),
            ("syscall_read", Disk),
            ("net_rx", Network),
            ("queue_depth", Other),
        ] {
            assert_eq!(kind_of(name), kind, "{name}");
        }
    }

    #[test]
    fn times_are_cut_and_may_be_left_out() {
        let series = cut(&[10, 20, 30, 40], &[1.0, 2.0, 3.0, f64::NAN], |i| i == 0 || i == 3, |i| i == 2);
        assert_eq!(series.reference(), [1.0]);
        assert_eq!(series.window(), [Point { at_ms: 30_000, value: 3.0 }]);
    }
}
