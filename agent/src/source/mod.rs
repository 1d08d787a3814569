//! Where samples come from: one file per family, each in three steps.
//!
//! *read* touches the machine and nothing else (`pread` on a held file into a fixed buffer, [`ProcFile`]); *parse* turns
//! text into numbers and is a pure function; *compute* turns numbers into series values ([`Rate`] for counters). Every
//! source takes the root it reads below, so that recorded trees test it.
//!
//! A source registers its series in the [`SeriesTable`] when it first sees them and then writes values into its slots
//! without allocating. What the machine does not offer is [`Sampled::Absent`], with the reason in words; it is not an error.

pub mod cgroup;
pub mod cpu;
pub mod disk;
mod edits;
pub mod feed;
pub mod files;
pub mod filesystem;
mod frame;
pub mod hardware;
mod keyed;
pub mod link;
pub mod load;
pub mod logs;
pub mod memory;
pub mod network;
pub mod open_files;
pub mod pressure;
pub mod probe;
mod proc_file;
pub mod processes;
pub mod protocol;
mod rate;
pub mod registry;
pub mod scrape;
pub mod services;
pub mod sockets;
pub mod statsd;
mod table;
pub mod task;
pub mod vm;

pub use edits::Edits;
pub use frame::Frame;
pub use proc_file::ProcFile;
pub use rate::{Rate, Width};
pub use table::{Dictionary, Entry, SeriesTable, Slot};

use std::path::{Path, PathBuf};

use crate::clock::Tick;

/// Where a machine's files are: `/` on a live one, a recorded tree in tests.
#[derive(Debug, Clone)]
pub struct Root(PathBuf);

impl Root {
    /// The machine below `path`.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self(path.into())
    }

    /// This machine.
    #[must_use]
    pub fn live() -> Self {
        Self::new("/")
    }

    /// A path below the root; `relative` is written without a leading slash (`proc/stat`).
    #[must_use]
    pub fn join(&self, relative: impl AsRef<Path>) -> PathBuf {
        self.0.join(relative)
    }

    /// Whether this is the live machine: system calls that take no path only make sense there.
    #[must_use]
    pub fn is_live(&self) -> bool {
        self.0 == Path::new("/")
    }
}

/// What a sample of one source gave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sampled {
    /// Values were written.
    Data,
    /// This machine does not have it; the reason is for people.
    Absent(String),
}

/// Why a source could not sample.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// A file that was there cannot be read.
    #[error("cannot read {path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// A file has another form than the kernel's.
    #[error("{path}:{line}: expected {expected}, found {found:?}")]
    Parse {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What should be there.
        expected: &'static str,
        /// What is there, cut.
        found: String,
    },
    /// Something else, in words that say what to do.
    #[error("{0}")]
    Other(String),
}

/// What a parser says; the source adds the path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParseError {
    /// The line, from 1.
    pub line: usize,
    /// What should be there.
    pub expected: &'static str,
    /// What is there, cut to 60 characters.
    pub found: String,
}

impl ParseError {
    /// An error at `line`.
    #[must_use]
    pub fn new(line: usize, expected: &'static str, found: &[u8]) -> Self {
        Self { line, expected, found: String::from_utf8_lossy(found).chars().take(60).collect() }
    }

    /// The same with its file.
    #[must_use]
    pub fn at(self, path: &Path) -> SourceError {
        SourceError::Parse { path: path.to_owned(), line: self.line, expected: self.expected, found: self.found }
    }
}

/// What a source is given in each sample.
#[derive(Debug)]
pub struct Sample<'a> {
    /// When.
    pub at: Tick,
    /// The table to register new series in; slots are kept by the source.
    pub table: &'a mut SeriesTable,
    /// The values of this tick, one a slot; NaN where nothing is written.
    pub values: &'a mut [f32],
}

impl Sample<'_> {
    /// Writes a value. A slot that was refused (the table was full) is ignored.
    pub fn set(&mut self, slot: Slot, value: f32) {
        if let Some(place) = self.values.get_mut(slot.index()) {
            *place = value;
        }
    }
}

/// One family of series.
pub trait Source: Send {
    /// The name in configuration, reports and errors.
    fn name(&self) -> &'static str;

    /// Sample every so many ticks; 1 unless reading is dear and the values slow.
    fn every(&self) -> u32 {
        1
    }

    /// Reads the machine and writes values. In steady state (no new series) it allocates nothing.
    ///
    /// # Errors
    /// When something that should be there cannot be read or understood. The caller counts it and says it once.
    fn sample(&mut self, out: &mut Sample<'_>) -> Result<Sampled, SourceError>;
}
