//! The newest answer of a probe, shared by its task, the sampling thread, rules and `doctor`.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

use super::ask::Answer;

/// The numbers of an answer, for the sampling thread.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Numbers {
    /// When it was given, milliseconds since boot.
    pub at_ms: u64,
    /// It answered as it should.
    pub up: bool,
    /// Seconds; NaN without an answer.
    pub seconds: f32,
    /// HTTP status.
    pub status: Option<u16>,
    /// End of the certificate's validity, Unix milliseconds.
    pub not_after_ms: Option<i64>,
}

/// The place of the newest answer.
#[derive(Debug, Default)]
pub struct Held {
    state: Mutex<State>,
    fresh: Condvar,
    /// Somebody wants an answer now.
    pub asked: Notify,
}

#[derive(Debug, Default)]
struct State {
    count: u64,
    failures: u32,
    at_ms: u64,
    answer: Answer,
    over: bool,
}

impl Held {
    fn lock(&self) -> MutexGuard<'_, State> {
        // The state is valid at every step, so a poisoned lock changes nothing.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Replaces the answer; gives the one before.
    pub fn put(&self, at_ms: u64, answer: Answer) -> Answer {
        let mut state = self.lock();
        state.count += 1;
        state.failures = if answer.up { 0 } else { state.failures.saturating_add(1) };
        state.at_ms = at_ms;
        self.fresh.notify_all();
        std::mem::replace(&mut state.answer, answer)
    }

    /// The numbers of the newest answer; `None` before the first. Copies a few words under the lock and allocates nothing.
    pub fn numbers(&self) -> Option<Numbers> {
        let state = self.lock();
        let Answer { up, seconds, status, not_after_ms, .. } = state.answer;
        (state.count > 0).then_some(Numbers { at_ms: state.at_ms, up, seconds, status, not_after_ms })
    }

    /// Nobody wants answers any more: whoever asks ends.
    pub fn end(&self) {
        self.lock().over = true;
        self.asked.notify_one();
    }

    /// Whether nobody wants answers any more.
    pub fn is_over(&self) -> bool {
        self.lock().over
    }

    /// How many answers there were.
    pub fn count(&self) -> u64 {
        self.lock().count
    }

    /// Failures in a row, and what is wrong.
    pub fn failures(&self) -> (u32, String) {
        let state = self.lock();
        (state.failures, state.answer.error.clone())
    }

    /// Asks for an answer and waits for it, at most `limit`.
    pub fn refresh(&self, limit: Duration) {
        let state = self.lock();
        let count = state.count;
        self.asked.notify_one();
        let older = |s: &mut State| s.count <= count;
        drop(self.fresh.wait_timeout_while(state, limit, older));
    }
}
