//! What outside addresses are called, by the resolver of this machine.
//!
//! One question at a time, none sooner than [`GAP_MS`] after the one before, only about addresses that carry traffic, have no
//! given name and belong to no node, the busiest first; answers are remembered for hours, also when there was none. Names are
//! shown beside addresses and never are what something is known by: whoever owns an address can name it as he likes.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use dns_lookup::LookupErrorKind;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use super::Map;
use super::addresses::is_claimable;
use crate::clock::now_ms;

/// Least distance of questions: ten a minute.
pub const GAP_MS: i64 = 6_000;
/// How long a name is believed, and that there is none.
const NAMED_MS: i64 = 12 * 3_600_000;
const NAMELESS_MS: i64 = 3 * 3_600_000;
/// How long nobody asks again after the resolver failed.
const FAILED_MS: i64 = 3_600_000;
/// Addresses that are remembered.
const KEPT_MAX: usize = 4096;
/// Longest name, as DNS has it.
const NAME_MAX: usize = 253;
/// How often it is looked whether there is something to ask.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// What became of a question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// The address is called so.
    Name(String),
    /// It has no name.
    Nameless,
    /// The resolver failed.
    Failed,
}

/// How many questions were asked, and what became of them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Questions asked.
    pub asked: u64,
    /// Answered with a name.
    pub named: u64,
    /// Answered that there is no name, or with one that is none.
    pub nameless: u64,
    /// Failed.
    pub failed: u64,
}

#[derive(Debug)]
struct Known {
    name: Option<Arc<str>>,
    until: i64,
}

/// Names of addresses, and when which may be asked.
#[derive(Debug, Default)]
pub struct ReverseNames {
    known: HashMap<IpAddr, Known>,
    /// Whether an answer is awaited. The resolver cannot be stopped, so the next question waits until it has given up.
    waiting: bool,
    asked_ms: i64,
    counts: Counts,
}

impl ReverseNames {
    /// The next address to ask about, of those wanted; it counts as asked.
    pub fn next(&mut self, wanted: &[IpAddr], now: i64) -> Option<IpAddr> {
        if self.waiting || now - self.asked_ms < GAP_MS {
            return None;
        }
        let is_new = |ip: &&IpAddr| is_claimable(**ip) && self.known.get(*ip).is_none_or(|k| k.until <= now);
        let ip = *wanted.iter().find(is_new)?;
        (self.waiting, self.asked_ms) = (true, now);
        self.counts.asked += 1;
        Some(ip)
    }

    /// Takes an answer.
    pub fn answer(&mut self, ip: IpAddr, answer: Answer, now: i64) {
        self.waiting = false;
        let (name, lasts) = match answer {
            Answer::Name(name) => match host_name(&name) {
                Some(name) => (Some(name), NAMED_MS),
                None => (None, NAMELESS_MS),
            },
            Answer::Nameless => (None, NAMELESS_MS),
            Answer::Failed => (None, FAILED_MS),
        };
        match (&name, lasts) {
            (Some(_), _) => self.counts.named += 1,
            (None, NAMELESS_MS) => self.counts.nameless += 1,
            (None, _) => self.counts.failed += 1,
        }
        // A name that was known stays while the resolver fails.
        let name = name.or_else(|| self.known.remove(&ip).filter(|_| lasts == FAILED_MS)?.name);
        if self.known.len() >= KEPT_MAX {
            self.known.retain(|_, k| k.until > now);
        }
        if self.known.len() >= KEPT_MAX
            && let Some(oldest) = self.known.iter().min_by_key(|(_, k)| k.until).map(|(ip, _)| *ip)
        {
            self.known.remove(&oldest);
        }
        self.known.insert(ip, Known { name, until: now + lasts });
    }

    /// What an address is called, as far as it is known.
    #[must_use]
    pub fn name(&self, ip: IpAddr) -> Option<&str> {
        self.known.get(&ip)?.name.as_deref()
    }

    /// What was asked so far.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.counts
    }
}

/// A name as a host may have it, in small letters; whoever owns an address can answer with anything.
fn host_name(text: &str) -> Option<Arc<str>> {
    let text = text.trim_end_matches('.');
    let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let named = !text.is_empty() && text.len() <= NAME_MAX && text.chars().all(good);
    // A number is what a resolver says when it has no name.
    (named && text.parse::<IpAddr>().is_err()).then(|| text.to_ascii_lowercase().into())
}

/// Asks the system's resolver; this blocks for as long as it likes.
fn look_up(ip: IpAddr) -> Answer {
    /// `NI_NAMEREQD` of Linux: no number in place of a name.
    const NAME_REQUIRED: i32 = 8;
    match dns_lookup::getnameinfo(&(ip, 0).into(), NAME_REQUIRED) {
        Ok((name, _)) => Answer::Name(name),
        Err(e) if matches!(e.kind(), LookupErrorKind::NoName | LookupErrorKind::NoData) => Answer::Nameless,
        Err(e) => {
            debug!(%ip, code = e.error_num(), "The resolver failed.");
            Answer::Failed
        }
    }
}

/// Asks what outside addresses are called, until it is told to stop. The resolver blocks, so it has a thread of its own, which
/// nobody waits for: one that hangs neither stops the map nor the end of the collector.
pub async fn run(map: Arc<Map>, stop: CancellationToken) {
    ask(map, stop, look_up).await;
}

/// As [`run`], with another resolver.
pub async fn ask(map: Arc<Map>, stop: CancellationToken, look_up: impl Fn(IpAddr) -> Answer + Send + 'static) {
    let (questions, asked) = std::sync::mpsc::sync_channel::<IpAddr>(1);
    let (answers, mut answered) = mpsc::channel(1);
    let resolver = std::thread::Builder::new().name("tacit-resolver".into()).spawn(move || {
        while let Ok(ip) = asked.recv() {
            if answers.blocking_send((ip, look_up(ip))).is_err() {
                return;
            }
        }
    });
    if let Err(e) = resolver {
        warn!(error = %e, "Cannot start the thread that asks for names; the map has none.");
        return;
    }
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            answer = answered.recv() => match answer {
                Some((ip, answer)) => map.answer(ip, answer, now_ms()),
                None => return,
            },
            () = tokio::time::sleep(LOOK_EVERY) => {
                if let Some(ip) = map.question(now_ms()).await
                    && questions.try_send(ip).is_err()
                {
                    return;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(n: u8) -> IpAddr {
        [192, 0, 2, n].into()
    }

    #[test]
    fn one_question_at_a_time_and_ten_a_minute() {
        let mut names = ReverseNames::default();
        let wanted: Vec<IpAddr> = (0..=255).map(ip).collect();
        let mut asked = Vec::new();
        // It is looked every 100 ms for a minute, and each answer comes at once.
        for now in (0..60_000).step_by(100).map(|n| 1_000_000 + n) {
            if let Some(ip) = names.next(&wanted, now) {
                asked.push(ip);
                assert_eq!(names.next(&wanted, now + GAP_MS), None, "one is waiting");
                names.answer(ip, Answer::Nameless, now);
            }
        }
        assert_eq!(asked, wanted[..10]);
        assert_eq!(names.counts(), Counts { asked: 10, nameless: 10, ..Counts::default() });
    }

    #[test]
    fn answers_are_remembered_for_their_time() {
        let mut names = ReverseNames::default();
        let start = 1_000_000;
        let answers = [Answer::Name("Host.Example.".into()), Answer::Nameless, Answer::Failed];
        for (n, answer) in (0..).zip(answers) {
            assert_eq!(names.next(&[ip(n)], start + i64::from(n) * GAP_MS), Some(ip(n)));
            names.answer(ip(n), answer, start);
        }
        assert_eq!([0, 1, 2].map(|n| names.name(ip(n))), [Some("host.example"), None, None]);
        let next = |names: &mut ReverseNames, now| {
            let found = names.next(&[ip(0), ip(1), ip(2)], now);
            found.into_iter().for_each(|ip| names.answer(ip, Answer::Failed, now));
            found
        };
        assert_eq!(next(&mut names, start + FAILED_MS - 1), None);
        assert_eq!(next(&mut names, start + FAILED_MS), Some(ip(2)));
        assert_eq!(next(&mut names, start + NAMELESS_MS), Some(ip(1)));
        assert_eq!(next(&mut names, start + NAMED_MS), Some(ip(0)));
        assert_eq!(names.name(ip(0)), Some("host.example"), "it stays while the resolver fails");
    }

    #[test]
    fn a_resolver_that_hangs_is_asked_nothing_more() {
        let mut names = ReverseNames::default();
        assert_eq!(names.next(&[ip(1), ip(2)], 1_000_000), Some(ip(1)));
        for minute in 1..100 {
            assert_eq!(names.next(&[ip(2)], 1_000_000 + minute * 60_000), None);
        }
        assert_eq!(names.counts().asked, 1);
        names.answer(ip(1), Answer::Name("late.example".into()), 8_000_000);
        assert_eq!(names.name(ip(1)), Some("late.example"));
        assert_eq!(names.next(&[ip(2)], 8_000_000), Some(ip(2)));
    }

    #[test]
    fn memory_is_bounded_and_hostile_names_are_none() {
        let mut names = ReverseNames::default();
        for n in 0..2 * KEPT_MAX as u32 {
            names.answer(IpAddr::V4((0x0b00_0000 + n).into()), Answer::Name(format!("h{n}")), i64::from(n));
        }
        assert_eq!(names.known.len(), KEPT_MAX);
        for text in ["", ".", "<b>x</b>", "a b", "a\u{1b}[2J", "ä.example", "10.0.0.1", "::1", &"x".repeat(254)] {
            assert_eq!(host_name(text), None, "{text:?}");
        }
        assert_eq!(host_name("_srv-1.Example.COM.").as_deref(), Some("_srv-1.example.com"));
        for not_asked in ["127.0.0.1", "::1", "224.0.0.1", "fe80::1", "0.0.0.0"] {
            assert_eq!(names.next(&[not_asked.parse().unwrap()], i64::MAX / 2), None, "{not_asked}");
        }
    }
}
