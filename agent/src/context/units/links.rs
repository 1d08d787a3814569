//! Which units run, without asking systemd: `/run/systemd/units/invocation:NAME` is a symbolic link to the id of the
//! unit's present run (systemd.exec(5), "invocation ID"). systemd makes it when a unit starts and removes it when the unit
//! is inactive or failed, so a link that changes is a restart. A look at a hundred of them takes a fifth of a millisecond.

use std::collections::HashMap;
use std::path::Path;

/// Most units looked at.
const MOST: usize = 4096;

/// The present run of each unit, as the 128 bits of its id.
pub type Links = HashMap<String, u128>;

/// Reads the links in `folder`; empty when there is no such folder (systemd before 235).
#[must_use]
pub fn read(folder: &Path) -> Links {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten().take(MOST);
    entries
        .filter_map(|entry| {
            let file = entry.file_name();
            let unit = file.to_str()?.strip_prefix("invocation:")?;
            let run = std::fs::read_link(entry.path()).ok()?;
            Some((unit.to_owned(), u128::from_str_radix(run.to_str()?, 16).ok()?))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn links_are_read_and_what_is_none_is_left_out() {
        let folder = tempfile::tempdir().expect("a folder");
        let link = |to: &str, name: &str| symlink(to, folder.path().join(name)).expect("made");
        link("0123456789abcdef0123456789abcdef", "invocation:nginx.service");
        link("zzz", "invocation:bad.service");
        link("info", "log-level-max:x.service");
        std::fs::write(folder.path().join("invocation:file.service"), "x").expect("written");
        let links = read(folder.path());
        assert_eq!(links, Links::from([("nginx.service".into(), 0x0123_4567_89ab_cdef_0123_4567_89ab_cdef)]));
        assert!(read(&folder.path().join("none")).is_empty());
    }
}
