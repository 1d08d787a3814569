//! Sources of units, containers, hardware and processes against recorded trees.

use std::fmt::Write as _;

use tacit_agent::source::cgroup::{Cgroups, Layout};
use tacit_agent::source::hardware::Hardware;
use tacit_agent::source::processes::{Processes, Scanner};
use tacit_agent::source::{Root, Sampled};

use crate::tree::{Rig, START, Tree, fixture};

#[test]
fn version_2_units_and_containers() {
    let tree = Tree::of("cgroup-v2");
    let mut rig = Rig::new(Cgroups::new(&tree.root(), 512).expect("no thread is needed"));
    assert_eq!(rig.sample().expect("a good tree"), Sampled::Data);
    tree.write(
        "sys/fs/cgroup/system.slice/postgresql.service/cpu.stat",
        "usage_usec 983000000\nthrottled_usec 8200000\n",
    );
    tree.write("sys/fs/cgroup/system.slice/nginx.service/io.stat", "259:0 rbytes=90114048 wbytes=4096000\n");
    tree.write("sys/fs/cgroup/system.slice/nginx.service/cpu.pressure", "some avg10=1.00 total=548127\nfull total=3\n");
    rig.sample().expect("a good tree");
    insta::assert_snapshot!(rig.lines());
}

#[test]
fn version_1_units_and_containers() {
    let tree = Tree::of("cgroup-v1");
    assert_eq!(Layout::find(&tree.root()).describe(), "v1");
    let mut rig = Rig::new(Cgroups::new(&tree.root(), 512).expect("no thread is needed"));
    rig.sample().expect("a good tree");
    tree.write("sys/fs/cgroup/cpu,cpuacct/lxc/builder/cpuacct.usage", "5000000000\n");
    rig.sample().expect("a good tree");
    insta::assert_snapshot!(rig.lines());
}

#[test]
fn the_hybrid_layout() {
    let tree = Tree::of("cgroup-hybrid");
    assert!(Layout::find(&tree.root()).describe().starts_with("hybrid"));
    let mut rig = Rig::new(Cgroups::new(&tree.root(), 512).expect("no thread is needed"));
    rig.sample().expect("a good tree");
    tree.write("sys/fs/cgroup/unified/system.slice/app.service/io.pressure", "some avg10=0.00 total=1005000\n");
    rig.sample().expect("a good tree");
    insta::assert_snapshot!(rig.lines());
}

#[test]
fn a_unit_that_stops_gives_its_slots_back() {
    let tree = Tree::of("cgroup-v2");
    let mut rig = Rig::new(Cgroups::new(&tree.root(), 512).expect("no thread is needed"));
    rig.sample().expect("a good tree");
    let before = rig.table.len();
    std::fs::remove_dir_all(tree.path("sys/fs/cgroup/system.slice/nginx.service")).expect("it is there");
    rig.sample().expect("a good tree");
    assert!(rig.table.len() < before);
    assert!(!rig.lines().contains("nginx"));
}

#[test]
fn only_the_largest_units_are_followed() {
    let tree = Tree::of("cgroup-v2");
    for i in 0..500 {
        let folder = format!("sys/fs/cgroup/system.slice/job{i}.service");
        std::fs::create_dir_all(tree.path(&folder)).expect("a folder");
        tree.write(&format!("{folder}/memory.current"), format!("{}\n", 1000 + i));
        tree.write(&format!("{folder}/cpu.stat"), "usage_usec 1\n");
    }
    let mut rig = Rig::new(Cgroups::new(&tree.root(), 512).expect("no thread is needed"));
    rig.sample().expect("a good tree");
    assert!(rig.table.len() <= 512 * 45 / 100, "{} series", rig.table.len());
    let lines = rig.lines();
    assert!(
        lines.contains("postgresql.service") && lines.contains("job499.service") && !lines.contains("job0.service")
    );
}

#[test]
fn garbage_in_one_file_loses_only_its_value() {
    let tree = Tree::of("cgroup-v2");
    let mut rig = Rig::new(Cgroups::new(&tree.root(), 512).expect("no thread is needed"));
    rig.sample().expect("a good tree");
    let good = rig.table.len();
    for garbage in [&b""[..], b"\xff\xfe\x00", b"max", b"99999999999999999999999", b"usage_usec", b"8:0 rbytes="] {
        for file in ["cpu.stat", "memory.current", "io.stat", "pids.current", "cpu.pressure"] {
            tree.write(&format!("sys/fs/cgroup/system.slice/nginx.service/{file}"), garbage);
        }
        assert_eq!(rig.sample().expect("the rest is good"), Sampled::Data);
        assert_eq!(rig.table.len(), good);
    }
}

#[test]
fn a_raspberry_pi() {
    let mut rig = Rig::new(Hardware::new(&Root::new(fixture("raspberry-pi-4"))).expect("no thread is needed"));
    rig.sample().expect("a good tree");
    insta::assert_snapshot!(rig.lines());
}

#[test]
fn a_laptop() {
    let tree = Tree::of("laptop");
    let mut rig = Rig::new(Hardware::new(&tree.root()).expect("no thread is needed"));
    rig.sample().expect("a good tree");
    tree.write("sys/devices/system/cpu/cpu1/thermal_throttle/core_throttle_count", "23\n");
    rig.sample().expect("a good tree");
    insta::assert_snapshot!(rig.lines());

    std::fs::remove_dir_all(tree.path("sys/class/power_supply/BAT0")).expect("it is there");
    rig.sample().expect("a good tree");
    assert!(!rig.lines().contains("bat0"), "a battery that was taken out is gone");
}

#[test]
fn a_machine_without_sensors_says_so() {
    let empty = tempfile::tempdir().expect("a folder");
    let root = Root::new(empty.path());
    let mut hardware = Rig::new(Hardware::new(&root).expect("no thread is needed"));
    assert!(matches!(hardware.sample(), Ok(Sampled::Absent(why)) if why.contains("/sys/class/hwmon")));
    let mut cgroups = Rig::new(Cgroups::new(&root, 512).expect("no thread is needed"));
    assert!(matches!(cgroups.sample(), Ok(Sampled::Absent(why)) if why.contains("/sys/fs/cgroup")));
    let mut processes = Rig::new(Processes::of_tree(&root));
    assert!(processes.sample().expect_err("there is no /proc").to_string().contains("proc"));
}

#[test]
fn processes_on_top() {
    let tree = Tree::of("cgroup-v2");
    let mut scanner = Scanner::new(&tree.root(), true);
    let first = scanner.scan(START).expect("a good tree");
    assert!(first.top_cpu.is_empty() && first.top_io.is_empty(), "rates need two scans");
    let stat = |pid: u32, name: &str, state: char, ticks: u32, start: u32, pages: u32| {
        format!("{pid} ({name}) {state} 1 1 1 0 -1 0 0 0 0 0 {ticks} 0 0 0 20 0 1 0 {start} 0 {pages} 0\n")
    };
    tree.write("proc/900/stat", stat(900, "postgres", 'D', 99_100, 4600, 98_560));
    tree.write("proc/900/io", "read_bytes: 8812021280\nwrite_bytes: 4220001280\n");
    std::fs::create_dir(tree.path("proc/950")).expect("a folder");
    tree.write("proc/950/stat", stat(950, "born", 'R', 250, 100_200, 100));
    let second = scanner.scan(START.plus_ms(10_000)).expect("a good tree");
    assert_eq!((second.total, second.running, second.blocked, second.zombie, second.stopped), (7, 2, 1, 1, 1));
    let mut text = String::new();
    for (list, notes) in [("cpu", &second.top_cpu), ("memory", &second.top_memory), ("io", &second.top_io)] {
        for n in notes {
            let _ = writeln!(
                text,
                "{list}: {} {} cpu={} memory={} growth={} io={} unit={:?} command={:?}",
                n.pid, n.name, n.cpu.0, n.memory.0, n.memory_growth.0, n.io.0, n.unit, n.command
            );
        }
    }
    insta::assert_snapshot!(text);
    let without = Scanner::new(&tree.root(), false).scan(START).expect("a good tree");
    assert!(without.top_memory.iter().all(|n| n.command.is_none()), "command lines are turned off");
}

#[test]
fn many_processes_are_all_counted() {
    let tree = Tree::of("cgroup-v2");
    for pid in 10_000..11_000 {
        std::fs::create_dir(tree.path(&format!("proc/{pid}"))).expect("a folder");
        let line = format!("{pid} (p) S 1 1 1 0 -1 0 0 0 0 0 {pid} 0 0 0 20 0 1 0 5 0 {} 0\n", pid + 10_000);
        tree.write(&format!("proc/{pid}/stat"), line);
    }
    let snapshot = Scanner::new(&tree.root(), true).scan(START).expect("a good tree");
    assert_eq!(snapshot.total, 1006);
    assert_eq!(snapshot.top_memory.iter().map(|n| n.pid).collect::<Vec<_>>(), [900, 10_999, 10_998, 10_997, 10_996]);
}
