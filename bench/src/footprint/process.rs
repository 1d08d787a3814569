//! What a process or a tree of processes costs, read from `/proc`.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// Memory of a process in bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Memory {
    /// Proportional set size.
    pub pss: u64,
    /// Anonymous.
    pub anonymous: u64,
    /// Resident.
    pub resident: u64,
}

impl std::ops::Add for Memory {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self {
            pss: self.pss + other.pss,
            anonymous: self.anonymous + other.anonymous,
            resident: self.resident + other.resident,
        }
    }
}

/// Memory of one process; zeros when it is gone.
pub fn memory(pid: u32) -> Memory {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
    let field = |name: &str| kib(&text, name) * 1024;
    Memory { pss: field("Pss:"), anonymous: field("Anonymous:"), resident: field("Rss:") }
}

/// Largest resident size so far, in bytes.
pub fn peak(pid: u32) -> u64 {
    kib(&fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default(), "VmHWM:") * 1024
}

fn kib(text: &str, name: &str) -> u64 {
    text.lines()
        .find_map(|line| line.strip_prefix(name))
        .and_then(|rest| rest.split_ascii_whitespace().next())
        .and_then(|word| word.parse().ok())
        .unwrap_or(0)
}

/// CPU seconds of each live thread by name, from `schedstat` (nanoseconds). Threads of one name are summed.
pub fn threads(pid: u32) -> BTreeMap<String, f64> {
    let mut by_name = BTreeMap::new();
    let Ok(tasks) = fs::read_dir(format!("/proc/{pid}/task")) else { return by_name };
    for task in tasks.flatten() {
        let name = fs::read_to_string(task.path().join("comm")).unwrap_or_default().trim().to_owned();
        let ns: u64 = fs::read_to_string(task.path().join("schedstat"))
            .ok()
            .and_then(|s| s.split_ascii_whitespace().next().and_then(|w| w.parse().ok()))
            .unwrap_or(0);
        *by_name.entry(name).or_insert(0.0) += ns as f64 / 1e9;
    }
    by_name
}

/// CPU seconds of a process, ended threads and waited-for children included.
pub fn cpu_seconds(pid: u32) -> f64 {
    stat(pid).map_or(0.0, |s| s.cpu)
}

/// Bytes a process caused to be written to disk.
pub fn disk_writes(pid: u32) -> u64 {
    let text = fs::read_to_string(format!("/proc/{pid}/io")).unwrap_or_default();
    text.lines().find_map(|l| l.strip_prefix("write_bytes: ")).and_then(|v| v.trim().parse().ok()).unwrap_or(0)
}

/// The process and all below it.
pub fn tree(root: u32) -> Vec<u32> {
    let parents: Vec<(u32, u32)> = pids().into_iter().filter_map(|pid| Some((pid, stat(pid)?.parent))).collect();
    let mut tree = vec![root];
    let mut next = 0;
    while next < tree.len() {
        let parent = tree[next];
        tree.extend(parents.iter().filter(|(_, p)| *p == parent).map(|(pid, _)| *pid));
        next += 1;
    }
    tree
}

fn pids() -> Vec<u32> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    entries.flatten().filter_map(|e| e.file_name().to_str()?.parse().ok()).collect()
}

struct Stat {
    parent: u32,
    cpu: f64,
}

/// Fields 4 (parent) and 14 to 17 (user, system, and those of waited-for children, in ticks of 10 ms) of `/proc/PID/stat`.
fn stat(pid: u32) -> Option<Stat> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let fields: Vec<&str> = text.get(text.rfind(')')? + 2..)?.split_ascii_whitespace().collect();
    let ticks: u64 = fields.get(11..15)?.iter().filter_map(|f| f.parse::<u64>().ok()).sum();
    let per_second = rustix::param::clock_ticks_per_second() as f64;
    Some(Stat { parent: fields.get(1)?.parse().ok()?, cpu: ticks as f64 / per_second })
}

/// `glibc` or `musl static`, by whether the file asks for glibc's loader.
pub fn libc_of(binary: &Path) -> &'static str {
    let bytes = fs::read(binary).unwrap_or_default();
    let has = |needle: &[u8]| bytes.windows(needle.len()).any(|w| w == needle);
    if has(b"/ld-linux") { "glibc" } else { "musl static" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_costs_something() {
        let own = std::process::id();
        let memory = memory(own);
        assert!(memory.pss > 0 && memory.anonymous > 0 && peak(own) >= memory.anonymous);
        assert!(!threads(own).is_empty());
        assert!(tree(own).contains(&own));
        assert_eq!(libc_of(Path::new("/proc/self/exe")), "glibc");
    }
}
