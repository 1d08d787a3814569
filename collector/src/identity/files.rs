//! Files of an identity: they appear whole or not at all, keys are readable by their owner alone, and everything belongs to whom the data folder
//! belongs to, also when root makes it.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// Largest file that is read.
const LARGEST: u64 = 1 << 20;

/// A file cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("cannot {verb} {path}: {source}")]
pub struct FileError {
    /// What was tried.
    pub verb: &'static str,
    /// With which file.
    pub path: PathBuf,
    /// The system's reason.
    pub source: std::io::Error,
}

fn failed(verb: &'static str, path: &Path) -> impl Fn(std::io::Error) -> FileError {
    move |source| FileError { verb, path: path.to_owned(), source }
}

/// Reads a file of a bounded size.
///
/// # Errors
/// When it cannot be read, or is larger.
pub fn read(path: &Path) -> Result<Vec<u8>, FileError> {
    let wrong = failed("read", path);
    let size = std::fs::metadata(path).map_err(&wrong)?.len();
    if size > LARGEST {
        return Err(wrong(std::io::Error::other(format!("it has {size} bytes, more than {LARGEST}"))));
    }
    std::fs::read(path).map_err(&wrong)
}

/// Makes a folder that only its owner can enter.
///
/// # Errors
/// When it cannot be made.
pub fn make_folder(path: &Path) -> Result<(), FileError> {
    DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(failed("make", path))?;
    give(path)
}

/// Writes a new file.
///
/// # Errors
/// When it cannot be written.
pub fn write(path: &Path, content: &[u8], is_secret: bool) -> Result<(), FileError> {
    replace(&[(path, content, is_secret)])
}

/// Where the next content of a file waits to be renamed.
#[must_use]
pub fn waiting(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".new");
    name.into()
}

/// Replaces files, in this order: all of them wait on the disk before the first is renamed. `true` makes one readable by its owner alone.
///
/// # Errors
/// When one cannot be written.
pub fn replace(all: &[(&Path, &[u8], bool)]) -> Result<(), FileError> {
    for (path, content, is_secret) in all {
        let new = waiting(path);
        remove(&new)?;
        let wrong = failed("write", &new);
        let mode = if *is_secret { 0o600 } else { 0o644 };
        let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&new).map_err(&wrong)?;
        file.write_all(content).and_then(|()| file.sync_all()).map_err(&wrong)?;
        give(&new)?;
    }
    all.iter().try_for_each(|(path, ..)| take(path))
}

/// Puts the content that waits into its place.
///
/// # Errors
/// When it cannot be renamed.
pub fn take(path: &Path) -> Result<(), FileError> {
    let wrong = failed("write", path);
    std::fs::rename(waiting(path), path).map_err(&wrong)?;
    // The name is on the disk when its folder is.
    match path.parent() {
        Some(folder) => File::open(folder).and_then(|folder| folder.sync_all()).map_err(&wrong),
        None => Ok(()),
    }
}

/// Removes a file, if it is there.
///
/// # Errors
/// When it cannot be removed.
pub fn remove(path: &Path) -> Result<(), FileError> {
    match std::fs::remove_file(path) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(failed("remove", path)(e)),
        _ => Ok(()),
    }
}

/// By which a change of a file shows; none when there is no such file.
#[must_use]
pub fn stamp(path: &Path) -> Option<(SystemTime, u64)> {
    let about = std::fs::metadata(path).ok()?;
    Some((about.modified().ok()?, about.len()))
}

/// What root makes belongs to the owner of the folder that it is in.
fn give(path: &Path) -> Result<(), FileError> {
    if !rustix::process::geteuid().is_root() {
        return Ok(());
    }
    let wrong = failed("give away", path);
    let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) else { return Ok(()) };
    let owner = std::fs::metadata(folder).map_err(&wrong)?;
    chown(path, Some(owner.uid()), Some(owner.gid())).map_err(&wrong)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn files_are_replaced_whole_and_keys_are_closed() {
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path().join("a/b");
        make_folder(&place).unwrap();
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&place), 0o700);
        let (open, closed) = (place.join("root.pem"), place.join("key.pem"));
        replace(&[(&open, b"one", false), (&closed, b"two", true)]).unwrap();
        assert_eq!((read(&open).unwrap(), read(&closed).unwrap()), (b"one".to_vec(), b"two".to_vec()));
        assert_eq!(mode(&closed), 0o600);
        let before = stamp(&open);
        write(&open, b"another", false).unwrap();
        assert_ne!(stamp(&open), before);
        assert!(!waiting(&open).exists());
        // What a crash left does not stand in the way.
        std::fs::write(waiting(&closed), "half").unwrap();
        write(&closed, b"whole", true).unwrap();
        assert_eq!((read(&closed).unwrap(), mode(&closed)), (b"whole".to_vec(), 0o600));
        remove(&open).unwrap();
        remove(&open).unwrap();
        assert_eq!(stamp(&open), None);
        let error = read(&open).unwrap_err().to_string();
        assert!(error.starts_with("cannot read ") && error.contains("root.pem"), "{error}");
    }
}
