//! Writes. All in a folder of the bench's own small file system.

use std::fs::File;
use std::io::Write as _;
use std::path::Path;

use anyhow::{Context as _, Result};

use super::Limit;

const MB: usize = 1 << 20;
const BLOCK: usize = 4096;
/// Blocks of the file that is written again and again.
const BLOCKS: u64 = 1024;
/// Most that a filling file takes in MB: it is meant for a small file system.
const FILL_MAX: u64 = 1024;

/// Writes a file until there is no room.
///
/// # Errors
/// When the file cannot be made.
pub fn fill(limit: &Limit, folder: &Path, mb_per_s: u64) -> Result<()> {
    let path = folder.join("filling");
    let mut file = File::create(&path).with_context(|| format!("cannot make {}", path.display()))?;
    let block = vec![7_u8; MB];
    limit.at_rate(mb_per_s, FILL_MAX, |_| file.write_all(&block).is_ok());
    limit.hold();
    Ok(())
}

/// Makes empty files until there is no inode, at most 100,000.
///
/// # Errors
/// Never; the type is that of its siblings.
pub fn inodes(limit: &Limit, folder: &Path, per_s: u64) -> Result<()> {
    limit.at_rate(per_s, 100_000, |n| File::create(folder.join(n.to_string())).is_ok());
    limit.hold();
    Ok(())
}

/// Writes blocks of one file, each forced to disk.
///
/// # Errors
/// When the file cannot be made or written.
pub fn fsync(limit: &Limit, folder: &Path) -> Result<()> {
    use std::os::unix::fs::FileExt as _;
    let path = folder.join("journal");
    let file = File::create(&path).with_context(|| format!("cannot make {}", path.display()))?;
    let block = vec![7_u8; BLOCK];
    let mut written = 0;
    while limit.goes_on() {
        let at = written % BLOCKS * BLOCK as u64;
        file.write_all_at(&block, at).and_then(|()| file.sync_data()).context("cannot write")?;
        written += 1;
    }
    Ok(())
}
