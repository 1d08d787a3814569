//! Small files of the state folder are written whole and swapped in: a power cut leaves the old one or the new one.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::Path;

use crate::watch::on_disk;

/// Replaces a file by these parts, one after the other.
///
/// # Errors
/// When it cannot be written; the old file stays.
pub fn replace(path: &Path, parts: &[&[u8]]) -> io::Result<()> {
    let _wait = on_disk();
    let fresh = path.with_extension("new");
    let mut file = File::create(&fresh)?;
    for part in parts {
        file.write_all(part)?;
    }
    file.sync_data()?;
    fs::rename(&fresh, path)?;
    // The swap itself must be on disk too.
    File::open(path.parent().unwrap_or(Path::new(".")))?.sync_all()
}
