//! A held file under `/proc` or `/sys`, read again and again with `pread` into a fixed buffer.
//!
//! Opening and closing costs about 6 µs a file and the read itself 1–8 µs, so files are held. A file whose thing went
//! away (a removed disk, a stopped unit) fails once with the system's reason and is opened anew at the next read.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::SourceError;

/// A held file and its buffer.
#[derive(Debug)]
pub struct ProcFile {
    path: PathBuf,
    file: Option<File>,
    buffer: Vec<u8>,
}

impl ProcFile {
    /// Holds `path`; it is opened at the first read. The buffer begins at `expected` bytes and grows, up to 1 MiB, when
    /// the file turns out longer: growth is the only time a read allocates.
    #[must_use]
    pub fn new(path: PathBuf, expected: usize) -> Self {
        Self { path, file: None, buffer: vec![0; expected.max(64)] }
    }

    /// The path, for errors.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether the file is there now.
    #[must_use]
    pub fn exists(&self) -> bool {
        self.file.is_some() || self.path.exists()
    }

    /// The whole content now.
    ///
    /// # Errors
    /// When the file cannot be opened or read; `NotFound` is among the reasons.
    pub fn read(&mut self) -> Result<&[u8], SourceError> {
        const LIMIT: usize = 1 << 20;
        let wrap = |source| SourceError::Read { path: self.path.clone(), source };
        let file = match &self.file {
            Some(file) => file,
            None => self.file.insert(File::open(&self.path).map_err(wrap)?),
        };
        let mut filled = 0;
        loop {
            match file.read_at(&mut self.buffer[filled..], filled as u64) {
                Ok(0) => return Ok(&self.buffer[..filled]),
                Ok(n) => {
                    filled += n;
                    if filled == self.buffer.len() {
                        if filled >= LIMIT {
                            return Ok(&self.buffer[..filled]);
                        }
                        self.buffer.resize((filled * 2).min(LIMIT), 0);
                    }
                }
                Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
                Err(e) => {
                    self.file = None;
                    return Err(SourceError::Read { path: self.path.clone(), source: e });
                }
            }
        }
    }
}

/// Whether an error says that the file is not there.
#[must_use]
pub fn is_missing(error: &SourceError) -> bool {
    matches!(error, SourceError::Read { source, .. } if source.kind() == std::io::ErrorKind::NotFound)
}
