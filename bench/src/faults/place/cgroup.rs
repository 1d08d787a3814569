//! Control groups of our own, version 1 or 2, whichever has the controller.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, Result, bail};

use crate::faults::undo::{Janitor, Promise, Undo};

const ROOT: &str = "/sys/fs/cgroup";
/// Length of a period of the processor limit, microseconds.
const PERIOD_US: u64 = 100_000;

/// A group with one controller.
#[derive(Debug)]
pub struct Group {
    path: PathBuf,
    unified: bool,
    janitor: Arc<Janitor>,
    _made: Promise,
}

impl Group {
    /// Makes one with the controller `cpu` or `memory`.
    ///
    /// # Errors
    /// When this machine has no such controller, or does not let us.
    pub fn new(controller: &str, name: &str, janitor: &Arc<Janitor>) -> Result<Self> {
        let (base, unified) = hierarchy(Path::new(ROOT), controller)?;
        if unified {
            let file = base.join("cgroup.subtree_control");
            std::fs::write(&file, format!("+{controller}"))
                .with_context(|| format!("cannot turn on the {controller} controller in {}", file.display()))?;
        }
        let path = base.join(format!("tacit-faults-{}-{name}", std::process::id()));
        let made = janitor.promise(Undo::RemoveFolder(path.clone()))?;
        if let Err(e) = std::fs::create_dir(&path) {
            made.forget();
            return Err(e).with_context(|| format!("cannot make the control group {}", path.display()));
        }
        Ok(Self { path, unified, janitor: Arc::clone(janitor), _made: made })
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Limits its processor time to `share` of one core until the promise ends.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn limit_cpu(&self, share: f64) -> Result<Promise> {
        let quota = (share * PERIOD_US as f64) as u64;
        if self.unified {
            return self.write("cpu.max", &format!("{quota} {PERIOD_US}"), &format!("max {PERIOD_US}"));
        }
        self.write("cpu.cfs_quota_us", &quota.to_string(), "-1")
    }

    /// Limits its memory for good.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn limit_memory(&self, bytes: u64) -> Result<()> {
        let file = self.path.join(if self.unified { "memory.max" } else { "memory.limit_in_bytes" });
        std::fs::write(&file, bytes.to_string()).with_context(|| format!("cannot write {}", file.display()))
    }

    fn write(&self, file: &str, now: &str, afterwards: &str) -> Result<Promise> {
        let path = self.path.join(file);
        let promise = self.janitor.promise(Undo::Write { path: path.clone(), text: afterwards.to_owned() })?;
        std::fs::write(&path, now).with_context(|| format!("cannot write {}", path.display()))?;
        Ok(promise)
    }
}

/// Where the controller's hierarchy is, and whether it is version 2.
fn hierarchy(root: &Path, controller: &str) -> Result<(PathBuf, bool)> {
    let old = root.join(controller);
    if old.join("cgroup.procs").exists() {
        return Ok((old, false));
    }
    let list = std::fs::read_to_string(root.join("cgroup.controllers")).unwrap_or_default();
    if list.split_ascii_whitespace().any(|c| c == controller) {
        return Ok((root.to_owned(), true));
    }
    bail!("no {controller} controller below {}", root.display())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_versions_are_found() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        assert!(hierarchy(root, "cpu").is_err());
        std::fs::write(root.join("cgroup.controllers"), "cpuset cpu io memory\n").unwrap();
        assert_eq!(hierarchy(root, "cpu").unwrap(), (root.to_owned(), true));
        std::fs::create_dir(root.join("memory")).unwrap();
        std::fs::write(root.join("memory/cgroup.procs"), "").unwrap();
        assert_eq!(hierarchy(root, "memory").unwrap(), (root.join("memory"), false));
    }
}
