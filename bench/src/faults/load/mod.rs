//! The helpers behind the faults: hidden subcommands of this program (`tacit-bench inject leak --mb-per-s 64 …`), so that
//! each runs as a process of its own with a name of its own.
//!
//! Each is bounded: it ends after `--seconds`, and with its parent, whatever happens to the bench.

mod disk;
mod memory;
mod network;
mod process;
mod sensor;
mod service;

use std::ffi::CString;
use std::path::PathBuf;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use clap::Subcommand;
use rustix::process::{Pid, Signal, getppid, set_parent_process_death_signal};

/// Longest any helper runs.
const SECONDS_MAX: u64 = 24 * 3600;

/// A helper.
#[derive(Debug, Subcommand)]
pub enum Load {
    /// Undoes what the bench did not.
    Janitor,
    /// Becomes another program, in a control group if asked, and dies with the bench.
    Run {
        #[arg(long)]
        cgroup: Option<PathBuf>,
        #[arg(last = true, required = true)]
        command: Vec<String>,
    },
    /// Grows.
    Leak {
        #[arg(long)]
        mb_per_s: u64,
        /// In MB.
        #[arg(long)]
        most: u64,
        #[arg(long)]
        seconds: u64,
    },
    /// Opens files.
    Files {
        #[arg(long)]
        per_s: u64,
        #[arg(long)]
        most: u64,
        #[arg(long)]
        seconds: u64,
    },
    /// Opens connections to itself.
    Sockets {
        #[arg(long)]
        per_s: u64,
        #[arg(long)]
        most: u64,
        #[arg(long)]
        seconds: u64,
    },
    /// Starts processes that end at once.
    Forks {
        #[arg(long)]
        per_s: u64,
        #[arg(long)]
        seconds: u64,
    },
    /// Writes a file until there is no room.
    Fill {
        #[arg(long)]
        folder: PathBuf,
        #[arg(long)]
        mb_per_s: u64,
        #[arg(long)]
        seconds: u64,
    },
    /// Makes empty files until there is no inode.
    Inodes {
        #[arg(long)]
        folder: PathBuf,
        #[arg(long)]
        per_s: u64,
        #[arg(long)]
        seconds: u64,
    },
    /// Writes 4 KiB again and again, each forced to disk.
    Fsync {
        #[arg(long)]
        folder: PathBuf,
        #[arg(long)]
        seconds: u64,
    },
    /// Uses a steady share of a core.
    Worker {
        #[arg(long)]
        share: f64,
        #[arg(long)]
        cgroup: PathBuf,
        #[arg(long)]
        seconds: u64,
    },
    /// Asks the bench's server.
    Talk {
        #[arg(long)]
        to: std::net::SocketAddr,
        #[arg(long)]
        per_s: u64,
        #[arg(long)]
        seconds: u64,
    },
    /// Asks the bench's name server.
    Resolve {
        #[arg(long)]
        to: std::net::SocketAddr,
        #[arg(long)]
        per_s: u64,
        #[arg(long)]
        seconds: u64,
    },
    /// Serves a temperature.
    Sensor {
        #[arg(long)]
        port: u16,
        #[arg(long)]
        stuck: PathBuf,
        #[arg(long)]
        seconds: u64,
    },
    /// A service that fails when a file is there.
    Service {
        #[arg(long)]
        when: PathBuf,
        #[arg(long)]
        seconds: u64,
    },
    /// A service that writes many lines when a file is there.
    Chatty {
        #[arg(long)]
        when: PathBuf,
        #[arg(long)]
        seconds: u64,
    },
}

/// Runs a helper to its end.
///
/// # Errors
/// When it cannot do what it is for.
pub fn run(load: Load) -> Result<()> {
    match load {
        Load::Janitor => {
            name("fault-janitor");
            // Ctrl-C goes to the whole session; this process must outlive it. It may lead one already.
            let _ = rustix::process::setsid();
            super::undo::janitor(std::io::stdin());
            Ok(())
        }
        Load::Run { cgroup, command } => process::become_program(cgroup.as_deref(), &command),
        Load::Leak { mb_per_s, most, seconds } => memory::leak(&Limit::new("fault-leak", seconds), mb_per_s, most),
        Load::Files { per_s, most, seconds } => process::files(&Limit::new("fault-files", seconds), per_s, most),
        Load::Sockets { per_s, most, seconds } => process::sockets(&Limit::new("fault-sockets", seconds), per_s, most),
        Load::Forks { per_s, seconds } => process::forks(&Limit::new("fault-forks", seconds), per_s),
        Load::Fill { folder, mb_per_s, seconds } => disk::fill(&Limit::new("fault-fill", seconds), &folder, mb_per_s),
        Load::Inodes { folder, per_s, seconds } => disk::inodes(&Limit::new("fault-inodes", seconds), &folder, per_s),
        Load::Fsync { folder, seconds } => disk::fsync(&Limit::new("fault-fsync", seconds), &folder),
        Load::Worker { share, cgroup, seconds } => process::worker(&Limit::new("work-steady", seconds), share, &cgroup),
        Load::Talk { to, per_s, seconds } => network::talk(&Limit::new("work-talk", seconds), to, per_s),
        Load::Resolve { to, per_s, seconds } => network::resolve(&Limit::new("work-resolve", seconds), to, per_s),
        Load::Sensor { port, stuck, seconds } => sensor::serve(&Limit::new("work-sensor", seconds), port, &stuck),
        Load::Service { when, seconds } => service::service(&Limit::new("shop", seconds), &when),
        Load::Chatty { when, seconds } => service::chatty(&Limit::new("chatty", seconds), &when),
    }
}

/// Until when a helper runs.
#[derive(Debug)]
pub struct Limit {
    end: Instant,
    parent: Option<Pid>,
}

impl Limit {
    /// From now on, for at most so many seconds, and no longer than the parent; the process gets a name.
    fn new(own_name: &str, seconds: u64) -> Self {
        name(own_name);
        die_with_parent();
        Self { end: Instant::now() + Duration::from_secs(seconds.min(SECONDS_MAX)), parent: getppid() }
    }

    /// Whether it goes on.
    pub fn goes_on(&self) -> bool {
        Instant::now() < self.end && getppid() == self.parent
    }

    /// Waits a little, but not beyond the end.
    pub fn rest(&self, time: Duration) {
        sleep(time.min(self.end.saturating_duration_since(Instant::now())));
    }

    /// Waits for the end.
    pub fn hold(&self) {
        while self.goes_on() {
            self.rest(Duration::from_millis(200));
        }
    }

    /// Calls `one` at a rate, in portions twenty times a second, until the end, until it was called `most` times, or until
    /// it says no.
    pub fn at_rate(&self, per_s: u64, most: u64, mut one: impl FnMut(u64) -> bool) {
        let began = Instant::now();
        let mut done = 0;
        while self.goes_on() && done < most {
            let due = (began.elapsed().as_secs_f64() * per_s as f64) as u64;
            while done < due.min(most) && self.goes_on() {
                if !one(done) {
                    return;
                }
                done += 1;
            }
            self.rest(Duration::from_millis(50));
        }
    }
}

fn name(text: &str) {
    // A name with a zero byte there is none, and a kernel that refuses it only makes reports harder to read.
    let _ = CString::new(text).map(|text| rustix::thread::set_name(&text));
}

fn die_with_parent() {
    // Without it the time limit still holds.
    let _ = set_parent_process_death_signal(Some(Signal::KILL));
}

/// Raises the limit on open files as far as allowed and says how many may be open.
fn raise_open_files() -> Result<u64> {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let most = limit.maximum.unwrap_or(1 << 20);
    setrlimit(Resource::Nofile, Rlimit { current: Some(most), maximum: limit.maximum })
        .context("cannot raise the limit on open files")?;
    Ok(most)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limit(ms: u64) -> Limit {
        Limit { end: Instant::now() + Duration::from_millis(ms), parent: getppid() }
    }

    #[test]
    fn a_helper_is_bounded_in_number_and_time() {
        let mut calls = 0;
        limit(60_000).at_rate(1_000_000, 500, |_| {
            calls += 1;
            true
        });
        assert_eq!(calls, 500);
        limit(60_000).at_rate(1000, u64::MAX, |n| n < 3);
        let over = limit(0);
        over.at_rate(1000, u64::MAX, |_| panic!("its time is over"));
        over.hold();
        assert!(!over.goes_on());
    }
}
