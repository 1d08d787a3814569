//! Which mounts count, from `/proc/self/mountinfo`:
//!
//! ```text
//! 27 1 254:0 / / rw,relatime - ext4 /dev/vda rw,discard
//! id parent device root mount-point options [optional…] - kind source super-options
//! ```
//!
//! Kinds that hold no data of their own (`proc`, `cgroup`, `overlay` of containers, …) are left out, and of a device that is
//! mounted at several places only the first counts. So is a mount that another one lies upon: whoever asks for its space gets the
//! other's.
//!
//! A service that systemd confines (`ProtectSystem=strict`) sees every mount read-only, though the file systems are not and nobody
//! else sees them so. What is read-only by its mount alone is therefore judged by what the first process sees ([`settle`]).

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
    /// Only the mount is read-only, the file system is not: that may be so for this process alone.
    pub by_mount: bool,
    /// Number of its device, `8:1`.
    device: String,
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
    let lines = lines(text).map(|(at, line)| Line::parse(at, line)).collect::<Result<Vec<Line<'_>>, ParseError>>()?;
    for (i, line) in lines.iter().enumerate() {
        let point = unescape(line.point);
        if PSEUDO.iter().any(|kind| kind.as_bytes() == line.kind)
            || ignore.iter().any(|p| point.starts_with(p.as_str()))
            || devices.contains(&line.device)
            || lines.iter().skip(i + 1).any(|later| later.parent == line.id && later.point == line.point)
        {
            continue;
        }
        if mounts.len() == MOST {
            break;
        }
        devices.push(line.device);
        mounts.push(Mount {
            point,
            kind: String::from_utf8_lossy(line.kind).into_owned(),
            read_only: line.mount_read_only || line.read_only,
            by_mount: line.mount_read_only && !line.read_only,
            device: String::from_utf8_lossy(line.device).into_owned(),
        });
    }
    Ok(mounts)
}

/// Decides what is read-only by its mount alone. `first` is `/proc/1/mountinfo`, as far as it may be read: a mount that the first
/// process has too is what it is there. Without it such mounts are believed, unless the root is one of them: then this process is
/// confined, and only file systems that are read-only themselves are told.
pub fn settle(mounts: &mut [Mount], own: &[u8], first: Option<&[u8]>) {
    let confined = || parsed(own).any(|l| l.point == b"/" && l.mount_read_only && !l.read_only);
    for mount in mounts.iter_mut().filter(|m| m.by_mount) {
        mount.read_only = match first {
            Some(text) => {
                let same = |l: &Line<'_>| l.device == mount.device.as_bytes() && unescape(l.point) == mount.point;
                // The last of several is the one on top.
                parsed(text).filter(same).last().is_none_or(|l| l.mount_read_only)
            }
            None => !confined(),
        };
    }
}

fn parsed(text: &[u8]) -> impl Iterator<Item = Line<'_>> {
    lines(text).filter_map(|(at, line)| Line::parse(at, line).ok())
}

/// What is taken from a line.
struct Line<'a> {
    id: &'a [u8],
    parent: &'a [u8],
    device: &'a [u8],
    point: &'a [u8],
    kind: &'a [u8],
    /// The mount is read-only.
    mount_read_only: bool,
    /// The file system is.
    read_only: bool,
}

impl<'a> Line<'a> {
    fn parse(at: usize, line: &'a [u8]) -> Result<Self, ParseError> {
        let wrong = || ParseError::new(at, "mount id … mount point, options, \"-\", kind", line);
        let fields: Vec<&[u8]> = words(line).collect();
        let dash = fields.iter().position(|f| *f == b"-").filter(|d| *d >= 6).ok_or_else(wrong)?;
        let read_only = |options: Option<&&[u8]>| options.is_some_and(|o| o.split(|b| *b == b',').any(|w| w == b"ro"));
        Ok(Self {
            id: fields[0],
            parent: fields[1],
            device: fields[2],
            point: fields[4],
            kind: fields.get(dash + 1).copied().ok_or_else(wrong)?,
            mount_read_only: read_only(fields.get(5)),
            read_only: read_only(fields.get(dash + 3)),
        })
    }
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

    #[test]
    fn what_lies_below_another_mount_is_not_asked_for() {
        let text = b"27 1 254:0 / / rw - ext4 /dev/vda rw\n\
            28 27 8:1 / /home rw - ext4 /dev/sda1 rw\n\
            29 27 8:2 / /srv rw - ext4 /dev/sda2 rw\n\
            30 28 0:25 /inaccessible /home ro - tmpfs tmpfs rw\n";
        let mounts = parse(text, &[]).expect("the kernel's form");
        assert_eq!(mounts.iter().map(|m| m.point.as_str()).collect::<Vec<_>>(), ["/", "/srv"]);
    }

    /// What the agent sees as a service with `ProtectSystem=strict`, and what the first process sees of the same machine.
    #[test]
    fn a_sandbox_does_not_make_a_machine_read_only() {
        let own: &[u8] = b"27 1 254:0 / / ro,relatime - ext4 /dev/vda rw\n\
            28 27 8:1 / /data ro,relatime - ext4 /dev/sda1 ro,errors=remount-ro\n\
            29 27 8:2 / /boot ro - vfat /dev/sda2 rw\n\
            30 27 8:3 / /srv\\040x ro - ext4 /dev/sda3 rw\n";
        let first: &[u8] = b"22 1 254:0 / / rw,relatime - ext4 /dev/vda rw\n\
            23 22 8:1 / /data rw,relatime - ext4 /dev/sda1 ro,errors=remount-ro\n\
            24 22 8:2 / /boot ro - vfat /dev/sda2 rw\n\
            25 22 8:3 / /srv\\040x rw - ext4 /dev/sda3 rw\n";
        let seen = |own: &[u8], first: Option<&[u8]>| {
            let mut mounts = parse(own, &[]).expect("the kernel's form");
            settle(&mut mounts, own, first);
            mounts.iter().map(|m| m.read_only).collect::<Vec<_>>()
        };
        assert_eq!(seen(own, Some(first)), [false, true, true, false]);
        assert_eq!(seen(own, None), [false, true, false, false], "the mounts say nothing, the file system does");
        // Nobody confines this one: /boot was mounted read-only.
        assert_eq!(seen(first, None), [false, true, true, false]);
        // A container that shares the host's processes has mounts which the first process knows nothing of.
        let host: &[u8] = b"22 1 253:9 / / rw - ext4 /dev/vdz rw\n";
        assert_eq!(seen(own, Some(host)), [true, true, true, true]);
    }
}
