//! What becomes of a try to deliver: it arrived, is tried again later, or will not arrive. Pure; `now` is an argument.

use super::http::SendError;
use crate::store::{Delivery, Notification};

/// First wait before a failed delivery is tried again; it doubles up to [`RETRY_MAX_MS`].
const RETRY_MIN_MS: i64 = 5000;
const RETRY_MAX_MS: i64 = 15 * 60_000;
/// A message that did not arrive for so long is given up: it is no news any more.
const GIVE_UP_MS: i64 = 24 * 3_600_000;
/// Longest reason that is kept, in characters.
const ERROR_MAX: usize = 500;

/// What became of a notification.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It arrived.
    Sent,
    /// It is tried again.
    Retried,
    /// It will not arrive.
    Failed,
    /// Something newer about the same incident goes to the same receiver in its place.
    Overtaken,
}

impl Outcome {
    /// Every outcome.
    pub const ALL: [Self; 4] = [Self::Sent, Self::Retried, Self::Failed, Self::Overtaken];

    /// The outcome in a word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Sent => "sent",
            Self::Retried => "retried",
            Self::Failed => "failed",
            Self::Overtaken => "overtaken",
        }
    }
}

/// The notification after a try. `random` is between 0 and 1: waits are anywhere up to their bound, so that what failed
/// together does not come back together.
#[must_use]
pub fn after(
    mut n: Notification,
    tried: &Result<String, SendError>,
    now_ms: i64,
    random: f64,
) -> (Notification, Outcome) {
    n.attempts = n.attempts.saturating_add(1);
    let error = match tried {
        Ok(_) => {
            (n.delivery, n.sent_ms, n.error) = (Delivery::Sent, Some(now_ms), None);
            return (n, Outcome::Sent);
        }
        Err(error) => error,
    };
    let text: String = error.text.chars().take(ERROR_MAX).collect();
    let left = GIVE_UP_MS.saturating_sub(now_ms.saturating_sub(n.made_ms));
    if !error.retry {
        return (failed(n, text), Outcome::Failed);
    }
    if left <= 0 {
        let tries = n.attempts;
        return (failed(n, format!("given up after 24 h and {tries} tries: {text}")), Outcome::Failed);
    }
    n.next_ms = now_ms.saturating_add(wait_ms(n.attempts, random).min(left));
    n.error = Some(text);
    (n, Outcome::Retried)
}

/// How long is waited after so many tries: anywhere up to a bound that doubles each time.
fn wait_ms(attempts: u32, random: f64) -> i64 {
    let doubled = attempts.saturating_sub(1).min(20);
    let most = RETRY_MIN_MS.saturating_mul(1 << doubled).min(RETRY_MAX_MS);
    ((most as f64 * random.clamp(0.0, 1.0)) as i64).max(1000)
}

/// The notification as one that will not arrive.
#[must_use]
pub fn failed(mut n: Notification, why: impl Into<String>) -> Notification {
    (n.delivery, n.error) = (Delivery::Failed, Some(why.into()));
    n
}

/// What goes to the same receiver about the same incident and is newer, if anything: then this one is not sent any more. A
/// message says all that is known, so nothing is lost, and a receiver that was away gets one message and not a pile.
#[must_use]
pub fn overtaken_by<'a>(n: &Notification, of_incident: &'a [Notification]) -> Option<&'a Notification> {
    of_incident.iter().filter(|other| other.receiver == n.receiver && other.id > n.id).max_by_key(|other| other.id)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: i64 = 3_600_000;

    fn waiting(id: i64, receiver: &str) -> Notification {
        Notification {
            id,
            incident: 1,
            receiver: receiver.into(),
            state: "opened".into(),
            body: String::new(),
            summary: String::new(),
            made_ms: 0,
            next_ms: 0,
            attempts: 0,
            delivery: Delivery::Waiting,
            sent_ms: None,
            error: None,
        }
    }

    #[test]
    fn what_arrived_is_done() {
        let (n, outcome) = after(waiting(1, "ops"), &Ok("200 OK".into()), 7, 0.5);
        assert_eq!((n.delivery, n.sent_ms, n.attempts, outcome), (Delivery::Sent, Some(7), 1, Outcome::Sent));
    }

    #[test]
    fn waits_grow_up_to_a_quarter_of_an_hour_and_a_day_is_the_end() {
        let away = Err(SendError::later("nobody answers"));
        let (mut n, mut now, mut waits) = (waiting(1, "ops"), 0, Vec::new());
        loop {
            let (next, outcome) = after(n, &away, now, 1.0);
            n = next;
            if outcome == Outcome::Failed {
                break;
            }
            waits.push(n.next_ms - now);
            now = n.next_ms;
        }
        assert_eq!(waits[..4], [5000, 10_000, 20_000, 40_000]);
        assert_eq!(waits.iter().max(), Some(&(15 * 60_000)));
        assert_eq!(now, 24 * HOUR);
        let words = n.error.unwrap();
        assert!(words.starts_with("given up after 24 h") && words.ends_with("nobody answers"), "{words}");
        let (n, _) = after(waiting(1, "ops"), &away, 0, 0.0);
        assert_eq!(n.next_ms, 1000, "never at once");
    }

    #[test]
    fn what_can_never_work_is_not_tried_again() {
        let (n, outcome) = after(waiting(1, "ops"), &Err(SendError::never("x".repeat(2000))), 0, 0.5);
        assert_eq!((n.delivery, outcome), (Delivery::Failed, Outcome::Failed));
        assert_eq!(n.error.unwrap().len(), ERROR_MAX);
    }

    #[test]
    fn the_newest_of_a_receiver_is_sent() {
        let all = [waiting(3, "ops"), waiting(2, "chat"), waiting(1, "ops")];
        assert_eq!(overtaken_by(&all[2], &all).map(|n| n.id), Some(3));
        assert_eq!(overtaken_by(&all[1], &all), None);
        assert_eq!(overtaken_by(&all[0], &all), None);
    }
}
