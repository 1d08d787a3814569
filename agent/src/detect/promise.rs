//! Alarms promised and raised over the last thirty days.

use serde::{Deserialize, Serialize};
use tacit_wire::Num;
use tacit_wire::message::Promise;

const DAY_MS: i64 = 86_400_000;
const WINDOW_MS: i64 = 30 * DAY_MS;
/// Times kept of each kind; a node that raises more has other troubles than an exact count.
const KEPT: usize = 4096;

/// When events were raised, Unix milliseconds.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Raised {
    since_ms: Option<i64>,
    model: Vec<i64>,
    rules: Vec<i64>,
}

impl Raised {
    /// Counts an event of the model.
    pub fn model(&mut self, at_ms: i64) {
        push(&mut self.model, at_ms);
    }

    /// Counts an event of a rule.
    pub fn rule(&mut self, at_ms: i64) {
        push(&mut self.rules, at_ms);
    }

    /// The counts now, beside what was promised a day (`None`: model events are off).
    pub fn promise(&mut self, per_day: Option<f64>, now_ms: i64) -> Promise {
        // A clock that was set back must not make the counted time negative.
        let since = self.since_ms.map_or(now_ms, |s| s.min(now_ms)).max(now_ms - WINDOW_MS);
        self.since_ms = Some(since);
        for list in [&mut self.model, &mut self.rules] {
            list.retain(|at| *at >= now_ms - WINDOW_MS);
        }
        Promise {
            promised_per_day: per_day.map_or(Num::NONE, |p| Num(p as f32)),
            events: self.model.len() as u32,
            rules: self.rules.len() as u32,
            days: Num::quantised((now_ms - since) as f32 / DAY_MS as f32),
        }
    }
}

/// Why a node does not keep its promise, if it does not: more than twice the asked rate over at least three days, counted in
/// the shorter of thirty days and the node's life. A few more than asked are chance.
#[must_use]
pub fn broken(promise: &Promise) -> Option<String> {
    let (asked, days) = (promise.promised_per_day.get()?, promise.days.get()?);
    let asked_in_all = asked * days;
    let raised = promise.events as f32;
    // Two deviations of a Poisson count above twice the promise.
    let limit = 2.0 * asked_in_all + 2.0 * asked_in_all.sqrt();
    (days >= 3.0 && raised > limit).then(|| {
        format!(
            "raised {} events in {days:.0} days, {asked_in_all:.0} were asked for: what it does changes faster than its \
             threshold can follow, or something is wrong for long; label its incidents, or set a higher alarm_budget",
            promise.events
        )
    })
}

fn push(list: &mut Vec<i64>, at_ms: i64) {
    if list.len() == KEPT {
        list.remove(0);
    }
    list.push(at_ms);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broken_promise_is_told_and_chance_is_not() {
        let promise = |events, days| Promise { promised_per_day: Num(1.0), events, rules: 0, days: Num(days) };
        assert!(broken(&promise(25, 7.0)).is_some_and(|why| why.contains("25 events in 7 days, 7 were asked")));
        assert_eq!(broken(&promise(17, 7.0)), None);
        assert_eq!(broken(&promise(30, 1.0)), None);
        assert_eq!(broken(&Promise { promised_per_day: Num::NONE, ..promise(900, 9.0) }), None);
    }

    #[test]
    fn what_is_older_than_the_window_is_forgotten() {
        let mut raised = Raised::default();
        raised.promise(Some(1.0), 0);
        raised.model(DAY_MS);
        raised.model(40 * DAY_MS);
        raised.rule(40 * DAY_MS);
        let promise = raised.promise(Some(1.0), 41 * DAY_MS);
        assert_eq!((promise.events, promise.rules, promise.days), (1, 1, Num(30.0)));
    }
}
