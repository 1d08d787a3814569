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

    // Processes
    PROCESS_COUNT = "system.process.count" ["{process}"] Processes ("process.state") "Processes by state; blocked is uninterruptible sleep, defunct is dead and not waited for.";

    // Hardware
    HW_TEMPERATURE = "hw.temperature" ["Cel"] Hardware ("hw.id") "Temperature of a sensor.";
    HW_FAN_SPEED = "hw.fan.speed" ["rpm"] Hardware ("hw.id") "Speed of a fan.";
    HW_VOLTAGE = "hw.voltage" ["V"] Hardware ("hw.id") "Voltage at a sensor.";
    HW_CURRENT = "hw.current" ["A"] Hardware ("hw.id") "Electric current at a sensor.";
    HW_POWER = "hw.power" ["W"] Hardware ("hw.id") "Power drawn at a sensor.";
    HW_BATTERY_CHARGE = "hw.battery.charge" ["1"] Hardware ("hw.id") "Charge of a battery, 0 to 1.";
    HW_BATTERY_DISCHARGING = "hw.battery.discharging" ["1"] Hardware ("hw.id") "1 while a battery discharges, else 0.";
    HW_SUPPLY_ONLINE = "hw.power_supply.online" ["1"] Hardware ("hw.id") "1 while an external supply is connected, else 0.";
    CPU_FREQUENCY_RATIO = "system.linux.cpu.frequency_ratio" ["1"] Hardware () "Mean frequency of the processors over their highest.";
    CPU_THROTTLED = "system.linux.cpu.throttled" ["{event}/s"] Hardware () "Times a processor core was slowed for heat.";
    BOARD_THROTTLED = "system.linux.board.throttled" ["1"] Hardware ("hw.reason") "1 while the board's firmware reports the reason, else 0.";

    // Units and containers
    CGROUP_CPU = "system.linux.cgroup.cpu.usage" ["{cpu}"] Cgroup ("cgroup.name") "Processors in use by a unit or container.";
    CGROUP_CPU_THROTTLED = "system.linux.cgroup.cpu.throttled" ["1"] Cgroup ("cgroup.name") "Time its threads were held back by its quota, over time.";
    CGROUP_MEMORY = "system.linux.cgroup.memory.usage" ["By"] Cgroup ("cgroup.name") "Memory of a unit or container, page cache included.";
    CGROUP_MEMORY_UTILIZATION = "system.linux.cgroup.memory.utilization" ["1"] Cgroup ("cgroup.name") "Memory over its limit.";
    CGROUP_IO = "system.linux.cgroup.disk.io" ["By/s"] Cgroup ("cgroup.name", "disk.io.direction") "Bytes to and from block devices.";
    CGROUP_TASKS = "system.linux.cgroup.tasks" ["{thread}"] Cgroup ("cgroup.name") "Threads of a unit or container.";
    CGROUP_PRESSURE = "system.linux.cgroup.pressure" ["1"] Cgroup ("cgroup.name", "cgroup.resource") "Share of time in which some of its threads waited for the resource.";

    // Local Prometheus endpoints (their series keep the names they are exposed with)
    SCRAPE_UP = "up" ["1"] Scrape ("job") "1 when the last read of the endpoint worked, else 0.";
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
