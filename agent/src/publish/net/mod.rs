//! What runs on the network thread: takes messages in, keeps one session, sends, and waits for "stored".

mod change;
mod incoming;
mod intake;
mod sending;
mod session;

pub use change::Changed;

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use tacit_wire::message::{Birth, ResultBody, Status};
use tacit_wire::topic::{Topic, Up};
use tacit_wire::{BootId, EventId, NodeId, SiteId};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior};
use tracing::info;

use super::NetStatus;
use super::backoff::Backoff;
use super::mqtt::{Link, LinkEvent, Outcome, outcome};
use super::tls::Tls;
use crate::clock::Tick;
use crate::config::PublishConfig;
use crate::fleet::Commands;
use crate::identity::floor::Floor;
use crate::outbox::{Disk, Key, Outbox};
use crate::outgoing::Outgoing;

/// Messages sent and not yet known to be stored, through an external broker: as many as a collector acknowledges at once, fourfold.
const MOST_OUTSTANDING: usize = 256;
/// Answers that wait for the window; beyond it the newest live frame is dropped first.
const ANSWERS_QUEUED: usize = 512;
const LIVE_QUEUED: usize = 8;
/// Gaps in one report; the rest follows in the next.
const GAPS_PER_REPORT: usize = 64;

/// Times and bounds of a session. The default is what ships; tests shorten the waits.
#[derive(Debug, Clone, Copy)]
pub struct Tuning {
    /// Publishes in flight.
    pub window: u16,
    /// Longest time to connect.
    pub connect_timeout: Duration,
    /// First bound of the backoff.
    pub backoff_min: Duration,
    /// No acknowledgement for so long: send again. Three times the collector's interval of 120 s.
    pub ack_timeout: Duration,
    /// Wait for the collector's status after connecting, so that the first PUBACKs can be understood.
    pub status_wait: Duration,
    /// Wait after a refusal.
    pub refused_wait: Duration,
    /// While the broker is away, memory goes to disk this often.
    pub spill_every: Duration,
    /// Longest time of a clean end.
    pub grace: Duration,
}

impl Default for Tuning {
    fn default() -> Self {
        let s = Duration::from_secs;
        Self {
            window: 24,
            connect_timeout: s(10),
            backoff_min: s(1),
            ack_timeout: s(360),
            status_wait: s(2),
            refused_wait: s(30),
            spill_every: s(60),
            grace: s(5),
        }
    }
}

/// What the network thread is given.
pub struct Parts<D> {
    /// Site, the first level of topics that is ours.
    pub site: SiteId,
    /// This node.
    pub node: NodeId,
    /// This boot.
    pub boot: BootId,
    /// `[publish]`.
    pub config: PublishConfig,
    /// Times and bounds.
    pub tuning: Tuning,
    /// The queue.
    pub outbox: Outbox<D>,
    /// What to publish; closing it does not stop [`Net::run`].
    pub outgoing: mpsc::Receiver<Outgoing>,
    /// Live frames ([`ResultBody::Frames`]) while a watch lasts.
    pub live: mpsc::Receiver<ResultBody>,
    /// Carries out commands.
    pub commands: Commands,
    /// Writes the birth; connection, clock and outbox range are filled in here.
    pub birth: Box<dyn Fn() -> Birth + Send>,
    /// Desired configurations as they come (node's own, then group's), still to be verified.
    pub desired: mpsc::Sender<(Topic, Vec<u8>)>,
    /// Seen by the other threads.
    pub status: Arc<NetStatus>,
    /// The time by which certificates are judged.
    pub floor: Arc<Floor>,
}

/// The network thread's work.
pub struct Net<D> {
    parts: Parts<D>,
    tls: Tls,
    link: Option<Link>,
    up: bool,
    /// Number of this connection: rises within a boot, also across restarts of the agent.
    connection: u64,
    retry_at: Instant,
    send_from: Instant,
    backoff: Backoff,
    collector: Option<Status>,
    outstanding: HashMap<Key, Phase>,
    progress_at: Instant,
    spilled_at: Instant,
    notices: JoinSet<(u64, Option<Key>, Outcome)>,
    in_flight: usize,
    later: JoinSet<(EventId, Vec<ResultBody>)>,
    answers: VecDeque<(Up, Vec<u8>)>,
    refused: Vec<(Key, Instant)>,
    was_down: bool,
    /// Other configurations, as they come.
    changes: Option<mpsc::Receiver<Changed>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    InFlight,
    Taken,
}

impl<D: Disk> Net<D> {
    /// Ready to run.
    #[must_use]
    pub fn new(parts: Parts<D>) -> Self {
        let now = Instant::now();
        let backoff = Backoff::new(parts.tuning.backoff_min, parts.config.backoff_max.std());
        Self {
            tls: Tls::new(Arc::clone(&parts.floor)),
            parts,
            link: None,
            up: false,
            connection: 0,
            retry_at: now,
            send_from: now,
            backoff,
            collector: None,
            outstanding: HashMap::new(),
            progress_at: now,
            spilled_at: now,
            notices: JoinSet::new(),
            in_flight: 0,
            later: JoinSet::new(),
            answers: VecDeque::new(),
            refused: Vec::new(),
            was_down: false,
            changes: None,
        }
    }

    /// Takes over other configurations as they come.
    #[must_use]
    pub fn with_changes(self, changes: mpsc::Receiver<Changed>) -> Self {
        Self { changes: Some(changes), ..self }
    }

    /// Runs until `stop` holds a reason (`stopped`, `shutdown`), then sends what it can within the grace, says goodbye
    /// and puts the rest on disk. Gives the outbox back.
    pub async fn run(mut self, mut stop: watch::Receiver<Option<&'static str>>) -> Outbox<D> {
        let mut clock = tokio::time::interval(Duration::from_secs(1));
        clock.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut deadline: Option<Instant> = None;
        loop {
            if deadline.is_none() && stop.borrow().is_some() {
                deadline = Some(Instant::now() + self.parts.tuning.grace);
            }
            if let Some(at) = deadline {
                while let Ok(message) = self.parts.outgoing.try_recv() {
                    self.take_in(message);
                }
                if !self.up || self.parts.outbox.is_empty() || Instant::now() >= at {
                    break;
                }
            }
            self.connect_if_due();
            self.send();
            tokio::select! {
                changed = stop.changed(), if deadline.is_none() => if changed.is_err() { deadline = Some(Instant::now()) },
                Some(message) = self.parts.outgoing.recv() => self.take_in(message),
                Some(body) = self.parts.live.recv() => self.take_live(body),
                event = next_event(&mut self.link) => self.on_event(event),
                Some(changed) = next_change(&mut self.changes) => self.on_change(changed).await,
                Some(Ok(done)) = self.notices.join_next() => self.on_outcome(done),
                Some(Ok((id, bodies))) = self.later.join_next() => self.answer_later(id, bodies),
                () = tokio::time::sleep_until(self.retry_at), if self.link.is_none() => {}
                () = self.parts.status.renewed(), if self.link.is_none() => self.retry_at = Instant::now(),
                _ = clock.tick() => self.on_tick(),
            }
        }
        let reason = *stop.borrow();
        self.goodbye(reason.unwrap_or("stopped"), deadline.unwrap_or_else(Instant::now)).await;
        self.parts.outbox
    }

    fn topic(&self, what: Up) -> String {
        Topic::Up(self.parts.site.clone(), self.parts.node.clone(), what).to_string()
    }

    fn on_tick(&mut self) {
        let (tick, now) = (Tick::now(), Instant::now());
        self.parts.outbox.enforce(tick);
        if !self.up && now.duration_since(self.spilled_at) >= self.parts.tuning.spill_every {
            self.parts.outbox.spill();
            self.spilled_at = now;
        }
        let outbox = &mut self.parts.outbox;
        self.refused.retain(|(key, at)| {
            if *at <= now {
                outbox.resend_one(*key);
            }
            *at > now
        });
        if self.up
            && !self.outstanding.is_empty()
            && now.duration_since(self.progress_at) >= self.parts.tuning.ack_timeout
        {
            self.send_taken_again();
        }
        if let Some(last) = self.parts.commands.end_watch(tick) {
            self.answer(vec![last]);
        }
        self.show_outbox();
    }

    async fn goodbye(&mut self, reason: &str, deadline: Instant) {
        // On disk first: what comes now may take long.
        self.parts.outbox.spill();
        let left = deadline.saturating_duration_since(Instant::now()).max(Duration::from_millis(200));
        if let Some(link) = self.link.take()
            && self.up
        {
            if let Some(notice) = link.publish(self.topic(Up::Death), self.death(Some(reason))) {
                let _ = tokio::time::timeout(left, outcome(notice)).await;
            }
            link.close(left).await;
        }
        info!(reason, waiting = self.parts.outbox.len(), "Disconnected.");
    }
}

async fn next_change(changes: &mut Option<mpsc::Receiver<Changed>>) -> Option<Changed> {
    match changes {
        Some(changes) => changes.recv().await,
        None => std::future::pending().await,
    }
}

async fn next_event(link: &mut Option<Link>) -> LinkEvent {
    match link {
        Some(link) => link.next().await,
        None => std::future::pending().await,
    }
}
