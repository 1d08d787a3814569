//! The one table of metric names. Version it, never rename in place: dashboards and models know series by these names.
//!
//! Names follow OpenTelemetry's semantic conventions for system metrics; what they do not cover is under
//! `system.linux.` as the conventions do for Linux. Counters become rates at the source, so a unit ends in `/s` where
//! OpenTelemetry would count. The table is part of `PROTOCOL.md`; a test keeps the two equal.

/// Version of the table; a birth's dictionary is written with it.
pub const VERSION: u32 = 1;

/// What a group of series is about: the files under the agent's `source/`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Family {
    /// Processor.
    Cpu,
    /// Load and scheduling.
    Load,
    /// Memory and swap.
    Memory,
    /// Pressure stall information.
    Pressure,
    /// Virtual memory activity.
    Vm,
    /// Block devices.
    Disk,
    /// File systems.
    FileSystem,
    /// Network interfaces.
    Network,
    /// TCP, UDP and IP health.
    Protocol,
    /// Sockets.
    Sockets,
    /// File descriptors.
    Files,
    /// Processes.
    Processes,
    /// Temperatures, fans, throttling, voltage, battery.
    Hardware,
    /// systemd units and containers.
    Cgroup,
    /// Local Prometheus endpoints.
    Scrape,
    /// The agent itself.
    Agent,
}

/// One metric: a name that series share.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Metric {
    /// Name.
    pub name: &'static str,
    /// Unit in UCUM notation.
    pub unit: &'static str,
    /// Family.
    pub family: Family,
    /// Attribute keys its series carry, in order.
    pub attributes: &'static [&'static str],
    /// What it is, in one line.
    pub about: &'static str,
}

macro_rules! metrics {
    ($($(#[$meta:meta])* $id:ident = $name:literal [$unit:literal] $family:ident ($($key:literal),*) $about:literal;)+) => {
        $($(#[$meta])* #[doc = $about] pub const $id: Metric = Metric {
            name: $name, unit: $unit, family: Family::$family, attributes: &[$($key),*], about: $about,
        };)+
        /// Every metric of the table.
        pub const ALL: &[Metric] = &[$($id),+];
    };
}

metrics! {
    // Load
    LOAD_1M = "system.cpu.load_average.1m" ["{thread}"] Load () "Load average over one minute.";
    LOAD_5M = "system.cpu.load_average.5m" ["{thread}"] Load () "Load average over five minutes.";
    LOAD_15M = "system.cpu.load_average.15m" ["{thread}"] Load () "Load average over fifteen minutes.";
    THREADS_RUNNABLE = "system.linux.threads.runnable" ["{thread}"] Load () "Threads that run or wait for a processor now.";
    THREADS = "system.linux.threads.count" ["{thread}"] Load () "Threads that exist.";
}

#[cfg(test)]
mod tests {
    use super::ALL;

    #[test]
    fn names_are_unique_and_well_formed() {
        let mut names: Vec<_> = ALL.iter().map(|m| m.name).collect();
        names.sort_unstable();
        assert!(names.windows(2).all(|w| w[0] != w[1]), "two metrics share a name");
        for m in ALL {
            assert!(
                m.name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"._".contains(&b)),
                "{}",
                m.name
            );
            assert!(!m.unit.is_empty() && m.about.ends_with('.'), "{}", m.name);
        }
    }
}
