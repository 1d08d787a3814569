//! Control groups of version 2, named like units, so that owners are found as on a machine with systemd:
//! `tacit-map-PID.slice/HOST.slice/nginx.service`. Without controllers: they only name.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, Result, bail};

use crate::live::undo::{Janitor, Promise, Undo};

const ROOT: &str = "/sys/fs/cgroup";

/// The groups of a run. All processes in them end with it.
#[derive(Debug)]
pub struct Groups {
    top: PathBuf,
    _made: Promise,
}

impl Groups {
    /// Makes the group that holds all others.
    ///
    /// # Errors
    /// Without root or version 2.
    pub fn new(janitor: &Arc<Janitor>) -> Result<Self> {
        let base = hierarchy(Path::new(ROOT))?;
        let top = base.join(format!("tacit-map-{}.slice", std::process::id()));
        let made = janitor.promise(Undo::Groups(top.clone()))?;
        std::fs::create_dir(&top).with_context(|| format!("cannot make the control group {}", top.display()))?;
        Ok(Self { top, _made: made })
    }

    /// Makes the group of a unit of a host; of no unit when that is empty.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn make(&self, host: &str, unit: &str) -> Result<PathBuf> {
        let path = self.path(host, unit);
        std::fs::create_dir_all(&path).with_context(|| format!("cannot make the control group {}", path.display()))?;
        Ok(path)
    }

    /// The group of a unit of a host.
    pub fn path(&self, host: &str, unit: &str) -> PathBuf {
        self.top.join(format!("{host}.slice")).join(unit)
    }
}

/// Version 2 alone, or beside version 1.
fn hierarchy(root: &Path) -> Result<PathBuf> {
    let folders = [root.to_owned(), root.join("unified")];
    match folders.into_iter().find(|f| f.join("cgroup.controllers").exists()) {
        Some(folder) => Ok(folder),
        None => bail!("there are no control groups of version 2 below {}: owners would have no names", root.display()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn version_2_is_found_in_both_places() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        assert!(hierarchy(root).is_err());
        std::fs::create_dir(root.join("unified")).unwrap();
        std::fs::write(root.join("unified/cgroup.controllers"), "").unwrap();
        assert_eq!(hierarchy(root).unwrap(), root.join("unified"));
        std::fs::write(root.join("cgroup.controllers"), "cpu\n").unwrap();
        assert_eq!(hierarchy(root).unwrap(), root);
    }
}
