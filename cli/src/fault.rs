//! The fault that `tacit up --try` injects: all cores busy and some memory held, in a process of its own, for a while.
//!
//! Bounded: it takes at most a fifth of the available memory, 2 GiB at most, and ends by itself; it dies with its
//! parent. Reversible: nothing outside its own process is touched.

use std::hint::black_box;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

/// Most memory the fault takes.
const MEMORY_MAX: u64 = 2 << 30;

/// Starts the fault beside this process.
///
/// # Errors
/// When the process cannot be started.
pub fn start(seconds: u64) -> Result<Child> {
    let memory = (available_memory() / 5).min(MEMORY_MAX);
    let own = std::env::current_exe().context("cannot find this program's own path")?;
    Command::new(own)
        .args(["try-fault", "--seconds", &seconds.to_string(), "--memory", &memory.to_string()])
        .stdin(Stdio::null())
        .spawn()
        .context("cannot start the fault's process")
}

/// `MemAvailable`, or nothing when it cannot be told: then no memory is taken.
fn available_memory() -> u64 {
    let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let field = text.lines().find_map(|l| l.strip_prefix("MemAvailable:"));
    field.and_then(|f| f.trim().trim_end_matches(" kB").parse::<u64>().ok()).unwrap_or(0) * 1024
}

/// The fault itself: returns when its time is over, or its parent is gone.
pub fn run(seconds: u64, memory: u64) {
    let parent = rustix::process::getppid();
    let end = Instant::now() + Duration::from_secs(seconds);
    let go_on = move || Instant::now() < end && rustix::process::getppid() == parent;
    let threads: Vec<_> = (0..std::thread::available_parallelism().map_or(1, usize::from))
        .map(|_| {
            std::thread::spawn(move || {
                while go_on() {
                    (0..200_000_u64).fold(0_u64, |a, b| black_box(a.wrapping_mul(31).wrapping_add(b)));
                }
            })
        })
        .collect();
    let mut held: Vec<Vec<u8>> = Vec::new();
    const STEP: usize = 16 << 20;
    while go_on() {
        if (held.len() + 1) * STEP <= usize::try_from(memory).unwrap_or(0) {
            // Every page is written, or the kernel would not give it.
            held.push(vec![1; STEP]);
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    black_box(&held);
    for thread in threads {
        // A burning thread cannot panic; if it did, the fault is over all the same.
        let _ = thread.join();
    }
}
