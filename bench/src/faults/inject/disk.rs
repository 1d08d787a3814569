//! Faults of disks and file systems, all on a small file system of our own.

use anyhow::Result;

use super::Running;
use super::process::{helper, stress_ng};
use crate::faults::ground::Ground;

/// Large sequential writes.
///
/// # Errors
/// Without stress-ng or the file system.
pub fn storm(ground: &Ground, seconds: u64) -> Result<Running> {
    let (folder, cleared) = ground.scratch()?.folder("storm", &ground.janitor)?;
    let path = folder.to_string_lossy();
    let what = ["--hdd", "2", "--hdd-bytes", "96m", "--hdd-opts", "wr-seq,fdatasync", "--temp-path", &path];
    Ok(Running::process(stress_ng(ground, &what, seconds, None)?).and(cleared))
}

/// Small writes, each forced to disk.
///
/// # Errors
/// Without the file system.
pub fn fsync(ground: &Ground, seconds: u64) -> Result<Running> {
    in_folder(ground, "fault-fsync", &["fsync"], seconds)
}

/// The file system fills.
///
/// # Errors
/// Without the file system.
pub fn fill(ground: &Ground, seconds: u64) -> Result<Running> {
    in_folder(ground, "fault-fill", &["fill", "--mb-per-s", "8"], seconds)
}

/// The inodes run out.
///
/// # Errors
/// Without the file system.
pub fn inodes(ground: &Ground, seconds: u64) -> Result<Running> {
    in_folder(ground, "fault-inodes", &["inodes", "--per-s", "200"], seconds)
}

fn in_folder(ground: &Ground, name: &str, arguments: &[&str], seconds: u64) -> Result<Running> {
    let (folder, cleared) = ground.scratch()?.folder(name, &ground.janitor)?;
    let path = folder.to_string_lossy();
    Ok(helper(ground, name, &[arguments, &["--folder", &path]].concat(), seconds)?.and(cleared))
}
