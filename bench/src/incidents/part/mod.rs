//! The services of the shop: hidden subcommands of this program (`tacit-bench incident-part api …`), so that each runs as a process of its
//! own in a unit of its own. Each shows its figures on loopback as programs do, and has faults that files switch on.

mod http;
mod names;
mod roles;
mod service;

use std::hint::black_box;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use clap::{Args, Subcommand};
use rustix::time::{ClockId, clock_gettime};

use crate::live::limit::Limit;
use crate::map::part::Talk;
use service::Service;

pub use service::{METRICS, Switch};

/// What every service is told.
#[derive(Debug, Args)]
pub struct Common {
    /// Where it listens.
    #[arg(long)]
    listen: SocketAddr,
    /// Files of this name with an ending switch its faults on.
    #[arg(long)]
    switches: PathBuf,
    /// Longest time.
    #[arg(long)]
    seconds: u64,
}

/// A part.
#[derive(Debug, Subcommand)]
pub enum Part {
    /// Pages, made of what an API answers.
    Web {
        #[command(flatten)]
        common: Common,
        #[arg(long, value_delimiter = ',', required = true)]
        apis: Vec<SocketAddr>,
    },
    /// Asks for names, then the database and the cache.
    Api {
        #[command(flatten)]
        common: Common,
        #[arg(long)]
        names: SocketAddr,
        /// How the database is spoken to.
        #[arg(long, value_enum)]
        talk: Talk,
    },
    /// Answers queries, as many at once as it has connections.
    Db {
        #[command(flatten)]
        common: Common,
        #[arg(long)]
        most: u64,
    },
    /// Answers SET and PING, and keeps a journal.
    Cache {
        #[command(flatten)]
        common: Common,
        #[arg(long)]
        folder: PathBuf,
    },
    /// Answers questions for names, and whether it is well.
    Names {
        #[command(flatten)]
        common: Common,
        #[arg(long)]
        dns: SocketAddr,
        /// `db.shop=192.0.2.1`.
        #[arg(long = "name", value_parser = names::known)]
        list: Vec<(String, Ipv4Addr)>,
    },
    /// A service that nobody in the shop knows.
    Mail {
        #[command(flatten)]
        common: Common,
    },
    /// Uses all the processor time there is.
    Hog {
        #[arg(long)]
        threads: usize,
        #[arg(long)]
        seconds: u64,
    },
    /// Fills a cache with values that nobody takes out.
    Cram {
        #[arg(long)]
        to: SocketAddr,
        #[arg(long)]
        mb_per_s: u64,
        /// In MB.
        #[arg(long)]
        most: u64,
        #[arg(long)]
        seconds: u64,
    },
}

/// Runs a part to its end.
///
/// # Errors
/// When it cannot do what it is for.
pub fn run(part: Part) -> Result<()> {
    match part {
        Part::Web { common, apis } => roles::web(&service("shop-web", &common)?, common.listen, apis),
        Part::Api { common, names, talk } => roles::api(&service("shop-api", &common)?, common.listen, names, talk),
        Part::Db { common, most } => roles::db(&service("shop-db", &common)?, common.listen, most),
        Part::Cache { common, folder } => roles::cache(&service("shop-cache", &common)?, common.listen, &folder),
        Part::Names { common, dns, list } => {
            let service = service("shop-names", &common)?;
            names::serve(&service, dns, list)?;
            roles::well(&service, common.listen)
        }
        Part::Mail { common } => roles::well(&service("mail", &common)?, common.listen),
        Part::Hog { threads, seconds } => {
            hog(&Limit::new("batch-hog", seconds), threads);
            Ok(())
        }
        Part::Cram { to, mb_per_s, most, seconds } => cram(&Limit::new("batch-cram", seconds), to, mb_per_s, most),
    }
}

fn service(name: &str, common: &Common) -> Result<Arc<Service>> {
    let service = Arc::new(Service::new(Limit::new(name, common.seconds), common.switches.clone()));
    service.show()?;
    Ok(service)
}

/// Uses so much processor time.
fn burn(time: Duration) {
    let spent = || {
        let at = clock_gettime(ClockId::ThreadCPUTime);
        Duration::new(u64::try_from(at.tv_sec).unwrap_or(0), u32::try_from(at.tv_nsec).unwrap_or(0))
    };
    let end = spent() + time;
    let mut value = 1_u64;
    while spent() < end {
        value = (0..1000_u64).fold(value, |a, b| black_box(a.wrapping_mul(31).wrapping_add(b)));
    }
    black_box(value);
}

fn hog(limit: &Limit, threads: usize) {
    std::thread::scope(|scope| {
        for _ in 0..threads.min(64) {
            scope.spawn(|| {
                while limit.goes_on() {
                    burn(Duration::from_millis(50));
                }
            });
        }
    });
}

/// A value of a megabyte each: written with one byte at its end, so that the cache's own journal stays small.
fn cram(limit: &Limit, to: SocketAddr, mb_per_s: u64, most: u64) -> Result<()> {
    let mut stream = TcpStream::connect(to).with_context(|| format!("cannot connect to {to}"))?;
    stream.set_read_timeout(Some(Duration::from_secs(10))).context("no time limit for a connection")?;
    let mut lines = BufReader::new(stream.try_clone().context("cannot share a connection")?);
    limit.at_rate(mb_per_s, most, |n| {
        let mut line = String::new();
        let asked = write!(stream, "SETRANGE cram:{n} 1048575 x\r\n");
        asked.and_then(|()| lines.read_line(&mut line)).is_ok() && line.starts_with(':')
    });
    limit.hold();
    Ok(())
}
