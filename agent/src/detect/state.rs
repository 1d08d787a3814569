//! What was learned, on disk: one file, written whole and swapped in, so that a power cut leaves the old or the new one.
//!
//! ```text
//! "TACIT-STATE-2\n"  crc32 of the rest (u32 LE)  length of the notes (u32 LE)  notes (JSON)  detector (its own form)
//! ```
//!
//! A file that is damaged or of another version is moved aside, and learning begins anew.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use tacit_wire::BootId;
use tracing::warn;

use super::promise::Raised;
use crate::replace::replace;

const MAGIC: &[u8] = b"TACIT-STATE-2\n";
/// More than any state has.
const LARGEST: u64 = 16 << 20;

/// What is kept beside the detector's own state.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Notes {
    /// The boot in which it was written.
    pub boot: BootId,
    /// Events raised.
    pub raised: Raised,
}

/// The file.
#[derive(Debug)]
pub struct StateFile(PathBuf);

impl StateFile {
    /// The file in `folder`.
    #[must_use]
    pub fn new(folder: &Path) -> Self {
        Self(folder.join("detector.state"))
    }

    /// Reads notes and detector state; `None` when there is none or it cannot be used.
    #[must_use]
    pub fn load(&self) -> Option<(Notes, Vec<u8>)> {
        match read(&self.0) {
            Ok(bytes) => match parse(&bytes) {
                Some(state) => Some(state),
                None => {
                    self.set_aside("it is damaged");
                    None
                }
            },
            Err(e) if e.kind() == io::ErrorKind::NotFound => None,
            Err(e) => {
                warn!(file = %self.0.display(), error = %e, "Cannot read what was learned; learning begins anew.");
                None
            }
        }
    }

    /// Moves a file that cannot be used out of the way.
    pub fn set_aside(&self, why: &str) {
        let aside = self.0.with_extension("corrupt");
        warn!(file = %self.0.display(), aside = %aside.display(), why, "What was learned cannot be used; learning begins anew.");
        if let Err(e) = fs::rename(&self.0, &aside) {
            warn!(error = %e, "Cannot move it aside.");
        }
    }

    /// Writes it all and swaps it in.
    ///
    /// # Errors
    /// When the file cannot be written; the old one stays.
    pub fn save(&self, notes: &Notes, detector: &[u8]) -> io::Result<()> {
        let notes = serde_json::to_vec(notes)?;
        let length = u32::try_from(notes.len()).map_err(io::Error::other)?;
        let rest = [&length.to_le_bytes()[..], &notes, detector].concat();
        replace(&self.0, &[MAGIC, &crc32fast::hash(&rest).to_le_bytes(), &rest])
    }
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    let size = fs::metadata(path)?.len();
    if size > LARGEST {
        // Empty is damaged: it is set aside.
        return Ok(Vec::new());
    }
    fs::read(path)
}

fn parse(bytes: &[u8]) -> Option<(Notes, Vec<u8>)> {
    let (crc, rest) = bytes.strip_prefix(MAGIC)?.split_first_chunk::<4>()?;
    if crc32fast::hash(rest) != u32::from_le_bytes(*crc) {
        return None;
    }
    let (length, rest) = rest.split_first_chunk::<4>()?;
    let (notes, detector) = rest.split_at_checked(u32::from_le_bytes(*length) as usize)?;
    Some((serde_json::from_slice(notes).ok()?, detector.to_vec()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn reads_back_and_refuses_every_damage() {
        let folder = tempfile::tempdir().unwrap();
        let file = StateFile::new(folder.path());
        assert!(file.load().is_none());
        let notes = Notes { boot: BootId([7; 16]), raised: Raised::default() };
        file.save(&notes, b"detector").unwrap();
        assert_eq!(file.load(), Some((notes.clone(), b"detector".to_vec())));

        let good = fs::read(&file.0).unwrap();
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 1;
            fs::write(&file.0, &bad).unwrap();
            assert!(file.load().is_none(), "a flipped bit at {at}");
            assert!(!file.0.exists() && file.0.with_extension("corrupt").exists());
            fs::write(&file.0, &good[..at]).unwrap();
            assert!(file.load().is_none(), "cut at {at}");
        }
        file.save(&notes, b"again").unwrap();
        assert!(file.load().is_some());
    }

    proptest! {
        /// Law: no bytes make reading panic.
        #[test]
        fn arbitrary_bytes_are_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(parse(&bytes).is_none());
        }
    }
}
