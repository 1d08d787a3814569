//! The files of an identity: `identity/` in the state folder, readable by the agent alone.
//!
//! ```text
//! key.pem        the key, PKCS#8; made here, never sent
//! cert.pem       the certificate, then its issuers
//! ca.pem         the roots to trust, for the broker and the collector
//! collector.pem  further roots for the collector's https, as given to `enroll --ca-file`; often absent
//! enrolled.json  where and as whom this node is enrolled, and when the certificate is renewed
//! ```
//!
//! Enrolling makes a whole new folder and swaps it in; renewing replaces single files that fit the same key. At each
//! moment, also at a power cut, what is there belongs together.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _, chown};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, RenameFlags, renameat_with};
use serde::{Deserialize, Serialize};
use tacit_wire::{NodeId, SiteId};

use super::key::Key;
use crate::watch::on_disk;

/// Name of the folder in the state folder.
const FOLDER: &str = "identity";

/// Where and as whom a node is enrolled.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Enrolled {
    /// `https://HOST:PORT`.
    pub collector: String,
    /// The node, as the certificate names it.
    pub node: NodeId,
    /// Its site.
    pub site: SiteId,
    /// `mqtts://HOST:PORT`.
    pub broker: String,
    /// End of the certificate's validity, Unix milliseconds.
    pub not_after_ms: i64,
    /// When to renew it, Unix milliseconds.
    pub renew_after_ms: i64,
}

/// What a collector gave.
#[derive(Debug, Clone)]
pub struct Given {
    /// The certificate, then its issuers; PEM.
    pub certificate: String,
    /// The roots to trust; PEM.
    pub roots: String,
    /// The rest.
    pub enrolled: Enrolled,
}

/// User and group that the files are given to.
pub type Owner = (u32, u32);

/// The folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Store {
    folder: PathBuf,
}

impl Store {
    /// In this state folder.
    #[must_use]
    pub fn new(data_dir: &Path) -> Self {
        Self { folder: data_dir.join(FOLDER) }
    }

    /// The one that this certificate is from, if it is from one: a certificate of one's own is not renewed here.
    #[must_use]
    pub fn of(certificate: &Path) -> Option<Self> {
        let store = Self { folder: certificate.parent()?.to_owned() };
        (store.certificate() == certificate && store.folder.join("enrolled.json").is_file()).then_some(store)
    }

    /// The folder.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// `key.pem`
    #[must_use]
    pub fn key_file(&self) -> PathBuf {
        self.folder.join("key.pem")
    }

    /// `cert.pem`
    #[must_use]
    pub fn certificate(&self) -> PathBuf {
        self.folder.join("cert.pem")
    }

    /// `ca.pem`
    #[must_use]
    pub fn roots(&self) -> PathBuf {
        self.folder.join("ca.pem")
    }

    /// `collector.pem`
    #[must_use]
    pub fn further_roots(&self) -> PathBuf {
        self.folder.join("collector.pem")
    }

    /// As whom this node is enrolled; `None` when it is not.
    ///
    /// # Errors
    /// When the file is there and cannot be used.
    pub fn enrolled(&self) -> Result<Option<Enrolled>, String> {
        let file = self.folder.join("enrolled.json");
        match fs::read(&file) {
            Ok(text) => serde_json::from_slice(&text).map(Some).map_err(|e| format!("{}: {e}", file.display())),
            Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Ok(None),
            Err(e) => Err(format!("cannot read {}: {e}", file.display())),
        }
    }

    /// The key.
    ///
    /// # Errors
    /// When it cannot be read or used.
    pub fn key(&self) -> Result<Key, String> {
        let file = self.key_file();
        let text = fs::read(&file).map_err(|e| format!("cannot read {}: {e}", file.display()))?;
        Key::read(&text).map_err(|e| format!("{}: {e}", file.display()))
    }

    fn fresh(&self) -> PathBuf {
        self.folder.with_extension("new")
    }

    /// Begins a new identity beside the one in force: its folder and its key are on disk before anybody is asked for a
    /// certificate, so that a disk that cannot be written wastes no token.
    ///
    /// # Errors
    /// As the system has it.
    pub fn begin(&self, key: &str) -> io::Result<()> {
        let fresh = self.fresh();
        remove(&fresh)?;
        if let Some(above) = fresh.parent() {
            fs::create_dir_all(above)?;
        }
        fs::DirBuilder::new().mode(0o700).create(&fresh)?;
        write_private(&fresh.join("key.pem"), key.as_bytes())
    }

    /// The key of an identity that was begun and not completed, because no answer came: the collector may know it already,
    /// and answers once more for the same token.
    #[must_use]
    pub fn begun(&self) -> Option<Key> {
        Key::read(&fs::read(self.fresh().join("key.pem")).ok()?).ok()
    }

    /// Completes what [`Self::begin`] began and puts it in force.
    ///
    /// # Errors
    /// As the system has it; what was in force then stays so.
    pub fn complete(&self, given: &Given, further_roots: Option<&str>, owner: Option<Owner>) -> io::Result<()> {
        let fresh = self.fresh();
        write_private(&fresh.join("cert.pem"), given.certificate.as_bytes())?;
        write_private(&fresh.join("ca.pem"), given.roots.as_bytes())?;
        if let Some(roots) = further_roots {
            write_private(&fresh.join("collector.pem"), roots.as_bytes())?;
        }
        write_private(&fresh.join("enrolled.json"), json(&given.enrolled).as_bytes())?;
        if let Some((user, group)) = owner {
            for entry in fs::read_dir(&fresh)? {
                chown(entry?.path(), Some(user), Some(group))?;
            }
            chown(&fresh, Some(user), Some(group))?;
        }
        sync_folder(&fresh)?;
        swap(&fresh, &self.folder)?;
        sync_folder(self.folder.parent().unwrap_or(Path::new(".")))?;
        remove(&fresh)
    }

    /// Gives up what [`Self::begin`] began.
    pub fn abandon(&self) {
        let _ = remove(&self.fresh());
    }

    /// Puts a renewed certificate for the same key in force. Roots first: they hold the old ones too.
    ///
    /// # Errors
    /// As the system has it; the old certificate then goes on.
    pub fn renew(&self, given: &Given) -> io::Result<()> {
        let _wait = on_disk();
        write_private(&self.roots(), given.roots.as_bytes())?;
        write_private(&self.certificate(), given.certificate.as_bytes())?;
        write_private(&self.folder.join("enrolled.json"), json(&given.enrolled).as_bytes())?;
        sync_folder(&self.folder)
    }
}

/// Whom files belong to that root writes for the agent: the owner of the state folder. `None` for everybody but root.
///
/// # Errors
/// When the folder cannot be looked at.
pub fn owner_of(data_dir: &Path) -> io::Result<Option<Owner>> {
    if !rustix::process::geteuid().is_root() {
        return Ok(None);
    }
    let about = fs::metadata(data_dir)?;
    Ok(Some((about.uid(), about.gid())))
}

fn json(enrolled: &Enrolled) -> String {
    serde_json::to_string_pretty(enrolled).expect("texts and numbers can be written") + "\n"
}

/// Replaces a file that only its owner may read.
fn write_private(path: &Path, text: &[u8]) -> io::Result<()> {
    let fresh = path.with_extension("new");
    if let Err(e) = fs::remove_file(&fresh)
        && e.kind() != io::ErrorKind::NotFound
    {
        return Err(e);
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&fresh)?;
    // The mask of the process may have taken more away than was meant.
    file.set_permissions(fs::Permissions::from_mode(0o600))?;
    file.write_all(text)?;
    file.sync_data()?;
    fs::rename(&fresh, path)
}

fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

fn remove(folder: &Path) -> io::Result<()> {
    match fs::remove_dir_all(folder) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
        _ => Ok(()),
    }
}

/// Puts `fresh` in the place of `folder`; what was there is `fresh` afterwards.
fn swap(fresh: &Path, folder: &Path) -> io::Result<()> {
    if !folder.exists() {
        return fs::rename(fresh, folder);
    }
    match renameat_with(CWD, fresh, CWD, folder, RenameFlags::EXCHANGE) {
        Ok(()) => Ok(()),
        Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOSYS) => swap_in_steps(fresh, folder),
        Err(e) => Err(e.into()),
    }
}

/// For file systems that cannot exchange: for a moment there is none, which an agent meets with another attempt.
fn swap_in_steps(fresh: &Path, folder: &Path) -> io::Result<()> {
    let old = folder.with_extension("old");
    remove(&old)?;
    fs::rename(folder, &old)?;
    fs::rename(fresh, folder)?;
    remove(&old)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given(n: i64) -> Given {
        Given {
            certificate: format!("certificate {n}"),
            roots: format!("roots {n}"),
            enrolled: Enrolled {
                collector: "https://hq.example:8420".into(),
                node: "web-1".parse().expect("a node"),
                site: "lab".parse().expect("a site"),
                broker: "mqtts://hq.example:8883".into(),
                not_after_ms: n,
                renew_after_ms: n - 1,
            },
        }
    }

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).expect("it is there").permissions().mode() & 0o7777
    }

    fn read(path: &Path) -> String {
        fs::read_to_string(path).expect("it is there")
    }

    #[test]
    fn an_identity_comes_whole_is_renewed_and_replaced() {
        let folder = tempfile::tempdir().expect("a folder");
        let store = Store::new(&folder.path().join("state"));
        assert_eq!(store.enrolled(), Ok(None));
        let (key, text) = Key::generate().expect("a key");
        store.begin(&text).expect("it can be written");
        assert_eq!(store.enrolled(), Ok(None), "nothing is in force yet");
        store.complete(&given(10), None, None).expect("it can be written");
        assert_eq!(store.enrolled(), Ok(Some(given(10).enrolled)));
        assert_eq!(store.key().expect("a key").public(), key.public());
        assert_eq!(mode(store.folder()), 0o700);
        for file in ["key.pem", "cert.pem", "ca.pem", "enrolled.json"] {
            assert_eq!(mode(&store.folder().join(file)), 0o600, "{file}");
        }
        assert!(!store.further_roots().exists());

        store.renew(&given(20)).expect("it can be written");
        assert_eq!((read(&store.certificate()), read(&store.roots())), ("certificate 20".into(), "roots 20".into()));
        assert_eq!(store.key().expect("a key").public(), key.public(), "the key stays");

        let (_, other) = Key::generate().expect("a key");
        store.begin(&other).expect("it can be written");
        assert_eq!(store.key().expect("a key").public(), key.public(), "the old one is in force until the end");
        store.complete(&given(30), Some("more roots"), None).expect("it can be written");
        assert_ne!(store.key().expect("a key").public(), key.public());
        assert_eq!(read(&store.further_roots()), "more roots");
        let left: Vec<_> = fs::read_dir(folder.path().join("state")).expect("a folder").flatten().collect();
        assert_eq!(left.len(), 1, "nothing else is left: {left:?}");
    }

    #[test]
    fn what_was_given_up_leaves_nothing() {
        let folder = tempfile::tempdir().expect("a folder");
        let store = Store::new(folder.path());
        store.begin("key").expect("it can be written");
        assert!(store.begun().is_none(), "that is no key");
        let (key, text) = Key::generate().expect("a key");
        store.begin(&text).expect("it begins anew");
        assert_eq!(store.begun().expect("a key").public(), key.public());
        store.abandon();
        assert!(store.begun().is_none());
        assert_eq!(fs::read_dir(folder.path()).expect("a folder").count(), 0);
    }

    #[test]
    fn a_folder_is_swapped_also_where_the_file_system_cannot_exchange() {
        let folder = tempfile::tempdir().expect("a folder");
        let (fresh, place) = (folder.path().join("a"), folder.path().join("b"));
        for steps in [swap, swap_in_steps] {
            let _ = remove(&fresh).and_then(|()| remove(&place));
            for (path, text) in [(&fresh, "new"), (&place, "old")] {
                fs::create_dir(path).expect("a folder");
                fs::write(path.join("f"), text).expect("a file");
            }
            steps(&fresh, &place).expect("it works");
            assert_eq!(read(&place.join("f")), "new");
        }
        swap(&place, &fresh).expect("into an empty place");
        assert!(fresh.join("f").exists());
        assert!(!folder.path().join("b.old").exists());
    }

    #[test]
    fn only_a_certificate_from_here_is_renewed_here() {
        let folder = tempfile::tempdir().expect("a folder");
        let store = Store::new(folder.path());
        let (_, key) = Key::generate().expect("a key");
        assert_eq!(Store::of(&store.certificate()), None);
        store.begin(&key).and_then(|()| store.complete(&given(1), None, None)).expect("it can be written");
        assert_eq!(Store::of(&store.certificate()).as_ref(), Some(&store));
        assert_eq!(Store::of(&store.folder().join("own.pem")), None);
        assert_eq!(Store::of(Path::new("/")), None);
    }

    #[test]
    fn a_broken_file_is_named() {
        let folder = tempfile::tempdir().expect("a folder");
        let store = Store::new(folder.path());
        fs::create_dir(store.folder()).expect("a folder");
        fs::write(store.folder().join("enrolled.json"), "{").expect("a file");
        assert!(store.enrolled().is_err_and(|e| e.contains("enrolled.json")));
        assert!(store.key().is_err_and(|e| e.contains("key.pem")));
    }
}
