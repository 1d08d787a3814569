//! The systemd units that ship: what they promise, and that systemd understands them.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::Command;

const AGENT: &str = include_str!("../../../packaging/systemd/tacit-agent.service");
const FULL: &str = include_str!("../../../packaging/systemd/tacit-agent-full.conf");
const COLLECTOR: &str = include_str!("../../../packaging/systemd/tacit-collector.service");
const NETNS: &str = include_str!("../../../packaging/systemd/tacit-netns.service");
const SOCKET: &str = include_str!("../../../packaging/systemd/tacit-netns.socket");

fn settings(unit: &str) -> HashMap<&str, Vec<&str>> {
    let mut settings: HashMap<&str, Vec<&str>> = HashMap::new();
    for line in unit.lines().filter(|l| !l.starts_with(['#', '['])) {
        if let Some((key, value)) = line.split_once('=') {
            settings.entry(key).or_default().push(value);
        }
    }
    settings
}

/// The unit as a file; its program is not installed here, so another stands in.
fn write(folder: &Path, name: &str, unit: &str) -> PathBuf {
    let path = folder.join(name);
    std::fs::create_dir_all(path.parent().expect("it has one")).expect("made");
    let start = unit.lines().find(|l| l.starts_with("ExecStart="));
    let unit = start.map_or_else(|| unit.to_owned(), |line| unit.replace(line, "ExecStart=/bin/true"));
    std::fs::write(&path, unit).expect("written");
    path
}

fn systemd_analyze(arguments: &[&str], files: &[PathBuf]) -> Option<(bool, String)> {
    let Ok(out) = Command::new("systemd-analyze").args(arguments).args(files).output() else {
        assert!(std::env::var_os("CI").is_none(), "systemd-analyze is missing: install systemd");
        eprintln!("There is no systemd-analyze here: nothing was tested.");
        return None;
    };
    let said = [&out.stdout[..], &out.stderr[..]].map(|bytes| String::from_utf8_lossy(bytes).into_owned()).concat();
    Some((out.status.success(), said))
}

#[test]
fn the_agent_has_no_capability_and_with_the_drop_in_two() {
    let (agent, full) = (settings(AGENT), settings(FULL));
    for key in ["CapabilityBoundingSet", "AmbientCapabilities"] {
        assert_eq!(agent[key], [""], "{key}");
        assert_eq!(full[key], ["CAP_SYS_PTRACE CAP_NET_ADMIN"], "{key}");
    }
    assert_eq!((agent["User"][0], agent["NoNewPrivileges"][0]), ("tacit-agent", "yes"));
    // It sees the whole machine: none of these may be set for it.
    for blinding in ["ProtectProc", "ProcSubset", "PrivateNetwork", "PrivateUsers", "IPAddressDeny"] {
        assert!(!agent.contains_key(blinding), "{blinding}");
    }
    // A /home that is not to be seen cannot be seen to fill up.
    assert_eq!(agent["ProtectHome"], ["read-only"]);
}

#[test]
fn the_agent_is_watched_never_given_up_and_first_to_go() {
    let agent = settings(AGENT);
    assert_eq!((agent["Type"][0], agent["NotifyAccess"][0], agent["WatchdogSec"][0]), ("notify", "main", "90s"));
    assert_eq!((agent["Restart"][0], agent["StartLimitIntervalSec"][0]), ("always", "0"));
    assert_eq!((agent["OOMScoreAdjust"][0], agent["OOMPolicy"][0]), ("500", "continue"));
    assert_eq!(agent["ExecReload"], ["/bin/sh -c 'kill -HUP $MAINPID'"]);
    // A trial may take 10 s of a core within 30 s, beside the agent.
    assert_eq!(agent["CPUQuota"], ["50%"]);
}

#[test]
fn backtraces_are_off_everywhere() {
    for (name, unit) in [("agent", AGENT), ("full", FULL), ("collector", COLLECTOR), ("netns", NETNS)] {
        let settings = settings(unit);
        assert!(!settings.contains_key("Environment") && !settings.contains_key("EnvironmentFile"), "{name}");
        assert!(name == "full" || settings["UnsetEnvironment"][0].contains("RUST_BACKTRACE"), "{name}");
    }
}

#[test]
fn systemd_understands_the_units() {
    let folder = tempfile::tempdir().expect("a folder");
    let files = [
        ("tacit-agent.service", AGENT),
        ("tacit-collector.service", COLLECTOR),
        ("tacit-netns.service", NETNS),
        ("tacit-netns.socket", SOCKET),
    ]
    .map(|(name, unit)| write(folder.path(), name, unit));
    write(folder.path(), "tacit-agent.service.d/full.conf", FULL);
    let Some((good, said)) = systemd_analyze(&["verify", "--man=no"], &files) else { return };
    // Also warnings about keys that it does not know; what it says of other units of this machine is not ours.
    let ours: Vec<&str> = said.lines().filter(|l| l.contains("tacit")).collect();
    assert!(good && ours.is_empty(), "{ours:?} {said}");
}

/// Packages name what they install: what is built is not here, the rest has to be.
#[test]
fn packages_name_files_that_are_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let manifests =
        [("agent", include_str!("../../Cargo.toml")), ("collector", include_str!("../../../collector/Cargo.toml"))];
    for (part, manifest) in manifests {
        let manifest: toml::Table = toml::from_str(manifest).expect("cargo reads it too");
        let (deb, rpm) = (&manifest["package"]["metadata"]["deb"], &manifest["package"]["metadata"]["generate-rpm"]);
        let text = |value: &toml::Value| value.as_str().expect("a text").to_owned();
        let scripts = ["postinst", "prerm", "postrm"].map(|s| format!("{}/{s}", text(&deb["maintainer-scripts"])));
        let of_deb = deb["assets"].as_array().expect("a list").iter().map(|asset| text(&asset[0]));
        let of_deb = of_deb.chain(scripts).map(|file| (root.join(part).join(&file), file));
        let keys = ["post_install_script", "pre_uninstall_script", "post_uninstall_script"];
        let scripts = keys.map(|key| text(&rpm[key]));
        let of_rpm = rpm["assets"].as_array().expect("a list").iter().map(|asset| text(&asset["source"]));
        let of_rpm = of_rpm.chain(scripts).map(|file| (root.join(&file), file));
        for (path, file) in of_deb.chain(of_rpm) {
            assert!(file.contains("target/") || path.exists(), "{part}: there is no {file}");
        }
    }
}

/// `docs/decisions/018-sandbox.md` has these scores.
#[test]
fn the_units_are_as_confined_as_is_written() {
    for (name, unit, drop_in, most) in [
        ("tacit-agent.service", AGENT, None, "15"),
        ("tacit-agent.service", AGENT, Some(FULL), "20"),
        ("tacit-collector.service", COLLECTOR, None, "15"),
        ("tacit-netns.service", NETNS, None, "18"),
    ] {
        let folder = tempfile::tempdir().expect("a folder");
        let file = write(folder.path(), name, unit);
        if let Some(drop_in) = drop_in {
            write(folder.path(), &format!("{name}.d/full.conf"), drop_in);
        }
        let threshold = format!("--threshold={most}");
        let arguments = ["security", "--offline=true", "--no-pager", threshold.as_str()];
        let Some((good, said)) = systemd_analyze(&arguments, &[file]) else { return };
        if said.contains("nrecognized option") {
            eprintln!("This systemd is older than 250: nothing was tested.");
            return;
        }
        let score = said.lines().find(|l| l.contains("Overall exposure")).unwrap_or(&said);
        println!("{}: {score}", drop_in.map_or("alone", |_| "with the drop-in"));
        assert!(good && score.contains("exposure level"), "at most {most} tenths are wanted: {score}");
    }
}
