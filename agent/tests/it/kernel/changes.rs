//! What comes and goes, begins anew, wraps, or is missing.

use super::*;

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

    plug("mmcblk0boot0", 8);
    rig.good();
    assert_eq!((read(&rig, "mmcblk0boot0"), rig.table.epoch()), (None, epoch + 1), "an area of an eMMC is no disk");

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
fn a_confined_agent_asks_the_first_process_what_is_read_only() {
    let tree = Tree::of("raspberry-pi-4");
    let mounts = tree.read("proc/self/mountinfo");
    std::fs::create_dir_all(tree.path("proc/1")).expect("made");
    tree.write("proc/1/mountinfo", &mounts);
    // What ProtectSystem=strict makes of it.
    let confined = mounts.replace(" rw,noatime", " ro,noatime").replace(" rw,relatime", " ro,relatime");
    tree.write("proc/self/mountinfo", confined);
    let mut rig = rig("filesystem", &tree);
    let read_only =
        |rig: &Rig| ["/", "/boot/firmware"].map(|at| rig.value(&sc::FS_READ_ONLY, &[at]).expect("it is there"));
    assert_eq!(read_only(rig.good()), [0.0, 0.0]);
    tree.edit("proc/1/mountinfo", |l| l.contains("vfat").then(|| l.replace("rw,relatime", "ro,relatime")));
    assert_eq!(read_only(rig.good()), [0.0, 1.0]);
    tree.edit("proc/self/mountinfo", |l| l.contains("ext4").then(|| l.replace("mmcblk0p2 rw", "mmcblk0p2 ro")));
    assert_eq!(read_only(rig.good()), [1.0, 1.0], "an error of the disk shows in either");
    // Where processes of others are hidden, only what the file systems say counts.
    std::fs::remove_dir_all(tree.path("proc/1")).expect("it is there");
    tree.edit("proc/self/mountinfo", |l| Some(l.replace("mmcblk0p2 ro", "mmcblk0p2 rw")));
    assert_eq!(read_only(rig.good()), [0.0, 0.0]);
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
