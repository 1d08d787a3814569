//! Evidence of incidents as they are, ranked.

use tacit_wire::message::{Direction, Phase};
use tacit_wire::{Attribute, Num};

use super::*;
use crate::cause::rank;
use crate::fixtures::event;
use crate::store::Outside;

const START: i64 = 1_700_000_000_000;

fn said(name: &str, attributes: &[(&str, &str)], observed: f32, high: f32) -> Said {
    Said {
        name: name.into(),
        attributes: attributes.iter().map(|(k, v)| Attribute { key: (*k).into(), value: (*v).into() }).collect(),
        unit: "1".into(),
        share: Num(0.5),
        observed: Num(observed),
        low: Num(0.0),
        high: Num(high),
        direction: Direction::High,
    }
}

fn anomaly(id: u8, node: &str, evidence: Vec<Said>) -> EventRecord {
    let mut record = event(id, EventKind::Anomaly, Phase::Open, START);
    record.event.head.node = node.parse().unwrap();
    record.event.evidence = evidence;
    record
}

fn client(service: &str) -> [(&str, &str); 2] {
    [("service.name", service), ("tacit.link.role", "client")]
}

/// A database whose disk is slow, and an API that waits for it.
fn shop() -> Vec<EventRecord> {
    vec![
        anomaly(1, "api-1", vec![said(semconv::LINK_ACTIVE.name, &client("api.service"), 80.0, 4.0)]),
        anomaly(2, "db-1", vec![said(semconv::DISK_UTILIZATION.name, &[("system.device", "vda")], 1.0, 0.1)]),
    ]
}

fn pairs() -> Vec<(String, String)> {
    [
        ("web-1/nginx", "api-1/api.service"),
        ("api-1/api.service", "db-1/postgres"),
        ("api-1/api.service", "cache-1/redis"),
    ]
    .map(|(a, b)| (a.to_owned(), b.to_owned()))
    .to_vec()
}

#[test]
fn a_slow_database_is_ranked_before_who_waits_for_it() {
    let (events, pairs) = (shop(), pairs());
    let near: Vec<String> = pairs.iter().flat_map(|(a, b)| [a.clone(), b.clone()]).collect();
    let known = Known { events: &events, pairs: &pairs, near: &near, onset_ms: START, ..Known::default() };
    let evidence = gather(&known);
    assert_eq!(evidence.symptom, Some(Symptom { entity: "api-1/api.service".into(), kind: MetricKind::Latency }));
    let ranking = rank(&evidence);
    assert_eq!(ranking.causes[0].entity, "db-1", "{:#?}", &ranking.causes[..3]);
    assert!(ranking.causes[0].evidence[0].to_string().contains("on db-1"));
    // The order in which events come makes no difference to the result.
    let turned: Vec<EventRecord> = events.iter().rev().cloned().collect();
    let again = rank(&gather(&Known { events: &turned, ..known }));
    let order = |r: &crate::cause::Ranking| r.causes.iter().map(|c| c.entity.clone()).collect::<Vec<_>>();
    assert_eq!(order(&again), order(&ranking));
}

#[test]
fn a_probe_of_a_node_leads_to_whom_its_services_call() {
    let slow = said(semconv::PROBE_DURATION.name, &[("probe.name", "web-1")], 2.0, 0.1);
    let busy = said(semconv::DISK_UTILIZATION.name, &[("system.device", "vda")], 1.0, 0.1);
    let (events, beside) = ([anomaly(1, "web-1", vec![slow])], [anomaly(2, "db-1", vec![busy])]);
    let pairs = [("web-1/nginx", "db-1/postgres")].map(|(a, b)| (a.to_owned(), b.to_owned()));
    let near: Vec<String> = pairs.iter().flat_map(|(a, b)| [a.clone(), b.clone()]).collect();
    let known = Known { events: &events, pairs: &pairs, near: &near, onset_ms: START, ..Known::default() };
    assert_eq!(rank(&gather(&known)).causes[0].entity, "web-1", "nothing else is known");
    // What is wrong with the database is in another incident.
    let evidence = gather(&Known { beside: &beside, ..known });
    assert_eq!(evidence.symptom, Some(Symptom { entity: "web-1".into(), kind: MetricKind::Latency }));
    assert_eq!(rank(&evidence).causes[0].entity, "db-1");
}

#[test]
fn an_edge_that_fails_speaks_against_its_server() {
    let mut failing = event(3, EventKind::Rule, Phase::Open, START);
    failing.event.evidence = vec![said("failed", &[], 0.9, 0.0)];
    let outside = Outside {
        source: EventSource::Map,
        entity: "db-1/postgres".into(),
        family: "failing".into(),
        client: Some("api-1/api.service".into()),
        ..Outside::default()
    };
    failing.outside = Some(Box::new(outside));
    let (events, pairs) = ([failing], pairs());
    let evidence = gather(&Known { events: &events, pairs: &pairs, onset_ms: START, ..Known::default() });
    assert_eq!(evidence.symptom.as_ref().map(|s| s.kind), Some(MetricKind::Errors));
    assert_eq!(rank(&evidence).causes[0].entity, "db-1/postgres");
}

#[test]
fn minutes_before_the_onset_are_the_reference() {
    let minute = |n: i64, lifetime: f32| {
        let mut f = Figures::none(START + n * 60_000);
        (f.connects, f.lifetime, f.lifetime_weight) = (60, lifetime, 60.0);
        (START + n * 60_000, f)
    };
    let minutes: Vec<_> = (-8..2).map(|n| minute(n, if n < 0 { 0.01 } else { 0.5 })).collect();
    let metrics = of_minutes(&minutes, START + 5000);
    let slow = metrics.iter().find(|m| m.kind == EdgeKind::Slowness).unwrap();
    assert_eq!((slow.series.reference().len(), slow.series.window().len()), (8, 2));
    assert_eq!(slow.series.window()[0].at_ms, START + 5000, "nothing is said to be earlier than the onset");
    assert!(metrics.iter().all(|m| m.kind != EdgeKind::RoundTrip), "nothing is known of it");
}

#[test]
fn strange_values_make_no_ranking_that_is_no_number() {
    let mut odd = anomaly(1, "api-1", vec![said("x", &[], f32::NAN, f32::INFINITY), said("y", &[], f32::MAX, -1.0)]);
    odd.event.evidence[0].low = Num(f32::NEG_INFINITY);
    odd.event.severity = Num(f32::NAN);
    let events = [odd];
    let ranking = rank(&gather(&Known { events: &events, onset_ms: i64::MIN, ..Known::default() }));
    assert!(ranking.causes.iter().all(|c| c.score.is_finite()) && ranking.margin.is_finite());
}

#[test]
fn changes_are_what_somebody_did() {
    let mut deploy = event(5, EventKind::Context, Phase::Open, START - 60_000);
    deploy.event.text = "deploy api 1.2".into();
    let outside = Outside { source: EventSource::Change, entity: "api-1/api.service".into(), ..Outside::default() };
    deploy.outside = Some(Box::new(outside));
    let (events, changes) = (shop(), [deploy]);
    let evidence = gather(&Known { events: &events, changes: &changes, onset_ms: START, ..Known::default() });
    assert_eq!(evidence.changes.len(), 1);
    assert_eq!(
        (evidence.changes[0].entity.as_str(), evidence.changes[0].what.as_str()),
        ("api-1/api.service", "deploy api 1.2")
    );
}

/// A change that was announced without a place, or for a site.
fn wide_change(id: u8, entity: &str, text: &str, at_ms: i64) -> EventRecord {
    let mut record = event(id, EventKind::Context, Phase::Close, at_ms);
    record.event.head.node = crate::store::nowhere();
    record.event.text = text.into();
    let outside = Outside { source: EventSource::Change, entity: entity.into(), ..Outside::default() };
    record.outside = Some(Box::new(outside));
    record
}

#[test]
fn a_change_of_everything_is_one_of_whoever_moved() {
    let (events, pairs) = (shop(), pairs());
    let near: Vec<String> = pairs.iter().flat_map(|(a, b)| [a.clone(), b.clone()]).collect();
    let sites = [("api-1", "lab"), ("db-1", "attic"), ("web-1", "lab")];
    let changes = [
        wide_change(7, "fleet", "rotate keys", START - 60_000),
        wide_change(8, "site:attic", "new switch", START - 30_000),
        wide_change(9, "site:nowhere", "nothing", START - 30_000),
        wide_change(10, "fleet", "what came of it", START + 3_600_000),
    ];
    let known = Known {
        events: &events,
        pairs: &pairs,
        near: &near,
        changes: &changes,
        sites: &sites,
        onset_ms: START,
        ..Known::default()
    };
    let evidence = gather(&known);
    let told: Vec<_> = evidence.changes.iter().map(|c| (c.entity.as_str(), c.what.as_str())).collect();
    assert_eq!(
        told,
        [
            ("api-1/api.service", "(whole fleet) rotate keys"),
            ("db-1", "(whole fleet) rotate keys"),
            ("db-1", "(site attic) new switch"),
        ],
        "of the web server nothing is known to have moved"
    );
    let ranking = rank(&evidence);
    let first = &ranking.causes[0];
    assert_eq!((first.entity.as_str(), first.change.as_ref().map(|c| c.at_ms)), ("db-1", Some(START - 30_000)));
    let lines: Vec<String> = first.evidence.iter().map(ToString::to_string).collect();
    for line in ["changed: (whole fleet) rotate keys", "changed: (site attic) new switch"] {
        assert!(lines.iter().any(|l| l == line), "{line}: {lines:?}");
    }
}

#[test]
fn wide_changes_are_bounded() {
    let many: Vec<EventRecord> = (0..250_u32)
        .map(|n| {
            let busy = said(semconv::DISK_UTILIZATION.name, &[("system.device", "vda")], 1.0, 0.1);
            anomaly(1, &format!("node-{n:03}"), vec![busy])
        })
        .collect();
    let changes: Vec<EventRecord> =
        (0..10_u8).map(|n| wide_change(n, "fleet", &format!("change {n}"), START - 1000 * i64::from(n))).collect();
    let known = Known { events: &many, changes: &changes, onset_ms: START, ..Known::default() };
    let evidence = gather(&known);
    assert_eq!(evidence.changes.len(), WIDE_MAX * WIDE_FOR);
    assert!(evidence.changes.iter().all(|c| c.at_ms > START - 3000), "the last before the incident");
    // Said twice, in the incident and beside it, it is one.
    let twice = Known { events: &[many.as_slice(), changes.as_slice()].concat(), ..known };
    assert_eq!(gather(&twice).changes.len(), WIDE_MAX * WIDE_FOR);
}
