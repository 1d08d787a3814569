use super::super::fixtures::{T0, cause, incident};
use super::*;

const SECOND: i64 = 1000;
const MINUTE: i64 = 60_000;
const HOUR: i64 = 60 * MINUTE;
const TIMING: Timing = Timing { wait_ms: 30 * SECOND, interval_ms: 5 * MINUTE, repeat_ms: 4 * HOUR };

/// When after the opening, what happens to the incident, and what is told then.
type Step<'a> = (i64, fn(&mut Incident), Option<&'a str>);

/// One receiver that is asked about an incident as it lives.
struct Life {
    incident: Incident,
    told: Option<Told>,
    held: bool,
}

impl Life {
    fn new() -> Self {
        Self { incident: incident(12), told: None, held: false }
    }

    /// What is told at a time after the opening.
    fn at(&mut self, ms: i64) -> Option<String> {
        let now = T0 + ms;
        let facts = Message::about(&self.incident, Vec::new(), "");
        let telling = next(&self.incident, &facts, self.told.as_ref(), self.held, TIMING, now)?;
        let state = telling.state.clone();
        let message = message(facts, telling, self.told.as_ref());
        match &mut self.told {
            Some(told) => told.add(message, now),
            None => self.told = Some(Told::first(message, now)),
        }
        Some(state)
    }

    fn steps(&mut self, steps: &[Step<'_>]) {
        for (n, (ms, change, expected)) in steps.iter().enumerate() {
            change(&mut self.incident);
            assert_eq!(self.at(*ms).as_deref(), *expected, "step {n}");
            assert_eq!(self.at(*ms), None, "step {n} is told once");
        }
    }

    fn news(&self) -> Vec<&str> {
        self.told.iter().flat_map(|t| t.last.news.iter().map(String::as_str)).collect()
    }
}

fn nothing(_: &mut Incident) {}

fn state(state: IncidentState) -> impl Fn(&mut Incident) {
    move |i| i.state = state
}

fn resolve(i: &mut Incident) {
    state(IncidentState::Resolved)(i);
    i.resolved_ms = Some(T0 + MINUTE);
}

fn reopen(i: &mut Incident) {
    state(IncidentState::Reopened)(i);
    i.resolved_ms = None;
}

#[test]
fn it_waits_is_told_repeats_and_ends() {
    Life::new().steps(&[
        (0, nothing, None),
        (29 * SECOND, nothing, None),
        (30 * SECOND, nothing, Some("opened")),
        (3 * HOUR, nothing, None),
        (4 * HOUR + 30 * SECOND, nothing, Some("repeat:1")),
        (8 * HOUR + 30 * SECOND, nothing, Some("repeat:2")),
        (9 * HOUR, resolve, Some("resolved")),
        (30 * HOUR, nothing, None),
    ]);
}

#[test]
fn what_is_over_before_it_was_told_is_never_told() {
    Life::new().steps(&[(10 * SECOND, nothing, None), (20 * SECOND, resolve, None), (HOUR, nothing, None)]);
}

#[test]
fn it_comes_back_each_time_under_another_name() {
    Life::new().steps(&[
        (MINUTE, nothing, Some("opened")),
        (10 * MINUTE, resolve, Some("resolved")),
        (11 * MINUTE, reopen, None),
        (15 * MINUTE, nothing, Some("reopened:1")),
        (16 * MINUTE, resolve, Some("resolved:1")),
        (40 * MINUTE, reopen, Some("reopened:2")),
        (41 * MINUTE, resolve, Some("resolved:2")),
    ]);
}

#[test]
fn what_flaps_within_the_interval_is_told_once() {
    Life::new().steps(&[
        (MINUTE, nothing, Some("opened")),
        (10 * MINUTE, resolve, Some("resolved")),
        (11 * MINUTE, reopen, None),
        (12 * MINUTE, resolve, None),
        (13 * MINUTE, reopen, None),
        (14 * MINUTE, resolve, None),
        (HOUR, nothing, None),
    ]);
}

#[test]
fn an_update_says_what_is_new_and_not_too_often() {
    let mut life = Life::new();
    life.incident.severity = 0.5;
    life.steps(&[
        (MINUTE, nothing, Some("opened")),
        (2 * MINUTE, |i| i.cause = Some(cause("db-1", false)), None),
        (6 * MINUTE, nothing, Some("update:1")),
    ]);
    assert_eq!(life.news(), ["the cause is now thought to be db-1"]);
    life.steps(&[(
        20 * MINUTE,
        |i| {
            i.severity = 0.9;
            i.nodes.push("web-2".parse().unwrap());
            i.unstable = true;
        },
        Some("update:2"),
    )]);
    assert_eq!(life.news(), ["now page (was warning)", "1 more node: web-2", "something in it comes and goes"]);
    life.steps(&[
        // What nobody would care about.
        (30 * MINUTE, |i| i.events = 900, None),
        (40 * MINUTE, |i| i.severity = 0.2, None),
        (50 * MINUTE, |i| i.title = "requests are very slow".into(), None),
        (55 * MINUTE, |i| i.unstable = false, None),
        (60 * MINUTE, |i| i.cause = Some(cause("api-1", true)), None),
        (70 * MINUTE, |i| i.cause = Some(cause("api-1", false)), Some("update:3")),
    ]);
    assert_eq!(life.news(), ["the cause is now thought to be api-1"]);
}

#[test]
fn who_has_taken_it_hears_only_that_it_became_worse_and_the_end() {
    let mut life = Life::new();
    life.incident.severity = 0.5;
    life.steps(&[
        (MINUTE, nothing, Some("opened")),
        (10 * MINUTE, |i| i.state = IncidentState::Acknowledged, None),
        (20 * MINUTE, |i| i.nodes.push("web-2".parse().unwrap()), None),
        (9 * HOUR, nothing, None),
        (10 * HOUR, |i| i.severity = 0.9, Some("update:1")),
        (20 * HOUR, nothing, None),
        (21 * HOUR, resolve, Some("resolved")),
    ]);
}

#[test]
fn what_somebody_took_before_it_was_told_disturbs_nobody() {
    Life::new().steps(&[
        (10 * SECOND, |i| i.state = IncidentState::Acknowledged, None),
        (HOUR, nothing, None),
        (2 * HOUR, resolve, None),
    ]);
}

#[test]
fn muted_it_is_silent_and_told_when_the_mute_ends() {
    Life::new().steps(&[
        (10 * SECOND, |i| i.state = IncidentState::Muted, None),
        (9 * HOUR, nothing, None),
        (10 * HOUR, |i| i.state = IncidentState::Open, Some("opened")),
    ]);
    Life::new().steps(&[
        (MINUTE, nothing, Some("opened")),
        (10 * MINUTE, |i| i.state = IncidentState::Muted, None),
        (11 * MINUTE, |i| i.severity = 1.0, None),
        (9 * HOUR, |i| i.nodes.push("web-2".parse().unwrap()), None),
        (10 * HOUR, |i| i.state = IncidentState::Open, Some("update:1")),
        (11 * HOUR, |i| i.state = IncidentState::Muted, None),
        // It is over all the same.
        (12 * HOUR, resolve, Some("resolved")),
    ]);
}

#[test]
fn what_became_part_of_another_ends() {
    let mut life = Life::new();
    life.steps(&[
        (MINUTE, nothing, Some("opened")),
        (2 * MINUTE, |i| i.merged_into = Some(9), Some("resolved")),
        (HOUR, nothing, None),
        (2 * HOUR, resolve, None),
    ]);
    assert_eq!(
        life.told.unwrap().last.summary,
        "Incident 12 became part of incident 9 [page]: requests are slow (on web-1)"
    );
    Life::new().steps(&[(10 * SECOND, |i| i.merged_into = Some(9), None), (HOUR, nothing, None)]);
}

#[test]
fn what_goes_on_with_another_is_told_once_that_is_over() {
    let mut life = Life::new();
    life.held = true;
    life.steps(&[(HOUR, nothing, None)]);
    life.held = false;
    life.steps(&[(2 * HOUR, nothing, Some("opened"))]);
    // Held again, it goes on as told.
    life.held = true;
    life.steps(&[(7 * HOUR, nothing, Some("repeat:1"))]);
}

#[test]
fn a_clock_that_was_put_back_holds_nothing_up() {
    Life::new().steps(&[(-HOUR, nothing, Some("opened"))]);
}

#[test]
fn what_was_told_is_read_back_from_the_store() {
    let mut life = Life::new();
    let mut rows = Vec::new();
    type Change = fn(&mut Incident);
    let changes: [(i64, Change); 4] =
        [(MINUTE, nothing), (10 * MINUTE, |i| i.unstable = true), (20 * MINUTE, resolve), (30 * MINUTE, reopen)];
    for (ms, change) in changes {
        change(&mut life.incident);
        let state = life.at(ms).expect("it is told");
        let told = life.told.as_ref().unwrap();
        rows.insert(
            0,
            Notification {
                id: 0,
                incident: 12,
                receiver: "ops".into(),
                state,
                body: serde_json::to_string(&told.last).unwrap(),
                summary: String::new(),
                made_ms: told.at_ms,
                next_ms: 0,
                attempts: 0,
                delivery: crate::store::Delivery::Sent,
                sent_ms: None,
                error: None,
            },
        );
    }
    let mut read = Told::of(&rows);
    assert_eq!(read.remove("ops"), life.told);
    assert!(read.is_empty());
}

#[test]
fn alertmanager_knows_it_by_the_same_labels_until_an_update_says_otherwise() {
    let mut life = Life::new();
    life.steps(&[(MINUTE, nothing, Some("opened"))]);
    let first = life.told.as_ref().unwrap().last.labels.clone();
    assert_eq!(first["node"], "web-1");
    // More nodes are news, but no other alert.
    life.steps(&[(10 * MINUTE, |i| i.nodes.push("web-2".parse().unwrap()), Some("update:1"))]);
    let last = &life.told.as_ref().unwrap().last;
    assert!(last.labels == first && last.labels_before.is_none());
    life.steps(&[(20 * MINUTE, |i| i.cause = Some(cause("db-1", false)), Some("update:2"))]);
    let last = life.told.as_ref().unwrap().last.clone();
    assert_eq!((last.labels["cause"].as_str(), last.labels_before), ("db-1", Some(first)));
    life.steps(&[(30 * MINUTE, |i| i.cause = None, None), (31 * MINUTE, resolve, Some("resolved"))]);
    let end = &life.told.as_ref().unwrap().last;
    assert!(end.labels == last.labels && end.labels_before.is_none());
}
