//! What else happened on the node: what explains an anomaly, and what rules look at beside samples.
//!
//! *Watchers* look where things happen ([`kernel_log`], [`units`], [`journal`], [`packages`]), each a task on the network
//! thread's runtime. What they saw goes through a [`Reporter`] to the analysis, which keeps it as [`Notes`], sends it as
//! an event of kind `context` within an allowance, and attaches it to the events near it. What a watcher cannot see here
//! is on the [`Board`], with the reason. [`boot`] tells how the machine went down before it booted.

pub mod boot;
mod child;
pub mod journal;
pub mod kernel_log;
mod notes;
pub mod packages;
mod repeats;
mod reporter;
pub mod units;

pub use journal::LogCounts;
pub use notes::Notes;
pub use reporter::{Board, Reporter};
pub use units::{UnitState, Units};

use crate::source::Root;
use crate::source::task::Task;

/// The names of all watchers, as `context.disable` takes them.
pub const NAMES: [&str; 4] = [kernel_log::NAME, units::NAME, journal::NAME, packages::NAME];

/// The watchers of the machine below `root`, without those that `disable` names; `units` and `logs` get what they see.
#[must_use]
pub fn watchers(root: &Root, disable: &[String], reporter: &Reporter, units: &Units, logs: &LogCounts) -> Vec<Task> {
    let enabled = |name: &str| disable.iter().all(|d| d != name);
    let task = |name: &str| -> Task {
        let (root, reporter) = (root.clone(), reporter.clone());
        match name {
            kernel_log::NAME => Box::pin(kernel_log::watch(root, reporter)),
            units::NAME => Box::pin(units::watch(root, reporter, units.clone())),
            journal::NAME => Box::pin(journal::watch(root, reporter, logs.clone())),
            _ => Box::pin(packages::watch(root, reporter)),
        }
    };
    NAMES.iter().filter(|name| enabled(name)).map(|name| task(name)).collect()
}

/// What each watcher would see on the machine below `root`, or why it would not; for `doctor`.
#[must_use]
pub fn examine(root: &Root, disable: &[String]) -> Vec<(&'static str, Result<String, String>)> {
    let look = |name: &'static str| {
        if disable.iter().any(|d| d == name) {
            return Err("context.disable names it".to_owned());
        }
        match name {
            kernel_log::NAME => kernel_log::examine(root),
            units::NAME => units::present(root).map(|()| "systemd runs this machine".to_owned()),
            journal::NAME => journal::present(root).map(|()| "the journal can be read".to_owned()),
            _ => packages::Packages::new(root).map(|p| p.describe()),
        }
    };
    NAMES.iter().map(|name| (*name, look(name))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bare_machine_explains_what_it_cannot_see() {
        let folder = tempfile::tempdir().expect("a folder");
        let root = Root::new(folder.path());
        let seen = examine(&root, &["journal".to_owned()]);
        assert!(seen.iter().all(|(_, state)| state.is_err()), "{seen:?}");
        assert_eq!(seen[2], ("journal", Err("context.disable names it".into())));
        let board = Board::default();
        let (reporter, _notes) = Reporter::new(board.clone());
        let tasks = watchers(&root, &["journal".to_owned()], &reporter, &Units::default(), &LogCounts::default());
        assert_eq!(tasks.len(), NAMES.len() - 1);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(all(tasks));
        let absent: Vec<String> = board.absent().into_iter().map(|a| a.source).collect();
        assert_eq!(absent, ["kernel-log", "units", "packages"]);
    }

    /// Where there is nothing to see a watcher ends.
    async fn all(tasks: Vec<Task>) {
        for task in tasks {
            task.await;
        }
    }
}
