//! What the network thread shows to the others.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Counters and state, read by reports at any time.
#[derive(Debug, Default)]
pub struct NetStatus {
    connected: AtomicBool,
    sent_bytes: AtomicU64,
    connects: AtomicU64,
    outbox_bytes: AtomicU64,
    outbox_dropped: AtomicU64,
    session: Mutex<Option<String>>,
    outbox: Mutex<Option<String>>,
}

impl NetStatus {
    /// Whether there is a session with the broker.
    #[must_use]
    pub fn connected(&self) -> bool {
        self.connected.load(Ordering::Relaxed)
    }

    /// Payload bytes sent since the start, repetitions included.
    #[must_use]
    pub fn sent_bytes(&self) -> u64 {
        self.sent_bytes.load(Ordering::Relaxed)
    }

    /// Sessions since the start.
    #[must_use]
    pub fn connects(&self) -> u64 {
        self.connects.load(Ordering::Relaxed)
    }

    /// Bytes in the outbox.
    #[must_use]
    pub fn outbox_bytes(&self) -> u64 {
        self.outbox_bytes.load(Ordering::Relaxed)
    }

    /// Messages the outbox dropped since the start.
    #[must_use]
    pub fn outbox_dropped(&self) -> u64 {
        self.outbox_dropped.load(Ordering::Relaxed)
    }

    /// What is wrong, in plain words; empty when nothing is.
    #[must_use]
    pub fn troubles(&self) -> Vec<String> {
        [&self.session, &self.outbox].into_iter().filter_map(|t| lock(t).clone()).collect()
    }

    pub(super) fn add_sent(&self, bytes: usize) {
        self.sent_bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    pub(super) fn set_outbox(&self, bytes: u64, dropped: u64) {
        self.outbox_bytes.store(bytes, Ordering::Relaxed);
        self.outbox_dropped.store(dropped, Ordering::Relaxed);
    }

    pub(super) fn came_up(&self) {
        self.connected.store(true, Ordering::Relaxed);
        self.connects.fetch_add(1, Ordering::Relaxed);
        *lock(&self.session) = None;
    }

    pub(super) fn went_down(&self, why: String) {
        self.connected.store(false, Ordering::Relaxed);
        *lock(&self.session) = Some(why);
    }

    /// Whether that changed anything.
    pub(super) fn set_outbox_trouble(&self, trouble: Option<&str>) -> bool {
        let mut held = lock(&self.outbox);
        let changed = held.is_some() != trouble.is_some();
        if changed {
            *held = trouble.map(str::to_owned);
        }
        changed
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
