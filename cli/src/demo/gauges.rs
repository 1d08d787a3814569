//! What the agent of a machine samples: the shop's work as series with the names, units and attributes of the real ones, and with the
//! noise that real ones have. From here on everything is the agent's own.

use std::sync::Arc;

use tacit_agent::source::{Dictionary, Frame, Sample, SeriesTable, Slot};
use tacit_wire::semconv::{self as sc, Metric};

use super::load::Load;
use super::model::{Flow, Moment};
use super::noise::{Noise, Wander};
use super::shop::{End, MACHINES, PATHS};

/// More series than a machine of the shop has.
pub const MOST_SERIES: usize = 96;
/// Seconds in which a series forgets where it wandered.
const WANDERS: f64 = 60.0;
/// Processors in use by everything that is not the shop.
const OTHERS: f64 = 0.08;

/// The series of one machine.
#[derive(Debug)]
pub struct Gauges {
    machine: usize,
    table: SeriesTable,
    lines: Vec<Line>,
    noise: Noise,
    /// Load averages over one minute and over five.
    averages: Option<[f64; 2]>,
}

#[derive(Debug)]
struct Line {
    slot: Slot,
    wander: Wander,
}

impl Gauges {
    /// Of the machine of this number.
    #[must_use]
    pub fn new(machine: usize) -> Self {
        let noise = Noise::new(1000 + machine as u64);
        Self { machine, table: SeriesTable::new(MOST_SERIES), lines: Vec::new(), noise, averages: None }
    }

    /// Fills a frame; the first time it gives the dictionary of its series.
    pub fn sample(&mut self, moment: &Moment, frame: &mut Frame) -> Option<Arc<Dictionary>> {
        let load = Load::of(self.machine, moment);
        let cores = f64::from(MACHINES[self.machine].cores);
        let busy = (load.user + load.system + OTHERS).min(cores);
        // The machine has been up for long: there is nothing to wind up.
        let averages = self.averages.get_or_insert([busy + load.blocked; 2]);
        for (average, seconds) in averages.iter_mut().zip([60.0, 300.0]) {
            *average += (busy + load.blocked - *average) / seconds;
        }
        let averages = *averages;
        let sample = Sample { at: frame.at, table: &mut self.table, values: &mut frame.values };
        let mut sheet = Sheet { sample, lines: &mut self.lines, noise: &mut self.noise, next: 0 };
        processors(&mut sheet, &load, busy, cores, averages);
        memory(&mut sheet, &load, MACHINES[self.machine].memory as f64);
        disk(&mut sheet, &load);
        network(&mut sheet, &load);
        unit(&mut sheet, &load, MACHINES[self.machine].unit);
        links(&mut sheet, self.machine, moment);
        frame.epoch = self.table.epoch();
        self.table.publish()
    }
}

/// Writes series one after the other, always in the same order; the first time it registers them.
struct Sheet<'a> {
    sample: Sample<'a>,
    lines: &'a mut Vec<Line>,
    noise: &'a mut Noise,
    next: usize,
}

impl Sheet<'_> {
    /// The next series, and its noise in this second. Attributes are given by their values, in the order of the metric.
    fn line(&mut self, metric: &Metric, attributes: &[&str]) -> (Slot, f64) {
        if self.next == self.lines.len() {
            let named: Vec<(&str, &str)> = metric.attributes.iter().copied().zip(attributes.iter().copied()).collect();
            let slot = self.sample.table.register(metric, &named);
            self.lines.push(Line { slot, wander: Wander::new(WANDERS) });
        }
        let line = &mut self.lines[self.next];
        self.next += 1;
        let noise = 0.9 * self.noise.normal() + 0.43 * line.wander.step(self.noise);
        (line.slot, noise)
    }

    /// A quantity that varies by a share of itself.
    fn put(&mut self, metric: &Metric, attributes: &[&str], value: f64, spread: f64) {
        let (slot, noise) = self.line(metric, attributes);
        self.sample.set(slot, (value * (1.0 + spread * noise)).max(0.0) as f32);
    }

    /// The same between 0 and 1.
    fn share(&mut self, metric: &Metric, attributes: &[&str], value: f64, spread: f64) {
        let (slot, noise) = self.line(metric, attributes);
        self.sample.set(slot, (value * (1.0 + spread * noise)).clamp(0.0, 1.0) as f32);
    }

    /// A whole number that varies as things that happen by chance do.
    fn count(&mut self, metric: &Metric, attributes: &[&str], value: f64) {
        let (slot, noise) = self.line(metric, attributes);
        self.sample.set(slot, (value + 0.5 * value.max(0.0).sqrt() * noise).max(0.0).round() as f32);
    }
}

fn processors(sheet: &mut Sheet<'_>, load: &Load, busy: f64, cores: f64, averages: [f64; 2]) {
    let connections = load.opened + load.accepted;
    sheet.share(&sc::CPU_UTILIZATION, &["user"], (load.user + 0.6 * OTHERS) / cores, 0.06);
    sheet.share(&sc::CPU_UTILIZATION, &["system"], (load.system + 0.4 * OTHERS) / cores, 0.06);
    // A processor waits for the disk when it has nothing else to do.
    sheet.share(&sc::CPU_UTILIZATION, &["iowait"], (load.blocked / cores).min(0.97 - busy / cores), 0.08);
    sheet.share(&sc::CPU_BUSY, &[], busy / cores, 0.05);
    sheet.put(&sc::CONTEXT_SWITCHES, &[], 900.0 + 45.0 * connections + 4.0 * load.operations, 0.05);
    sheet.put(&sc::SOFT_INTERRUPTS, &[], 300.0 + (load.received + load.sent) / 2500.0, 0.05);
    sheet.put(&sc::PROCESSES_CREATED, &[], 1.2, 0.3);
    sheet.count(&sc::THREADS_BLOCKED, &[], load.blocked);
    sheet.count(&sc::THREADS_RUNNABLE, &[], 1.0 + busy);
    sheet.put(&sc::THREADS, &[], load.threads, 0.004);
    sheet.put(&sc::LOAD_1M, &[], averages[0], 0.02);
    sheet.put(&sc::LOAD_5M, &[], averages[1], 0.02);
    sheet.share(&sc::PRESSURE, &["cpu", "some"], 0.03 * busy / cores, 0.2);
    sheet.share(&sc::PRESSURE, &["io", "some"], load.disk_busy().powi(2), 0.1);
    sheet.share(&sc::PRESSURE, &["io", "full"], 0.9 * load.disk_busy().powi(3), 0.1);
}

fn memory(sheet: &mut Sheet<'_>, load: &Load, total: f64) {
    sheet.share(&sc::MEMORY_UTILIZATION, &[], load.memory / total, 0.002);
    sheet.put(&sc::MEMORY_AVAILABLE, &[], total - load.memory, 0.002);
    sheet.put(&sc::MEMORY_DIRTY, &[], load.dirty, 0.08);
    sheet.put(&sc::MEMORY_WRITEBACK, &[], 1e5 + 3e5 * load.operations_open, 0.2);
    sheet.put(&sc::PAGING_FAULTS, &["minor"], 800.0 + 15.0 * (load.opened + load.accepted), 0.1);
}

fn disk(sheet: &mut Sheet<'_>, load: &Load) {
    for way in ["read", "write"] {
        sheet.put(&sc::DISK_IO, &["vda", way], load.disk_bytes(), 0.1);
        sheet.put(&sc::DISK_OPERATIONS, &["vda", way], 0.5 * load.operations, 0.08);
        sheet.put(&sc::DISK_AWAIT, &["vda", way], load.operation_time, 0.12);
    }
    sheet.share(&sc::DISK_UTILIZATION, &["vda"], load.disk_busy(), 0.06);
    sheet.put(&sc::DISK_QUEUE, &["vda"], load.operations_open, 0.12);
    sheet.share(&sc::FS_UTILIZATION, &["/"], 0.41, 0.000_5);
}

fn network(sheet: &mut Sheet<'_>, load: &Load) {
    for (way, bytes) in [("receive", load.received), ("transmit", load.sent)] {
        sheet.put(&sc::NETWORK_IO, &["eth0", way], 4e3 + bytes, 0.05);
        sheet.put(&sc::TCP_SEGMENTS, &[way], 20.0 + bytes / 900.0, 0.06);
    }
    sheet.count(&sc::TCP_OPENS, &["active"], load.opened);
    sheet.count(&sc::TCP_OPENS, &["passive"], load.accepted);
    sheet.count(&sc::TCP_FAILED, &[], load.failed);
    sheet.count(&sc::TCP_ESTABLISHED, &[], load.established);
    sheet.count(&sc::TCP_RETRANSMITS, &[], load.retransmits);
    sheet.count(&sc::TCP_SYN_RETRANSMITS, &[], 2.0 * load.failed);
    sheet.count(&sc::TCP_LISTEN_OVERFLOWS, &[], load.overflows);
    sheet.count(&sc::SOCKETS, &["tcp", "in_use"], 9.0 + load.established);
    sheet.put(&sc::FILES_OPEN, &[], 1100.0 + 2.0 * load.established, 0.004);
}

fn unit(sheet: &mut Sheet<'_>, load: &Load, name: &str) {
    sheet.put(&sc::CGROUP_CPU, &[name], load.user + load.system, 0.06);
    sheet.put(&sc::CGROUP_MEMORY, &[name], load.unit_memory, 0.003);
    for way in ["read", "write"] {
        sheet.put(&sc::CGROUP_IO, &[name, way], 0.8 * load.disk_bytes(), 0.1);
    }
    sheet.put(&sc::CGROUP_TASKS, &[name], load.tasks.round(), 0.0);
    sheet.share(&sc::CGROUP_PRESSURE, &[name, "io"], load.disk_busy().powi(2), 0.1);
    sheet.put(&sc::LOG_LINES, &[name], 0.02 + load.lines, 0.08);
    sheet.share(&sc::LOG_ERRORS, &[name], load.errors, 0.15);
}

/// Connections of the machine's service, as a server and as a client.
fn links(sheet: &mut Sheet<'_>, machine: usize, moment: &Moment) {
    let name = MACHINES[machine].unit;
    for (role, server) in [("server", true), ("client", false)] {
        let own = move |end: End| end == End::Machine(machine);
        let paths =
            || PATHS.iter().zip(&moment.flows).filter(move |(p, _)| own(if server { p.server } else { p.client }));
        if paths().next().is_none() {
            continue;
        }
        let sum = |figure: fn(&Flow) -> f64| paths().map(|(_, flow)| figure(flow)).sum::<f64>();
        let (there, back) = (sum(|f| f.sent), sum(|f| f.received));
        let (transmitted, received) = if server { (back, there) } else { (there, back) };
        let connects = sum(|f| f.connects);
        let round_trips = paths().map(|(path, flow)| path.round_trip * flow.connects).sum::<f64>();
        sheet.put(&sc::LINK_CONNECTS, &[name, role], connects, 0.06);
        // Who was not let in is not seen by who would have let him in.
        sheet.count(&sc::LINK_FAILED, &[name, role], if server { 0.0 } else { sum(|f| f.failed) });
        sheet.put(&sc::LINK_IO, &[name, role, "transmit"], transmitted, 0.06);
        sheet.put(&sc::LINK_IO, &[name, role, "receive"], received, 0.06);
        sheet.count(&sc::LINK_RETRANSMITS, &[name, role], if server { 0.0 } else { sum(|f| f.retransmits) });
        sheet.put(&sc::LINK_ROUND_TRIP, &[name, role], round_trips / connects.max(1e-9), 0.05);
        sheet.count(&sc::LINK_ACTIVE, &[name, role], sum(|f| f.active));
        if server {
            let queue = paths().map(|(_, flow)| flow.queue).fold(0.0, f64::max);
            sheet.count(&sc::LINK_ACCEPT_QUEUE, &[name, role], queue);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::model::Shop;
    use crate::demo::shop::{API, DB};

    #[test]
    fn every_machine_has_series_of_the_real_names_and_always_all_of_them() {
        for machine in 0..MACHINES.len() {
            let (mut shop, mut gauges, mut frame) = (Shop::default(), Gauges::new(machine), Frame::new(MOST_SERIES));
            let dictionary = gauges.sample(&shop.step(), &mut frame).expect("its first series");
            let series = dictionary.entries.len();
            assert!((45..=MOST_SERIES).contains(&series), "{series}");
            for entry in &dictionary.entries {
                let metric = sc::ALL.iter().find(|m| m.name == entry.def.name).expect("a metric of the table");
                let keys: Vec<&str> = entry.def.attributes.iter().map(|a| a.key.as_str()).collect();
                assert_eq!((keys.as_slice(), entry.def.unit.as_str()), (metric.attributes, metric.unit));
            }
            shop.fail_at(30);
            for _ in 0..90 {
                frame.values.fill(f32::NAN);
                assert_eq!(gauges.sample(&shop.step(), &mut frame), None, "no series comes or goes");
                let written = frame.values.iter().filter(|v| v.is_finite() && **v >= 0.0).count();
                assert_eq!((written, frame.epoch), (series, dictionary.epoch));
            }
        }
    }

    #[test]
    fn the_shop_is_quiet_before_and_loud_after() {
        let cases: [(usize, &Metric, f32, f32); 8] = [
            (DB, &sc::DISK_AWAIT, 0.002, 0.4),
            (DB, &sc::THREADS_BLOCKED, 3.0, 60.0),
            (DB, &sc::PRESSURE, 0.2, 0.8),
            (DB, &sc::LINK_ACTIVE, 8.0, 120.0),
            (API, &sc::LINK_ACTIVE, 40.0, 200.0),
            (API, &sc::LINK_FAILED, 0.0, 5.0),
            (0, &sc::LINK_ACTIVE, 50.0, 120.0),
            (0, &sc::LOG_ERRORS, 0.01, 0.05),
        ];
        for (machine, metric, before, after) in cases {
            let (mut shop, mut gauges) = (Shop::default(), Gauges::new(machine));
            let mut frame = Frame::new(MOST_SERIES);
            let first = gauges.sample(&shop.step(), &mut frame);
            let mut most_in = |seconds: usize, shop: &mut Shop| {
                let mut most = 0.0_f32;
                for _ in 0..seconds {
                    gauges.sample(&shop.step(), &mut frame);
                    let entries = first.as_ref().expect("it came first").entries.iter();
                    let slots = entries.filter(|e| e.def.name == metric.name).map(|e| e.slot.index());
                    most = slots.map(|slot| frame.values[slot]).fold(most, f32::max);
                }
                most
            };
            let quiet = most_in(600, &mut shop);
            shop.fail_at(601);
            let loud = most_in(60, &mut shop);
            let name = (MACHINES[machine].name, metric.name);
            assert!(quiet <= before && loud >= after, "{name:?}: {quiet} before, {loud} after");
        }
    }
}
