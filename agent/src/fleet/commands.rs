//! Commands: pull a window, watch live, diagnose, announce, send the dictionary, mark maintenance.
//!
//! Answers go out directly, not through the outbox: whoever asked is there now or asks again.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tacit_wire::message::{Command, CommandKind, ResultBody, ResultMessage};
use tacit_wire::{EventId, NodeId, SeriesId};
use tokio::sync::{mpsc, oneshot};

use super::maintenance::{Mark, MarkFile};
use crate::clock::Tick;
use crate::source::Dictionary;

/// Longest lease of a watch; a page that is still open renews it.
const LONGEST_WATCH_S: u32 = 3600;
/// A command cannot be older than the broker keeps it: one that seems older was timed by another clock.
const OLDEST_COMMAND_MS: i64 = 24 * 3_600_000;
/// Values of one part: at most thirteen bytes each in JSON, so below the limit of a payload.
const VALUES_PER_PART: usize = 4_500;
/// Dictionary entries of one part, some 150 bytes each.
const SERIES_PER_PART: usize = 200;

/// A request to the analysis thread, which holds the history.
#[derive(Debug)]
pub struct Pull {
    /// From, Unix milliseconds.
    pub from_ms: i64,
    /// To, Unix milliseconds.
    pub to_ms: i64,
    /// Which series; none means all.
    pub series: Option<Vec<SeriesId>>,
    /// Where the answer goes: frames of any length, or a refusal in words.
    pub answer: oneshot::Sender<Vec<ResultBody>>,
}

/// What a command led to.
#[derive(Debug)]
pub enum Done {
    /// These are the parts of the answer.
    Answer(Vec<ResultMessage>),
    /// The answer comes from the analysis thread.
    Later(EventId, oneshot::Receiver<Vec<ResultBody>>),
    /// The birth is wanted again; then this is the answer.
    Announce(Vec<ResultMessage>),
}

/// Carries commands out.
pub struct Commands {
    /// This node.
    pub node: NodeId,
    /// The series table as the sampling thread last published it.
    pub dictionary: Arc<Mutex<Arc<Dictionary>>>,
    /// Live frames are wanted until this time (milliseconds since boot).
    pub watch: Arc<AtomicU64>,
    /// Requests for history.
    pub pulls: mpsc::Sender<Pull>,
    /// Writes what `doctor` says.
    pub diagnose: Box<dyn Fn() -> String + Send>,
    /// Where a mark of maintenance is kept.
    pub maintenance: MarkFile,
    /// Set when the ends of connections are to be announced again, with the birth.
    pub announce: Arc<AtomicBool>,
    /// Who watches, and the number of the next part.
    pub(crate) watching: Option<(EventId, u32)>,
}

impl Commands {
    /// Ready to carry commands out.
    pub fn new(
        node: NodeId,
        dictionary: Arc<Mutex<Arc<Dictionary>>>,
        watch: Arc<AtomicU64>,
        pulls: mpsc::Sender<Pull>,
        diagnose: Box<dyn Fn() -> String + Send>,
        maintenance: MarkFile,
        announce: Arc<AtomicBool>,
    ) -> Self {
        Self { node, dictionary, watch, pulls, diagnose, maintenance, announce, watching: None }
    }

    /// Carries out one command. `None` when its time is over.
    pub fn carry_out(&mut self, command: Command, now: Tick) -> Option<Done> {
        if is_over(&command, now.wall_ms) {
            return None;
        }
        let id = command.id;
        Some(match command.kind {
            None => self.refuse(id, "this agent does not know such a command"),
            Some(CommandKind::Announce) => {
                self.announce.store(true, Ordering::Relaxed);
                Done::Announce(self.parts(id, vec![ResultBody::Done]))
            }
            Some(CommandKind::Diagnose) => {
                let mut text = (self.diagnose)();
                text.truncate(text.floor_char_boundary(tacit_wire::limits::BODY));
                Done::Answer(self.parts(id, vec![ResultBody::Text { text }]))
            }
            Some(CommandKind::Dictionary) => Done::Answer(self.parts(id, self.dictionary())),
            Some(CommandKind::Maintain { seconds, reason }) => match self.maintain(seconds, &reason, now) {
                Ok(text) => Done::Answer(self.parts(id, vec![ResultBody::Text { text }])),
                Err(error) => self.refuse(id, &format!("the mark cannot be kept: {error}")),
            },
            Some(CommandKind::Watch { seconds }) => {
                let until = now.mono_ms + u64::from(seconds.min(LONGEST_WATCH_S)) * 1000;
                self.watch.store(until, Ordering::Relaxed);
                self.watching = Some((id, 1));
                Done::Answer(Vec::new())
            }
            Some(CommandKind::Pull { from_ms, to_ms, series }) => {
                let (answer, later) = oneshot::channel();
                match self.pulls.try_send(Pull { from_ms, to_ms, series, answer }) {
                    Ok(()) => Done::Later(id, later),
                    Err(_) => self.refuse(id, "busy with other requests; ask again"),
                }
            }
        })
    }

    /// A part of a live watch, when somebody still watches.
    pub fn live(&mut self, body: ResultBody) -> Option<ResultMessage> {
        let (id, part) = self.watching.as_mut()?;
        let message =
            ResultMessage { node: self.node.clone(), command: *id, part: *part, last: false, body: Some(body) };
        *part = part.saturating_add(1);
        Some(message)
    }

    /// The last part of a watch whose lease ended.
    pub fn end_watch(&mut self, now: Tick) -> Option<ResultMessage> {
        if self.watch.load(Ordering::Relaxed) > now.mono_ms {
            return None;
        }
        let (command, part) = self.watching.take()?;
        Some(ResultMessage { node: self.node.clone(), command, part, last: true, body: Some(ResultBody::Done) })
    }

    /// Numbers the parts of an answer.
    pub fn parts(&self, command: EventId, bodies: Vec<ResultBody>) -> Vec<ResultMessage> {
        let bodies: Vec<_> = bodies.into_iter().flat_map(split).collect();
        let n = bodies.len();
        let message = |(i, body)| ResultMessage {
            node: self.node.clone(),
            command,
            part: i as u32 + 1,
            last: i + 1 == n,
            body: Some(body),
        };
        bodies.into_iter().enumerate().map(message).collect()
    }

    /// Makes a mark of maintenance, or ends it.
    fn maintain(&self, seconds: u32, reason: &str, now: Tick) -> std::io::Result<String> {
        if seconds == 0 {
            return self.maintenance.end().map(|()| "not in maintenance".to_owned());
        }
        let mark = Mark::new(now.wall_ms, seconds, reason);
        self.maintenance.set(&mark).map(|()| mark.words())
    }

    fn refuse(&self, id: EventId, reason: &str) -> Done {
        Done::Answer(self.parts(id, vec![ResultBody::Refused { reason: reason.into() }]))
    }

    fn dictionary(&self) -> Vec<ResultBody> {
        let dictionary = Arc::clone(&self.dictionary.lock().unwrap_or_else(PoisonError::into_inner));
        let defs = dictionary.defs();
        if defs.is_empty() {
            return vec![ResultBody::Dictionary { epoch: dictionary.epoch, series: defs }];
        }
        let part = |c: &[tacit_wire::SeriesDef]| ResultBody::Dictionary { epoch: dictionary.epoch, series: c.to_vec() };
        defs.chunks(SERIES_PER_PART).map(part).collect()
    }
}

/// Whether a command's time is over. A node whose clock is off judges by its own receipt: the broker drops what expired.
fn is_over(command: &Command, wall_ms: i64) -> bool {
    let late = wall_ms.saturating_sub(command.deadline_ms);
    command.deadline_ms <= command.issued_ms || (late > 0 && late < OLDEST_COMMAND_MS)
}

/// Splits frames into bodies that each fit into one message.
#[must_use]
pub fn split(body: ResultBody) -> Vec<ResultBody> {
    let ResultBody::Frames { epoch, start_ms, step_ms, ids, frames } = body else { return vec![body] };
    let rows = (VALUES_PER_PART / ids.len().max(1)).max(1);
    if frames.len() <= rows {
        return vec![ResultBody::Frames { epoch, start_ms, step_ms, ids, frames }];
    }
    let part = |(i, chunk): (usize, &[Vec<_>])| ResultBody::Frames {
        epoch,
        start_ms: start_ms + (i * rows) as i64 * i64::from(step_ms),
        step_ms,
        ids: ids.clone(),
        frames: chunk.to_vec(),
    };
    frames.chunks(rows).enumerate().map(part).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use tacit_wire::{Encoding, Num, codec};

    fn command(kind: Option<CommandKind>) -> Command {
        Command { id: EventId([1; 8]), deadline_ms: 2_000, issued_ms: 1_000, kind }
    }

    fn commands() -> (Commands, mpsc::Receiver<Pull>) {
        let (pulls, rx) = mpsc::channel(1);
        let node = "web-1".parse().expect("a node");
        let maintenance = MarkFile::new(&std::env::temp_dir().join(format!("tacit-mark-{}", fastrand::u64(..))));
        (
            Commands::new(
                node,
                Arc::default(),
                Arc::default(),
                pulls,
                Box::new(|| "all well".into()),
                maintenance,
                Arc::default(),
            ),
            rx,
        )
    }

    const NOW: Tick = Tick { mono_ms: 50_000, wall_ms: 1_500 };

    #[test]
    fn time_is_judged_by_receipt_when_the_clock_is_off() {
        let c = command(None);
        assert!(!is_over(&c, 1_500));
        assert!(is_over(&c, 2_001));
        assert!(!is_over(&c, -1_000_000), "a clock that is behind");
        assert!(!is_over(&c, 2_000 + OLDEST_COMMAND_MS), "a clock that is far ahead");
    }

    #[test]
    fn what_is_not_known_is_refused() {
        let (mut commands, _rx) = commands();
        let Some(Done::Answer(parts)) = commands.carry_out(command(None), NOW) else { panic!("an answer") };
        assert!(matches!(&parts[0].body, Some(ResultBody::Refused { reason }) if reason.contains("does not know")));
        assert!(parts[0].last);
    }

    #[test]
    fn a_watch_is_a_lease() {
        let (mut commands, _rx) = commands();
        assert!(commands.live(ResultBody::Done).is_none());
        commands.carry_out(command(Some(CommandKind::Watch { seconds: 10 })), NOW);
        assert_eq!(commands.watch.load(Ordering::Relaxed), 60_000);
        assert_eq!(commands.live(ResultBody::Done).map(|m| m.part), Some(1));
        assert!(commands.end_watch(NOW).is_none());
        assert_eq!(commands.end_watch(NOW.plus_ms(10_000)).map(|m| (m.part, m.last)), Some((2, true)));
        assert!(commands.live(ResultBody::Done).is_none());
    }

    #[test]
    fn maintenance_is_marked_and_ended() {
        let (mut commands, _rx) = commands();
        let folder = tempfile::tempdir().expect("a folder");
        commands.maintenance = MarkFile::new(folder.path());
        let mut told = |seconds| {
            let kind = CommandKind::Maintain { seconds, reason: "new disk".into() };
            let Some(Done::Answer(parts)) = commands.carry_out(command(Some(kind)), NOW) else { panic!("an answer") };
            match parts[0].body.clone() {
                Some(ResultBody::Text { text }) => text,
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(told(60), "in maintenance until Thu 00:01:01 UTC (new disk)");
        assert_eq!(MarkFile::new(folder.path()).read(NOW.wall_ms).map(|m| m.until_ms), Some(61_500));
        assert_eq!(told(0), "not in maintenance");
        assert_eq!(MarkFile::new(folder.path()).read(NOW.wall_ms), None);
    }

    #[test]
    fn pulls_are_bounded() {
        let (mut commands, mut rx) = commands();
        let pull = || command(Some(CommandKind::Pull { from_ms: 0, to_ms: 9, series: None }));
        assert!(matches!(commands.carry_out(pull(), NOW), Some(Done::Later(..))));
        assert!(matches!(commands.carry_out(pull(), NOW), Some(Done::Answer(_))), "the second finds no room");
        assert_eq!(rx.try_recv().expect("the first waits").to_ms, 9);
    }

    #[test]
    fn every_part_of_a_long_answer_fits() {
        let ids: Vec<_> = (0..500).map(SeriesId).collect();
        let frames: Vec<Vec<Num>> = (0..900).map(|i| (0..500).map(|j| Num((i * j) as f32 / 7.3)).collect()).collect();
        let (commands, _rx) = commands();
        let body = ResultBody::Frames { epoch: 1, start_ms: 0, step_ms: 1000, ids, frames };
        let parts = commands.parts(EventId([2; 8]), vec![body]);
        assert_eq!(parts.iter().filter(|p| p.last).count(), 1);
        let mut rows = 0;
        for part in &parts {
            codec::encode(part, Encoding::Cbor).expect("it fits");
            let Some(ResultBody::Frames { start_ms, frames, .. }) = &part.body else { panic!("frames") };
            assert_eq!(*start_ms, rows * 1000);
            rows += frames.len() as i64;
        }
        assert_eq!(rows, 900);
    }
}
