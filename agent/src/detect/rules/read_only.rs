//! A file system that was writable became read-only: usually the kernel's answer to a failing disk.

use super::Finding;
use crate::source::filesystem::MountUsage;

/// The rule's memory: mounts that were seen writable.
#[derive(Debug, Default)]
pub struct ReadOnly {
    writable: Vec<String>,
}

impl ReadOnly {
    /// Looks at all file systems.
    pub fn look(&mut self, mounts: &[MountUsage]) -> Vec<Finding> {
        self.writable.retain(|w| mounts.iter().any(|m| *m.mount == **w));
        for mount in mounts.iter().filter(|m| !m.read_only) {
            if !self.writable.iter().any(|w| **w == *mount.mount) {
                self.writable.push(mount.mount.to_string());
            }
        }
        let finding = |point: &String| {
            let broken = mounts.iter().any(|m| *m.mount == **point && m.read_only);
            let text = if broken {
                format!("{point} became read-only: look for disk errors in the kernel's log")
            } else {
                format!("{point} is writable")
            };
            Finding { rule: "read-only", subject: point.clone(), broken, severity: 0.9, text, ..Finding::default() }
        };
        self.writable.iter().map(finding).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mount(read_only: bool) -> MountUsage {
        MountUsage { mount: "/data".into(), kind: "ext4".into(), read_only, space: None }
    }

    #[test]
    fn only_a_change_counts() {
        let mut rule = ReadOnly::default();
        assert!(rule.look(&[mount(true)]).is_empty(), "it was never writable");
        assert!(!rule.look(&[mount(false)])[0].broken);
        assert!(rule.look(&[mount(true)])[0].broken);
        assert!(!rule.look(&[mount(false)])[0].broken);
        assert!(rule.look(&[]).is_empty());
    }
}
