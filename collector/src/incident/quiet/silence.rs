//! Silences: from a time to a time, once.

use super::{DAY_MS, NAME_MAX, REASON_MAX, check_matchers, check_text, conditions, utc};
use crate::store::Silence;

/// Most days that a silence lasts, and that it begins ahead.
pub const MUTE_DAYS: i64 = 90;

impl Silence {
    /// When it is over: its end, or when somebody ended it.
    #[must_use]
    pub fn until_ms(&self) -> i64 {
        self.ended_ms.map_or(self.ends_ms, |ended| ended.min(self.ends_ms))
    }

    /// Whether it mutes at a time.
    #[must_use]
    pub fn in_force(&self, now_ms: i64) -> bool {
        self.starts_ms <= now_ms && now_ms < self.until_ms()
    }

    /// It in a line, for the trail.
    #[must_use]
    pub fn line(&self) -> String {
        format!("until {}: {} [{}]", utc(self.ends_ms), self.reason, conditions(&self.matchers))
    }
}

/// Checks a silence before it is kept.
///
/// # Errors
/// What is wrong, and what to do.
pub fn check_silence(silence: &Silence, now_ms: i64) -> Result<(), String> {
    check_matchers(&silence.matchers)?;
    check_text("the reason", &silence.reason, REASON_MAX)?;
    check_text("the actor", &silence.actor, NAME_MAX)?;
    let Silence { starts_ms, ends_ms, .. } = *silence;
    if ends_ms <= now_ms {
        return Err(format!("it would end at {}, which is over: say a time to come", utc(ends_ms)));
    }
    if ends_ms <= starts_ms {
        return Err(format!("it would end at {}, before it begins: swap them", utc(ends_ms)));
    }
    let most = MUTE_DAYS.saturating_mul(DAY_MS);
    if starts_ms.saturating_sub(now_ms) > most {
        return Err(format!(
            "it would begin at {}, in more than {MUTE_DAYS} days: make it nearer to that",
            utc(starts_ms)
        ));
    }
    if ends_ms.saturating_sub(starts_ms) > most {
        return Err(format!(
            "it would last until {}, longer than {MUTE_DAYS} days: silence it for less and look again then, or put right what is noisy",
            utc(ends_ms)
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn silence() -> Silence {
        Silence {
            id: 3,
            matchers: vec!["node=web-1".parse().unwrap(), "family=~disk*".parse().unwrap()],
            starts_ms: 1000,
            ends_ms: 7_201_000,
            actor: "ana".into(),
            reason: "a new disk".into(),
            made_ms: 1000,
            ended_ms: None,
        }
    }

    #[test]
    fn it_holds_from_its_start_to_its_end() {
        let mut one = silence();
        assert_eq!([999, 1000, 7_200_999, 7_201_000].map(|at| one.in_force(at)), [false, true, true, false]);
        one.ended_ms = Some(5000);
        assert_eq!([4999, 5000].map(|at| one.in_force(at)), [true, false]);
        // Ended before it began.
        one.ended_ms = Some(10);
        assert!(!one.in_force(1000));
        assert_eq!(one.line(), "until 1970-01-01 02:00 UTC: a new disk [node=web-1 family=~disk*]");
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        type Spoil = fn(&mut Silence);
        assert_eq!(check_silence(&silence(), 1000), Ok(()));
        let refused: [(Spoil, &str); 9] = [
            (|s| s.reason = " \n".into(), "the reason is missing"),
            (|s| s.reason = "x".repeat(2001), "the reason has 2001 bytes, at most 2000"),
            (|s| s.actor = "x".repeat(257), "the actor has 257 bytes"),
            (|s| s.ends_ms = 1000, "which is over"),
            (|s| s.starts_ms = 8_000_000, "before it begins"),
            (|s| s.ends_ms = 1001 + 90 * DAY_MS, "longer than 90 days"),
            (|s| s.ends_ms = i64::MAX, "until an unknown time, longer than 90 days"),
            (|s| (s.starts_ms, s.ends_ms) = (1001 + 90 * DAY_MS, 91 * DAY_MS), "in more than 90 days"),
            (|s| s.matchers[0].field.clear(), "is no field"),
        ];
        for (spoil, words) in refused {
            let mut one = silence();
            spoil(&mut one);
            let said = check_silence(&one, 1000).unwrap_err();
            assert!(said.contains(words), "{words}: {said}");
        }
        let lowest = Silence { starts_ms: i64::MIN, ends_ms: i64::MAX, ..silence() };
        assert!(check_silence(&lowest, 1000).is_err());
    }
}
