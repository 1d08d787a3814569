//! New lines of a log that grows, is rotated and is truncated.

use std::fs::{self, File};
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

/// Most bytes taken in one look; what is beyond is passed over.
const AT_ONCE: u64 = 256 * 1024;

/// A log and how far it was read.
#[derive(Debug)]
pub struct Tail {
    path: PathBuf,
    inode: u64,
    read: u64,
}

impl Tail {
    /// Begins at the end of what is there; a file that does not exist yet will be read from its beginning.
    #[must_use]
    pub fn at_end(path: PathBuf) -> Self {
        let (inode, read) = fs::metadata(&path).map_or((0, 0), |m| (m.ino(), m.len()));
        Self { path, inode, read }
    }

    /// The file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The whole lines since the last look; empty when there are none or the file cannot be read now.
    pub fn new_text(&mut self) -> String {
        let Ok(now) = fs::metadata(&self.path) else { return String::new() };
        if now.ino() != self.inode || now.len() < self.read {
            // Rotated or truncated: all of it is new.
            (self.inode, self.read) = (now.ino(), 0);
        }
        if now.len() == self.read {
            return String::new();
        }
        let from = self.read.max(now.len().saturating_sub(AT_ONCE));
        let mut bytes = vec![0; usize::try_from(now.len() - from).unwrap_or(0)];
        let Ok(read) = File::open(&self.path).and_then(|file| file.read_at(&mut bytes, from)) else {
            return String::new();
        };
        bytes.truncate(read);
        // The rest of a line that is being written comes with the next look.
        let whole = bytes.iter().rposition(|b| *b == b'\n').map_or(0, |end| end + 1);
        self.read = from + whole as u64;
        String::from_utf8_lossy(&bytes[..whole]).into_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;

    #[test]
    fn growth_rotation_and_half_lines() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("log");
        fs::write(&path, "old\n").expect("written");
        let mut tail = Tail::at_end(path.clone());
        assert_eq!(tail.new_text(), "");
        let mut file = File::options().append(true).open(&path).expect("it is there");
        file.write_all(b"one\ntw").expect("written");
        assert_eq!(tail.new_text(), "one\n");
        file.write_all(b"o\n").expect("written");
        assert_eq!(tail.new_text(), "two\n");
        fs::rename(&path, folder.path().join("log.1")).expect("rotated");
        assert_eq!(tail.new_text(), "");
        fs::write(&path, "three\n").expect("written");
        assert_eq!(tail.new_text(), "three\n");
        fs::write(&path, "x\n").expect("truncated");
        assert_eq!(tail.new_text(), "x\n");
    }

    #[test]
    fn a_log_that_comes_later_is_read_from_its_beginning_and_not_beyond_the_bound() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("log");
        let mut tail = Tail::at_end(path.clone());
        fs::write(&path, "first\n".repeat(100_000)).expect("written");
        assert_eq!(tail.new_text().len() as u64 / 6, AT_ONCE / 6, "the newest part of it");
        assert_eq!(tail.new_text(), "");
    }
}
