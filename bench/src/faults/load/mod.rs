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

use std::path::PathBuf;

use anyhow::Result;
use clap::Subcommand;

use crate::live::limit::{Limit, die_with_parent, name, raise_open_files};

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
            crate::live::undo::janitor(std::io::stdin());
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
