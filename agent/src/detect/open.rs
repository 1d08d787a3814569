//! The open events that somebody was told of, on disk: whatever ends the agent, the next start ends them. What goes on is told
//! anew, by an event of its own, which the collector takes into the same incident.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use tacit_wire::EventId;
use tacit_wire::message::{Event, EventKind, Phase};
use tracing::warn;

use super::event::Sender;
use crate::clock::Tick;
use crate::replace::replace;

/// More open events than a node has; the file stays small.
const MOST: usize = 256;
/// A larger file is not ours.
const LARGEST: u64 = 4 << 20;

/// The list.
#[derive(Debug)]
pub struct OpenEvents {
    path: PathBuf,
    open: Vec<Event>,
    /// Events that have ended but stand in the file until it is written next: their ending may be lost with the process that
    /// told it, and telling it twice does no harm.
    ended: Vec<EventId>,
    failing: bool,
}

impl OpenEvents {
    /// The list in `folder`, with what was open when the last process ended.
    #[must_use]
    pub fn load(folder: &Path) -> Self {
        let path = folder.join("open-events.json");
        let open = match read(&path) {
            Ok(open) => open,
            Err(e) if e.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(e) => {
                warn!(file = %path.display(), error = %e, "The list of open events cannot be used; they stay open.");
                Vec::new()
            }
        };
        Self { path, open, ended: Vec::new(), failing: false }
    }

    /// The endings of all that was open when the last process ended. They are to be sent, and so to be followed.
    #[must_use]
    pub fn endings(&self, sender: &Sender, at: Tick) -> Vec<Event> {
        let end = |event: &Event| Event {
            head: sender.head(at),
            phase: Phase::Close,
            end_ms: Some(at.wall_ms),
            ..event.clone()
        };
        self.open.iter().map(end).collect()
    }

    /// The endings of what a model raised and still goes on: nobody is to raise anything any more.
    #[must_use]
    pub fn anomaly_endings(&self, sender: &Sender, at: Tick) -> Vec<Event> {
        let mut endings = self.endings(sender, at);
        endings.retain(|e| e.kind == EventKind::Anomaly && !self.ended.contains(&e.event));
        endings
    }

    /// Takes note of an event that is sent.
    pub fn follow(&mut self, event: &Event) {
        if event.kind == EventKind::Context {
            return;
        }
        self.ended.retain(|ended| *ended != event.event);
        let listed = self.open.iter().any(|e| e.event == event.event);
        if event.phase == Phase::Close && listed {
            self.ended.push(event.event);
        } else if event.phase != Phase::Close && !listed && self.open.len() < MOST {
            // What is large was said when it opened.
            self.open.push(Event { recording: None, processes: Vec::new(), ..event.clone() });
            self.write();
        }
    }

    /// Takes what has ended off the file.
    pub fn tidy(&mut self) {
        if !self.ended.is_empty() || self.failing {
            self.write();
        }
    }

    fn write(&mut self) {
        let ended = std::mem::take(&mut self.ended);
        self.open.retain(|e| !ended.contains(&e.event));
        let written =
            serde_json::to_vec(&self.open).map_err(io::Error::from).and_then(|bytes| replace(&self.path, &[&bytes]));
        if let (Err(e), false) = (&written, self.failing) {
            warn!(file = %self.path.display(), error = %e, "Cannot write the list of open events; it is tried again.");
        }
        self.failing = written.is_err();
    }
}

fn read(path: &Path) -> io::Result<Vec<Event>> {
    let size = fs::metadata(path)?.len();
    if size > LARGEST {
        return Err(io::Error::other(format!("it has {size} bytes")));
    }
    Ok(serde_json::from_slice(&fs::read(path)?)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::detect::event::new_id;
    use tacit_wire::BootId;

    const AT: Tick = Tick { mono_ms: 5_000, wall_ms: 1_700_000_000_000 };

    fn sender() -> Sender {
        Sender { node: "n1".parse().expect("a name"), boot: BootId([7; 16]) }
    }

    fn opened(list: &mut OpenEvents, kind: EventKind) -> Event {
        let event = sender().event(new_id(), kind, Phase::Open, AT, AT);
        list.follow(&event);
        event
    }

    #[test]
    fn what_was_open_is_ended_by_the_next_process() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut list = OpenEvents::load(folder.path());
        assert!(list.endings(&sender(), AT).is_empty());
        let (a, b) = (opened(&mut list, EventKind::Anomaly), opened(&mut list, EventKind::Rule));
        opened(&mut list, EventKind::Context);

        // Killed: the next process ends both, and is killed before that is on its way.
        let later = Tick { mono_ms: 9_000, ..AT };
        let mut next = OpenEvents::load(folder.path());
        let endings = next.endings(&sender(), later);
        assert_eq!(endings.iter().map(|e| e.event).collect::<Vec<_>>(), [a.event, b.event]);
        assert!(endings.iter().all(|e| e.phase == Phase::Close && e.head.mono_ms == 9_000 && e.end_ms.is_some()));
        endings.iter().for_each(|e| next.follow(e));
        let mut third = OpenEvents::load(folder.path());
        assert_eq!(third.endings(&sender(), later).len(), 2);

        // One of them comes back to life before the file is written.
        third.endings(&sender(), later).iter().for_each(|e| third.follow(e));
        third.follow(&Event { phase: Phase::Update, ..a.clone() });
        third.tidy();
        let left = OpenEvents::load(folder.path()).endings(&sender(), later);
        assert_eq!(left.iter().map(|e| e.event).collect::<Vec<_>>(), [a.event]);
    }

    #[test]
    fn models_that_are_switched_off_end_their_events_only() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut list = OpenEvents::load(folder.path());
        let (model, over) = (opened(&mut list, EventKind::Anomaly), opened(&mut list, EventKind::Anomaly));
        opened(&mut list, EventKind::Rule);
        list.follow(&Event { phase: Phase::Close, ..over });
        let endings = list.anomaly_endings(&sender(), AT);
        assert_eq!(endings.iter().map(|e| (e.event, e.phase)).collect::<Vec<_>>(), [(model.event, Phase::Close)]);
    }

    #[test]
    fn a_damaged_list_is_no_obstacle() {
        let folder = tempfile::tempdir().expect("a folder");
        fs::write(folder.path().join("open-events.json"), b"[{").expect("a file");
        let mut list = OpenEvents::load(folder.path());
        assert!(list.endings(&sender(), AT).is_empty());
        let event = opened(&mut list, EventKind::Anomaly);
        assert_eq!(OpenEvents::load(folder.path()).endings(&sender(), AT)[0].event, event.event);
    }
}
