//! Changes that are handed to the sampling thread while it runs: what waits is taken at the next sample.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Both ends: cheap to clone. Looking costs one relaxed load and allocates nothing.
#[derive(Debug)]
pub struct Edits<T>(Arc<Waiting<T>>);

#[derive(Debug)]
struct Waiting<T> {
    some: AtomicBool,
    list: Mutex<Vec<T>>,
}

impl<T> Clone for Edits<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T> Default for Edits<T> {
    fn default() -> Self {
        Self(Arc::new(Waiting { some: AtomicBool::new(false), list: Mutex::new(Vec::new()) }))
    }
}

impl<T> Edits<T> {
    fn lock(&self) -> MutexGuard<'_, Vec<T>> {
        // The list is valid at every step, so a poisoned lock changes nothing.
        self.0.list.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Hands over.
    pub fn put(&self, edit: T) {
        let mut list = self.lock();
        list.push(edit);
        self.0.some.store(true, Ordering::Relaxed);
    }

    /// What was handed over since the last call, in order.
    #[must_use]
    pub fn take(&self) -> Vec<T> {
        if !self.0.some.load(Ordering::Relaxed) {
            return Vec::new();
        }
        let mut list = self.lock();
        self.0.some.store(false, Ordering::Relaxed);
        std::mem::take(&mut *list)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_put_is_taken_once_in_order() {
        let edits = Edits::default();
        assert!(edits.take().is_empty());
        let other = edits.clone();
        other.put(1);
        other.put(2);
        assert_eq!(edits.take(), [1, 2]);
        assert!(edits.take().is_empty());
    }
}
