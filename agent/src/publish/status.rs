//! What the network thread shows to the others.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use tokio::sync::Notify;

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
    certificate: Mutex<Option<String>>,
    certificate_refused: Notify,
    renewed: Notify,
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
        [&self.session, &self.outbox, &self.certificate].into_iter().filter_map(|t| lock(t).clone()).collect()
    }

    /// Says what is wrong with this node's certificate, or that nothing is. Whether that changed anything.
    pub fn set_certificate_trouble(&self, trouble: Option<String>) -> bool {
        let mut held = lock(&self.certificate);
        let changed = *held != trouble;
        *held = trouble;
        changed
    }

    /// The other side refuses this node's certificate: whoever waits in [`Self::certificate_refused`] hears it, once.
    pub fn refuse_certificate(&self) {
        self.certificate_refused.notify_one();
    }

    /// Waits until the other side has refused this node's certificate.
    pub async fn certificate_refused(&self) {
        self.certificate_refused.notified().await;
    }

    /// There is a new certificate: whoever waits in [`Self::renewed`] connects at once.
    pub fn renew(&self) {
        self.renewed.notify_one();
    }

    /// Waits for a new certificate.
    pub async fn renewed(&self) {
        self.renewed.notified().await;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn troubles_come_and_go_by_their_kind() {
        let status = NetStatus::default();
        assert!(status.troubles().is_empty());
        status.went_down("no broker".into());
        assert!(status.set_certificate_trouble(Some("it ends".into())));
        assert!(!status.set_certificate_trouble(Some("it ends".into())), "nothing new");
        assert_eq!(status.troubles(), ["no broker", "it ends"]);
        status.came_up();
        assert_eq!(status.troubles(), ["it ends"], "a session says nothing about the certificate's end");
        assert!(status.set_certificate_trouble(None));
        assert!(status.troubles().is_empty());
    }
}
