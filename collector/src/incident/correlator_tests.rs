//! Events become steps, one after another.

use tacit_wire::EventId;
use tacit_wire::message::Phase;

use super::*;
use crate::fixtures::event;
use crate::store::{EventSource, Outside};

const SECOND: i64 = 1000;
const MINUTE: i64 = 60_000;

fn on(node: &str, id: u8, kind: EventKind, at_ms: i64) -> EventRecord {
    let mut record = event(id, kind, Phase::Open, at_ms);
    record.event.head.node = node.parse().unwrap();
    record.event.event = EventId([id; 8]);
    record
}

/// Takes events and lets time pass until they are grouped; an incident has the number of its group.
fn run(correlator: &mut Correlator, events: Vec<EventRecord>) -> Vec<Step> {
    let now = events.iter().map(|e| e.onset_ms).max().unwrap_or(0);
    let mut steps: Vec<Step> = events.into_iter().filter_map(|e| correlator.take(e, now)).collect();
    assert!(!correlator.is_due(now));
    let later = now + 5 * SECOND;
    assert!(correlator.is_due(later) || !steps.is_empty());
    loop {
        let released = correlator.release(later);
        if released.is_empty() {
            assert!(!correlator.is_due(later));
            return steps;
        }
        for (group, _) in opened(&released) {
            correlator.is(group, group.0 as IncidentId);
        }
        steps.extend(released);
    }
}

fn opened(steps: &[Step]) -> Vec<(GroupNo, usize)> {
    let open = |step: &Step| match step {
        Step::Open { group, events, .. } => Some((*group, events.len())),
        _ => None,
    };
    steps.iter().filter_map(open).collect()
}

#[test]
fn a_rule_opens_and_what_follows_on_the_node_joins() {
    let mut correlator = Correlator::default();
    let steps = run(&mut correlator, vec![on("web-1", 1, EventKind::Rule, 0)]);
    assert!(matches!(steps[0], Step::Wait(_)), "it is looked at first");
    let [(group, 1)] = opened(&steps)[..] else { panic!("{steps:?}") };
    correlator.is(group, 7);
    let context = on("web-1", 2, EventKind::Context, 20 * SECOND);
    let mut second = on("web-1", 3, EventKind::Rule, 30 * SECOND);
    second.event.rule = Some("disk-full".into());
    let steps = run(&mut correlator, vec![second, context]);
    let incidents: Vec<_> = steps
        .iter()
        .map(|s| match s {
            Step::Join { incident, event, .. } => (*incident, event.event.event.0[0]),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(incidents, [(7, 2), (7, 3)], "in the order of their onsets");
}

#[test]
fn context_alone_goes_into_the_digest() {
    let mut correlator = Correlator::default();
    let steps = run(&mut correlator, vec![on("web-1", 1, EventKind::Context, 0)]);
    assert!(matches!(steps[..], [Step::Wait(_)]), "{steps:?}");
    let steps = correlator.advance(60 * MINUTE);
    let [Step::Digest { events, why }] = &steps[..] else { panic!("{steps:?}") };
    assert_eq!((events.len(), why.as_str()), (1, "no symptom and 0 improbable events"));
}

#[test]
fn strangers_at_different_times_are_two_incidents() {
    let mut correlator = Correlator::default();
    let first = on("web-1", 1, EventKind::Rule, 0);
    let mut second = on("db-9", 2, EventKind::Rule, 40 * SECOND);
    second.event.rule = Some("disk-full".into());
    let steps = run(&mut correlator, vec![first, second]);
    assert_eq!(opened(&steps).len(), 2);
}

#[test]
fn an_end_is_renewed_and_the_next_time_is_new() {
    let mut correlator = Correlator::default();
    let steps = run(&mut correlator, vec![on("web-1", 1, EventKind::Rule, 0)]);
    correlator.is(opened(&steps)[0].0, 1);
    let mut end = on("web-1", 1, EventKind::Rule, 0);
    end.event.phase = Phase::Close;
    end.event.end_ms = Some(MINUTE);
    assert!(matches!(correlator.take(end.clone(), MINUTE), Some(Step::Renew { back: false, .. })));
    // Said once more, of an incident that knows it.
    end.incident = Some(1);
    assert!(matches!(correlator.take(end.clone(), MINUTE), Some(Step::Renew { back: false, .. })));
    // It is there again, which is news once.
    end.event.phase = Phase::Update;
    assert!(matches!(correlator.take(end.clone(), MINUTE), Some(Step::Renew { back: true, .. })));
    assert!(matches!(correlator.take(end, MINUTE), Some(Step::Renew { back: false, .. })));
}

#[test]
fn what_comes_and_goes_stays_in_its_incident() {
    let mut correlator = Correlator::default();
    let steps = run(&mut correlator, vec![on("web-1", 1, EventKind::Rule, 0)]);
    correlator.is(opened(&steps)[0].0, 1);
    let mut turns = Vec::new();
    for turn in 1..6_u8 {
        let at = i64::from(turn) * 30 * SECOND;
        let mut end = on("web-1", turn, EventKind::Rule, at - 30 * SECOND);
        end.event.phase = Phase::Close;
        end.event.end_ms = Some(at - 15 * SECOND);
        correlator.take(end, at - 15 * SECOND);
        turns.extend(run(&mut correlator, vec![on("web-1", turn + 1, EventKind::Rule, at)]));
    }
    let unstable = |s: &&Step| matches!(s, Step::Join { unstable: true, incident: 1, .. });
    assert!(turns.iter().filter(unstable).count() >= 2, "{turns:?}");
    assert!(opened(&turns).is_empty());
}

#[test]
fn what_comes_together_is_one_incident() {
    let mut correlator = Correlator::default();
    let rule = |id: u8, name: &str, at_ms| {
        let mut record = on("web-1", id, EventKind::Rule, at_ms);
        record.event.rule = Some(name.into());
        record
    };
    let events = vec![rule(1, "disk-full", 0), rule(2, "read-only", 100), rule(3, "oom-kill", 200)];
    let steps = run(&mut correlator, events);
    assert_eq!(opened(&steps).len(), 1, "{steps:?}");
    let joined = steps.iter().filter(|s| matches!(s, Step::Join { incident: 1, .. })).count();
    assert_eq!(joined, 2, "nothing is left behind: {steps:?}");
}

#[test]
fn a_collector_that_starts_goes_on_where_it_was() {
    let mut first = on("web-1", 1, EventKind::Rule, 0);
    first.incident = Some(5);
    let mut correlator = Correlator::default();
    assert!(correlator.recall(&first, SECOND).is_empty(), "it is an incident already");
    let mut second = on("web-1", 2, EventKind::Rule, 30 * SECOND);
    second.event.rule = Some("disk-full".into());
    let steps = run(&mut correlator, vec![second]);
    assert!(matches!(&steps[..], [Step::Join { incident: 5, .. }]), "{steps:?}");
}

#[test]
fn what_was_not_finished_is_finished_and_what_was_decided_stays() {
    // The collector ended after it was looked at, before its incident was saved.
    let unfinished = on("web-1", 1, EventKind::Rule, 0);
    let mut correlator = Correlator::default();
    let steps = correlator.recall(&unfinished, 60 * MINUTE);
    let [(group, 1)] = opened(&steps)[..] else { panic!("{steps:?}") };
    correlator.is(group, 3);
    let mut correlator = Correlator::default();
    let steps = correlator.recall(&unfinished, 25 * 60 * MINUTE);
    assert!(matches!(&steps[..], [Step::Digest { events, .. }] if events.len() == 1), "that was long ago: {steps:?}");

    // It opened nothing then; what follows now is another matter, and is not lost.
    let decided = EventRecord { digest: Some("no symptom".into()), ..on("web-1", 1, EventKind::Rule, 0) };
    let mut correlator = Correlator::default();
    assert_eq!(correlator.recall(&decided, SECOND), []);
    let mut next = on("web-1", 2, EventKind::Rule, 30 * SECOND);
    next.event.rule = Some("disk-full".into());
    let steps = run(&mut correlator, vec![next]);
    assert!(matches!(&steps[..], [Step::Wait(_), Step::Open { events, .. }] if events.len() == 1), "{steps:?}");
}

#[test]
fn alerts_about_nothing_we_know_are_entities_of_their_own() {
    let alert = |id: u8, name: &str, at: i64| {
        let mut record = on("-", id, EventKind::Rule, at);
        let entity = format!("alert:{name}");
        let outside = Outside { source: EventSource::Alert, entity, family: name.into(), ..Outside::default() };
        record.outside = Some(Box::new(outside));
        record
    };
    let mut correlator = Correlator::default();
    let steps = run(&mut correlator, vec![alert(1, "CheckoutSlow", 0), alert(2, "CertExpires", 40 * SECOND)]);
    assert_eq!(opened(&steps).len(), 2);
}

#[test]
fn an_alarm_that_did_not_hold_opens_nothing_and_one_that_lasts_does() {
    let blip = |id: u8, node: &str, at_ms: i64, lasted_ms: i64| {
        let mut record = on(node, id, EventKind::Anomaly, at_ms);
        (record.event.phase, record.event.end_ms) = (Phase::Close, Some(at_ms + lasted_ms));
        record.event.fault = Some(tacit_wire::message::FaultKind::Cpu);
        record.event.p_value = tacit_wire::Num(1e-9);
        record
    };
    let mut correlator = Correlator::default();
    // They are watched for long: what they claim of themselves is believed.
    for node in ["web-1", "web-2"] {
        correlator.watched_since(node.parse().unwrap(), -30 * 86_400_000);
    }
    let steps = run(&mut correlator, vec![blip(1, "web-1", 0, 3 * SECOND)]);
    assert!(matches!(steps[..], [Step::Wait(_)]), "{steps:?}");
    assert!(matches!(&correlator.advance(60 * MINUTE)[..], [Step::Digest { .. }]));
    let steps = run(&mut correlator, vec![blip(2, "web-2", 120 * MINUTE, 30 * SECOND)]);
    assert_eq!(opened(&steps).len(), 1, "{steps:?}");
}
