//! How watchers tell what they saw, and what they cannot see.

use std::sync::{Arc, Mutex, PoisonError};

use tacit_wire::message::{Absent, Context, ContextKind};
use tokio::sync::mpsc;
use tracing::{debug, info};

use crate::clock::Tick;

/// Notes that wait for the analysis, which takes all of them every second.
const QUEUED: usize = 128;
/// Longest text of a note, in characters.
const LONGEST: usize = 300;

/// A watcher's way to the analysis.
#[derive(Debug, Clone)]
pub struct Reporter {
    out: mpsc::Sender<Context>,
    board: Board,
}

impl Reporter {
    /// A reporter on `board`, and the end from which the analysis takes notes.
    #[must_use]
    pub fn new(board: Board) -> (Self, mpsc::Receiver<Context>) {
        let (out, notes) = mpsc::channel(QUEUED);
        (Self { out, board }, notes)
    }

    /// Tells what happened at `at`. Never waits: beyond the queue's bound a note is lost.
    pub fn tell(&self, kind: ContextKind, at: Tick, text: &str, unit: Option<String>) {
        let text = cut(text, LONGEST);
        if self.out.try_send(Context { kind, at_ms: at.wall_ms, text, unit }).is_err() {
            debug!("A note about the machine was lost: the analysis does not take any.");
        }
    }

    /// Says whether `watcher` can see anything; the reason is for people.
    pub fn state(&self, watcher: &'static str, state: Result<(), String>) {
        self.board.set(watcher, state);
    }
}

/// What each watcher can see, shared with reports and `doctor`.
#[derive(Debug, Clone, Default)]
pub struct Board(Arc<Mutex<Vec<State>>>);

/// A watcher, and why it cannot see anything, if it cannot.
type State = (&'static str, Option<String>);

impl Board {
    /// Takes note of a watcher's state; a change is logged once.
    pub fn set(&self, watcher: &'static str, state: Result<(), String>) {
        let reason = state.err();
        // The list is valid at every step, so a poisoned lock changes nothing.
        let mut list = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let before = match list.iter_mut().find(|(name, _)| *name == watcher) {
            Some((_, before)) => std::mem::replace(before, reason.clone()),
            None => {
                list.push((watcher, reason.clone()));
                None
            }
        };
        match (before, reason) {
            (None, Some(reason)) => info!(watcher, reason, "Cannot be watched on this machine."),
            (Some(_), None) => info!(watcher, "Is watched again."),
            _ => {}
        }
    }

    /// Whether a watcher sees what it is to see.
    #[must_use]
    pub fn works(&self, watcher: &str) -> bool {
        let list = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        list.iter().any(|(name, reason)| *name == watcher && reason.is_none())
    }

    /// What cannot be watched, and why.
    #[must_use]
    pub fn absent(&self) -> Vec<Absent> {
        let list = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let absent = |(name, reason): &(&str, Option<String>)| {
            Some(Absent { source: (*name).to_owned(), reason: cut(reason.as_deref()?, 200) })
        };
        list.iter().filter_map(absent).collect()
    }
}

/// At most `most` characters, on one line.
#[must_use]
pub fn cut(text: &str, most: usize) -> String {
    let clean = text.trim().chars().map(|c| if c.is_control() { ' ' } else { c });
    let mut out: String = clean.take(most).collect();
    if text.trim().chars().nth(most).is_some() {
        out.push('…');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notes_arrive_cut_and_never_wait() {
        let (reporter, mut notes) = Reporter::new(Board::default());
        let at = Tick { mono_ms: 5, wall_ms: 7 };
        reporter.tell(ContextKind::Kernel, at, &format!("a\nb{}", "x".repeat(5000)), Some("u.service".into()));
        let note = notes.try_recv().expect("it was told");
        assert_eq!((note.kind, note.at_ms, note.unit.as_deref()), (ContextKind::Kernel, 7, Some("u.service")));
        assert!(note.text.starts_with("a bxx") && note.text.chars().count() == LONGEST + 1);
        (0..QUEUED + 10).for_each(|_| reporter.tell(ContextKind::Kernel, at, "x", None));
    }

    #[test]
    fn what_cannot_be_watched_is_on_the_board() {
        let board = Board::default();
        assert!(!board.works("units"));
        board.set("units", Err("no systemd".into()));
        board.set("kernel-log", Ok(()));
        assert_eq!(board.absent(), [Absent { source: "units".into(), reason: "no systemd".into() }]);
        board.set("units", Ok(()));
        assert!(board.absent().is_empty() && board.works("units") && board.works("kernel-log"));
    }
}
