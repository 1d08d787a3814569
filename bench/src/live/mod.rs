//! What benches on a live machine share: processes with an end, changes that are undone, helpers with a limit.

pub mod limit;
pub mod process;
pub mod undo;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result};
use tempfile::TempDir;
use undo::{Janitor, Promise, Undo};

/// Becomes true with Ctrl-C or a request to end.
///
/// # Errors
/// When signals cannot be waited for.
pub fn stop_flag() -> Result<Arc<AtomicBool>> {
    let stop = Arc::<AtomicBool>::default();
    let flag = Arc::clone(&stop);
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().context("cannot wait for signals")?;
    std::thread::spawn(move || {
        if runtime.block_on(tacit_collector::cli::stop_signal()).is_ok() {
            flag.store(true, Ordering::Relaxed);
            say("stopping: everything is undone first");
        }
    });
    Ok(stop)
}

/// What a run on a live machine stands on.
pub struct Stand {
    /// Becomes true when it is to end.
    pub stop: Arc<AtomicBool>,
    /// Undoes what was done, also when this program is killed.
    pub janitor: Arc<Janitor>,
    /// A killed bench cannot remove its own folder.
    _cleared: Promise,
    folder: TempDir,
}

impl Stand {
    /// With a folder for the run's files in `folder`, or where temporary files are.
    ///
    /// # Errors
    /// When there can be no folder, or signals cannot be waited for.
    pub fn new(folder: Option<&Path>) -> Result<Self> {
        let folder =
            folder.map_or_else(tempfile::tempdir, tempfile::tempdir_in).context("cannot make a folder for the run")?;
        let stop = stop_flag()?;
        let own = std::env::current_exe().context("cannot find this program's own path")?;
        let janitor = Janitor::start(&own)?;
        let cleared = janitor.promise(Undo::Clear(folder.path().to_owned()))?;
        Ok(Self { stop, janitor, _cleared: cleared, folder })
    }

    /// The run's files.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }
}

/// The agent that was named, or the one beside this program.
///
/// # Errors
/// When there is none.
pub fn agent(named: Option<&Path>) -> Result<PathBuf> {
    named.map_or_else(|| crate::footprint::beside_this_program("tacit-agent"), |path| Ok(path.to_owned()))
}

/// Progress goes to standard error, so that the result can be piped.
pub fn say(words: &str) {
    eprintln!("{words}");
}

/// `90s`, `10m` or `1h`.
///
/// # Errors
/// What is wrong with the text.
pub fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("{text:?} is not a duration: write a whole number and s, m or h, as in 10m");
    let (number, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit()).ok_or_else(wrong)?);
    let seconds = match unit {
        "s" => 1,
        "m" | "min" => 60,
        "h" => 3600,
        _ => return Err(wrong()),
    };
    let number: u64 = number.parse().map_err(|_| wrong())?;
    number.checked_mul(seconds).filter(|s| *s <= 7 * 86_400).map(Duration::from_secs).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_name_their_unit() {
        assert_eq!(duration("90s"), Ok(Duration::from_secs(90)));
        assert_eq!(duration("10m"), Ok(Duration::from_secs(600)));
        assert_eq!(duration("2h"), Ok(Duration::from_secs(7200)));
        for bad in ["", "10", "m", "10 m", "-1s", "1d", "99999999999999999999h", "999999h"] {
            assert!(duration(bad).is_err(), "{bad}");
        }
    }
}
