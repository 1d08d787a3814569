//! The few calls the queue needs from a file system; tests put a faulty one behind them.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;

use crate::watch::on_disk;

/// A flat folder of files.
pub trait Disk: Send {
    /// Names of all files.
    ///
    /// # Errors
    /// When the folder cannot be read.
    fn list(&self) -> io::Result<Vec<String>>;
    /// The whole file.
    ///
    /// # Errors
    /// When it cannot be read.
    fn read(&self, name: &str) -> io::Result<Vec<u8>>;
    /// `len` bytes from `offset`.
    ///
    /// # Errors
    /// When they cannot be read.
    fn read_at(&self, name: &str, offset: u64, len: usize) -> io::Result<Vec<u8>>;
    /// Adds bytes at the end; makes the file when there is none. After an error any prefix may be there.
    ///
    /// # Errors
    /// When not everything was written.
    fn append(&mut self, name: &str, bytes: &[u8]) -> io::Result<()>;
    /// Returns when the file's content survives a power cut.
    ///
    /// # Errors
    /// When that cannot be promised.
    fn sync(&mut self, name: &str) -> io::Result<()>;
    /// Cuts the file.
    ///
    /// # Errors
    /// When it is as long as before.
    fn truncate(&mut self, name: &str, len: u64) -> io::Result<()>;
    /// Removes the file.
    ///
    /// # Errors
    /// When it is still there.
    fn remove(&mut self, name: &str) -> io::Result<()>;
}

/// A folder on the machine's disk. Whoever watches the calling thread knows that it waits for a disk meanwhile.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    created: Option<String>,
}

impl Folder {
    /// The folder, made when missing.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn open(path: impl Into<PathBuf>) -> io::Result<Self> {
        let path = path.into();
        fs::create_dir_all(&path)?;
        Ok(Self { path, created: None })
    }
}

impl Disk for Folder {
    fn list(&self) -> io::Result<Vec<String>> {
        let _wait = on_disk();
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.path)? {
            let entry = entry?;
            if entry.file_type()?.is_file()
                && let Ok(name) = entry.file_name().into_string()
            {
                names.push(name);
            }
        }
        Ok(names)
    }

    fn read(&self, name: &str) -> io::Result<Vec<u8>> {
        let _wait = on_disk();
        fs::read(self.path.join(name))
    }

    fn read_at(&self, name: &str, offset: u64, len: usize) -> io::Result<Vec<u8>> {
        let _wait = on_disk();
        let mut bytes = vec![0; len];
        File::open(self.path.join(name))?.read_exact_at(&mut bytes, offset)?;
        Ok(bytes)
    }

    fn append(&mut self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let _wait = on_disk();
        let path = self.path.join(name);
        if !path.exists() {
            self.created = Some(name.to_owned());
        }
        OpenOptions::new().create(true).append(true).open(path)?.write_all(bytes)
    }

    fn sync(&mut self, name: &str) -> io::Result<()> {
        let _wait = on_disk();
        File::open(self.path.join(name))?.sync_data()?;
        // A new file is only found after a power cut when its folder was synced too.
        if self.created.as_deref() == Some(name) {
            File::open(&self.path)?.sync_all()?;
            self.created = None;
        }
        Ok(())
    }

    fn truncate(&mut self, name: &str, len: u64) -> io::Result<()> {
        let _wait = on_disk();
        OpenOptions::new().write(true).open(self.path.join(name))?.set_len(len)
    }

    fn remove(&mut self, name: &str) -> io::Result<()> {
        let _wait = on_disk();
        fs::remove_file(self.path.join(name))
    }
}
