//! The systemd units that ship: they say what the program needs, and no more.

use std::collections::HashMap;
use std::path::Path;
use std::process::Command;

use super::client::PROGRAM;

const SOCKET: &str = include_str!("../../../packaging/systemd/tacit-netns.socket");
const SERVICE: &str = include_str!("../../../packaging/systemd/tacit-netns.service");

fn settings(unit: &str) -> HashMap<&str, Vec<&str>> {
    let mut settings: HashMap<&str, Vec<&str>> = HashMap::new();
    for line in unit.lines().filter(|l| !l.starts_with(['#', '['])) {
        if let Some((key, value)) = line.split_once('=') {
            settings.entry(key).or_default().push(value);
        }
    }
    settings
}

#[test]
fn the_units_give_two_capabilities_and_let_in_one_user() {
    let (socket, service) = (settings(SOCKET), settings(SERVICE));
    for key in ["CapabilityBoundingSet", "AmbientCapabilities"] {
        assert_eq!(service[key], ["CAP_SYS_ADMIN CAP_SYS_PTRACE"], "{key}");
    }
    // Without waiting for a socket of its own the program reads from nothing; with PrivateUsers it sees nobody.
    assert_eq!((service["StandardInput"][0], service["NoNewPrivileges"][0]), ("socket", "yes"));
    assert!(!service.contains_key("PrivateUsers") && !service.contains_key("PrivateNetwork"));
    assert_eq!(service["RestrictNamespaces"], ["net"]);
    assert_eq!((socket["SocketUser"][0], socket["SocketMode"][0], socket["Accept"][0]), ("tacit-agent", "0600", "no"));
    assert_eq!(socket["ListenSequentialPacket"], ["/run/tacit/netns.sock"]);
}

#[test]
fn systemd_understands_the_units() {
    let folder = tempfile::tempdir().expect("a folder");
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).expect("written");
        path
    };
    assert!(Path::new(PROGRAM).is_absolute());
    // The program is not installed here.
    let service = write("tacit-netns.service", &SERVICE.replace("/usr/bin/tacit-netns", PROGRAM));
    let socket = write("tacit-netns.socket", SOCKET);
    let Ok(out) = Command::new("systemd-analyze").args(["verify", "--man=no"]).args([service, socket]).output() else {
        assert!(std::env::var_os("CI").is_none(), "systemd-analyze is missing: install systemd");
        eprintln!("There is no systemd-analyze here: nothing was tested.");
        return;
    };
    let said = String::from_utf8_lossy(&out.stderr);
    // Also warnings about keys that it does not know; what it says of other units of this machine is not ours.
    let ours: Vec<&str> = said.lines().filter(|l| l.contains("tacit-netns")).collect();
    assert!(out.status.success() && ours.is_empty(), "{ours:?} {said}");
}
