//! Sources of what the kernel tells, against recorded trees: `build-machine` (Linux 6.18, two virtual cores),
//! `raspberry-pi-4` (Linux 6.6 without pressure and swap) and `kernel-4.9` (a 32-bit gateway).

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

#[test]
fn disks_come_and_go() {
    let tree = Tree::of("raspberry-pi-4");
    let plug = |name: &str, sectors: u64| {
        std::fs::create_dir(tree.path(&format!("sys/block/{name}"))).expect("a folder");
        let line = format!("   8       0 {name} 100 0 {sectors} 40 0 0 0 0 0 40 40 0 0 0 0 0 0\n");
        tree.write("proc/diskstats", tree.read("proc/diskstats") + &line);
    };
    let unplug = |name: &str| {
        std::fs::remove_dir(tree.path(&format!("sys/block/{name}"))).expect("it is there");
        tree.cut("proc/diskstats", name);
    };
    let read = |rig: &Rig, disk: &str| rig.value(&sc::DISK_IO, &[disk, "read"]);
    let mut rig = rig("disk", &tree);
    let (before, epoch) = (rig.good().table.len(), rig.table.epoch());
    let built_in = rig.slot(&sc::DISK_IO, &["mmcblk0", "read"]);

    plug("sda", 800);
    rig.good();
    assert!(read(&rig, "sda").is_some_and(f32::is_nan), "a first reading has no rate");
    assert_eq!((rig.table.len(), rig.table.epoch()), (2 * before, epoch + 1));
    let slot = rig.slot(&sc::DISK_IO, &["sda", "read"]);
    tree.add("proc/diskstats", "sda", 3, 400);
    assert_eq!(read(rig.good(), "sda"), Some(400.0 * 512.0 / 2.0));

    unplug("sda");
    rig.good();
    assert_eq!((read(&rig, "sda"), rig.table.len(), rig.table.epoch()), (None, before, epoch + 2));

    plug("sdb", 16);
    rig.good();
    assert!(read(&rig, "sdb").is_some_and(f32::is_nan), "nothing is left of the disk before");
    assert_eq!((rig.slot(&sc::DISK_IO, &["sdb", "read"]), rig.table.epoch()), (slot, epoch + 3));
    assert_eq!(rig.slot(&sc::DISK_IO, &["mmcblk0", "read"]), built_in, "what stays keeps its slot");
    assert_eq!(read(&rig, "mmcblk0"), Some(0.0));
}

#[test]
fn another_disk_under_the_old_name_begins_anew() {
    let tree = Tree::of("raspberry-pi-4");
    let mut rig = rig("disk", &tree);
    rig.good();
    // Sectors read look like a wrap, the other counters do not.
    tree.edit("proc/diskstats", |line| line.contains(" mmcblk0 ").then(|| line.replace("3680044", "4294967000")));
    rig.good();
    let fresh = "179 0 mmcblk0 5 0 40 2 0 0 0 0 1 2 2 0 0 0 0 0 0";
    tree.edit("proc/diskstats", |line| line.contains(" mmcblk0 ").then(|| fresh.to_owned()));
    rig.good();
    assert!(rig.series().all(|(_, value)| value.is_nan()), "{}", rig.lines());
    tree.add("proc/diskstats", "mmcblk0", 1, 10);
    rig.good();
    assert_eq!(rig.value(&sc::DISK_OPERATIONS, &["mmcblk0", "read"]), Some(5.0));
}

#[test]
fn a_machine_may_have_no_disk() {
    let tree = Tree::of("raspberry-pi-4");
    let mut rig = rig("disk", &tree);
    rig.good();
    tree.write("proc/diskstats", "");
    assert!(matches!(rig.sample(), Ok(Sampled::Absent(why)) if why.contains("no block device")));
    assert!(rig.table.is_empty());
}

#[test]
fn interfaces_come_and_go() {
    let tree = Tree::of("raspberry-pi-4");
    let row = |name: &str| format!("{name}: 5000 10 0 0 0 0 0 0 7000 20 0 0 0 0 0 0\n");
    let plug = |name: &str| tree.write("proc/net/dev", tree.read("proc/net/dev") + &row(name));
    let received = |rig: &Rig, name: &str| rig.value(&sc::NETWORK_IO, &[name, "receive"]);
    let mut rig = rig("network", &tree);
    let (before, epoch) = (rig.good().table.len(), rig.table.epoch());

    plug("usb0");
    rig.good();
    assert!(received(&rig, "usb0").is_some_and(f32::is_nan));
    assert_eq!(rig.table.epoch(), epoch + 1);
    let slot = rig.slot(&sc::NETWORK_IO, &["usb0", "receive"]);
    tree.add("proc/net/dev", "usb0", 1, 3000);
    assert_eq!(received(rig.good(), "usb0"), Some(1500.0));

    tree.cut("proc/net/dev", "usb0");
    rig.good();
    assert_eq!((received(&rig, "usb0"), rig.table.len(), rig.table.epoch()), (None, before, epoch + 2));

    plug("tun0");
    rig.good();
    assert!(received(&rig, "tun0").is_some_and(f32::is_nan), "nothing is left of the interface before");
    assert_eq!(rig.slot(&sc::NETWORK_IO, &["tun0", "receive"]), slot);

    plug("veth12ab");
    assert_eq!(received(rig.good(), "veth12ab"), None, "containers' ends are ignored");
}

#[test]
fn an_interface_counter_wraps_or_begins_anew() {
    let tree = Tree::of("raspberry-pi-4");
    let mut rig = rig("network", &tree);
    let mut step = |bytes: u64, packets: u64| {
        let row = format!("  eth0:{bytes} {packets} 0 0 0 0 0 0 0 0 0 0 0 0 0 0");
        tree.edit("proc/net/dev", |line| line.contains("eth0:").then(|| row.clone()));
        rig.good();
        let value = |metric| rig.value(&metric, &["eth0", "receive"]).expect("it is there");
        [value(sc::NETWORK_IO), value(sc::NETWORK_PACKETS)]
    };
    let same = |found: [f32; 2], expected: [f32; 2]| {
        let alike = |(f, e): (&f32, &f32)| f == e || f.is_nan() && e.is_nan();
        assert!(found.iter().zip(&expected).all(alike), "{found:?} for {expected:?}");
    };
    step(4_294_967_000, 10);
    same(step(704, 20), [500.0, 5.0]);
    step(3_000_000_000, 30);
    same(step(5000, 40), [f32::NAN, 5.0]);
    step(4_294_967_000, 50);
    same(step(704, 3), [f32::NAN, f32::NAN]);
    same(step(1704, 13), [500.0, 5.0]);
    // Beyond 32 bits no fall is a wrap.
    step(4_294_967_296 + 100, 20);
    same(step(100, 30), [f32::NAN, 5.0]);
}

#[test]
fn counters_that_begin_anew_give_one_sample_without_rates() {
    for kernel in &KERNEL {
        let tree = Tree::of("build-machine");
        let old: Vec<_> = kernel.files.iter().map(|path| (path, tree.read(path))).collect();
        let mut rig = Rig::boxed((kernel.make)(&tree.root()));
        rig.good();
        advance(&tree, "vda", "eth0");
        let right = rig.good().lines();
        old.iter().for_each(|(path, text)| tree.write(path, text));
        rig.good();
        let levels = [sc::THREADS_BLOCKED, sc::TCP_ESTABLISHED, sc::DISK_PENDING].map(|m| m.name);
        let rates = ["cpu", "pressure", "disk", "network", "vm", "protocol"].contains(&kernel.name);
        for (def, value) in rig.series().filter(|(d, _)| rates && !levels.contains(&&*d.name)) {
            assert!(value.is_nan() || value == 0.0, "{} = {value}", def.label());
        }
        advance(&tree, "vda", "eth0");
        assert_eq!(rig.good().lines(), right);
    }
}

#[test]
fn processors_come_and_go() {
    let tree = Tree::of("raspberry-pi-4");
    let busy = |rig: &Rig, core: &str| rig.value(&sc::CPU_CORE_BUSY, &[core]);
    let mut rig = rig("cpu", &tree);
    let (before, epoch) = (rig.good().table.len(), rig.table.epoch());
    let line = tree.read("proc/stat").lines().find(|l| l.starts_with("cpu3")).expect("four cores").to_owned();

    tree.cut("proc/stat", "cpu3");
    // The sum takes the idle time of a processor that is off from elsewhere: it falls by more than the others gained.
    tree.add("proc/stat", "cpu", 1, 100);
    tree.add("proc/stat", "cpu", 4, -30_000);
    rig.good();
    assert_eq!((busy(&rig, "3"), rig.value(&sc::CPU_CORE_UTILIZATION, &["3", "user"])), (None, None));
    assert_eq!((rig.table.len(), rig.table.epoch()), (before - 5, epoch + 1));
    assert!(rig.value(&sc::CPU_BUSY, &[]).is_some_and(f32::is_nan), "it is not all busy");

    tree.write("proc/stat", tree.read("proc/stat") + &line + "\n");
    tree.add("proc/stat", "cpu3", 1, 1000);
    tree.add("proc/stat", "cpu", 1, 100);
    tree.add("proc/stat", "cpu", 4, 300);
    rig.good();
    assert!(busy(&rig, "3").is_some_and(f32::is_nan));
    assert_eq!((rig.value(&sc::CPU_BUSY, &[]), rig.table.len()), (Some(0.25), before));
    tree.add("proc/stat", "cpu3", 1, 50);
    tree.add("proc/stat", "cpu3", 4, 150);
    assert_eq!(busy(rig.good(), "3"), Some(0.25));
}

#[test]
fn swap_is_turned_off_and_on() {
    let tree = Tree::of("kernel-4.9");
    let size = |kib: &str| {
        let line = |l: &str| l.starts_with("Swap").then(|| format!("{} {kib} kB", first_words(l, 1)));
        tree.edit("proc/meminfo", line);
    };
    let mut rig = rig("memory", &tree);
    let before = rig.good().table.len();
    assert!(rig.value(&sc::SWAP_UTILIZATION, &[]).is_some_and(|share| share > 0.0));
    size("0");
    assert_eq!((rig.good().table.len(), rig.value(&sc::SWAP_UTILIZATION, &[])), (before - 3, None));
    size("4096");
    assert_eq!((rig.good().table.len(), rig.value(&sc::SWAP_UTILIZATION, &[])), (before, Some(0.0)));
}

#[test]
fn a_kernel_without_pressure_is_said_once() {
    let log = Arc::new(Mutex::new(Vec::new()));
    let writer = Log(Arc::clone(&log));
    let subscriber = tracing_subscriber::fmt().with_writer(move || writer.clone()).finish();
    tracing::subscriber::with_default(subscriber, || {
        let tree = Tree::of("raspberry-pi-4");
        let mut sampler = Sampler::new(vec![Box::new(Pressure::new(&tree.root()))], 8, Arc::default());
        let mut frame = Frame::new(8);
        for second in 0..5 {
            frame.reset(START.plus_ms(1000 * second));
            sampler.sample(&mut frame);
        }
        let status = sampler.status().lock().expect("no panic").clone();
        let [absent] = &status.absent[..] else { panic!("{status:?}") };
        assert!(absent.reason.contains("the kernel was built without pressure stall information"), "{absent:?}");
        assert!(status.failing.is_empty() && status.series == 0);
    });
    let said = String::from_utf8(log.lock().expect("no panic").clone()).expect("text");
    assert_eq!(said.matches("Not on this machine").count(), 1, "{said}");
}

#[derive(Clone)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().expect("no panic").write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// As where the kernel does not account for interrupts: `irq` answers with an error, the others are fine.
#[test]
fn pressure_of_one_resource_may_be_missing_alone() {
    let tree = Tree::of("build-machine");
    tree.write("proc/pressure/irq", "full avg10=0.00 avg60=0.00 avg300=0.00 total=7\n");
    let gone = |path: &str| std::fs::remove_file(tree.path(path)).expect("it is there");
    let mut some = rig("pressure", &tree);
    let mut none = rig("pressure", &tree);
    gone("proc/pressure/irq");
    some.good();
    tree.add("proc/pressure/io", "some", 4, 500_000);
    assert_eq!(some.good().value(&sc::PRESSURE, &["io", "some"]), Some(0.25));
    assert_eq!(some.value(&sc::PRESSURE, &["irq", "full"]), None);

    ["cpu", "io", "memory"].iter().for_each(|resource| gone(&format!("proc/pressure/{resource}")));
    assert!(matches!(none.sample(), Ok(Sampled::Absent(why)) if why.contains("boot with psi=1")));
}

#[test]
fn one_bad_file_of_several_leaves_the_others() {
    let tree = Tree::of("build-machine");
    for (source, bad, metric, attributes) in [
        ("pressure", "proc/pressure/cpu", sc::PRESSURE, &["io", "some"][..]),
        ("protocol", "proc/net/snmp", sc::TCP_TIMEOUTS, &[]),
        ("protocol", "proc/net/netstat", sc::TCP_RETRANSMITS, &[]),
        ("sockets", "proc/net/sockstat", sc::SOCKETS, &["udp6", "in_use"]),
        ("sockets", "proc/net/sockstat6", sc::SOCKETS_USED, &[]),
    ] {
        let mut rig = rig(source, &tree);
        rig.good();
        let good = tree.read(bad);
        tree.write(bad, "nonsense\n");
        let error = rig.sample().expect_err("nonsense").to_string();
        assert!(error.contains(bad) && error.contains("nonsense"), "{error}");
        assert!(rig.value(&metric, attributes).is_some_and(f32::is_finite), "{source} without {bad}");
        tree.write(bad, good);
    }
}

#[test]
fn an_empty_file_takes_nothing_away() {
    let tree = Tree::of("build-machine");
    for (source, path) in [
        ("network", "proc/net/dev"),
        ("protocol", "proc/net/snmp"),
        ("protocol", "proc/net/netstat"),
        ("sockets", "proc/net/sockstat"),
        ("sockets", "proc/net/sockstat6"),
    ] {
        let mut rig = rig(source, &tree);
        let before = rig.good().table.len();
        let good = tree.read(path);
        tree.write(path, "");
        let error = rig.sample().expect_err("it is empty").to_string();
        assert!(error.contains(path), "{error}");
        assert_eq!(rig.table.len(), before);
        tree.write(path, good);
    }
}

#[test]
fn sockets_without_ipv6() {
    let tree = Tree::of("build-machine");
    let file = tree.path("proc/net/sockstat6");
    let text = std::fs::read(&file).expect("it is there");
    std::fs::remove_file(&file).expect("it is there");
    let mut rig = rig("sockets", &tree);
    assert_eq!(rig.good().value(&sc::SOCKETS, &["tcp6", "in_use"]), None);
    std::fs::write(&file, text).expect("its module was loaded");
    assert_eq!(rig.good().value(&sc::SOCKETS, &["tcp6", "in_use"]), Some(0.0));
}

#[test]
fn a_file_system_becomes_read_only() {
    let tree = Tree::of("raspberry-pi-4");
    let mut rig = rig("filesystem", &tree);
    let read_only =
        |rig: &Rig| ["/", "/boot/firmware"].map(|at| rig.value(&sc::FS_READ_ONLY, &[at]).expect("it is there"));
    assert_eq!(read_only(rig.good()), [0.0, 0.0]);
    // After an error the kernel changes the file system's own options, not the mount's.
    tree.edit("proc/self/mountinfo", |l| l.contains("ext4").then(|| l.replace("mmcblk0p2 rw", "mmcblk0p2 ro")));
    assert_eq!(read_only(rig.good()), [1.0, 0.0]);
    tree.edit("proc/self/mountinfo", |l| l.contains("vfat").then(|| l.replace("rw,relatime", "ro,relatime")));
    assert_eq!(read_only(rig.good()), [1.0, 1.0]);
    tree.edit("proc/self/mountinfo", |l| Some(l.replace("mmcblk0p2 ro", "mmcblk0p2 rw")));
    assert_eq!(read_only(rig.good()), [0.0, 1.0]);
}

#[test]
fn mounts_come_and_go_to_the_last() {
    let tree = Tree::of("raspberry-pi-4");
    let mut rig = rig("filesystem", &tree);
    let before = rig.good().table.len();
    tree.cut("proc/self/mountinfo", "179:1");
    assert_eq!(rig.good().table.len(), before - 4, "this one has no inodes");
    assert_eq!(rig.value(&sc::FS_UTILIZATION, &["/boot/firmware"]), None);
    tree.cut("proc/self/mountinfo", "179:2");
    assert!(matches!(rig.sample(), Ok(Sampled::Absent(why)) if why.contains("no mounted file system")));
    assert!(rig.table.is_empty(), "the last one gives its slots back too");
    tree.write(
        "proc/self/mountinfo",
        std::fs::read(fixture("raspberry-pi-4").join("proc/self/mountinfo")).expect("it is there"),
    );
    assert_eq!(rig.good().value(&sc::FS_UTILIZATION, &["/"]), Some(0.75));
}

#[test]
fn a_machine_without_proc_gets_an_answer_from_each() {
    let empty = TempDir::new().expect("a folder");
    for kernel in &KERNEL {
        match (kernel.make)(&Root::new(empty.path())) {
            source if kernel.name == "pressure" => {
                assert!(
                    matches!(Rig::boxed(source).sample(), Ok(Sampled::Absent(why)) if why.contains("proc/pressure"))
                );
            }
            source => {
                let error = Rig::boxed(source).sample().expect_err("there is nothing").to_string();
                assert!(error.contains(kernel.files[0]), "{}: {error}", kernel.name);
            }
        }
    }
}

/// A file's content before and after the two busy seconds that follow the garbage.
struct Contents {
    start: Vec<u8>,
    one: Vec<u8>,
    two: Vec<u8>,
}

/// One kernel file, what a source says of it when nothing is wrong, and a place to put garbage.
struct Bench {
    kernel: &'static Kernel,
    path: &'static str,
    tree: Tree,
    contents: Contents,
    /// By label.
    right: Vec<(String, f32)>,
}

impl Bench {
    fn all() -> impl Iterator<Item = Self> {
        KERNEL.iter().flat_map(|kernel| kernel.files.iter().map(move |path| Self::new(kernel, path)))
    }

    fn new(kernel: &'static Kernel, path: &'static str) -> Self {
        let tree = Tree::of("build-machine");
        let content = || std::fs::read(tree.path(path)).expect("it is there");
        let start = content();
        advance(&tree, "vda", "eth0");
        let one = content();
        advance(&tree, "vda", "eth0");
        let contents = Contents { start, one, two: content() };
        let mut bench = Self { kernel, path, tree, contents, right: Vec::new() };
        let mut rig = bench.rig();
        rig.sample().expect("a good tree");
        bench.right = bench.after(&mut rig);
        bench
    }

    fn rig(&self) -> Rig {
        self.tree.write(self.path, &self.contents.start);
        Rig::boxed((self.kernel.make)(&self.tree.root()))
    }

    /// The second of two good samples.
    fn after(&self, rig: &mut Rig) -> Vec<(String, f32)> {
        for content in [&self.contents.one, &self.contents.two] {
            self.tree.write(self.path, content);
            assert_eq!(rig.sample().expect("good content is back"), Sampled::Data);
            self.check(rig, content);
        }
        rig.series().map(|(def, value)| (def.label(), value)).collect()
    }

    /// Between good samples a source meets `garbage`: it gives sane values or an error that says where, and is right again after.
    fn meets(&self, garbage: &[u8]) {
        let mut rig = self.rig();
        rig.sample().expect("a good tree");
        self.tree.write(self.path, garbage);
        if let Err(error) = rig.sample() {
            assert!(error.to_string().contains(self.path), "{error}");
        }
        self.check(&rig, garbage);
        let after = self.after(&mut rig);
        for (label, right) in &self.right {
            let found = after.iter().find(|(l, _)| l == label).map(|(_, value)| *value);
            let alike = found.is_some_and(|f| f == *right || f.is_nan() && right.is_nan());
            assert!(alike, "{label} = {found:?} instead of {right} after {}", shown(garbage));
        }
    }

    fn check(&self, rig: &Rig, content: &[u8]) {
        for (def, value) in rig.series() {
            let sane = value.is_nan() || value.is_finite() && value >= 0.0;
            let share = [
                sc::CPU_BUSY,
                sc::CPU_UTILIZATION,
                sc::CPU_CORE_BUSY,
                sc::CPU_CORE_UTILIZATION,
                sc::MEMORY_UTILIZATION,
            ]
            .iter()
            .chain(&[sc::SWAP_UTILIZATION, sc::DISK_UTILIZATION])
            .any(|m| m.name == def.name);
            let sane = sane && !(share && value > 1.0001);
            assert!(sane, "{}: {} = {value} of {}", self.path, def.label(), shown(content));
        }
    }
}

/// The beginning of a text.
fn shown(text: &[u8]) -> String {
    format!("{:?}… ({} bytes)", String::from_utf8_lossy(&text[..text.len().min(300)]), text.len())
}

/// Each file is cut at every byte, longer ones at so many of them, spread evenly.
const CUTS: usize = 400;

#[test]
fn files_that_were_cut() {
    for bench in Bench::all() {
        let text = bench.contents.one.clone();
        for cut in (0..text.len()).step_by(text.len().div_ceil(CUTS)) {
            bench.meets(&text[..cut]);
        }
    }
}

/// The text with each word that is a number replaced.
fn with_numbers(text: &[u8], number: &[u8]) -> Vec<u8> {
    let word = |w: &[u8]| if w.iter().all(u8::is_ascii_digit) && !w.is_empty() { number.to_vec() } else { w.to_vec() };
    let line = |l: &[u8]| l.split(|b| *b == b' ').map(word).collect::<Vec<_>>().join(&b' ');
    text.split(|b| *b == b'\n').map(line).collect::<Vec<_>>().join(&b'\n')
}

#[test]
fn files_full_of_nonsense() {
    const NUMBERS: [&str; 9] = [
        "18446744073709551615",
        "18446744073709551616",
        "9223372036854775808",
        "999999999999999999999999999999999999999999999",
        "-1",
        "nan",
        "inf",
        "0",
        "",
    ];
    for bench in Bench::all() {
        let good = &bench.contents.one;
        let mut garbage: Vec<Vec<u8>> = NUMBERS.iter().map(|n| with_numbers(good, n.as_bytes())).collect();
        garbage.extend(
            [&b""[..], b"\n", b"\n\n\n\n", b" ", b"\0", b"\xff\xfe\n", b":", b": 1\n", b"- - -\n"].map(<[u8]>::to_vec),
        );
        // Every line twice, upside down, without line ends, and as another system ends them.
        garbage.push([&good[..], good].concat());
        garbage.push(good.split_inclusive(|b| *b == b'\n').rev().collect::<Vec<_>>().concat());
        garbage.push(good.iter().map(|b| if *b == b'\n' { b' ' } else { *b }).collect());
        garbage.push(good.split(|b| *b == b'\n').collect::<Vec<_>>().join(&b"\r\n"[..]));
        garbage.push(good.iter().map(|b| b | 0x80).collect());
        // Lines longer than all that is read.
        for piece in [&b"9"[..], b"9 ", b"cpu", b"x: "] {
            garbage.push([good, piece.repeat((1 << 20) / piece.len()).as_slice(), b"\n", good].concat());
        }
        garbage.iter().for_each(|g| bench.meets(g));
    }
}

/// Most processors that the machine may have are many lines, each of them a series or refused.
#[test]
fn a_table_that_is_full_is_no_end() {
    let tree = Tree::of("build-machine");
    let good = tree.read("proc/stat");
    let mut rig = rig("cpu", &tree);
    let before = rig.good().table.len();
    let many: String = (0..100_000).map(|i| format!("cpu{i} 1 2 3 4\n")).collect();
    tree.write("proc/stat", good.clone() + &many);
    rig.good();
    assert!(rig.table.refused() > 0);
    tree.write("proc/stat", good);
    assert_eq!(rig.good().table.len(), before);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Whatever bytes stand for a window of whichever kernel file, its source goes on and is right again after.
    #[test]
    fn windows_of_noise(at in any::<prop::sample::Index>(), length in 0_usize..60, noise in noise(), all: bool) {
        BENCHES.with(|benches| for bench in benches {
            let good = &bench.contents.one;
            let from = at.index(good.len());
            let to = (from + length).min(good.len());
            let around = if all { [&[][..], &[]] } else { [&good[..from], &good[to..]] };
            bench.meets(&[around[0], &noise, around[1]].concat());
        });
    }
}

/// Bytes of any kind, or of those that kernel files are made of.
fn noise() -> impl Strategy<Value = Vec<u8>> {
    let alphabet = b"0123456789 \n\t:-./=cpusometotalMemSwap,".to_vec();
    prop_oneof![
        prop::collection::vec(any::<u8>(), 0..80),
        prop::collection::vec(prop::sample::select(alphabet), 0..200),
    ]
}

thread_local! {
    /// Made once: recording what is right takes longer than a case.
    static BENCHES: Vec<Bench> = Bench::all().collect();
}
