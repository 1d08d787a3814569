//! What the collector was told about the node, as it came.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use serde::Serialize;
use tacit_collector::ingest::Live;
use tacit_collector::store::{EventRecord, Store};
use tacit_wire::message::{EventKind, Phase};
use tacit_wire::{EventId, NodeId, Seq};
use tokio::runtime::Runtime;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;
use tokio::task::JoinHandle;

/// An onset is an estimate: so much before the start is still of it, in seconds.
const BEFORE_S: f64 = 30.0;

/// A phase of an event, as the collector had it.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Sighting {
    /// When it came, seconds since the watch began (by a clock that never jumps).
    pub at_s: f64,
    /// When what it tells of began, as the collector corrected it, on the same scale.
    pub onset_s: f64,
    /// Which event.
    pub event: String,
    /// `anomaly`, `rule` or `context`.
    pub kind: String,
    /// The rule, if one found it.
    pub rule: Option<String>,
    /// Likely kind of fault, when the event names one.
    pub fault: Option<String>,
    /// Its sentence.
    pub text: String,
    /// Processes it lists.
    pub processes: Vec<String>,
    /// Units it names, of processes and of what else happened.
    pub units: Vec<String>,
    /// It was new, or back after its close: somebody would be told.
    pub opens: bool,
    /// It came back after its close: somebody was told of it before.
    pub again: bool,
    /// It is over.
    pub closes: bool,
}

impl Sighting {
    /// Whether it says that something is wrong; a context event only says what happened.
    pub fn is_alarm(&self) -> bool {
        self.kind != "context"
    }

    /// Whether it may be about what began at a time. Agents tell of their connections every five minutes, so what the map finds comes
    /// late: while the next fault is at work it is news of the one before.
    pub fn is_of(&self, start_s: f64) -> bool {
        self.at_s >= start_s && self.onset_s >= start_s - BEFORE_S
    }
}

/// Follows one node, on a task of its own.
pub struct Watch {
    began: Instant,
    state: Arc<Mutex<State>>,
    task: JoinHandle<()>,
}

#[derive(Default)]
struct State {
    known: BTreeMap<EventId, Known>,
    seen: Vec<Sighting>,
}

/// What is known of an event.
struct Known {
    seq: Seq,
    closed: bool,
    open: bool,
}

impl Watch {
    /// Follows `node` from now on.
    pub fn start(runtime: &Runtime, mut live: Receiver<Live>, store: Arc<dyn Store>, node: NodeId) -> Self {
        let (began, state) = (Instant::now(), Arc::<Mutex<State>>::default());
        let began_wall_s = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |d| d.as_secs_f64());
        let shared = Arc::clone(&state);
        let task = runtime.spawn(async move {
            loop {
                match live.recv().await {
                    Ok(Live::Event(from, id)) if from == node => {
                        if let Ok(Some(record)) = store.event(&node, id).await {
                            let at_s = began.elapsed().as_secs_f64();
                            let onset_s = record.onset_ms as f64 / 1e3 - began_wall_s;
                            shared.lock().unwrap_or_else(PoisonError::into_inner).take(id, &record, at_s, onset_s);
                        }
                    }
                    Err(RecvError::Closed) => return,
                    Ok(_) | Err(RecvError::Lagged(_)) => {}
                }
            }
        });
        Self { began, state, task }
    }

    /// Seconds since the watch began.
    pub fn now_s(&self) -> f64 {
        self.began.elapsed().as_secs_f64()
    }

    /// Anomalies that are open: while one is, the model opens no other. An open rule hides nothing.
    pub fn open(&self) -> usize {
        self.lock().known.values().filter(|k| k.open).count()
    }

    /// All that was seen, in order.
    pub fn seen(&self) -> Vec<Sighting> {
        self.lock().seen.clone()
    }

    /// Whether an alarm opened, or came back, since a time.
    pub fn alarmed_since(&self, at_s: f64) -> bool {
        self.lock().seen.iter().any(|s| s.is_alarm() && s.opens && s.at_s >= at_s)
    }

    /// Whether an alarm opened, or came back, that may be about what began at a time.
    pub fn alarmed_of(&self, start_s: f64) -> bool {
        self.lock().seen.iter().any(|s| s.is_alarm() && s.opens && s.is_of(start_s))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl State {
    fn take(&mut self, id: EventId, record: &EventRecord, at_s: f64, onset_s: f64) {
        let closed = record.event.phase == Phase::Close;
        let seq = record.event.head.seq;
        let before = self.known.get(&id);
        // A phase is told of when it comes, and once more when it was looked at.
        if before.is_some_and(|k| k.seq == seq) {
            return;
        }
        let again = !closed && before.is_some_and(|k| k.closed);
        let opens = before.is_none() || again;
        self.seen.push(Sighting { at_s, onset_s, opens, again, closes: closed, ..sighting(record) });
        let open = !closed && record.event.kind == EventKind::Anomaly;
        self.known.insert(id, Known { seq, closed, open });
    }
}

/// What a record says, without what only the order of phases tells.
fn sighting(record: &EventRecord) -> Sighting {
    let event = &record.event;
    // The event's JSON is read for what this crate need not know the type of.
    let json = serde_json::to_value(event).unwrap_or_default();
    let of_processes = event.processes.iter().filter_map(|p| p.unit.clone());
    let of_context = event.context.iter().filter_map(|c| c.unit.clone());
    Sighting {
        event: event.event.to_string(),
        kind: event.kind.to_string(),
        rule: event.rule.clone(),
        fault: json.get("fault").and_then(|f| f.as_str()).map(ToOwned::to_owned),
        text: event.text.clone(),
        processes: event.processes.iter().map(|p| p.name.clone()).collect(),
        units: of_processes.chain(of_context).collect(),
        ..Sighting::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A record as the collector's API gives it.
    fn record(phase: &str, seq: u64) -> EventRecord {
        let head = serde_json::json!({ "node": "n", "boot": "00".repeat(16), "stream": "00".repeat(8), "seq": seq,
            "oldest": 0, "wall_ms": 0, "mono_ms": 0 });
        let event = serde_json::json!({ "head": head, "event": "11".repeat(8), "kind": "anomaly", "phase": phase,
            "onset_ms": 0, "onset_mono_ms": 0, "severity": 0.5, "score": 1.0, "text": "CPU busy", "end_ms": null,
            "rule": null, "recording": null, "model": null, "stage": null });
        serde_json::from_value(serde_json::json!({ "event": event, "onset_ms": 0, "received_ms": 0, "incident": null,
            "revision": seq }))
        .expect("the API's form")
    }

    #[test]
    fn an_event_opens_closes_and_comes_back() {
        let mut state = State::default();
        let id = EventId([1; 8]);
        let mut take = |phase, seq, at_s| {
            state.take(id, &record(phase, seq), at_s, at_s);
            let last = state.seen.last().expect("one was taken");
            (last.opens, last.again, last.closes, state.known[&id].open)
        };
        assert_eq!(take("open", 1, 1.0), (true, false, false, true));
        assert_eq!(take("update", 2, 2.0), (false, false, false, true));
        assert_eq!(take("close", 3, 3.0), (false, false, true, false));
        // The same phase once more, when it was looked at: nothing new.
        assert_eq!(take("close", 3, 4.0), (false, false, true, false));
        assert_eq!(take("update", 5, 5.0), (true, true, false, true));
        assert_eq!(take("close", 6, 6.0), (false, false, true, false));
    }
}
