//! File systems: space, inodes, read-only.
//!
//! `statvfs` of a dead network mount hangs for ever, so it never runs on the sampling thread: a watcher thread asks one
//! mount after the other through a worker, and a worker that does not come back is left to its mount while a new one goes
//! on with the rest ([`watch`]). Which mounts there are comes from `/proc/self/mountinfo`, and which of them are read-only for
//! everybody from `/proc/1/mountinfo` ([`mounts`]).

mod mounts;
mod watch;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tacit_wire::semconv as sc;

use super::feed::Feed;
use super::{Root, Sample, Sampled, Slot, Source, SourceError};

pub use watch::{Space, StatFs, Statvfs};

/// One file system as last seen.
#[derive(Debug, Clone, PartialEq)]
pub struct MountUsage {
    /// Where it is mounted.
    pub mount: Arc<str>,
    /// Kind (`ext4`).
    pub kind: Arc<str>,
    /// Whether it is mounted read-only.
    pub read_only: bool,
    /// Its space; `None` while it does not answer.
    pub space: Option<Space>,
}

/// The newest state of all file systems, shared with rules and reports.
#[derive(Debug, Clone, Default)]
pub struct FileSystems(Arc<Mutex<Arc<Snapshot>>>);

/// One round over all mounts.
#[derive(Debug, Default, PartialEq)]
pub struct Snapshot {
    /// Rises with each round.
    pub round: u64,
    /// The mounts.
    pub mounts: Vec<MountUsage>,
    /// What went wrong, in words.
    pub error: Option<String>,
}

impl FileSystems {
    /// The newest round.
    #[must_use]
    pub fn newest(&self) -> Arc<Snapshot> {
        Arc::clone(&self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn publish(&self, snapshot: Snapshot) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(snapshot);
    }
}

/// The source of family `filesystem`: copies the newest round into the frame.
#[derive(Debug)]
pub struct FileSystem {
    newest: FileSystems,
    places: Vec<Place>,
    /// `None` when the system gave it no thread; `newest` says so.
    watcher: Option<Arc<Feed<()>>>,
}

#[derive(Debug)]
struct Place {
    mount: Arc<str>,
    used: Slot,
    free: Slot,
    share: Slot,
    /// `None` where inodes are not counted.
    inodes: Option<Slot>,
    read_only: Slot,
}

impl FileSystem {
    /// Watches the mounts below `root`, without those whose mount point begins with one of `ignore`.
    #[must_use]
    pub fn new(root: &Root, ignore: &[String], stat: Arc<dyn StatFs>) -> Self {
        let newest = FileSystems::default();
        let watcher = watch::start(root, ignore.to_vec(), stat, newest.clone());
        Self { newest, places: Vec::new(), watcher: watcher.map(Arc::new) }
    }

    /// The shared newest state.
    #[must_use]
    pub fn shared(&self) -> FileSystems {
        self.newest.clone()
    }

    /// Each call has all mounts asked now, and waits at most so long for it.
    pub fn refresher(&self) -> impl Fn(Duration) + Send + 'static + use<> {
        let watcher = self.watcher.clone();
        move |limit| watcher.iter().for_each(|watcher| watcher.refresh(limit))
    }

    /// Retires mounts that are gone and registers new ones.
    fn follow(&mut self, mounts: &[MountUsage], out: &mut Sample<'_>) {
        self.places.retain(|place| {
            let stays = mounts.iter().any(|m| m.mount == place.mount);
            if !stays {
                for slot in [place.used, place.free, place.share, place.read_only].into_iter().chain(place.inodes) {
                    out.table.retire(slot);
                }
            }
            stays
        });
        for m in mounts {
            if self.places.iter().any(|p| p.mount == m.mount) {
                continue;
            }
            let mount = ("system.filesystem.mountpoint", &*m.mount);
            let state = |s| [mount, ("system.filesystem.state", s)];
            self.places.push(Place {
                mount: Arc::clone(&m.mount),
                used: out.table.register(&sc::FS_USAGE, &state("used")),
                free: out.table.register(&sc::FS_USAGE, &state("free")),
                share: out.table.register(&sc::FS_UTILIZATION, &[mount]),
                inodes: None,
                read_only: out.table.register(&sc::FS_READ_ONLY, &[mount]),
            });
        }
    }
}

impl Source for FileSystem {
    fn name(&self) -> &'static str {
        "filesystem"
    }

    fn sample(&mut self, out: &mut Sample<'_>) -> Result<Sampled, SourceError> {
        let newest = self.newest.newest();
        if let Some(error) = &newest.error {
            return Err(SourceError::Other(error.clone()));
        }
        if newest.mounts.len() != self.places.len()
            || newest.mounts.iter().zip(&self.places).any(|(m, p)| m.mount != p.mount)
        {
            self.follow(&newest.mounts, out);
        }
        if newest.round > 0 && newest.mounts.is_empty() {
            return Ok(Sampled::Absent("no mounted file system with a device of its own".into()));
        }
        for mount in &newest.mounts {
            let Some(place) = self.places.iter_mut().find(|p| p.mount == mount.mount) else { continue };
            out.set(place.read_only, if mount.read_only { 1.0 } else { 0.0 });
            if let Some(space) = mount.space {
                out.set(place.used, space.used as f32);
                out.set(place.free, space.free as f32);
                out.set(place.share, space.utilization());
                if let Some(inodes) = space.inodes {
                    let slot = *place.inodes.get_or_insert_with(|| {
                        out.table.register(&sc::FS_INODES, &[("system.filesystem.mountpoint", &*mount.mount)])
                    });
                    out.set(slot, inodes);
                }
            }
        }
        Ok(Sampled::Data)
    }
}
