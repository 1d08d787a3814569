//! Readers that are slow or may block get a thread of their own; the sampling thread takes their newest result.
//!
//! A process scan takes milliseconds, a scrape waits for somebody else's server, a directory walk meets whatever is
//! mounted. Each runs on its `tacit-slow-*` thread and publishes an `Arc`; taking it is a lock held for a pointer copy.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// A reader and its newest result. Dropping it ends the thread at its next wake-up; a thread that is blocked in a read
/// is left behind, not waited for.
#[derive(Debug)]
pub struct Feed<T> {
    shared: Arc<Shared<T>>,
}

#[derive(Debug)]
struct Shared<T> {
    state: Mutex<State<T>>,
    wake: Condvar,
    fresh: Condvar,
}

#[derive(Debug)]
struct State<T> {
    newest: Option<Arc<T>>,
    /// How many results there were.
    count: u64,
    /// Somebody wants a result now.
    asked: bool,
    interval: Duration,
    stop: bool,
}

impl<T> Shared<T> {
    fn lock(&self) -> MutexGuard<'_, State<T>> {
        // The state is valid at every step, so a poisoned lock changes nothing.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T: Send + Sync + 'static> Feed<T> {
    /// Starts a thread that calls `read` at once, every `interval`, and on [`request`](Self::request).
    ///
    /// # Errors
    /// When the system refuses another thread.
    pub fn start(
        name: &str,
        interval: Duration,
        mut read: impl FnMut() -> T + Send + 'static,
    ) -> std::io::Result<Self> {
        let state = State { newest: None, count: 0, asked: false, interval, stop: false };
        let shared = Arc::new(Shared { state: Mutex::new(state), wake: Condvar::new(), fresh: Condvar::new() });
        let feed = Self { shared: Arc::clone(&shared) };
        std::thread::Builder::new().name(name.to_owned()).stack_size(256 * 1024).spawn(move || {
            loop {
                let result = Arc::new(read());
                let mut state = shared.lock();
                state.newest = Some(result);
                state.count += 1;
                shared.fresh.notify_all();
                let interval = state.interval;
                let idle = |s: &mut State<T>| !s.stop && !s.asked;
                let (mut state, _) =
                    shared.wake.wait_timeout_while(state, interval, idle).unwrap_or_else(PoisonError::into_inner);
                if state.stop {
                    return;
                }
                state.asked = false;
            }
        })?;
        Ok(feed)
    }

    /// Asks for a result now; returns at once.
    pub fn request(&self) {
        self.shared.lock().asked = true;
        self.shared.wake.notify_all();
    }

    /// Changes the distance of readings, from the next one on.
    pub fn set_interval(&self, interval: Duration) {
        self.shared.lock().interval = interval;
    }

    /// The newest result and how many there were; `None` before the first.
    #[must_use]
    pub fn newest(&self) -> Option<(u64, Arc<T>)> {
        let state = self.shared.lock();
        state.newest.as_ref().map(|newest| (state.count, Arc::clone(newest)))
    }

    /// Asks for a result and waits for it, at most `limit`.
    pub fn refresh(&self, limit: Duration) {
        let count = self.shared.lock().count;
        self.request();
        drop(self.wait_beyond(count, limit));
    }

    /// Waits, at most `limit`, until there were more than `count` results. For programs that print once and for tests.
    #[must_use]
    pub fn wait_beyond(&self, count: u64, limit: Duration) -> Option<Arc<T>> {
        let state = self.shared.lock();
        let older = |s: &mut State<T>| s.count <= count;
        let (state, _) =
            self.shared.fresh.wait_timeout_while(state, limit, older).unwrap_or_else(PoisonError::into_inner);
        if state.count > count { state.newest.clone() } else { None }
    }
}

impl<T> Drop for Feed<T> {
    fn drop(&mut self) {
        self.shared.lock().stop = true;
        self.shared.wake.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    #[test]
    fn reads_at_once_and_on_request() {
        let mut n = 0;
        let feed = Feed::start("test", LONG, move || {
            n += 1;
            n
        })
        .expect("a thread");
        assert_eq!(feed.wait_beyond(0, LONG).as_deref(), Some(&1));
        feed.request();
        assert_eq!(feed.wait_beyond(1, LONG).as_deref(), Some(&2));
        assert_eq!(feed.newest().map(|(count, n)| (count, *n)), Some((2, 2)));
    }
}
