//! What package managers write about their doings, one line each.
//!
//! ```text
//! dpkg    2026-11-25 06:38:00 upgrade nginx:amd64 1.22.1-9 1.22.1-10
//! dnf     2026-11-25T06:38:00+0000 SUBDEBUG Upgrade: nginx-1:1.24.0-1.fc40.x86_64
//! yum     Nov 25 06:38:00 Updated: nginx-1:1.20.1-1.el7.x86_64
//! pacman  [2026-11-25T06:38:00+0000] [ALPM] upgraded nginx (1.26.2-1 -> 1.26.3-1)
//! ```

use crate::context::reporter::cut;

/// Whose log it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Log {
    /// Debian and its kin.
    Dpkg,
    /// Fedora and its kin.
    Dnf,
    /// Older ones.
    Yum,
    /// Arch.
    Pacman,
}

/// One package that changed, in words: `nginx upgraded 1.22.1-9 → 1.22.1-10`.
#[must_use]
pub fn change(log: Log, line: &str) -> Option<String> {
    let words = match log {
        Log::Dpkg => dpkg(line),
        Log::Dnf => labelled(line, &[("Installed: ", "installed"), ("Upgrade: ", "upgraded"), ("Erase: ", "removed")]),
        Log::Yum => labelled(line, &[("Installed: ", "installed"), ("Updated: ", "upgraded"), ("Erased: ", "removed")]),
        Log::Pacman => pacman(line),
    };
    words.map(|w| cut(&w, 120))
}

fn dpkg(line: &str) -> Option<String> {
    let mut words = line.split(' ').skip(2);
    let (action, package) = (words.next()?, words.next()?);
    let (old, new) = (words.next()?, words.next()?);
    // The architecture is the machine's own.
    let package = package.split(':').next().unwrap_or(package);
    match action {
        "install" => Some(format!("{package} installed {new}")),
        "upgrade" => Some(format!("{package} upgraded {old} → {new}")),
        // A purge follows the removal, and says nothing new.
        "remove" => Some(format!("{package} removed")),
        _ => None,
    }
}

fn labelled(line: &str, labels: &[(&str, &str)]) -> Option<String> {
    labels.iter().find_map(|(label, verb)| {
        let (before, package) = line.split_once(label)?;
        // The label stands behind a time, never within a name.
        (before.len() < 64 && before.ends_with(' ')).then(|| format!("{} {verb}", package.trim()))
    })
}

fn pacman(line: &str) -> Option<String> {
    let (_, rest) = line.split_once("] [ALPM] ")?;
    let (verb, rest) = rest.split_once(' ')?;
    let (package, version) = rest.split_once(" (")?;
    let version = version.trim_end().strip_suffix(')')?.replace(" -> ", " → ");
    match verb {
        "installed" | "upgraded" | "downgraded" => Some(format!("{package} {verb} {version}")),
        "removed" => Some(format!("{package} removed")),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn recorded_lines() {
        let cases = [
            (Log::Dpkg, "2026-11-25 06:37:58 startup archives unpack", None),
            (Log::Dpkg, "2026-11-25 06:37:58 install jq:amd64 <none> 1.6-2.1", Some("jq installed 1.6-2.1")),
            (Log::Dpkg, "2026-11-25 06:37:58 status half-installed jq:amd64 1.6-2.1", None),
            (
                Log::Dpkg,
                "2026-11-25 06:38:00 upgrade nginx:amd64 1.22.1-9 1.22.1-10",
                Some("nginx upgraded 1.22.1-9 → 1.22.1-10"),
            ),
            (Log::Dpkg, "2026-11-25 06:38:00 trigproc dbus:amd64 1.14.10-1~deb12u1 <none>", None),
            (Log::Dpkg, "2026-11-25 06:38:00 remove nginx:amd64 1.22.1-10 <none>", Some("nginx removed")),
            (Log::Dpkg, "2026-11-25 06:38:00 purge nginx:amd64 1.22.1-10 <none>", None),
            (
                Log::Dnf,
                "2026-11-25T06:38:00+0000 SUBDEBUG Upgrade: nginx-1:1.24.0-1.fc40.x86_64",
                Some("nginx-1:1.24.0-1.fc40.x86_64 upgraded"),
            ),
            (Log::Dnf, "2026-11-25T06:38:01+0000 SUBDEBUG Upgraded: nginx-1:1.22.0-1.fc40.x86_64", None),
            (
                Log::Yum,
                "Nov 25 06:38:00 Erased: nginx-1:1.20.1-1.el7.x86_64",
                Some("nginx-1:1.20.1-1.el7.x86_64 removed"),
            ),
            (
                Log::Pacman,
                "[2026-11-25T06:38:00+0000] [ALPM] upgraded nginx (1.26.2-1 -> 1.26.3-1)",
                Some("nginx upgraded 1.26.2-1 → 1.26.3-1"),
            ),
            (Log::Pacman, "[2026-11-25T06:38:00+0000] [ALPM] transaction started", None),
        ];
        for (log, line, wanted) in cases {
            assert_eq!(change(log, line).as_deref(), wanted, "{line}");
        }
    }

    proptest! {
        /// Law: no line makes it panic.
        #[test]
        fn any_line_is_a_change_or_none(line in "([a-z]{0,9} |install |upgraded |\\] \\[ALPM\\] |Upgrade: |\\(|\\)){0,8}.{0,20}") {
            for log in [Log::Dpkg, Log::Dnf, Log::Yum, Log::Pacman] {
                let _ = change(log, &line);
            }
        }
    }
}
