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
    /// Endpoints that are asked.
    Probe,
    /// Lines of the journal.
    Log,
    /// Connections of services.
    Link,
    /// Numbers that programs push.
    Statsd,
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
    // Processor
    CPU_UTILIZATION = "system.cpu.utilization" ["1"] Cpu ("cpu.mode") "Share of all processors' time spent in a mode.";
    CPU_BUSY = "system.linux.cpu.busy" ["1"] Cpu () "Share of all processors' time that was not idle or waiting for a disk.";
    CPU_CORE_BUSY = "system.linux.cpu.core.busy" ["1"] Cpu ("cpu.logical_number") "The same of one logical processor.";
    CPU_CORE_UTILIZATION = "system.linux.cpu.core.utilization" ["1"] Cpu ("cpu.logical_number", "cpu.mode") "Share of one logical processor's time spent in a mode.";
    CONTEXT_SWITCHES = "system.linux.context_switches" ["{switch}/s"] Cpu () "Switches from one thread to another.";
    INTERRUPTS = "system.linux.interrupts" ["{interrupt}/s"] Cpu () "Interrupts served.";
    SOFT_INTERRUPTS = "system.linux.soft_interrupts" ["{interrupt}/s"] Cpu () "Soft interrupts served.";
    SOFT_INTERRUPTS_BY_KIND = "system.linux.soft_interrupts.by_kind" ["{interrupt}/s"] Cpu ("system.linux.softirq") "Soft interrupts served, by kind.";
    PROCESSES_CREATED = "system.process.created" ["{process}/s"] Cpu () "Processes and threads created.";
    THREADS_BLOCKED = "system.linux.threads.blocked" ["{thread}"] Cpu () "Threads that wait for a disk now.";

    // Load
    LOAD_1M = "system.cpu.load_average.1m" ["{thread}"] Load () "Load average over one minute.";
    LOAD_5M = "system.cpu.load_average.5m" ["{thread}"] Load () "Load average over five minutes.";
    LOAD_15M = "system.cpu.load_average.15m" ["{thread}"] Load () "Load average over fifteen minutes.";
    THREADS_RUNNABLE = "system.linux.threads.runnable" ["{thread}"] Load () "Threads that run or wait for a processor now.";
    THREADS = "system.linux.threads.count" ["{thread}"] Load () "Threads that exist.";

    // Memory and swap
    MEMORY_USAGE = "system.memory.usage" ["By"] Memory ("system.memory.state") "Memory by state.";
    MEMORY_UTILIZATION = "system.memory.utilization" ["1"] Memory () "Share of memory that is not available without swapping.";
    MEMORY_AVAILABLE = "system.linux.memory.available" ["By"] Memory () "Memory that programs can get without swapping.";
    MEMORY_DIRTY = "system.linux.memory.dirty" ["By"] Memory () "Memory that waits to be written to a disk.";
    MEMORY_WRITEBACK = "system.linux.memory.writeback" ["By"] Memory () "Memory that is being written to a disk.";
    MEMORY_ANONYMOUS = "system.linux.memory.anonymous" ["By"] Memory () "Memory of programs that no file backs.";
    MEMORY_MAPPED = "system.linux.memory.mapped" ["By"] Memory () "File memory mapped by programs.";
    MEMORY_SHARED = "system.linux.memory.shared" ["By"] Memory () "Shared memory and tmpfs.";
    MEMORY_SLAB = "system.linux.memory.slab" ["By"] Memory ("system.memory.slab.state") "Memory of the kernel's objects.";
    MEMORY_KERNEL_STACK = "system.linux.memory.kernel_stack" ["By"] Memory () "Stacks of threads in the kernel.";
    MEMORY_PAGE_TABLES = "system.linux.memory.page_tables" ["By"] Memory () "Page tables.";
    MEMORY_COMMITTED = "system.linux.memory.committed" ["By"] Memory () "Memory promised to programs.";
    MEMORY_LRU = "system.linux.memory.lru" ["By"] Memory ("system.memory.list") "Pages by how lately they were used.";
    MEMORY_UNEVICTABLE = "system.linux.memory.unevictable" ["By"] Memory () "Memory that cannot be given back.";
    MEMORY_PERCPU = "system.linux.memory.per_cpu" ["By"] Memory () "Per-processor memory of the kernel.";
    MEMORY_HUGE_PAGES = "system.linux.memory.huge_pages" ["{page}"] Memory ("system.memory.state") "Reserved huge pages by state.";
    SWAP_USAGE = "system.paging.usage" ["By"] Memory ("system.paging.state") "Swap by state.";
    SWAP_UTILIZATION = "system.paging.utilization" ["1"] Memory () "Share of swap in use.";

    // Pressure
    PRESSURE = "system.linux.pressure" ["1"] Pressure ("system.resource", "system.pressure.kind") "Share of time in which some, or all, threads waited for the resource.";

    // Virtual memory
    PAGING_FAULTS = "system.paging.faults" ["{fault}/s"] Vm ("system.paging.type") "Page faults; major ones had to read a disk.";
    PAGING_OPERATIONS = "system.paging.operations" ["{operation}/s"] Vm ("system.paging.direction") "Pages swapped in and out.";
    VM_IO = "system.linux.vm.io" ["By/s"] Vm ("disk.io.direction") "Bytes paged in from and out to block devices.";
    VM_SCANNED = "system.linux.vm.scanned" ["{page}/s"] Vm ("system.vm.by") "Pages looked at for reclaim.";
    VM_RECLAIMED = "system.linux.vm.reclaimed" ["{page}/s"] Vm ("system.vm.by") "Pages reclaimed.";
    VM_ALLOCATION_STALLS = "system.linux.vm.allocation_stalls" ["{stall}/s"] Vm () "Allocations that had to reclaim memory themselves.";
    VM_COMPACTION_STALLS = "system.linux.vm.compaction_stalls" ["{stall}/s"] Vm () "Allocations that had to compact memory themselves.";
    VM_OOM_KILLS = "system.linux.vm.oom_kills" ["{kill}/s"] Vm () "Processes killed for want of memory.";
    VM_ALLOCATED = "system.linux.vm.allocated" ["{page}/s"] Vm () "Pages allocated.";
    VM_FREED = "system.linux.vm.freed" ["{page}/s"] Vm () "Pages freed.";
    VM_ACTIVATED = "system.linux.vm.activated" ["{page}/s"] Vm () "Pages moved to the active list.";
    VM_DEACTIVATED = "system.linux.vm.deactivated" ["{page}/s"] Vm () "Pages moved to the inactive list.";
    VM_REFAULTS = "system.linux.vm.refaults" ["{page}/s"] Vm ("system.vm.page") "Pages needed again soon after they were reclaimed: the working set does not fit.";
    VM_THP_FALLBACKS = "system.linux.vm.huge_page_fallbacks" ["{fault}/s"] Vm () "Faults that got small pages for want of a huge one.";
    VM_EVENTS = "system.linux.vm.events" ["{event}/s"] Vm ("system.vm.event") "Rarer events of memory management, by their name in /proc/vmstat.";

    // Block devices
    DISK_IO = "system.disk.io" ["By/s"] Disk ("system.device", "disk.io.direction") "Bytes read and written.";
    DISK_OPERATIONS = "system.disk.operations" ["{operation}/s"] Disk ("system.device", "disk.io.direction") "Operations completed.";
    DISK_MERGED = "system.disk.merged" ["{operation}/s"] Disk ("system.device", "disk.io.direction") "Operations merged into others.";
    DISK_AWAIT = "system.linux.disk.await" ["s"] Disk ("system.device", "disk.io.direction") "Mean time from request to completion, waiting included.";
    DISK_UTILIZATION = "system.linux.disk.utilization" ["1"] Disk ("system.device") "Share of time in which the device had work.";
    DISK_QUEUE = "system.linux.disk.queue" ["{operation}"] Disk ("system.device") "Mean number of operations under way.";
    DISK_PENDING = "system.disk.pending_operations" ["{operation}"] Disk ("system.device") "Operations under way now.";

    // File systems
    FS_USAGE = "system.filesystem.usage" ["By"] FileSystem ("system.filesystem.mountpoint", "system.filesystem.state") "Space by state.";
    FS_UTILIZATION = "system.filesystem.utilization" ["1"] FileSystem ("system.filesystem.mountpoint") "Share of the space open to users that is used.";
    FS_INODES = "system.linux.filesystem.inodes.utilization" ["1"] FileSystem ("system.filesystem.mountpoint") "Share of inodes used.";
    FS_READ_ONLY = "system.linux.filesystem.read_only" ["1"] FileSystem ("system.filesystem.mountpoint") "1 while it is mounted read-only, else 0.";

    // Network interfaces
    NETWORK_IO = "system.network.io" ["By/s"] Network ("network.interface.name", "network.io.direction") "Bytes.";
    NETWORK_PACKETS = "system.network.packets" ["{packet}/s"] Network ("network.interface.name", "network.io.direction") "Packets.";
    NETWORK_ERRORS = "system.network.errors" ["{error}/s"] Network ("network.interface.name", "network.io.direction") "Errors.";
    NETWORK_DROPPED = "system.network.dropped" ["{packet}/s"] Network ("network.interface.name", "network.io.direction") "Packets dropped.";
    NETWORK_MULTICAST = "system.linux.network.multicast" ["{packet}/s"] Network ("network.interface.name") "Multicast packets received.";
    NETWORK_FAULTS = "system.linux.network.faults" ["{error}/s"] Network ("network.interface.name", "network.fault") "Faults of an interface, by kind.";

    // TCP, UDP and IP health
    TCP_OPENS = "system.linux.tcp.opens" ["{connection}/s"] Protocol ("tcp.open") "Connections opened, by this host (active) and to it (passive).";
    TCP_FAILED = "system.linux.tcp.attempt_failures" ["{connection}/s"] Protocol () "Connection attempts that failed.";
    TCP_RESETS = "system.linux.tcp.resets" ["{reset}/s"] Protocol ("network.io.direction") "Connections reset: receive from established ones, transmit of any kind.";
    TCP_ESTABLISHED = "system.linux.tcp.established" ["{connection}"] Protocol () "Connections open now.";
    TCP_SEGMENTS = "system.linux.tcp.segments" ["{segment}/s"] Protocol ("network.io.direction") "Segments.";
    TCP_RETRANSMITS = "system.linux.tcp.retransmits" ["{segment}/s"] Protocol () "Segments sent again.";
    TCP_ERRORS = "system.linux.tcp.errors" ["{segment}/s"] Protocol () "Segments received in error.";
    TCP_LISTEN_OVERFLOWS = "system.linux.tcp.listen_overflows" ["{connection}/s"] Protocol () "Connections lost because an accept queue was full.";
    TCP_LISTEN_DROPS = "system.linux.tcp.listen_drops" ["{connection}/s"] Protocol () "Connections lost by a listening socket for any reason.";
    TCP_TIMEOUTS = "system.linux.tcp.timeouts" ["{timeout}/s"] Protocol () "Retransmission timers that ran out.";
    TCP_SYN_RETRANSMITS = "system.linux.tcp.syn_retransmits" ["{segment}/s"] Protocol () "Connection requests sent again.";
    TCP_FAST_RETRANSMITS = "system.linux.tcp.fast_retransmits" ["{segment}/s"] Protocol () "Segments sent again on duplicate acknowledgements.";
    TCP_LOST_RETRANSMITS = "system.linux.tcp.lost_retransmits" ["{segment}/s"] Protocol () "Segments sent again that were lost again.";
    TCP_BACKLOG_DROPS = "system.linux.tcp.backlog_drops" ["{segment}/s"] Protocol () "Segments dropped because a socket's backlog was full.";
    TCP_ABORTS = "system.linux.tcp.aborts" ["{connection}/s"] Protocol ("tcp.abort") "Connections given up by this host.";
    TCP_MEMORY_PRESSURE = "system.linux.tcp.memory_pressure" ["{event}/s"] Protocol () "Times TCP ran short of memory.";
    TCP_OUT_OF_ORDER = "system.linux.tcp.out_of_order" ["{segment}/s"] Protocol () "Segments queued out of order.";
    TCP_EVENTS = "system.linux.tcp.events" ["{event}/s"] Protocol ("tcp.event") "Rarer events of TCP, by their name in /proc/net/netstat.";
    UDP_DATAGRAMS = "system.linux.udp.datagrams" ["{packet}/s"] Protocol ("network.io.direction") "Datagrams.";
    UDP_ERRORS = "system.linux.udp.errors" ["{packet}/s"] Protocol ("udp.error") "Datagrams lost, by reason.";
    IP_PACKETS = "system.linux.ip.packets" ["{packet}/s"] Protocol ("network.io.direction") "IPv4 packets.";
    IP_DISCARDS = "system.linux.ip.discards" ["{packet}/s"] Protocol ("network.io.direction") "IPv4 packets discarded without an error.";
    IP_NO_ROUTES = "system.linux.ip.no_routes" ["{packet}/s"] Protocol () "IPv4 packets without a route.";
    IP_EVENTS = "system.linux.ip.events" ["{packet}/s"] Protocol ("ip.event") "Rarer fates of IPv4 packets, by their name in /proc/net/snmp.";
    IP_BYTES = "system.linux.ip.io" ["By/s"] Protocol ("network.io.direction") "IPv4 bytes.";
    ICMP_MESSAGES = "system.linux.icmp.messages" ["{message}/s"] Protocol ("network.io.direction") "ICMP messages.";
    ICMP_UNREACHABLE = "system.linux.icmp.unreachable" ["{message}/s"] Protocol ("network.io.direction") "ICMP messages that say a destination cannot be reached.";

    // Sockets
    SOCKETS = "system.linux.sockets.count" ["{socket}"] Sockets ("network.protocol.name", "network.socket.state") "Sockets by protocol and state.";
    SOCKETS_USED = "system.linux.sockets.used" ["{socket}"] Sockets () "Sockets of all kinds.";
    SOCKETS_MEMORY = "system.linux.sockets.memory" ["By"] Sockets ("network.protocol.name") "Memory of sockets' buffers.";

    // File descriptors
    FILES_OPEN = "system.linux.files.open" ["{file}"] Files () "Open files of all processes.";
    FILES_UTILIZATION = "system.linux.files.utilization" ["1"] Files () "Open files over the system's limit.";
    INODES_CACHED = "system.linux.files.inodes" ["{inode}"] Files () "Inodes the kernel holds.";

    // Processes
    PROCESS_COUNT = "system.process.count" ["{process}"] Processes ("process.state") "Processes by state; blocked is uninterruptible sleep, defunct is dead and not waited for.";
    PROCESS_TOP_CPU = "system.linux.process.top.cpu" ["{cpu}"] Processes () "Processors in use by the busiest process, since the scan before.";
    PROCESS_TOP_MEMORY = "system.linux.process.top.memory" ["By"] Processes () "Resident memory of the largest process.";
    PROCESS_TOP_IO = "system.linux.process.top.io" ["By/s"] Processes () "Bytes to and from block devices by the process that moves most, of those that may be looked at.";

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

    // Endpoints that are asked
    PROBE_UP = "probe.up" ["1"] Probe ("probe.name") "1 when the endpoint answered as it should, else 0.";
    PROBE_DURATION = "probe.duration" ["s"] Probe ("probe.name") "Time until it had answered: the connection, the TLS handshake, the HTTP status or the echo.";
    PROBE_HTTP_STATUS = "probe.http.status" ["{status}"] Probe ("probe.name") "HTTP status of the answer.";
    PROBE_CERTIFICATE = "probe.certificate.days_left" ["d"] Probe ("probe.name") "Days until the endpoint's certificate expires; below 0 it has.";

    // Lines of the journal
    LOG_LINES = "system.linux.unit.log.lines" ["{line}/s"] Log ("cgroup.name") "Lines a unit wrote to the journal, over the last minute.";
    LOG_ERRORS = "system.linux.unit.log.error_ratio" ["1"] Log ("cgroup.name") "Share of errors (priority err or worse) among them.";

    // Connections of services (as the map sees them)
    LINK_CONNECTS = "tacit.link.connects" ["{connection}/s"] Link ("service.name", "tacit.link.role") "Connections opened by a service (client) or to it (server).";
    LINK_FAILED = "tacit.link.failed" ["{connection}/s"] Link ("service.name", "tacit.link.role") "Connects that failed.";
    LINK_IO = "tacit.link.io" ["By/s"] Link ("service.name", "tacit.link.role", "network.io.direction") "Bytes over its connections.";
    LINK_RETRANSMITS = "tacit.link.retransmits" ["{segment}/s"] Link ("service.name", "tacit.link.role") "Segments sent again.";
    LINK_ROUND_TRIP = "tacit.link.round_trip" ["s"] Link ("service.name", "tacit.link.role") "Mean round trip of the network; the last one measured holds.";
    LINK_ACTIVE = "tacit.link.active" ["{connection}"] Link ("service.name", "tacit.link.role") "Connections open now.";
    LINK_ACCEPT_QUEUE = "tacit.link.accept_queue" ["{connection}"] Link ("service.name", "tacit.link.role") "Connections that wait to be accepted.";

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
