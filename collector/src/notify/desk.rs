//! What the sending and the API share: receivers, routes, what was sent, and the promise.

use std::collections::{BTreeSet, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;
use utoipa::ToSchema;

use super::config::{Kind, NotifyConfig};
use super::delivery::Outcome;
use super::http::{Http, SendError};
use super::message::Message;
use super::receiver::Receiver;
use super::route::{RouteConfig, receivers};
use super::telling::Timing;
use super::units::Pages;
use crate::store::{Incident, IncidentState};

/// Longest wait for a thread that sends: mail takes several steps, each with a bound of its own.
const ANSWER_MAX: Duration = Duration::from_secs(30);
/// Longest wait in a test, for whoever watches.
const TEST_MAX: Duration = Duration::from_secs(12);
/// The time that the promise is counted over.
pub const WEEK_MS: i64 = 7 * 86_400_000;
/// Pages that are counted; whoever had more does not care how many.
const PAGES_MAX: usize = 10_000;

/// What became of a test.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Tested {
    /// The receiver.
    pub receiver: String,
    /// By which way it is told.
    pub kind: Kind,
    /// Whether it took the message.
    pub ok: bool,
    /// What it answered, or why there was no answer.
    pub said: String,
}

/// States of open incidents, as they are counted.
pub const STATES: [(IncidentState, &str); 4] = [
    (IncidentState::Open, "open"),
    (IncidentState::Acknowledged, "acknowledged"),
    (IncidentState::Muted, "muted"),
    (IncidentState::Reopened, "reopened"),
];

/// Receivers, routes and counts.
#[derive(Debug)]
pub struct Desk {
    receivers: Vec<Arc<Receiver>>,
    routes: Vec<RouteConfig>,
    timing: Timing,
    base_url: String,
    started_ms: i64,
    promise: Pages,
    /// When somebody was disturbed, oldest first.
    pages: Mutex<VecDeque<i64>>,
    counts: [[AtomicU64; Outcome::ALL.len()]; Kind::ALL.len()],
    states: [AtomicU64; STATES.len()],
}

impl Desk {
    /// A desk as configured. Links lead to `listening` when the configuration names no other address.
    ///
    /// # Errors
    /// When the configuration cannot be used, or a secret cannot be read.
    pub fn new(config: &NotifyConfig, promise: Pages, listening: &str, started_ms: i64) -> Result<Self, String> {
        config.check()?;
        let https = |url: &String| url.starts_with("https:");
        let tls = config.receiver.iter().any(|r| r.url.iter().chain(&r.urls).any(https) || r.url_file.is_some());
        let http = Http::new(tls);
        let receivers =
            config.receiver.iter().map(|r| Receiver::new(r, &http).map(Arc::new)).collect::<Result<_, _>>()?;
        let timing =
            Timing { wait_ms: config.wait.ms(), interval_ms: config.interval.ms(), repeat_ms: config.repeat.ms() };
        let base_url = config.external_url.as_deref().unwrap_or(listening).trim_end_matches('/').to_owned();
        Ok(Self {
            receivers,
            routes: config.route.clone(),
            timing,
            base_url,
            started_ms,
            promise,
            pages: Mutex::default(),
            counts: Default::default(),
            states: Default::default(),
        })
    }

    /// All receivers, in the order of the configuration.
    #[must_use]
    pub fn receivers(&self) -> &[Arc<Receiver>] {
        &self.receivers
    }

    /// A receiver by its name.
    #[must_use]
    pub fn receiver(&self, name: &str) -> Option<&Arc<Receiver>> {
        self.receivers.iter().find(|r| r.name == name)
    }

    /// Who is told of something.
    #[must_use]
    pub fn routed(&self, message: &Message) -> BTreeSet<&str> {
        let told = self.receivers.iter().filter(|r| r.kind != Kind::Watchdog);
        let all: Vec<&str> = told.map(|r| r.name.as_str()).collect();
        receivers(&self.routes, &all, message)
    }

    /// How long is waited.
    #[must_use]
    pub fn timing(&self) -> Timing {
        self.timing
    }

    /// Where people reach the console.
    #[must_use]
    pub fn base_url(&self) -> &str {
        &self.base_url
    }

    /// When the collector started, Unix milliseconds.
    #[must_use]
    pub fn started_ms(&self) -> i64 {
        self.started_ms
    }

    /// Notes that somebody was disturbed.
    pub fn paged(&self, at_ms: i64) {
        let mut pages = self.pages.lock().unwrap_or_else(PoisonError::into_inner);
        if pages.len() >= PAGES_MAX {
            pages.pop_front();
        }
        pages.push_back(at_ms);
    }

    /// How many pages the last week was to have at most, if that is promised, and how many it had.
    #[must_use]
    pub fn pages(&self, now_ms: i64) -> (Option<f64>, u64) {
        let mut pages = self.pages.lock().unwrap_or_else(PoisonError::into_inner);
        pages.retain(|at| now_ms.saturating_sub(*at) < WEEK_MS);
        (self.promise.a_week(), pages.len() as u64)
    }

    /// Receivers that take nothing, each in a line.
    #[must_use]
    pub fn failing(&self) -> Vec<String> {
        let line = |r: &Arc<Receiver>| {
            let health = r.health();
            health.failing_since_ms?;
            Some(format!("{} takes nothing: {}", r.name, health.error.unwrap_or_default()))
        };
        self.receivers.iter().filter_map(line).collect()
    }

    /// Counts what became of a notification.
    pub fn count(&self, kind: Kind, outcome: Outcome) {
        self.counts[kind as usize][outcome as usize].fetch_add(1, Relaxed);
    }

    /// How often it was so since the start.
    #[must_use]
    pub fn counted(&self, kind: Kind, outcome: Outcome) -> u64 {
        self.counts[kind as usize][outcome as usize].load(Relaxed)
    }

    /// Counts open incidents by their state.
    pub fn count_states<'a>(&self, open: impl Iterator<Item = &'a Incident>) {
        let mut now = [0_u64; STATES.len()];
        for incident in open {
            if let Some(n) = STATES.iter().position(|(state, _)| *state == incident.state) {
                now[n] += 1;
            }
        }
        for (count, now) in self.states.iter().zip(now) {
            count.store(now, Relaxed);
        }
    }

    /// Open incidents by their state, as counted last.
    #[must_use]
    pub fn states(&self) -> [(&'static str, u64); STATES.len()] {
        std::array::from_fn(|n| (STATES[n].1, self.states[n].load(Relaxed)))
    }

    /// Sends a test to one receiver or to all, all at the same time, and says what happened. `None` when there is no such
    /// receiver.
    pub async fn test(&self, name: Option<&str>, now_ms: i64) -> Option<Vec<Tested>> {
        let chosen: Vec<_> = match name {
            Some(name) => vec![self.receiver(name)?],
            None => self.receivers.iter().collect(),
        };
        let message = Message::test(&self.base_url, now_ms);
        let started: Vec<_> = chosen
            .into_iter()
            .map(|receiver| {
                let messages = vec![(format!("tacit-test-{now_ms}"), message.clone())];
                (receiver, receiver.start(move |r| r.send(&messages, now_ms)))
            })
            .collect();
        let mut tested = Vec::with_capacity(started.len());
        for (receiver, answered) in started {
            let result = answer(answered, TEST_MAX).await;
            receiver.note(&result, crate::clock::now_ms());
            let (ok, said) = match result {
                Ok(said) => (true, said),
                Err(e) => (false, e.text),
            };
            tested.push(Tested { receiver: receiver.name.clone(), kind: receiver.kind, ok, said });
        }
        Some(tested)
    }
}

/// Waits for what a thread of a receiver answers, and not longer than a receiver may take.
///
/// # Errors
/// What the receiver failed with.
pub async fn answered(answered: oneshot::Receiver<Result<String, SendError>>) -> Result<String, SendError> {
    answer(answered, ANSWER_MAX).await
}

async fn answer(
    answered: oneshot::Receiver<Result<String, SendError>>,
    longest: Duration,
) -> Result<String, SendError> {
    match tokio::time::timeout(longest, answered).await {
        Ok(Ok(result)) => result,
        Ok(Err(_)) => Err(SendError::later("it could not be sent: no thread, or the thread broke off")),
        Err(_) => Err(SendError::later(format!("no answer within {} s", longest.as_secs()))),
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::{T0, incident};
    use super::*;

    fn desk() -> Desk {
        Desk::new(&NotifyConfig::default(), Pages::default(), "http://127.0.0.1:8420", T0).unwrap()
    }

    #[test]
    fn pages_of_the_last_week_are_compared_with_the_promise() {
        let desk = desk();
        for day in [-9, -6, -1] {
            desk.paged(T0 + day * 86_400_000);
        }
        assert_eq!(desk.pages(T0), (Some(3.0), 2));
        assert_eq!(desk.pages(T0 + 86_400_000), (Some(3.0), 1));
    }

    #[test]
    fn incidents_are_counted_by_state() {
        let desk = desk();
        let mut muted = incident(2);
        muted.state = IncidentState::Muted;
        desk.count_states([incident(1), muted, incident(3)].iter());
        assert_eq!(desk.states(), [("open", 2), ("acknowledged", 0), ("muted", 1), ("reopened", 0)]);
        desk.count(Kind::Mail, Outcome::Failed);
        assert_eq!((desk.counted(Kind::Mail, Outcome::Failed), desk.counted(Kind::Mail, Outcome::Sent)), (1, 0));
    }

    #[tokio::test]
    async fn a_test_of_nobody_is_none() {
        assert_eq!(desk().test(Some("ops"), T0).await, None);
        assert_eq!(desk().test(None, T0).await, Some(Vec::new()));
    }
}
