//! Packages that were installed, upgraded or removed: the change that explains most incidents.
//!
//! Where the package manager keeps a log, its new lines say what changed; where it keeps only a database (rpm, apk, opkg),
//! the database's time of change says that something did. All changes of one run become one note.

mod line;
mod tail;

pub use line::{Log, change};

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use tacit_wire::message::ContextKind;

use super::reporter::Reporter;
use crate::clock::Tick;
use crate::source::Root;
use tail::Tail;

/// The watcher's name.
pub const NAME: &str = "packages";
/// Distance of looks.
const EVERY: Duration = Duration::from_secs(15);
/// A run of the package manager that lasts longer is told in parts.
const LONGEST_RUN_MS: u64 = 10 * 60_000;
/// Changes that a note names.
const NAMED: usize = 6;

/// Logs, and what shows that they will be written: a fresh image has no log of dpkg yet.
const LOGS: [(Log, &str, &str); 4] = [
    (Log::Dpkg, "var/log/dpkg.log", "var/lib/dpkg/status"),
    (Log::Dnf, "var/log/dnf.rpm.log", "var/log/dnf.rpm.log"),
    (Log::Yum, "var/log/yum.log", "var/log/yum.log"),
    (Log::Pacman, "var/log/pacman.log", "var/log/pacman.log"),
];
/// Databases of managers without a log, and the manager's name.
const DATABASES: [(&str, &str); 7] = [
    ("rpm", "usr/lib/sysimage/rpm/rpmdb.sqlite"),
    ("rpm", "var/lib/rpm/rpmdb.sqlite"),
    ("rpm", "var/lib/rpm/Packages"),
    ("apk", "lib/apk/db/installed"),
    ("apk", "usr/lib/apk/db/installed"),
    ("opkg", "usr/lib/opkg/status"),
    ("opkg", "var/lib/opkg/status"),
];

/// Logs and databases of one machine.
#[derive(Debug)]
pub struct Packages {
    logs: Vec<(Log, Tail)>,
    databases: Vec<Database>,
    /// Changes of the run that is under way: those that are named, how many there were, and since when.
    named: Vec<String>,
    count: usize,
    since: Option<Tick>,
}

#[derive(Debug)]
struct Database {
    manager: &'static str,
    path: PathBuf,
    changed: Option<SystemTime>,
}

impl Packages {
    /// What there is below `root`; changes are looked for from now on.
    ///
    /// # Errors
    /// When no package manager is known here.
    pub fn new(root: &Root) -> Result<Self, String> {
        let present = |path: &str| root.join(path).exists();
        let written = LOGS.iter().filter(|(_, log, sign)| present(log) || present(sign));
        let logs: Vec<(Log, Tail)> = written.map(|(kind, log, _)| (*kind, Tail::at_end(root.join(log)))).collect();
        // A log says more than the database beside it.
        let logged = logs.iter().any(|(log, _)| matches!(log, Log::Dnf | Log::Yum));
        let databases: Vec<Database> = DATABASES
            .iter()
            .filter(|(manager, path)| present(path) && !(logged && *manager == "rpm"))
            .map(|(manager, path)| Database { manager, path: root.join(path), changed: changed(&root.join(path)) })
            .collect();
        if logs.is_empty() && databases.is_empty() {
            return Err("no log or database of dpkg, rpm, pacman, apk or opkg is here".into());
        }
        Ok(Self { logs, databases, named: Vec::new(), count: 0, since: None })
    }

    /// What is read, for `doctor`.
    #[must_use]
    pub fn describe(&self) -> String {
        let logs = self.logs.iter().map(|(_, tail)| tail.path().display().to_string());
        let databases = self.databases.iter().map(|d| d.path.display().to_string());
        logs.chain(databases).collect::<Vec<_>>().join(", ")
    }

    /// Looks for changes; gives the note of a run that is over, and when it began.
    pub fn look(&mut self, now: Tick) -> Option<(Tick, String)> {
        let before = self.count;
        for (log, tail) in &mut self.logs {
            let text = tail.new_text();
            for change in text.lines().filter_map(|l| change(*log, l)) {
                self.count += 1;
                if self.named.len() < NAMED {
                    self.named.push(change);
                }
            }
        }
        for database in &mut self.databases {
            let now = changed(&database.path);
            // A database that cannot be looked at for a moment is being replaced.
            if now.is_some() && std::mem::replace(&mut database.changed, now) != now {
                self.count += 1;
                if self.named.len() < NAMED {
                    self.named.push(format!("{} wrote its database", database.manager));
                }
            }
        }
        let grew = self.count > before;
        if grew && self.since.is_none() {
            self.since = Some(now);
        }
        let since = self.since?;
        if grew && now.mono_ms.saturating_sub(since.mono_ms) < LONGEST_RUN_MS {
            return None;
        }
        self.since = None;
        let (named, count) = (std::mem::take(&mut self.named), std::mem::take(&mut self.count));
        let more = count - named.len();
        let list = named.join(", ");
        let text = match (count, more) {
            (1, _) => format!("a package changed: {list}"),
            (_, 0) => format!("{count} packages changed: {list}"),
            _ => format!("{count} packages changed: {list} and {more} more"),
        };
        Some((since, text))
    }
}

fn changed(path: &std::path::Path) -> Option<SystemTime> {
    std::fs::metadata(path).and_then(|m| m.modified()).ok()
}

/// Looks again and again.
pub async fn watch(root: Root, reporter: Reporter) {
    let mut packages = match Packages::new(&root) {
        Ok(packages) => packages,
        Err(reason) => return reporter.state(NAME, Err(reason)),
    };
    reporter.state(NAME, Ok(()));
    loop {
        tokio::time::sleep(EVERY).await;
        if let Some((since, text)) = packages.look(Tick::now()) {
            reporter.tell(ContextKind::Change, since, &text, None);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tick(look: u64) -> Tick {
        Tick::default().plus_ms(look * 15_000)
    }

    fn write(root: &std::path::Path, path: &str, text: &str) {
        let path = root.join(path);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("made");
        std::fs::write(path, text).expect("written");
    }

    #[test]
    fn one_run_is_one_note() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut text = "2026-11-25 06:00:00 install old:amd64 <none> 1\n".to_owned();
        write(folder.path(), "var/log/dpkg.log", &text);
        let mut packages = Packages::new(&Root::new(folder.path())).expect("dpkg is here");
        assert_eq!(packages.look(tick(1)), None);
        for look in 2..5 {
            for i in 0..3 {
                text.push_str(&format!("2026-11-25 06:00:01 upgrade p{look}{i}:amd64 1 2\n"));
                text.push_str("2026-11-25 06:00:01 status installed p:amd64 2\n");
            }
            write(folder.path(), "var/log/dpkg.log", &text);
            assert_eq!(packages.look(tick(look)), None, "it is under way");
        }
        let (since, note) = packages.look(tick(5)).expect("it is over");
        assert_eq!(since, tick(2));
        assert_eq!(
            note,
            "9 packages changed: p20 upgraded 1 → 2, p21 upgraded 1 → 2, p22 upgraded 1 → 2, p30 upgraded 1 → 2, \
             p31 upgraded 1 → 2, p32 upgraded 1 → 2 and 3 more"
        );
        assert_eq!(packages.look(tick(6)), None);
    }

    #[test]
    fn a_database_tells_that_something_changed() {
        let folder = tempfile::tempdir().expect("a folder");
        write(folder.path(), "lib/apk/db/installed", "P:musl\n");
        let root = Root::new(folder.path());
        let mut packages = Packages::new(&root).expect("apk is here");
        assert_eq!(packages.look(tick(1)), None);
        let file = std::fs::File::options().append(true).open(root.join("lib/apk/db/installed")).expect("it is there");
        file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(5)).expect("the time can be set");
        assert_eq!(packages.look(tick(2)), None);
        assert_eq!(packages.look(tick(3)), Some((tick(2), "a package changed: apk wrote its database".into())));
    }

    #[test]
    fn the_first_log_of_a_fresh_image_is_read() {
        let folder = tempfile::tempdir().expect("a folder");
        write(folder.path(), "var/lib/dpkg/status", "Package: dpkg\n");
        let mut packages = Packages::new(&Root::new(folder.path())).expect("dpkg is here");
        write(folder.path(), "var/log/dpkg.log", "2026-11-25 06:00:00 install jq:amd64 <none> 1.6\n");
        assert_eq!(packages.look(tick(1)), None);
        assert_eq!(packages.look(tick(2)), Some((tick(1), "a package changed: jq installed 1.6".into())));
    }

    #[test]
    fn a_machine_without_packages_says_so() {
        let folder = tempfile::tempdir().expect("a folder");
        assert!(Packages::new(&Root::new(folder.path())).expect_err("nothing").contains("dpkg, rpm"));
    }
}
