//! Requests to nodes and their answers.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tacit_wire::codec::{Encoding, encode};
use tacit_wire::message::{Command, CommandKind, ResultMessage};
use tacit_wire::topic::Down;
use tacit_wire::{EventId, NodeId, SiteId, Topic};
use tokio::sync::mpsc;

use crate::clock::now_ms;

/// Carries messages to nodes; the broker in use.
pub trait Downlink: Send + Sync + std::fmt::Debug + 'static {
    /// Sends a message; it is queued and this returns at once.
    fn send(&self, topic: Topic, payload: Vec<u8>, retain: bool);
}

/// Parts of answers that may wait for a slow reader; beyond it the answer breaks off.
const PARTS_KEPT: usize = 64;
/// Requests that may be open at once.
const OPEN_MAX: usize = 4096;

/// Open requests by their id.
#[derive(Debug)]
pub struct Commands {
    downlink: Arc<dyn Downlink>,
    open: Arc<Mutex<HashMap<EventId, mpsc::Sender<ResultMessage>>>>,
}

/// An open request; dropping it forgets the request.
#[derive(Debug)]
pub struct Asked {
    id: EventId,
    parts: mpsc::Receiver<ResultMessage>,
    open: Arc<Mutex<HashMap<EventId, mpsc::Sender<ResultMessage>>>>,
}

impl Asked {
    /// The id of the request.
    #[must_use]
    pub fn id(&self) -> EventId {
        self.id
    }

    /// The next part of the answer, or `None` when it does not come in `time`.
    pub async fn part(&mut self, time: Duration) -> Option<ResultMessage> {
        tokio::time::timeout(time, self.parts.recv()).await.ok().flatten()
    }
}

impl Drop for Asked {
    fn drop(&mut self) {
        self.open.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.id);
    }
}

impl Commands {
    /// Requests that go out by `downlink`.
    #[must_use]
    pub fn new(downlink: Arc<dyn Downlink>) -> Self {
        Self { downlink, open: Arc::default() }
    }

    /// Sends a request and gives a handle to its answers; `None` when too many are open.
    #[must_use]
    pub fn ask(&self, site: &SiteId, node: &NodeId, kind: CommandKind, deadline: Duration) -> Option<Asked> {
        let (sender, parts) = mpsc::channel(PARTS_KEPT);
        let id = new_id();
        {
            let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
            if open.len() >= OPEN_MAX {
                return None;
            }
            open.insert(id, sender);
        }
        self.send(site, node, id, kind, deadline);
        Some(Asked { id, parts, open: Arc::clone(&self.open) })
    }

    /// Sends a request again under its old id: renews a lease.
    pub fn renew(&self, asked: &Asked, site: &SiteId, node: &NodeId, kind: CommandKind, deadline: Duration) {
        self.send(site, node, asked.id, kind, deadline);
    }

    /// Sends a request whose answer is handled by ingest itself.
    pub(super) fn send_quietly(&self, site: &SiteId, node: &NodeId, kind: CommandKind) {
        self.send(site, node, new_id(), kind, Duration::from_secs(60));
    }

    fn send(&self, site: &SiteId, node: &NodeId, id: EventId, kind: CommandKind, deadline: Duration) {
        let issued_ms = now_ms();
        let deadline_ms = issued_ms + i64::try_from(deadline.as_millis()).unwrap_or(i64::MAX / 2);
        let command = Command { id, deadline_ms, issued_ms, kind: Some(kind) };
        match encode(&command, Encoding::Cbor) {
            Ok(payload) => self.downlink.send(Topic::Down(site.clone(), node.clone(), Down::Command), payload, false),
            Err(e) => tracing::error!(error = %e, "A command of our own cannot be encoded."),
        }
    }

    /// Hands a part of an answer to who asked; nobody may, any more.
    pub(super) fn answer(&self, message: &ResultMessage) {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(sender) = open.get(&message.command)
            && sender.try_send(message.clone()).is_err()
        {
            open.remove(&message.command);
        }
    }
}

fn new_id() -> EventId {
    EventId(fastrand::u64(..).to_be_bytes())
}
