//! Control groups of every host: each agent sees its own host's only, and no host has more processor time than is its own.
//!
//! | tree | what it is for |
//! |---|---|
//! | version 2 (`unified`, where version 1 has the controllers) | names of owners, pressure |
//! | `cpuacct`, `memory` of version 1 | processor time and memory of each unit |
//! | `cpu` of version 1; version 2 where it has that controller | how much a host may use |
//!
//! In the last one all processes of a host are together: a job takes time from the service beside it, as on a small machine.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, Result, bail};

use crate::live::undo::{Janitor, Promise, Undo};

const ROOT: &str = "/sys/fs/cgroup";
/// Length of a period of the processor limit, microseconds.
const PERIOD_US: u64 = 100_000;
/// The tree of version 2 where there is no other.
pub const WHOLE: &str = "whole";

/// Which trees a machine has.
#[derive(Debug, PartialEq, Eq)]
struct Layout {
    trees: Vec<(&'static str, PathBuf)>,
    /// Where processor time is limited, when that is a tree of its own.
    cpu: Option<PathBuf>,
}

impl Layout {
    fn find(root: &Path) -> Result<Self> {
        if root.join("cgroup.controllers").exists() {
            return Ok(Self { trees: vec![(WHOLE, root.to_owned())], cpu: None });
        }
        let unified = root.join("unified");
        if !unified.join("cgroup.controllers").exists() {
            bail!("there are no control groups of version 2 below {}: owners would have no names", root.display());
        }
        let tree = |name: &str| Some(root.join(name)).filter(|path| path.join("cgroup.procs").exists());
        let same = |a: &Path, b: &Path| matches!((a.canonicalize(), b.canonicalize()), (Ok(a), Ok(b)) if a == b);
        let cpu = tree("cpu");
        // Where the two are one tree it serves the limit, and units go without their processor time.
        let cpuacct = tree("cpuacct").filter(|path| cpu.as_deref().is_none_or(|cpu| !same(cpu, path)));
        let mut trees = vec![("unified", unified)];
        trees.extend(cpuacct.map(|path| ("cpuacct", path)));
        trees.extend(tree("memory").map(|path| ("memory", path)));
        Ok(Self { trees, cpu })
    }
}

/// The groups of a run. All processes in them end with it.
#[derive(Debug)]
pub struct Groups {
    trees: Vec<(&'static str, PathBuf)>,
    cpu: Option<PathBuf>,
    made: Vec<Promise>,
}

impl Groups {
    /// Makes the groups that hold all others.
    ///
    /// # Errors
    /// Without root or version 2.
    pub fn new(janitor: &Arc<Janitor>) -> Result<Self> {
        let Layout { trees, cpu } = Layout::find(Path::new(ROOT))?;
        let mut groups = Self { trees: Vec::new(), cpu: None, made: Vec::new() };
        for (name, base) in trees {
            let top = groups.top(&base, janitor)?;
            if name == WHOLE {
                for folder in [&base, &top] {
                    turn_on(folder, &["cpu", "memory"]);
                }
            }
            groups.trees.push((name, top));
        }
        if let Some(base) = cpu {
            groups.cpu = Some(groups.top(&base, janitor)?);
        }
        Ok(groups)
    }

    fn top(&mut self, base: &Path, janitor: &Arc<Janitor>) -> Result<PathBuf> {
        let top = base.join(format!("tacit-incidents-{}.slice", std::process::id()));
        let made = janitor.promise(Undo::Groups(top.clone()))?;
        make(&top)?;
        self.made.push(made);
        Ok(top)
    }

    /// Makes the groups of a host and its units.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn add(&self, host: &str, units: &[&str]) -> Result<()> {
        for (name, top) in &self.trees {
            let slice = slice(top, host);
            make(&slice)?;
            if *name == WHOLE {
                turn_on(&slice, &["memory"]);
            }
            units.iter().try_for_each(|unit| make(&slice.join(unit)))?;
        }
        self.cpu.iter().try_for_each(|top| make(&slice(top, host)))
    }

    /// The groups that a process of a unit has to enter; without its host's limit when it is not to be held back.
    pub fn of(&self, host: &str, unit: &str, limited: bool) -> Vec<PathBuf> {
        let trees = self.trees.iter().map(|(_, top)| slice(top, host).join(unit));
        trees.chain(self.cpu.iter().filter(|_| limited).map(|top| slice(top, host))).collect()
    }

    /// What an agent is to see as its machine's trees: their names, and the groups of its host.
    pub fn views(&self, host: &str) -> Vec<(&'static str, PathBuf)> {
        self.trees.iter().map(|(name, top)| (*name, slice(top, host))).collect()
    }

    /// Whether the kernel tells the pressure of a host.
    pub fn has_pressure(&self, host: &str) -> bool {
        self.trees.first().is_some_and(|(_, top)| slice(top, host).join("cpu.pressure").exists())
    }

    /// Limits the processor time of a host for good.
    ///
    /// # Errors
    /// Without the controller.
    pub fn limit_cpu(&self, host: &str, cores: f64) -> Result<()> {
        let quota = (cores.clamp(0.01, 64.0) * PERIOD_US as f64) as u64;
        if let Some(top) = &self.cpu {
            return write(&slice(top, host).join("cpu.cfs_quota_us"), &quota.to_string());
        }
        let whole = self.trees.iter().find(|(name, _)| *name == WHOLE);
        let file = whole.map(|(_, top)| slice(top, host).join("cpu.max")).filter(|file| file.exists());
        let file = file.with_context(|| format!("there is no cpu controller below {ROOT}"))?;
        write(&file, &format!("{quota} {PERIOD_US}"))
    }

    /// Limits the memory of a unit for good.
    ///
    /// # Errors
    /// Without the controller.
    pub fn limit_memory(&self, host: &str, unit: &str, bytes: u64) -> Result<()> {
        let files = [("memory", "memory.limit_in_bytes"), (WHOLE, "memory.max")];
        let of = |(name, top): &(&str, PathBuf)| {
            let file = files.iter().find(|(tree, _)| tree == name).map(|(_, file)| file)?;
            Some(slice(top, host).join(unit).join(file)).filter(|file| file.exists())
        };
        let file = self.trees.iter().find_map(of);
        let file = file.with_context(|| format!("there is no memory controller below {ROOT}"))?;
        write(&file, &bytes.to_string())
    }
}

fn slice(top: &Path, host: &str) -> PathBuf {
    top.join(format!("{host}.slice"))
}

fn make(path: &Path) -> Result<()> {
    std::fs::create_dir_all(path).with_context(|| format!("cannot make the control group {}", path.display()))
}

fn write(file: &Path, text: &str) -> Result<()> {
    std::fs::write(file, text).with_context(|| format!("cannot write {}", file.display()))
}

/// What a machine does not have is missed where it is needed.
fn turn_on(folder: &Path, controllers: &[&str]) {
    for controller in controllers {
        let _ = std::fs::write(folder.join("cgroup.subtree_control"), format!("+{controller}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine(folders: &[&str]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for folder in folders {
            std::fs::create_dir_all(root.path().join(folder)).unwrap();
            let file = if folder.is_empty() || *folder == "unified" { "cgroup.controllers" } else { "cgroup.procs" };
            std::fs::write(root.path().join(folder).join(file), "").unwrap();
        }
        root
    }

    #[test]
    fn every_layout_is_known() {
        let names = |root: &tempfile::TempDir| {
            let layout = Layout::find(root.path()).unwrap();
            (layout.trees.iter().map(|(name, _)| *name).collect::<Vec<_>>(), layout.cpu.is_some())
        };
        assert_eq!(names(&machine(&[""])), (vec![WHOLE], false));
        assert_eq!(
            names(&machine(&["unified", "cpu", "cpuacct", "memory"])),
            (vec!["unified", "cpuacct", "memory"], true)
        );
        assert_eq!(names(&machine(&["unified"])), (vec!["unified"], false));
        assert!(Layout::find(machine(&["cpu"]).path()).is_err());
        // One tree under two names.
        let root = machine(&["unified", "cpu"]);
        std::os::unix::fs::symlink("cpu", root.path().join("cpuacct")).unwrap();
        assert_eq!(names(&root), (vec!["unified"], true));
    }

    #[test]
    fn a_process_enters_each_tree_once() {
        let trees = vec![("unified", PathBuf::from("/u")), ("memory", PathBuf::from("/m"))];
        let groups = Groups { trees, cpu: Some("/c".into()), made: Vec::new() };
        let of = |limited| -> Vec<String> {
            groups.of("db-1", "x.service", limited).iter().map(|p| p.display().to_string()).collect()
        };
        assert_eq!(of(true), ["/u/db-1.slice/x.service", "/m/db-1.slice/x.service", "/c/db-1.slice"]);
        assert_eq!(of(false).len(), 2);
        assert_eq!(groups.views("db-1")[0], ("unified", PathBuf::from("/u/db-1.slice")));
    }
}
