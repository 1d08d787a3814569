//! The faults, one row each.

use super::inject::{self, Start};

/// What a fault needs beside the machine itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// A small file system of its own, in a file.
    Scratch,
    /// A network namespace with one link, and traffic over it.
    Network,
    /// A steady worker in a control group of its own.
    Worker,
    /// A sensor, as a Prometheus endpoint.
    Sensor,
    /// A Debian booted by systemd-nspawn, with services.
    Systemd,
}

/// What a good event names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Culprit {
    /// A process whose name begins so.
    Process(&'static str),
    /// A systemd unit.
    Unit(&'static str),
    /// No process is to blame.
    Nobody,
}

/// A fault.
#[derive(Clone, Copy)]
pub struct Fault {
    /// Name on the command line and in the table.
    pub name: &'static str,
    /// In words.
    pub what: &'static str,
    /// Kinds that are right, the best first.
    pub kinds: &'static [&'static str],
    /// What the event shall name.
    pub culprit: Culprit,
    /// What it needs.
    pub needs: &'static [Need],
    /// How long it lasts at most, in seconds.
    pub seconds: u64,
    /// How it is started.
    pub start: Start,
}

impl Fault {
    /// Whether it needs this.
    pub fn needs(&self, need: Need) -> bool {
        self.needs.contains(&need)
    }
}

/// All faults, in the order in which they are injected: what leaves traces for long comes late.
pub const ALL: [Fault; 21] = [
    Fault {
        name: "cpu-hog",
        what: "every core busy (stress-ng)",
        kinds: &["cpu"],
        culprit: Culprit::Process("stress-ng"),
        needs: &[],
        seconds: 90,
        start: inject::cpu::hog,
    },
    Fault {
        name: "hot-spot",
        what: "one core busy, pinned (stress-ng)",
        kinds: &["cpu"],
        culprit: Culprit::Process("stress-ng"),
        needs: &[],
        seconds: 120,
        start: inject::cpu::hot_spot,
    },
    Fault {
        name: "cpu-steal",
        what: "a steady worker gets a twentieth of the processor it needs, by a control group's limit",
        kinds: &["cpu"],
        culprit: Culprit::Process("work-steady"),
        needs: &[Need::Worker],
        seconds: 120,
        start: inject::cpu::steal,
    },
    Fault {
        name: "leak-fast",
        what: "a process grows by 64 MB a second, up to a fifth of what is free",
        kinds: &["memory"],
        culprit: Culprit::Process("fault-leak"),
        needs: &[],
        seconds: 90,
        start: inject::memory::leak_fast,
    },
    Fault {
        name: "leak-slow",
        what: "a process grows by 3 MB a second",
        kinds: &["memory"],
        culprit: Culprit::Process("fault-leak"),
        needs: &[],
        seconds: 300,
        start: inject::memory::leak_slow,
    },
    Fault {
        name: "fd-leak",
        what: "a process opens 200 files a second and closes none",
        kinds: &["files"],
        culprit: Culprit::Process("fault-files"),
        needs: &[],
        seconds: 90,
        start: inject::process::files,
    },
    Fault {
        name: "socket-leak",
        what: "a process opens 50 connections a second and closes none",
        kinds: &["network", "files"],
        culprit: Culprit::Process("fault-sockets"),
        needs: &[],
        seconds: 90,
        start: inject::process::sockets,
    },
    Fault {
        name: "fork-storm",
        what: "a process starts 200 short-lived ones a second",
        kinds: &["processes"],
        culprit: Culprit::Process("fault-forks"),
        needs: &[],
        seconds: 90,
        start: inject::process::forks,
    },
    Fault {
        name: "io-storm",
        what: "large sequential writes without pause (stress-ng)",
        kinds: &["disk-io"],
        culprit: Culprit::Process("stress-ng"),
        needs: &[Need::Scratch],
        seconds: 90,
        start: inject::disk::storm,
    },
    Fault {
        name: "fsync-writes",
        what: "4 KiB writes, each forced to disk",
        kinds: &["disk-io"],
        culprit: Culprit::Process("fault-fsync"),
        needs: &[Need::Scratch],
        seconds: 90,
        start: inject::disk::fsync,
    },
    Fault {
        name: "disk-filling",
        what: "a file system fills within a minute",
        kinds: &["disk-full"],
        culprit: Culprit::Process("fault-fill"),
        needs: &[Need::Scratch],
        seconds: 120,
        start: inject::disk::fill,
    },
    Fault {
        name: "inodes",
        what: "empty files use up the inodes",
        kinds: &["disk-full", "files"],
        culprit: Culprit::Process("fault-inodes"),
        needs: &[Need::Scratch],
        seconds: 120,
        start: inject::disk::inodes,
    },
    Fault {
        name: "swap-storm",
        what: "a control group with half the memory its process works on, swap on zram (stress-ng)",
        kinds: &["memory"],
        culprit: Culprit::Process("stress-ng"),
        needs: &[],
        seconds: 90,
        start: inject::memory::swap_storm,
    },
    Fault {
        name: "packet-loss",
        what: "30 % of incoming packets are lost (nft)",
        kinds: &["network"],
        culprit: Culprit::Nobody,
        needs: &[Need::Network],
        seconds: 120,
        start: inject::network::loss,
    },
    Fault {
        name: "bandwidth",
        what: "the link falls to a twentieth of what is asked of it (tc tbf)",
        kinds: &["network"],
        culprit: Culprit::Nobody,
        needs: &[Need::Network],
        seconds: 120,
        start: inject::network::bandwidth,
    },
    Fault {
        name: "dns-failure",
        what: "no answer from the name server (nft)",
        kinds: &["network"],
        culprit: Culprit::Nobody,
        needs: &[Need::Network],
        seconds: 120,
        start: inject::network::dns,
    },
    Fault {
        name: "stuck-sensor",
        what: "a temperature stays at its last value",
        kinds: &["sensor"],
        culprit: Culprit::Nobody,
        needs: &[Need::Sensor],
        seconds: 240,
        start: inject::sensor::stuck,
    },
    Fault {
        name: "clock-step",
        what: "the wall clock jumps ahead by 30 s, and back (as the agent reads it)",
        kinds: &["clock"],
        culprit: Culprit::Nobody,
        needs: &[],
        seconds: 60,
        start: inject::time::step,
    },
    Fault {
        name: "crash-loop",
        what: "a service ends with an error at each start",
        kinds: &["service"],
        culprit: Culprit::Unit("shop.service"),
        needs: &[Need::Systemd],
        seconds: 120,
        start: inject::service::crash_loop,
    },
    Fault {
        name: "service-stopped",
        what: "a service is stopped",
        kinds: &["service"],
        culprit: Culprit::Unit("shop.service"),
        needs: &[Need::Systemd],
        seconds: 120,
        start: inject::service::stopped,
    },
    Fault {
        name: "log-storm",
        what: "a service writes 2,000 lines a second to the journal",
        kinds: &["service", "disk-io"],
        culprit: Culprit::Unit("chatty.service"),
        needs: &[Need::Systemd],
        seconds: 120,
        start: inject::service::log_storm,
    },
];

/// The faults of these names, in the table's order; all for no name.
///
/// # Errors
/// A name that is not in the table.
pub fn select(only: &[String]) -> anyhow::Result<Vec<Fault>> {
    if let Some(unknown) = only.iter().find(|name| ALL.iter().all(|f| f.name != name.as_str())) {
        let names: Vec<&str> = ALL.iter().map(|f| f.name).collect();
        anyhow::bail!("--only {unknown}: no fault has that name; there are {}", names.join(", "));
    }
    Ok(ALL.iter().filter(|f| only.is_empty() || only.iter().any(|name| name == f.name)).copied().collect())
}

/// The table as text for `--list`.
pub fn list() -> String {
    let width = ALL.iter().map(|f| f.name.len()).max().unwrap_or(0);
    let row = |f: &Fault| {
        let needs: Vec<String> = f.needs.iter().map(|n| format!("{n:?}").to_lowercase()).collect();
        let needs = if needs.is_empty() { String::new() } else { format!(" [{}]", needs.join(", ")) };
        format!("{:width$}  {:>3} s  {}{needs}\n", f.name, f.seconds, f.what)
    };
    ALL.iter().map(row).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Kinds as the wire spells them.
    const KINDS: [&str; 10] =
        ["cpu", "memory", "disk-io", "disk-full", "network", "processes", "files", "service", "sensor", "clock"];

    #[test]
    fn the_table_is_consistent() {
        for (i, fault) in ALL.iter().enumerate() {
            assert!(ALL[..i].iter().all(|f| f.name != fault.name), "{} is there twice", fault.name);
            assert!((30..=600).contains(&fault.seconds), "{}: {} s", fault.name, fault.seconds);
            assert!(!fault.kinds.is_empty() && fault.kinds.iter().all(|k| KINDS.contains(k)), "{}", fault.name);
            let of_a_service = matches!(fault.culprit, Culprit::Unit(_));
            assert_eq!(of_a_service, fault.needs(Need::Systemd), "{}", fault.name);
            assert!(list().contains(fault.what));
        }
        let expected: Vec<&str> = KINDS.iter().filter(|k| ALL.iter().any(|f| f.kinds[0] == **k)).copied().collect();
        assert_eq!(expected, KINDS, "every kind has a fault");
    }

    #[test]
    fn faults_are_chosen_by_name() {
        let names = |only: &[&str]| -> Vec<&str> {
            let only: Vec<String> = only.iter().map(ToString::to_string).collect();
            select(&only).unwrap().iter().map(|f| f.name).collect()
        };
        assert_eq!(names(&["fd-leak", "cpu-hog"]), ["cpu-hog", "fd-leak"]);
        assert_eq!(names(&[]).len(), ALL.len());
        let error = select(&["cpu-hogg".to_owned()]).err().unwrap().to_string();
        assert!(error.contains("cpu-hogg") && error.contains("fork-storm"), "{error}");
    }
}
