//! What runs on the network thread: takes messages in, keeps one session, sends, and waits for "stored".

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use tacit_wire::codec::{Message as Wire, decode, encode};
use tacit_wire::message::{Ack, Birth, Command, Death, Head, Lane, ResultBody, ResultMessage, Status, Summary};
use tacit_wire::topic::{Down, Topic, Up};
use tacit_wire::{BootId, EventId, NodeId, Seq, SiteId, StreamId, WireError};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior};
use tracing::{debug, info, warn};

use super::backoff::Backoff;
use super::mqtt::{Link, LinkEvent, Outcome, Settings, outcome};
use super::{NetStatus, tls};
use crate::clock::Tick;
use crate::config::PublishConfig;
use crate::fleet::{Commands, Done};
use crate::outbox::{Disk, Key, Message, Outbox};
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
}

/// The network thread's work.
pub struct Net<D> {
    parts: Parts<D>,
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
        }
    }

    /// Runs until `stop` holds a reason (`stopped`, `shutdown`), then sends what it can within the grace, says goodbye
    /// and puts the rest on disk. Gives the outbox back.
    pub async fn run(mut self, mut stop: watch::Receiver<Option<&'static str>>) -> Outbox<D> {
        let mut clock = tokio::time::interval(Duration::from_millis(500));
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
                Some(Ok(done)) = self.notices.join_next() => self.on_outcome(done),
                Some(Ok((id, bodies))) = self.later.join_next() => self.answer_later(id, bodies),
                () = tokio::time::sleep_until(self.retry_at), if self.link.is_none() => {}
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

    // --- taking in -----------------------------------------------------------------------------------------------

    fn take_in(&mut self, message: Outgoing) {
        let now = Tick::now();
        let taken = match message {
            Outgoing::Event(mut m) => self.queue(Lane::Events, Up::Event, now, &mut *m, |m| &mut m.head),
            Outgoing::Summary(m) => self.queue_summary(now, *m),
            Outgoing::Links(mut m) => self.queue(Lane::Rest, Up::Links, now, &mut *m, |m| &mut m.head),
            Outgoing::Report(mut m) => {
                m.gaps.extend(self.parts.outbox.take_gaps(GAPS_PER_REPORT));
                m.cost.outbox = self.parts.outbox.bytes();
                self.queue(Lane::Rest, Up::Report, now, &mut *m, |m| &mut m.head)
            }
        };
        if let Err(error) = taken {
            warn!(%error, "A message cannot be sent and is dropped.");
        }
        self.show_outbox();
    }

    /// Every minute of many series, in JSON and with their names, can be more than a payload holds: it goes in parts.
    fn queue_summary(&mut self, now: Tick, mut summary: Summary) -> Result<(), WireError> {
        match self.queue(Lane::Rest, Up::Summary, now, &mut summary, |m| &mut m.head) {
            Err(too_large @ WireError::TooLarge { .. }) => {
                let halves = summary.halves().ok_or(too_large)?;
                halves.into_iter().try_for_each(|half| self.queue_summary(now, half))
            }
            other => other,
        }
    }

    fn queue<M: Wire>(
        &mut self,
        lane: Lane,
        topic: Up,
        now: Tick,
        message: &mut M,
        head: impl Fn(&mut M) -> &mut Head,
    ) -> Result<(), WireError> {
        let encoding = self.parts.config.encoding;
        let write = |stream: StreamId, seq: Seq, oldest: Seq| {
            let head = head(message);
            (head.stream, head.seq, head.oldest) = (stream, seq, oldest);
            encode(message, encoding)
        };
        self.parts.outbox.append(lane, topic, now, write).map(|_| ())
    }

    fn show_outbox(&mut self) {
        let outbox = &self.parts.outbox;
        self.parts.status.set_outbox(outbox.bytes(), outbox.dropped());
        if self.parts.status.set_outbox_trouble(outbox.trouble()) {
            match outbox.trouble() {
                Some(trouble) => warn!("{trouble}"),
                None => info!("The outbox can write to disk again."),
            }
        }
    }

    fn take_live(&mut self, body: ResultBody) {
        if !self.up || self.answers.len() >= LIVE_QUEUED {
            return;
        }
        for body in crate::fleet::split(body) {
            if let Some(message) = self.parts.commands.live(body) {
                self.answer(vec![message]);
            }
        }
    }

    fn answer(&mut self, parts: Vec<ResultMessage>) {
        for part in parts {
            match encode(&part, self.parts.config.encoding) {
                Ok(payload) if self.answers.len() < ANSWERS_QUEUED => self.answers.push_back((Up::Result, payload)),
                Ok(_) => {
                    warn!(command = %part.command, part = part.part, "A part of an answer is dropped: the connection is slow.");
                }
                Err(error) => warn!(command = %part.command, %error, "A part of an answer cannot be sent."),
            }
        }
    }

    fn answer_later(&mut self, id: EventId, bodies: Vec<ResultBody>) {
        let parts = self.parts.commands.parts(id, bodies);
        self.answer(parts);
    }

    // --- the session ---------------------------------------------------------------------------------------------

    fn connect_if_due(&mut self) {
        if self.link.is_some() || Instant::now() < self.retry_at {
            return;
        }
        self.connection = Tick::now().mono_ms.max(self.connection + 1);
        match self.settings() {
            Ok(settings) => self.link = Some(Link::open(settings)),
            Err(why) => self.on_down(&why),
        }
    }

    fn settings(&self) -> Result<Settings, String> {
        let config = &self.parts.config;
        let (host, port, secure) = address(&config.broker)?;
        let credentials = match (&config.username, &config.password_file) {
            (Some(user), Some(file)) => {
                let mut password = std::fs::read(file)
                    .map_err(|e| format!("cannot read publish.password_file {}: {e}", file.display()))?;
                password.truncate(password.trim_ascii_end().len());
                Some((user.clone(), password))
            }
            (Some(user), None) => Some((user.clone(), Vec::new())),
            _ => None,
        };
        Ok(Settings {
            host,
            port,
            client_id: self.parts.node.to_string(),
            tls: if secure { Some(tls::client_config(config)?) } else { None },
            credentials,
            will: (self.topic(Up::Death), self.death(None)),
            window: self.parts.tuning.window,
            connect_timeout: self.parts.tuning.connect_timeout,
        })
    }

    fn death(&self, reason: Option<&str>) -> Vec<u8> {
        let death = Death {
            node: self.parts.node.clone(),
            boot: self.parts.boot,
            connection: self.connection,
            reason: reason.map(str::to_owned),
        };
        encode(&death, self.parts.config.encoding).expect("a death is a few short fields")
    }

    fn on_event(&mut self, event: LinkEvent) {
        match event {
            LinkEvent::Up => self.on_up(),
            LinkEvent::Down(why) => self.on_down(&why),
            LinkEvent::Message { topic, payload } => self.on_message(&topic, &payload),
        }
    }

    fn on_up(&mut self) {
        self.up = true;
        self.backoff.reset();
        self.forget_in_flight();
        self.collector = None;
        self.answers.clear();
        let now = Instant::now();
        self.send_from = now + self.parts.tuning.status_wait;
        self.progress_at = now;
        self.parts.status.came_up();
        let (site, node) = (&self.parts.site, &self.parts.node);
        let filters = vec![
            format!("tacit/1/{site}/d/{node}/+"),
            format!("tacit/1/{site}/g/+/config"),
            Topic::Status(site.clone()).to_string(),
        ];
        if let Some(link) = &self.link
            && let Err(error) = link.subscribe(filters)
        {
            warn!(%error, "Cannot subscribe; commands will not be heard on this connection.");
        }
        self.queue_birth();
        info!(broker = %self.parts.config.broker, connection = self.connection, waiting = self.parts.outbox.len(), "Connected.");
        self.was_down = false;
    }

    fn queue_birth(&mut self) {
        let now = Tick::now();
        let mut birth = (self.parts.birth)();
        birth.connection = self.connection;
        birth.clock.wall_ms = now.wall_ms;
        birth.clock.mono_ms = now.mono_ms;
        birth.outbox = self.parts.outbox.ranges();
        birth.outbox.truncate(64);
        match encode(&birth, self.parts.config.encoding) {
            Ok(payload) => self.answers.push_front((Up::Birth, payload)),
            Err(error) => warn!(%error, "The birth cannot be sent."),
        }
    }

    fn on_down(&mut self, why: &str) {
        self.link = None;
        self.up = false;
        self.forget_in_flight();
        self.answers.clear();
        self.parts.outbox.spill();
        self.spilled_at = Instant::now();
        self.show_outbox();
        let hint = self.collector.as_ref().and_then(|c| c.backoff_s).map(|s| Duration::from_secs(u64::from(s)));
        let wait = self.backoff.next(fastrand::f64(), hint);
        self.retry_at = Instant::now() + wait;
        if self.was_down {
            debug!(%why, ?wait, "Still not connected.");
        } else {
            warn!(broker = %self.parts.config.broker, %why, "Not connected; messages wait in the outbox.");
            self.was_down = true;
        }
        self.parts.status.went_down(format!("not connected to {}: {why}", self.parts.config.broker));
    }

    fn forget_in_flight(&mut self) {
        self.notices = JoinSet::new();
        self.in_flight = 0;
        self.outstanding.clear();
        self.refused.clear();
        self.parts.outbox.resend();
    }

    // --- what comes down -----------------------------------------------------------------------------------------

    fn on_message(&mut self, topic: &str, payload: &[u8]) {
        let result = match topic.parse::<Topic>() {
            Ok(Topic::Status(_)) => decode::<Status>(payload).map(|s| self.on_status(s)),
            Ok(Topic::Down(_, node, Down::Ack)) if node == self.parts.node => {
                decode::<Ack>(payload).map(|a| self.on_ack(&a))
            }
            Ok(Topic::Down(_, node, Down::Command)) if node == self.parts.node => {
                decode::<Command>(payload).map(|c| self.on_command(c))
            }
            Ok(topic @ (Topic::Down(_, _, Down::Config) | Topic::GroupConfig(..))) => {
                if self.parts.desired.try_send((topic, payload.to_vec())).is_err() {
                    debug!("A desired configuration is left out: nobody takes it.");
                }
                Ok(())
            }
            _ => Ok(()),
        };
        if let Err(error) = result {
            warn!(topic, %error, "A message from the broker is ignored: it cannot be read.");
        }
    }

    fn on_status(&mut self, status: Status) {
        let before = self.collector.replace(status);
        let after = self.collector.as_ref().expect("it was just set");
        self.send_from = Instant::now();
        if after.up && after.durable_puback {
            // The broker that answered before its status came is the same that says so now.
            self.outstanding.retain(|key, phase| {
                let stored = *phase == Phase::Taken;
                if stored {
                    self.parts.outbox.ack_one(*key);
                }
                !stored
            });
        } else if after.up && before.is_some_and(|b| b.since_ms != after.since_ms || !b.up) {
            // Another collector: what the broker took meanwhile may have reached nobody.
            self.send_taken_again();
        }
    }

    fn on_ack(&mut self, ack: &Ack) {
        for row in &ack.streams {
            self.parts.outbox.ack_through(row.stream, row.seq);
            self.outstanding.retain(|k, _| k.stream != row.stream || k.seq > row.seq);
        }
        self.progress_at = Instant::now();
        self.show_outbox();
    }

    fn on_command(&mut self, command: Command) {
        let id = command.id;
        match self.parts.commands.carry_out(command, Tick::now()) {
            None => debug!(command = %id, "A command came after its deadline."),
            Some(Done::Answer(parts)) => self.answer(parts),
            Some(Done::Announce(parts)) => {
                self.queue_birth();
                self.answer(parts);
            }
            Some(Done::Later(id, answer)) => {
                self.later.spawn(async move {
                    let refused = || vec![ResultBody::Refused { reason: "the history cannot be read just now".into() }];
                    (id, answer.await.unwrap_or_else(|_| refused()))
                });
            }
        }
    }

    // --- sending -------------------------------------------------------------------------------------------------

    fn send(&mut self) {
        if !self.up {
            return;
        }
        while self.in_flight < usize::from(self.parts.tuning.window) {
            let Some((up, payload)) = self.answers.pop_front() else { break };
            self.hand_over(None, up, payload);
        }
        if Instant::now() < self.send_from && self.collector.is_none() {
            return;
        }
        while self.in_flight < usize::from(self.parts.tuning.window) && self.outstanding.len() < MOST_OUTSTANDING {
            let Some(Message { key, topic, payload }) = self.parts.outbox.take_next() else { break };
            if self.outstanding.is_empty() {
                self.progress_at = Instant::now();
            }
            self.outstanding.insert(key, Phase::InFlight);
            self.hand_over(Some(key), topic, payload);
        }
    }

    fn hand_over(&mut self, key: Option<Key>, up: Up, payload: Vec<u8>) {
        let topic = self.topic(up);
        let Some(link) = &self.link else { return };
        let (bytes, connection) = (payload.len(), self.connection);
        if let Some(notice) = link.publish(topic, payload) {
            self.parts.status.add_sent(bytes);
            self.in_flight += 1;
            self.notices.spawn(async move { (connection, key, outcome(notice).await) });
        } else if let Some(key) = key {
            self.outstanding.remove(&key);
            self.refused.push((key, Instant::now() + Duration::from_secs(1)));
        }
    }

    fn on_outcome(&mut self, (connection, key, outcome): (u64, Option<Key>, Outcome)) {
        if connection != self.connection {
            return;
        }
        self.in_flight = self.in_flight.saturating_sub(1);
        let durable = self.collector.as_ref().is_some_and(|c| c.up && c.durable_puback);
        let Some(key) = key else { return };
        match outcome {
            Outcome::Taken if durable => {
                self.outstanding.remove(&key);
                self.parts.outbox.ack_one(key);
                self.progress_at = Instant::now();
                self.show_outbox();
            }
            // Unless the collector's own acknowledgement was faster.
            Outcome::Taken => {
                if let Some(phase) = self.outstanding.get_mut(&key) {
                    *phase = Phase::Taken;
                }
            }
            // The connection is about to end: everything is sent again on the next one.
            Outcome::Lost => {}
            Outcome::Nobody | Outcome::Refused(_) => {
                if let Outcome::Refused(reason) = outcome {
                    warn!(stream = %key.stream, seq = key.seq.0, reason, "The broker refused a message; it is sent again later.");
                }
                self.outstanding.remove(&key);
                self.refused.push((key, Instant::now() + self.parts.tuning.refused_wait));
            }
        }
    }

    fn send_taken_again(&mut self) {
        let outbox = &mut self.parts.outbox;
        self.outstanding.retain(|key, phase| {
            if *phase == Phase::Taken {
                outbox.resend_one(*key);
            }
            *phase != Phase::Taken
        });
        self.progress_at = Instant::now();
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

    // --- the end -------------------------------------------------------------------------------------------------

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

async fn next_event(link: &mut Option<Link>) -> LinkEvent {
    match link {
        Some(link) => link.next().await,
        None => std::future::pending().await,
    }
}

/// Host, port and whether TLS is used.
fn address(broker: &str) -> Result<(String, u16, bool), String> {
    let wrong = || format!("publish.broker = {broker:?}: expected mqtt://HOST:PORT or mqtts://HOST:PORT");
    let (scheme, rest) = broker.split_once("://").ok_or_else(wrong)?;
    let secure = match scheme {
        "mqtt" => false,
        "mqtts" => true,
        _ => return Err(wrong()),
    };
    let rest = rest.trim_end_matches('/');
    let (host, port) = match rest.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, port.parse().map_err(|_| wrong())?),
        _ => (rest, if secure { 8883 } else { 1883 }),
    };
    let host = host.trim_start_matches('[').trim_end_matches(']');
    if host.is_empty() { Err(wrong()) } else { Ok((host.to_owned(), port, secure)) }
}

#[cfg(test)]
mod tests {
    use super::address;

    #[test]
    fn addresses() {
        assert_eq!(address("mqtt://broker:1884"), Ok(("broker".into(), 1884, false)));
        assert_eq!(address("mqtts://broker"), Ok(("broker".into(), 8883, true)));
        assert_eq!(address("mqtt://[::1]:1883"), Ok(("::1".into(), 1883, false)));
        for bad in ["broker:1883", "http://b:1", "mqtt://:1", "mqtt://b:port"] {
            assert!(address(bad).is_err(), "{bad}");
        }
    }
}
