//! Maintenance marks: while one stands, somebody works on this machine. Nothing is learned then and no model raises an alarm; rules
//! go on. A mark is a small file, so that it outlives a restart and needs no network:
//!
//! ```json
//! {"until_ms":1790000000000,"reason":"new kernel"}
//! ```

use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use tacit_wire::limits::{MAINTENANCE_S, REASON};

use crate::detect::words::clock;
use crate::replace::replace;

/// More than any mark has.
const LARGEST: u64 = 16 * 1024;

/// A mark.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// When it ends by itself, Unix milliseconds.
    pub until_ms: i64,
    /// Why, in words; may be empty.
    #[serde(default)]
    pub reason: String,
}

impl Mark {
    /// For so many seconds from now on, at most [`MAINTENANCE_S`]; a reason that is too long is cut.
    #[must_use]
    pub fn new(now_ms: i64, seconds: u32, reason: &str) -> Self {
        let ms = i64::from(seconds.min(MAINTENANCE_S)) * 1000;
        let reason = reason.trim();
        Self { until_ms: now_ms + ms, reason: reason[..reason.floor_char_boundary(REASON)].to_owned() }
    }

    /// In words: `in maintenance until Sat 14:00:00 UTC (new kernel)`.
    #[must_use]
    pub fn words(&self) -> String {
        // The first day of Unix time was a Thursday; a mark lasts no longer than a week.
        let days = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
        let day = days[self.until_ms.div_euclid(86_400_000).rem_euclid(7) as usize];
        let until = format!("{day} {}", clock(self.until_ms));
        match self.reason.as_str() {
            "" => format!("in maintenance until {until}"),
            reason => format!("in maintenance until {until} ({reason})"),
        }
    }
}

/// Where the mark is kept.
#[derive(Debug, Clone)]
pub struct MarkFile(PathBuf);

impl MarkFile {
    /// The mark of the agent whose state is in `folder`.
    #[must_use]
    pub fn new(folder: &Path) -> Self {
        Self(folder.join("maintenance.json"))
    }

    /// The mark that stands now. One that cannot be read does not stand: a node must not fall silent by accident.
    #[must_use]
    pub fn read(&self, now_ms: i64) -> Option<Mark> {
        let length = std::fs::metadata(&self.0).ok()?.len();
        let text = (length <= LARGEST).then(|| std::fs::read(&self.0).ok()).flatten()?;
        let mark: Mark = serde_json::from_slice(&text).ok()?;
        let longest = i64::from(MAINTENANCE_S) * 1000;
        (now_ms..=now_ms.saturating_add(longest)).contains(&mark.until_ms).then_some(mark)
    }

    /// Makes a mark, in the place of one that stands.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn set(&self, mark: &Mark) -> io::Result<()> {
        replace(&self.0, &[&serde_json::to_vec(mark)?])
    }

    /// Ends the mark, if one stands.
    ///
    /// # Errors
    /// When it cannot be removed.
    pub fn end(&self) -> io::Result<()> {
        match std::fs::remove_file(&self.0) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_ends_by_itself() {
        let folder = tempfile::tempdir().unwrap();
        let file = MarkFile::new(folder.path());
        assert_eq!(file.read(1000), None);
        file.end().unwrap();
        file.set(&Mark::new(1000, 60, " new kernel ")).unwrap();
        let mark = file.read(61_000).unwrap();
        assert_eq!(mark.words(), "in maintenance until Thu 00:01:01 UTC (new kernel)");
        assert_eq!(file.read(61_001), None);
        file.end().unwrap();
        assert_eq!(file.read(1000), None);
    }

    #[test]
    fn neither_garbage_nor_a_far_end_silences_a_node() {
        let folder = tempfile::tempdir().unwrap();
        let file = MarkFile::new(folder.path());
        let path = folder.path().join("maintenance.json");
        for text in ["", "{", "{\"until_ms\":9223372036854775807}", "{\"until_ms\":\"soon\"}", "[1]"] {
            std::fs::write(&path, text).unwrap();
            assert_eq!(file.read(1000), None, "{text}");
        }
        std::fs::write(&path, vec![b' '; 1 << 20]).unwrap();
        assert_eq!(file.read(1000), None);
        assert_eq!(Mark::new(0, u32::MAX, "é".repeat(1000).as_str()).reason.len(), 200);
    }
}
