//! What a scan of all processes costs, by `sysinfo` and by the agent's own scanner, in processor time of this thread.
//!
//! `cargo run --release -p tacit-agent --example process_scan`

use std::hint::black_box;

use rustix::time::{ClockId, clock_gettime};
use sysinfo::{ProcessRefreshKind, ProcessesToUpdate, System, UpdateKind};
use tacit_agent::clock::Tick;
use tacit_agent::source::Root;
use tacit_agent::source::processes::Scanner;

/// Scans measured of each kind; they take turns, so that the machine's load meets all alike.
const ROUNDS: usize = 40;

fn main() {
    let mut own = Scanner::new(&Root::live(), true);
    let everything = ProcessRefreshKind::nothing().with_cpu().with_memory().with_disk_usage();
    let mut with_io = System::new().expect("Linux is supported");
    let mut without_io = System::new().expect("Linux is supported");
    let cheap = ProcessRefreshKind::nothing().with_cpu().with_memory();
    let commands = everything.with_cmd(UpdateKind::OnlyIfNotSet);
    let mut with_commands = System::new().expect("Linux is supported");

    let mut total = 0;
    let mut costs = [const { Vec::new() }; 4];
    for round in 0..=ROUNDS {
        let scans: [&mut dyn FnMut(); 4] = [
            &mut || total = black_box(own.scan(Tick::now())).expect("/proc is there").total,
            &mut || {
                black_box(without_io.refresh_processes_specifics(ProcessesToUpdate::All, true, cheap));
            },
            &mut || {
                black_box(with_io.refresh_processes_specifics(ProcessesToUpdate::All, true, everything));
            },
            &mut || {
                black_box(with_commands.refresh_processes_specifics(ProcessesToUpdate::All, true, commands));
            },
        ];
        for (scan, costs) in scans.into_iter().zip(&mut costs) {
            let before = cpu_us();
            scan();
            // The first round opens and allocates everything.
            if round > 0 {
                costs.push(cpu_us() - before);
            }
        }
    }
    let profile = if cfg!(debug_assertions) { "dev" } else { "release" };
    println!("{total} processes, {ROUNDS} scans each, {profile} profile; processor time of a scan in µs:");
    let names = [
        "own scanner: cpu, memory, io of those that ran, unit and command of the top",
        "sysinfo: cpu, memory",
        "sysinfo: cpu, memory, io",
        "sysinfo: cpu, memory, io, command lines",
    ];
    for (name, mut costs) in names.into_iter().zip(costs) {
        costs.sort_by(f64::total_cmp);
        println!("{:>8.0} least {:>8.0} median   {name}", costs[0], costs[costs.len() / 2]);
    }
}

fn cpu_us() -> f64 {
    let now = clock_gettime(ClockId::ThreadCPUTime);
    now.tv_sec as f64 * 1e6 + now.tv_nsec as f64 / 1e3
}
