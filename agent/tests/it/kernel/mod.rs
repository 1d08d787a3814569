//! Sources of what the kernel tells, against recorded trees: `build-machine` (Linux 6.18, two virtual cores),
//! `raspberry-pi-4` (Linux 6.6 without pressure and swap) and `kernel-4.9` (a 32-bit gateway).

mod changes;
mod garbage;

use std::fmt::Write as _;
use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use proptest::prelude::*;
use tacit_agent::config::SamplingConfig;
use tacit_agent::sampler::Sampler;
use tacit_agent::source::filesystem::{FileSystem, Space, StatFs};
use tacit_agent::source::{Frame, Root, Sample, Sampled, Source, SourceError};
use tacit_agent::source::{
    cpu::Cpu, disk::Disk, files::Files, load::Load, memory::Memory, network::Network, pressure::Pressure,
    protocol::Protocol, sockets::Sockets, vm::Vm,
};
use tacit_wire::semconv as sc;
use tempfile::TempDir;

use crate::tree::{Rig, START, Tree, fixture};

/// A kernel source and the files it reads.
struct Kernel {
    name: &'static str,
    make: fn(&Root) -> Box<dyn Source>,
    files: &'static [&'static str],
}

static KERNEL: [Kernel; 11] = [
    Kernel { name: "cpu", make: |root| Box::new(Cpu::new(root)), files: &["proc/stat"] },
    Kernel { name: "load", make: |root| Box::new(Load::new(root)), files: &["proc/loadavg"] },
    Kernel { name: "memory", make: |root| Box::new(Memory::new(root)), files: &["proc/meminfo"] },
    Kernel {
        name: "pressure",
        make: |root| Box::new(Pressure::new(root)),
        files: &["proc/pressure/cpu", "proc/pressure/memory", "proc/pressure/io"],
    },
    Kernel {
        name: "disk",
        make: |root| Box::new(Disk::new(root, &SamplingConfig::default().ignore_devices)),
        files: &["proc/diskstats"],
    },
    Kernel { name: "filesystem", make: |root| Box::new(Mounts::new(root)), files: &["proc/self/mountinfo"] },
    Kernel {
        name: "network",
        make: |root| Box::new(Network::new(root, &SamplingConfig::default().ignore_interfaces)),
        files: &["proc/net/dev"],
    },
    Kernel { name: "vm", make: |root| Box::new(Vm::new(root)), files: &["proc/vmstat"] },
    Kernel {
        name: "protocol",
        make: |root| Box::new(Protocol::new(root)),
        files: &["proc/net/snmp", "proc/net/netstat"],
    },
    Kernel {
        name: "sockets",
        make: |root| Box::new(Sockets::new(root)),
        files: &["proc/net/sockstat", "proc/net/sockstat6"],
    },
    Kernel {
        name: "files",
        make: |root| Box::new(Files::new(root)),
        files: &["proc/sys/fs/file-nr", "proc/sys/fs/inode-nr"],
    },
];

fn rig(name: &str, tree: &Tree) -> Rig {
    let kernel = KERNEL.iter().find(|k| k.name == name).expect("it is in the list");
    Rig::boxed((kernel.make)(&tree.root()))
}

/// Space by mount point, from nothing but its name; a stick that was pulled out does not answer.
#[derive(Debug)]
struct Scripted;

impl StatFs for Scripted {
    fn stat(&self, point: &str) -> io::Result<Space> {
        let (used, inodes) = match point {
            "/" => (6_000_000_000, Some(0.25)),
            "/boot/firmware" => (80_000_000, None),
            "/mnt/usb stick" => return Err(io::ErrorKind::NotConnected.into()),
            _ => (2_000_000_000, Some(0.5)),
        };
        Ok(Space { used, free: 2_000_000_000, total: 8_000_000_000, inodes })
    }
}

/// The file systems, all asked before each sample.
struct Mounts {
    source: FileSystem,
    refresh: Box<dyn Fn(Duration) + Send>,
}

impl Mounts {
    fn new(root: &Root) -> Self {
        let source = FileSystem::new(root, &[], Arc::new(Scripted));
        let refresh = Box::new(source.refresher());
        Self { source, refresh }
    }
}

impl Source for Mounts {
    fn name(&self) -> &'static str {
        self.source.name()
    }

    fn sample(&mut self, out: &mut Sample<'_>) -> Result<Sampled, SourceError> {
        // A round that was under way may have read the tree before the test changed it; the one after it did not.
        (0..2).for_each(|_| (self.refresh)(Duration::from_secs(60)));
        self.source.sample(out)
    }
}

/// What two busy seconds add, by file, name and column behind it.
const STEPS: &[(&str, &str, usize, i64)] = &[
    ("proc/stat", "cpu", 1, 120),
    ("proc/stat", "cpu", 3, 40),
    ("proc/stat", "cpu", 4, 220),
    ("proc/stat", "cpu", 5, 20),
    ("proc/stat", "cpu0", 1, 120),
    ("proc/stat", "cpu0", 3, 40),
    ("proc/stat", "cpu0", 4, 30),
    ("proc/stat", "cpu0", 5, 10),
    ("proc/stat", "intr", 1, 3000),
    ("proc/stat", "ctxt", 1, 5000),
    ("proc/stat", "processes", 1, 4),
    ("proc/stat", "procs_blocked", 1, 1),
    ("proc/stat", "softirq", 1, 1000),
    ("proc/stat", "softirq", 3, 400),
    ("proc/stat", "softirq", 5, 300),
    ("proc/pressure/cpu", "some", 4, 500_000),
    ("proc/pressure/io", "some", 4, 200_000),
    ("proc/pressure/io", "full", 4, 100_000),
    ("proc/vmstat", "pgpgin", 1, 2048),
    ("proc/vmstat", "pgpgout", 1, 512),
    ("proc/vmstat", "pgfault", 1, 20_000),
    ("proc/vmstat", "pgmajfault", 1, 6),
    ("proc/vmstat", "pgfree", 1, 9000),
    ("proc/vmstat", "pgactivate", 1, 30),
    ("proc/vmstat", "pgsteal_kswapd", 1, 200),
    ("proc/vmstat", "pgscan_kswapd", 1, 220),
    ("proc/vmstat", "pageoutrun", 1, 2),
    ("proc/net/sockstat", "TCP", 2, 3),
    ("proc/net/sockstat", "TCP", 10, 7),
];

/// The same by file, group and field.
const FIELDS: &[(&str, &str, &str, i64)] = &[
    ("proc/net/snmp", "Ip:", "InReceives", 700),
    ("proc/net/snmp", "Ip:", "OutRequests", 500),
    ("proc/net/snmp", "Icmp:", "InMsgs", 2),
    ("proc/net/snmp", "Tcp:", "ActiveOpens", 8),
    ("proc/net/snmp", "Tcp:", "PassiveOpens", 2),
    ("proc/net/snmp", "Tcp:", "CurrEstab", 3),
    ("proc/net/snmp", "Tcp:", "InSegs", 600),
    ("proc/net/snmp", "Tcp:", "OutSegs", 480),
    ("proc/net/snmp", "Tcp:", "RetransSegs", 6),
    ("proc/net/snmp", "Udp:", "InDatagrams", 40),
    ("proc/net/netstat", "TcpExt:", "TW", 10),
    ("proc/net/netstat", "TcpExt:", "ListenDrops", 1),
    ("proc/net/netstat", "TcpExt:", "TCPTimeouts", 4),
    ("proc/net/netstat", "TcpExt:", "TCPOrigDataSent", 300),
    ("proc/net/netstat", "IpExt:", "InOctets", 90_000),
    ("proc/net/netstat", "IpExt:", "OutOctets", 60_000),
];

/// What they add to a disk: reads, merged, sectors, ms; writes likewise; under way, ms busy, weighted ms.
const DISK_STEPS: [i64; 11] = [20, 4, 320, 100, 10, 30, 640, 40, 3, 500, 1000];
/// And to an interface.
const INTERFACE_STEPS: [i64; 12] = [64_000, 60, 0, 2, 0, 0, 0, 4, 16_000, 40, 0, 0];

/// Two busy seconds of the machine: every file moves that the tree has.
fn advance(tree: &Tree, disk: &str, interface: &str) {
    let there = |path: &str| tree.path(path).exists();
    for &(path, name, column, by) in STEPS.iter().filter(|s| there(s.0)) {
        tree.add(path, name, column, by);
    }
    for core in tree.read("proc/stat").lines().filter(|l| l.starts_with("cpu")).skip(2) {
        tree.add("proc/stat", &first_words(core, 1), 4, 200);
    }
    for &(path, group, field, by) in FIELDS {
        tree.add_field(path, group, field, by);
    }
    for (column, by) in (1..).zip(DISK_STEPS) {
        tree.add("proc/diskstats", disk, column, by);
    }
    for (column, by) in (1..).zip(INTERFACE_STEPS) {
        tree.add("proc/net/dev", interface, column, by);
    }
}

/// Every series of every source after two busy seconds.
fn two_seconds(tree: &Tree, advance: impl Fn(&Tree)) -> String {
    let mut rigs = KERNEL.each_ref().map(|k| (k.name, Rig::boxed((k.make)(&tree.root()))));
    for (name, rig) in &mut rigs {
        rig.sample().unwrap_or_else(|e| panic!("{name}: {e}"));
    }
    advance(tree);
    let mut text = String::new();
    for (name, rig) in &mut rigs {
        let said = match rig.sample().unwrap_or_else(|e| panic!("{name}: {e}")) {
            Sampled::Data => rig.lines(),
            Sampled::Absent(reason) => reason.replace(&*tree.path("").to_string_lossy(), "/"),
        };
        let _ = writeln!(text, "# {name}\n{said}\n");
    }
    text
}

#[test]
fn the_build_machine() {
    insta::assert_snapshot!(two_seconds(&Tree::of("build-machine"), |tree| advance(tree, "vda", "eth0")));
}

#[test]
fn a_raspberry_pi() {
    insta::assert_snapshot!(two_seconds(&Tree::of("raspberry-pi-4"), |tree| advance(tree, "mmcblk0", "wlan0")));
}

/// Its kernel counts in 32 bits: received bytes, page faults and RCU soft interrupts wrap within the two seconds.
#[test]
fn an_old_kernel() {
    const WRAP: i64 = 1 << 32;
    insta::assert_snapshot!(two_seconds(&Tree::of("kernel-4.9"), |tree| {
        advance(tree, "mmcblk2", "wwan0");
        tree.add("proc/vmstat", "pgfault", 1, -WRAP);
        tree.add("proc/stat", "softirq", 11, 8000 - WRAP);
        tree.add("proc/net/dev", "eth0", 1, 10_000 - WRAP);
    }));
}

#[test]
fn kernels_older_still_lack_more() {
    let tree = Tree::of("kernel-4.9");
    for columns in 4..=8 {
        let old = |line: &str| line.starts_with("cpu").then(|| first_words(line, columns + 1));
        tree.write("proc/stat", std::fs::read(fixture("kernel-4.9").join("proc/stat")).expect("it is there"));
        tree.edit("proc/stat", old);
        let mut cpu = rig("cpu", &tree);
        cpu.good();
        tree.add("proc/stat", "cpu", 1, 300);
        tree.add("proc/stat", "cpu", 4, 100);
        cpu.good();
        assert_eq!(cpu.value(&sc::CPU_BUSY, &[]), Some(0.75), "{columns} columns");
        assert_eq!(cpu.value(&sc::CPU_UTILIZATION, &["steal"]), Some(0.0));
    }

    tree.cut("proc/meminfo", "MemAvailable");
    let mut memory = rig("memory", &tree);
    memory.good();
    assert_eq!(memory.value(&sc::MEMORY_AVAILABLE, &[]), None);
    assert_eq!(memory.value(&sc::MEMORY_USAGE, &["used"]), Some((1_024_188 - 410_332) as f32 * 1024.0));
}

/// The line's first `count` words.
fn first_words(line: &str, count: usize) -> String {
    line.split_whitespace().take(count).collect::<Vec<_>>().join(" ")
}
