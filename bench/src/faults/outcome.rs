//! What became of a fault, from what was seen: found or not, how late, named rightly or not.

use serde::Serialize;

use super::catalogue::{Culprit, Fault};
use super::watch::Sighting;

/// Whether the event named who is to blame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Named {
    /// In its sentence.
    InWords,
    /// In its list only.
    Listed,
    /// Not at all.
    No,
    /// There is nobody to name.
    Nobody,
}

/// What became of a fault.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Outcome {
    /// The fault.
    pub fault: String,
    /// Why it did not run, if it did not: then it counts as missed.
    pub refused: Option<String>,
    /// Seconds from its start to the first alarm.
    pub delay_s: Option<f64>,
    /// The alarm was an older event that came back.
    pub again: bool,
    /// Kinds the alarms said, the first alarm's first.
    pub said: Vec<String>,
    /// Whether the first of them is right; absent when nothing was found.
    pub kind_right: Option<bool>,
    /// Whether the culprit was named; absent when nothing was found.
    pub named: Option<Named>,
    /// The first alarm's sentence, as last renewed.
    pub text: String,
    /// Seconds it ran.
    pub ran_s: f64,
}

impl Outcome {
    /// It could not run.
    pub fn refused(fault: &Fault, reason: String) -> Self {
        Self {
            fault: fault.name.to_owned(),
            refused: Some(reason),
            delay_s: None,
            again: false,
            said: Vec::new(),
            kind_right: None,
            named: None,
            text: String::new(),
            ran_s: 0.0,
        }
    }

    /// Whether it was found.
    pub fn found(&self) -> bool {
        self.delay_s.is_some()
    }
}

/// When a fault was at work, in seconds of the watch.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Window {
    /// Its start.
    pub start_s: f64,
    /// Its end.
    pub end_s: f64,
    /// Until when what an event says belongs to it.
    pub told_s: f64,
}

/// Judges a fault that ran. An alarm counts when it opens, or comes back, while the fault is at work, and is not of something that
/// began before it; what it says may be renewed for a little longer.
pub fn judge(fault: &Fault, window: Window, seen: &[Sighting]) -> Outcome {
    let at_work = |s: &&Sighting| s.is_of(window.start_s) && s.at_s <= window.end_s;
    let alarms: Vec<&Sighting> = seen.iter().filter(|s| s.is_alarm() && s.opens).filter(at_work).collect();
    let mut outcome =
        Outcome { refused: None, ran_s: window.end_s - window.start_s, ..Outcome::refused(fault, String::new()) };
    let Some(first) = alarms.first() else { return outcome };
    outcome.delay_s = Some(first.at_s - window.start_s);
    outcome.again = first.again;
    // An event that came back has nothing new to say.
    let new = alarms.iter().filter(|a| !a.again);
    let latest: Vec<&Sighting> = new.filter_map(|alarm| newest(alarm, window, seen)).collect();
    for kind in latest.iter().filter_map(|s| kind_of(s)) {
        if !outcome.said.contains(&kind) {
            outcome.said.push(kind);
        }
    }
    outcome.kind_right = Some(outcome.said.first().is_some_and(|kind| fault.kinds.contains(&kind.as_str())));
    outcome.named = Some(
        latest
            .iter()
            .map(|s| named(fault.culprit, s))
            .min_by_key(|n| *n as u8)
            .unwrap_or(if fault.culprit == Culprit::Nobody { Named::Nobody } else { Named::No }),
    );
    outcome.text = latest.first().map_or_else(|| "an event that had ended is back".into(), |s| s.text.clone());
    outcome
}

/// The newest phase of an alarm while it still told of this fault.
fn newest<'a>(alarm: &'a Sighting, window: Window, seen: &'a [Sighting]) -> Option<&'a Sighting> {
    seen.iter().rfind(|s| s.event == alarm.event && !s.again && s.at_s <= window.told_s)
}

/// What the event says, or what its rule is about.
fn kind_of(sighting: &Sighting) -> Option<String> {
    let by_rule = || {
        Some(match sighting.rule.as_deref()? {
            "disk-full" => "disk-full",
            "read-only" => "disk-io",
            "oom-kill" => "memory",
            "clock-jump" => "clock",
            "unit-failed" | "crash-loop" => "service",
            "probe-failed" => "network",
            _ => return None,
        })
    };
    sighting.fault.clone().or_else(|| by_rule().map(ToOwned::to_owned))
}

fn named(culprit: Culprit, sighting: &Sighting) -> Named {
    let (words, listed) = match culprit {
        Culprit::Nobody => return Named::Nobody,
        Culprit::Process(name) => (name, sighting.processes.iter().any(|p| p.starts_with(name))),
        Culprit::Unit(unit) => (unit.trim_end_matches(".service"), sighting.units.iter().any(|u| u.contains(unit))),
    };
    match (sighting.text.contains(words), listed) {
        (true, _) => Named::InWords,
        (false, true) => Named::Listed,
        (false, false) => Named::No,
    }
}

/// The sentences of the alarms that opened, or came back, at a time that `wanted` takes.
pub fn alarms(seen: &[Sighting], wanted: impl Fn(&Sighting) -> bool) -> Vec<String> {
    seen.iter().filter(|s| s.is_alarm() && s.opens && wanted(s)).map(|s| s.text.clone()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::faults::catalogue::ALL;

    const WINDOW: Window = Window { start_s: 100.0, end_s: 160.0, told_s: 200.0 };

    fn fault(name: &str) -> Fault {
        *ALL.iter().find(|f| f.name == name).unwrap()
    }

    fn alarm(at_s: f64, event: &str, fault: Option<&str>) -> Sighting {
        Sighting {
            at_s,
            onset_s: at_s,
            event: event.into(),
            kind: "anomaly".into(),
            fault: fault.map(ToOwned::to_owned),
            text: "CPU busy 100 %".into(),
            opens: true,
            ..Sighting::default()
        }
    }

    #[test]
    fn an_alarm_counts_while_the_fault_is_at_work_and_may_be_renewed_later() {
        let update = Sighting {
            text: "CPU busy 100 %; top process stress-ng-cpu".into(),
            processes: vec!["bash".into(), "stress-ng-cpu".into()],
            opens: false,
            ..alarm(190.0, "a", Some("cpu"))
        };
        let seen = [alarm(50.0, "before", Some("memory")), alarm(107.5, "a", None), update];
        let outcome = judge(&fault("cpu-hog"), WINDOW, &seen);
        assert_eq!((outcome.delay_s, outcome.kind_right, outcome.named), (Some(7.5), Some(true), Some(Named::InWords)));
        assert_eq!(outcome.said, ["cpu"]);

        for late in [alarm(99.0, "a", None), alarm(161.0, "a", None)] {
            assert!(!judge(&fault("cpu-hog"), WINDOW, &[late]).found());
        }
        let of_the_one_before = Sighting { onset_s: 60.0, ..alarm(110.0, "a", None) };
        assert!(!judge(&fault("cpu-hog"), WINDOW, &[of_the_one_before]).found(), "late news of the fault before");
        let context = Sighting { kind: "context".into(), ..alarm(110.0, "a", Some("cpu")) };
        assert!(!judge(&fault("cpu-hog"), WINDOW, &[context]).found(), "what happened is no alarm");
    }

    #[test]
    fn the_first_kind_decides_and_a_list_is_less_than_words() {
        let listed = Sighting { processes: vec!["fault-leak".into()], ..alarm(110.0, "a", Some("cpu")) };
        let outcome = judge(&fault("leak-fast"), WINDOW, &[listed, alarm(120.0, "b", Some("memory"))]);
        assert_eq!((outcome.kind_right, outcome.named), (Some(false), Some(Named::Listed)));
        assert_eq!(outcome.said, ["cpu", "memory"]);

        let rule = Sighting { kind: "rule".into(), rule: Some("disk-full".into()), ..alarm(110.0, "a", None) };
        let outcome = judge(&fault("disk-filling"), WINDOW, &[rule]);
        assert_eq!((outcome.kind_right, outcome.named), (Some(true), Some(Named::No)));
        let outcome = judge(&fault("packet-loss"), WINDOW, &[alarm(110.0, "a", None)]);
        assert_eq!((outcome.kind_right, outcome.named), (Some(false), Some(Named::Nobody)));
    }

    #[test]
    fn an_event_that_came_back_is_found_but_says_nothing() {
        let back = Sighting { again: true, ..alarm(130.0, "old", Some("cpu")) };
        let outcome = judge(&fault("cpu-hog"), WINDOW, &[alarm(10.0, "old", Some("cpu")), back]);
        assert_eq!((outcome.delay_s, outcome.again), (Some(30.0), true));
        assert_eq!((outcome.kind_right, outcome.named), (Some(false), Some(Named::No)));
    }

    #[test]
    fn an_alarm_is_counted_once_where_it_opened() {
        let renewed = Sighting { opens: false, ..alarm(6.0, "a", None) };
        let context = Sighting { kind: "context".into(), ..alarm(7.0, "c", None) };
        let seen = [alarm(5.0, "a", None), renewed, context, alarm(20.0, "b", None)];
        assert_eq!(alarms(&seen, |s| s.at_s < 10.0).len(), 1);
        assert_eq!(alarms(&seen, |_| true).len(), 2);
    }
}
