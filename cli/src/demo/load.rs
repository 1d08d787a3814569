//! What the shop's work does to one machine: processors, memory, disk, network, in the units of the agent's series.

use super::model::Moment;
use super::shop::{API, BATCH, CACHE, DB, End, MACHINES, PATHS};

/// What each machine needs for its work, and has anyway.
#[derive(Debug, Clone, Copy)]
struct Needs {
    /// Processor seconds of a request: in the service, in the kernel.
    user: f64,
    system: f64,
    /// Bytes of memory that are in use anyway, and of an open connection.
    memory: f64,
    connection: f64,
    /// Threads that are there anyway, and whether each connection has one.
    threads: f64,
    threaded: bool,
    /// Lines of log of a request.
    lines: f64,
}

/// In the order of [`MACHINES`].
const NEEDS: [Needs; MACHINES.len()] = [WEB_NEEDS, WEB_NEEDS, API_NEEDS, CACHE_NEEDS, DB_NEEDS, BATCH_NEEDS];
const WEB_NEEDS: Needs =
    Needs { user: 0.004, system: 0.002, memory: 1.1e9, connection: 60e3, threads: 140.0, threaded: false, lines: 1.0 };
const API_NEEDS: Needs =
    Needs { user: 0.008, system: 0.002, memory: 3.2e9, connection: 1.5e6, threads: 190.0, threaded: true, lines: 0.3 };
const CACHE_NEEDS: Needs = Needs {
    user: 0.000_3,
    system: 0.000_3,
    memory: 4.4e9,
    connection: 20e3,
    threads: 120.0,
    threaded: false,
    lines: 0.002,
};
const DB_NEEDS: Needs =
    Needs { user: 0.006, system: 0.002, memory: 9.4e9, connection: 9e6, threads: 210.0, threaded: true, lines: 0.1 };
const BATCH_NEEDS: Needs =
    Needs { user: 0.08, system: 0.01, memory: 1.8e9, connection: 2e6, threads: 160.0, threaded: false, lines: 1.0 };

/// What other machines' disks do in a second: logs.
const LOG_OPERATIONS: f64 = 6.0;
const LOG_TIME: f64 = 0.000_7;
/// Bytes of an operation.
const BLOCK: f64 = 8192.0;

/// One machine in one second.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Load {
    /// Processors in use by the service, by the kernel.
    pub user: f64,
    /// See there.
    pub system: f64,
    /// Threads that wait for the disk.
    pub blocked: f64,
    /// Threads there are, and of them in the service.
    pub threads: f64,
    /// See there.
    pub tasks: f64,
    /// Bytes of memory in use, and of them by the service.
    pub memory: f64,
    /// See there.
    pub unit_memory: f64,
    /// Bytes that wait to be written.
    pub dirty: f64,
    /// Operations of the disk that end in a second, half of them reads.
    pub operations: f64,
    /// Seconds that one takes.
    pub operation_time: f64,
    /// Operations under way.
    pub operations_open: f64,
    /// Bytes received and sent in a second.
    pub received: f64,
    /// See there.
    pub sent: f64,
    /// Connections open, opened by this machine, opened to it, and failed connects of it.
    pub established: f64,
    /// See there.
    pub opened: f64,
    /// See there.
    pub accepted: f64,
    /// See there.
    pub failed: f64,
    /// Segments sent again.
    pub retransmits: f64,
    /// Connections lost because a queue was full.
    pub overflows: f64,
    /// Lines of the service's log in a second, and share of errors among them.
    pub lines: f64,
    /// See there.
    pub errors: f64,
}

impl Load {
    /// Of the machine of this number.
    #[must_use]
    pub fn of(machine: usize, moment: &Moment) -> Self {
        let (needs, work) = (NEEDS[machine], moment.work[machine]);
        let mut load = Self {
            user: needs.user * work,
            system: needs.system * work,
            lines: needs.lines * work,
            errors: moment.errors[machine],
            ..Self::default()
        };
        load.add_network(machine, moment);
        let connections = load.established;
        load.tasks = if needs.threaded { 12.0 + connections } else { 6.0 };
        load.threads = needs.threads + load.tasks;
        load.unit_memory = 0.6 * needs.memory + needs.connection * connections;
        load.memory = needs.memory + needs.connection * connections;
        load.add_disk(machine, moment);
        load
    }

    fn add_network(&mut self, machine: usize, moment: &Moment) {
        for (path, flow) in PATHS.iter().zip(&moment.flows) {
            if path.client == End::Machine(machine) {
                self.established += flow.active;
                self.opened += flow.connects + flow.failed;
                self.failed += flow.failed;
                self.retransmits += flow.retransmits;
                self.sent += flow.sent;
                self.received += flow.received;
            }
            if path.server == End::Machine(machine) {
                self.established += flow.active;
                self.accepted += flow.connects;
                self.overflows += flow.failed;
                self.sent += flow.received;
                self.received += flow.sent;
            }
        }
    }

    fn add_disk(&mut self, machine: usize, moment: &Moment) {
        let (operations, time) = match machine {
            DB => (moment.disk.operations, moment.disk.time),
            API | CACHE | BATCH => (0.5 * LOG_OPERATIONS, LOG_TIME),
            _ => (LOG_OPERATIONS, LOG_TIME),
        };
        (self.operations, self.operation_time) = (operations, time);
        // Little's law.
        self.operations_open = operations * time;
        self.blocked = self.operations_open;
        // Written within some seconds, or as soon as the disk lets it be.
        self.dirty = BLOCK * operations * 10.0 + 4e6 * self.operations_open;
    }

    /// Share of time in which the disk has work.
    #[must_use]
    pub fn disk_busy(&self) -> f64 {
        self.operations_open / (1.0 + self.operations_open)
    }

    /// Bytes read, and as many written.
    #[must_use]
    pub fn disk_bytes(&self) -> f64 {
        0.5 * self.operations * BLOCK
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::model::Shop;
    use crate::demo::shop::WEB;

    #[test]
    fn the_database_waits_for_its_disk_and_its_callers_for_it() {
        let mut shop = Shop::default();
        (0..100).for_each(|_| _ = shop.step());
        let before = shop.step();
        shop.fail_at(101);
        (0..60).for_each(|_| _ = shop.step());
        let after = shop.step();
        let of = |machine| (Load::of(machine, &before), Load::of(machine, &after));
        let (quiet, loud) = of(DB);
        assert!(quiet.blocked < 1.0 && loud.blocked > 50.0, "{quiet:?} {loud:?}");
        assert!(quiet.disk_busy() < 0.3 && loud.disk_busy() > 0.95);
        assert!(loud.user < quiet.user, "a processor that waits for a disk is idle");
        for caller in [WEB[0], WEB[1], API] {
            let (quiet, loud) = of(caller);
            assert!(loud.established > quiet.established + 50.0 && loud.failed > 1.0, "{caller}: {quiet:?} {loud:?}");
            assert!(loud.errors > 10.0 * quiet.errors && quiet.failed == 0.0);
            assert_eq!(loud.operation_time, quiet.operation_time, "its own disk is well");
        }
        let (quiet, loud) = of(CACHE);
        assert!((loud.established - quiet.established).abs() < 1.0 && loud.failed == 0.0);
    }
}
