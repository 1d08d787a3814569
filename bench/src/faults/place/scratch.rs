//! A small file system of its own, in a file: what fills it or storms it never fills the machine's.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, Result, bail};

use crate::faults::undo::{Janitor, Promise, Undo, run};

/// Size in bytes.
const SIZE: u64 = 384 << 20;
/// Inodes; few, so that they can run out.
const INODES: &str = "8192";
/// The machine's file system must have so many times the size to spare.
const ROOM: u64 = 4;

/// A mounted file system.
#[derive(Debug)]
pub struct Scratch {
    /// Where.
    pub mount: PathBuf,
    _mounted: Promise,
}

impl Scratch {
    /// Makes an ext4 in a file of `folder` and mounts it there.
    ///
    /// # Errors
    /// Without room, root or mkfs.
    pub fn new(folder: &Path, janitor: &Arc<Janitor>) -> Result<Self> {
        let free = rustix::fs::statvfs(folder).map(|s| s.f_bavail.saturating_mul(s.f_frsize)).unwrap_or(0);
        if free < ROOM * SIZE {
            bail!("{} has {} MB free, {} are asked for", folder.display(), free >> 20, (ROOM * SIZE) >> 20);
        }
        let (image, mount) = (folder.join("scratch.img"), folder.join("scratch"));
        let file = File::create(&image).with_context(|| format!("cannot make {}", image.display()))?;
        rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), 0, SIZE).context("no room for the file")?;
        drop(file);
        let (image, path) = (image.to_string_lossy().into_owned(), mount.to_string_lossy().into_owned());
        run(&[
            "mkfs.ext4",
            "-q",
            "-F",
            "-m",
            "0",
            "-N",
            INODES,
            "-E",
            // What is given back to the machine would be taken again by the first fault that writes, and be seen there.
            "nodiscard,lazy_itable_init=0,lazy_journal_init=0",
            &image,
        ])?;
        std::fs::create_dir(&mount).context("cannot make the mount point")?;
        let mounted = janitor.promise(Undo::run(&["umount", "--lazy", &path]))?;
        if let Err(error) = run(&["mount", "-o", "loop,noatime", &image, &path]) {
            mounted.forget();
            return Err(error);
        }
        Ok(Self { mount, _mounted: mounted })
    }

    /// A new folder in it for one fault, cleared when the promise ends.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn folder(&self, name: &str, janitor: &Arc<Janitor>) -> Result<(PathBuf, Promise)> {
        let path = self.mount.join(name);
        let promise = janitor.promise(Undo::Clear(path.clone()))?;
        std::fs::create_dir_all(&path).with_context(|| format!("cannot make {}", path.display()))?;
        Ok((path, promise))
    }
}
