//! Faults of memory.

use anyhow::{Context as _, Result, bail};

use super::Running;
use crate::faults::ground::Ground;
use crate::faults::place::cgroup::Group;
use crate::faults::undo::{Undo, run};

/// Most that a leak takes in bytes, whatever the machine has.
const LEAK_MAX: u64 = 2 << 30;
/// What the swapping process works on, and what its group may hold.
const WORK: u64 = 384 << 20;
const HELD: u64 = 192 << 20;

/// 64 MB a second.
///
/// # Errors
/// When too little memory is free.
pub fn leak_fast(ground: &Ground, seconds: u64) -> Result<Running> {
    leak(ground, 64, seconds)
}

/// 3 MB a second.
///
/// # Errors
/// When too little memory is free.
pub fn leak_slow(ground: &Ground, seconds: u64) -> Result<Running> {
    leak(ground, 3, seconds)
}

fn leak(ground: &Ground, mb_per_s: u64, seconds: u64) -> Result<Running> {
    let most = (available() / 5).min(LEAK_MAX) >> 20;
    if most < 64 {
        bail!("a fifth of the free memory is {most} MB: too little for a leak that is bounded by it");
    }
    let (rate, most, seconds) = (mb_per_s.to_string(), most.to_string(), seconds.to_string());
    let command = ground.helper(&["leak", "--mb-per-s", &rate, "--most", &most, "--seconds", &seconds]);
    ground.start(command, "fault-leak").map(Running::process)
}

/// A process that works on twice what its group may hold, with swap in compressed memory.
///
/// # Errors
/// Without root, zram, the memory controller or stress-ng, or when too little memory is free.
pub fn swap_storm(ground: &Ground, seconds: u64) -> Result<Running> {
    if available() < 4 * WORK {
        bail!("{} MB of free memory are asked for", (4 * WORK) >> 20);
    }
    let size = format!("{}M", (2 * WORK) >> 20);
    let device = run(&["zramctl", "--find", "--size", &size]).context("no swap in compressed memory")?;
    let made = ground.janitor.promise(Undo::run(&["zramctl", "--reset", &device]))?;
    run(&["mkswap", "--quiet", &device]).or_else(|_| run(&["mkswap", &device]))?;
    let swap = ground.janitor.promise(Undo::run(&["swapoff", &device]))?;
    if let Err(error) = run(&["swapon", &device]) {
        swap.forget();
        return Err(error);
    }
    let group = Group::new("memory", "swap", &ground.janitor)?;
    group.limit_memory(HELD)?;
    let bytes = format!("{}m", WORK >> 20);
    let what = ["--vm", "1", "--vm-bytes", &bytes, "--vm-keep"];
    let process = super::process::stress_ng(ground, &what, seconds, Some(&group))?;
    // Dropped in this order: the process, the promises (swap off before its device goes), the group.
    Ok(Running::process(process).and(swap).and(made).within(group))
}

/// `MemAvailable` in bytes; nothing when it cannot be told.
fn available() -> u64 {
    let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let field = text.lines().find_map(|l| l.strip_prefix("MemAvailable:"));
    field.and_then(|f| f.trim().trim_end_matches(" kB").parse::<u64>().ok()).unwrap_or(0) * 1024
}
