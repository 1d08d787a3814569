//! Processes, and what they hold open.

use std::fs::File;
use std::hint::black_box;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use super::{Limit, die_with_parent, raise_open_files};

/// Files left to the process itself.
const SPARE: u64 = 64;
/// Length of a turn of the steady worker.
const TURN: Duration = Duration::from_millis(100);

/// Becomes another program; it dies with the bench.
///
/// # Errors
/// When it cannot be started, or may not enter the group.
pub fn become_program(group: Option<&Path>, command: &[String]) -> Result<()> {
    if let Some(group) = group {
        enter(group)?;
    }
    die_with_parent();
    let (program, arguments) = command.split_first().context("a program has a name")?;
    Err(Command::new(program).args(arguments).exec()).with_context(|| format!("cannot start {program}"))
}

fn enter(group: &Path) -> Result<()> {
    let file = group.join("cgroup.procs");
    std::fs::write(&file, std::process::id().to_string()).with_context(|| format!("cannot write {}", file.display()))
}

/// Opens files and closes none.
///
/// # Errors
/// When the limit on open files cannot be raised.
pub fn files(limit: &Limit, per_s: u64, most: u64) -> Result<()> {
    let most = most.min(raise_open_files()?.saturating_sub(SPARE));
    let mut held = Vec::new();
    limit.at_rate(per_s, most, |_| File::open("/dev/null").map(|file| held.push(file)).is_ok());
    limit.hold();
    black_box(&held);
    Ok(())
}

/// Opens connections to itself and closes none; each takes two descriptors.
///
/// # Errors
/// When it cannot listen, or the limit on open files cannot be raised.
pub fn sockets(limit: &Limit, per_s: u64, most: u64) -> Result<()> {
    let most = most.min(raise_open_files()?.saturating_sub(SPARE) / 2);
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("cannot listen on loopback")?;
    let address = listener.local_addr().context("the listener has no address")?;
    let mut held = Vec::new();
    limit.at_rate(per_s, most, |_| {
        let pair = TcpStream::connect(address).and_then(|near| Ok((near, listener.accept()?.0)));
        pair.map(|pair| held.push(pair)).is_ok()
    });
    limit.hold();
    black_box(&held);
    Ok(())
}

/// Starts processes that end at once; never more than a handful live at a time, as each is waited for.
///
/// # Errors
/// When `true` cannot be started.
pub fn forks(limit: &Limit, per_s: u64) -> Result<()> {
    let mut failed = None;
    limit.at_rate(per_s, u64::MAX, |_| {
        let done = Command::new("true").stdin(Stdio::null()).status();
        failed = done.err();
        failed.is_none()
    });
    match failed {
        Some(error) => Err(error).context("cannot start `true`"),
        None => Ok(()),
    }
}

/// Uses `share` of one core, steadily, in a control group.
///
/// # Errors
/// When it may not enter the group, or the share is none.
pub fn worker(limit: &Limit, share: f64, group: &Path) -> Result<()> {
    if !(0.0..=1.0).contains(&share) {
        bail!("--share {share}: allowed are 0 to 1");
    }
    enter(group)?;
    let mut value = 1_u64;
    while limit.goes_on() {
        let turn = Instant::now();
        while turn.elapsed() < TURN.mul_f64(share) {
            value = (0..10_000_u64).fold(value, |a, b| black_box(a.wrapping_mul(31).wrapping_add(b)));
        }
        limit.rest(TURN.saturating_sub(turn.elapsed()));
    }
    Ok(())
}
