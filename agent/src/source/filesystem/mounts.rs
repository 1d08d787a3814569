//! Which mounts count, from `/proc/self/mountinfo`:
//!
//! ```text
//! 27 1 254:0 / / rw,relatime - ext4 /dev/vda rw,discard
//! id parent device root mount-point options [optional…] - kind source super-options
//! ```
//!
//! Kinds that hold no data of their own (`proc`, `cgroup`, `overlay` of containers, …) are left out, and of a device that is
//! mounted at several places only the first counts.

use super::super::ParseError;
use super::super::keyed::{lines, words};

/// One mount that counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// Where.
    pub point: String,
    /// Kind.
    pub kind: String,
    /// Whether the mount or its file system is read-only.
    pub read_only: bool,
}

/// Kinds without space of their own.
const PSEUDO: &[&str] = &[
    "autofs",
    "binfmt_misc",
    "bpf",
    "cgroup",
    "cgroup2",
    "configfs",
    "debugfs",
    "devpts",
    "devtmpfs",
    "efivarfs",
    "fuse.lxcfs",
    "fusectl",
    "hugetlbfs",
    "mqueue",
    "nsfs",
    "overlay",
    "proc",
    "pstore",
    "ramfs",
    "rpc_pipefs",
    "securityfs",
    "selinuxfs",
    "squashfs",
    "sysfs",
    "tmpfs",
    "tracefs",
];

/// Most mounts watched: a host with more has a container for each of them.
const MOST: usize = 64;

/// The mounts that count, in the order of the file.
///
/// # Errors
/// The first line of another form.
pub fn parse(text: &[u8], ignore: &[String]) -> Result<Vec<Mount>, ParseError> {
    let mut devices: Vec<&[u8]> = Vec::new();
    let mut mounts = Vec::new();
    for (at, line) in lines(text) {
        let wrong = || ParseError::new(at, "mount id … mount point, options, \"-\", kind", line);
        let fields: Vec<&[u8]> = words(line).collect();
        let dash = fields.iter().position(|f| *f == b"-").filter(|d| *d >= 6).ok_or_else(wrong)?;
        let kind = String::from_utf8_lossy(fields.get(dash + 1).ok_or_else(wrong)?).into_owned();
        let point = unescape(fields[4]);
        let device = fields[2];
        if PSEUDO.contains(&kind.as_str())
            || ignore.iter().any(|p| point.starts_with(p.as_str()))
            || devices.contains(&device)
        {
            continue;
        }
        if mounts.len() == MOST {
            break;
        }
        devices.push(device);
        let read_only = |options: Option<&&[u8]>| options.is_some_and(|o| o.split(|b| *b == b',').any(|w| w == b"ro"));
        let read_only = read_only(fields.get(5)) || read_only(fields.get(dash + 3));
        mounts.push(Mount { point, kind, read_only });
    }
    Ok(mounts)
}

/// The kernel writes space, tab, newline and backslash as three octal digits.
fn unescape(field: &[u8]) -> String {
    let mut out = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((first, tail)) = rest.split_first() {
        let octal = tail.get(..3).filter(|d| *first == b'\\' && d.iter().all(|b| (b'0'..=b'7').contains(b)));
        if let Some(digits) = octal {
            out.push(digits.iter().fold(0_u8, |v, d| v.wrapping_mul(8).wrapping_add(d - b'0')));
            rest = &tail[3..];
        } else {
            out.push(*first);
            rest = tail;
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_what_has_space_of_its_own() {
        let text = b"22 27 0:21 / /proc rw,relatime - proc proc rw\n\
            27 1 254:0 / / rw,relatime - ext4 /dev/vda rw\n\
            28 27 254:0 /home /home rw - ext4 /dev/vda rw\n\
            29 27 8:1 / /mnt/my\\040disk rw,nosuid shared:7 - xfs /dev/sda1 ro\n\
            30 27 0:44 / /mnt/nfs rw - nfs4 server:/x rw\n";
        let mounts = parse(text, &["/mnt/nfs".into()]).expect("the kernel's form");
        let points: Vec<_> = mounts.iter().map(|m| (m.point.as_str(), m.read_only)).collect();
        assert_eq!(points, [("/", false), ("/mnt/my disk", true)]);
        assert_eq!(parse(b"garbage\n", &[]).expect_err("no mount").line, 1);
    }
}
