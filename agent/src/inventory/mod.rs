//! What this machine is: for the birth message, for `doctor`, and for the node's default name.
//!
//! `sysinfo` knows processor, memory and addresses; firmware names, listening services and the clock's state are read
//! from files below the root, so that recorded trees test them.

mod listeners;

pub use listeners::listeners;

use std::path::Path;

use sysinfo::{CpuRefreshKind, MemoryRefreshKind, Networks, RefreshKind, System};
use tacit_wire::message::{Clock, NodeIdentity};
use tacit_wire::{BootId, Digest, NodeId};

use crate::clock::Tick;
use crate::source::Root;

/// What the machine is.
#[must_use]
pub fn identity(root: &Root) -> NodeIdentity {
    let refresh =
        RefreshKind::nothing().with_cpu(CpuRefreshKind::nothing()).with_memory(MemoryRefreshKind::nothing().with_ram());
    let system = System::new_with_specifics(refresh).ok();
    let brand = system.as_ref().and_then(|s| s.cpus().first()).map(|c| c.brand().trim().to_owned());
    NodeIdentity {
        hostname: hostname(root),
        os: os(root),
        kernel: short(System::kernel_version().unwrap_or_default()),
        arch: short(System::cpu_arch()),
        cpu: short(brand.unwrap_or_default()),
        cores: system.as_ref().map_or(0, |s| u32::try_from(s.cpus().len()).unwrap_or(u32::MAX)),
        memory: system.as_ref().map_or(0, System::total_memory),
        board: board(root),
    }
}

/// Addresses of all interfaces, without loopback and link-local ones, sorted.
#[must_use]
pub fn addresses() -> Vec<String> {
    let Ok(networks) = Networks::new_with_refreshed_list() else { return Vec::new() };
    let of_interface = |data: &sysinfo::NetworkData| data.ip_networks().iter().map(|n| n.addr).collect::<Vec<_>>();
    let mut addresses: Vec<std::net::IpAddr> = networks.values().flat_map(of_interface).collect();
    addresses.retain(|a| match a {
        std::net::IpAddr::V4(a) => !a.is_loopback() && !a.is_link_local() && !a.is_unspecified(),
        std::net::IpAddr::V6(a) => !a.is_loopback() && !a.is_unicast_link_local() && !a.is_unspecified(),
    });
    addresses.sort_unstable();
    addresses.dedup();
    addresses.iter().take(256).map(ToString::to_string).collect()
}

/// This boot, as the kernel names it; random when the kernel does not tell, so that it still differs from the last.
#[must_use]
pub fn boot_id(root: &Root) -> BootId {
    let told = read(&root.join("proc/sys/kernel/random/boot_id")).and_then(|text| text.parse().ok());
    told.unwrap_or_else(|| {
        let mut bytes = [0; 16];
        bytes.fill_with(|| fastrand::u8(..));
        BootId(bytes)
    })
}

/// The clock now. Whether it is synchronised is known where systemd's own service keeps it: the file
/// `/run/systemd/timesync/synchronized` appears with the first answer of a server.
#[must_use]
pub fn clock(root: &Root, now: Tick) -> Clock {
    let folder = root.join("run/systemd/timesync");
    let synchronised = folder.is_dir().then(|| folder.join("synchronized").exists());
    Clock { wall_ms: now.wall_ms, mono_ms: now.mono_ms, synchronised }
}

/// The node's name when none is configured: the host name with what is not allowed replaced, or a hash of the machine
/// id where the host name says nothing.
#[must_use]
pub fn default_node_id(root: &Root) -> NodeId {
    from_hostname(&hostname(root)).unwrap_or_else(|| {
        let machine = read(&root.join("etc/machine-id")).unwrap_or_default();
        let seed = if machine.is_empty() { boot_id(root).to_string() } else { machine };
        // The machine id itself is not to leave the machine (machine-id(5)); a keyed hash of it may.
        let hash = Digest::of(format!("tacit node {seed}").as_bytes()).short();
        format!("node-{hash}").parse().expect("a hexadecimal hash has the right form")
    })
}

fn from_hostname(name: &str) -> Option<NodeId> {
    let name = name.split('.').next().unwrap_or_default().to_ascii_lowercase();
    let replaced: String =
        name.chars().map(|c| if c.is_ascii_lowercase() || c.is_ascii_digit() { c } else { '-' }).take(36).collect();
    let trimmed = replaced.trim_matches('-');
    // What every second image is called names nobody.
    let says_nothing = ["", "localhost", "debian", "raspberrypi", "ubuntu"].contains(&trimmed);
    if says_nothing { None } else { trimmed.parse().ok() }
}

fn hostname(root: &Root) -> String {
    let told = read(&root.join("proc/sys/kernel/hostname"));
    let asked = || if root.is_live() { System::host_name().ok() } else { None };
    short(told.or_else(asked).unwrap_or_default())
}

fn os(root: &Root) -> String {
    let text =
        read(&root.join("etc/os-release")).or_else(|| read(&root.join("usr/lib/os-release"))).unwrap_or_default();
    let field = |key: &str| {
        let value = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='))?;
        Some(value.trim().trim_matches(['"', '\'']).to_owned()).filter(|v| !v.is_empty())
    };
    short(field("PRETTY_NAME").or_else(|| field("NAME")).unwrap_or_else(|| "Linux".to_owned()))
}

/// From the device tree (ARM, RISC-V) or the DMI table (x86).
fn board(root: &Root) -> Option<String> {
    let tree = ["proc/device-tree/model", "sys/firmware/devicetree/base/model"];
    if let Some(model) = tree.iter().find_map(|path| read(&root.join(path))) {
        return Some(short(model));
    }
    // What firmware writers leave in place.
    let filler =
        |s: &String| !["To Be Filled By O.E.M.", "Default string", "System Product Name", "None"].contains(&s.as_str());
    let dmi = |file: &str| read(&root.join("sys/class/dmi/id").join(file)).filter(filler);
    let parts: Vec<String> = ["sys_vendor", "product_name"].into_iter().filter_map(dmi).collect();
    (!parts.is_empty()).then(|| short(parts.join(" ")))
}

/// The start of a small text file, trimmed; `None` when it is missing or empty.
fn read(path: &Path) -> Option<String> {
    use std::io::Read as _;
    let mut bytes = Vec::new();
    std::fs::File::open(path).ok()?.take(16_384).read_to_end(&mut bytes).ok()?;
    let text = String::from_utf8_lossy(&bytes);
    let text = text.trim_matches(|c: char| c.is_whitespace() || c == '\0');
    (!text.is_empty()).then(|| text.to_owned())
}

/// Cut to what the wire takes, without control characters.
fn short(text: impl AsRef<str>) -> String {
    let mut text: String = text.as_ref().chars().filter(|c| !c.is_control()).collect();
    while text.len() > tacit_wire::limits::NAME {
        text.pop();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(files: &[(&str, &str)]) -> (tempfile::TempDir, Root) {
        let folder = tempfile::tempdir().expect("a folder");
        for (path, text) in files {
            let path = folder.path().join(path);
            std::fs::create_dir_all(path.parent().expect("it has one")).expect("a folder");
            std::fs::write(path, text).expect("a file");
        }
        let root = Root::new(folder.path());
        (folder, root)
    }

    #[test]
    fn host_names_become_node_names() {
        let cases = [
            ("web-01", Some("web-01")),
            ("Web_01.example.com", Some("web-01")),
            ("localhost", None),
            ("", None),
            ("---", None),
            ("ünïcode", Some("n-code")),
        ];
        for (host, node) in cases {
            assert_eq!(from_hostname(host).as_ref().map(NodeId::as_str), node, "{host:?}");
        }
        assert_eq!(from_hostname(&"x".repeat(80)).map(|n| n.as_str().len()), Some(36));
    }

    #[test]
    fn a_nameless_machine_gets_a_stable_name() {
        let machine = ("etc/machine-id", "0123456789abcdef0123456789abcdef\n");
        let (_folder, root) = tree(&[machine, ("proc/sys/kernel/hostname", "localhost\n")]);
        let id = default_node_id(&root);
        assert_eq!(id, default_node_id(&root));
        assert!(id.as_str().starts_with("node-") && !id.as_str().contains("0123456789ab"), "{id}");
    }

    #[test]
    fn firmware_and_system_names() {
        let (_folder, root) = tree(&[
            ("etc/os-release", "NAME=\"Debian GNU/Linux\"\nPRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\n"),
            ("proc/sys/kernel/hostname", "kiosk-7\n"),
            ("sys/class/dmi/id/sys_vendor", "LENOVO\n"),
            ("sys/class/dmi/id/product_name", "Default string\n"),
            ("proc/sys/kernel/random/boot_id", "3f0cb1d2-9a55-4a3e-8a11-0123456789ab\n"),
            ("run/systemd/timesync/synchronized", ""),
        ]);
        let identity = identity(&root);
        assert_eq!(identity.hostname, "kiosk-7");
        assert_eq!(identity.os, "Debian GNU/Linux 12 (bookworm)");
        assert_eq!(identity.board.as_deref(), Some("LENOVO"));
        assert!(identity.cores > 0 && identity.memory > 0);
        assert_eq!(boot_id(&root).to_string(), "3f0cb1d29a554a3e8a110123456789ab");
        assert_eq!(clock(&root, Tick { mono_ms: 7, wall_ms: 8 }).synchronised, Some(true));
        let (_folder, pi) = tree(&[("proc/device-tree/model", "Raspberry Pi 4 Model B Rev 1.4\0")]);
        assert_eq!(board(&pi).as_deref(), Some("Raspberry Pi 4 Model B Rev 1.4"));
        assert_eq!(clock(&pi, Tick::default()).synchronised, None);
        assert_eq!(os(&pi), "Linux");
    }
}
