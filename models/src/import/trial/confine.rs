//! The limits a child gives itself before it looks at the model. They can only be lowered afterwards, never raised.

use std::fs;

use rustix::process::{Resource, Rlimit, Signal, setrlimit};

/// Limits address space to what is used now and `memory_bytes` more, processor time to `cpu_seconds`; no files are
/// written and no core is dumped; the kernel takes this process first when memory is short, and with its parent's end it
/// ends too. What the system refuses is left as it is: the parent's limit of real time stands in any case.
pub(super) fn confine(memory_bytes: u64, cpu_seconds: u64) -> std::io::Result<()> {
    let limit = |current: u64, maximum: u64| Rlimit { current: Some(current), maximum: Some(maximum) };
    // Both only make the child die earlier, so a refusal is no reason to stop.
    let _ = fs::write("/proc/self/oom_score_adj", "1000");
    let _ = rustix::process::set_parent_process_death_signal(Some(Signal::KILL));
    let _ = rustix::thread::set_no_new_privs(true);
    let address_space = status("VmSize:") + memory_bytes;
    setrlimit(Resource::As, limit(address_space, address_space))?;
    setrlimit(Resource::Cpu, limit(cpu_seconds, cpu_seconds + 1))?;
    setrlimit(Resource::Fsize, limit(0, 0))?;
    setrlimit(Resource::Core, limit(0, 0))?;
    Ok(())
}

/// Resident memory now, in bytes.
pub(super) fn resident() -> u64 {
    status("VmRSS:")
}

/// Greatest resident memory so far, in bytes.
pub(super) fn resident_peak() -> u64 {
    status("VmHWM:")
}

/// Lets [`resident_peak`] count anew.
pub(super) fn forget_peak() {
    // Where this is not allowed the peak includes the start, and reads too high: the safe side.
    let _ = fs::write("/proc/self/clear_refs", "5");
}

/// A line of `/proc/self/status` that is in kB, as bytes; 0 when it is not there.
fn status(name: &str) -> u64 {
    let text = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = text.lines().find_map(|l| l.strip_prefix(name));
    line.and_then(|l| l.trim().trim_end_matches(" kB").parse::<u64>().ok()).unwrap_or(0) * 1024
}
